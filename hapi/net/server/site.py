"""The Site of both servers: absolute deadlines for the head and the body of a request, and a limit
on its size.

Who may send requests is decided by the root resource that the site is given.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web import http
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from hapi.net.server.http import raw_json_reply

MAX_HEAD_SIZE = 16 * 1024  # bytes of request line and headers together
MAX_BODY_SIZE = 1024 * 1024  # bytes
HEAD_TIMEOUT, BODY_TIMEOUT, IDLE_TIMEOUT = 5.0, 10.0, 60.0  # seconds


class LimitedRequest(Request):
    """Counts the body while it arrives: a chunked body does not announce its length."""

    channel: LimitedChannel
    _received = 0  # bytes

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self.channel.site.max_body_size:
            self.channel.refuse_body()
        if not self.channel.refused:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]


class LimitedChannel(http.HTTPChannel):
    """One connection. Twisted's own timeout restarts with each byte, so that one byte a second
    would keep a connection for ever (X07); these deadlines do not."""

    site: LimitedSite
    totalHeadersSize = MAX_HEAD_SIZE
    _deadline: IDelayedCall | None = None
    refused = False

    @property
    def is_answering(self) -> bool:
        """Whether a complete request has arrived and its answer is being prepared."""
        return bool(self._handlingRequest)

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        self._start_deadline("head", self.site.head_timeout)

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            return
        if self._deadline is None and not self._handlingRequest:
            # The next request on a kept connection begins.
            self._start_deadline("head", self.site.head_timeout)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        if self.length is not None and self.length > self.site.max_body_size:
            self.refuse_body()
            return
        if not all(map(_is_utf8, self._header_values())):
            self.refuse(http.BAD_REQUEST, "a header is not valid UTF-8")
            return
        self._start_deadline("body", self.site.body_timeout)
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        if self.refused:
            return
        self._cancel_deadline()
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self._cancel_deadline()
        self.site.forget(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431, f"the request's head is over {MAX_HEAD_SIZE} bytes")

    def refuse_body(self) -> None:
        limit = self.site.max_body_size
        self.refuse(http.REQUEST_ENTITY_TOO_LARGE, f"the body is over {limit} bytes")

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error and close; any further data is discarded."""
        if self.refused:
            return
        self._cancel_deadline()
        self.refused = True
        self.transport.write(raw_json_reply(status, {"error": message}))  # type: ignore[union-attr]
        self.loseConnection()  # type: ignore[no-untyped-call]

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


def _is_utf8(value: bytes) -> bool:
    """Twisted's `getHeader` raises for a value that is not."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


class LimitedSite(Site):
    """Sizes in bytes, timeouts in seconds; `max_connections` None: any number.

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
        max_connections: int | None = None,
        head_timeout: float = HEAD_TIMEOUT,
        body_timeout: float = BODY_TIMEOUT,
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            resource,
            LimitedRequest,
            timeout=idle_timeout,
            reactor=clock,
            parsePOSTFormSubmission=False,
        )
        self.clock, self.max_body_size = clock, max_body_size
        self.max_connections = max_connections
        self.head_timeout, self.body_timeout = head_timeout, body_timeout
        self._channels: WeakSet[LimitedChannel] = WeakSet()

    @property
    def open_channels(self) -> list[LimitedChannel]:
        """The connections, without those that a WebSocket has taken over."""
        return [channel for channel in self._channels if channel.transport is not None]

    def buildProtocol(self, addr: Any) -> LimitedChannel | None:  # type: ignore[override]
        if self.max_connections is not None and len(self.open_channels) >= self.max_connections:
            return None
        channel: Any = self.channel_type()
        channel.requestFactory, channel.site, channel.factory = self.requestFactory, self, self
        channel.timeOut, channel.callLater = self.timeOut, self.clock.callLater
        self._channels.add(channel)
        return channel  # type: ignore[no-any-return]

    def forget(self, channel: LimitedChannel) -> None:
        """The connection of `channel` has ended and no longer counts."""
        self._channels.discard(channel)

    def close_connections(self) -> None:
        """Close every connection as soon as what was written to it has been sent."""
        for channel in self.open_channels:
            channel.loseConnection()  # type: ignore[no-untyped-call]

    # No access log: what matters is logged by name where it happens, and URLs of event streams
    # contain tokens. Twisted's own log would also wake the process every second.
    def startFactory(self) -> None: ...
    def stopFactory(self) -> None: ...
    def log(self, request: Any) -> None: ...
