"""Run one coroutine on the reactor to its end: how the short-lived commands work."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


def run_once(ask: Callable[[Any], Coroutine[Any, Any, T]], seconds: float = 60.0) -> T:
    """The result of `ask(reactor)`, or what it raises; TimeoutError after `seconds`."""
    from twisted.internet import reactor as untyped
    from twisted.internet.defer import Deferred
    from twisted.internet.defer import TimeoutError as DeferTimeout
    from twisted.internet.error import ReactorNotRunning
    from twisted.python.failure import Failure

    reactor: Any = untyped
    outcome: list[Any] = []

    def stop(*_: object) -> None:
        with suppress(ReactorNotRunning):  # it is stopping already
            reactor.stop()

    def interrupted(*_: object) -> None:
        reactor.callFromThread(stop)

    def begin() -> None:
        for number in before:  # the reactor's own handlers fail at a second signal
            signal.signal(number, interrupted)
        deferred = Deferred.fromCoroutine(ask(reactor)).addTimeout(seconds, reactor)
        deferred.addBoth(outcome.append)
        deferred.addBoth(stop)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    reactor.callWhenRunning(begin)
    try:
        reactor.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not outcome:
        raise KeyboardInterrupt
    result = outcome[0]
    if isinstance(result, Failure):
        error = result.value
        assert error is not None
        if isinstance(error, DeferTimeout):
            raise TimeoutError(f"no answer within {seconds:.0f} s") from error
        raise error
    return result  # type: ignore[no-any-return]


@contextmanager
def on_interrupt(reactor: Any, call: Callable[[], object]) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM do `call` on the reactor instead of ending the command."""

    def interrupted(*_: object) -> None:
        reactor.callFromThread(call)

    before = {
        number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
