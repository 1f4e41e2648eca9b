"""One Socket.IO connection without I/O: texts and the time go in, steps to execute come out.

Both roles; no reactor, no socket.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import define, field, frozen

from hapi.protocol.engineio import (
    CLOSE,
    CONNECT_TIMEOUT,
    MESSAGE,
    NOOP,
    OPEN,
    PING,
    PONG,
    Handshake,
)
from hapi.protocol.json import Malformed
from hapi.protocol.socketio import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Packet,
    decode,
    encode,
)

HANDSHAKE_TIMEOUT = 20.0  # seconds from the start of an attempt to the CONNECT reply


# The steps that a channel asks its holder to execute, and what it reports.
@frozen
class Send:
    """Send this text message."""

    text: str


@frozen
class Close:
    """Close the transport; nothing more will come of this channel."""

    reason: str


@frozen
class Joined:
    """Client: the hub accepted us."""

    sid: str


@frozen
class JoinRefused:
    """Client: the hub answered CONNECT with an error."""

    message: str


@frozen
class PeerLeft:
    """The peer left the namespace (`41`)."""

    namespace: str


@frozen
class JoinRequested:
    """Server: the client asks to join; answer with `accept` or `refuse`."""

    namespace: str
    auth: Any


@frozen
class EventReceived:
    """An event; `ack` is the number to answer with, None when no answer is wanted."""

    namespace: str
    name: str
    args: list[Any]
    ack: int | None


@frozen
class AckReceived:
    """The peer answered our event number `ack`."""

    namespace: str
    ack: int
    args: list[Any]


Step = Send | Close | Joined | JoinRefused | PeerLeft | JoinRequested | EventReceived | AckReceived


def event_text(namespace: str, name: str, args: Collection[Any], ack: int | None = None) -> str:
    """The message of an event. Raises TypeError or ValueError when an argument has no JSON form."""
    return MESSAGE + encode(Packet(EVENT, namespace, ack, [name, *args]))


def ack_text(namespace: str, ack: int, args: Collection[Any]) -> str:
    return MESSAGE + encode(Packet(ACK, namespace, ack, list(args)))


@define
class ClientChannel:
    """The client's end, one namespace. All times are seconds of one monotonic clock."""

    namespace: str
    auth: Mapping[str, Any] = field(repr=False)
    deadline: float  # when to call `check_deadline`
    handshake: Handshake | None = None
    joined: bool = False
    closed: bool = False

    @classmethod
    def start(cls, namespace: str, auth: Mapping[str, Any], now: float) -> ClientChannel:
        """A channel whose transport is being opened; the whole handshake has HANDSHAKE_TIMEOUT."""
        return cls(namespace, auth, now + HANDSHAKE_TIMEOUT)

    def receive(self, text: str, now: float) -> list[Step]:
        """Take one text message."""
        if self.closed:
            return []
        try:
            steps = self._receive(text)
        except Malformed as error:
            return self._close(f"the hub sent what we do not understand: {error}")
        if self.joined and self.handshake is not None and not self.closed:
            self.deadline = now + self.handshake.ping_interval + self.handshake.ping_timeout
        return steps

    def check_deadline(self, now: float) -> list[Step]:
        """Check the time: returns the end of this channel once `deadline` has passed, else []."""
        if self.closed or now < self.deadline:
            return []
        if not self.joined:
            return self._close(
                f"the hub did not finish the handshake within {HANDSHAKE_TIMEOUT:.0f} s"
            )
        assert self.handshake is not None
        silence = self.handshake.ping_interval + self.handshake.ping_timeout
        return self._close(f"the hub has been silent for {silence:.0f} s")

    def leave(self) -> list[Step]:
        """The message of a polite end; the transport is closed by its holder."""
        if not self.joined or self.closed:
            return []
        self.joined = False
        return [Send(MESSAGE + encode(Packet(DISCONNECT, self.namespace)))]

    def _close(self, reason: str) -> list[Step]:
        self.closed, self.joined = True, False
        return [Close(reason)]

    def _receive(self, text: str) -> list[Step]:
        code, rest = text[:1], text[1:]
        if self.handshake is None and code not in (OPEN, CLOSE):
            raise Malformed("something before the open packet")
        match code:
            case _ if code == OPEN:
                if self.handshake is not None:
                    raise Malformed("a second open packet")
                self.handshake = Handshake.parse(rest)
                return [
                    Send(MESSAGE + encode(Packet(CONNECT, self.namespace, data=dict(self.auth))))
                ]
            case _ if text == PING:
                return [Send(PONG)]
            case _ if text == CLOSE:
                return self._close("the hub closed the transport")
            case _ if code == MESSAGE:
                return self._packet(decode(rest))
            case _ if text == NOOP:
                return []
        raise Malformed(f"no such packet: {text[:12]!r}")

    def _packet(self, packet: Packet) -> list[Step]:
        if packet.namespace != self.namespace:
            raise Malformed(f"a packet of namespace {packet.namespace[:40]!r}")
        if packet.kind == CONNECT_ERROR:
            message = packet.data.get("message") if isinstance(packet.data, dict) else packet.data
            return [JoinRefused(message if isinstance(message, str) else "no reason given")]
        if packet.kind == CONNECT:
            sid = packet.data.get("sid") if isinstance(packet.data, dict) else None
            if self.joined or not isinstance(sid, str):
                raise Malformed("a CONNECT reply that fits nothing")
            self.joined = True
            return [Joined(sid)]
        if not self.joined:
            raise Malformed("a packet before the CONNECT reply")
        if packet.kind == DISCONNECT:
            self.joined = False
            return [PeerLeft(packet.namespace)]
        if packet.kind == EVENT:
            return [EventReceived(packet.namespace, packet.data[0], packet.data[1:], packet.ack)]
        assert packet.ack is not None
        return [AckReceived(packet.namespace, packet.ack, packet.data)]


