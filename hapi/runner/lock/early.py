"""Locking the home before the rest of the runner is loaded, so that the lock has settled when it is
needed.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from hapi import __version__
from hapi.home import Home
from hapi.process import IProcesses
from hapi.process.local import local_processes
from hapi.runner.lock.home_lock import RunnerLock


class _LaterProcesses:
    """The processes of this machine, loaded (30 ms) if a lock has an owner to look at."""

    @cached_property
    def _processes(self) -> IProcesses:
        return local_processes(None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processes, name)


def lock_home_early(home: Home) -> RunnerLock:
    """Return a lock whose files are in place unless another runner owns them; the service does the
    rest. Raises LockUnusable.

    Call this in the process that will run the service, since its pid is written, and before its
    reactor is imported.
    """
    lock = RunnerLock(home, cast(IProcesses, _LaterProcesses()), version=__version__)
    try:
        lock.try_acquire()
    except BaseException:  # a signal among them
        lock.release()
        raise
    return lock
