"""Requests of clients that concern a session or machine at home at another hub: forwarded there as
they are, and answered as it answers.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, cast
from urllib.parse import quote_from_bytes

import msgspec
from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import FileBodyProducer, ResponseDone
from twisted.web.http import NO_BODY_CODES
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from hapi.hub.cluster.directory import Directory
from hapi.hub.cluster.peer_calls import PeerClient, PeerFailed, PeerUnreachable
from hapi.hub.cluster.signatures import HOP, HOP_HEADER
from hapi.hub.domain.errors import HubUnreachable, Misdirected, Unavailable
from hapi.hub.store.shared import Member, Moved
from hapi.request_id import REQUEST_ID_HEADER

ELSEWHERE_HEADER = "X-Hapi-Elsewhere"  # of the answer of a hub that is not the home (any more)
# RFC 9110, 7.6.1, and what is this connection's own.
_OWN_HEADERS = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"content-length", b"expect", b"host"),
        *(b"forwarded", b"x-forwarded-for", b"x-hapi-hop", b"x-hapi-peer", b"x-request-id"),
    )
)
# Of an answer: what our own server writes.
_OWN_ANSWER_HEADERS = frozenset(
    (
        *(b"connection", b"keep-alive", b"transfer-encoding", b"date", b"server", b"vary"),
        *(b"x-request-id", b"access-control-allow-origin", b"access-control-expose-headers"),
    )
)
# Requests about an event stream, which is at the hub that its name begins with.
STREAM_ROUTES = frozenset({"/api/visibility", "/api/live"})
# Routes that read what every hub has: they are answered here if the home cannot be reached.
READ_ANYWHERE = frozenset(
    (
        *("/api/sessions/<session_id>", "/api/sessions/<session_id>/messages"),
        *("/api/sessions/<session_id>/export", "/api/sessions/<session_id>/export/markdown"),
        *("/api/sessions/<session_id>/share-links", "/api/sessions/<session_id>/scratchlist"),
        "/api/sessions/<session_id>/scratchlist/attachments/<attachment_id>",
        *("/api/sessions/<session_id>/scratchlist/limits", "/cli/machines/<machine_id>"),
        *("/api/sessions/<session_id>/permission-rules", "/cli/sessions/<session_id>"),
        "/cli/sessions/<session_id>/resume-target",
    )
)
# Routes that show all sessions or machines of a namespace, which every hub has in memory.
LISTS = frozenset(("/api/sessions", "/api/machines", "/cli/sessions/resumable"))
# Routes that may have started a process before they find that their session has moved.
STARTING = frozenset(
    (
        *("/api/sessions/<session_id>/resume", "/api/sessions/<session_id>/reopen"),
        *("/api/sessions/<session_id>/fork", "/api/machines/<machine_id>/spawn"),
    )
)
# Routes that change nothing in the database. The owner logs in to learn why the hub is not ready.
UNCHANGING = frozenset(("/api/auth",))
MOVING = "The session or machine is moving to another hub; look at it, and try again in a moment"


class Elsewhere(Exception):
    """The hub that a request was forwarded to is not the home, and has not carried it out."""


@define(eq=False, repr=False)
class RequestForwarding:
    """Decides for each request who answers it: the handler here, or the same route elsewhere.

    A request is forwarded once. One that another hub has forwarded is answered here, or refused as
    misdirected; the hub that the client is connected to then asks the database where to send it.
    """

    _directory: Directory
    _client: PeerClient
    _address: Callable[[Any], str]  # of the client of a request
    _forwarded: Counter[str]  # by result: see FORWARDED
    log = Logger()

    async def serve(
        self, request: Any, ids: Mapping[str, str], here: Callable[[], Awaitable[Any]]
    ) -> Any:
        """The result of `here`, the handler of the request; `request.is_answered` if another hub
        has answered it. Raises what the handler raises, and Unavailable.
        """
        owner, member = self._home(request, ids)
        problem = self._directory.problem
        changes = request.method not in (b"GET", b"HEAD") and request.route not in UNCHANGING
        if problem is not None and changes:
            # Others may have taken over what is at home here. After a standstill, what clients have
            # sent meanwhile comes first; they have been told that it failed.
            if request_is_forwarded(request):
                self._refuse_forwarded(request)
            raise Unavailable(f"{problem[0].upper()}{problem[1:]}", "hub_not_ready")
        if request_is_forwarded(request):
            return await self._serve_forwarded(request, owner, member, here)
        if owner is not None and member is None and request.route in STARTING:
            member = await self._directory.look_up(owner)
        if member is None:
            await self._catch_up(request, owner)
            member = None if owner is None else self._directory.elsewhere(owner)
        if member is None:
            try:
                return await here()
            except Moved as moved:
                owner, member = moved.owner, await self._directory.look_up(moved.owner)
                if request.route in STARTING:
                    raise Unavailable(MOVING, "session_moved") from moved
                if member is None:  # it is here again, or its hub has died
                    return await self._here_at_last(request, here)
        try:
            return await self._forward(request, member)
        except (Elsewhere, PeerUnreachable) as problem:
            second = None if owner is None else await self._directory.look_up(owner)
            if second is None and owner is not None:
                return await self._here_at_last(request, here)
            if second is None or second.id == member.id:
                return await self._unreachable(request, problem, here)
            try:
                return await self._forward(request, second)
            except (Elsewhere, PeerFailed) as problem:
                return await self._unreachable(request, problem, here)
        except PeerFailed as problem:
            return await self._unreachable(request, problem, here)

    async def _here_at_last(self, request: Any, here: Callable[[], Awaitable[Any]]) -> Any:
        if request.channel is None:  # the client is gone, and the body with it
            request.is_answered = True
            return None
        request.content.seek(0)
        try:
            return await here()
        except Moved as moved:
            raise Unavailable(MOVING, "session_moved") from moved

    async def _serve_forwarded(
        self,
        request: Any,
        owner: str | None,
        member: Member | None,
        here: Callable[[], Awaitable[Any]],
    ) -> Any:
        if member is None:
            try:
                return await here()
            except Moved:
                pass
        self._refuse_forwarded(request)
        return None

    def _refuse_forwarded(self, request: Any) -> NoReturn:
        request.setHeader(ELSEWHERE_HEADER, "1")
        raise Misdirected("This hub does not serve that session or machine")

    async def _catch_up(self, request: Any, owner: str | None) -> None:
        """Wait until this hub shows what other hubs have stored before the request came: a client
        may have had the answer of another hub just before.
        """
        if owner is None:
            needs = request.route in LISTS and request.method in (b"GET", b"HEAD")
        else:
            needs = not self._directory.is_home(owner)
        if needs:
            await self._directory.caught_up()
        if owner is not None:  # the event of a new one may be stored a moment after its row
            await self._directory.know(owner)

    def _home(self, request: Any, ids: Mapping[str, str]) -> tuple[str | None, Member | None]:
        """What the request concerns, and the other hub where that is at home."""
        if request.route in STREAM_ROUTES:
            return None, self._hub_of_stream(request)
        owner = ids.get("session_id") or ids.get("machine_id")
        return owner, None if owner is None else self._directory.elsewhere(owner)

    def _hub_of_stream(self, request: Any) -> Member | None:
        request.content.seek(0)
        try:
            body = msgspec.json.decode(request.content.read())
        except msgspec.DecodeError:
            body = None
        request.content.seek(0)
        name = body.get("subscriptionId") if isinstance(body, dict) else None
        hub_id = name.rpartition(".")[0] if isinstance(name, str) else ""
        if not hub_id or hub_id == self._directory.hub_id:
            return None
        return next(
            (each for each in self._directory.members if each.id == hub_id and each.is_up), None
        )

    async def _unreachable(
        self, request: Any, problem: Exception, here: Callable[[], Awaitable[Any]]
    ) -> Any:
        if request.method in (b"GET", b"HEAD") and request.route in READ_ANYWHERE:
            return await self._here_at_last(request, here)
        reason = str(problem) if isinstance(problem, PeerFailed) else MOVING
        self.log.warn("A request could not be forwarded: {reason}", reason=reason)
        raise HubUnreachable(
            "The hub that serves this cannot be reached at the moment; try again", "hub_unreachable"
        )

    # --- the other hub ----------------------------------------------------------------------------

    async def _forward(self, request: Any, member: Member) -> None:
        """Have another hub answer. Raises Elsewhere, PeerFailed; nothing was answered then."""
        sending = Deferred.fromCoroutine(self._send(request, member))
        # A client that leaves ends the request at the other hub, too.
        request.notifyFinish().addErrback(lambda _: sending.cancel())
        try:
            await sending
        except (CancelledError, PeerFailed):
            if request.channel is not None:
                self._forwarded["unreachable"] += 1
                raise
            # The client is gone.
        request.is_answered = True

    async def _send(self, request: Any, member: Member) -> None:
        target = quote_from_bytes(request.uri, safe=string.punctuation)
        response = await self._client.send(
            member,
            request.method.decode("ascii"),
            target,
            self._headers(request, member, target),
            _Content.of(request),
        )
        if response.headers.getRawHeaders(ELSEWHERE_HEADER) is not None:
            self._forwarded["misdirected"] += 1
            _stop(response)
            raise Elsewhere(member.name)
        self._forwarded["answered"] += 1
        _write_head(request, response)
        if request.method == b"HEAD" or response.code in NO_BODY_CODES:
            _stop(response)
            request.finish()
            return
        response.deliverBody(body := _Body(request))
        try:
            is_whole = await self._client.watched(member, body.finished)
        except PeerFailed:
            is_whole = False
        if is_whole and request.channel is not None:
            request.finish()
        elif request.channel is not None:
            request.channel.abort()  # the client must not take a part for the whole

    def _headers(self, request: Any, member: Member, target: str) -> Headers:
        headers = Headers()
        for name, values in request.requestHeaders.getAllRawHeaders():
            if name.lower() not in _OWN_HEADERS:
                headers.setRawHeaders(name, values)
        address = self._address(request)
        headers.setRawHeaders(REQUEST_ID_HEADER, [request.request_id])
        if address:
            headers.setRawHeaders("X-Forwarded-For", [address])
        signature = self._client.signer.sign(
            HOP, member.id, request.method, target.encode(), address
        )
        headers.setRawHeaders(HOP_HEADER, [signature])
        return headers


def request_is_forwarded(request: Any) -> bool:
    return getattr(request, "hop", None) is not None


def _write_head(request: Any, response: IResponse) -> None:
    request.setResponseCode(response.code, response.phrase)
    for name, values in response.headers.getAllRawHeaders():
        if name.lower() not in _OWN_ANSWER_HEADERS:
            request.responseHeaders.setRawHeaders(name, values)
    if "Accept-Encoding" in (response.headers.getRawHeaders("vary") or ()):
        request.responseHeaders.addRawHeader("Vary", "Accept-Encoding")
    has_body = request.method != b"HEAD" and response.code not in NO_BODY_CODES
    if has_body and response.length != UNKNOWN_LENGTH:
        request.setHeader("Content-Length", str(response.length))


def _stop(response: IResponse) -> None:
    """End an answer whose body is of no use."""
    response.deliverBody(StreamProtocol())


class _Kept:
    """A file that stays open when a producer is done with it."""

    def __init__(self, content: Any) -> None:
        self.read, self.seek, self.tell = content.read, content.seek, content.tell

    def close(self) -> None: ...


class _Content(FileBodyProducer):
    """The body of a request, read from its file while it is sent."""

    @classmethod
    def of(cls, request: Any) -> _Content | None:
        request.content.seek(0)
        body = cls(cast(Any, _Kept(request.content)))
        return body if body.length else None


@implementer(IPushProducer)
class _Body(StreamProtocol):
    """The body of an answer, read as fast as the client of the request reads it.

    `finished` fires with whether it came whole.
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        self.finished: Deferred[bool] = Deferred(lambda _: self._end_transport())

    def connectionMade(self) -> None:
        self._request.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._request.channel is not None:
            self._request.write(data)

    def connectionLost(self, reason: Failure = cast(Failure, None)) -> None:
        if self._request.channel is not None:
            self._request.unregisterProducer()
        if not self.finished.called:
            self.finished.callback(reason.check(ResponseDone) is not None)

    # --- IPushProducer: the client of the request
    def pauseProducing(self) -> None:
        if self.transport is not None:
            self.transport.pauseProducing()  # type: ignore[attr-defined]

    def resumeProducing(self) -> None:
        if self.transport is not None:
            self.transport.resumeProducing()  # type: ignore[attr-defined]

    def stopProducing(self) -> None:
        self._end_transport()

    def _end_transport(self) -> None:
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]
