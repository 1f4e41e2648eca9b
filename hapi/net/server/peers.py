"""The server's side of one Socket.IO client: its peers, acknowledgements, and a limit on unread
data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface

from hapi.net.common.errors import ConnectRefused, FrameTooLarge, PeerGone
from hapi.net.common.pending_calls import PendingCalls
from hapi.net.common.websocket import message_size
from hapi.net.server.unread import UnreadLimit
from hapi.protocol.channel import (
    AckReceived,
    Close,
    EventReceived,
    JoinRequested,
    PeerLeft,
    Send,
    ServerChannel,
    Step,
    ack_text,
    event_text,
)
from hapi.protocol.engineio import MAX_PAYLOAD, Handshake


class INamespace(Interface):
    """How a program treats the clients of one namespace. No method may block."""

    def connect(peer, auth) -> Deferred[None] | None:  # type: ignore[no-untyped-def]
        """A client asks to connect with `auth` (an object or None). Raises ConnectRefused to refuse
        it;
        may set `peer.principal` and call `peer.join`. Events emitted here arrive after the CONNECT
        reply.

        May return a Deferred, which fires when the client may be let in or fails with
        ConnectRefused. It is cancelled when the client leaves meanwhile. Until it fires, the client
        may send nothing.
        """

    def event(peer, name, args, ack) -> None:  # type: ignore[no-untyped-def]
        """An event arrived. `ack(*answer)` answers it once; None if the client sent no ack id."""

    def disconnected(peer, reason) -> None:  # type: ignore[no-untyped-def]
        """A connected client has left or its socket has closed. `peer.rooms` still lists its rooms;
        its calls have failed. Not called for a client whose `connect` was cancelled.
        """


class ConnectionOwner(Protocol):
    """The server of connections and peers, as they use it (a SocketServer)."""

    max_backlog: int
    unread: UnreadLimit
    connections: set[ClientConnection]

    @property
    def clock(self) -> IReactorTime: ...
    @property
    def namespaces(self) -> Mapping[str, INamespace]: ...
    def handshake(self, upgrades: tuple[str, ...] = ()) -> Handshake: ...
    def new_sid(self) -> str: ...
    def next_ack(self, namespace: str) -> int: ...
    def enter(self, room: str, peer: Peer) -> None: ...
    def exit(self, room: str, peer: Peer) -> None: ...
    def connection_opened(self, connection: ClientConnection) -> None: ...
    def connection_closed(self, connection: ClientConnection) -> None: ...


class Transport(Protocol):
    """What carries a connection (a ServerSocket or a PollingTransport)."""

    @property
    def address(self) -> str | None: ...
    @property
    def absence(self) -> float: ...
    @property
    def is_forwarded(self) -> bool: ...
    def send_text(self, text: str) -> None: ...
    def authenticated(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


@define(eq=False, repr=False)
class Peer:
    """A client in one namespace."""

    id: str
    namespace: str
    _socket: ClientConnection
    principal: Any = None
    gone: bool = False
    on_readable: Callable[[], object] = field(default=lambda: None)  # it has read all it was sent
    _joining: bool = True
    _rooms: set[str] = field(factory=set)
    _calls: PendingCalls = field(init=False)
    _held: list[str] = field(factory=list)  # emitted before the CONNECT reply

    def __attrs_post_init__(self) -> None:
        self._calls = PendingCalls(self._socket.server.clock)

    @property
    def rooms(self) -> frozenset[str]:
        return frozenset(self._rooms)

    @property
    def address(self) -> str | None:
        """The address the client connects from."""
        return self._socket.address

    @property
    def is_forwarded(self) -> bool:
        """Whether another hub relays the client."""
        return self._socket.is_forwarded

    @property
    def is_reading(self) -> bool:
        """Whether the client has read what it was sent, save what the system buffers."""
        return self._socket.is_flowing

    @property
    def absence(self) -> float:
        """Seconds since a client that polls was last there; 0 for one that is."""
        return self._socket.absence

    def join(self, room: str) -> None:
        if not self.gone:
            self._rooms.add(room)
            self._socket.server.enter(room, self)

    def leave(self, room: str) -> None:
        self._rooms.discard(room)
        self._socket.server.exit(room, self)

    def emit(self, event: str, *args: Any) -> None:
        """Send an event; nothing happens when the client is gone. Raises FrameTooLarge, TypeError,
        ValueError.
        """
        self.send(checked(event_text(self.namespace, event, args)))

    def call(self, event: str, *args: Any, timeout: float) -> Deferred[list[Any]]:
        """Send an event and fire with the arguments of the client's answer.

        Errs with PeerGone as soon as the socket drops, with AckTimeout after `timeout` seconds,
        with FrameTooLarge.
        """
        if self.gone:
            return fail(PeerGone("the client is gone"))
        number = self._socket.server.next_ack(self.namespace)
        try:
            text = checked(event_text(self.namespace, event, args, number))
        except (TypeError, ValueError, RecursionError) as problem:
            return fail(problem)
        answer = self._calls.begin(number, event, timeout)
        self._calls.sent(number)
        self.send(text)
        return answer

    def disconnect(self) -> None:
        """Disconnect the client from the namespace."""
        self._socket.disconnect(self)

    def hang_up(self, reason: str) -> None:
        """Close the client's connection; unlike a refusal, this lets the client try again."""
        self._socket.end(reason)

    def send(self, text: str) -> None:
        """Send an encoded message."""
        if self._joining:
            self._held.append(text)
        elif not self.gone:
            self._socket.send(text)

    # --- for the connection
    def admitted(self) -> None:
        self._joining = False
        held, self._held = self._held, []
        for text in held:
            self.send(text)

    def acked(self, acked: AckReceived) -> None:
        self._calls.answered(acked.ack, acked.args)

    def answer(self, number: int) -> Callable[..., None]:
        answered = False

        def ack(*args: Any) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self.send(checked(ack_text(self.namespace, number, args)))

        return ack

    def dropped(self, reason: str) -> None:
        self.gone = True
        self._calls.fail_sent(PeerGone(reason))
        for room in self._rooms:
            self._socket.server.exit(room, self)


