"""The lines of an agent, handled one after the other, so that the reactor has time for others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

MAX_SLICE = 0.05  # seconds of handling lines before other events have their turn
# Bytes that wait: when the agent is not read any more, and when it is read again.
HIGH_WATER, LOW_WATER = 32 * 1024 * 1024, 1024 * 1024


@define(eq=False, repr=False)
class MessageQueue:
    """`handle` takes a line; if it returns a Deferred, the next line waits until that fires.

    `on_backlog` is called with True when too much waits, and with False when there is room again.
    """

    _clock: IReactorTime
    _handle: Callable[[bytes], Deferred[Any] | None]
    on_backlog: Callable[[bool], object] = field(default=lambda is_full: None)
    _lines: deque[bytes] = field(factory=deque)
    _size: int = 0
    _is_full: bool = False
    _is_busy: bool = False
    _at_end: list[Callable[[], object]] = field(factory=list)
    log = Logger()

    def put(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        self._run()
        if not self._is_full and self._size > HIGH_WATER:
            self._is_full = True
            self.on_backlog(True)

    def when_empty(self, call: Callable[[], object]) -> None:
        """Call `call` when all lines that are here now have been handled."""
        self._at_end.append(call)
        self._run()

    def _run(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        until = self._clock.seconds() + MAX_SLICE
        while self._lines:
            line = self._lines.popleft()
            self._size -= len(line)
            if (pending := self._handled(line)) is not None:
                pending.addErrback(self._failed).addBoth(self._resume)
                return
            if self._lines and self._clock.seconds() >= until:
                self._clock.callLater(0, self._resume)
                return
        self._is_busy = False
        calls, self._at_end = self._at_end, []
        for call in calls:
            call()

    def _handled(self, line: bytes) -> Deferred[Any] | None:
        try:
            return self._handle(line)
        except Exception:
            self.log.failure("A message of the agent could not be handled")
            return None

    def _failed(self, failure: Any) -> None:
        self.log.failure("A message of the agent could not be handled", failure)

    def _resume(self, _: object = None) -> None:
        self._is_busy = False
        self._run()
        if self._is_full and self._size < LOW_WATER:
            self._is_full = False
            self.on_backlog(False)
