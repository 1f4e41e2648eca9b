"""WebSockets by Autobahn's Twisted binding, as Socket.IO needs them.

Text messages, deflate, size limits, back-pressure. Two things differ from the binding: masks are
applied to a whole frame by `int` arithmetic, because Autobahn masks byte by byte without its native
helpers; and timers run on the given clock.

The binding costs 0.2 MB (PSS and RSS) and no measurable time over Autobahn's bare protocol if it is
imported by `trimmed_autobahn`; whole, it costs 2.5 MB (PSS), 7.5 MB (RSS) and 40 ms.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from secrets import token_bytes
from typing import Any, Protocol, TypeVar, cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hapi.protocol.engineio import MAX_PAYLOAD
from hapi.startup import trimmed_autobahn

with trimmed_autobahn():
    from autobahn.twisted.websocket import (
        WebSocketAdapterProtocol,
        WebSocketClientFactory,
        WebSocketClientProtocol,
        WebSocketServerFactory,
        WebSocketServerProtocol,
    )
    from autobahn.websocket.compress_deflate import (
        PerMessageDeflateOffer,
        PerMessageDeflateOfferAccept,
        PerMessageDeflateResponse,
        PerMessageDeflateResponseAccept,
    )
    from autobahn.websocket.protocol import WebSocketProtocol

COMPRESS_FROM = 1024  # bytes; the real client sends shorter messages uncompressed
CLOSE_TIMEOUT = 1.0  # seconds for the peer's half of the closing handshake
MAX_HEADER_SIZE = 64 * 1024  # bytes of an HTTP head
UNAUTHENTICATED_SIZE = 64 * 1024  # bytes that a client may send in all before it is authenticated
MAX_FRAGMENTS = 4096  # frames of one message; real clients send each message in one
NORMAL, TOO_BIG, INVALID_TEXT, POLICY = 1000, 1009, 1007, 1008  # close codes (RFC 6455 7.4.1)


_REFUSED = re.compile(r"WebSocket connection upgrade failed \[(\d{1,9})\]: ?(.*)")  # Autobahn's
# How servers answer a WebSocket request that has lost its Upgrade header, as ordinary GET requests.
_WITHOUT_UPGRADE = {200, 400, 404, 405, 426, 501}


def handshake_reason(reason: str) -> str:
    """Why a server did not accept a WebSocket, from Autobahn's words for it."""
    lost = "a proxy in front of the hub must pass on the headers Upgrade and Connection"
    if reason.startswith("Unsupported HTTP version"):
        return f"the WebSocket was answered in an old version of HTTP: {lost}"
    if (found := _REFUSED.match(reason)) is None:
        return reason
    status = int(found[1])
    told = f"the WebSocket was refused with HTTP {status} {found[2]}".rstrip()
    if status in _WITHOUT_UPGRADE:
        return f"{told}: {lost}"
    if status in (502, 503, 504):
        return f"{told}: a proxy is there, and the hub behind it does not answer"
    return told


class WebSocketHandler(Protocol):
    """Receives the events of one WebSocket, in this order; `closed` exactly once, last."""

    def opened(self) -> None: ...
    def received(self, text: str) -> None: ...
    def received_binary(self) -> None: ...
    def writable_changed(self, writable: bool) -> None:
        """False: the peer reads slowly, the buffer is full. True: the buffer has drained."""

    def closed(self, code: int | None, reason: str, cause: Failure | None) -> None: ...


class _NoHandler:
    """The handler of a socket that is closed."""

    def opened(self) -> None: ...
    def received(self, text: str) -> None: ...
    def received_binary(self) -> None: ...
    def writable_changed(self, writable: bool) -> None: ...
    def closed(self, code: int | None, reason: str, cause: Failure | None) -> None: ...


_NO_HANDLER = _NoHandler()


