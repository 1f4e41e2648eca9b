"""Taking the home before the rest of the runner is loaded, so that the lock has settled by the time it is needed."""

from __future__ import annotations

from hapi import __version__
from hapi.home import Home
from hapi.process.system import SystemProcesses
from hapi.runner.lock.home_lock import RunnerLock


def lock_home_early(home: Home) -> RunnerLock:
    """A lock whose files are placed already when nobody has them; the service waits for the rest. Raises LockUnusable.

    To be called in the process that goes on to run the service, before its reactor is imported: what took it is the pid.
    """
    lock = RunnerLock(home, SystemProcesses(None), version=__version__)
    try:
        lock.try_acquire()
    except BaseException:  # a signal among them
        lock.release()
        raise
    return lock
