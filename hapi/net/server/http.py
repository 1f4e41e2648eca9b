"""HTTP for both servers: typed JSON bodies in, JSON replies out, and one way from an error to its
status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from twisted.web import http
from twisted.web.iweb import IRequest

from hapi.protocol.json import Malformed, check_number_of_values, plain, without_surrogates
from hapi.request_id import REQUEST_ID_HEADER

T = TypeVar("T")
JSON = b"application/json"
SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
StatusTable = Mapping[type[BaseException], int]


class BodyTooLarge(Exception):
    """The body of a request exceeds its limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is over {limit} bytes")


class HeadRefused(Exception):
    """A request is refused by its head, before any of its body is kept.

    `body`: the reply's JSON, as a value or already in bytes; `headers`: further headers of the
    reply.
    """

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status}: {body!r}")
        self.status, self.body, self.headers = status, body, dict(headers or {})


class InvalidBody(Exception):
    """The body of a request is not JSON or has another shape; the message says where."""


STATUSES: StatusTable = {
    BodyTooLarge: http.REQUEST_ENTITY_TOO_LARGE,
    InvalidBody: http.BAD_REQUEST,
}


def status_of(error: BaseException, statuses: StatusTable) -> int | None:
    """The status of the most specific class of `error` that `statuses` lists, None if it lists
    none.
    """
    return next((statuses[kind] for kind in type(error).__mro__ if kind in statuses), None)


def read_body(request: IRequest, limit: int) -> bytes:
    """The request's body. Raises BodyTooLarge beyond `limit` bytes, and InvalidBody if the client
    has left meanwhile, which closes the body.
    """
    if request.content.closed:
        raise InvalidBody("The client left before its request was read")
    content: bytes = request.content.read(limit + 1)
    if len(content) > limit:
        raise BodyTooLarge(limit)
    return content


def read_json(request: IRequest, limit: int, type: type[T]) -> T:
    """The request's body as a `type` (a msgspec Struct, dict …); an empty body counts as `{}`. Lone
    surrogates become U+FFFD.

    Raises BodyTooLarge, and InvalidBody also for more values than any request has.
    """
    content = read_body(request, limit) or b"{}"
    try:
        check_number_of_values(content)
        try:
            return msgspec.json.decode(content, type=type)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if SURROGATE_ESCAPE.search(content) is None:
                raise
        return msgspec.json.decode(_repaired(content), type=type)
    except (msgspec.ValidationError, Malformed) as problem:
        raise InvalidBody(str(problem)) from problem
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise InvalidBody(f"not JSON: {problem}") from problem
    except RecursionError as problem:
        raise InvalidBody("not JSON: nested too deeply") from problem


def _repaired(content: bytes) -> bytes:
    try:
        return without_surrogates(content)
    except ValueError as problem:
        raise InvalidBody(f"not JSON: {problem}") from problem


def encode_json(value: Any) -> bytes:
    """`value` as JSON. Surrogates, as in paths that are not UTF-8, are written as escape sequences,
    because JSON cannot represent them."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(plain(value)))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list) else value


def json_reply(
    request: IRequest, status: int, value: Any, close: bool = False, content_type: bytes = JSON
) -> bytes:
    """Set status and headers of a JSON reply and return its body; `value` in bytes is JSON already.
    An error that is an object gets the key `requestId`.

    `close`: nothing more is read from this connection.
    """
    value = with_request_id(value, status, getattr(request, "request_id", None))
    body: bytes = value if isinstance(value, bytes) else encode_json(value)
    request.setResponseCode(status)
    request.setHeader(b"content-type", content_type)
    request.setHeader(b"content-length", b"%d" % len(body))
    if close:
        request.setHeader(b"connection", b"close")
        request.channel.persistent = False  # type: ignore[attr-defined]
    return body


def with_request_id(value: Any, status: int, request_id: str | None) -> Any:
    """The JSON of a reply, with the id of its request if the reply is an error."""
    if status < http.BAD_REQUEST or request_id is None or not isinstance(value, dict):
        return value
    return {**value, "requestId": request_id}


PHRASES = {421: b"Misdirected Request", 431: b"Request Header Fields Too Large"}


def raw_json_reply(
    status: int, value: Any, headers: Mapping[str, str] | None = None, request_id: str | None = None
) -> bytes:
    """A whole HTTP/1.1 response that closes the connection, for a request that never becomes an
    IRequest; `value` in bytes is JSON already.
    """
    value = with_request_id(value, status, request_id)
    headers = {**(headers or {}), **({REQUEST_ID_HEADER: request_id} if request_id else {})}
    body: bytes = value if isinstance(value, bytes) else encode_json(value)
    phrase = http.RESPONSES.get(status) or PHRASES.get(status, b"Refused")
    lines = [
        b"HTTP/1.1 %d %s" % (status, phrase),
        b"content-type: " + JSON,
        b"content-length: %d" % len(body),
        *(f"{name}: {value}".encode() for name, value in headers.items()),
        b"connection: close",
    ]
    return b"\r\n".join([*lines, b"", body])


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client with this Accept-Encoding header takes gzip (RFC 9110, section 12.5.3)."""
    weights = {}
    for offer in accept_encoding.lower().split(","):
        coding, _, parameters = offer.partition(";")
        _, _, weight = parameters.partition("q=")
        try:
            weights[coding.strip()] = float(weight) if weight else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0
