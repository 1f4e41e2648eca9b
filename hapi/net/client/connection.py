"""One connection to the hub: the sans-IO channel between a socket and the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from hapi.net.common.websocket import ClientSocket
from hapi.protocol.channel import (
    AckReceived,
    ClientChannel,
    Close,
    EventReceived,
    Joined,
    JoinRefused,
    PeerLeft,
    Send,
    Step,
)


class ConnectionListener(Protocol):
    """Receives the events of a connection; `connection_ended` comes exactly once, last."""

    def connection_opened(self, connection: Connection, date: str | None) -> None:
        """The hub accepted the WebSocket; `date` is the `Date` header of its answer."""

    def connection_joined(self, connection: Connection) -> None: ...
    def connection_refused(self, connection: Connection, message: str) -> None: ...
    def connection_event(self, connection: Connection, event: EventReceived) -> None: ...
    def connection_acked(self, connection: Connection, acked: AckReceived) -> None: ...
    def connection_writable_changed(self, connection: Connection, writable: bool) -> None: ...
    def connection_ended(
        self, connection: Connection, reason: str | None, cause: Failure | None
    ) -> None:
        """`reason` is ours or the WebSocket's; None if only `cause` says why."""


@define(eq=False, repr=False)
class Connection:
    """The handler of a ClientSocket."""

    _clock: IReactorTime
    _socket: ClientSocket
    _listener: ConnectionListener
    _channel: ClientChannel
    _deadline_call: IDelayedCall | None = None
    _reason: str | None = None
    writable: bool = True

    @classmethod
    def begin(
        cls,
        clock: IReactorTime,
        socket: ClientSocket,
        listener: ConnectionListener,
        namespace: str,
        auth: Mapping[str, Any],
    ) -> Connection:
        connection = cls(
            clock, socket, listener, ClientChannel.start(namespace, auth, clock.seconds())
        )
        connection._schedule_check()
        return connection

    @property
    def joined(self) -> bool:
        return self._channel.joined

    def send(self, text: str) -> None:
        self._socket.send_text(text)

    def leave(self) -> None:
        """Send `41` and close with code 1000."""
        self._execute(self._channel.leave())
        self._socket.close()

    def end(self, reason: str) -> None:
        """Close because of `reason`, which the listener then receives."""
        self._reason = self._reason or reason
        self._finish()
        self._socket.close()

    # --- WebSocketHandler
    def opened(self) -> None:
        """The upgrade is complete; the hub sends the first message."""
        self._listener.connection_opened(self, self._socket.date)

    def received(self, text: str) -> None:
        self._execute(self._channel.receive(text, self._clock.seconds()))

    def received_binary(self) -> None:
        self.end("the hub sent a binary message")

    def writable_changed(self, writable: bool) -> None:
        self.writable = writable
        self._listener.connection_writable_changed(self, writable)

    def closed(self, code: int | None, reason: str, cause: Failure | None) -> None:
        self._finish()
        self._listener.connection_ended(self, self._reason or reason or None, cause)

    def _execute(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Send(text):
                    self._socket.send_text(text)
                case EventReceived():
                    self._listener.connection_event(self, step)
                case AckReceived():
                    self._listener.connection_acked(self, step)
                case Joined():
                    self._listener.connection_joined(self)
                case JoinRefused(message):
                    self._listener.connection_refused(self, message)
                    self.end(f"the hub refused us: {message}")
                case PeerLeft():
                    self._listener.connection_refused(self, "the hub removed us from the namespace")
                    self.end("the hub removed us from the namespace")
                case Close(reason):
                    self.end(reason)

    def _finish(self) -> None:
        """Stop the channel and its timer; the socket has its own timeout for closing."""
        self._channel.closed = True
        if self._deadline_call is not None and self._deadline_call.active():
            self._deadline_call.cancel()

    def _schedule_check(self) -> None:
        """Keep one timer, and set it again if it fires early: each message moves the deadline."""
        self._deadline_call = self._clock.callLater(
            max(0.0, self._channel.deadline - self._clock.seconds()), self._check_deadline
        )

    def _check_deadline(self) -> None:
        steps = self._channel.check_deadline(self._clock.seconds())
        if steps:
            self._execute(steps)
            self._socket.abort()  # a peer that is silent answers no closing handshake either
        elif not self._channel.closed:
            self._schedule_check()
