"""Delayed calls that end with the runner."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define
class ScheduledCalls:
    """`schedule(seconds, call)`: like callLater, until `cancel_all`."""

    _clock: IReactorTime
    _calls: list[IDelayedCall] = field(factory=list)

    def __call__(self, seconds: float, call: Callable[[], object]) -> None:
        self._calls = [other for other in self._calls if other.active()]
        self._calls.append(self._clock.callLater(seconds, call))

    def cancel_all(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
