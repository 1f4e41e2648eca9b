"""The records in the folder of a session attempt, one for each file (design.md §4).

Times are epoch seconds. A record with a number out of range is not readable.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

Pid = Annotated[int, Meta(gt=0, lt=1 << 31)]
Seconds = Annotated[float, Meta(ge=-62135596800, lt=253402300800)]  # the years 1 to 9999
ExitCode = Annotated[int, Meta(ge=-(1 << 31), lt=1 << 31)]
Count = Annotated[int, Meta(ge=0, lt=1 << 53)]  # exact in every JSON reader (RFC 8259, 6)


class ProcessIdentity(Struct, frozen=True, rename="camel"):
    """Names one process, and no later process that is given the same pid.

    `start_ticks` is field 22 of `/proc/<pid>/stat`, `boot_id` that of the kernel, `pidfd_inode` the
    inode of its pidfd if the kernel has pidfs (Linux 6.9 and later), else None.
    """

    pid: Pid
    start_ticks: Count
    boot_id: str
    pidfd_inode: int | None = None


class AttemptRequest(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`request.json`: what was asked, by whom, and what is to be started. It never holds a
    token."""

    argv: tuple[str, ...]
    cwd: str
    at: Seconds
    asked_by: str = ""  # "hub", "control", "revive", "terminal"; with details after a colon
    agent: str = ""
    existing_session_id: str | None = None  # the hub's id of the session to go on with
    resume_session_id: str | None = None  # the agent's own id of it
    worktree: dict[str, Any] | None = None  # where it is and whether we made it
    options: dict[str, Any] = {}  # everything else that was asked


class AttemptProcess(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`process.json`: the processes of the session. A session from a terminal has no holder."""

    child: ProcessIdentity
    holder: ProcessIdentity | None = None


class AttemptSession(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`session.json`: the ids of the session at the hub and at its agent."""

    session_id: str
    agent_session_id: str | None = None
    host_pid: Pid | None = None
    at: Seconds | None = None
    metadata: dict[str, Any] = {}


class AttemptHub(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A session's connection to its hub.

    `phase`: `connected`, `connecting`, or `refused` by the hub; `since` when it is in that phase.
    """

    url: str
    phase: str
    since: Seconds
    reason: str | None = None


class AttemptHubAccess(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`hub.json`: the hub of the runner, for a session that is not connected to it. It holds the
    access token, and exists only until the session is connected."""

    url: str
    token: str
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"AttemptHubAccess({self.url!r})"  # without the token


class AttemptReport(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`report.json`: what the session is doing, written by the session at each change. Programs of
    the npm make write none."""

    at: Seconds
    ready: bool = False  # its agent can take a prompt
    turn_since: Seconds | None = None  # since when a turn runs
    waiting_since: Seconds | None = None  # the agent waits for a permission
    queued: Count = 0  # prompts in the queue
    queued_since: Seconds | None = None
    agent_session_id: str | None = None
    hub: AttemptHub | None = None
    idle_since: Seconds | None = None  # since when its agent could rest
    resting_since: Seconds | None = None  # since when its agent's processes are ended
    problem: str | None = None  # why its records do not reach the hub although it is connected
    mode: str | None = None  # its permission mode
    model: str | None = None


class StopOrder(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`stop.json`: who ends the session, and why. Written before the first signal."""

    reason: str
    actor: str
    method: str
    at: Seconds


class AttemptEndReported(Struct, frozen=True, rename="camel"):
    """`told.json`: the hub knows how the session ended, from the session or from the runner."""

    at: Seconds


class AttemptEnd(Struct, frozen=True, rename="camel"):
    """`end.json`: how the process ended. Without code and signal when nobody saw the end."""

    exit_code: ExitCode | None
    signal: str | None  # "SIGTERM"
    at: Seconds
