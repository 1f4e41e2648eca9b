"""What the two runners of a hand-off say to each other: one JSON object a line, over a socket pair that nobody else has."""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure


class ChannelClosed(Exception):
    """The other side closed, died, or said something that makes no sense."""


class HandoffChannel(LineOnlyReceiver):
    """`receive` gives the messages in order, one to each call; after the last one it errs with ChannelClosed."""

    delimiter = b"\n"
    MAX_LENGTH = 65536

    def __init__(self) -> None:
        self._received: deque[dict[str, Any]] = deque()
        self._waiting: deque[Deferred[dict[str, Any]]] = deque()
        self._ended: str | None = None

    def receive(self) -> Deferred[dict[str, Any]]:
        if self._received:
            return succeed(self._received.popleft())
        if self._ended is not None:
            return fail(ChannelClosed(self._ended))
        waiting: Deferred[dict[str, Any]] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def _forget(self, waiting: Deferred[dict[str, Any]]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def send(self, word: str, **more: Any) -> None:
        """Send a message; nothing happens when the other side is gone."""
        if self._ended is None and self.transport is not None:
            self.sendLine(msgspec.json.encode({"word": word, **more}))  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        try:
            message = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("word"), str):
            self.close("it said something that makes no sense")
        elif self._waiting:
            self._waiting.popleft().callback(message)
        else:
            self._received.append(message)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.close("it said something without end")

    def close(self, reason: str = "we closed") -> None:
        """No more words either way."""
        self._over(reason)
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over("it is gone")

    def _over(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason
            waiting, self._waiting = self._waiting, deque()
            for each in waiting:
                each.errback(ChannelClosed(reason))


class _Only(Factory):
    noisy = False

    def __init__(self, channel: HandoffChannel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: object) -> HandoffChannel:
        return self._channel


def open_channel(reactor: Any, descriptor: int) -> HandoffChannel:
    """A HandoffChannel over that end of a socket pair, which is ours from now on."""
    os.set_blocking(descriptor, False)
    channel = HandoffChannel()
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, _Only(channel))
    os.close(descriptor)  # the reactor has a copy
    return channel
