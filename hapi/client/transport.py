"""Requests with a web token, which is got with the access token and renewed when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from attrs import define
from twisted.internet.defer import CancelledError, Deferred, TimeoutError

from hapi.client.errors import TokenRefused, UnexpectedReply, error_for
from hapi.net.client.endpoint import is_valid_header
from hapi.net.client.hub_client import make_http
from hapi.net.common.errors import HubUnreachable, describe_connection_error
from hapi.protocol.json import to_json
from hapi.settings import HubAccess

T = TypeVar("T")
REQUEST_TIMEOUT = 60.0  # seconds for a whole exchange
JSON = "application/json"
# Bytes of an answer. The largest is the export of a long conversation, of some megabytes; an answer
# is held twice while it is read, which a machine with 512 MB can still do.
MAX_ANSWER = 64 * 1024 * 1024


@define(eq=False, repr=False)
class Transport:
    """`http`: a client like `treq.client.HTTPClient`; None: one is made at the first request."""

    reactor: Any
    access: HubAccess
    _http: Any = None
    _token: str | None = None  # the web token

    async def request(
        self,
        method: str,
        path: str,
        reply: type[T],
        body: Any = None,
        query: Mapping[str, Any] | None = None,
    ) -> T:
        """The reply of a route, as a `reply`. Raises HubError, HubUnreachable."""
        return await self._request(method, path, lambda answer: _read(answer, reply), body, query)

    async def program_request(self, method: str, path: str, reply: type[T], body: Any = None) -> T:
        """The reply of a route for programs (`/cli/…`), which takes the access token itself. Raises
        HubError, HubUnreachable.
        """
        content = None if body is None else to_json(body).encode()
        return _read(await self._exchange(method, path, content, self.access.token), reply)

    async def content(
        self, method: str, path: str, query: Mapping[str, Any] | None = None
    ) -> bytes:
        """The bytes of a reply that need not be JSON. Raises HubError, HubUnreachable."""
        return await self._request(method, path, _content, None, query)

    async def _request(
        self,
        method: str,
        path: str,
        read: Callable[[_Answer], T],
        body: Any,
        query: Mapping[str, Any] | None,
    ) -> T:
        content = None if body is None else to_json(body).encode()
        where = _with_query(path, query)
        is_new = self._token is None
        token = await self.web_token()
        try:
            return read(await self._exchange(method, where, content, token))
        except TokenRefused:
            if is_new:
                raise
        self.forget_token(token)
        token = await self.web_token()
        return read(await self._exchange(method, where, content, token))

    async def web_token(self) -> str:
        """The web token; the first one is got by logging in."""
        if self._token is None:
            content = to_json({"accessToken": self.access.token}).encode()
            answer = await self._exchange("POST", "/api/auth", content, None)
            self._token = _read(answer, _Login).token
        return self._token

    def forget_token(self, token: str) -> None:
        """Log in again before the next request, unless another token came meanwhile."""
        if self._token == token:
            self._token = None

    async def _exchange(
        self, method: str, path: str, content: bytes | None, token: str | None
    ) -> _Answer:
        running = Deferred.fromCoroutine(self._whole(method, path, content, token))
        try:
            return await running.addTimeout(REQUEST_TIMEOUT, self.reactor)
        except (TimeoutError, CancelledError) as error:
            raise HubUnreachable(f"no answer within {REQUEST_TIMEOUT:.0f} s") from error

    async def _whole(
        self, method: str, path: str, content: bytes | None, token: str | None
    ) -> _Answer:
        response = await self.open(method, path, content, token)
        try:
            received = await body_of(response)
        except (CancelledError, UnexpectedReply):
            raise
        except Exception as error:
            raise self._unreachable(error) from error
        return _Answer(response.code, received, response.headers)

    async def open(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The response to a request as soon as its head is there. Raises HubUnreachable."""
        if self._http is None:
            self._http = make_http(self.reactor, self.access.url.startswith("https"))
        own = {"Content-Type": JSON, "Accept": JSON, **(headers or {})}
        if token is not None:
            own["Authorization"] = f"Bearer {token}"
        taken = {name.lower() for name in (*own, "Host", "Content-Length", "Connection")}
        further = {
            name: value
            for name, value in self.access.headers.items()
            if name.lower() not in taken and is_valid_header(name, value)
        }
        try:
            return await self._http.request(
                method,
                self.access.url + path,
                headers=own | further,
                data=content,
                allow_redirects=False,
                unbuffered=True,
            )
        except CancelledError:
            raise
        except Exception as error:  # DNS, TLS, connections: many unrelated classes
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> HubUnreachable:
        return HubUnreachable(describe_connection_error(error, self.access.url))


async def body_of(response: Any) -> bytes:
    """The body of a response. Raises UnexpectedReply if it is over MAX_ANSWER bytes, and what treq
    raises for a lost connection.
    """
    from treq import collect

    received = bytearray()

    def receive(data: bytes) -> None:
        if len(received) + len(data) > MAX_ANSWER:
            raise UnexpectedReply(response.code, f"its answer is over {MAX_ANSWER >> 20} MiB")
        received.extend(data)

    await collect(response, receive)
    return bytes(received)


class _Login(msgspec.Struct, frozen=True):
    token: str


@define
class _Answer:
    status: int
    content: bytes
    headers: Any

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return values[0] if values else None


def _with_query(path: str, query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _read(answer: _Answer, kind: type[T]) -> T:
    """The JSON of a reply. Raises HubError."""
    is_json = (answer.header("content-type") or "").partition(";")[0].strip().lower() == JSON
    if not 200 <= answer.status < 300:
        raise error_for(answer.status, _decoded(answer, is_json), answer.header("retry-after"))
    if not is_json:
        raise UnexpectedReply(answer.status, "its answer is not JSON; is this a hub?")
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UnexpectedReply(answer.status, f"its answer has another form: {error}") from error


def _content(answer: _Answer) -> bytes:
    """The body of a reply. Raises HubError."""
    if not 200 <= answer.status < 300:
        is_json = (answer.header("content-type") or "").partition(";")[0].strip().lower() == JSON
        raise error_for(answer.status, _decoded(answer, is_json), answer.header("retry-after"))
    return answer.content


def _decoded(answer: _Answer, is_json: bool) -> Any:
    if is_json:
        try:
            return msgspec.json.decode(answer.content)
        except (msgspec.DecodeError, UnicodeError):
            return None
    return answer.content.decode("utf-8", "replace")
