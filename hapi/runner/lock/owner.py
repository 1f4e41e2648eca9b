"""Whose lock is it? Judges what was found in the npm lock file, `runner.state.json.lock` (faults.md §2, step 4)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from hapi.home import Home, read_capped
from hapi.process import IProcesses, ProcessIdentity
from hapi.process.identity import read_stat, started_at

YOUNG = 10.0  # seconds within which the maker of a lock without a pid may still write it
SLACK = 2.0  # seconds by which a process may seem younger than the lock it made
LONGEST = 64  # bytes of a lock file that are looked at
_PID = re.compile(rb"\s*0*([1-9][0-9]{0,9})\s*")


@frozen
class Stale:
    """Nobody's. It may be replaced."""


@frozen
class Held:
    """A live runner's."""

    pid: int


@frozen
class Unfinished:
    """Without a pid, and so young that one may still come."""


@frozen
class OwnerFacts:
    """What can be known of the process that a lock names."""

    pid: int
    owner: int | None  # uid
    words: tuple[str, ...] | None  # command line, None if hidden
    started_at: float  # epoch seconds
    home: str | None  # its HAPI_HOME as a resolved path, None if hidden
    in_state: bool  # `runner.state.json` names it as well
    is_starter: bool = (
        False  # it has `runner.lock` open: a starter of ours, that waits for the lock that we have
    )


def pid_in(content: bytes) -> int | None:
    """The pid that a lock file names; None for anything but a decimal number of a possible pid."""
    found = _PID.fullmatch(content) if len(content) <= LONGEST else None
    pid = int(found[1]) if found else 0
    return pid if 0 < pid < 1 << 31 else None


def judge_owner(
    pid: int | None,
    suspect: OwnerFacts | None,
    *,
    mtime: float,
    now: float,
    uid: int,
    home: str,
    own_pids: frozenset[int],
) -> Stale | Held | Unfinished:
    """OwnerInspector a lock that names `pid` (None: nothing that makes sense) and was written at `mtime`; times are epoch seconds.

    `suspect` is the process of that pid, None if there is none; `own_pids` our own pid, our parent's and our grandparent's: after
    a container restart the same small pids come round. Any process that may be this home's runner holds the lock.
    """
    if pid is None:
        return Unfinished() if abs(now - mtime) < YOUNG else Stale()
    if pid in own_pids or suspect is None or suspect.owner not in (None, uid):
        return Stale()
    if suspect.words is not None and not is_runner(suspect.words):
        return Stale()
    if suspect.is_starter or suspect.home not in (None, home):
        return Stale()
    if suspect.started_at > mtime + SLACK and not (suspect.words is not None and suspect.in_state):
        return Stale()  # with two files that name it, it is the clock that was set
    return Held(pid)


def is_runner(words: tuple[str, ...]) -> bool:
    """Whether a command line is that of a runner: both words, as the npm programs look for them (faults.md L19)."""
    spread = " ".join(words).split()
    return "runner" in spread and "start-sync" in spread


def own_pids() -> frozenset[int]:
    """Our pid, our parent's and our grandparent's."""
    parent = read_stat(os.getppid())
    return frozenset(
        pid for pid in (os.getpid(), os.getppid(), parent.parent if parent else 0) if pid > 0
    )


@frozen
class OwnerInspector:
    """Collects the facts for `judge_owner`."""

    _home: Home
    _processes: IProcesses
    _now: Callable[[], float]
    _started_at: Callable[[ProcessIdentity], float] = started_at

    def of_lock(self, content: bytes, mtime: float) -> Stale | Held | Unfinished:
        pid = pid_in(content)
        return judge_owner(
            pid,
            None if pid is None else self._suspect(pid),
            mtime=mtime,
            now=self._now(),
            uid=os.geteuid(),
            home=str(self._home.path),
            own_pids=own_pids(),
        )

    def of_state(self) -> Held | None:
        """Another live runner of this home whose pid stands in the state file, None if there is none."""
        pid, mtime = self._state()
        if pid is None or pid == os.getpid():
            return None
        judged = judge_owner(
            pid,
            self._suspect(pid),
            mtime=mtime,
            now=self._now(),
            uid=os.geteuid(),
            home=str(self._home.path),
            own_pids=frozenset((os.getpid(),)),
        )
        return judged if isinstance(judged, Held) else None

    def _suspect(self, pid: int) -> OwnerFacts | None:
        identity = self._processes.identify(pid)
        if identity is None:
            return None
        words = self._processes.command_line(pid)
        return OwnerFacts(
            pid,
            self._processes.owner(pid),
            None if words is None else tuple(words),
            self._started_at(identity),
            _home_of(self._processes.environment(pid)),
            self._state()[0] == pid,
            has_file_open(pid, self._home.runner_lock),
        )

    def _state(self) -> tuple[int | None, float]:
        """Pid and time of the state file."""
        try:
            content = read_capped(self._home.runner_state)
            mtime = self._home.runner_state.stat().st_mtime
        except (OSError, ValueError):
            return None, 0.0
        found = re.search(rb'"pid"\s*:\s*([1-9][0-9]{0,9})\b', content or b"")
        return (int(found[1]) if found else None), mtime


def has_file_open(pid: int, path: Path) -> bool:
    """Whether the process has that file open; False as well when it does not show."""
    try:
        wanted = path.stat()
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                found = os.stat(f"/proc/{pid}/fd/{name}")
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    except OSError:
        pass
    return False


def _home_of(environment: Mapping[str, str] | None) -> str | None:
    """The resolved HAPI home of a process with that environment; None when it cannot be known."""
    if environment is None:
        return None
    named, user = environment.get("HAPI_HOME"), environment.get("HOME")
    if not named:
        if not user:
            return None
        named = f"{user}/.hapi"
    elif named.startswith("~/") and user:
        named = user + named[1:]
    path = Path(named)
    return os.path.realpath(path) if path.is_absolute() else None
