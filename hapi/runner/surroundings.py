"""Whether systemd would end our sessions together with us, or all of us when the user logs out. Looked up once, and only where
systemd runs: for a warning in `status`, nothing else depends on it."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

ENDS_ALL = ("control-group", "mixed")  # systemd.kill(5): the values of KillMode that reach every process of a unit
PATIENCE = 5.0  # seconds for systemctl and loginctl

Ask = Callable[[Sequence[str]], Awaitable[str]]  # argv → what it printed


@frozen
class Unit:
    """The unit whose control group holds this process."""

    name: str
    of_user: bool  # kept by the manager of a user, which may end with his last log-in


def unit_of(cgroups: str) -> Unit | None:
    """Read /proc/self/cgroup; None when no service or scope is named there."""
    paths = dict(re.findall(r"^\d+:(name=systemd|):(/.*)$", cgroups, re.MULTILINE))
    parts = (paths.get("") or "/").strip("/") or (paths.get("name=systemd") or "/").strip("/")
    found = [part for part in parts.split("/") if part.endswith((".service", ".scope"))]
    if not found:
        return None
    of_user = re.fullmatch(r"user@\d+\.service", found[0]) is not None and len(found) > 1
    return Unit(found[-1], of_user)


def properties(text: str) -> dict[str, str]:
    """What `systemctl show` and `loginctl show-user` print: `Name=value` a line."""
    return {name: value for name, equals, value in (line.partition("=") for line in text.splitlines()) if equals}


def warnings(unit: Unit, found: Mapping[str, str], lingers: bool) -> list[str]:
    """Sentences for the user; [] when sessions outlive both the runner and a log-out."""
    said = []
    mode = found.get("KillMode", "")
    if unit.name.endswith(".service") and mode in ENDS_ALL:
        said.append(
            f"systemd ends the sessions together with the runner: {unit.name} has KillMode={mode}; "
            "set KillMode=process (`hapi runner install-service` shows a unit)"
        )
    at_log_out = unit.of_user or (unit.name.startswith("session-") and found.get("KillUserProcesses") == "yes")
    if at_log_out and not lingers:
        said.append("systemd ends runner and sessions when you log out: `loginctl enable-linger` keeps them")
    return said


@define
class Surroundings:
    """`warnings` is empty until `look` has come back, and stays so where there is no systemd."""

    _ask: Ask
    _root: Path = Path("/")
    _user: str = ""
    warnings: list[str] = field(factory=list)
    log = Logger()

    @property
    def is_there(self) -> bool:
        """sd_booted(3)."""
        return (self._root / "run/systemd/system").is_dir()

    def look(self) -> None:
        if self.is_there:
            Deferred.fromCoroutine(self.examine()).addErrback(
                lambda reason: self.log.debug("systemd did not tell: {reason}", reason=reason.getErrorMessage())
            )

    async def examine(self) -> None:
        try:
            unit = unit_of((self._root / "proc/self/cgroup").read_text())
        except OSError:
            return
        if unit is None:
            return
        scope = ["--user"] if unit.of_user else []
        found = properties(await self._ask(["systemctl", *scope, "show", "--property=KillMode", "--", unit.name]))
        if unit.name.startswith("session-"):
            found |= properties(await self._ask(["loginctl", "show-user", "--property=KillUserProcesses"]))
        self.warnings = warnings(unit, found, (self._root / "var/lib/systemd/linger" / self._name()).exists())
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


def surroundings(reactor: Any, environ: Mapping[str, str]) -> Surroundings:
    """Those of this process; programs are asked without blocking the reactor."""

    async def ask(argv: Sequence[str]) -> str:
        from twisted.internet.utils import getProcessOutput

        output = getProcessOutput(_found(argv[0], environ), argv[1:], env=dict(environ), reactor=reactor)
        return bytes(await output.addTimeout(PATIENCE, reactor)).decode(errors="replace")

    return Surroundings(ask)
