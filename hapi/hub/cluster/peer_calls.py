"""Requests of this hub to the other hubs of its database, over connections that are kept."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen
from twisted.internet import error as network
from twisted.internet.abstract import isIPAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from hapi.hub.cluster.signatures import PEER, PEER_HEADER, Signer
from hapi.hub.store.shared import Member
from hapi.net.common.errors import describe_certificate_error, describe_connection_error
from hapi.request_id import REQUEST_ID_HEADER

CONNECT_TIMEOUT = 1.0  # seconds for name and TCP
CACHE_TIMEOUT = 30.0  # seconds that an idle connection is kept; the other hub keeps it for 65
MAX_CACHED = 32  # idle connections to each hub
MAX_ANSWER_SIZE = 72 << 20  # bytes
LARGE = 1 << 20  # bytes of a body that is hashed in a thread


class PeerFailed(Exception):
    """Another hub did not answer; the message is a sentence about it."""


class PeerUnreachable(PeerFailed):
    """There is no connection to the hub: it has not got the request."""


class PeerLost(PeerFailed):
    """The connection ended before the answer. Whether the hub did what it was asked is unknown."""


class PeerLate(PeerFailed):
    """The hub did not answer in time. Whether it did what it was asked is unknown."""


class AnswerTooLarge(PeerFailed):
    """The answer has over MAX_ANSWER_SIZE bytes."""


@frozen
class Answer:
    status: int
    content: bytes


@implementer(IBodyProducer)
@define(eq=False, repr=False)
class BytesProducer:
    """A body that is in memory, handed over in pieces as fast as it is sent."""

    content: bytes
    length: int = field(init=False)
    _producer: Any = None

    def __attrs_post_init__(self) -> None:
        self.length = len(self.content)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        from io import BytesIO

        from twisted.web.client import FileBodyProducer

        self._producer = FileBodyProducer(BytesIO(self.content))
        started: Deferred[None] = self._producer.startProducing(consumer)
        return started

    def pauseProducing(self) -> None:
        self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        if self._producer is not None:
            self._producer.stopProducing()


@implementer(IStreamClientEndpoint)
@frozen(eq=False, repr=False)
class _QuietEndpoint:
    """An endpoint whose connections are not logged one by one."""

    _endpoint: Any

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocolFactory.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return connecting


@implementer(IAgentEndpointFactory)
@frozen(eq=False, repr=False)
class PeerEndpoints:
    """Endpoints of hubs, plain or with TLS, that give up after CONNECT_TIMEOUT."""

    _reactor: Any

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        return self.endpoint(uri.scheme == b"https", uri.host.decode("ascii"), uri.port)

    def of(self, url: str) -> IStreamClientEndpoint:
        """The endpoint of the hub at `url`."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        return self.endpoint(secure, parts.hostname or "", parts.port or (443 if secure else 80))

    def endpoint(self, secure: bool, host: str, port: int) -> IStreamClientEndpoint:
        plain: Any
        if isIPAddress(host):
            plain = TCP4ClientEndpoint(self._reactor, host, port, timeout=CONNECT_TIMEOUT)
        else:
            plain = HostnameEndpoint(self._reactor, host, port, timeout=CONNECT_TIMEOUT)
        quiet = _QuietEndpoint(plain)
        if not secure:
            return quiet
        from hapi.net.client.tls import TlsEndpoint

        return _QuietEndpoint(TlsEndpoint(quiet, host))


