"""Whether systemd ends the sessions together with the runner, or both when the user logs out.

Checked once, where systemd runs, for a warning in `status`. The check also provides the scopes that
separate sessions from the runner.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.process.child_limits import SessionLimits
from hapi.process.systemd_scopes import ScopeManager, Unit, detect_systemd, unit_of

# The values of KillMode that end every process of a unit: systemd.kill(5).
KILL_MODES_ENDING_ALL = ("control-group", "mixed")
COMMAND_TIMEOUT = 5.0  # seconds for systemctl and loginctl

Ask = Callable[[Sequence[str]], Awaitable[str]]  # argv → what it printed


def properties(text: str) -> dict[str, str]:
    """The output of `systemctl show` and `loginctl show-user`: one `Name=value` in each line."""
    return {
        name: value
        for name, equals, value in (line.partition("=") for line in text.splitlines())
        if equals
    }


def warnings(
    unit: Unit, found: Mapping[str, str], lingers: bool, scoped: bool = False
) -> list[str]:
    """Sentences for the user; [] when sessions outlive both the runner and a log-out.

    `scoped`: sessions have scopes of their own.
    """
    found_warnings = []
    mode = found.get("KillMode", "")
    if unit.name.endswith(".service") and mode in KILL_MODES_ENDING_ALL and not scoped:
        found_warnings.append(
            f"systemd ends the sessions together with the runner: {unit.name} has KillMode={mode}; "
            "set KillMode=process (`hapi runner install-service` shows a unit)"
        )
    at_log_out = unit.is_user or (
        unit.name.startswith("session-") and found.get("KillUserProcesses") == "yes"
    )
    if at_log_out and not lingers:
        found_warnings.append(
            "systemd ends the runner and its sessions when you log out; `loginctl enable-linger` "
            "prevents that"
        )
    return found_warnings


@define
class SystemdScopeCheck:
    """`warnings` is empty until the check that `start` begins is done, and without systemd."""

    _ask: Ask
    _root: Path = Path("/")
    _user: str = ""
    scopes: ScopeManager | None = None
    _about: tuple[Unit, Mapping[str, str], bool] | None = None
    log = Logger()

    @property
    def scoped(self) -> bool:
        """Whether sessions run in scopes of their own."""
        return self.scopes is not None and self.scopes.in_use

    @property
    def warnings(self) -> list[str]:
        found = [] if self._about is None else warnings(*self._about, self.scoped)
        return found + (self.scopes.warnings() if self.scopes is not None else [])

    @property
    def is_booted(self) -> bool:
        """Whether systemd runs: sd_booted(3)."""
        return (self._root / "run/systemd/system").is_dir()

    def start(self) -> None:
        if self.is_booted:
            Deferred.fromCoroutine(self.check()).addErrback(
                lambda reason: self.log.debug(
                    "The unit of this runner could not be checked: {reason}",
                    reason=reason.getErrorMessage(),
                )
            )

    async def check(self) -> None:
        try:
            unit = unit_of((self._root / "proc/self/cgroup").read_text())
        except OSError:
            return
        if unit is None:
            return
        scope = ["--user"] if unit.is_user else []
        found = properties(
            await self._ask(["systemctl", *scope, "show", "--property=KillMode", "--", unit.name])
        )
        if unit.name.startswith("session-"):
            found |= properties(
                await self._ask(["loginctl", "show-user", "--property=KillUserProcesses"])
            )
        self._about = unit, found, (self._root / "var/lib/systemd/linger" / self._name()).exists()
        for sentence in self.warnings:
            self.log.warn("{sentence}", sentence=sentence)

    def _name(self) -> str:
        if self._user:
            return self._user
        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())


def _found(program: str, environ: Mapping[str, str]) -> str:
    return shutil.which(program, path=environ.get("PATH")) or f"/usr/bin/{program}"


def make_scope_check(
    reactor: Any, environ: Mapping[str, str], limits: SessionLimits | None = None
) -> SystemdScopeCheck:
    """The check for this process, with scopes for sessions under `limits`.

    Programs run without blocking the reactor.
    """

    async def ask(argv: Sequence[str]) -> str:
        from twisted.internet.utils import getProcessOutput

        output = getProcessOutput(
            _found(argv[0], environ), argv[1:], env=dict(environ), reactor=reactor
        )
        return bytes(await output.addTimeout(COMMAND_TIMEOUT, reactor)).decode(errors="replace")

    scopes = ScopeManager(detect_systemd(environ), limits or SessionLimits(), reactor.seconds)
    return SystemdScopeCheck(ask, scopes=scopes)
