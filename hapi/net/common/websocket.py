"""Autobahn's WebSocket on Twisted, cut to what Socket.IO needs: text messages, deflate, size limits, back-pressure.

`autobahn.twisted` would load all of WAMP, and its native helpers load cffi; together 40 ms of start-up. So the few lines
that tie the protocol to a Twisted transport are here, with masking and UTF-8 checking done by `int` and `bytes.decode`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from secrets import token_bytes
from typing import Any, Protocol

import txaio

from hapi.startup import hidden_modules

os.environ.setdefault("AUTOBAHN_USE_NVX", "0")  # read once, when autobahn is imported
txaio.use_twisted()

with hidden_modules("click", "cbor2"):  # taken when they are there, for colours and for WAMP
    from autobahn.websocket import protocol as autobahn
    from autobahn.websocket.compress_deflate import (
        PerMessageDeflateOffer,
        PerMessageDeflateOfferAccept,
        PerMessageDeflateResponse,
        PerMessageDeflateResponseAccept,
    )
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime  # noqa: E402
from twisted.internet.protocol import Protocol as TwistedProtocol  # noqa: E402
from twisted.logger import Logger  # noqa: E402
from twisted.python.failure import Failure  # noqa: E402
from zope.interface import implementer  # noqa: E402

from hapi.protocol.engineio import MAX_PAYLOAD  # noqa: E402

COMPRESS_FROM = 1024  # bytes; the real client sends shorter messages plain
CLOSE_TIMEOUT = 1.0  # seconds for the peer's half of the closing handshake
HEADER_LIMIT = 64 * 1024  # bytes of an HTTP head
NORMAL, TOO_BIG, INVALID_TEXT, POLICY = 1000, 1009, 1007, 1008


class WebSocketHandler(Protocol):
    """Who owns a WebSocket: told what happens to it, in this order, `closed` exactly once."""

    def opened(self) -> None: ...
    def received(self, text: str) -> None: ...
    def received_binary(self) -> None: ...
    def writable_changed(self, writable: bool) -> None:
        """False: the peer reads slowly, the transport's buffer is full. True: it has drained."""

    def closed(self, code: int | None, reason: str, cause: Failure | None) -> None: ...


