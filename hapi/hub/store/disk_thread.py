"""Where the database waits for the disk: in a thread of its own, or in the caller's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class Worker(Protocol):
    """Runs one piece of work at a time."""

    def run(self, work: Callable[[], T]) -> Deferred[T]: ...
    def stop(self) -> None: ...


class CallerThread:
    """Runs the work before `run` returns, for databases in memory and for tests on a clock."""

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        return maybeDeferred(work)

    def stop(self) -> None:
        """There is nothing to stop."""


@define(eq=False, repr=False)
class DiskThread:
    """One thread beside the reactor, which starts with the first work. Before the reactor runs,
    nobody has to wait, and the work runs in the caller's thread.
    """

    _reactor: Any
    name: str = "hub-database"
    _pool: ThreadPool | None = field(default=None, init=False)

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        if not self._reactor.running:
            return maybeDeferred(work)
        if self._pool is None:
            self._pool = ThreadPool(minthreads=0, maxthreads=1, name=self.name)
            # A thread that a slow disk holds up must not keep the process from ending.
            self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, work)

    def stop(self) -> None:
        """End the thread; the caller has waited for the last work."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
