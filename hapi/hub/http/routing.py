"""Klein applications of the REST API: authentication, typed bodies, and errors, the same for every
route.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial, wraps
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args, get_origin
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

import msgspec
from attrs import define, frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from hapi.hub.access.audit_log import AuditLog
from hapi.hub.access.auth import Principal
from hapi.hub.access.places import RequestLimits
from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.errors import (
    Conflict,
    InvalidRequest,
    SessionConnecting,
    field_issues,
)
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.http.audit_rules import audited_body, record_request
from hapi.hub.http.authentication import Authenticator
from hapi.hub.http.compression import Compressor
from hapi.hub.http.openapi.operation import Operation, UndeclaredBody, operation_of
from hapi.hub.http.openapi.routes import Route, routes_of
from hapi.hub.http.responses import (
    Response,
    error_response,
    render_compressed,
    render_response,
)
from hapi.hub.http.scopes import require, route_scopes
from hapi.net.server.http import InvalidBody, read_json
from hapi.one_shot import OneShotObserver
from hapi.protocol.token import Scope
from hapi.startup import defer_url_builders

defer_url_builders()

T = TypeVar("T")
MAX_BODY_SIZE, MAX_UPLOAD_SIZE = 8 << 20, 72 << 20  # bytes
OK = {"ok": True}
INVALID_BODY = "Invalid body"
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_AT_FIELD = re.compile(r"(.*) - at `\$\.([A-Za-z]+).*`", re.DOTALL)
_JAVASCRIPT_TYPES = {
    str: "string",
    Literal: "string",
    list: "array",
    bool: "boolean",
    int: "number",
}

log = Logger()


@frozen
class RequestContext:
    """One authenticated request."""

    registry: HubRegistry
    principal: Principal
    request: IRequest
    operation: Operation | None = None  # what the route declares

    @property
    def namespace(self) -> str:
        return self.principal.namespace

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter, of those that the route declares."""
        arguments = self.request.args or {}
        query = {
            name.decode("utf-8", "replace"): values[-1].decode("utf-8", "replace")
            for name, values in arguments.items()
        }
        if self.operation is None:
            return query
        return {name: query[name] for name in self.operation.parameter_names & query.keys()}

    def body(
        self,
        kind: type[T],
        message: str = INVALID_BODY,
        limit: int = MAX_BODY_SIZE,
    ) -> T:
        """The JSON body. Raises InvalidRequest, whose `issues` name the field, with `message` if
        that is true, or BodyTooLarge, and UndeclaredBody if the route declares another type.
        """
        declared = self.operation
        if declared is not None and not declared.takes(kind):
            raise UndeclaredBody(f"the route declares another body than {kind!r}")
        try:
            return read_json(self.request, limit, kind)
        except InvalidBody as error:
            problem = str(error)
            issues = body_issues(problem, kind)
            raise InvalidRequest(_refusal(message, problem), issues=issues) from error

    def require(self, scope: Scope) -> None:
        """Raises ScopeMissing if the token of the request does not have `scope`. The scope of its
        route has been checked; this is for what depends on the body.
        """
        require(self.principal, scope)

    def session(self, session_id: str) -> HubSession:
        """Raises NotFound, AccessDenied."""
        return self.registry.session(session_id, self.namespace)

    async def active_session(self, session_id: str) -> HubSession:
        """The session once its process has connected, which may be about to start or to connect
        again. Raises NotFound, AccessDenied, SessionConnecting if it may still connect, and
        Conflict if it is not active.
        """
        return await self._session_when(session_id, lambda session: session.active)

    async def session_for_prompt(self, session_id: str) -> HubSession:
        """As `active_session`, and also the session whose process is being started."""
        clock = self.registry.clock
        return await self._session_when(
            session_id,
            lambda session: session.active or clock.seconds() < session.expected_until,
        )

    async def _session_when(
        self, session_id: str, serves: Callable[[HubSession], bool]
    ) -> HubSession:
        session = self.session(session_id)
        await self.registry.until_started(session, lambda: serves(session))
        session = self.session(session_id)
        if not serves(session):
            if session.is_starting(self.registry.clock.seconds()):
                raise SessionConnecting
            raise Conflict("Session is inactive", "session_inactive")
        return session

    def machine(self, machine_id: str) -> HubMachine:
        """Raises NotFound, AccessDenied."""
        return self.registry.machine(machine_id, self.namespace)


