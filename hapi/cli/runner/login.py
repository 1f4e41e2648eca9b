"""The hub and token that the running runner uses, compared with those that were saved."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hapi.home import Home
from hapi.settings import HubAccess

if TYPE_CHECKING:
    from hapi.runner.storage.state_file import RunnerState


@frozen
class RunnerLogin:
    """The running runner, and whether it uses the hub and the token that it was compared with."""

    pid: int
    is_current: bool
    hint: str = ""  # a clause: what makes it use them
    can_restart: bool = False  # whether `hapi runner restart` does

    @property
    def problem(self) -> str:
        """That the runner uses another login and what helps, as a sentence."""
        return f"the runner (pid {self.pid}) still uses another hub or token: {self.hint}"


async def runner_login(reactor: Any, home: Home, access: HubAccess) -> RunnerLogin | None:
    """The login of the runner of `home`, compared with `access`; None if no runner answers."""
    from hapi.runner.storage.state_file import StateFile

    state = StateFile(home).read()
    if state is None:
        return None
    from hapi.runner.control.client import ControlClient, ControlFailed, RunnerNotRunning

    try:
        status = await ControlClient(reactor, home).status()
    except (RunnerNotRunning, ControlFailed):
        return None
    return compared_login(status, uses(state, access))


def uses(state: RunnerState, access: HubAccess) -> bool:
    """Whether the runner that wrote `state` uses the hub, token and headers of `access`."""
    from hapi.runner.storage.state_file import hub_identity

    wanted = hub_identity(access, str(state.started_with_machine_id))
    wanted.setdefault("started_with_extra_headers_hash", None)
    return all(getattr(state, name) == value for name, value in wanted.items())


def compared_login(status: Mapping[str, Any], is_current: bool) -> RunnerLogin:
    """What helps a runner with this `status`, unless its login is the current one."""
    pid = int(status.get("pid") or 0)
    if is_current:
        return RunnerLogin(pid, True)
    handoff = status.get("handoff") or {}
    if list(status.get("argv") or ())[:1] == ["up"]:
        return RunnerLogin(pid, False, "restart `hapi up`, which it is part of")
    if handoff.get("mode") in ("restart", "notify"):
        hint = f"`kill -HUP {pid}` or `hapi runner restart` makes it use these"
        return RunnerLogin(pid, False, hint, can_restart=True)
    if handoff.get("mode") == "none":
        return RunnerLogin(pid, False, "restart it where it was started")
    hint = "`hapi runner restart` makes it use these; its sessions keep running"
    return RunnerLogin(pid, False, hint, can_restart=True)


def restart_runner() -> int:
    """Run `hapi runner restart` with our output; its exit code.

    It waits for no turn: while the hub refuses the runner, nobody can answer or stop one, and the
    sessions go on in any case.
    """
    command = [sys.executable, "-P", "-m", "hapi", "runner", "restart", "--no-wait"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