@define
class ServerChannel:
    """The server's end, any number of namespaces on one transport."""

    handshake: Handshake
    namespaces: frozenset[str]  # those that exist
    deadline: float  # when to call `check_deadline`
    _ping_at: float
    _dead_at: float | None = None  # set while a ping is unanswered
    _join_by: float | None = None
    _asked: set[str] = field(factory=set)  # CONNECT seen, not answered yet
    _joined: set[str] = field(factory=set)
    closed: bool = False

    @classmethod
    def start(
        cls, handshake: Handshake, namespaces: Collection[str], now: float
    ) -> tuple[ServerChannel, list[Step]]:
        """A channel whose transport is open, and the open packet to send."""
        channel = cls(
            handshake,
            frozenset(namespaces),
            now,
            now + handshake.ping_interval,
            None,
            now + CONNECT_TIMEOUT,
        )
        channel._settle()
        return channel, [Send(handshake.packet())]

    @property
    def joined(self) -> frozenset[str]:
        return frozenset(self._joined)

    def receive(self, text: str, now: float) -> list[Step]:
        """Take one text message."""
        if self.closed:
            return []
        try:
            steps = self._receive(text)
        except Malformed as error:
            return self._close(str(error))
        if self._dead_at is not None:  # any message shows that the client is alive
            self._dead_at, self._ping_at = None, now + self.handshake.ping_interval
        self._settle()
        return steps

    def check_deadline(self, now: float) -> list[Step]:
        """Check the time: returns a ping when one is due, the end when the client is silent."""
        if self.closed or now < self.deadline:
            return []
        if self._dead_at is not None and now >= self._dead_at:
            return self._close("ping timeout")
        if self._join_by is not None and now >= self._join_by:
            return self._close("no namespace was joined in time")
        steps: list[Step] = []
        if self._dead_at is None and now >= self._ping_at:
            self._dead_at = now + self.handshake.ping_timeout
            steps.append(Send(PING))
        self._settle()
        return steps

    def accept(self, namespace: str, sid: str) -> list[Step]:
        """Answer a `JoinRequested`: the client is in."""
        if self.closed or namespace not in self._asked:
            return []
        self._asked.discard(namespace)
        self._joined.add(namespace)
        self._join_by = None
        self._settle()
        return [Send(MESSAGE + encode(Packet(CONNECT, namespace, data={"sid": sid})))]

    def refuse(self, namespace: str, message: str) -> list[Step]:
        """Answer a `JoinRequested`: no. The transport stays open, the client may try again."""
        self._asked.discard(namespace)
        if self.closed:
            return []
        return [Send(MESSAGE + encode(Packet(CONNECT_ERROR, namespace, data={"message": message})))]

    def leave(self, namespace: str) -> list[Step]:
        """Remove the client from a namespace."""
        if self.closed or namespace not in self._joined:
            return []
        self._joined.discard(namespace)
        return [Send(MESSAGE + encode(Packet(DISCONNECT, namespace)))]

    def _settle(self) -> None:
        dates = (self._dead_at if self._dead_at is not None else self._ping_at, self._join_by)
        self.deadline = min(date for date in dates if date is not None)

    def _close(self, reason: str) -> list[Step]:
        self.closed = True
        return [Close(reason)]

    def _receive(self, text: str) -> list[Step]:
        if text in (PONG, NOOP):
            return []
        if text == CLOSE:
            return self._close("the client closed the transport")
        if text[:1] != MESSAGE:
            raise Malformed(f"no packet of a client: {text[:12]!r}")
        return self._packet(decode(text[1:]))

    def _packet(self, packet: Packet) -> list[Step]:
        namespace = packet.namespace
        if packet.kind == CONNECT:
            if namespace in self._joined or namespace in self._asked:
                raise Malformed("a second CONNECT")
            if namespace not in self.namespaces:
                return self.refuse(namespace, "Invalid namespace")
            self._asked.add(namespace)
            return [JoinRequested(namespace, packet.data)]
        if namespace not in self._joined:
            raise Malformed("a packet for a namespace that was not joined")
        if packet.kind == DISCONNECT:
            self._joined.discard(namespace)
            return [PeerLeft(namespace)]
        if packet.kind == EVENT:
            return [EventReceived(namespace, packet.data[0], packet.data[1:], packet.ack)]
        if packet.kind == ACK and packet.ack is not None:
            return [AckReceived(namespace, packet.ack, packet.data)]
        raise Malformed("CONNECT_ERROR from a client")
