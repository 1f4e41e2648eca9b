"""A hub in memory for the link's tests: real WebSockets over in-memory transports, scripted
answers, no reactor."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.test import iosim
from zope.interface import implementer

from hapi.net.common.websocket import ServerSocket, ServerSocketFactory
from hapi.protocol.engineio import Handshake

ADDRESS = IPv4Address("TCP", "127.0.0.1", 3006)


@define(eq=False)
class Visit:
    """One connection at the hub's end: a handler that keeps what it receives."""

    socket: ServerSocket
    texts: list[str] = field(factory=list)
    ended: tuple[int | None, str] | None = None

    def opened(self) -> None:
        self.socket.authenticated()

    def received(self, text: str) -> None:
        self.texts.append(text)

    def received_binary(self) -> None: ...
    def writable_changed(self, writable: bool) -> None: ...

    def closed(self, code, reason, cause) -> None:
        self.ended = code, reason

    def say(self, *texts: str) -> None:
        for text in texts:
            self.socket.send_text(text)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class MemoryHub:
    """An endpoint. `down`: refuses TCP; `deaf`: accepts and never answers; `hung`: the connect
    never returns."""

    clock: Clock
    visits: list[Visit] = field(factory=list)
    attempts: int = 0
    down: bool = False
    deaf: bool = False
    hung: bool = False
    raw: bytes | None = None  # said instead of a WebSocket answer
    _pumps: list[iosim.IOPump] = field(factory=list)

    def connect(self, protocolFactory):
        self.attempts += 1
        if self.hung:
            return Deferred()
        if self.down:
            return fail(ConnectionRefusedError())
        client = protocolFactory.buildProtocol(ADDRESS)
        server = (
            Speaker(self.raw)
            if self.deaf or self.raw is not None
            else ServerSocketFactory(self.clock, self._greet).buildProtocol(None)
        )
        pump = iosim.connect(
            server,
            iosim.FakeTransport(server, True, hostAddress=ADDRESS, peerAddress=ADDRESS),
            client,
            iosim.FakeTransport(client, False, hostAddress=ADDRESS, peerAddress=ADDRESS),
            greet=False,
        )
        self._pumps.append(pump)
        done: Deferred[object] = Deferred()
        done.callback(client)
        return done

    def _greet(self, socket: ServerSocket) -> Visit:
        visit = Visit(socket)
        self.visits.append(visit)
        return visit

    @property
    def visit(self) -> Visit:
        """The latest connection."""
        return self.visits[-1]

    def settle(self) -> None:
        """Move bytes until nothing moves."""
        while sum(pump.flush(advanceClock=False) for pump in self._pumps):
            self._pumps[:-1] = [pump for pump in self._pumps[:-1] if not pump.clientIO.disconnected]

    def advance(self, seconds: float) -> None:
        self.settle()
        self.clock.advance(seconds)
        self.settle()

    def open(self) -> None:
        """Send the open packet and take the client in."""
        self.settle()
        self.visit.say(Handshake("t").packet())
        self.settle()
        self.visit.say('40/cli,{"sid":"s"}')
        self.settle()

    def drop(self) -> None:
        """Cut the latest connection as a dying hub does: no close frame."""
        self._pumps[-1].serverIO.loseConnection()
        self.settle()

    def say(self, *texts: str) -> None:
        self.visit.say(*texts)
        self.settle()

    def heard(self, start: str = "") -> list[str]:
        """What the latest connection brought, of those that begin with `start`, without the link's
        own probes."""
        self.settle()
        return [
            text
            for text in self.visit.texts
            if text.startswith(start) and not text.endswith('["ping"]')
        ]

    def answer_probes(self) -> None:
        """Answer each probe as the hub does: it has handled all that went before."""
        self.settle()
        while probes := [text for text in self.visit.texts if text.endswith('["ping"]')]:
            for probe in probes:
                self.visit.texts.remove(probe)
                self.visit.say("43" + probe[2 : probe.index("[")] + "[]")
            self.settle()


class Speaker:
    """A server that is no WebSocket: says `words` (nothing if None) to whatever it hears."""

    def __init__(self, words: bytes | None) -> None:
        self._words = words

    def makeConnection(self, transport) -> None:
        self._transport = transport

    def dataReceived(self, data: bytes) -> None:
        if self._words is not None:
            self._transport.write(self._words)
            self._transport.loseConnection()

    def connectionLost(self, reason) -> None: ...


def until(
    hub: MemoryHub, seen: Callable[[], bool], step: float = 0.1, most: float = 600.0
) -> float:
    """Advance the clock until `seen`; the seconds that took."""
    waited = 0.0
    while not seen():
        assert waited < most, "it did not happen"
        hub.advance(step)
        waited += step
    return waited
