"""Ends a connection on which no answer comes: a server that stands still keeps it open for ever."""

from __future__ import annotations

from typing import Any, Protocol

STALL_TIMEOUT = 15.0  # seconds: longer than the statement_timeout of a server that works
CHECK_INTERVAL = 1.0  # seconds


class Watched(Protocol):
    @property
    def calls(self) -> int:
        """Grows with each statement."""

    def interrupt(self) -> None:
        """What waits for an answer fails."""


class StallWatch:
    """Watches work in another thread from its begin until `stop`."""

    def __init__(self, reactor: Any, watched: Watched) -> None:
        self._reactor, self._watched = reactor, watched
        self._calls, self._since = watched.calls, reactor.seconds()
        self._next = reactor.callLater(CHECK_INTERVAL, self._check)

    def _check(self) -> None:
        calls, now = self._watched.calls, self._reactor.seconds()
        if calls != self._calls:
            self._calls, self._since = calls, now
        elif now - self._since >= STALL_TIMEOUT:
            self._watched.interrupt()
        self._next = self._reactor.callLater(CHECK_INTERVAL, self._check)

    def stop(self) -> None:
        self._next.cancel()
