"""REST in general: a table of routes, who may call them, bodies in, answers and refusals out."""

from __future__ import annotations

import gzip
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.hub.domain.auth import LoginRateLimit, Principal, TokenIssuer
from hapi.hub.domain.documents import Concurrent
from hapi.hub.domain.entities import Machine, Session
from hapi.hub.domain.lifecycle import Refusal
from hapi.hub.domain.registry import Denied, HubRegistry, NotFound
from hapi.hub.domain.rpc import CallFailed, TargetMissing
from hapi.hub.http.paging import InvalidQuery
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull
from hapi.net.server.http import HttpError, read_body
from hapi.one_shot import OneShotObserver

if TYPE_CHECKING:
    from hapi.hub.hub import Hub

T = TypeVar("T")
MAX_BODY, MAX_UPLOAD_BODY = 8 << 20, 72 << 20  # bytes
MIN_GZIP_SIZE = 1400  # bytes: below, an answer fits one packet anyway


@frozen
class Response:
    """An answer that is not simply 200 with a JSON body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(factory=dict)
    kind: str = "application/json"


@frozen
class RequestContext:
    """One request: who asks, and what."""

    hub: Hub
    caller: Principal
    request: Any

    @property
    def registry(self) -> HubRegistry:
        return self.hub.registry

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        arguments = self.request.args or {}
        return {
            name.decode("utf-8", "replace"): values[-1].decode("utf-8", "replace")
            for name, values in arguments.items()
        }

    def body(
        self,
        kind: type[T],
        wrong: str = "Invalid body",
        issues: bool = False,
        limit: int = MAX_BODY,
    ) -> T:
        """The JSON body. Raises Refusal 400 with the text `wrong`, `issues` naming the field, or 413."""
        content = read_body(self.request, limit)
        try:
            return msgspec.json.decode(content or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            more: dict[str, Any] = {"issues": issues_of(error)} if issues else {}
            raise Refusal(400, wrong, None, **more) from error

    def session(self, session_id: str, active: bool = False, or_expected: bool = False) -> Session:
        """Raises Refusal 404, 403, or 409 if it must be active (or about to be) and is not."""
        try:
            session = self.registry.session(session_id, self.caller.namespace)
        except NotFound:
            raise Refusal(404, "Session not found") from None
        except Denied:
            raise Refusal(403, "Session access denied") from None
        expected = or_expected and self.registry.clock.seconds() < session.expected_until
        if active and not session.active and not expected:
            raise Refusal(409, "Session is inactive", "session_inactive")
        return session

    def machine(self, machine_id: str) -> Machine:
        """Raises Refusal 404, 403."""
        try:
            return self.registry.machine(machine_id, self.caller.namespace)
        except NotFound:
            raise Refusal(404, "Machine not found") from None
        except Denied:
            raise Refusal(403, "Machine access denied") from None


Handler = Callable[..., Awaitable[Any]]


@frozen
class Route:
    method: str
    path: str  # as werkzeug writes it: /api/sessions/<session_id>
    handler: Handler
    open: bool = False  # no token wanted


class Routes:
    """A table of routes that modules fill; the hub makes one Klein application of all tables."""

    def __init__(self) -> None:
        self.table: list[Route] = []

    def __call__(self, method: str, path: str, open: bool = False) -> Callable[[Handler], Handler]:
        def decorate(handler: Handler) -> Handler:
            self.table.append(Route(method, path, handler, open))
            return handler

        return decorate


def issues_of(error: BaseException) -> dict[str, Any]:
    """What is wrong with a body, in the form clients of the hub know: messages by field."""
    text = str(error)
    missing = re.fullmatch(r"Object missing required field `([^`]+)`", text)
    if missing:
        expected = "array" if missing[1].endswith("s") else "string"
        return {
            "formErrors": [],
            "fieldErrors": {
                missing[1]: [f"Invalid input: expected {expected}, received undefined"]
            },
        }
    found = re.fullmatch(r"(.*) - at `\$\.([A-Za-z]+).*`", text, re.DOTALL)
    if found:
        return {"formErrors": [], "fieldErrors": {found[2]: [found[1]]}}
    return {"formErrors": [text], "fieldErrors": {}}


def address_of(request: Any) -> str:
    return str(getattr(request.getClientAddress(), "host", "") or "")


def bearer(header: str | None, exact: bool) -> tuple[str | None, bool]:
    """The token of an Authorization header, and whether there was one at all. `exact`: the scheme is spelled `Bearer`."""
    if header is None:
        return None, False
    scheme, _, token = header.partition(" ")
    right = scheme == "Bearer" if exact else scheme.lower() == "bearer"
    return (token.strip() or None) if right else None, True


class LoginRateLimited(Exception):
    def __init__(self, wait: int) -> None:
        super().__init__(f"Too many wrong tokens: wait {wait} s")
        self.wait = wait


class Authenticator:
    """Who is asking."""

    def __init__(
        self, token_issuer: TokenIssuer, login_rate_limit: LoginRateLimit, registry: HubRegistry
    ) -> None:
        self._token_issuer, self._login_rate_limit, self._registry = (
            token_issuer,
            login_rate_limit,
            registry,
        )

    def access(self, request: Any, text: object) -> Principal | None:
        """The caller with the access token `text`, None if it is wrong. Raises TooManyGuesses."""
        address, now = address_of(request), self._registry.clock.seconds()
        wait = self._login_rate_limit.retry_after(address, now)
        if wait:
            raise LoginRateLimited(wait)
        caller = self._token_issuer.check_access_token(text)
        if caller is None:
            self._login_rate_limit.record_failure(address, now)
        return caller

    def cli(self, request: Any) -> Principal:
        """Raises Refusal 401, TooManyGuesses."""
        token, given = bearer(request.getHeader("authorization"), exact=False)
        if not given:
            raise Refusal(401, "Missing Authorization header")
        if token is None:
            raise Refusal(401, "Invalid Authorization header")
        caller = self.access(request, token)
        if caller is None:
            raise Refusal(401, "Invalid token")
        return caller

    def api(self, request: Any, token: str | None = None) -> Principal:
        """Raises Refusal 401. `token` stands in for the header."""
        if token is None:
            token, _ = bearer(request.getHeader("authorization"), exact=True)
        if token is None:
            raise Refusal(401, "Missing authorization token")
        caller = self._token_issuer.read_web_token(token, self._registry.now() / 1000)
        if caller is None:
            raise Refusal(401, "Invalid token")
        return caller


class Dispatcher:
    """Serves one request after the other: asks the doorkeeper, runs the route, writes the answer."""

    log = Logger()

    def __init__(self, hub: Hub, authenticator: Authenticator) -> None:
        self._hub, self._authenticator = hub, authenticator

    def serve(self, route: Route, request: Any, ids: dict[str, str]) -> Deferred[bytes]:
        """The answer's body. The route's work goes on when the client leaves: the wait is the client's, not the work's."""
        done: OneShotObserver[Response] = OneShotObserver()
        Deferred.fromCoroutine(self._worked(route, request, ids)).addBoth(done.fire)
        return done.when_fired().addCallback(lambda reply: render_response(request, reply))

    async def _worked(self, route: Route, request: Any, ids: dict[str, str]) -> Response:
        try:
            if route.open:
                caller = Principal("")
            else:
                caller = (
                    self._authenticator.cli(request)
                    if route.path.startswith("/cli")
                    else self._authenticator.api(request)
                )
            answer = await route.handler(RequestContext(self._hub, caller, request), **ids)
            return answer if isinstance(answer, Response) else Response(200, answer)
        except Exception as error:
            return self.refused(error, f"{route.method} {route.path}")

    def refused(self, error: Exception, what: str) -> Response:
        """The answer to an exception."""
        match error:
            case Refusal():
                body = {
                    "error": error.reason,
                    **({"code": error.code} if error.code else {}),
                    **error.more,
                }
                return Response(error.status, body)
            case LoginRateLimited():
                return Response(429, {"error": str(error)}, {"Retry-After": str(error.wait)})
            case InvalidQuery():
                return Response(400, {"error": "Invalid query", "issues": error.issues})
            case HttpError():
                return Response(error.status, {"error": error.message, **error.more})
            case Concurrent():
                return Response(409, {"error": str(error)})
            case NotFound():
                return Response(404, {"error": "Session not found"})
            case KeyError():
                self.log.failure("{what} met a row that is gone", Failure(), what=what)
                return Response(404, {"error": "Session not found"})
            case TargetMissing() | CallFailed():
                return Response(500, {"error": str(error)})
            case StoreBusy():
                return Response(
                    503, {"error": "The database is busy, try again"}, {"Retry-After": "1"}
                )
            case StoreFull():
                return Response(507, {"error": "No space left for the database"})
            case StoreFailed():
                self.log.error("{what}: {reason}", what=what, reason=str(error))
                return Response(500, {"error": "The database failed"})
        self.log.failure("{what} failed", Failure(), what=what)
        return Response(500, "Internal Server Error", kind="text/plain; charset=UTF-8")


def render_response(request: Any, reply: Response) -> bytes:
    """Put status and headers on `request`; the body that goes with them, packed if the client likes that."""
    request.setResponseCode(reply.status)
    request.setHeader("Content-Type", reply.kind)
    for name, value in reply.headers.items():
        request.setHeader(name, value)
    body: bytes
    if isinstance(reply.body, bytes):
        body = reply.body
    elif reply.kind == "application/json":
        body = msgspec.json.encode(reply.body)
    else:
        body = str(reply.body).encode()
    accepted = (request.getHeader("accept-encoding") or "").lower()
    if len(body) > MIN_GZIP_SIZE and "gzip" in accepted and request.path.startswith(b"/api"):
        request.setHeader("Content-Encoding", "gzip")
        request.responseHeaders.addRawHeader("Vary", "Accept-Encoding")
        body = gzip.compress(body, 4)
    request.setHeader("Content-Length", str(len(body)))
    return body
