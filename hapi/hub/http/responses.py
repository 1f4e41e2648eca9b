"""Replies of the REST API: typed values, compressed for clients that accept it, and a status for
each error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import IRequest

from hapi.hub.domain import errors
from hapi.hub.http.compression import Compressor
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull, StoreLost
from hapi.net.server.http import (
    BodyTooLarge,
    StatusTable,
    accepts_gzip,
    encode_json,
    status_of,
    with_request_id,
)
from hapi.protocol.hub import PROTOCOL_VERSION
from hapi.protocol.rest.hub import Health

MIN_GZIP_SIZE = 1400  # bytes: a smaller reply fits one packet anyway
TEXT = "text/plain; charset=UTF-8"
STATUSES: StatusTable = {
    errors.InvalidRequest: http.BAD_REQUEST,
    errors.Unauthenticated: http.UNAUTHORIZED,
    errors.AccessDenied: http.FORBIDDEN,
    errors.NotFound: http.NOT_FOUND,
    KeyError: http.NOT_FOUND,  # from the store: the row has been deleted meanwhile
    errors.Conflict: http.CONFLICT,
    BodyTooLarge: http.REQUEST_ENTITY_TOO_LARGE,
    errors.TooLarge: http.REQUEST_ENTITY_TOO_LARGE,
    errors.Unprocessable: 422,
    errors.HubFull: http.SERVICE_UNAVAILABLE,
    errors.SessionConnecting: http.SERVICE_UNAVAILABLE,
    errors.MachineConnecting: http.SERVICE_UNAVAILABLE,
    errors.TryLater: 429,
    errors.OperationFailed: http.INTERNAL_SERVER_ERROR,
    errors.RpcError: http.INTERNAL_SERVER_ERROR,
    StoreFailed: http.INTERNAL_SERVER_ERROR,
    StoreAway: http.SERVICE_UNAVAILABLE,
    StoreLost: http.SERVICE_UNAVAILABLE,
    errors.RestartFailed: http.BAD_GATEWAY,
    errors.Unavailable: http.SERVICE_UNAVAILABLE,
    errors.HubUnreachable: http.BAD_GATEWAY,
    errors.Misdirected: 421,
    StoreBusy: http.SERVICE_UNAVAILABLE,
    StoreFull: http.INSUFFICIENT_STORAGE_SPACE,
}
# What clients read instead of the text of an error of the store.
MESSAGES: Mapping[type[Exception], str] = {
    KeyError: "Session not found",
    StoreBusy: "The database is busy, try again",
    StoreFull: "No space left for the database",
    StoreFailed: "The database failed",
    StoreAway: "The database cannot be reached at present, try again",
    StoreLost: "The hub's database was deleted, replaced or moved, so nothing can be saved; "
    "the hub's log says how its owner gets it back",
}

log = Logger()


@frozen
class Response:
    """A reply other than 200 with a JSON body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(factory=dict)
    kind: str = "application/json"


def error_response(error: Exception, operation: str) -> Response:
    """The reply to an exception raised by `operation`; unexpected ones are logged and not shown to
    the client.
    """
    status = status_of(error, STATUSES)
    if status is None:
        log.failure("{operation} failed", Failure(error), operation=operation)
        return Response(http.INTERNAL_SERVER_ERROR, "Internal Server Error", kind=TEXT)
    reason = MESSAGES.get(type(error)) or str(error)
    if isinstance(error, KeyError):
        log.failure(
            "{operation} failed: the row was deleted meanwhile", Failure(error), operation=operation
        )
    elif isinstance(error, StoreFailed) and not isinstance(error, StoreAway | StoreLost):
        log.error("{operation}: {reason}", operation=operation, reason=str(error))
    elif status >= http.INTERNAL_SERVER_ERROR:  # people are shown the request's id
        log.info(
            "{operation} answered {status}: {reason}",
            operation=operation,
            status=status,
            reason=reason,
        )
    body: dict[str, Any] = {"error": reason}
    headers: dict[str, str] = {}
    if isinstance(error, errors.DomainError):
        body |= {"code": error.code} if error.code else {}
        body |= error.details
    if isinstance(error, errors.TryLater):
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, StoreBusy | StoreAway):
        headers["Retry-After"] = "1"
    return Response(status, body, headers)


def health() -> Health:
    """The reply of a hub that runs, whether it serves or not."""
    capabilities = {"workGraph": False, "titleSuggestion": False}
    return {"status": "ok", "protocolVersion": PROTOCOL_VERSION, "capabilities": capabilities}


def render_response(request: IRequest, response: Response) -> bytes:
    """Set status and headers on `request` and return the body, uncompressed."""
    body = _encoded(request, response)
    request.setHeader("Content-Length", str(len(body)))
    return body


def render_compressed(
    request: IRequest, response: Response, compressor: Compressor
) -> Deferred[bytes]:
    """The same, with the body compressed if the client accepts gzip and it is worth it."""
    body = _encoded(request, response)
    accepted = accepts_gzip(request.getHeader("accept-encoding") or "")
    if len(body) <= MIN_GZIP_SIZE or not accepted or not request.path.startswith(b"/api"):
        request.setHeader("Content-Length", str(len(body)))
        return succeed(body)
    request.setHeader("Content-Encoding", "gzip")
    request.responseHeaders.addRawHeader("Vary", "Accept-Encoding")

    def compressed(body: bytes) -> bytes:
        request.setHeader("Content-Length", str(len(body)))
        return body

    return compressor.compress(body).addCallback(compressed)


def _encoded(request: IRequest, response: Response) -> bytes:
    request.setResponseCode(response.status)
    request.setHeader("Content-Type", response.kind)
    for name, value in response.headers.items():
        request.setHeader(name, value)
    if isinstance(response.body, bytes):
        return response.body
    if response.kind == "application/json":
        request_id = getattr(request, "request_id", None)
        return encode_json(with_request_id(response.body, response.status, request_id))
    return str(response.body).encode()
