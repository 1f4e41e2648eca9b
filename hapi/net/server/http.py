"""HTTP for our own servers: typed bodies in, JSON out, limits on size and on time."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import IRequest

T = TypeVar("T")
# After these, what follows on the connection may be the rest of a broken request.
_CLOSING = frozenset(
    {
        http.BAD_REQUEST,
        http.REQUEST_TIMEOUT,
        http.REQUEST_ENTITY_TOO_LARGE,
        http.UNSUPPORTED_MEDIA_TYPE,
    }
)
log = Logger()


class HttpError(Exception):
    """An answer other than success: `status` and a JSON object `{"error": message}` with `more` beside it."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.more = status, message, more


def read_json(request: IRequest, limit: int, type: type[T], *, check_type: bool = True) -> T:
    """The request's body as a `type` (a msgspec Struct, dict …).

    Raises HttpError: 413 beyond `limit` bytes, 415 when it says that it is no JSON (`check_type`), 400 when it is none or
    does not fit, with the place.
    """
    content = read_body(request, limit)
    kind = request.getHeader("content-type")
    if (
        check_type
        and (kind is not None or content)
        and (kind or "").split(";")[0].strip().lower() != "application/json"
    ):
        raise HttpError(http.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    try:
        return msgspec.json.decode(content or b"{}", type=type)
    except msgspec.ValidationError as problem:
        raise HttpError(http.BAD_REQUEST, str(problem)) from problem
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise HttpError(http.BAD_REQUEST, f"not JSON: {problem}") from problem
    except RecursionError as problem:
        raise HttpError(http.BAD_REQUEST, "not JSON: nested too deeply") from problem


def read_body(request: IRequest, limit: int) -> bytes:
    """The request's body. Raises HttpError 413 beyond `limit` bytes."""
    content: bytes = request.content.read(limit + 1)
    if len(content) > limit:
        raise HttpError(http.REQUEST_ENTITY_TOO_LARGE, f"the body is over {limit} bytes")
    return content


def reply(request: IRequest, status: int, value: Any, close: bool = False) -> bytes:
    """Set status and type; the body that goes with them. `close`: nothing more is read from this connection."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    if close:
        request.setHeader(b"connection", b"close")
        channel = getattr(request, "channel", None)
        if channel is not None:
            channel.persistent = 0
    return msgspec.json.encode(value)


def reply_error(request: IRequest, problem: BaseException) -> bytes:
    """The answer to an exception: as it says, or 500 with a log entry and no details for the caller."""
    if isinstance(problem, HttpError):
        return reply(
            request,
            problem.status,
            {"error": problem.message, **problem.more},
            close=problem.status in _CLOSING,
        )
    if isinstance(problem, msgspec.ValidationError):
        return reply(request, http.BAD_REQUEST, {"error": str(problem)})
    log.failure(
        "{method} {path} failed",
        Failure(problem),
        method=request.method,
        path=getattr(request, "path", b""),
    )
    return reply(request, http.INTERNAL_SERVER_ERROR, {"error": "Internal Server Error"})


def answer_errors(app: Any) -> None:
    """Let every exception in a Klein `app` be answered by `reply_error`; werkzeug's own (404, 405) keep their status."""
    from werkzeug.exceptions import HTTPException

    def answer(*args: Any) -> bytes:
        request, failure = args[-2:]
        problem = failure.value
        if isinstance(problem, HTTPException):
            return reply(request, problem.code or 500, {"error": problem.name})
        return reply_error(request, problem)

    app.handle_errors(Exception)(answer)
