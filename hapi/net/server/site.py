"""The Site of both servers: absolute deadlines for the head and the body of a request, and a limit
on its size.

Who may send requests is decided by the root resource that the site is given.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableDescriptor, IReactorTime
from twisted.protocols.policies import ProtocolWrapper
from twisted.web import http
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from hapi.metrics import RequestCounters
from hapi.net.server.http import HeadRefused, raw_json_reply
from hapi.net.server.unauthenticated import UnauthenticatedConnections
from hapi.net.server.unread import MAX_UNREAD_ANSWERS, PIECE_SIZE, AnswerProducer, UnreadLimit
from hapi.request_id import REQUEST_ID_HEADER, request_id_from, run_for_request

MAX_HEAD_SIZE = 16 * 1024  # bytes of request line and headers together
MAX_BODY_SIZE = 1024 * 1024  # bytes
SMALL_BODY_SIZE = 64 * 1024  # bytes: bodies up to this size stay in memory and need no token
MAX_BODIES_SIZE = 512 * 1024 * 1024  # bytes of all larger bodies at once
HEAD_TIMEOUT, BODY_TIMEOUT, IDLE_TIMEOUT = 5.0, 10.0, 60.0  # seconds
SMALL_BODY_TIMEOUT = 15.0  # seconds
LINGER_TIMEOUT = 2.0  # seconds that a refused client may take to stop sending
UNMATCHED, REFUSED_BY_HEAD = "unmatched", "refused by head"  # routes of what has none
TOO_MANY_BODIES = HeadRefused(503, {"error": "Too many uploads at once"}, {"Retry-After": "5"})


def below(base_path: bytes, uri: bytes) -> bytes:
    """`uri` without the path `base_path` (as `/hapi`) at its beginning, if it has it."""
    return uri[len(base_path) :] if base_path and uri.startswith(base_path + b"/") else uri


class LimitedRequest(Request):
    """Counts the body while it arrives: a chunked body does not announce its length.

    Has an id from its head on, which its answer and what is logged while it is served carry.
    """

    request_id: str | None = None
    route: str | None = None  # the pattern that matched its path; set by the root resource
    is_stream = False  # whether its answer lasts as long as the client wants
    began_at = 0.0  # clock seconds at which its head had arrived
    peer: Any = None  # what a signature of another hub in the head says (hapi.hub.cluster)
    hop: Any = None  # the same of a request that another hub passes on
    is_answered = False  # whether another hub has answered it
    channel: LimitedChannel | None  # type: ignore[assignment]
    max_body_size = MAX_BODY_SIZE  # bytes
    _received = _reserved = 0  # bytes
    _answer: AnswerProducer | None = None

    def read_target(self, method: bytes, uri: bytes) -> None:
        """Set what is known of a request as soon as its head has arrived."""
        if self.channel is not None:
            uri = below(self.channel.site.base_path, uri)
        self.method, self.uri = method, uri
        self.path, _, query = uri.partition(b"?")
        self.args = http.parse_qs(query, True)
        self.request_id = request_id_from(self.getHeader(REQUEST_ID_HEADER))
        if self.channel is not None:
            self.began_at = self.channel.site.clock.seconds()
            self.channel.site.on_head(self)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        target = path if self.request_id is None else self.uri  # without the base path
        super().requestReceived(command, target, version)  # type: ignore[no-untyped-call]

    def process(self) -> None:
        assert self.request_id is not None  # process() follows the head
        self.responseHeaders.setRawHeaders(REQUEST_ID_HEADER, [self.request_id])
        run_for_request(self.request_id, super().process)

    def forget(self) -> None:
        """Release what the request holds: its body, and the channel."""
        self.release_body()
        self.channel = None
        if self.content is not None:
            self.content.close()

    def gotLength(self, length: int | None) -> None:
        if self.max_body_size <= SMALL_BODY_SIZE:
            self.content = BytesIO()  # a file would be made for each chunked body
        else:
            super().gotLength(length)  # type: ignore[no-untyped-call]

    def write(self, data: bytes) -> None:
        """Write a part of the answer. A large one is sent as fast as the client reads it."""
        if self._answer is None and len(data) > PIECE_SIZE and self._can_produce():
            assert self.channel is not None
            site = self.channel.site
            self._answer = AnswerProducer(self, site.clock, site.unread, self.channel.is_paused)
            self.registerProducer(self._answer, True)  # type: ignore[no-untyped-call]
        if self._answer is None:
            self.write_piece(data)
        else:
            self._answer.add(data)

    def finish(self) -> None:
        """The answer is complete; the request ends when the transport has all of it."""
        self.release_body()
        if self._answer is not None:
            self._answer.finish()
        else:
            self.finish_sent()

    def write_piece(self, data: bytes) -> None:
        super().write(data)  # type: ignore[no-untyped-call]

    def finish_sent(self) -> None:
        if self._answer is not None:
            self._answer = None
            self.unregisterProducer()  # type: ignore[no-untyped-call]
        super().finish()  # type: ignore[no-untyped-call]
        self.transport = None

    def _can_produce(self) -> bool:
        has_body = self.method != b"HEAD" and self.code not in http.NO_BODY_CODES
        is_connected = self.channel is not None and not self._disconnected
        return has_body and is_connected and self.producer is None

    def connectionLost(self, reason: Any) -> None:
        self.release_body()
        if self._answer is not None:
            self._answer.stop()
            self._answer = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.transport = self.producer = None

    def reserve_body(self, size: int) -> None:
        """Count `size` bytes of this body among all bodies. Raises HeadRefused beyond their limit.

        Small bodies are counted by connection.
        """
        assert self.channel is not None
        site = self.channel.site
        if self.max_body_size <= SMALL_BODY_SIZE:
            site.unauthenticated.hold(self.channel, size)
            return
        if site.bodies_size + size - self._reserved > site.max_bodies_size:
            raise TOO_MANY_BODIES
        site.bodies_size += size - self._reserved
        self._reserved = size

    def release_body(self) -> None:
        if self.channel is not None:
            self.channel.site.bodies_size -= self._reserved
            self.channel.site.unauthenticated.hold(self.channel, 0)
        self._reserved = 0

    def handleContentChunk(self, data: bytes) -> None:
        if self.channel is None:
            return
        self._received += len(data)
        if self._received > self.max_body_size:
            self.channel.refuse_body(self.max_body_size)
            return
        if self._received > self._reserved:  # a chunked body
            try:
                self.reserve_body(self._received)
            except HeadRefused as refusal:
                self.channel.refuse_by(refusal)
                return
        if self.channel is not None:  # the connection may have been ended for what it holds
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]


class LimitedChannel(http.HTTPChannel):
    """One connection. Twisted's own timeout restarts with each byte, so that one byte a second
    would keep a connection for ever (X07); these deadlines do not."""

    site: LimitedSite
    totalHeadersSize = MAX_HEAD_SIZE
    _deadline: IDelayedCall | None = None
    _successor: Any = None  # the protocol that has taken the connection over
    refused = False
    is_paused = False  # the client reads slowly, the transport's buffer is full

    @property
    def is_answering(self) -> bool:
        """Whether a complete request has arrived and its answer is being prepared."""
        return bool(self._handlingRequest)

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        peer = self.transport.getPeer()  # type: ignore[union-attr]
        self.site.unauthenticated.add(self, str(getattr(peer, "host", "")))
        self._start_deadline("head", self.site.head_timeout)

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            return
        if self._deadline is None and not self._handlingRequest:
            # The next request on a kept connection begins.
            self._start_deadline("head", self.site.head_timeout)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        if not self.refused:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> None:
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif not self.refused:
            super().rawDataReceived(data)

    def pauseProducing(self) -> None:
        self.is_paused = True
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        self.is_paused = False
        super().resumeProducing()  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        if not all(map(_is_utf8, self._header_values())):
            self.refuse(http.BAD_REQUEST, "a header is not valid UTF-8")
            return
        request = self.requests[-1]
        codings = request.requestHeaders.getRawHeaders(b"transfer-encoding", [b"chunked"])
        if [coding.strip().lower() for coding in codings] != [b"chunked"]:
            # Whoever takes another coding for none reads the body as the next request
            # (RFC 9112, section 6.3).
            self.refuse(http.BAD_REQUEST, "the transfer coding of the body is not supported")
            return
        request.read_target(self._command, self._path)
        if self.length != 0 and not self._accepts_body(request):
            return
        is_small = request.max_body_size <= SMALL_BODY_SIZE
        limit = self.site.body_timeout
        self._start_deadline("body", min(SMALL_BODY_TIMEOUT, limit) if is_small else limit)
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        if self.refused:
            return
        self._cancel_deadline()
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self._cancel_deadline()
        self.site.forget(self)
        self.site.unauthenticated.remove(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._transferDecoder = self._requestProducer = None
        self.requests.clear()

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431, f"the request's head is over {MAX_HEAD_SIZE} bytes")

    def refuse_body(self, limit: int) -> None:
        self.refuse(http.REQUEST_ENTITY_TOO_LARGE, f"the body is over {limit} bytes")

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error and close; any further data is discarded."""
        self.refuse_by(HeadRefused(status, {"error": message}))

    def refuse_by(self, refusal: HeadRefused) -> None:
        """Answer with `refusal` and close; any further data is discarded."""
        if self.refused or self.transport is None:
            return
        self._cancel_deadline()
        self.refused = True
        request_id, method = request_id_from(None), b""
        if self.requests and self.requests[-1].request_id is not None:
            request_id, method = self.requests[-1].request_id, self.requests[-1].method
        self.site.counters.record(method, REFUSED_BY_HEAD, refusal.status, None)
        self._forget_requests()
        self.transport.write(
            raw_json_reply(refusal.status, refusal.body, refusal.headers, request_id)
        )
        self._linger()

    def _linger(self) -> None:
        """Close our half of the connection, and the other as soon as the client has stopped
        sending: a client whose data meets a closed connection loses the answer (RFC 9112, 9.6).
        """
        transport: Any = self.transport
        is_half_closeable: bool = IHalfCloseableDescriptor.providedBy(transport)
        if not is_half_closeable:
            self.loseConnection()  # type: ignore[no-untyped-call]
            return
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        transport.unregisterProducer()
        transport.resumeProducing()
        transport.loseWriteConnection()
        self._deadline = self.site.clock.callLater(LINGER_TIMEOUT, self.abort)

    def abort(self) -> None:
        """End the connection now; nothing more is sent."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def hand_over(self, successor: Any) -> None:
        """Give the connection to another protocol. Nothing of this channel and of the request that
        it serves stays: no reference, no body, no delayed call.
        """
        transport: Any = self.transport
        self._cancel_deadline()
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        transport.unregisterProducer()
        self.site.unauthenticated.remove(self)
        self.transport, self._successor = None, successor
        self._forget_requests()
        self.site.forget(self)
        if isinstance(transport, ProtocolWrapper):
            transport.wrappedProtocol = successor
        elif isinstance(getattr(transport, "protocol", None), ProtocolWrapper):
            transport.protocol.wrappedProtocol = successor
        else:
            transport.protocol = successor
        successor.makeConnection(transport)

    def _accepts_body(self, request: LimitedRequest) -> bool:
        """Whether the request may send its body, as far as its head tells; False: it is refused."""
        try:
            request.max_body_size = limit = self.site.body_limit(request)
            if self.length is not None and self.length > limit:
                self.refuse_body(limit)
                return False
            request.reserve_body(self.length or 0)
        except HeadRefused as refusal:
            self.refuse_by(refusal)
        return not self.refused

    def _forget_requests(self) -> None:
        for request in self.requests:
            request.forget()
        self.requests.clear()
        self._transferDecoder, self._dataBuffer = None, []

    def _header_values(self) -> list[bytes]:
        headers = self.requests[-1].requestHeaders
        return [value for _, values in headers.getAllRawHeaders() for value in values]

    def _start_deadline(self, part: str, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self.site.clock.callLater(seconds, self._timed_out, part, seconds)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _timed_out(self, part: str, seconds: float) -> None:
        self.refuse(http.REQUEST_TIMEOUT, f"the request's {part} did not come within {seconds:g} s")


def mark_authenticated(request: Any) -> None:
    """The client of this request has shown a token: its connection is one of the known."""
    channel = getattr(request, "channel", None)
    if isinstance(channel, LimitedChannel):
        channel.site.unauthenticated.remove(channel)


def _is_utf8(value: bytes) -> bool:
    """Twisted's `getHeader` raises for a value that is not."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


