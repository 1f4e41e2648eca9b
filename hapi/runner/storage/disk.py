"""File work of the running runner: in order and off the reactor thread.

A slow disk then delays only the callers that wait for it (S12). While the runner starts, nothing is
answered yet, and files are written at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

T = TypeVar("T")


class Disk(Protocol):
    """Does file work, one after the other."""

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        """Fire with the result of `work`, or err with what it raised, after all earlier work."""


def ignore_write_error() -> None:
    """Nothing follows from a write that failed."""


def _notifying(done: Deferred[T], on_write_error: Callable[[], object]) -> Deferred[T]:
    def failed(reason: Failure) -> Failure:
        if reason.check(OSError) is not None:
            on_write_error()
        return reason

    return done.addErrback(failed)


@define(eq=False, repr=False)
class SynchronousDisk:
    """Does the work at once: for a reactor without threads, such as a Clock."""

    _on_write_error: Callable[[], object] = ignore_write_error

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        return _notifying(execute(work), self._on_write_error)


@define(eq=False, repr=False)
class ThreadedDisk:
    """Does the work in a thread that lives while there is work, and never keeps the process."""

    _reactor: IReactorFromThreads
    _on_write_error: Callable[[], object] = ignore_write_error
    _lock: Any = field(factory=Lock)
    _waiting: deque[tuple[Callable[[], Any], Deferred[Any]]] = field(factory=deque)
    _is_working: bool = False

    def do(self, work: Callable[[], T]) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        with self._lock:
            self._waiting.append((work, done))
            begins, self._is_working = not self._is_working, True
        if begins:
            Thread(target=self._work, name="disk", daemon=True).start()
        return _notifying(done, self._on_write_error)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_working = False
                    return
                work, done = self._waiting.popleft()
            try:
                result: Any = work()
            except BaseException:
                result = Failure()
            with suppress(OSError):  # it is queued, and only the reactor's wake-up has failed
                self._reactor.callFromThread(
                    done.errback if isinstance(result, Failure) else done.callback, result
                )


def disk_for(reactor: Any, on_write_error: Callable[[], object] = ignore_write_error) -> Disk:
    """The disk for this reactor. `on_write_error` is called when work has raised OSError."""
    if IReactorFromThreads.providedBy(reactor):
        return ThreadedDisk(reactor, on_write_error)
    return SynchronousDisk(on_write_error)


async def flush(disk: Disk) -> None:
    """Wait until all work that was begun is done."""
    await disk.do(lambda: None)
