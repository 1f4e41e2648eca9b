"""Run one coroutine on the reactor to its end: how the short-lived commands work."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")
INTERRUPT_TIMEOUT = 10.0  # seconds an interrupted command has for cleaning up
_on_interrupt: list[Callable[[], object]] = []  # what SIGINT and SIGTERM do: the last one


def run_once(
    ask: Callable[[Any], Coroutine[Any, Any, T]], seconds: float = 60.0, *, cleans_up: bool = False
) -> T:
    """The result of `ask(reactor)`, or what it raises; TimeoutError after `seconds`.

    On SIGINT and SIGTERM this raises KeyboardInterrupt. If `ask` `cleans_up`, they cancel it, and
    it may raise a CommandError with the exit code INTERRUPTED instead; a second signal does not
    wait for it.
    """
    from twisted.internet import reactor as untyped
    from twisted.internet.defer import Deferred
    from twisted.internet.defer import TimeoutError as DeferTimeout
    from twisted.internet.error import ReactorNotRunning
    from twisted.python.failure import Failure

    from hapi.cli.base.errors import INTERRUPTED, CommandError

    reactor: Any = untyped
    outcome: list[Any] = []
    interruptions: list[float] = []  # when they came

    def stop(_: object = None) -> None:
        with suppress(ReactorNotRunning):  # a second signal has stopped it
            reactor.stop()

    def begin() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):  # after Twisted has installed its own
            signal.signal(number, lambda *_: reactor.callFromThread(_call_last))
        deferred = Deferred.fromCoroutine(ask(reactor)).addTimeout(seconds, reactor)

        def interrupt() -> None:
            interruptions.append(reactor.seconds())
            if cleans_up and len(interruptions) == 1:
                reactor.callLater(INTERRUPT_TIMEOUT, stop)
                deferred.cancel()
            else:
                stop()

        _on_interrupt.insert(0, interrupt)  # below what `ask` has set already
        deferred.addBoth(outcome.append)
        deferred.addBoth(stop)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    reactor.callWhenRunning(begin)
    try:
        reactor.run()
    finally:
        _on_interrupt.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
    if not outcome:
        raise KeyboardInterrupt
    result = outcome[0]
    if isinstance(result, Failure):
        error = result.value
        assert error is not None
        is_told = isinstance(error, CommandError) and error.exit_code == INTERRUPTED
        if interruptions and not is_told:
            raise KeyboardInterrupt from error
        if isinstance(error, DeferTimeout):
            raise TimeoutError(f"no answer within {seconds:.0f} s") from error
        raise error
    return result  # type: ignore[no-any-return]


def _call_last() -> None:
    if _on_interrupt:
        _on_interrupt[-1]()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, SIGINT and SIGTERM do not end the command."""

    def ignore() -> None:
        """The command goes on."""

    _on_interrupt.append(ignore)
    try:
        yield
    finally:
        _on_interrupt.remove(ignore)
