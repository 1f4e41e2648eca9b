"""Whether a lock file that a starting runner finds is stale: `judge_owner` decides it, for every
start and every heartbeat.

What follows from the verdict (faults.md §2, step 4):

- `Stale`: `NpmLockFile` exchanges the file for one with this process's pid.
- `Held`: `RunnerLock.acquire` fails with `HomeHeld` after a second.
- `Unfinished`: `RunnerLock.acquire` waits until the file has a pid or is old enough to be stale.

The facts about the process come from `hapi.runner.lock.owner`. Nothing here touches the system.
"""

from __future__ import annotations

import re

from attrs import frozen

UNFINISHED_SECONDS = 10.0  # the maker of a lock file without a pid may still write one for so long
START_TIME_SLACK_SECONDS = 2.0  # by which a process may seem younger than the lock that it made
MAX_LOCK_BYTES = 64
_PID = re.compile(rb"\s*0*([1-9][0-9]{0,9})\s*")
SHARED_FILE_SYSTEMS = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ceph",
        "lustre",
        "gpfs",
        "afs",
        "fuse.sshfs",
        "fuse.glusterfs",
    ]
)


@frozen
class Stale:
    """The file belongs to no running runner of this home and may be replaced."""


@frozen
class Held:
    """A running runner owns the file."""

    pid: int


@frozen
class Unfinished:
    """The file names no pid, but is so young that its maker may still write one."""


@frozen
class OwnerFacts:
    """What is known about the process that a lock file names."""

    pid: int
    uid: int | None
    command_line: tuple[str, ...] | None  # None: not readable
    started_at: float  # epoch seconds
    home: str | None  # its HAPI_HOME as a resolved path, None if its environment is not readable
    in_state: bool  # `runner.state.json` names this pid too
    waits_for_lock: bool = False  # it has `runner.lock` open: one of our starters, waiting for us


def pid_in(content: bytes) -> int | None:
    """The pid that a lock file names, None for anything but a valid decimal pid."""
    found = _PID.fullmatch(content) if len(content) <= MAX_LOCK_BYTES else None
    pid = int(found[1]) if found else 0
    return pid if 0 < pid < 1 << 31 else None


def is_runner(command_line: tuple[str, ...]) -> bool:
    """Whether a command line is a runner's: it has both words that npm's programs search for
    (faults.md L19).
    """
    words = " ".join(command_line).split()
    return "runner" in words and "start-sync" in words


def judge_owner(
    pid: int | None,
    owner: OwnerFacts | None,
    *,
    mtime: float,
    now: float,
    uid: int,
    home: str,
    own_pids: frozenset[int],
) -> Stale | Held | Unfinished:
    """Judge a lock file that names `pid` (None: no valid pid) and was written at `mtime`.

    `owner` describes the process with that pid and is None when there is none. `own_pids` are the
    pids of this process, its parent and grandparent: small pids come round again when a container
    restarts. Times are epoch seconds. A process that may be a runner of this home holds the lock.
    """
    if pid is None:
        return Unfinished() if abs(now - mtime) < UNFINISHED_SECONDS else Stale()
    if pid in own_pids or owner is None or owner.uid not in (None, uid):
        return Stale()
    if owner.command_line is not None and not is_runner(owner.command_line):
        return Stale()
    if owner.waits_for_lock or owner.home not in (None, home):
        return Stale()
    is_younger = owner.started_at > mtime + START_TIME_SLACK_SECONDS
    # Where both files name the pid of a runner, it is the clock that was set.
    if is_younger and not (owner.command_line is not None and owner.in_state):
        return Stale()
    return Held(pid)


def may_run_on_another_host(
    last_owner: dict[str, object], *, host: str, boot_id: str, file_system: str | None
) -> bool:
    """Whether the last owner of `runner.lock` ran on another host and may still run there.

    Its pid says nothing on this host. `file_system` is the type that the home lies on, None if
    unknown.
    """
    if not last_owner or last_owner.get("host") == host or last_owner.get("bootId") == boot_id:
        return False
    return file_system in SHARED_FILE_SYSTEMS
