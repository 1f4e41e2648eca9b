"""The process behind a lock file: collects the facts on which `hapi.runner.lock.stale.judge_owner`
decides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from hapi.home import Home, read_capped
from hapi.process import IProcesses, ProcessIdentity
from hapi.process.kernel import kernel
from hapi.runner.lock.stale import Held, OwnerFacts, Stale, Unfinished, judge_owner, pid_in


@frozen
class OwnerInspector:
    """Looks up who owns a lock file, and judges it."""

    _home: Home
    _processes: IProcesses
    _now: Callable[[], float]
    _started_at: Callable[[ProcessIdentity], float] = lambda identity: kernel().started_at(identity)

    def judge_lock(self, content: bytes, mtime: float) -> Stale | Held | Unfinished:
        """Judge a lock file with this content, written at `mtime` (epoch seconds)."""
        return self._judge(pid_in(content), mtime, own_pids())

    def other_runner_in_state(self) -> Held | None:
        """Another running runner of this home whose pid is in the state file, None if there is
        none.
        """
        pid, mtime = self._pid_in_state()
        if pid is None:
            return None
        verdict = self._judge(pid, mtime, frozenset((os.getpid(),)))
        return verdict if isinstance(verdict, Held) else None

    def _judge(
        self, pid: int | None, mtime: float, own: frozenset[int]
    ) -> Stale | Held | Unfinished:
        return judge_owner(
            pid,
            None if pid is None or pid in own else self._facts_of(pid),
            mtime=mtime,
            now=self._now(),
            uid=os.geteuid(),
            home=str(self._home.path),
            own_pids=own,
        )

    def _facts_of(self, pid: int) -> OwnerFacts | None:
        identity = self._processes.identify(pid)
        if identity is None:
            return None
        command_line = self._processes.command_line(pid)
        return OwnerFacts(
            pid,
            self._processes.owner(pid),
            None if command_line is None else tuple(command_line),
            self._started_at(identity),
            _home_in(self._processes.environment(pid)),
            self._pid_in_state()[0] == pid,
            has_file_open(pid, self._home.runner_lock),
        )

    def _pid_in_state(self) -> tuple[int | None, float]:
        """The pid in the state file, None if it names none, and the file's mtime."""
        try:
            content = read_capped(self._home.runner_state)
            mtime = self._home.runner_state.stat().st_mtime
        except (OSError, ValueError):
            return None, 0.0
        found = re.search(rb'"pid"\s*:\s*([1-9][0-9]{0,9})\b', content or b"")
        return (int(found[1]) if found else None), mtime


def own_pids() -> frozenset[int]:
    """The pids of this process, its parent and its grandparent."""
    parent = kernel().read_stat(os.getppid())
    return frozenset(
        pid for pid in (os.getpid(), os.getppid(), parent.parent if parent else 0) if pid > 0
    )


def has_file_open(pid: int, path: Path) -> bool:
    """Whether the process has that file open; False too when its descriptors are not readable."""
    return kernel().has_open(pid, path)


def _home_in(environment: Mapping[str, str] | None) -> str | None:
    """The resolved HAPI home of a process with that environment, None when it cannot be known."""
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