def message_size(text: str) -> int:
    """Bytes of `text` as a message."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def apply_mask(payload: bytes, mask: bytes, offset: int = 0) -> bytes:
    """RFC 6455 5.3: `payload` XOR `mask` repeated; `offset` bytes of the frame went before. Its own inverse."""
    length = len(payload)
    key = (mask[offset % 4 :] + mask[: offset % 4]) * (length // 4 + 1)
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key[:length], "little")).to_bytes(
        length, "little"
    )


@implementer(IPushProducer)
class _Socket(TwistedProtocol):
    """Both ends: Autobahn's protocol met with a Twisted transport and a Holder."""

    log = (
        txaio.make_logger()
    )  # silent unless the host starts txaio's logging; what matters is told to the holder
    our_log = Logger()
    peer: str | None = None
    handler: WebSocketHandler
    clock: IReactorTime
    _cutting: IDelayedCall | None = None
    _told = False
    state = autobahn.WebSocketProtocol.STATE_CLOSED  # until there is a transport
    _cause: Failure | None = None

    # --- for the holder
    def send_text(self, text: str) -> None:
        """Send one message. Raises ValueError beyond MAX_PAYLOAD; drops it when the socket is no longer open."""
        payload = text.encode("utf-8", "replace")
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(
                f"a message of {len(payload)} bytes is over the limit of {MAX_PAYLOAD}"
            )
        if self.state == self.STATE_OPEN:  # type: ignore[attr-defined]
            self.sendMessage(payload, doNotCompress=len(payload) < COMPRESS_FROM)  # type: ignore[attr-defined]

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Start the closing handshake; after CLOSE_PATIENCE the connection is cut."""
        if self.state == self.STATE_OPEN:  # type: ignore[attr-defined]
            self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:120], isReply=False)  # type: ignore[attr-defined]
        elif self.state != self.STATE_CLOSING:  # type: ignore[attr-defined]
            self.abort()
            return
        self._cut_later()

    def abort(self) -> None:
        """Cut the connection now."""
        if self.transport is not None:
            self._closeConnection(abort=True)

    # --- Twisted
    def connectionMade(self) -> None:
        transport: Any = self.transport
        try:
            transport.setTcpNoDelay(True)
        except (AttributeError, OSError):  # no TCP socket below
            pass
        transport.registerProducer(self, True)
        self._connectionMade()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        try:
            if self.state == self.STATE_CONNECTING and len(self.data) + len(data) > HEADER_LIMIT:  # type: ignore[attr-defined]
                self.wasNotCleanReason = "the HTTP head is too long"
                self.abort()
                return
            self._dataReceived(data)  # type: ignore[attr-defined]
        except Exception as problem:  # Autobahn lets errors in a peer's HTTP head pass
            self.our_log.debug(
                "WebSocket peer {peer} sent what we cannot read: {problem}",
                peer=self.peer,
                problem=problem,
            )
            self.wasNotCleanReason = f"unreadable data: {problem}"[:200]
            self.abort()
        if self.state == self.STATE_CLOSING:  # type: ignore[attr-defined]
            self._cut_later()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._cause = reason
        if self._cutting is not None and self._cutting.active():
            self._cutting.cancel()
        self._connectionLost(reason)  # type: ignore[attr-defined]

    # --- IPushProducer: the transport tells whether the peer reads
    def pauseProducing(self) -> None:
        self.handler.writable_changed(False)

    def resumeProducing(self) -> None:
        self.handler.writable_changed(True)

    def stopProducing(self) -> None:
        """The connection is going; `connectionLost` tells."""

    # --- what Autobahn asks of the network
    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.transport.registerProducer(producer, streaming)  # type: ignore[union-attr]

    def unregisterProducer(self) -> None:
        self.transport.unregisterProducer()  # type: ignore[union-attr]

    def _closeConnection(self, abort: bool = False) -> None:
        transport: Any = self.transport
        (transport.abortConnection if abort else transport.loseConnection)()

    # --- what Autobahn tells
    def _onOpen(self) -> None:
        self._guarded(self.handler.opened)

    def _onMessage(self, payload: bytes, isBinary: bool) -> None:
        if isBinary:
            self._guarded(self.handler.received_binary)
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._invalid_payload("a text message that is not UTF-8")  # type: ignore[attr-defined]
            return
        self._guarded(self.handler.received, text)

    def _onMessageBegin(self, isBinary: bool) -> None:
        self.onMessageBegin(isBinary)  # type: ignore[attr-defined]

    def _onMessageFrameBegin(self, length: int) -> None:
        self.onMessageFrameBegin(length)  # type: ignore[attr-defined]

    def _onMessageFrameData(self, payload: bytes) -> None:
        self.onMessageFrameData(payload)  # type: ignore[attr-defined]

    def _onMessageFrameEnd(self) -> None:
        self.onMessageFrameEnd()  # type: ignore[attr-defined]

    def _onMessageFrame(self, payload: list[bytes]) -> None:
        self.onMessageFrame(payload)  # type: ignore[attr-defined]

    def _onMessageEnd(self) -> None:
        self.onMessageEnd()  # type: ignore[attr-defined]

    def _onPing(self, payload: bytes) -> None:
        self.onPing(payload)  # type: ignore[attr-defined]

    def _onPong(self, payload: bytes) -> None:
        self.onPong(payload)  # type: ignore[attr-defined]

    def _onConnect(self, response: Any) -> None:
        """The upgrade succeeded."""

    def onConnect(self, request: Any) -> None:
        """The upgrade was judged before it came here; no subprotocol."""

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._told:
            return
        self._told = True
        words = reason if wasClean else self.wasNotCleanReason
        try:
            self.handler.closed(self.remoteCloseCode, words or "", self._cause)  # type: ignore[attr-defined]
        except Exception:
            self.our_log.failure("A WebSocket's end could not be told")

    # --- framing, see the module's first lines
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
        self.sendData(head + payload)  # type: ignore[attr-defined]

    def onFrameData(self, payload: bytes) -> Any:
        if self.current_frame.mask:  # type: ignore[attr-defined]
            offset = self.current_frame_masker.pointer() - len(payload)  # type: ignore[attr-defined]
            payload = apply_mask(payload, self.current_frame.mask, offset)  # type: ignore[attr-defined]
        return super().onFrameData(payload)  # type: ignore[misc]

    def _guarded(self, call: Any, *args: Any) -> None:
        try:
            call(*args)
        except Exception:
            self.our_log.failure("A WebSocket message could not be handled")
            self.close()

    def _cut_later(self) -> None:
        if self._cutting is None:
            self._cutting = self.clock.callLater(CLOSE_TIMEOUT, self.abort)


OPTIONS: Mapping[str, Any] = {
    "maxFramePayloadSize": MAX_PAYLOAD,
    "maxMessagePayloadSize": MAX_PAYLOAD,  # also the bound of what deflate may unfold to
    "utf8validateIncoming": False,  # done on the whole message
    "applyMask": False,  # done in `sendFrame` and `onFrameData`
    "failByDrop": False,  # a message over the limit is answered with close code 1009
    "openHandshakeTimeout": 0,  # Autobahn's timers use the global reactor; ours use the clock we are given
    "closeHandshakeTimeout": 0,
    "tcpNoDelay": True,
}


class ClientSocket(_Socket, autobahn.WebSocketClientProtocol):  # type: ignore[misc]
    """Our end of a WebSocket that we opened."""


class ServerSocket(_Socket, autobahn.WebSocketServerProtocol):  # type: ignore[misc]
    """Our end of a WebSocket that a client opened."""

    def connectionMade(self) -> None:
        self.transport.unregisterProducer()  # type: ignore[union-attr]  # from the HTTP channel that had the connection before
        super().connectionMade()


class _Factory:
    def doStart(self) -> None:
        """Twisted's factory hooks; nothing to do."""

    def doStop(self) -> None: ...


