"""The control API: npm's five paths, our `/status`, and three to be read by monitors (runner.md §9).

Who may call is decided before, in guard.py.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from hapi.protocol.control import (
    Malformed,
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

if TYPE_CHECKING:
    from hapi.runner.control.metrics import Metrics

SPAWNS_WAITING = 16


class Runner(Protocol):
    """What the API asks of the runner."""

    counters: Counters

    def after(self, seconds: float, call: Callable[[], object]) -> None: ...
    def status(self) -> Mapping[str, Any]: ...
    def list(self) -> Any: ...
    async def announce(self, message: SessionStarted, peer: PeerInfo) -> Verdict: ...
    async def spawn(self, request: SpawnRequest, asked_by: str) -> SpawnResult: ...
    async def stop_session(self, name: str, actor: str) -> str: ...
    def stop_soon(self, actor: str) -> None: ...
    def interrupted(self) -> Any: ...
    async def revive(self, session_id: str, actor: str) -> SpawnResult: ...
    def drain(self, actor: str, keep: bool = True) -> Mapping[str, Any]: ...
    def resume(self, actor: str) -> Mapping[str, Any]: ...
    def describe_caller(self, peer: PeerInfo) -> str: ...


def _door(request: IRequest) -> PeerInfo:
    found: PeerInfo = request.channel.peer  # type: ignore[attr-defined]
    return found


class ControlApi:
    """One answer for each path; errors have npm's shapes."""

    app = Klein()
    log = Logger()

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._waiting = 0
        self._metrics: Metrics | None = None
        self._listed: Any = None
        self._listing = b""

    def resource(self) -> IResource:
        return Shortcut(self, self.app.resource())

    @app.route("/session-started", methods=["POST"])
    async def session_started(self, request: IRequest) -> bytes:
        verdict = await self._runner.announce(_read(request, SessionStarted), _door(request))
        if isinstance(verdict, Rejected):
            phrase = "Bad Request" if verdict.status == 400 else "Forbidden"
            return _reply(
                request, verdict.status, error_body(verdict.status, phrase, verdict.reason)
            )
        return _reply(request, 200, {"status": "ok"})

    @app.route("/list", methods=["POST"])
    def list_children(self, request: IRequest) -> bytes:
        _body(request)
        listed = self._runner.list()
        if listed is not self._listed:
            self._listed, self._listing = listed, _encoded({"children": listed})
        return _send(request, 200, self._listing)

    @app.route("/status", methods=["POST"])
    def status(self, request: IRequest) -> bytes:
        _body(request)
        return _reply(request, 200, self._runner.status())

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: IRequest) -> bytes:
        """The reactor turns and the control API answers."""
        return _reply(request, 200, {"status": "ok"})

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: IRequest) -> bytes:
        """What the hub asks for arrives: registered, and linked."""
        status = self._runner.status()
        reason = hub_connection_problem(status)
        told = {
            "ready": reason is None,
            "reason": reason,
            "registered": status.get("registered"),
            "hub": status.get("hub") or {},
        }
        return _reply(request, 503 if reason else 200, told)

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
        status = await self._runner.stop_session(name, self._runner.describe_caller(_door(request)))
        return _reply(request, 200, {"status": status})

    @app.route("/spawn-session", methods=["POST"])
    async def spawn_session(self, request: IRequest) -> bytes:
        body = _body(request)
        if "directory" not in body:
            raise Malformed("body/directory Invalid input: expected string, received undefined")
        try:
            wanted = parse_spawn(body)
        except MalformedSpawn as error:
            raise Malformed(f"body {error}") from error
        if self._waiting >= SPAWNS_WAITING:
            return _reply(
                request,
                503,
                {
                    "success": False,
                    "error": f"{SPAWNS_WAITING} spawns are being waited for; try again",
                },
            )
        self._waiting += 1
        try:
            result = await self._runner.spawn(wanted, self._runner.describe_caller(_door(request)))
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
        return _reply(
            request,
            *http_spawn_answer(
                await self._runner.revive(name, self._runner.describe_caller(_door(request)))
            ),
        )

    @app.route("/drain", methods=["POST"])
    def drain(self, request: IRequest) -> bytes:
        keep = _body(request).get("keep") is not False
        return _reply(
            request, 200, self._runner.drain(self._runner.describe_caller(_door(request)), keep)
        )

    @app.route("/resume", methods=["POST"])
    def resume(self, request: IRequest) -> bytes:
        _body(request)
        return _reply(
            request, 200, self._runner.resume(self._runner.describe_caller(_door(request)))
        )

    @app.route("/stop", methods=["POST"])
    def stop(self, request: IRequest) -> bytes:
        _body(request)
        self._runner.stop_soon(self._runner.describe_caller(_door(request)))
        request.setHeader(b"connection", b"close")
        return _reply(request, 200, {"status": "stopping"})

    @app.handle_errors(Malformed)
    def malformed(self, request: IRequest, failure: Failure) -> bytes:
        problem: Any = failure.value
        return _reply(request, 400, error_body(400, "Bad Request", str(problem), problem.code))

    @app.handle_errors(CallerForbidden)
    def forbidden(self, request: IRequest, failure: Failure) -> bytes:
        return _reply(request, 403, error_body(403, "Forbidden", failure.getErrorMessage()))

    @app.handle_errors(HTTPException)
    def unknown(self, request: IRequest, failure: Failure) -> bytes:
        method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
        if isinstance(failure.value, MethodNotAllowed):
            return _reply(
                request,
                405,
                error_body(405, "Method Not Allowed", f"Route {method}:{path} not found"),
            )
        return _reply(request, 404, not_found(method, path))

    @app.handle_errors(Exception)
    def broken(self, request: IRequest, failure: Failure) -> bytes:
        self.log.failure("A control request failed", failure, path=request.path)
        return _reply(
            request,
            500,
            error_body(
                500, "Internal Server Error", "the runner failed to answer; its log says why"
            ),
        )


def _body(request: IRequest) -> dict[str, Any]:
    return read_object(request.content.read(), request.getHeader("content-type") is not None)


def _read(request: IRequest, kind: type[Any]) -> Any:
    body = _body(request)
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise Malformed(f"body {error}") from error


def _reply(request: IRequest, status: int, value: Any) -> bytes:
    return _send(request, status, _encoded(value))


def _encoded(value: Any) -> bytes:
    """JSON. Bytes of a path that are no Unicode are shown as escapes: JSON has no form for them."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_in_unicode(msgspec.to_builtins(value)))


def _in_unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_in_unicode(key): _in_unicode(inner) for key, inner in value.items()}
    return [_in_unicode(inner) for inner in value] if isinstance(value, list) else value


def _send(request: IRequest, status: int, body: bytes) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json; charset=utf-8")
    if status >= 400:
        request.setHeader(b"connection", b"close")
        request.channel.persistent = False  # type: ignore[attr-defined]
    request.setHeader(b"content-length", b"%d" % len(body))
    return body


class Shortcut(Resource):
    """Klein's resource, but for what is asked most often: to find its way there takes longer than the answer."""

    isLeaf = True

    def __init__(self, api: ControlApi, inner: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._api, self._inner = api, inner

    def render(self, request: Any) -> Any:
        if request.path != b"/list" or request.method != b"POST":
            return self._inner.render(request)
        try:
            return self._api.list_children(request)
        except Malformed:
            return self._api.malformed(request, Failure())
        except Exception:
            return self._api.broken(request, Failure())


def control_resource(runner: Runner) -> IResource:
    return ControlApi(runner).resource()
