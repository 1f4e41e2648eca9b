"""The control API: the five paths of npm's runner, our own ones, and three for monitors (runner.md
§9).

Who may call is decided beforehand, in guard.py.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from hapi.net.server.http import StatusTable, encode_json, json_reply, status_of
from hapi.protocol.control import (
    HandoffBegan,
    MalformedRequest,
    ReplacementRefused,
    ReplaceRunner,
    Restart,
    RestartRefused,
    SessionStarted,
    StopSession,
    error_body,
    http_spawn_answer,
    hub_connection_problem,
    not_found,
    read_object,
)
from hapi.protocol.spawn import MalformedSpawn, SpawnRequest, SpawnResult, parse_spawn
from hapi.runner.control.announcements import Rejected, Verdict
from hapi.runner.control.guard import CallerForbidden, PeerInfo
from hapi.runner.storage.counters import Counters
from hapi.startup import defer_url_builders

if TYPE_CHECKING:
    from hapi.runner.control.metrics import Metrics

defer_url_builders()

T = TypeVar("T")
MAX_WAITING_SPAWNS = 16
MAX_DRAIN_LEASE = 3600.0  # seconds
MAX_REASON = 4096  # characters of a told reason or path that are kept
CONTENT_TYPE = b"application/json; charset=utf-8"
STATUSES: StatusTable = {
    MalformedRequest: http.BAD_REQUEST,
    CallerForbidden: http.FORBIDDEN,
    HTTPException: http.NOT_FOUND,
    MethodNotAllowed: http.NOT_ALLOWED,
}


class ControlledRunner(Protocol):
    """The runner, as the API uses it."""

    counters: Counters

    def after(self, seconds: float, call: Callable[[], object]) -> None: ...
    def status(self) -> Mapping[str, Any]: ...
    def list(self) -> Any: ...
    async def announce(self, message: SessionStarted, peer: PeerInfo) -> Verdict: ...
    async def spawn(self, request: SpawnRequest, asked_by: str) -> SpawnResult: ...
    async def stop_session(self, name: str, actor: str) -> str: ...
    def stop_soon(self, actor: str) -> None: ...
    async def restart(self, actor: str) -> Restart: ...
    def replace(self, asked: ReplaceRunner, actor: str) -> int: ...
    def trial_start_failed(self, actor: str, reason: str, output: str | None) -> None: ...
    def interrupted(self) -> Any: ...
    async def revive(self, session_id: str, actor: str) -> SpawnResult: ...
    def drain(
        self, actor: str, keep: bool = True, lease: float | None = None
    ) -> Mapping[str, Any]: ...
    def resume(self, actor: str) -> Mapping[str, Any]: ...
    def describe_caller(self, peer: PeerInfo) -> str: ...


def _peer(request: IRequest) -> PeerInfo:
    found: PeerInfo = request.channel.peer  # type: ignore[attr-defined]
    return found


class ControlApi:
    """One route for each path; errors have the shapes of npm's server."""

    app = Klein()
    log = Logger()

    def __init__(self, runner: ControlledRunner) -> None:
        self._runner = runner
        self._waiting = 0
        self._metrics: Metrics | None = None
        self._listed: Any = None
        self._listing = b""

    def _caller(self, request: IRequest) -> str:
        """Who sends the request, for the journal."""
        return self._runner.describe_caller(_peer(request))

    def resource(self) -> IResource:
        return Shortcut(self, self.app.resource())

    @app.route("/session-started", methods=["POST"])
    async def session_started(self, request: IRequest) -> bytes:
        verdict = await self._runner.announce(_read(request, SessionStarted), _peer(request))
        if isinstance(verdict, Rejected):
            body = error_body(verdict.status, verdict.reason)
            return _reply(request, verdict.status, body)
        return _reply(request, 200, {"status": "ok"})

    @app.route("/list", methods=["POST"])
    def list_children(self, request: IRequest) -> bytes:
        _body(request)
        listed = self._runner.list()
        if listed is not self._listed:
            self._listed, self._listing = listed, encode_json({"children": listed})
        return _reply(request, 200, self._listing)

    @app.route("/status", methods=["POST"])
    def status(self, request: IRequest) -> bytes:
        _body(request)
        return _reply(request, 200, self._runner.status())

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: IRequest) -> bytes:
        """Liveness: the reactor runs and the control API answers."""
        return _reply(request, 200, {"status": "ok"})

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: IRequest) -> bytes:
        """Readiness: requests of the hub arrive, as the runner is registered and connected, and the
        program of sessions exists.
        """
        status = self._runner.status()
        reason = hub_connection_problem(status) or status.get("programProblem")
        readiness = {
            "ready": reason is None,
            "reason": reason,
            "registered": status.get("registered"),
            "hub": status.get("hub") or {},
        }
        return _reply(request, 503 if reason else 200, readiness)

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: IRequest) -> bytes:
        from hapi.runner.control.metrics import CONTENT_TYPE, Metrics

        if self._metrics is None:
            self._metrics = Metrics(self._runner)
        request.setHeader(b"content-type", CONTENT_TYPE)
        return self._metrics.text()

    @app.route("/stop-session", methods=["POST"])
    async def stop_session(self, request: IRequest) -> bytes:
        name = _read(request, StopSession).session_id
        status = await self._runner.stop_session(name, self._caller(request))
        return _reply(request, 200, {"status": status})

    @app.route("/spawn-session", methods=["POST"])
    async def spawn_session(self, request: IRequest) -> bytes:
        body = _body(request)
        if "directory" not in body:
            raise MalformedRequest(
                "body/directory Invalid input: expected string, received undefined"
            )
        try:
            wanted = parse_spawn(body)
        except MalformedSpawn as error:
            raise MalformedRequest(f"body {error}") from error
        if self._waiting >= MAX_WAITING_SPAWNS:
            message = f"{MAX_WAITING_SPAWNS} spawns are already pending; try again later"
            return _reply(request, 503, {"success": False, "error": message})
        self._waiting += 1
        try:
            result = await self._runner.spawn(wanted, self._caller(request))
        finally:
            self._waiting -= 1
        return _reply(request, *http_spawn_answer(result))

    @app.route("/interrupted", methods=["POST"])
    def interrupted(self, request: IRequest) -> bytes:
        _body(request)
        return _reply(request, 200, {"sessions": self._runner.interrupted()})

    @app.route("/revive", methods=["POST"])
    async def revive(self, request: IRequest) -> bytes:
        name = _read(request, StopSession).session_id
        result = await self._runner.revive(name, self._caller(request))
        return _reply(request, *http_spawn_answer(result))

    @app.route("/drain", methods=["POST"])
    def drain(self, request: IRequest) -> bytes:
        body = _body(request)
        keep, lease = body.get("keep") is not False, body.get("leaseSeconds")
        is_lease = isinstance(lease, int | float) and 0 < lease <= MAX_DRAIN_LEASE
        drained = self._runner.drain(self._caller(request), keep, lease if is_lease else None)
        return _reply(request, 200, drained)

    @app.route("/resume", methods=["POST"])
    def resume(self, request: IRequest) -> bytes:
        _body(request)
        return _reply(request, 200, self._runner.resume(self._caller(request)))

    @app.route("/stop", methods=["POST"])
    def stop(self, request: IRequest) -> bytes:
        _body(request)
        self._runner.stop_soon(self._caller(request))
        request.setHeader(b"connection", b"close")
        return _reply(request, 200, {"status": "stopping"})

    @app.route("/restart", methods=["POST"])
    async def restart(self, request: IRequest) -> bytes:
        """Restart the runner with the installed version: by its supervisor after a trial start, or
        by a hand-off, whose outcome `/status` tells. 409 if neither can begin."""
        _body(request)
        match await self._runner.restart(self._caller(request)):
            case RestartRefused(reason):
                return _reply(request, http.CONFLICT, error_body(http.CONFLICT, reason))
            case HandoffBegan(replacement):
                told = {"status": "replacing", "replacement": replacement}
                return _reply(request, http.ACCEPTED, told)
            case _:
                request.setHeader(b"connection", b"close")
                return _reply(request, 200, {"status": "stopping"})

    @app.route("/replace", methods=["POST"])
    def replace(self, request: IRequest) -> bytes:
        """Begin a hand-off to the program of the request; `/status` tells its outcome.

        409 if it cannot begin, with the `replacement` of another hand-off if that is the reason.
        """
        caller = self._caller(request)
        try:
            pid = self._runner.replace(_read(request, ReplaceRunner), caller)
        except ReplacementRefused as error:
            refused = error_body(http.CONFLICT, str(error))
            return _reply(request, 409, {**refused, "replacement": error.replacement})
        return _reply(request, 202, {"status": "replacing", "replacement": pid})

    @app.route("/trial-start-failed", methods=["POST"])
    def trial_start_failed(self, request: IRequest) -> bytes:
        """Keep why a trial start of the installed build, made by a command, has failed."""
        body = _body(request)
        reason, output = body.get("reason"), body.get("output")
        if not isinstance(reason, str) or not (output is None or isinstance(output, str)):
            raise MalformedRequest("`reason` must be a string, and `output` a string or null")
        self._runner.trial_start_failed(
            self._caller(request), reason[:MAX_REASON], output and output[:MAX_REASON]
        )
        return _reply(request, 200, {"status": "kept"})

    @app.handle_errors(Exception)
    def error_reply(self, request: IRequest, failure: Failure) -> bytes:
        error: Any = failure.value
        status = status_of(error, STATUSES) or http.INTERNAL_SERVER_ERROR
        method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
        match status:
            case http.NOT_FOUND:
                return _reply(request, status, not_found(method, path))
            case http.NOT_ALLOWED:
                message = f"Route {method}:{path} not found"
            case http.INTERNAL_SERVER_ERROR:
                self.log.failure("Control request {path} failed", failure, path=path)
                message = "the runner failed to answer; its log says why"
            case _:
                message = str(error)
        code = error.code if isinstance(error, MalformedRequest) else None
        return _reply(request, status, error_body(status, message, code))


def _body(request: IRequest) -> dict[str, Any]:
    return read_object(request.content.read(), request.getHeader("content-type") is not None)


def _read(request: IRequest, kind: type[T]) -> T:
    body = _body(request)
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise MalformedRequest(f"body {error}") from error


def _reply(request: IRequest, status: int, value: Any) -> bytes:
    return json_reply(request, status, value, close=status >= 400, content_type=CONTENT_TYPE)


class Shortcut(Resource):
    """Klein's resource, except that `/list`, the most frequent request, is not routed: routing
    takes longer than the reply."""

    isLeaf = True

    def __init__(self, api: ControlApi, inner: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._api, self._inner = api, inner

    def render(self, request: Any) -> Any:
        if request.path != b"/list" or request.method != b"POST":
            return self._inner.render(request)
        try:
            return self._api.list_children(request)
        except Exception:
            return self._api.error_reply(request, Failure())


def control_resource(runner: ControlledRunner) -> IResource:
    return ControlApi(runner).resource()