def body_issues(problem: str, kind: Any = None) -> dict[str, Any]:
    """What is wrong with a body of the type `kind`, in the form that clients of the hub know:
    messages by field. `problem` is msgspec's.
    """
    missing = _MISSING.fullmatch(problem)
    if missing:
        expected = _expected(kind, missing[1])
        message = f"Invalid input: expected {expected}, received undefined"
        return field_issues(missing[1], message)
    found = _AT_FIELD.fullmatch(problem)
    if found:
        return field_issues(found[2], found[1])
    return {"formErrors": [problem], "fieldErrors": {}}


def _expected(kind: Any, name: str) -> str:
    """The type of a field of `kind`, as JavaScript calls it."""
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    fields = msgspec.structs.fields(kind) if is_struct else ()
    found = next((field.type for field in fields if field.encode_name == name), None)
    while get_origin(found) is Annotated:
        found = get_args(found)[0]
    return _JAVASCRIPT_TYPES.get(get_origin(found) or found, "a value")


def _refusal(message: str, problem: str) -> str:
    """`message`, or what else is wrong where it says that a field is required that is there."""
    if not message.endswith(" is required") or _MISSING.fullmatch(problem):
        return message
    found = _AT_FIELD.fullmatch(problem)
    if found is None:
        return f"{INVALID_BODY}: {problem}"
    reason, name = found[1], found[2]
    if reason.endswith("of length >= 1"):
        return message
    too_long = re.fullmatch(r"Expected `str` of length <= (\d+)", reason)
    if too_long:
        return f"{INVALID_BODY}: {name} is too long (at most {int(too_long[1]):,} characters)"
    return f"{INVALID_BODY}: {name}: {reason}"


Handler = Callable[..., Awaitable[Any]]
Authenticate = Callable[[Authenticator, IRequest], Principal]


class Forwarding(Protocol):
    """Has requests answered by the hub that serves their session or machine."""

    async def serve(
        self, request: Any, ids: Mapping[str, str], here: Callable[[], Awaitable[Any]]
    ) -> Any:
        """The result of `here`, which runs the handler. If another hub has answered, or nobody
        waits for an answer any more, `request.is_answered` is true instead.
        """


@define(eq=False, repr=False)
class Dispatcher:
    """Authenticates each request, runs its handler, and writes the reply.

    A request that another hub answers is recorded in the audit there, and counts there.
    """

    authenticator: Authenticator
    _registry: HubRegistry
    limits: RequestLimits
    _compressor: Compressor
    audit: AuditLog
    forwarding: Forwarding | None = None  # None: this hub has its database alone

    def dispatch(
        self, authenticate: Authenticate, handler: Handler, request: IRequest, ids: dict[str, str]
    ) -> Deferred[bytes | None]:
        """The body of the reply, None if the reply was written. The handler runs to its end even
        when the client disconnects; the compression of its reply does not.
        """
        done: OneShotObserver[Response | None] = OneShotObserver()
        running = Deferred.fromCoroutine(self._run(authenticate, handler, request, ids))
        running.addBoth(done.fire)

        def render(response: Response | None) -> Any:
            if response is None:
                return None
            return render_compressed(request, response, self._compressor)

        return done.when_fired().addCallback(render)

    async def _run(
        self, authenticate: Authenticate, handler: Handler, request: IRequest, ids: dict[str, str]
    ) -> Response | None:
        principal: Principal | None = None
        body = audited_body(request)
        try:
            principal = authenticate(self.authenticator, request)
            require(principal, needed_scope(request))
            context = RequestContext(self._registry, principal, request, operation_of(handler))
            result = await self._result(context, handler, ids)
            if getattr(request, "is_answered", False):
                return None
            response = result if isinstance(result, Response) else Response(200, result)
        except Exception as error:
            response = error_response(error, handler_name(handler))
        try:
            record_request(
                self.audit,
                request,
                body,
                principal,
                self.authenticator.address(request),
                ids,
                response,
            )
        except Exception:
            log.failure("A request was not recorded in the audit")
        return response

    async def _result(self, context: RequestContext, handler: Handler, ids: dict[str, str]) -> Any:
        if self.forwarding is None:
            return await handler(context, **ids)
        return await self.forwarding.serve(context.request, ids, lambda: handler(context, **ids))

    def unknown_route(self, request: IRequest, failure: Failure) -> bytes:
        """The reply to a path or method without a route; clients without a valid token learn
        nothing.
        """
        is_api = request.path.startswith(b"/api")
        try:
            if is_api:
                self.authenticator.authenticate_api(request)
            else:
                self.authenticator.authenticate_cli(request)
        except Exception as error:
            return render_response(request, error_response(error, "An unknown route"))
        return render_response(request, Response(404, {"error": "Not found"}))


