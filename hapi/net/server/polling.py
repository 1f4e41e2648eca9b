"""Long-polling, the transport that Engine.IO clients begin with, and its upgrade to a WebSocket.

A client sends packets by POST and gets those that wait for it by GET; one GET hangs until there is
something to answer (Engine.IO v4, "HTTP long-polling" and "Upgrade").
"""

from __future__ import annotations

from collections import deque
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web import http

from hapi.net.common.websocket import (
    UNAUTHENTICATED_SIZE,
    ServerSocket,
    SizeObserver,
    WebSocketHandler,
)
from hapi.net.server.site import SMALL_BODY_SIZE, mark_authenticated
from hapi.protocol.engineio import (
    CLOSE,
    MAX_PAYLOAD,
    NOOP,
    PING,
    PONG,
    PROBE,
    UPGRADE,
    join_payload,
    split_payload,
)

MAX_WAITING = 256 * 1024  # characters that wait for a GET before the client counts as slow
NOOP_INTERVAL = 0.1  # seconds after which a GET is answered while the client changes to a WebSocket
UPGRADE_TIMEOUT = 10.0  # seconds that the change may take
TEXT = b"text/plain; charset=UTF-8"


class Observer(SizeObserver):
    """Counts connections that have shown no token (UnauthenticatedConnections)."""

    def add(self, connection: Any, address: str) -> None: ...


@define(eq=False, repr=False)
class PollingTransport:
    """The transport of one client; it has the methods of a ServerSocket that its handler calls.

    Until `authenticated` is called, the client may send UNAUTHENTICATED_SIZE bytes in all.
    """

    clock: IReactorTime
    address: str | None
    _observer: Observer
    handler: WebSocketHandler = field(init=False)
    is_upgrading: bool = False
    is_closed: bool = False
    is_answering = False  # it can be ended at any time
    is_forwarded = False  # hubs relay by WebSocket
    _waiting: deque[str] = field(factory=deque)
    _waiting_size: int = 0  # characters
    _is_writable: bool = True
    _poll: Any = None  # the GET that hangs
    _polled_at: float = 0.0  # when the last one ended
    _flush_call: IDelayedCall | None = None
    _unauthenticated_size: int | None = 0  # bytes; None once the client is authenticated

    def open(self) -> None:
        self._polled_at = self.clock.seconds()
        self._observer.add(self, self.address or "")
        self.handler.opened()

    @property
    def absence(self) -> float:
        """Seconds without a GET that hangs; a client that is there makes the next one at once."""
        return 0.0 if self._poll is not None else self.clock.seconds() - self._polled_at

    @property
    def max_body_size(self) -> int:
        """Bytes of one POST."""
        return MAX_PAYLOAD if self.is_authenticated else SMALL_BODY_SIZE

    # --- for the handler's owner
    def send_text(self, text: str) -> None:
        """Send one packet, or drop it if the transport is closed."""
        if self.is_closed:
            return
        self._waiting.append(text)
        self._waiting_size += len(text)
        self._flush_later(0.0)
        if self._is_writable and self._waiting_size > MAX_WAITING:
            self._is_writable = False
            self.handler.writable_changed(False)

    def authenticated(self) -> None:
        """The client has shown a token: the limits of the wire apply."""
        self._unauthenticated_size = None
        self._observer.remove(self)
        if self._poll is not None:
            mark_authenticated(self._poll)

    def close(self) -> None:
        """Send what waits and a close packet to the GET that hangs, and end."""
        if self._poll is not None:
            self._waiting.append(CLOSE)
            self._flush()
        self._end("closed")

    def abort(self) -> None:
        """End without sending what waits."""
        self._waiting.clear()
        self.close()

    # --- requests
    def poll(self, request: Any) -> bool:
        """Take a GET. False: there is one already, which ends the session."""
        if self._poll is not None:
            self._handler_end("two GET requests at once")
            return False
        self._poll = request
        request.is_stream = True
        request.notifyFinish().addErrback(self._lost, request)
        self._mark(request)
        if self._waiting:
            self._flush()
        elif self.is_upgrading:
            self._flush_later(NOOP_INTERVAL)
        return True

    def post(self, request: Any, content: bytes) -> bool:
        """Take the packets of a POST. False: they are malformed, which ends the session."""
        self._mark(request)
        if self._unauthenticated_size is not None:
            self._unauthenticated_size += len(content)
            if self._unauthenticated_size > UNAUTHENTICATED_SIZE:
                self._handler_end(f"over {UNAUTHENTICATED_SIZE} bytes before authentication")
                return False
        packets = split_payload(content)
        if packets is None:
            self._handler_end("a malformed payload")
            return False
        for packet in packets:
            if self.is_closed:
                break
            if packet == CLOSE and self._poll is not None:
                self._answer(NOOP)  # as npm's server; a close packet answers only our own close
            if packet.startswith("b"):
                self.handler.received_binary()
            else:
                self.handler.received(packet)
        return not self.is_closed or packets[-1] == CLOSE

    # --- the change to a WebSocket
    def begin_upgrade(self) -> None:
        """The client has shown that a WebSocket works. It needs an answer to the GET that hangs
        before it goes on.
        """
        self.is_upgrading = True
        if self._poll is not None:
            self._flush_later(NOOP_INTERVAL)

    def abandon_upgrade(self) -> None:
        self.is_upgrading = False

    def end_upgrade(self) -> list[str]:
        """The client has changed over; what waits for it is to be sent by its WebSocket."""
        if self._poll is not None:
            self._answer(NOOP)
        waiting = list(self._waiting)
        self._forget()
        return waiting

    @property
    def is_authenticated(self) -> bool:
        return self._unauthenticated_size is None

    # --- inside
    def _mark(self, request: Any) -> None:
        """The connection of an authenticated client is one of the known."""
        if self.is_authenticated:
            mark_authenticated(request)

    def _handler_end(self, reason: str) -> None:
        self.handler.end(reason)  # type: ignore[attr-defined]

    def _flush_later(self, seconds: float) -> None:
        """Packets of one turn of the reactor travel together."""
        if self._poll is None:
            return
        if self._flush_call is not None and self._flush_call.active():
            if seconds:
                return
            self._flush_call.cancel()
        self._flush_call = self.clock.callLater(seconds, self._flush)

    def _flush(self) -> None:
        if self._poll is None:
            return
        if self._waiting:
            packets, self._waiting_size = list(self._waiting), 0
            self._waiting.clear()
            self._answer(join_payload(packets))
        elif self.is_upgrading:
            self._answer(NOOP)
        if not self._is_writable and not self.is_closed:
            self._is_writable = True
            self.handler.writable_changed(True)

    def _answer(self, payload: str) -> None:
        request, self._poll = self._poll, None
        self._polled_at = self.clock.seconds()
        self._cancel_flush()
        answer(request, payload.encode("utf-8", "replace"))

    def _lost(self, failure: Failure, request: Any) -> None:
        """A GET has ended before its client had the answer: packets are lost, or the page is."""
        if self._poll is request:
            self._poll = None
        if not self.is_closed:
            self._handler_end("a poll was given up")

    def _end(self, reason: str) -> None:
        if not self.is_closed:
            handler = self.handler
            self._forget()
            handler.closed(None, reason, None)

    def _forget(self) -> None:
        self.is_closed = True
        self._cancel_flush()
        self._waiting.clear()
        self._observer.remove(self)

    def _cancel_flush(self) -> None:
        if self._flush_call is not None and self._flush_call.active():
            self._flush_call.cancel()
        self._flush_call = None


