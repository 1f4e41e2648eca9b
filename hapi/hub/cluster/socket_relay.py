"""A client of this hub whose session or machine is at home at another hub: its events are sent on
there, by a connection of its own, and come back as that hub sends them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.hub.cluster.peer_calls import PeerClient
from hapi.hub.cluster.signatures import HOP, HOP_HEADER
from hapi.hub.store.shared import Member
from hapi.net.client.connection import Connection
from hapi.net.client.endpoint import websocket_url
from hapi.net.common.errors import ConnectRefused, describe_connection_error
from hapi.net.common.websocket import ClientSocketFactory
from hapi.net.server.peers import Peer
from hapi.protocol.channel import AckReceived, EventReceived, ack_text, event_text

OPEN_TIMEOUT = 4.0  # seconds until the other hub has let the client in
CALL_TIMEOUT = 600.0  # seconds; the hub that asks has a shorter one
MAX_UNSENT = 16 << 20  # characters from a client for a hub that reads slowly
MAX_UNANSWERED = 10_000  # events of a client whose answer is awaited
TARGET = b"/socket.io/?EIO=4&transport=websocket"

Ack = Callable[..., None]


class RelayFailed(Exception):
    """The other hub cannot be reached, or has not answered."""


@define(eq=False, repr=False)
class SocketRelay:
    """One client in one namespace. It connects once: a client whose relay ends connects again."""

    _reactor: Any
    _client: PeerClient
    _member: Member
    _peer: Peer
    # Called with the reason when the relay has ended by itself, after it was open.
    _on_end: Callable[[str], object]
    _opened: Deferred[None] = field(factory=Deferred)
    _is_open: bool = False
    _is_closed: bool = False
    _socket: Any = None
    _connection: Connection | None = None
    _timer: IDelayedCall | None = None
    _numbers: Any = field(factory=count)
    _acks: dict[int, Ack] = field(factory=dict)
    _unsent: deque[str] = field(factory=deque)
    _unsent_size: int = 0  # characters
    _auth: Mapping[str, Any] = field(factory=dict)
    log = Logger()

    @property
    def member(self) -> Member:
        """The hub at the other end."""
        return self._member

    async def open(self, auth: Mapping[str, Any]) -> None:
        """Connect with the client's own `auth`. Raises ConnectRefused as the other hub does, and
        RelayFailed.
        """
        self._auth = auth
        signer, address = self._client.signer, self._peer.address or ""
        hop = signer.sign(HOP, self._member.id, b"GET", TARGET, address)
        url = websocket_url(self._member.url.rstrip("/"))
        factory = ClientSocketFactory(self._reactor, url, {HOP_HEADER: hop}, self._begin)
        self._timer = self._reactor.callLater(OPEN_TIMEOUT, self._fail, "it did not answer")
        connecting = self._client.endpoints.of(self._member.url).connect(factory)
        connecting.addErrback(
            lambda failure: self._fail(describe_connection_error(failure.value, self._member.url))
        )
        try:
            await self._opened
        except BaseException as error:
            connecting.cancel()
            if isinstance(error, CancelledError):  # the client has left
                self.close()
            raise
        finally:
            if self._timer.active():
                self._timer.cancel()

    def close(self) -> None:
        """The client has left."""
        if not self._opened.called:
            self._give_up(RelayFailed("the client has left"))
        self._is_closed = True
        self._acks.clear()
        self._unsent.clear()
        self._peer.on_readable = _nothing
        if self._connection is not None:
            self._connection.leave()

    def event(self, name: str, args: list[Any], ack: Ack | None) -> None:
        """Send an event of the client on; `ack` gets the answer."""
        number = None
        if ack is not None:
            if len(self._acks) >= MAX_UNANSWERED:
                self._end("too many events wait for an answer")
                return
            number = next(self._numbers)
            self._acks[number] = ack
        self._send(event_text(self._peer.namespace, name, args, number))

    # --- ConnectionListener: the other hub
    def connection_opened(self, connection: Connection, date: str | None) -> None: ...

    def connection_joined(self, connection: Connection) -> None:
        if self._opened.called:
            connection.end("given up")
            return
        self._is_open = True
        self._peer.on_readable = self._resume
        self._opened.callback(None)

    def connection_refused(self, connection: Connection, message: str) -> None:
        if not self._is_open:
            self._give_up(ConnectRefused(message))
        elif not self._is_closed:
            self._is_closed = True
            self._peer.disconnect()

    def connection_event(self, connection: Connection, event: EventReceived) -> None:
        peer = self._peer
        if event.ack is None:
            peer.send(event_text(peer.namespace, event.name, event.args))
        else:
            number = event.ack
            answer = peer.call(event.name, *event.args, timeout=CALL_TIMEOUT)
            answer.addCallbacks(
                lambda args: self._send(ack_text(peer.namespace, number, args)), _nothing
            )
        if not peer.is_reading:
            self._socket.transport.pauseProducing()

    def connection_acked(self, connection: Connection, acked: AckReceived) -> None:
        if (ack := self._acks.pop(acked.ack, None)) is not None:
            ack(*acked.args)

    def connection_writable_changed(self, connection: Connection, writable: bool) -> None:
        while self._unsent and connection.writable:
            text = self._unsent.popleft()
            self._unsent_size -= len(text)
            connection.send(text)

    def connection_ended(
        self, connection: Connection, reason: str | None, cause: Failure | None
    ) -> None:
        self._connection = None
        if self._is_open:
            self._end(reason or "the connection to the hub that serves it was lost")
        else:
            self._fail(reason or "the connection was lost")

    # --- inside
    def _begin(self, socket: Any) -> Connection:
        self._socket = socket
        self._connection = Connection.begin(
            self._reactor, socket, self, self._peer.namespace, self._auth
        )
        return self._connection

    def _send(self, text: str) -> None:
        connection = self._connection
        if connection is None or self._is_closed:
            return
        if connection.writable and not self._unsent:
            try:
                connection.send(text)
            except ValueError as error:  # over the limit of the wire, by another form of its JSON
                self._end(str(error))
            return
        self._unsent.append(text)
        self._unsent_size += len(text)
        if self._unsent_size > MAX_UNSENT:
            self._end(f"the hub {self._member.name} reads too slowly")

    def _resume(self) -> None:
        """The client has read what it was sent."""
        if self._socket is not None and self._socket.transport is not None:
            self._socket.transport.resumeProducing()

    def _fail(self, reason: str) -> None:
        self._give_up(RelayFailed(f"The hub {self._member.name} cannot be reached: {reason}"))

    def _give_up(self, problem: Exception) -> None:
        if not self._opened.called:
            self._is_closed = True
            self._opened.errback(problem)
            if self._connection is not None:
                self._connection.end("given up")

    def _end(self, reason: str) -> None:
        """End it from this side: the client is told by `_on_end`."""
        if self._is_closed:
            return
        self.close()
        self._on_end(reason)


def _nothing(*_: Any) -> None: ...