def checked(text: str) -> str:
    """Return `text`. Raises FrameTooLarge if it exceeds what clients accept."""
    if (size := message_size(text)) > MAX_PAYLOAD:
        raise FrameTooLarge(f"a message of {size} bytes is over the limit of {MAX_PAYLOAD}")
    return text


@define(eq=False, repr=False)
class ClientConnection:
    """One connection: its transport, its channel, and one Peer for each namespace it has joined.

    `upgrades`: the transports that its client may change to.
    """

    server: ConnectionOwner
    _socket: Transport
    upgrades: tuple[str, ...] = ()
    _channel: ServerChannel | None = None
    _peers: dict[str, Peer] = field(factory=dict)
    _joining: dict[Peer, Deferred[None]] = field(factory=dict)  # that wait for their namespace
    _deadline_call: IDelayedCall | None = None
    _flowing: bool = True
    _backlog: deque[str] = field(factory=deque)
    _backlog_size: int = 0  # characters
    _reason: str | None = None
    log = Logger()

    @property
    def address(self) -> str | None:
        return self._socket.address

    @property
    def absence(self) -> float:
        return self._socket.absence

    @property
    def is_forwarded(self) -> bool:
        return self._socket.is_forwarded

    @property
    def is_flowing(self) -> bool:
        return self._flowing and not self._backlog

    @property
    def sid(self) -> str | None:
        return self._channel.handshake.sid if self._channel is not None else None

    def send(self, text: str) -> None:
        """Send, or queue while the client reads slowly; beyond the server's `max_backlog` it is
        disconnected.
        """
        if self._flowing and not self._backlog:
            self._socket.send_text(text)
            return
        self._backlog.append(text)
        self._backlog_size += len(text)
        if self._backlog_size > self.server.max_backlog:
            self.cut()
        else:
            self.server.unread.hold(self, self._backlog_size)

    def cut(self) -> None:
        """End the connection without sending what its client has left unread."""
        size = self._backlog_size
        self._clear_backlog()
        self.end(f"slow reader: {size} characters unread", cut=True)

    def _clear_backlog(self) -> None:
        self._backlog.clear()
        self._backlog_size = 0
        self.server.unread.hold(self, 0)

    def disconnect(self, peer: Peer) -> None:
        if self._channel is not None and not peer.gone:
            self._do(self._channel.leave(peer.namespace))
            self._drop(peer, "disconnected by the hub")

    def end(self, reason: str, cut: bool = False) -> None:
        """Close the socket with 1000 (`cut`: without a handshake)."""
        self._reason = self._reason or reason
        self._silence()
        if cut:
            self._socket.abort()
        else:
            self._socket.close()
        for peer in list(self._peers.values()):
            self._drop(peer, reason)

    def change_transport(self, socket: Transport, waiting: Sequence[str]) -> None:
        """Go on by `socket`, which is open; `waiting` has not been sent yet."""
        self._socket, self.upgrades = socket, ()
        self._backlog.extendleft(reversed(waiting))
        self._backlog_size += sum(map(len, waiting))
        self.writable_changed(True)

    # --- Holder
    def opened(self) -> None:
        self._channel, steps = ServerChannel.start(
            self.server.handshake(self.upgrades),
            self.server.namespaces,
            self.server.clock.seconds(),
        )
        self.server.connection_opened(self)
        self._do(steps)
        self._watch()

    def received(self, text: str) -> None:
        if self._channel is not None:
            self._do(self._channel.receive(text, self.server.clock.seconds()))

    def received_binary(self) -> None:
        self.end("a binary message")

    def writable_changed(self, writable: bool) -> None:
        self._flowing = writable
        while self._flowing and self._backlog:
            text = self._backlog.popleft()
            self._backlog_size -= len(text)
            self._socket.send_text(text)
        self.server.unread.hold(self, self._backlog_size)
        for peer in list(self._peers.values()):
            if self.is_flowing:
                peer.on_readable()

    def closed(self, code: int | None, reason: str, cause: Failure | None) -> None:
        self._silence()
        self._clear_backlog()
        for peer, joining in list(self._joining.items()):
            peer.dropped("the client left")
            joining.cancel()
        for peer in list(self._peers.values()):
            self._drop(peer, self._reason or reason or "transport closed")
        self.server.connection_closed(self)

    # --- inside
    def _do(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Send(text):
                    self.send(text)
                case JoinRequested(namespace, auth):
                    self._admit(namespace, auth)
                case EventReceived():
                    self._event(step)
                case AckReceived() if (peer := self._peers.get(step.namespace)) is not None:
                    peer.acked(step)
                case PeerLeft(namespace) if (peer := self._peers.get(namespace)) is not None:
                    self._drop(peer, "client left")
                case Close(reason):
                    self.end(reason)

    def _admit(self, namespace: str, auth: Any) -> None:
        peer = Peer(self.server.new_sid(), namespace, self)
        try:
            joining = self.server.namespaces[namespace].connect(peer, auth)
        except Exception:
            self._refuse(Failure(), peer)
            return
        if joining is None:
            self._accept(peer)
            return
        self._joining[peer] = joining
        joining.addCallbacks(
            lambda _: self._accept(peer), self._refuse, errbackArgs=(peer,)
        ).addErrback(lambda failure: self.log.failure("A client could not be let in", failure))

    def _accept(self, peer: Peer) -> None:
        assert self._channel is not None
        self._joining.pop(peer, None)
        self._peers[peer.namespace] = peer
        if peer.gone:  # it left, and its namespace did not notice
            self._drop(peer, "the client left")
            return
        self._socket.authenticated()
        self._do(self._channel.accept(peer.namespace, peer.id))
        peer.admitted()

    def _refuse(self, failure: Failure, peer: Peer) -> None:
        assert self._channel is not None
        self._joining.pop(peer, None)
        if peer.gone and failure.check(CancelledError):
            return
        peer.dropped("refused")
        if failure.check(ConnectRefused):
            self._do(self._channel.refuse(peer.namespace, str(failure.value)))
            return
        self.log.failure(
            "A client of {namespace} could not be authenticated", failure, namespace=peer.namespace
        )
        self._do(self._channel.refuse(peer.namespace, "Internal error"))

    def _event(self, event: EventReceived) -> None:
        peer = self._peers.get(event.namespace)
        if peer is None:
            return
        ack = peer.answer(event.ack) if event.ack is not None else None
        try:
            self.server.namespaces[event.namespace].event(peer, event.name, event.args, ack)
        except Exception:  # an event of one client must not end any connection
            self.log.failure("Event {name} failed", name=event.name)

    def _drop(self, peer: Peer, reason: str) -> None:
        if self._peers.pop(peer.namespace, None) is None:
            return
        rooms = peer.rooms
        peer.dropped(reason)
        peer._rooms = set(rooms)
        try:
            self.server.namespaces[peer.namespace].disconnected(peer, reason)
        except Exception:
            self.log.failure("Handling the disconnect of a client failed")

    def _silence(self) -> None:
        """Send nothing more and cancel the deadline."""
        if self._channel is not None:
            self._channel.closed = True
        if self._deadline_call is not None and self._deadline_call.active():
            self._deadline_call.cancel()

    def _watch(self) -> None:
        assert self._channel is not None
        wait = max(0.0, self._channel.deadline - self.server.clock.seconds())
        self._deadline_call = self.server.clock.callLater(wait, self._check_deadline)

    def _check_deadline(self) -> None:
        assert self._channel is not None
        self._do(self._channel.check_deadline(self.server.clock.seconds()))
        if not self._channel.closed:
            self._watch()