class ClientSocketFactory(_Factory, autobahn.WebSocketClientFactory):  # type: ignore[misc]
    """Makes a ClientSocket per connection. `headers` go into the upgrade request; there is never an Origin."""

    noisy = False
    log = txaio.make_logger()

    def __init__(
        self, clock: IReactorTime, url: str, headers: Mapping[str, str], make_handler: Any
    ) -> None:
        super().__init__(url, useragent=None, headers=dict(headers))
        self._clock, self._make_handler = clock, make_handler
        self.setProtocolOptions(
            serverConnectionDropTimeout=0,
            perMessageCompressionOffers=[PerMessageDeflateOffer(request_no_context_takeover=True)],
            perMessageCompressionAccept=_accept_response,
            **OPTIONS,
        )

    def buildProtocol(self, address: Any) -> ClientSocket:
        socket = ClientSocket()
        socket.factory, socket.clock = self, self._clock
        socket.handler = self._make_handler(socket)
        return socket


class ServerSocketFactory(_Factory, autobahn.WebSocketServerFactory):  # type: ignore[misc]
    """Makes a ServerSocket per upgrade."""

    noisy = False
    log = txaio.make_logger()

    def __init__(self, clock: IReactorTime, make_handler: Any) -> None:
        super().__init__(server="")
        self._clock, self._make_handler = clock, make_handler
        self.setProtocolOptions(
            perMessageCompressionAccept=_accept_offer, allowNullOrigin=True, **OPTIONS
        )

    def buildProtocol(self, address: Any) -> ServerSocket:
        socket = ServerSocket()
        socket.factory, socket.clock = self, self._clock
        socket.handler = self._make_handler(socket)
        return socket


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