@define(eq=False, repr=False)
class UpgradeProbe:
    """The handler of a WebSocket whose client has a PollingTransport, until it changes over."""

    _polling: PollingTransport
    _socket: ServerSocket
    _adopt: Any  # called with the socket when the client changes over
    _is_probed: bool = False
    _timeout_call: IDelayedCall | None = None

    def opened(self) -> None:
        self._timeout_call = self._polling.clock.callLater(UPGRADE_TIMEOUT, self._socket.abort)

    def received(self, text: str) -> None:
        if self._polling.is_closed:
            self._socket.close()
        elif text == PING + PROBE and not self._is_probed:
            self._is_probed = True
            self._socket.send_text(PONG + PROBE)
            self._polling.begin_upgrade()
        elif text == UPGRADE and self._is_probed:
            self._cancel_timeout()
            self._adopt(self._socket)
        else:
            self._socket.close()

    def received_binary(self) -> None:
        self._socket.close()

    def writable_changed(self, writable: bool) -> None: ...

    def closed(self, code: int | None, reason: str, cause: Failure | None) -> None:
        self._cancel_timeout()
        self._polling.abandon_upgrade()

    def _cancel_timeout(self) -> None:
        if self._timeout_call is not None and self._timeout_call.active():
            self._timeout_call.cancel()


def answer(request: Any, content: bytes) -> None:
    """Answer a request of a polling client."""
    request.setResponseCode(http.OK)
    request.setHeader(b"content-type", TEXT)
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"content-length", str(len(content)).encode())
    request.write(content)
    request.finish()
