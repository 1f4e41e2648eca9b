"""The runner that runs in a home: ask it, compare it with what is wanted, stop it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hapi import __version__
from hapi.cli.base.errors import HELD, CommandError
from hapi.cli.base.output import echo, print_json, warn
from hapi.cli.base.run import run_once
from hapi.cli.runner.background import POLL_INTERVAL, Readiness
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.startup import block_tls_imports

CONTROL_URL = "http://127.0.0.1"  # the control API needs no TLS
CALL_TIMEOUT = 60.0  # seconds
STOP_TIMEOUT = 20.0  # seconds a runner may take to shut down
EXIT_TIMEOUT = 2.0  # seconds its process has to exit after that; a host program runs on
PERMANENT_SETTINGS = "put permanent settings in settings.json: workspaceRoots, maxSessions, ..."


def call_runner(
    home: Home,
    call: Callable[[Any], Awaitable[Any]],
    without: Any = None,
    seconds: float = CALL_TIMEOUT,
) -> Any:
    """The result of `call(client)`; prints `without` as JSON (unless None) if no runner runs.

    Raises RunnerNotRunning, ControlFailed, and TimeoutError after `seconds`.
    """
    block_tls_imports(CONTROL_URL)
    from hapi.runner.control.client import ControlClient, RunnerNotRunning

    async def ask(reactor: Any) -> Any:
        return await call(ControlClient(reactor, home))

    try:
        return run_once(ask, seconds)
    except RunnerNotRunning:
        if without is not None:
            print_json(without)
        raise


async def query_runner(reactor: Any, home: Home) -> Readiness:
    """The state of the runner of `home`; a runner that does not answer counts as none."""
    from hapi.runner.control.client import ControlClient, ControlFailed, RunnerNotRunning

    try:
        status = await ControlClient(reactor, home).status()
    except (RunnerNotRunning, ControlFailed):
        return Readiness(False, False, {})
    return Readiness(True, is_reachable(status), status)


def is_reachable(status: Mapping[str, Any]) -> bool:
    """Whether the machine is registered and its link to the hub is up."""
    return bool(status.get("registered")) and (status.get("hub") or {}).get("phase") == "connected"


def matches_options(status: Mapping[str, Any], options: Any) -> bool:
    """Whether the runner with `status` has the build, hub, token, machine and flags of `options`.

    HAPI_DISABLE_VERSION_HANDOFF=1 of the running runner counts here as well, whatever our own
    environment says: its build is then no reason to replace it (faults.md H08).
    """
    from hapi.build import Installation
    from hapi.runner.storage.state_file import identity_digest

    ours = Installation().running()
    is_current = status.get("version") == __version__ and (
        ours is None or status.get("build") == {"version": ours.version, "digest": ours.digest}
    )
    return (
        (is_current or status.get("handoffDisabled") is True or options.handoff_disabled)
        and status.get("identity") == identity_digest(options.access, options.machine_id)
        and (status.get("hub") or {}).get("url") == options.access.url
        and status.get("machineId") == options.machine_id
        and list(status.get("workspaceRoots") or ()) == list(options.workspace_roots)
        and status.get("revive") == options.revive
        and status.get("sessionMemory") == options.session_limits.memory
        and status.get("idleAgentSeconds") == options.idle_limit
        and bool(status.get("gitActions")) == options.git_actions
        and status.get("terminal", True) == options.terminal
        and matches_limits(status.get("admission") or {}, options.limits)
        and list(status.get("sessionCommand") or ()) == list(options.session_command)
    )


def matches_limits(admission: Mapping[str, Any], limits: Any) -> bool:
    running = [admission.get(key) for key in ("maxSessions", "minFreeMemory", "queue")]
    return running == [limits.sessions, limits.free_memory, limits.queue]


def is_part_of_up(status: Mapping[str, Any]) -> bool:
    """Whether the runner with `status` is that of `hapi up`, in one process with the hub."""
    return list(status.get("argv") or ())[:1] == ["up"]


def refuse_foreign_runner(status: Mapping[str, Any], if_up: str, if_supervised: str) -> None:
    """Raise CommandError for a runner that `hapi up`, a supervisor or another program controls.

    `if_up` and `if_supervised` say what the user has to do then, as a clause.
    """
    pid = status.get("pid")
    if is_part_of_up(status):
        raise CommandError(f"the runner (pid {pid}) is part of `hapi up`; {if_up}", HELD)
    handoff = status.get("handoff") or {}
    if handoff.get("mode") in ("restart", "notify"):
        supervisor = handoff.get("restartedBy")
        raise CommandError(
            f"the runner (pid {pid}) is managed by {supervisor}; {if_supervised}", HELD
        )
    if handoff.get("replaceable") is False:
        raise CommandError(
            f"the runner (pid {pid}) can only be restarted by {handoff.get('restartedBy')}", HELD
        )


def refuse_replacement(status: Mapping[str, Any]) -> None:
    """Raise CommandError for a runner that no `hapi runner start` may replace."""
    refuse_foreign_runner(
        status,
        "stop it before you start a runner with other flags",
        "`hapi runner restart` has it restarted with the installed version, and its flags are in "
        "the configuration of the supervisor",
    )


def announce_replacement(status: Mapping[str, Any], quiet: bool, dropped: str = "") -> None:
    """Print which runner is about to be replaced; `dropped` are its flags that the next lacks."""
    if not quiet:
        version = escape_control(status.get("version"))
        echo(f"Replacing the running runner (pid {status.get('pid')}, version {version})")
    if dropped:
        warn(f"note: the previous runner had {dropped}, this one does not ({PERMANENT_SETTINGS})")


async def stop_runner(reactor: Any, home: Home) -> int | None:
    """Ask the runner of `home` to stop and wait until it has exited; its pid, None if none ran.

    Its process exits too, unless the runner is embedded in another program, which runs on.
    Raises CommandError when the runner does not stop in time.
    """
    from twisted.internet.task import deferLater

    from hapi.process.local import local_processes
    from hapi.runner.control.client import ControlClient, RunnerNotRunning
    from hapi.runner.storage.state_file import StateFile

    client, processes = ControlClient(reactor, home), local_processes(reactor)
    try:
        pid = int((await client.status())["pid"])
        identity = processes.identify(pid)
        await client.stop()
    except RunnerNotRunning:
        return None
    begun = reactor.seconds()
    while identity is not None and processes.is_running(identity):
        state = StateFile(home).read()
        has_left = state is None or state.pid != pid
        if has_left and reactor.seconds() > begun + EXIT_TIMEOUT:
            break
        if reactor.seconds() > begun + STOP_TIMEOUT:
            raise CommandError(
                f"the runner (pid {pid}) was asked to stop and is still running after "
                f"{STOP_TIMEOUT:.0f} s"
            )
        await deferLater(reactor, POLL_INTERVAL)
    return pid
