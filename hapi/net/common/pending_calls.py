"""Events whose answer is awaited, by number, each with its own deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from hapi.net.common.errors import AckTimeout


@define(eq=False, repr=False)
class _Call:
    answer: Deferred[list[Any]]
    timer: IDelayedCall
    dropped: Callable[[], object]
    sent: bool = False


@define(eq=False, repr=False)
class PendingCalls:
    """For both ends. An answer that is repeated, late or unknown is ignored (N09)."""

    _clock: IReactorTime
    _waiting: dict[int, _Call] = field(factory=dict)

    def begin(
        self, number: int, event: str, timeout: float, dropped: Callable[[], object] = lambda: None
    ) -> Deferred[list[Any]]:
        """Wait for answer `number`; fires with its arguments.

        Fails with AckTimeout after `timeout` seconds. `dropped` is called when the caller or the
        clock gives up. An answer counts only after `sent`.
        """
        answer: Deferred[list[Any]] = Deferred(lambda _: self._give_up(number))
        late = AckTimeout(f"no answer to {event} within {timeout:g} s")
        timer = self._clock.callLater(timeout, self.fail, number, late)
        self._waiting[number] = _Call(answer, timer, dropped)
        return answer

    def sent(self, number: int) -> None:
        """The call was sent; from now on it may be answered."""
        if (call := self._waiting.get(number)) is not None:
            call.sent = True

    def answered(self, number: int, args: list[Any]) -> None:
        call = self._waiting.get(number)
        if call is not None and call.sent:
            self._take(number)
            call.answer.callback(args)

    def fail(self, number: int, problem: Exception) -> None:
        if (call := self._take(number)) is not None:
            call.dropped()
            call.answer.errback(Failure(problem))

    def fail_sent(self, problem: Exception) -> None:
        """Fail all calls that were sent."""
        for number in [number for number, call in self._waiting.items() if call.sent]:
            self.fail(number, problem)

    def _give_up(self, number: int) -> None:
        if (call := self._take(number)) is not None:
            call.dropped()

    def _take(self, number: int) -> _Call | None:
        call = self._waiting.pop(number, None)
        if call is not None and call.timer.active():
            call.timer.cancel()
        return call
