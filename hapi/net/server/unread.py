"""What clients have been sent and have not read: a limit on all of it together, and answers that
are sent as fast as they are read.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

PIECE_SIZE = 64 * 1024  # bytes that are handed to the transport at a time
PIECE_TIMEOUT = 20.0  # seconds that a client may take to read one piece
MAX_UNREAD_ANSWERS = 128 * 1024 * 1024  # bytes of all answers together


class Reader(Protocol):
    def cut(self) -> None:
        """End the connection now, whatever has not been read."""


@define(eq=False, repr=False)
class UnreadLimit:
    """Counts what each reader has not read; beyond `max_size` the one that has left most is cut,
    of equals the one that has been at it longest.
    """

    max_size: int  # bytes
    _sizes: dict[Reader, int] = field(factory=dict)
    size: int = 0  # bytes of all readers

    log = Logger()

    def hold(self, reader: Reader, size: int) -> None:
        """Set how much `reader` has not read, in bytes."""
        self.size += size - self._sizes.pop(reader, 0)
        if size:
            self._sizes[reader] = size
        while self.size > self.max_size:
            slowest = max(self._sizes, key=lambda each: self._sizes[each])
            self.hold(slowest, 0)
            self.log.info(
                "A client is disconnected: all clients together left over {limit} bytes unread",
                limit=self.max_size,
            )
            slowest.cut()


@implementer(IPushProducer)
@define(eq=False, repr=False)
class AnswerProducer:
    """Sends the body of an answer in pieces, each as soon as the one before has been read."""

    _request: Any  # a LimitedRequest
    _clock: IReactorTime
    _limit: UnreadLimit
    _is_paused: bool
    _pieces: deque[memoryview] = field(factory=deque)
    _size: int = 0
    _finishes: bool = False
    _timeout_call: IDelayedCall | None = None

    def add(self, data: bytes) -> None:
        view = memoryview(data)
        self._pieces.extend(
            view[start : start + PIECE_SIZE] for start in range(0, len(data), PIECE_SIZE)
        )
        self._size += len(data)
        self._send()

    def finish(self) -> None:
        """Finish the answer once everything has been handed to the transport."""
        self._finishes = True
        self._send()

    def cut(self) -> None:
        channel = self._request.channel
        self.stop()
        if channel is not None:
            channel.abort()

    def stop(self) -> None:
        """Send nothing more: the connection has ended."""
        self._pieces.clear()
        self._size = 0
        self._limit.hold(self, 0)
        self._cancel_timeout()

    # --- IPushProducer
    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._send()

    def stopProducing(self) -> None:
        self.stop()

    # --- inside
    def _send(self) -> None:
        self._cancel_timeout()
        while self._pieces and not self._is_paused:
            piece = self._pieces.popleft()
            self._size -= len(piece)
            self._request.write_piece(bytes(piece))
        self._limit.hold(self, self._size)
        if self._pieces:
            self._timeout_call = self._clock.callLater(PIECE_TIMEOUT, self.cut)
        elif self._finishes:
            self._finishes = False
            self._request.finish_sent()

    def _cancel_timeout(self) -> None:
        if self._timeout_call is not None and self._timeout_call.active():
            self._timeout_call.cancel()
        self._timeout_call = None
