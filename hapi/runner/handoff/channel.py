"""The channel between both runners of a hand-off: JSON lines over a socket pair that only they
have.
"""

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

# The messages, by their `word`. Both runners are of different builds: these must stay as they are.
READY = "ready"  # from the replacement: it has loaded and holds the lock
TAKE_OVER = "go"  # to the replacement, with the control token and the ages of earlier hand-offs
CONFIRM = "yours"  # to the replacement: the home is its own
CONFIRMED = "mine"  # from the replacement: it knows
STARTUP_FAILED = "failed"  # from the replacement, with the reason
STOPPED = "leaving"  # from the replacement: it was asked to stop, with the source


class ChannelClosed(Exception):
    """The other runner closed the channel, ended, or sent an invalid message."""


class HandoffChannel(LineOnlyReceiver):
    """`receive` returns one message after the other, and then errs with ChannelClosed."""

    delimiter = b"\n"
    MAX_LENGTH = 65536

    def __init__(self) -> None:
        self._received: deque[dict[str, Any]] = deque()
        self._waiting: deque[Deferred[dict[str, Any]]] = deque()
        self._closed: str | None = None

    def receive(self) -> Deferred[dict[str, Any]]:
        """Fire with the next message. Errs with ChannelClosed."""
        if self._received:
            return succeed(self._received.popleft())
        if self._closed is not None:
            return fail(ChannelClosed(self._closed))
        waiting: Deferred[dict[str, Any]] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def _forget(self, waiting: Deferred[dict[str, Any]]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def send(self, word: str, **facts: Any) -> None:
        """Send a message. Does nothing when the channel is closed."""
        if self._closed is None and self.transport is not None:
            self.sendLine(msgspec.json.encode({"word": word, **facts}))  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        try:
            message = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("word"), str):
            self.close("the other runner sent an invalid message")
        elif self._waiting:
            self._waiting.popleft().callback(message)
        else:
            self._received.append(message)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.close("the other runner sent a message that is too long")

    def close(self, reason: str = "the channel was closed") -> None:
        """Close the channel; callers that wait for a message get `reason`."""
        self._fail_waiting(reason)
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail_waiting("the other runner closed the channel")

    def _fail_waiting(self, reason: str) -> None:
        if self._closed is None:
            self._closed = reason
            waiting, self._waiting = self._waiting, deque()
            for each in waiting:
                each.errback(ChannelClosed(reason))


class _SingleProtocolFactory(Factory):
    noisy = False

    def __init__(self, channel: HandoffChannel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: object) -> HandoffChannel:
        return self._channel


def open_channel(reactor: Any, descriptor: int) -> HandoffChannel:
    """Open a channel on one end of a socket pair. The descriptor belongs to it from then on."""
    os.set_blocking(descriptor, False)
    channel = HandoffChannel()
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, _SingleProtocolFactory(channel))
    os.close(descriptor)  # the reactor has a copy
    return channel
