"""Which hub has an address: it is asked by a signed request, on a connection of its own."""

from __future__ import annotations

from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import msgspec
from attrs import define, field
from twisted.internet import error as network
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from hapi.hub.cluster.peer_calls import (
    AnswerTooLarge,
    BodyCollector,
    PeerEndpoints,
    digest_of,
)
from hapi.hub.cluster.peer_routes import FORBIDDEN
from hapi.hub.cluster.signatures import ANY_HUB, IDENTITY, IDENTITY_HEADER, Signer, WrongSignature
from hapi.net.common.errors import describe_connection_error

PATH = "/hub/identity/"  # followed by a text that is never the same
TIMEOUT = 5.0  # seconds for name, connection and answer
MAX_ANSWER_SIZE = 64 << 10  # bytes


class NoHub(Exception):
    """No hub of this database answers at an address; the text is a clause that says what does, or
    why nothing does.
    """


class NoAnswer(NoHub):
    """Nothing answers there."""


class OtherProgram(NoHub):
    """Something else answers there."""


@define(eq=False, repr=False)
class IdentityClient:
    """Asks which hub of this database has an address."""

    _reactor: Any
    _signer: Signer
    _agent: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        pool = HTTPConnectionPool(self._reactor, persistent=False)
        endpoints = PeerEndpoints(self._reactor)
        self._agent = Agent.usingEndpointFactory(self._reactor, endpoints, pool)

    async def ask(self, url: str) -> str:
        """The id of the hub that answers at `url`, an origin. Raises NoHub."""
        target = (PATH + token_hex(16)).encode()
        way = " by TLS" if url.startswith("https:") else ""  # plain HTTP waits for more, too
        late = Failure(NoAnswer(f"there is no answer{way} within {TIMEOUT:.0f} s"))
        asking = Deferred.fromCoroutine(self._ask(url, target))
        asking.addTimeout(TIMEOUT, self._reactor, lambda result, seconds: late)
        status, content = await asking
        return self._read(status, content, target)

    async def _ask(self, url: str, target: bytes) -> tuple[int, bytes]:
        digest = await digest_of(b"")
        signature = self._signer.sign(IDENTITY, ANY_HUB, b"GET", target, digest)
        headers = Headers({IDENTITY_HEADER: [signature]})
        try:
            response = await self._agent.request(b"GET", url.encode("ascii") + target, headers)
            collector = BodyCollector(MAX_ANSWER_SIZE)
            response.deliverBody(collector)
            return response.code, await collector.finished
        except AnswerTooLarge:
            return response.code, b""
        except Exception as error:  # of names, of TCP, of TLS, of HTTP: many unrelated classes
            parts = urlsplit(url)
            is_refused = isinstance(error, network.ConnectError)
            host = parts.netloc if is_refused else parts.hostname or ""
            raise NoAnswer(describe_connection_error(error, host)) from error

    def _read(self, status: int, content: bytes, target: bytes) -> str:
        try:
            found = msgspec.json.decode(content, type=dict[str, Any])
        except msgspec.DecodeError:
            found = {}
        if status == http.OK:
            try:
                signature = str(found.get("identity"))
                return self._signer.verify(IDENTITY, signature, b"GET", target).sender
            except WrongSignature:
                pass
        if status == http.FORBIDDEN and found.get("error") == FORBIDDEN["error"]:
            raise OtherProgram(
                "a hub of another database answers there, or one whose clock is wrong"
            )
        raise OtherProgram(f"something else than a hub that serves answers there (HTTP {status})")