class BodyCollector(Protocol):
    """Collects the body of an answer, of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size, self._pieces = limit, 0, list[bytes]()
        self.finished: Deferred[bytes] = Deferred(lambda _: self.stop())

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            self._end(Failure(AnswerTooLarge(f"The answer has over {self._limit:,} bytes")))
            self.stop()
            return
        self._pieces.append(data)

    def stop(self) -> None:
        self._pieces.clear()
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = network.ConnectionDone()) -> None:  # type: ignore[assignment]
        self._end(b"".join(self._pieces) if reason.check(ResponseDone) else reason)

    def _end(self, result: Any) -> None:
        if not self.finished.called:
            self.finished.callback(result)  # a Failure becomes an error


@define(eq=False, repr=False)
class PeerClient:
    """Sends requests to hubs. Nothing is sent a second time by itself."""

    _reactor: Any
    signer: Signer
    endpoints: PeerEndpoints = field(init=False)
    _pool: Any = field(init=False)
    _agent: Any = field(init=False)
    _open: dict[str, set[Deferred[Any]]] = field(factory=dict)  # by the id of the hub

    def __attrs_post_init__(self) -> None:
        self.endpoints = PeerEndpoints(self._reactor)
        self._pool = HTTPConnectionPool(self._reactor, persistent=True)
        self._pool.retryAutomatically = False
        self._pool.cachedConnectionTimeout = CACHE_TIMEOUT
        self._pool.maxPersistentPerHost = MAX_CACHED
        self._agent = Agent.usingEndpointFactory(self._reactor, self.endpoints, self._pool)

    def stop(self) -> Deferred[Any]:
        """End all requests and close all connections."""
        for hub_id in list(self._open):
            self.give_up(hub_id)
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed

    def give_up(self, hub_id: str) -> None:
        """End the requests to a hub that is known to be dead."""
        for pending in list(self._open.pop(hub_id, ())):
            pending.cancel()

    @property
    def waits_for(self) -> list[str]:
        """The ids of the hubs to which requests are under way."""
        return [hub_id for hub_id, pending in self._open.items() if pending]

    async def ask(
        self,
        member: Member,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        timeout: float,
        request_id: str | None = None,
    ) -> Answer:
        """The answer of a route below `/hub/`, within `timeout` seconds in all. Raises PeerFailed:
        PeerUnreachable, PeerLost, PeerLate, AnswerTooLarge.
        """
        asking = Deferred.fromCoroutine(self._ask(member, method, path, body, request_id))
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            asking.cancel()

        timer = self._reactor.callLater(timeout, give_up)
        try:
            return await asking
        except (PeerFailed, CancelledError) as error:
            if not late:
                raise
            raise PeerLate(
                f"The hub {member.name} did not answer within {timeout:.0f} s"
            ) from error
        finally:
            if timer.active():
                timer.cancel()

    async def _ask(
        self, member: Member, method: str, path: str, body: bytes, request_id: str | None
    ) -> Answer:
        headers = await self.headers(member, method, path, body)
        if request_id is not None:
            headers.setRawHeaders(REQUEST_ID_HEADER, [request_id])
        response = await self.send(member, method, path, headers, body)
        content = await self.body_of(member, response)
        return Answer(response.code, content)

    async def headers(self, member: Member, method: str, path: str, body: bytes) -> Headers:
        """The headers of a signed request."""
        digest = await digest_of(body)
        signature = self.signer.sign(PEER, member.id, method.encode(), path.encode(), digest)
        headers = Headers({PEER_HEADER: [signature]})
        if body:
            headers.setRawHeaders("Content-Type", ["application/json"])
        return headers

    async def send(
        self,
        member: Member,
        method: str,
        path: str,
        headers: Headers,
        body: bytes | IBodyProducer | None = None,
    ) -> IResponse:
        """The head of the answer, however long it takes; cancelling ends the request. Raises
        PeerUnreachable, PeerLost.
        """
        producer = BytesProducer(body) if isinstance(body, bytes) and body else body or None
        url = member.url.rstrip("/") + path
        pending: Deferred[IResponse] = self._agent.request(
            method.encode(), url.encode("ascii"), headers, producer
        )
        response: IResponse = await self.watched(member, pending)
        return response

    async def body_of(self, member: Member, response: IResponse) -> bytes:
        """The whole body of an answer. Raises PeerLost, AnswerTooLarge."""
        collector = BodyCollector(MAX_ANSWER_SIZE)
        response.deliverBody(collector)
        content: bytes = await self.watched(member, collector.finished)
        return content

    async def watched(self, member: Member, pending: Deferred[Any]) -> Any:
        """The result of `pending`, which is cancelled when the hub is known to be dead. Raises
        PeerFailed.
        """
        waiting = self._open.setdefault(member.id, set())
        waiting.add(pending)
        try:
            return await pending
        except CancelledError:
            if member.id in self._open:  # by whoever waits
                raise
            raise PeerLost(f"The hub {member.name} is gone") from None
        except PeerFailed:
            raise
        except Exception as error:  # of names, of TCP, of TLS, of HTTP: many unrelated classes
            if member.id not in self._open:
                raise PeerLost(f"The hub {member.name} is gone") from None
            raise problem_of(error, member) from error
        finally:
            waiting.discard(pending)
            if not waiting and self._open.get(member.id) is waiting:
                del self._open[member.id]


def problem_of(error: Exception, member: Member) -> PeerFailed:
    """What an error of Twisted's Agent means: whether the hub may have got the request."""
    reason = describe_connection_error(error, member.url)
    never_sent = (network.ConnectError, network.DNSLookupError, network.ConnectBindError)
    if isinstance(error, never_sent) or describe_certificate_error(error, member.url):
        return PeerUnreachable(f"The hub {member.name} cannot be reached: {reason}")
    return PeerLost(f"The connection to the hub {member.name} was lost: {reason}")


async def digest_of(body: bytes) -> str:
    """The SHA-256 of a body, in hexadecimal digits."""
    if len(body) < LARGE:
        return hashlib.sha256(body).hexdigest()
    digest: str = await deferToThread(lambda: hashlib.sha256(body).hexdigest())
    return digest