def message_size(text: str) -> int:
    """The size of `text` as a message, in bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def apply_mask(payload: bytes, mask: bytes, offset: int = 0) -> bytes:
    """`payload` XOR `mask` repeated (RFC 6455 5.3), `offset` bytes into a frame; self-inverse."""
    length = len(payload)
    key = (mask[offset % 4 :] + mask[: offset % 4]) * (length // 4 + 1)
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key[:length], "little")).to_bytes(
        length, "little"
    )


@implementer(IPushProducer)
class _WebSocket(WebSocketAdapterProtocol, WebSocketProtocol):
    """What both ends have in common: Autobahn's protocol with a handler and a clock."""

    our_log = Logger()  # `log` is Autobahn's own, silent unless the host starts txaio's logging
    # Autobahn would copy these options of the factory, and format all of them for a debug message
    # that nobody reads: a third of the processor time of a connection. `_connected` copies them.
    CONFIG_ATTRS: Sequence[str] = ()
    option_names: Sequence[str]
    handler: WebSocketHandler
    clock: IReactorTime
    state = WebSocketProtocol.STATE_CLOSED  # until there is a transport
    address: str | None = None  # of the peer, where the caller knows it
    _abort_call: IDelayedCall | None = None
    failedByMe: bool  # Autobahn's: nothing more of this connection is kept
    _is_closed = False
    _is_writable = True
    _fragments = 0  # of the message that is being received
    _cause: Failure | None = None

    # --- for the handler's owner
    def send_text(self, text: str) -> None:
        """Send one message, or drop it if the socket is not open.

        Raises ValueError beyond MAX_PAYLOAD.
        """
        payload = text.encode("utf-8", "replace")
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(
                f"a message of {len(payload)} bytes is over the limit of {MAX_PAYLOAD}"
            )
        if self.state == self.STATE_OPEN:
            self.sendMessage(payload, doNotCompress=len(payload) < COMPRESS_FROM)

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Start the closing handshake; the connection is aborted after CLOSE_TIMEOUT."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:120], isReply=False)
        elif self.state != self.STATE_CLOSING:
            self.abort()
            return
        self._abort_later()

    def abort(self) -> None:
        """Abort the connection now."""
        if self.transport is not None:
            self._closeConnection(abort=True)

    # --- Twisted
    def connectionMade(self) -> None:
        cast(Any, self.transport).registerProducer(self, True)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        try:
            if self.state == self.STATE_CONNECTING and len(self.data) + len(data) > MAX_HEADER_SIZE:
                self.wasNotCleanReason = "the HTTP head is too long"
                self.abort()
                return
            self._dataReceived(data)
        except Exception as problem:  # Autobahn does not catch every error in a peer's HTTP head
            self.our_log.debug(
                "WebSocket peer {peer} sent unreadable data: {problem}",
                peer=self.peer,
                problem=problem,
            )
            self.wasNotCleanReason = f"unreadable data: {problem}"[:200]
            self.abort()
        if self.state == self.STATE_CLOSING:
            self._abort_later()

    def connectionLost(self, reason: Failure) -> None:
        self._cause = reason
        if self._abort_call is not None and self._abort_call.active():
            self._abort_call.cancel()
        super().connectionLost(reason)
        # The socket and its handler know each other, and Autobahn's Deferred knows the socket: let
        # go of them at once instead of leaving them to the garbage collection.
        self.handler, self.is_closed = _NO_HANDLER, None

    # --- IPushProducer: the transport says whether the peer reads
    def pauseProducing(self) -> None:
        self._is_writable = False
        self.handler.writable_changed(False)

    def resumeProducing(self) -> None:
        self._is_writable = True
        self.handler.writable_changed(True)

    def stopProducing(self) -> None:
        """The connection ends; `connectionLost` follows."""

    # --- Autobahn
    def onOpen(self) -> None:
        self._call_handler(self.handler.opened)

    def onConnect(self, request_or_response: Any) -> Any:
        """Accept: the upgrade was checked before it came here, and there is no subprotocol."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if isBinary:
            self._call_handler(self.handler.received_binary)
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._invalid_payload("a text message that is not UTF-8")
            return
        self._call_handler(self.handler.received, text)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        words = reason if wasClean else self.wasNotCleanReason
        try:
            self.handler.closed(self.remoteCloseCode, words or "", self._cause)
        except Exception:
            self.our_log.failure("The end of a WebSocket could not be handled")

    def sendFrame(
        self, opcode: int, payload: bytes = b"", fin: bool = True, rsv: int = 0, mask: Any = None,
        payload_len: Any = None, chopsize: Any = None, sync: bool = False,
    ) -> None:  # fmt: skip
        length, flag = len(payload), 0 if self.factory.isServer else 0x80
        head = bytes([(0x80 if fin else 0) | (rsv << 4) | opcode])
        if length <= 125:
            head += bytes([flag | length])
        elif length <= 0xFFFF:
            head += struct.pack("!BH", flag | 126, length)
        else:
            head += struct.pack("!BQ", flag | 127, length)
        if flag:
            key = token_bytes(4)
            head, payload = head + key, apply_mask(payload, key)
        self.sendData(head + payload)

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)
        self._fragments = 0

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS and not self.failedByMe:
            self.failedByMe = True
            self.close(TOO_BIG, f"a message of more than {MAX_FRAGMENTS} frames")

    def onPing(self, payload: bytes) -> None:
        """Answer, but not a client that leaves our answers unread."""
        if self._is_writable:
            super().onPing(payload)

    def onFrameData(self, payload: bytes) -> Any:
        if self.current_frame.mask:
            offset = self.current_frame_masker.pointer() - len(payload)
            payload = apply_mask(payload, self.current_frame.mask, offset)
        return super().onFrameData(payload)

    def _call_handler(self, call: Callable[..., object], *args: Any) -> None:
        try:
            call(*args)
        except Exception:
            self.our_log.failure("A WebSocket message could not be handled")
            self.close()

    def _abort_later(self) -> None:
        if self._abort_call is None:
            self._abort_call = self.clock.callLater(CLOSE_TIMEOUT, self.abort)


OPTIONS: Mapping[str, Any] = {
    "maxFramePayloadSize": MAX_PAYLOAD,
    "maxMessagePayloadSize": MAX_PAYLOAD,  # also the limit of an inflated message
    "utf8validateIncoming": False,  # done on the whole message
    "applyMask": False,  # done in `sendFrame` and `onFrameData`
    "failByDrop": False,  # a message over the limit is answered with close code 1009
    "openHandshakeTimeout": 0,  # the two handshakes are timed on the clock that we are given
    "closeHandshakeTimeout": 0,
    "tcpNoDelay": True,
}


class ClientSocket(_WebSocket, WebSocketClientProtocol):
    """The client's end of a WebSocket. `date` is the server's `Date` header, once it accepted."""

    option_names = WebSocketClientProtocol.CONFIG_ATTRS
    date: str | None = None

    def onConnect(self, response: Any) -> None:
        self.date = response.headers.get("date")

    def failHandshake(self, reason: str) -> None:
        super().failHandshake(handshake_reason(reason))


class SizeObserver(Protocol):
    """Is told how many bytes the client of a socket has sent before it was authenticated."""

    def hold(self, connection: Any, size: int) -> None: ...
    def remove(self, connection: Any) -> None: ...


class ServerSocket(_WebSocket, WebSocketServerProtocol):
    """The server's end of a WebSocket.

    Until `authenticated` is called, the client may send UNAUTHENTICATED_SIZE bytes in all: frames,
    messages that have no end yet, control frames, and what compressed messages become.
    """

    option_names = WebSocketServerProtocol.CONFIG_ATTRS
    is_answering = False  # it can be ended at any time
    absence = 0.0  # seconds; a WebSocket is there or lost
    is_forwarded = False  # whether another hub relays its client
    observer: SizeObserver | None = None
    _unauthenticated_size: int | None = 0  # bytes; None once the client is authenticated

    def connectionMade(self) -> None:
        super().connectionMade()
        self.maxFramePayloadSize = self.maxMessagePayloadSize = UNAUTHENTICATED_SIZE

    def onConnect(self, request: Any) -> tuple[None, dict[str, str]]:
        """Accept, and say what time it is: runners and sessions correct their clocks by it."""
        from email.utils import formatdate  # 0.3 MB that a client does not need

        return None, {"Date": formatdate(usegmt=True)}

    def authenticated(self) -> None:
        """The client has shown a token: the limits of the wire apply."""
        self._unauthenticated_size = None
        self.maxFramePayloadSize = self.maxMessagePayloadSize = MAX_PAYLOAD
        if self.observer is not None:
            self.observer.remove(self)

    def dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_CONNECTING or self._may_receive(len(data)):
            super().dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        if self.observer is not None:
            self.observer.remove(self)
        super().connectionLost(reason)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if not self._isMessageCompressed or self._may_receive(len(payload)):
            super().onMessage(payload, isBinary)

    def _may_receive(self, size: int) -> bool:
        if self._unauthenticated_size is None:
            return True
        self._unauthenticated_size += size
        if self._unauthenticated_size > UNAUTHENTICATED_SIZE:
            self.wasNotCleanReason = f"over {UNAUTHENTICATED_SIZE} bytes before authentication"
            self.close(POLICY, self.wasNotCleanReason)
            return False
        if self.observer is not None:
            self.observer.hold(self, self._unauthenticated_size)
        return True


S = TypeVar("S", bound=_WebSocket)


def _connected(
    socket: S, factory: Any, clock: IReactorTime, make_handler: Callable[[S], WebSocketHandler]
) -> S:
    socket.factory, socket.clock = factory, clock
    for name in socket.option_names:
        setattr(socket, name, getattr(factory, name))
    socket.handler = make_handler(socket)
    return socket


class ClientSocketFactory(WebSocketClientFactory):
    """Makes a ClientSocket per connection.

    `headers` are sent with the upgrade request; there is never an Origin.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        url: str,
        headers: Mapping[str, str],
        make_handler: Callable[[ClientSocket], WebSocketHandler],
    ) -> None:
        super().__init__(url, useragent=None, headers=dict(headers), reactor=clock)
        self._clock, self._make_handler = clock, make_handler
        self.setProtocolOptions(
            serverConnectionDropTimeout=0,
            perMessageCompressionOffers=[PerMessageDeflateOffer(request_no_context_takeover=True)],
            perMessageCompressionAccept=_accept_response,
            **OPTIONS,
        )

    def buildProtocol(self, address: IAddress | None) -> ClientSocket:
        return _connected(ClientSocket(), self, self._clock, self._make_handler)


class ServerSocketFactory(WebSocketServerFactory):
    """Makes a ServerSocket per upgrade."""

    noisy = False

    def __init__(
        self, clock: IReactorTime, make_handler: Callable[[ServerSocket], WebSocketHandler]
    ) -> None:
        super().__init__(server="", reactor=clock)
        self._clock, self._make_handler = clock, make_handler
        self.setProtocolOptions(
            perMessageCompressionAccept=_accept_offer, allowNullOrigin=True, **OPTIONS
        )

    def buildProtocol(self, address: IAddress | None) -> ServerSocket:
        return _connected(ServerSocket(), self, self._clock, self._make_handler)


def _accept_response(response: Any) -> Any:
    if isinstance(response, PerMessageDeflateResponse):
        return PerMessageDeflateResponseAccept(
            response, no_context_takeover=True, max_message_size=MAX_PAYLOAD
        )
    return None


def _accept_offer(offers: list[Any]) -> Any:
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(
                offer,
                request_no_context_takeover=True,
                no_context_takeover=True,
                max_message_size=MAX_PAYLOAD,
            )
    return None