def handler_name(handler: Handler) -> str:
    inner = handler.func if isinstance(handler, partial) else handler
    return str(getattr(inner, "__qualname__", inner))


@define(eq=False, repr=False)
class Routes:
    """A part of the REST API. `app` of a subclass is a Klein whose handlers are decorated with
    `api`, `cli` or `public`, below `app.route`, and below that with `operation`, which declares
    what the route takes and replies. The first line of a handler's docstring is its summary in the
    OpenAPI document."""

    dispatcher: Dispatcher


def _authenticated_by(
    name: str, authenticate: Authenticate
) -> Callable[[Handler], Callable[..., Any]]:
    """Make a coroutine method that takes a RequestContext and ids a handler for Klein."""

    def decorate(handler: Handler) -> Callable[..., Any]:
        @wraps(handler)
        def serve(routes: Routes, request: IRequest, **ids: str) -> Deferred[bytes | None]:
            bound = partial(handler, routes)
            return routes.dispatcher.dispatch(authenticate, bound, request, ids)

        serve.authentication = name  # type: ignore[attr-defined]
        return serve

    return decorate


api = _authenticated_by("api", Authenticator.authenticate_api)  # people: a web token
cli = _authenticated_by("cli", Authenticator.authenticate_cli)  # programs: the access token
public = _authenticated_by("public", lambda authenticator, request: Principal(""))  # anybody


def limited(cost: Cost) -> Callable[[Handler], Handler]:
    """Make a handler, below `api`, count as a request of this cost. It raises RequestRateLimited,
    NoPlace, HubFull.
    """

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def serve(routes: Routes, context: RequestContext, **ids: str) -> Any:
            now = context.registry.clock.seconds()
            with routes.dispatcher.limits.admitted(cost, context.principal, now):
                return await handler(routes, context, **ids)

        serve.cost = cost  # type: ignore[attr-defined]
        return serve

    return decorate


def path_segments(path: bytes) -> list[bytes]:
    """The segments of a request's path for Klein: each percent-encoded in one way.

    Klein matches the segments joined by slashes. A segment that were decoded before could hold a
    slash itself, as the permission requests `turn/call` of some agents do (`turn%2Fcall`), and
    would match no route.
    """
    segments = path.removeprefix(b"/").split(b"/")
    return [quote_from_bytes(unquote_to_bytes(part), safe="").encode() for part in segments]


def combine(dispatcher: Dispatcher, *parts: Any) -> Klein:
    """One application with the routes of every part, so that a request is matched once."""
    combined = Klein()
    for part in parts:
        for rule in part.app.url_map.iter_rules():
            name = f"{type(part).__name__}.{rule.endpoint}"
            register = combined.route(rule.rule, methods=rule.methods, endpoint=name)
            needed = route_scopes(rule.methods, rule.rule)
            register(_endpoint(part.app, rule.endpoint, needed, rule.rule))
    combined.handle_errors(Exception)(dispatcher.unknown_route)
    return combined


def declared_routes(*parts: Any) -> list[Route]:
    """The routes of every part, as they are described in the OpenAPI document."""
    return [
        route
        for part in parts
        for rule in part.app.url_map.iter_rules()
        for route in routes_of(rule, getattr(part, rule.endpoint))
    ]


def needed_scope(request: Any) -> Scope | None:
    """The scope that the route of `request` needs. Raises AttributeError for a request that came
    past `_endpoint`, so that it is not served.
    """
    scope: Scope | None = request.needed_scope
    return scope


def _endpoint(
    app: Klein, name: str, needed: Mapping[bytes, Scope | None], route: str
) -> Callable[..., Any]:
    def serve(request: Any, **ids: str) -> Any:
        """`ids` are percent-encoded, as `path_segments` gives them."""
        request.needed_scope, request.route = needed[request.method], route
        decoded = {parameter: unquote(value) for parameter, value in ids.items()}
        return app.execute_endpoint(name, request, **decoded)

    return serve
