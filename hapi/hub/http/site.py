"""The root resource of the hub: one address for REST, events, sockets and the page, and which names
and origins may use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web import http
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource

from hapi.hub.http.authentication import Authenticator
from hapi.hub.http.body_limits import PEERS_PATH, SOCKETS_PATH, BodyLimits
from hapi.hub.http.routing import path_segments
from hapi.hub.http.static import PageResource
from hapi.metrics import RequestCounters
from hapi.net.server.http import json_reply
from hapi.net.server.site import LimitedRequest, LimitedSite
from hapi.protocol.authority import Authority, Origin, same_host
from hapi.request_id import REQUEST_ID_HEADER

REST_PATHS = ([b"api"], [b"cli"], [b"health"], [b"ready"], [b"metrics"])  # first segments
CHECK_PATHS = (b"/health", b"/ready")
PAGE = "the page"  # the route of all files of the page
METHODS = b"GET, POST, PUT, PATCH, DELETE, OPTIONS"
HEADERS = b"authorization, content-type, last-event-id, x-request-id"
IDLE_TIMEOUT, HEAD_TIMEOUT, BODY_TIMEOUT = 65.0, 15.0, 300.0  # seconds
WRONG_NAME = (
    "This hub does not answer to that name: set HAPI_PUBLIC_URL or HAPI_ALLOWED_HOSTS to accept it"
)


def host_name(header: str) -> str:
    """The name in a Host header, in lower case, without the port; "" if the header is malformed."""
    found = Authority.parse(header)
    return "" if found is None else found.host


@frozen
class HostPolicy:
    """Which names the hub answers to, and which pages of other origins may use it."""

    names: frozenset[str] | None = None  # None: any
    origins: frozenset[str] = frozenset()  # "*": all of them

    def allows_host(self, host: str) -> bool:
        """Whether the hub answers to the Host header `host`, "" if the request has none."""
        if self.names is None:
            return not host or Authority.parse(host) is not None
        found = Authority.parse(host)
        return found is not None and (found.host in self.names or found.is_loopback)

    def allows_origin(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may use the hub that it reached as `host`."""
        if "*" in self.origins or same_host(origin, host):
            return True
        found = Origin.parse(origin)
        return found is not None and found in map(Origin.parse, self.origins)


def hub_site(
    root: IResource,
    clock: IReactorTime,
    authenticator: Authenticator,
    socket_limit: Callable[[LimitedRequest], int],
    counters: RequestCounters | None = None,
    base_path: bytes = b"",
) -> LimitedSite:
    return LimitedSite(
        root,
        clock,
        body_limit=BodyLimits(authenticator, socket_limit),
        head_timeout=HEAD_TIMEOUT,
        body_timeout=BODY_TIMEOUT,
        idle_timeout=IDLE_TIMEOUT,
        counters=counters,
        base_path=base_path,
    )


def _is_utf8(path: bytes) -> bool:
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class RootResource(Resource):
    """Checks the host name and the origin, then hands each request to the resource that serves its
    path.

    A request for `base_path` itself is redirected to the directory of that name, where the page's
    relative addresses lead to the right place.
    """

    def __init__(
        self,
        host_policy: HostPolicy,
        rest: IResource,
        events: IResource,
        sockets: IResource,
        page: PageResource,
        base_path: bytes = b"",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._base_path = base_path
        self.host_policy, self._rest, self._events = host_policy, rest, events
        self._sockets, self._page = sockets, page
        self.peers: IResource | None = None  # what other hubs of the database ask

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        path = request.path
        host = request.getHeader("host") or ""
        request.setHeader("X-Content-Type-Options", "nosniff")
        if len(request.requestHeaders.getRawHeaders(b"host") or ()) > 1:
            return _FixedResponse(http.BAD_REQUEST, {"error": "More than one Host header"})
        if not path.startswith(b"/") and path != b"*":
            # A proxy and the hub could understand a whole URL differently (RFC 9112, 3.2.2).
            return _FixedResponse(http.BAD_REQUEST, {"error": "The request target is not a path"})
        # The name by which the other hubs of the database reach this one need not be one of people.
        is_of_peer = any(getattr(request, each, None) is not None for each in ("peer", "hop"))
        # A balancer's simple check has no Host header, and what it gets is told to everybody.
        is_check = not host and path in CHECK_PATHS
        if not (is_of_peer or is_check or self.host_policy.allows_host(host)):
            return _FixedResponse(421, {"error": WRONG_NAME})
        if self._base_path and path == self._base_path:
            request.setHeader("Location", f"{path.rpartition(b'/')[2].decode()}/")
            return _FixedResponse(http.PERMANENT_REDIRECT)
        if path == SOCKETS_PATH:
            request.route, request.postpath = SOCKETS_PATH.decode(), []
            return self._sockets
        if self.peers is not None and path.startswith(PEERS_PATH):
            request.route, request.postpath = PEERS_PATH.decode(), []
            return self.peers
        if path.split(b"/", 2)[1:2] not in REST_PATHS:
            request.route = PAGE
            if request.method not in (b"GET", b"HEAD"):
                return _FixedResponse(http.NOT_FOUND, {"error": "Not found"})
            return self._page
        self._set_headers(request, path, host)
        if request.method == b"OPTIONS":
            return _FixedResponse(http.NO_CONTENT)
        if not _is_utf8(path):
            return _FixedResponse(http.NOT_FOUND, {"error": "Not found"})
        if path == b"/api/events" and request.method in (b"GET", b"HEAD"):
            request.route, request.is_stream = "/api/events", True
            return self._events
        # Klein routes the whole path.
        request.postpath, request.prepath = path_segments(path), []
        return self._rest

    def _set_headers(self, request: Any, path: bytes, host: str) -> None:
        origin = request.getHeader("origin")
        if path.startswith(b"/cli"):
            request.setHeader("X-Hapi-Protocol-Version", "1")
        request.setHeader("Vary", "Origin")
        if not path.startswith(b"/health"):
            request.setHeader("Cache-Control", "no-store")
        if origin is not None and self.host_policy.allows_origin(origin, host):
            request.setHeader("Access-Control-Allow-Origin", origin)
            request.setHeader("Access-Control-Expose-Headers", REQUEST_ID_HEADER)
            if request.method == b"OPTIONS":
                request.setHeader("Access-Control-Allow-Methods", METHODS)
                request.setHeader("Access-Control-Allow-Headers", HEADERS)
                request.setHeader("Access-Control-Max-Age", "600")


class _FixedResponse(Resource):
    """The same reply to every request; `body` None: no content."""

    isLeaf = True

    def __init__(self, status: int, body: dict[str, Any] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._status, self._body = status, body

    def render(self, request: IRequest) -> bytes:
        if self._body is not None:
            return json_reply(request, self._status, self._body)
        request.setResponseCode(self._status)
        return b""
