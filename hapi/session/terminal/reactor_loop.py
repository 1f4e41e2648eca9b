"""An asyncio event loop that is Twisted's reactor, for prompt_toolkit.

prompt_toolkit's `Application` is written for asyncio. Its callbacks, timers and readers become
calls, delayed calls and readers of the reactor: nothing runs beside it, in no thread of its own.
Only those methods of `asyncio.AbstractEventLoop` are there that prompt_toolkit needs.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from zope.interface import implementer


class _Call:
    """A call that is due; what asyncio names a handle."""

    def __init__(
        self, call: Callable[..., object], args: Any, context: contextvars.Context | None
    ) -> None:
        self._call, self._args = call, args
        self._context = context or contextvars.copy_context()
        self._cancelled = False
        self.delayed: IDelayedCall | None = None

    def cancel(self) -> None:
        self._cancelled = True
        if self.delayed is not None and self.delayed.active():
            self.delayed.cancel()

    def cancelled(self) -> bool:
        return self._cancelled

    def run(self) -> None:
        if not self._cancelled:
            self._context.run(self._call, *self._args)


@implementer(IReadDescriptor)
@define(eq=False, repr=False)
class _Reader:
    _fd: int
    _ready: Callable[[], object]

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "terminal"

    def doRead(self) -> None:
        self._ready()

    def connectionLost(self, reason: object) -> None:
        """The terminal is gone: reading it tells so."""
        self._ready()


class ReactorLoop:
    """The loop of the reactor that is given."""

    log = Logger()
    slow_callback_duration = 0.1  # seconds; prompt_toolkit sets it

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._due: deque[_Call] = deque()
        self._is_scheduled = False
        self._readers: dict[int, _Reader] = {}
        self._signals: dict[int, Any] = {}  # number -> the handler before ours
        self._on_error: Any = None

    @property
    def _as_loop(self) -> asyncio.AbstractEventLoop:
        return cast(asyncio.AbstractEventLoop, self)

    # --- for us
    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run a coroutine of asyncio; fires with its result."""
        done: Deferred[Any] = Deferred()

        def ended(task: asyncio.Task[Any]) -> None:
            problem = asyncio.CancelledError() if task.cancelled() else task.exception()
            if problem is not None:
                done.errback(problem)
            else:
                done.callback(task.result())

        with self.running():
            self.create_task(coroutine).add_done_callback(ended)
        return done

    def future_of(self, coroutine: Coroutine[Deferred[Any], Any, Any]) -> Any:
        """Run a coroutine of Twisted; asyncio can wait for what is returned."""
        return self._future(Deferred.fromCoroutine(coroutine))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, asyncio takes this loop for the one that runs."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self._as_loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    # --- calls and timers
    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        call = _Call(callback, args, context)
        self._due.append(call)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._reactor.callLater(0, self._run_due)
        return call

    def _run_due(self) -> None:
        """Run what is due now; what that adds is due in the reactor's next turn."""
        self._is_scheduled = False
        with self.running():
            for _ in range(len(self._due)):
                self._run(self._due.popleft())

    def _run(self, call: _Call) -> None:
        try:
            call.run()
        except Exception as problem:
            self.call_exception_handler({"message": "A call failed", "exception": problem})

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        from twisted.python.threadable import isInIOThread

        if isInIOThread():
            return self.call_soon(callback, *args, context=context)
        call = _Call(callback, args, context)
        self._reactor.callFromThread(self._run_in_loop, call)
        return call

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        call = _Call(callback, args, context)
        call.delayed = self._reactor.callLater(max(delay, 0), self._run_in_loop, call)
        return call

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_later(when - self.time(), callback, *args, context=context)

    def _run_in_loop(self, call: _Call) -> None:
        with self.running():
            self._run(call)

    def time(self) -> float:
        seconds: float = self._reactor.seconds()
        return seconds

    # --- futures, tasks, threads
    def create_future(self) -> Any:
        return asyncio.Future(loop=self._as_loop)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        return asyncio.Task(coro, loop=self._as_loop, name=name)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        return self._future(deferToThread(func, *args))

    def _future(self, deferred: Deferred[Any]) -> Any:
        future = self.create_future()

        def done(result: Any) -> None:
            if not future.cancelled():
                future.set_result(result)

        def failed(failure: Any) -> None:
            if not future.cancelled():
                future.set_exception(failure.value)

        deferred.addCallbacks(done, failed)
        return future

    # --- descriptors and signals
    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        self.remove_reader(fd)

        def ready() -> None:
            self._run_in_loop(_Call(callback, args, None))

        reader = self._readers[fd] = _Reader(fd, ready)
        self._reactor.addReader(reader)

    def remove_reader(self, fd: Any) -> bool:
        reader = self._readers.pop(fd, None)
        if reader is None:
            return False
        self._reactor.removeReader(reader)
        return True

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        def received(number: int, frame: object) -> None:
            self._reactor.callFromThread(self._run_in_loop, _Call(callback, args, None))

        before = signal.signal(sig, received)
        self._signals.setdefault(sig, before)

    def remove_signal_handler(self, sig: int) -> bool:
        if sig not in self._signals:
            return False
        before = self._signals.pop(sig)
        signal.signal(sig, before if before is not None else signal.SIG_DFL)
        return True

    # --- errors
    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._on_error is not None:
            self._on_error(self, context)
            return
        self.log.error(
            "The terminal's editor: {message}: {problem!r}",
            message=context.get("message"),
            problem=context.get("exception"),
        )

    def get_exception_handler(self) -> Any:
        return self._on_error

    def set_exception_handler(self, handler: Any) -> None:
        self._on_error = handler

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
