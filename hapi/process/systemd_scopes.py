"""A control group for each session, made by systemd: what ends or limits the runner's unit then leaves the session alone.

`systemd-run --scope` puts itself into a new scope and becomes the holder, so that pid and descriptors stay what they are. Where
no manager can be asked, or one refuses, a session starts without: it has the resource limits alone, and that is said.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.process.child_limits import SessionLimits

PAUSE = 60.0  # seconds without scopes after systemd has failed to make one
OOM_POLICY = "OOMPolicy"  # of a scope; older ones do not know it


@frozen
class Unit:
    """The unit whose control group holds a process."""

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


@frozen
class Manager:
    """A systemd that makes scopes for us, and the program that asks it."""

    program: str
    of_user: bool

    def __str__(self) -> str:
        return "the user's systemd" if self.of_user else "the system's systemd"


@frozen
class Surrounding:
    """What decides about scopes: `manager` None for `why`; `in_service`: systemd started us, and ends what our unit holds."""

    manager: Manager | None
    why: str = ""
    in_service: bool = False


def look_around(
    environ: Mapping[str, str], root: Path = Path("/"), uid: int | None = None
) -> Surrounding:
    """Which manager is there for us. Where we live in a user's unit it is that user's, for root else the system's."""
    try:
        unit = unit_of((root / "proc/self/cgroup").read_text())
    except OSError:
        unit = None
    in_service = (
        bool(environ.get("INVOCATION_ID")) and unit is not None and unit.name.endswith(".service")
    )
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    of_user = bool(runtime) and (root / runtime.lstrip("/") / "systemd/private").exists()
    of_system = (os.geteuid() if uid is None else uid) == 0 and (
        root / "run/systemd/private"
    ).exists()
    if not (of_user or of_system):
        return Surrounding(None, "no systemd here that makes control groups for us", in_service)
    program = shutil.which("systemd-run", path=environ.get("PATH"))
    if program is None:
        return Surrounding(None, "systemd-run is not on the PATH", in_service)
    in_users = unit is not None and unit.of_user
    return Surrounding(Manager(program, of_user and (in_users or not of_system)), "", in_service)


@define(eq=False)
class Scopes:
    """Decides for each start. `clock` gives monotonic seconds."""

    around: Surrounding
    limits: SessionLimits
    _clock: Callable[[], float]
    root: Path = Path("/")
    trouble: str | None = None  # why the last session has no scope, or not the limits of one
    _not_before: float = 0.0
    _knows_oom_policy: bool = True
    log: Logger = field(factory=Logger)

    @property
    def wanted(self) -> bool:
        """Whether sessions are to have scopes: asked for, or needed because our own unit would take them down."""
        mode = self.limits.scopes
        return (
            mode == "always"
            or bool(self.limits.of_scope)
            or (mode == "auto" and self.around.in_service)
        )

    @property
    def in_use(self) -> bool:
        return self.wanted and self.around.manager is not None and self.trouble is None

    def words(self, attempt_id: str, limits: SessionLimits | None) -> tuple[str, ...]:
        """What to put before the holder's command line; () when it starts without a scope."""
        if limits is not None:
            self.limits = limits
        manager = self.around.manager
        if manager is None or not self.wanted or self._clock() < self._not_before:
            return ()
        found = [
            manager.program,
            *(["--user"] if manager.of_user else []),
            "--scope",
            "--quiet",
            "--collect",
        ]
        found += [f"--unit={unit_name(attempt_id)}", "--description=HAPI session"]
        limited = list(self.limits.of_scope)
        if self._knows_oom_policy:
            limited.append(f"{OOM_POLICY}=continue")  # the holder lives on and tells the end
        for each in limited:
            found += ["-p", each]
        return (*found, "--")

    def failed(self, reason: str) -> None:
        """systemd made no scope. Too old for what was asked: then less is asked. Else sessions start without for a while."""
        if self._knows_oom_policy and OOM_POLICY in reason:
            self._knows_oom_policy = False
            return
        self._not_before = self._clock() + PAUSE
        self._tell(f"systemd gave a session no scope ({reason}); resource limits alone hold it")

    def check(self, pid: int, attempt_id: str) -> None:
        """Look whether process `pid` is where it belongs, and under the limit of memory that was asked for."""
        try:
            cgroups = (self.root / f"proc/{pid}/cgroup").read_text()
        except OSError:
            return  # it has ended already
        unit = unit_of(cgroups)
        if unit is None or unit.name != unit_name(attempt_id):
            self._tell("systemd gave a session no scope of its own")
        elif (
            self.limits.memory is not None
            and (self._memory_of(cgroups) or 1 << 62) > self.limits.memory
        ):
            self._tell(
                "systemd does not hold sessions to --session-memory: it has no control over memory here"
            )
        else:
            self.trouble = None

    def _memory_of(self, cgroups: str) -> int | None:
        """Bytes that the control group may take, None when there is no limit or nobody says."""
        groups = self.root / "sys/fs/cgroup"
        for pattern, place, name in (
            (r"^0::/(.*)$", groups, "memory.max"),
            (r"^\d+:memory:/(.*)$", groups / "memory", None),
        ):
            found = re.search(pattern, cgroups, re.MULTILINE)
            try:
                if found is not None:
                    return int((place / found[1] / (name or "memory.limit_in_bytes")).read_text())
            except (OSError, ValueError):
                continue
        return None

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.log.warn("{trouble}", trouble=trouble)
        self.trouble = trouble

    def warnings(self) -> list[str]:
        """Sentences for the user about limits that do not hold."""
        if not self.wanted:
            return []
        if self.around.manager is None:
            asked = self.limits.of_scope or self.limits.scopes == "always"
            return (
                [
                    f"sessions are held by resource limits alone, without control groups: {self.around.why}"
                ]
                if asked
                else []
            )
        return [self.trouble] if self.trouble is not None else []


def unit_name(attempt_id: str) -> str:
    return f"hapi-session-{attempt_id}.scope"
