"""A Site whose requests have an end: absolute times for head and body, a bound on the body counted as it comes."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web import http
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

HEAD_LIMIT = 16 * 1024  # bytes of request line and headers together
HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 5.0, 10.0, 60.0


class LimitedRequest(Request):
    """Counts the body as it comes: a chunked one does not say how long it is."""

    channel: LimitedChannel
    _received = 0  # bytes

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self.channel.site.body_limit:
            self.channel.too_large()
        if not self.channel.refused:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]


class LimitedChannel(http.HTTPChannel):
    """One connection. Twisted's own time-out starts anew with each byte; a byte a second would keep it for ever (X07)."""

    site: LimitedSite
    totalHeadersSize = HEAD_LIMIT
    _due: IDelayedCall | None = None
    refused = False

    @property
    def is_answered(self) -> bool:
        """Whether a request has come whole, and its answer is awaited."""
        return bool(self._handlingRequest)

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        self._expect("head", self.site.head_seconds)

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            return
        if (
            self._due is None and not self._handlingRequest
        ):  # the next request on a kept connection begins
            self._expect("head", self.site.head_seconds)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        if self.length is not None and self.length > self.site.body_limit:
            self.too_large()
            return
        self._expect("body", self.site.body_seconds)
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        if self.refused:
            return
        self._relax()
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self._relax()
        self.site.forget(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431, f"the request's head is over {HEAD_LIMIT} bytes")

    def too_large(self) -> None:
        self.refuse(http.REQUEST_ENTITY_TOO_LARGE, f"the body is over {self.site.body_limit} bytes")

    def refuse(self, status: int, message: str) -> None:
        """Answer and close; whatever else arrives is thrown away."""
        if self.refused:
            return
        self._relax()
        self.refused = True
        body = msgspec.json.encode({"error": message})
        phrase = http.RESPONSES.get(status, b"Request Header Fields Too Large")
        self.transport.write(  # type: ignore[union-attr]
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, phrase, len(body), body)
        )
        self.loseConnection()  # type: ignore[no-untyped-call]

    def _expect(self, part: str, seconds: float) -> None:
        self._relax()
        self._due = self.site.clock.callLater(seconds, self._overdue, part, seconds)

    def _relax(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None

    def _overdue(self, part: str, seconds: float) -> None:
        self.refuse(http.REQUEST_TIMEOUT, f"the request's {part} did not come within {seconds:g} s")


class LimitedSite(Site):
    """`body_limit`: bytes; `most`: connections at once, None for any number; times in seconds.

    A connection that a WebSocket took over is none of ours any more: no time, no count.
    """

    noisy = False
    channel_type: type[LimitedChannel] = LimitedChannel

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        *,
        body_limit: int = 1024 * 1024,
        most: int | None = None,
        head_seconds: float = HEAD_SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            resource,
            LimitedRequest,
            timeout=IDLE_SECONDS,
            reactor=clock,
            parsePOSTFormSubmission=False,
        )
        self.clock, self.body_limit, self.most = clock, body_limit, most
        self.head_seconds, self.body_seconds = head_seconds, body_seconds
        self._channels: WeakSet[LimitedChannel] = WeakSet()

    def buildProtocol(self, addr: Any) -> LimitedChannel | None:  # type: ignore[override]
        if (
            self.most is not None
            and sum(1 for channel in self._channels if channel.transport is not None) >= self.most
        ):
            return None
        channel: Any = self.channel_type()
        channel.requestFactory, channel.site, channel.factory = self.requestFactory, self, self
        channel.timeOut, channel.callLater = self.timeOut, self.clock.callLater
        self._channels.add(channel)
        return channel  # type: ignore[no-any-return]

    def forget(self, channel: LimitedChannel) -> None:
        """Its connection is over, and counts no more."""
        self._channels.discard(channel)

    # No access log: what matters is logged by name where it happens. Twisted's would wake the process every second.
    def startFactory(self) -> None: ...
    def stopFactory(self) -> None: ...
    def log(self, request: Any) -> None: ...
