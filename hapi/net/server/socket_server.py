"""A Socket.IO server over WebSocket: one resource for `/socket.io/`, namespaces, rooms, limits and
deadlines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from secrets import token_urlsafe
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from hapi.net.common.errors import ConnectRefused, PeerGone
from hapi.net.common.websocket import CLOSE_TIMEOUT, ServerSocketFactory
from hapi.net.server.http import json_reply
from hapi.net.server.peers import ClientConnection, INamespace, Peer, checked
from hapi.net.server.unread import UnreadLimit
from hapi.protocol.authority import same_host
from hapi.protocol.channel import event_text
from hapi.protocol.engineio import (
    BAD_REQUEST,
    PING_INTERVAL,
    PING_TIMEOUT,
    Handshake,
    Refusal,
    refusal,
)

__all__ = ["ConnectRefused", "INamespace", "Peer", "PeerGone", "SocketServer"]

MAX_BACKLOG = 64 * 1024 * 1024  # characters; more than one message of the greatest size
MAX_BACKLOGS = 4 * MAX_BACKLOG  # characters that all clients together may leave unread


def peer_address(request: IRequest) -> str:
    """The address that the connection comes from, "" if it has none."""
    return str(getattr(request.getClientAddress(), "host", None) or "")


class SocketServer:
    """`namespaces` maps a name to the INamespace that serves it.

    `allow_origin(origin, host)` checks a browser's Origin header; requests without one are
    accepted. `client_address` is what `Peer.address` will be. `max_backlog`: characters that a
    client may leave unread before it is disconnected. Times in seconds.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        namespaces: Mapping[str, INamespace],
        *,
        allow_origin: Callable[[str, str], bool] = same_host,
        client_address: Callable[[IRequest], str] = peer_address,
        ping_interval: float = PING_INTERVAL,
        ping_timeout: float = PING_TIMEOUT,
        max_backlog: int = MAX_BACKLOG,
    ) -> None:
        self.clock, self.namespaces, self.allow_origin, self.max_backlog = (
            clock,
            dict(namespaces),
            allow_origin,
            max_backlog,
        )
        self.client_address = client_address
        self._warned_of_upgrade = False
        self._ping_interval, self._ping_timeout = ping_interval, ping_timeout
        self.unread = UnreadLimit(MAX_BACKLOGS)
        self._rooms: dict[tuple[str, str], set[Peer]] = {}
        self._acks: dict[str, Iterator[int]] = {}
        self.connections: set[ClientConnection] = set()
        self._closing: dict[ClientConnection, Deferred[None]] = {}
        self._stopped = False
        self.factory = ServerSocketFactory(clock, lambda socket: ClientConnection(self, socket))
        self.resource: IResource = SocketResource(self)

    def room(self, name: str, namespace: str = "/cli") -> frozenset[Peer]:
        """The peers in a room."""
        return frozenset(self._rooms.get((namespace, name), ()))

    def emit(
        self,
        room: str,
        event: str,
        *args: Any,
        without: Peer | None = None,
        namespace: str = "/cli",
    ) -> None:
        """Send an event to every peer in `room` except `without`, encoded once.

        Raises FrameTooLarge, TypeError, ValueError.
        """
        peers = self._rooms.get((namespace, room))
        if not peers:
            return
        text = checked(event_text(namespace, event, args))
        for peer in list(peers):
            if peer is not without:
                peer.send(text)

    async def stop(self) -> None:
        """Accept no new connection and close all with a close handshake of about a second."""
        self._stopped = True
        waiting: list[Deferred[None]] = []
        for connection in list(self.connections):
            closed: Deferred[None] = Deferred()
            self._closing[connection] = closed
            waiting.append(
                closed.addTimeout(CLOSE_TIMEOUT * 1.5, self.clock).addErrback(lambda _: None)
            )
            connection.end("the hub stops")
        await DeferredList(waiting)

    def sids(self) -> set[str]:
        """The ids of all open connections."""
        return {connection.sid for connection in self.connections if connection.sid is not None}

    @property
    def stopped(self) -> bool:
        return self._stopped

    # --- for connections and peers
    def handshake(self) -> Handshake:
        return Handshake(self.new_sid(), self._ping_interval, self._ping_timeout)

    def new_sid(self) -> str:
        return token_urlsafe(15)

    def next_ack(self, namespace: str) -> int:
        """Ack numbers count per namespace over all clients, as those of npm's hub do (transport.md
        4.3).
        """
        return next(self._acks.setdefault(namespace, count()))

    def upgrade_missing(self, request: IRequest) -> None:
        """A client wants a WebSocket, but its request lacks the headers of one; warn once."""
        if self._warned_of_upgrade:
            return
        self._warned_of_upgrade = True
        self.log.warn(
            "A request for a WebSocket from {address} asked for no upgrade. If a proxy in front of "
            "the hub drops the headers Upgrade and Connection, the page works, but no runner can "
            "connect",
            address=self.client_address(request),
        )

    def enter(self, room: str, peer: Peer) -> None:
        self._rooms.setdefault((peer.namespace, room), set()).add(peer)

    def exit(self, room: str, peer: Peer) -> None:
        if (peers := self._rooms.get((peer.namespace, room))) is not None:
            peers.discard(peer)
            if not peers:
                del self._rooms[(peer.namespace, room)]

    def connection_closed(self, connection: ClientConnection) -> None:
        if (closed := self._closing.pop(connection, None)) is not None:
            closed.callback(None)


@implementer(IResource)
class SocketResource(Resource):
    """`/socket.io/`: checks the request, then hands its connection to a ServerSocket."""

    isLeaf = True

    def __init__(self, server: SocketServer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._server = server

    def render(self, request: IRequest) -> Any:
        origin, host = request.getHeader("origin"), request.getHeader("host") or ""
        allowed = origin is None or self._server.allow_origin(origin, host)
        query = {
            _text(name): [_text(value) for value in values] for name, values in request.args.items()
        }
        sids = self._server.sids() if "sid" in query else ()
        problem = refusal(_text(request.method), query, allowed, sids)
        if problem is None and not _wants_upgrade(request):
            problem = BAD_REQUEST
            self._server.upgrade_missing(request)
        if problem is None and self._server.stopped:
            problem = Refusal(503, 3, "The hub stops")
        if problem is not None:
            return _refuse(request, problem, origin if allowed else None)
        self._hand_over(request)
        return NOT_DONE_YET

    def _hand_over(self, request: Any) -> None:
        """Give the connection to a ServerSocket and replay the head of the request to it."""
        socket = self._server.factory.buildProtocol(None)
        socket.address = self._server.client_address(request)
        socket.observer = unauthenticated = request.channel.site.unauthenticated
        unauthenticated.add(socket, socket.address or "")
        request.channel.hand_over(socket)
        head = [request.method + b" " + request.uri + b" HTTP/1.1"]
        head += [
            name + b": " + b",".join(values)
            for name, values in request.requestHeaders.getAllRawHeaders()
        ]
        socket.dataReceived(b"\r\n".join(head) + b"\r\n\r\n")


def _wants_upgrade(request: IRequest) -> bool:
    """Whether the request has the two headers of an upgrade (RFC 6455, 4.2.1)."""
    options = (request.getHeader("connection") or "").lower().split(",")
    return (request.getHeader("upgrade") or "").lower() == "websocket" and "upgrade" in (
        option.strip() for option in options
    )


def _refuse(request: Any, problem: Refusal, origin: str | None) -> bytes:
    request.setHeader(b"access-control-allow-origin", origin.encode() if origin else b"false")
    request.setHeader(b"vary", b"Origin")
    return json_reply(request, problem.status, problem.body())


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
