"""The client of the hub's REST API for machines and sessions (`/cli`).

Failures are typed, redirects are not followed, and treq is loaded at the first request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint

from hapi.net.client.endpoint import CONNECT_TIMEOUT, is_valid_header, tcp_endpoint
from hapi.net.common.errors import (
    HubBusy,
    HubFailed,
    HubRefused,
    HubUnreachable,
    describe_connection_error,
)
from hapi.protocol.json import Malformed, from_json, to_json
from hapi.settings import HubAccess

__all__ = ["HubBusy", "HubClient", "HubFailed", "HubRefused", "HubUnreachable"]

REQUEST_TIMEOUT = 60.0  # seconds for a whole exchange (runner.md 2)
MAX_RESPONSE_SIZE = 68 * 1024 * 1024  # bytes


class HubClient:
    """Requests to the hub.

    Each method raises HubRefused (the hub refused, or is not a hub) or HubUnreachable (worth a
    retry; HubBusy or HubFailed if the hub answered).
    """

    def __init__(self, reactor: Any, access: HubAccess, http: Any = None) -> None:
        """`http`: a client like `treq.client.HTTPClient`; by default one is made."""
        self._reactor, self._access, self._http = reactor, access, http

    async def register_machine(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create or load a machine; returns its `machine` object."""
        return _part(await self._exchange("POST", "/cli/machines", body), "machine")

    async def create_session(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create or load a session; returns its `session` object."""
        return _part(await self._exchange("POST", "/cli/sessions", body), "session")

    async def session(self, session_id: str) -> dict[str, Any]:
        """The `session` object of an existing session."""
        return _part(
            await self._exchange("GET", f"/cli/sessions/{quote(session_id, safe='')}"), "session"
        )

    async def messages(
        self, session_id: str, after_seq: int, limit: int = 200
    ) -> list[dict[str, Any]]:
        """Messages with a `seq` above `after_seq`, oldest first; at most `limit` (1 to 200). What
        is not an object is left out.
        """
        session = quote(session_id, safe="")
        path = f"/cli/sessions/{session}/messages?afterSeq={after_seq}&limit={limit}"
        found = (await self._exchange("GET", path)).get("messages")
        if not isinstance(found, list):
            raise HubRefused(200, "its answer has no list of messages")
        return [message for message in found if isinstance(message, dict)]

    async def recent_sessions(self, limit: int) -> list[dict[str, Any]]:
        """The entries of the hub's list of sessions that changed last, the latest first."""
        path = f"/api/sessions?order=updatedAt&limit={limit}"
        found = (await self._exchange("GET", path, token=await self._web_token())).get("sessions")
        if not isinstance(found, list):
            raise HubRefused(200, "its answer has no list of sessions")
        listed = [one for one in found if isinstance(one, dict)]
        return listed[:limit]

    async def web_request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer of a route of the page's API (`/api/…`)."""
        return await self._exchange(method, path, body, token=await self._web_token())

    async def delete_session(self, session_id: str) -> None:
        """Delete an inactive session with its messages."""
        path = f"/api/sessions/{quote(session_id, safe='')}"
        await self._exchange("DELETE", path, token=await self._web_token())

    async def _web_token(self) -> str:
        """A token for the routes that people use."""
        answer = await self._exchange("POST", "/api/auth", {"accessToken": self._access.token})
        token = answer.get("token")
        if not isinstance(token, str):
            raise HubRefused(200, "its answer has no token")
        return token

    async def _exchange(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        token: str | None = None,
    ) -> dict[str, Any]:
        content = to_json(body).encode() if body is not None else None
        exchange = Deferred.fromCoroutine(self._request(method, path, content, token))
        try:
            status, kind, answer = await exchange.addTimeout(REQUEST_TIMEOUT, self._reactor)
        except (TimeoutError, CancelledError) as problem:
            raise HubUnreachable(f"no answer within {REQUEST_TIMEOUT:.0f} s") from problem
        return _read(status, kind, answer)

    async def _request(
        self, method: str, path: str, content: bytes | None, token: str | None
    ) -> tuple[int, str, bytes]:
        from twisted.web.client import ResponseFailed
        from twisted.web.error import Error

        http = self._http
        if http is None:
            http = self._http = make_http(self._reactor, self._access.url.startswith("https"))
        chunks: list[bytes] = []
        size = 0

        def collect(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > MAX_RESPONSE_SIZE:
                raise HubRefused(response.code, f"its answer is over {MAX_RESPONSE_SIZE} bytes")
            chunks.append(data)

        try:
            response = await http.request(
                method,
                self._access.url + path,
                headers=self._headers(token),
                data=content,
                allow_redirects=False,
                unbuffered=True,
            )
            from treq import collect as collect_body

            await collect_body(response, collect)
        except (HubRefused, CancelledError):
            raise
        except (OSError, Error, ResponseFailed, ValueError) as problem:
            raise HubUnreachable(describe_connection_error(problem, self._access.url)) from problem
        except Exception as problem:  # DNS, TLS, time-outs: many unrelated classes
            raise HubUnreachable(describe_connection_error(problem, self._access.url)) from problem
        kind = (response.headers.getRawHeaders("content-type") or [""])[0]
        return response.code, kind, b"".join(chunks)

    def _headers(self, token: str | None) -> dict[str, str]:
        """The request's headers; the built-in ones take precedence over the user's (transport.md
        2)."""
        own = {
            "Authorization": f"Bearer {token or self._access.token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        taken = {name.lower() for name in own} | {
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
        }
        return own | {
            name: value
            for name, value in self._access.headers.items()
            if name.lower() not in taken and is_valid_header(name, value)
        }


def make_http(reactor: Any, secure: bool) -> Any:
    from treq.client import HTTPClient
    from twisted.web.client import Agent

    endpoints: Any = PlainEndpoints(reactor)
    if secure:
        from hapi.net.client.tls import TlsEndpoints

        endpoints = TlsEndpoints(reactor, CONNECT_TIMEOUT)
    return HTTPClient(Agent.usingEndpointFactory(reactor, endpoints))


@frozen
class PlainEndpoints:
    """Endpoints without TLS, for Twisted's Agent: an IAgentEndpointFactory."""

    _reactor: Any

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        return tcp_endpoint(self._reactor, uri.host.decode("ascii"), uri.port)


def _read(status: int, kind: str, content: bytes) -> dict[str, Any]:
    """The JSON object of a 200 response. Raises HubRefused or HubUnreachable for anything else."""
    named = kind.partition(";")[0].strip().lower()
    is_json = named == "application/json"
    if 300 <= status < 400:
        raise HubRefused(status, "it redirects elsewhere, and the token is not sent there")
    found: Any = None
    broken: Exception | None = None
    if is_json:
        try:
            found = from_json(content.decode())
        except (Malformed, UnicodeDecodeError) as problem:
            broken = problem
    said = found.get("error") if isinstance(found, dict) else None
    said = said if isinstance(said, str) else None
    if status in (408, 425, 429):
        code = found.get("code") if isinstance(found, dict) else None
        raise HubBusy(status, said or "no reason given", code if isinstance(code, str) else "")
    if status >= 500:
        raise HubFailed(status, said) if said else HubUnreachable(f"HTTP {status}")
    if status >= 400:
        raise HubRefused(status, said or "no reason given")
    if broken is not None:
        raise HubRefused(status, "its answer is not JSON") from broken
    if not is_json:
        raise HubRefused(
            status, f"it answers {named or 'without a type'} instead of JSON; is this a hub?"
        )
    if not isinstance(found, dict):
        raise HubRefused(status, "its answer is not a JSON object")
    return found


def _part(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = answer.get(name)
    if not isinstance(found, dict):
        raise HubRefused(200, f"its answer has no {name}")
    return found
