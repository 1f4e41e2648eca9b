"""The hub's face on the network: one address for REST, events, sockets and the page; who may ask by name and from where."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from attrs import frozen
from twisted.logger import Logger
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from hapi.hub.http.routing import MAX_UPLOAD_BODY
from hapi.hub.http.static import PageResource

METHODS = b"GET, POST, PUT, PATCH, DELETE, OPTIONS"
HEADERS = b"authorization, content-type, last-event-id"
IDLE, HEADER_DEADLINE, BODY_DEADLINE = 65.0, 15.0, 300.0  # seconds
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def host_name(header: str) -> str:
    """The name in a Host header, in lower case, without the port; "" if it makes no sense."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


@frozen
class HostPolicy:
    """Which names the hub answers to, and which pages of other origins may use it."""

    names: frozenset[str] | None = None  # None: any
    origins: frozenset[str] = frozenset()  # "*": all of them

    def allows_host(self, host: str) -> bool:
        name = host_name(host)
        return (
            self.names is None
            or name in self.names
            or (name.startswith("127.") and name.replace(".", "").isdigit())
        )

    def allows_origin(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may use the hub that it reached as `host`."""
        return (
            "*" in self.origins
            or origin in self.origins
            or origin.partition("://")[2].lower() == host.lower()
        )


def _is_text(path: bytes) -> bool:
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class RootResource(Resource):
    """Judges names and origins, then hands each request to the part it is for."""

    def __init__(
        self,
        host_policy: HostPolicy,
        rest: IResource,
        events: IResource,
        sockets: IResource,
        page: PageResource,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._host_policy, self._rest, self._events, self._sockets, self._page = (
            host_policy,
            rest,
            events,
            sockets,
            page,
        )

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        path = request.path
        host, origin = request.getHeader("host") or "", request.getHeader("origin")
        request.setHeader("X-Content-Type-Options", "nosniff")
        if not self._host_policy.allows_host(host):
            return _FixedResponse(
                421,
                {
                    "error": "This hub does not answer to that name: set HAPI_PUBLIC_URL or HAPI_ALLOWED_HOSTS"
                },
            )
        if path == b"/socket.io/":
            request.postpath = []
            return self._sockets
        served = path.split(b"/", 2)[1:2] in ([b"api"], [b"cli"], [b"health"])
        if not served:
            return self._page
        if path.startswith(b"/cli"):
            request.setHeader("X-Hapi-Protocol-Version", "1")
        request.setHeader("Vary", "Origin")
        if not path.startswith(b"/health"):
            request.setHeader("Cache-Control", "no-store")
        if origin is not None and self._host_policy.allows_origin(origin, host):
            request.setHeader("Access-Control-Allow-Origin", origin)
            if request.method == b"OPTIONS":
                request.setHeader("Access-Control-Allow-Methods", METHODS)
                request.setHeader("Access-Control-Allow-Headers", HEADERS)
                request.setHeader("Access-Control-Max-Age", "600")
        if request.method == b"OPTIONS":
            return _FixedResponse(204, None)
        if not _is_text(path):
            return _FixedResponse(404, {"error": "Not found"})
        if path == b"/api/events" and request.method in (b"GET", b"HEAD"):
            return self._events
        request.postpath, request.prepath = (
            [name, *request.postpath],
            [],
        )  # Klein routes the whole path
        return self._rest


class _FixedResponse(Resource):
    """The same answer to everything."""

    isLeaf = True

    def __init__(self, status: int, body: dict[str, Any] | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._status, self._body = status, body

    def render(self, request: Any) -> bytes:
        request.setResponseCode(self._status)
        if self._body is None:
            return b""
        request.setHeader("Content-Type", "application/json")
        return json.dumps(self._body).encode()


class HubRequest(Request):
    """Bodies over the limit are refused while they come, not when they have been kept."""

    _refused = False
    _received = 0

    def gotLength(self, length: int | None) -> None:
        if length is not None and length > MAX_UPLOAD_BODY:
            self._refuse()
            return
        super().gotLength(length)  # type: ignore[no-untyped-call]

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MAX_UPLOAD_BODY:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused:
            super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]

    def _refuse(self) -> None:
        if self._refused:
            return
        self._refused = True
        body = b'{"error":"The body is too large"}'
        head = b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
        transport = self.channel.transport
        if transport is not None:
            transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self.channel.loseConnection()


class HubChannel(HTTPChannel):
    """One client's connection; a request has an absolute time to arrive in, however slowly its bytes drip."""

    requestFactory = HubRequest
    site: HubSite  # set by Site.buildProtocol
    _deadline: Any = None
    factory: HubSite

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        self._arm(HEADER_DEADLINE)
        self.factory.channels.add(self)

    def _arm(self, seconds: float | None) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.callLater(seconds, self._too_slow)  # type: ignore[no-untyped-call]

    def _too_slow(self) -> None:
        self._deadline = None
        if self.transport is not None and not self._networkProducer_gone():
            self.forceAbortClient()  # type: ignore[no-untyped-call]

    def _networkProducer_gone(self) -> bool:
        return getattr(self, "_networkProducer", None) is None

    def lineReceived(self, line: bytes) -> None:
        if self._deadline is None:  # the first line of the next request of this connection
            self._arm(HEADER_DEADLINE)
        super().lineReceived(line)  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        self._arm(BODY_DEADLINE)
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        self._arm(None)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self._arm(None)
        self.factory.channels.discard(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class HubSite(Site):
    """Nothing about requests is logged: URLs of event streams hold tokens."""

    logger = Logger()

    def __init__(self, root: RootResource, reactor: Any) -> None:
        super().__init__(root, requestFactory=HubRequest, timeout=IDLE, reactor=reactor)  # type: ignore[no-untyped-call]

        self.channels: set[HubChannel] = set()

    def log(self, request: Any) -> None: ...

    def hang_up(self) -> None:
        """Close the connections that are left, once what was written to them is out."""
        for channel in list(self.channels):
            if channel.transport is not None:  # else a socket server has it
                channel.loseConnection()  # type: ignore[no-untyped-call]
