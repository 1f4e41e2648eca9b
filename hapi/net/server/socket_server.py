"""A Socket.IO server over WebSocket and long-polling: one resource for `/socket.io/`, namespaces,
rooms, limits and deadlines.
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
from hapi.net.common.websocket import CLOSE_TIMEOUT, ServerSocket, ServerSocketFactory
from hapi.net.server.http import HeadRefused, json_reply
from hapi.net.server.peers import ClientConnection, INamespace, Peer, checked
from hapi.net.server.polling import PollingTransport, UpgradeProbe, answer
from hapi.net.server.unread import UnreadLimit
from hapi.protocol.authority import same_host
from hapi.protocol.channel import event_text
from hapi.protocol.engineio import (
    BAD_REQUEST,
    PING_INTERVAL,
    PING_TIMEOUT,
    POLLING,
    SESSION_UNKNOWN,
    WEBSOCKET,
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
        self._transports: dict[str, str] = {}  # of each connection, by sid
        self._polling: dict[str, PollingTransport] = {}  # by sid
        self._closing: dict[ClientConnection, Deferred[None]] = {}
        self._stopped = False
        self.factory = ServerSocketFactory(clock, lambda socket: ClientConnection(self, socket))
        self.resource = SocketResource(self)

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

    def body_limit(self, request: Any) -> int:
        """The greatest size in bytes of the body of a request for `/socket.io/`. Raises
        HeadRefused.
        """
        problem = self.resource.problem(request)
        polling = self.polling_transport(request)
        if problem is not None or polling is None or request.method != b"POST":
            found = problem or BAD_REQUEST
            raise HeadRefused(found.status, found.body())
        return polling.max_body_size

    @property
    def stopped(self) -> bool:
        return self._stopped

    # --- for connections and peers
    def handshake(self, upgrades: tuple[str, ...] = ()) -> Handshake:
        sid = self.new_sid()
        return Handshake(sid, self._ping_interval, self._ping_timeout, upgrades=upgrades)

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

    def connection_opened(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        if connection.sid is not None:
            self._transports[connection.sid] = POLLING if connection.upgrades else WEBSOCKET

    def connection_closed(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        if connection.sid is not None:
            self._transports.pop(connection.sid, None)
            self._polling.pop(connection.sid, None)
        if (closed := self._closing.pop(connection, None)) is not None:
            closed.callback(None)

    # --- for requests
    def transports(self) -> Mapping[str, str]:
        """The transport of each open connection, by its id."""
        return self._transports

    def polling_transport(self, request: Any) -> PollingTransport | None:
        """The transport of the connection that a request names."""
        (sid, *_) = request.args.get(b"sid") or (b"",)
        return self._polling.get(_text(sid))

    def open_polling(self, request: Any) -> None:
        """A client begins with long-polling; `request` is answered with the open packet."""
        observer = request.channel.site.unauthenticated
        transport = PollingTransport(self.clock, self.client_address(request), observer)
        connection = ClientConnection(self, transport, (WEBSOCKET,))
        transport.handler = connection
        transport.open()
        if connection.sid is not None:
            self._polling[connection.sid] = transport
        transport.poll(request)

    def probe(self, polling: PollingTransport, socket: ServerSocket) -> None:
        """Let the client of `polling` try `socket`, which has been made for it."""
        connection: Any = polling.handler

        def adopt(adopted: ServerSocket) -> None:
            self._polling.pop(connection.sid, None)
            self._transports[connection.sid] = WEBSOCKET
            adopted.handler = connection
            if polling.is_authenticated:
                adopted.authenticated()
            connection.change_transport(adopted, polling.end_upgrade())

        socket.handler = UpgradeProbe(polling, socket, adopt)


@implementer(IResource)
class SocketResource(Resource):
    """`/socket.io/`: checks the request, then answers it or hands its connection to a
    ServerSocket.
    """

    isLeaf = True

    def __init__(self, server: SocketServer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._server = server

    def problem(self, request: Any) -> Refusal | None:
        """Why a request is refused; None: it is not."""
        query = {
            _text(name): [_text(value) for value in values] for name, values in request.args.items()
        }
        allowed = self._allowed_origin(request) is not None
        return refusal(_text(request.method), query, allowed, self._server.transports())

    def render(self, request: Any) -> Any:
        problem = self.problem(request)
        by_socket = request.args.get(b"transport", [b""])[0] == WEBSOCKET.encode()
        if problem is None and by_socket and not _wants_upgrade(request):
            problem = BAD_REQUEST
            self._server.upgrade_missing(request)
        if problem is None and self._server.stopped:
            problem = Refusal(503, 3, "The hub stops")
        if problem is None:
            problem = self._hand_over(request) if by_socket else self._serve(request)
        return NOT_DONE_YET if problem is None else self._refuse(request, problem)

    def _serve(self, request: Any) -> Refusal | None:
        """Serve a request of long-polling."""
        if origin := self._allowed_origin(request):
            request.setHeader(b"access-control-allow-origin", origin.encode())
        request.setHeader(b"vary", b"Origin")
        if b"sid" not in request.args:
            self._server.open_polling(request)
            return None
        polling = self._server.polling_transport(request)
        if polling is None:
            return SESSION_UNKNOWN
        if request.method == b"GET":
            return None if polling.poll(request) else BAD_REQUEST
        if not polling.post(request, request.content.read()):
            return BAD_REQUEST
        answer(request, b"ok")
        return None

    def _hand_over(self, request: Any) -> Refusal | None:
        """Give the connection to a ServerSocket and replay the head of the request to it."""
        polling = self._server.polling_transport(request)
        if polling is not None and polling.is_upgrading:
            return BAD_REQUEST
        socket = self._server.factory.buildProtocol(None)
        if polling is not None:
            self._server.probe(polling, socket)
        socket.address = self._server.client_address(request)
        socket.is_forwarded = getattr(request, "hop", None) is not None
        socket.observer = unauthenticated = request.channel.site.unauthenticated
        unauthenticated.add(socket, socket.address or "")
        request.channel.hand_over(socket)
        head = [request.method + b" " + request.uri + b" HTTP/1.1"]
        head += [
            name + b": " + b",".join(values)
            for name, values in request.requestHeaders.getAllRawHeaders()
        ]
        socket.dataReceived(b"\r\n".join(head) + b"\r\n\r\n")
        return None

    def _allowed_origin(self, request: Any) -> str | None:
        """The origin of the page that asks, "" if there is none; None: it may not."""
        origin, host = request.getHeader("origin"), request.getHeader("host") or ""
        if origin is None:
            return ""
        return str(origin) if self._server.allow_origin(origin, host) else None

    def _refuse(self, request: Any, problem: Refusal) -> bytes:
        origin = self._allowed_origin(request)
        request.setHeader(b"access-control-allow-origin", origin.encode() if origin else b"false")
        request.setHeader(b"vary", b"Origin")
        return json_reply(request, problem.status, problem.body())


def _wants_upgrade(request: IRequest) -> bool:
    """Whether the request has the two headers of an upgrade (RFC 6455, 4.2.1)."""
    options = (request.getHeader("connection") or "").lower().split(",")
    return (request.getHeader("upgrade") or "").lower() == "websocket" and "upgrade" in (
        option.strip() for option in options
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
