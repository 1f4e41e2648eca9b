"""A systemd scope for each session, so that the end or the limits of the runner's unit spare it.

`systemd-run --scope` puts itself into a new scope and becomes the holder, with the same pid and
descriptors. Without a systemd manager, or when it refuses, a session starts without a scope: only
resource limits apply, and `status` shows a warning.
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

RETRY_INTERVAL = 60.0  # seconds without scopes after systemd has failed to make one
OOM_POLICY = "OOMPolicy"  # of a scope; older ones do not know it


@frozen
class Unit:
    """The unit whose control group holds a process."""

    name: str
    is_user: bool  # kept by the manager of a user, which may end with his last log-in


def unit_of(cgroups: str) -> Unit | None:
    """Read /proc/self/cgroup; None when no service or scope is named there."""
    paths = dict(re.findall(r"^\d+:(name=systemd|):(/.*)$", cgroups, re.MULTILINE))
    parts = (paths.get("") or "/").strip("/") or (paths.get("name=systemd") or "/").strip("/")
    found = [part for part in parts.split("/") if part.endswith((".service", ".scope"))]
    if not found:
        return None
    is_user = re.fullmatch(r"user@\d+\.service", found[0]) is not None and len(found) > 1
    return Unit(found[-1], is_user)


@frozen
class SystemdManager:
    """A systemd that makes scopes for us, and the program that asks it."""

    program: str
    is_user: bool

    def __str__(self) -> str:
        return "the user's systemd" if self.is_user else "the system's systemd"


@frozen
class SystemdContext:
    """The systemd that can make scopes; `manager` is None for `reason`.

    `in_service`: this program is a systemd service, whose stop ends all processes of its unit.
    """

    manager: SystemdManager | None
    reason: str = ""
    in_service: bool = False


def detect_systemd(
    environ: Mapping[str, str], root: Path = Path("/"), uid: int | None = None
) -> SystemdContext:
    """Find the manager to ask: the user's in a user's unit, otherwise for root the system's."""
    try:
        unit = unit_of((root / "proc/self/cgroup").read_text())
    except OSError:
        unit = None
    in_service = (
        bool(environ.get("INVOCATION_ID")) and unit is not None and unit.name.endswith(".service")
    )
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    is_user = bool(runtime) and (root / runtime.lstrip("/") / "systemd/private").exists()
    is_system = (os.geteuid() if uid is None else uid) == 0 and (
        root / "run/systemd/private"
    ).exists()
    if not (is_user or is_system):
        return SystemdContext(None, "no systemd here that makes control groups for us", in_service)
    program = shutil.which("systemd-run", path=environ.get("PATH"))
    if program is None:
        return SystemdContext(None, "systemd-run is not on the PATH", in_service)
    in_users = unit is not None and unit.is_user
    return SystemdContext(
        SystemdManager(program, is_user and (in_users or not is_system)), "", in_service
    )


@define(eq=False, repr=False)
class ScopeManager:
    """Decides for each start. `clock` gives monotonic seconds."""

    context: SystemdContext
    limits: SessionLimits
    _clock: Callable[[], float]
    root: Path = Path("/")
    problem: str | None = None  # why the last session has no scope, or not the limits of one
    _retry_at: float = 0.0
    _knows_oom_policy: bool = True
    log: Logger = field(factory=Logger)

    @property
    def wanted(self) -> bool:
        """Whether sessions get scopes: on request, or because the runner's unit would end them."""
        mode = self.limits.scopes
        return (
            mode == "always"
            or bool(self.limits.scope_properties)
            or (mode == "auto" and self.context.in_service)
        )

    @property
    def in_use(self) -> bool:
        return self.wanted and self.context.manager is not None and self.problem is None

    def command_prefix(self, attempt_id: str, limits: SessionLimits | None) -> tuple[str, ...]:
        """What to put before the holder's command line; () when it starts without a scope."""
        if limits is not None:
            self.limits = limits
        manager = self.context.manager
        if manager is None or not self.wanted or self._clock() < self._retry_at:
            return ()
        found = [
            manager.program,
            *(["--user"] if manager.is_user else []),
            "--scope",
            "--quiet",
            "--collect",
        ]
        found += [f"--unit={unit_name(attempt_id)}", "--description=HAPI session"]
        limited = list(self.limits.scope_properties)
        if self._knows_oom_policy:
            limited.append(f"{OOM_POLICY}=continue")  # the holder lives on and tells the end
        for each in limited:
            found += ["-p", each]
        return (*found, "--")

    def creation_failed(self, reason: str) -> None:
        """Record that systemd made no scope.

        An old systemd is asked for less next time; otherwise sessions start without scopes for
        RETRY_INTERVAL.
        """
        if self._knows_oom_policy and OOM_POLICY in reason:
            self._knows_oom_policy = False
            return
        self._retry_at = self._clock() + RETRY_INTERVAL
        self._set_problem(
            f"systemd made no scope for a session ({reason}): only resource limits apply"
        )

    def verify(self, pid: int, attempt_id: str) -> None:
        """Check that process `pid` is in its scope and under the wanted memory limit."""
        try:
            cgroups = (self.root / f"proc/{pid}/cgroup").read_text()
        except OSError:
            return  # it has ended already
        unit = unit_of(cgroups)
        if unit is None or unit.name != unit_name(attempt_id):
            self._set_problem("systemd made no scope for a session")
        elif (
            self.limits.memory is not None
            and (self._memory_of(cgroups) or 1 << 62) > self.limits.memory
        ):
            self._set_problem(
                "--session-memory has no effect: systemd does not control memory here"
            )
        else:
            self.problem = None

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

    def _set_problem(self, problem: str) -> None:
        if problem != self.problem:
            self.log.warn("{problem}", problem=problem)
        self.problem = problem

    def warnings(self) -> list[str]:
        """Sentences for the user about limits that do not hold."""
        if not self.wanted:
            return []
        if self.context.manager is None:
            asked = self.limits.scope_properties or self.limits.scopes == "always"
            return (
                [f"sessions have resource limits, but no control groups: {self.context.reason}"]
                if asked
                else []
            )
        return [self.problem] if self.problem is not None else []


def unit_name(attempt_id: str) -> str:
    return f"hapi-session-{attempt_id}.scope"