class LimitedSite(Site):
    """Sizes in bytes, timeouts in seconds; `max_connections` None: any number.

    `body_limit` is asked about each request that announces a body, when its head has arrived: it
    returns the greatest size of that body, or raises HeadRefused. Without it the limit is
    `max_body_size`. The request it is given has headers, method, URI, path and arguments.
    `max_bodies_size`: of all bodies at once that are not small.
    `base_path`: as `/hapi`; requests whose path begins with it are served as if it did not.

    A connection that a WebSocket has taken over has no deadline and does not count.
    """

    noisy = False
    channel_type: type[LimitedChannel] = LimitedChannel

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        *,
        max_body_size: int = MAX_BODY_SIZE,
        body_limit: Callable[[LimitedRequest], int] | None = None,
        max_bodies_size: int = MAX_BODIES_SIZE,
        max_connections: int | None = None,
        head_timeout: float = HEAD_TIMEOUT,
        body_timeout: float = BODY_TIMEOUT,
        idle_timeout: float = IDLE_TIMEOUT,
        counters: RequestCounters | None = None,
        base_path: bytes = b"",
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            resource,
            LimitedRequest,
            timeout=idle_timeout,
            reactor=clock,
            parsePOSTFormSubmission=False,
        )
        self.clock, self.base_path = clock, base_path
        self.counters = counters or RequestCounters()
        self.body_limit = body_limit or (lambda _: max_body_size)
        self.max_connections = max_connections
        self.head_timeout, self.body_timeout = head_timeout, body_timeout
        self.max_bodies_size, self.bodies_size = max_bodies_size, 0
        # Called with each request when its head has arrived.
        self.on_head: Callable[[LimitedRequest], object] = lambda request: None
        self.unauthenticated = UnauthenticatedConnections()
        self.unread = UnreadLimit(MAX_UNREAD_ANSWERS)
        self._channels: dict[LimitedChannel, None] = {}  # the oldest first

    @property
    def open_channels(self) -> list[LimitedChannel]:
        """The connections, without those that a WebSocket has taken over."""
        return list(self._channels)

    def buildProtocol(self, addr: Any) -> LimitedChannel | None:  # type: ignore[override]
        if self.max_connections is not None and len(self._channels) >= self.max_connections:
            return None
        channel: Any = self.channel_type()
        channel.requestFactory, channel.site, channel.factory = self.requestFactory, self, self
        channel.timeOut, channel.callLater = self.timeOut, self.clock.callLater
        self._channels[channel] = None
        return channel  # type: ignore[no-any-return]

    def forget(self, channel: LimitedChannel) -> None:
        """The connection of `channel` has ended and no longer counts."""
        self._channels.pop(channel, None)

    def close_connections(self) -> None:
        """Close every connection as soon as what was written to it has been sent."""
        for channel in self.open_channels:
            channel.loseConnection()  # type: ignore[no-untyped-call]

    # No access log: what matters is logged by name where it happens, and URLs of event streams
    # contain tokens. Twisted's own log would also wake the process every second.
    def startFactory(self) -> None: ...
    def stopFactory(self) -> None: ...
    def log(self, request: Any) -> None:
        seconds = None if request.is_stream else self.clock.seconds() - request.began_at
        self.counters.record(request.method, request.route or UNMATCHED, request.code, seconds)
