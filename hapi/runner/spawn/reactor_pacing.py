"""Spreads the heavy work of many callers over several turns of the reactor, which serves other
requests in between."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

MIN_PAUSE = 0.001  # seconds between two callers; with 0 the reactor may run both in one turn


class Pacer(Protocol):
    """Decides when a caller may do its piece of work."""

    def take(self) -> Deferred[None]:
        """Fires when it is the caller's turn."""


class Unpaced:
    """For a Clock, which has no turns: every caller goes on at once."""

    def take(self) -> Deferred[None]:
        return succeed(None)


@define(eq=False, repr=False)
class OnePerReactorTurn:
    """Lets about one caller go on in each turn of the reactor, in the order in which they came."""

    _clock: IReactorTime
    _waiting: deque[Deferred[None]] = field(factory=deque)
    _is_taken: bool = False

    def take(self) -> Deferred[None]:
        if not self._is_taken:
            self._is_taken = True
            self._clock.callLater(MIN_PAUSE, self._next)
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def _next(self) -> None:
        if self._waiting:
            self._clock.callLater(MIN_PAUSE, self._next)
            self._waiting.popleft().callback(None)
        else:
            self._is_taken = False


def pacer_for(reactor: Any) -> Pacer:
    """One caller in each turn on a real reactor, no limit on a Clock."""
    has_turns = IReactorFromThreads.providedBy(reactor)
    return OnePerReactorTurn(reactor) if has_turns else Unpaced()
