"""What a hub answers that does not serve: a standby, or one whose database is away."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory
from twisted.web import http
from twisted.web.resource import Resource
from zope.interface import implementer

from hapi.hub.access.auth import Principal
from hapi.hub.domain.errors import AccessDenied, Unauthenticated
from hapi.hub.http.authentication import Authenticator
from hapi.hub.http.responses import Response, error_response, health, render_response
from hapi.hub.http.site import BODY_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT, HostPolicy, RootResource
from hapi.net.server.http import HeadRefused, json_reply
from hapi.net.server.site import LimitedRequest, LimitedSite
from hapi.protocol.token import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from hapi.hub.http.standby_metrics import StandbyFigures, StandbyMetrics

RETRY_AFTER = "1"  # seconds
PAGE_INTERVAL = 5  # seconds between two attempts of the page that a browser shows
STATUS_PATH, METRICS_PATH = b"/api/hub-status", b"/metrics"
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{interval}">
<title>HAPI</title>
<h1>This hub does not serve at present</h1>
<p>{reason}.</p>
<p>This page tries again by itself.</p>
</html>
"""


class WaitingResource(Resource):
    """`/health` is 200: the process is there. All else is 503 with `reason`, `/ready` among it.

    `status` and `figures` (`/metrics`) are for the owner of the hub, who shows the access token.
    Without an `authenticator`, the hub does not know its token yet.
    """

    isLeaf = True

    def __init__(
        self,
        reason: Callable[[], str],
        status: Callable[[], dict[str, Any]],
        figures: Callable[[], StandbyFigures],
        authenticator: Authenticator | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reason, self._status, self._figures = reason, status, figures
        self.authenticator = authenticator
        self._metrics: StandbyMetrics | None = None

    def render(self, request: Any) -> bytes:
        answer = self._answer(request)
        return b"" if request.method == b"HEAD" else answer

    def _answer(self, request: Any) -> bytes:
        if request.path == b"/health":
            return json_reply(request, http.OK, health())
        if (found := self.authenticator) is not None:
            if request.path == STATUS_PATH and request.getHeader("authorization") is not None:
                return self._answer_owner(request, found)
            if request.path == METRICS_PATH:
                return self._answer_monitor(request, found)
        reason = self._reason()
        request.setHeader("Retry-After", RETRY_AFTER)
        request.setHeader("Cache-Control", "no-store")
        if request.path == b"/ready":
            answer = {"status": "not ready", "error": reason}
            return json_reply(request, http.SERVICE_UNAVAILABLE, answer)
        if b"text/html" not in (request.getHeader(b"accept") or b""):
            return json_reply(request, http.SERVICE_UNAVAILABLE, {"error": reason})
        request.setResponseCode(http.SERVICE_UNAVAILABLE)
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        request.setHeader("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        body = PAGE.format(reason=escape(reason), interval=PAGE_INTERVAL).encode()
        request.setHeader("Content-Length", str(len(body)))
        return body

    def _answer_owner(self, request: Any, authenticator: Authenticator) -> bytes:
        try:
            if not _principal(authenticator, request).owns_hub:
                raise AccessDenied("Only the owner of the hub may see its status")
        except Exception as error:
            return render_response(request, error_response(error, "GET /api/hub-status"))
        return json_reply(request, http.OK, self._status())

    def _answer_monitor(self, request: Any, authenticator: Authenticator) -> bytes:
        """As `/metrics` of a hub that serves."""
        try:
            if authenticator.authenticate_cli(request).namespace != DEFAULT_NAMESPACE:
                raise AccessDenied("Only the owner of the hub may read its metrics")
        except Exception as error:
            return render_response(request, error_response(error, "GET /metrics"))
        from hapi.hub.http.standby_metrics import CONTENT_TYPE, StandbyMetrics

        if self._metrics is None:
            self._metrics = StandbyMetrics()
        text = self._metrics.text(self._figures())
        return render_response(request, Response(http.OK, text, kind=CONTENT_TYPE))


def _principal(authenticator: Authenticator, request: Any) -> Principal:
    """Of a web token, or of the access token of who knows that the hub takes no login. Raises
    Unauthenticated, LoginRateLimited.
    """
    try:
        return authenticator.authenticate_api(request)
    except Unauthenticated:
        return authenticator.authenticate_cli(request)


def waiting_site(
    waiting: WaitingResource,
    reason: Callable[[], str],
    clock: IReactorTime,
    policy: HostPolicy,
    base_path: bytes,
) -> LimitedSite:
    """The site of a hub that does not serve. It reads no bodies."""

    def refuse_body(request: LimitedRequest) -> int:
        body = {"error": reason()}
        raise HeadRefused(http.SERVICE_UNAVAILABLE, body, {"Retry-After": RETRY_AFTER})

    page: Any = waiting
    return LimitedSite(
        RootResource(policy, waiting, waiting, waiting, page, base_path),
        clock,
        body_limit=refuse_body,
        head_timeout=HEAD_TIMEOUT,
        body_timeout=BODY_TIMEOUT,
        idle_timeout=IDLE_TIMEOUT,
        base_path=base_path,
    )


@implementer(IProtocolFactory)
class ChosenSite(Factory):
    """Gives each new connection to the site of the moment, and each request on it to a resource of
    the moment: one that arrived while the hub lost its database is not served any more.
    """

    noisy = False

    def __init__(self, choose: Callable[[], LimitedSite]) -> None:
        self._choose = choose

    def buildProtocol(self, addr: Any) -> Any:
        return self._choose().buildProtocol(addr)


class GuardedResource(Resource):
    """`served` while requests with that method `may_be_served`, else `waiting`."""

    def __init__(
        self, served: Any, waiting: WaitingResource, may_be_served: Callable[[bytes], bool]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._served, self._waiting, self._may_be_served = served, waiting, may_be_served

    def getChildWithDefault(self, path: bytes, request: Any) -> Any:
        if self._may_be_served(request.method):
            return self._served.getChildWithDefault(path, request)
        return self._waiting
