"""Resource limits of a session, and its preference as a victim when memory runs out.

The holder starts the session under the soft limits; the runner sets the hard limits right after the
launch. Both work on Linux only. Limits of a control group need systemd: see
`hapi.process.systemd_scopes`.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.logger import Logger

SESSION_OOM_SCORE_ADJ = 500  # oom_score_adj: of 1000 that say "me first"
RLIMIT_NAMES = {  # key of `sessionLimits` in settings.json → what the kernel calls it
    "openFiles": "RLIMIT_NOFILE",
    "processes": "RLIMIT_NPROC",
    "fileSize": "RLIMIT_FSIZE",
    "addressSpace": "RLIMIT_AS",
    "cpuSeconds": "RLIMIT_CPU",
    "coreSize": "RLIMIT_CORE",
}
SCOPE_PROPERTIES = {
    "tasks": "TasksMax={}",
    "cpuPercent": "CPUQuota={}%",
}  # further keys → what systemd calls it
SCOPE_MODES = ("auto", "always", "never")
log = Logger()


@frozen
class SessionLimits:
    """`rlimits`: the kernel's name → value. `oom_score_adj`: see proc(5), -1000 to 1000.

    `memory` (bytes) and `extra_properties` (of systemd) apply to the whole session, by a scope.
    `scopes`: `always`, `never`, or `auto` for sessions that need one.
    """

    rlimits: Mapping[str, int] = {"RLIMIT_CORE": 0}
    oom_score_adj: int = SESSION_OOM_SCORE_ADJ
    memory: int | None = None
    extra_properties: tuple[str, ...] = ()
    scopes: str = "auto"

    @property
    def scope_properties(self) -> tuple[str, ...]:
        """All that a scope has to hold, as systemd's properties."""
        return (
            (f"MemoryMax={self.memory}",) if self.memory is not None else ()
        ) + self.extra_properties

    @classmethod
    def read(
        cls, settings: Mapping[str, Any], memory: int | None = None, scopes: str = "auto"
    ) -> SessionLimits:
        """Merge the settings' `sessionLimits` into the defaults. ValueError names a wrong key."""
        given = settings.get("sessionLimits") or {}
        if not isinstance(given, Mapping):
            raise ValueError("sessionLimits must be an object")
        most, score, extra_properties = {"RLIMIT_CORE": 0}, SESSION_OOM_SCORE_ADJ, []
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"sessionLimits.{name} must be a whole number, 0 or more")
            if name == "oomScoreAdj":
                if value > 1000:
                    raise ValueError("sessionLimits.oomScoreAdj must be at most 1000")
                score = value
            elif name in RLIMIT_NAMES:
                most[RLIMIT_NAMES[name]] = value
            elif name in SCOPE_PROPERTIES:
                if value == 0:
                    raise ValueError(f"sessionLimits.{name} must be 1 or more")
                extra_properties.append(SCOPE_PROPERTIES[name].format(value))
            else:
                raise ValueError(
                    f"sessionLimits.{name} is unknown; known are "
                    + ", ".join([*RLIMIT_NAMES, "oomScoreAdj", *SCOPE_PROPERTIES])
                )
        if scopes not in SCOPE_MODES:
            raise ValueError(
                f"sessionScopes is {scopes!r}: it must be one of {', '.join(SCOPE_MODES)}"
            )
        if memory == 0:
            raise ValueError("sessionMemory must be more than 0")
        found = cls(most, score, memory, tuple(extra_properties), scopes)
        if scopes == "never" and found.scope_properties:
            raise ValueError(
                "sessionMemory, sessionLimits.tasks and sessionLimits.cpuPercent require "
                "systemd scopes, but sessionScopes is 'never'"
            )
        return found


def holder_environment(limits: SessionLimits | None) -> dict[str, str]:
    """The variable that tells a holder under which soft limits it must start the session.

    Not the number of processes: the kernel would let the holder itself start nothing.
    """
    most = {} if limits is None else limits.rlimits
    words = [
        f"{getattr(resource, name)}={value}"
        for name, value in most.items()
        if name != "RLIMIT_NPROC"
    ]
    return {"HAPI_HOLDER_LIMITS": " ".join(words)} if words else {}


def apply_limits(pid: int, limits: SessionLimits) -> None:
    """Put process `pid`, and its future children, under `limits`. Refusals are logged."""
    if not hasattr(resource, "prlimit"):
        return
    for name, value in limits.rlimits.items():
        kind = getattr(resource, name)
        try:
            _soft, hard = resource.prlimit(pid, kind)
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, kind, (most, most))
        except ProcessLookupError:
            return
        except (OSError, ValueError) as error:
            log.warn(
                "{name} of process {pid} cannot be set: {reason}",
                name=name,
                pid=pid,
                reason=str(error),
            )
    score = Path(f"/proc/{pid}/oom_score_adj")
    try:
        if (
            int(score.read_text()) < limits.oom_score_adj
        ):  # lowering it needs a privilege, and is not what is meant
            score.write_text(str(limits.oom_score_adj))
    except (FileNotFoundError, ProcessLookupError):
        return
    except (OSError, ValueError) as error:
        log.warn(
            "Could not raise the OOM score of process {pid}: {reason}",
            pid=pid,
            reason=str(error),
        )
