"""Whether systemd would end our sessions together with us, or all of us when the user logs out. Looked up once, and only where
systemd runs: for a warning in `status`, nothing else depends on it. Also makes the scopes that keep sessions apart from us."""

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

ENDS_ALL = (
    "control-group",
    "mixed",
)  # systemd.kill(5): the values of KillMode that reach every process of a unit
PATIENCE = 5.0  # seconds for systemctl and loginctl

Ask = Callable[[Sequence[str]], Awaitable[str]]  # argv → what it printed


def properties(text: str) -> dict[str, str]:
    """What `systemctl show` and `loginctl show-user` print: `Name=value` a line."""
    return {
        name: value
        for name, equals, value in (line.partition("=") for line in text.splitlines())
        if equals
    }


def warnings(unit: Unit, found: Mapping[str, str], lingers: bool, apart: bool = False) -> list[str]:
    """Sentences for the user; [] when sessions outlive both the runner and a log-out. `apart`: they have scopes of their own."""
    said = []
    mode = found.get("KillMode", "")
    if unit.name.endswith(".service") and mode in ENDS_ALL and not apart:
        said.append(
            f"systemd ends the sessions together with the runner: {unit.name} has KillMode={mode}; "
            "set KillMode=process (`hapi runner install-service` shows a unit)"
        )
    at_log_out = unit.is_user or (
        unit.name.startswith("session-") and found.get("KillUserProcesses") == "yes"
    )
    if at_log_out and not lingers:
        said.append(
            "systemd ends runner and sessions when you log out: `loginctl enable-linger` keeps them"
        )
    return said


@define
class SystemdScopeCheck:
    """`warnings` is empty until `start` has come back, and stays so where there is no systemd."""

    _ask: Ask
    _root: Path = Path("/")
    _user: str = ""
    scopes: ScopeManager | None = None
    _about: tuple[Unit, Mapping[str, str], bool] | None = None
    log = Logger()

    @property
    def scoped(self) -> bool:
        """Whether sessions get control groups of their own."""
        return self.scopes is not None and self.scopes.in_use

    @property
    def warnings(self) -> list[str]:
        found = [] if self._about is None else warnings(*self._about, self.scoped)
        return found + (self.scopes.warnings() if self.scopes is not None else [])

    @property
    def is_booted(self) -> bool:
        """sd_booted(3)."""
        return (self._root / "run/systemd/system").is_dir()

    def start(self) -> None:
        if self.is_booted:
            Deferred.fromCoroutine(self.check()).addErrback(
                lambda reason: self.log.debug(
                    "systemd did not tell: {reason}", reason=reason.getErrorMessage()
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
    """Those of this process, with scopes for sessions under `limits`; programs are asked without blocking the reactor."""

    async def ask(argv: Sequence[str]) -> str:
        from twisted.internet.utils import getProcessOutput

        output = getProcessOutput(
            _found(argv[0], environ), argv[1:], env=dict(environ), reactor=reactor
        )
        return bytes(await output.addTimeout(PATIENCE, reactor)).decode(errors="replace")

    scopes = ScopeManager(detect_systemd(environ), limits or SessionLimits(), reactor.seconds)
    return SystemdScopeCheck(ask, scopes=scopes)
