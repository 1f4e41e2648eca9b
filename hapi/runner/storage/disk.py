"""Files that the running runner writes: in order, off the reactor, so that a slow disk delays only who waits for it (S12).

Coming up, nobody is answered yet, and what is written then is written at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

T = TypeVar("T")


class Disk(Protocol):
    """Does file work."""

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        """Fires with the result of `work`, or errs with what it raised; each work begins when the one before is over."""


class SynchronousDisk:
    """For a reactor without threads: a Clock, say."""

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        return execute(work)


@define(eq=False)
class ThreadedDisk:
    """A thread that lives as long as there is something to do. It is no reason for the process to stay."""

    _reactor: IReactorFromThreads
    _lock: Any = field(factory=Lock)
    _waiting: deque[tuple[Callable[[], Any], Deferred[Any]]] = field(factory=deque)
    _works: bool = False

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        with self._lock:
            self._waiting.append((work, done))
            begins, self._works = not self._works, True
        if begins:
            Thread(target=self._work, name="disk", daemon=True).start()
        return done

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._works = False
                    return
                work, done = self._waiting.popleft()
            try:
                result: Any = work()
            except BaseException:
                result = Failure()
            self._reactor.callFromThread(
                done.errback if isinstance(result, Failure) else done.callback, result
            )


def disk_for(reactor: Any) -> Disk:
    return ThreadedDisk(reactor) if IReactorFromThreads.providedBy(reactor) else SynchronousDisk()


async def flush(disk: Disk) -> None:
    """Until all that was begun is on the disk."""
    await disk.do(lambda: None)
