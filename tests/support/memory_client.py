"""Clients of a SocketServer in memory, which send what the test says and keep what they receive."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.task import Clock
from twisted.test import iosim

from hapi.net.common.errors import ConnectRefused
from hapi.net.common.websocket import ClientSocket, ClientSocketFactory
from hapi.net.server.socket_server import SocketServer


@define(eq=False)
class MemoryClient:
    """One client: the handler of a ClientSocket."""

    socket: ClientSocket
    texts: list[str] = field(factory=list)
    ended: tuple[int | None, str] | None = None
    pump: iosim.IOPump | None = None

    @classmethod
    def of(cls, server: SocketServer) -> MemoryClient:
        factory = ClientSocketFactory(
            server.clock, "ws://127.0.0.1:3006/socket.io/?EIO=4&transport=websocket", {}, cls
        )
        theirs, ours = server.factory.buildProtocol(None), factory.buildProtocol(None)
        client = ours.handler
        client.pump = iosim.connect(
            theirs,
            iosim.FakeTransport(theirs, True),
            ours,
            iosim.FakeTransport(ours, False),
            greet=False,
        )
        client.settle()
        return client

    def settle(self) -> None:
        self.pump.flush(advanceClock=False)

    def say(self, *texts: str) -> list[str]:
        """Send; what came back since the last look."""
        for text in texts:
            self.socket.send_text(text)
        return self.news()

    def news(self) -> list[str]:
        self.settle()
        heard, self.texts = self.texts, []
        return heard

    def join(self, token: str = "good", namespace: str = "/cli") -> None:
        self.say(f'40{namespace},{{"token":"{token}"}}')

    def drop(self) -> None:
        self.pump.clientIO.loseConnection()
        self.settle()

    # --- Holder
    def opened(self) -> None: ...
    def received(self, text: str) -> None:
        self.texts.append(text)

    def received_binary(self) -> None: ...
    def writable_changed(self, writable: bool) -> None: ...
    def closed(self, code, reason, cause) -> None:
        self.ended = code, reason


@define(eq=False)
class Desk:
    """A namespace that lets in who says `good`, puts them all in room `all`, and keeps what they
    say."""

    peers: list = field(factory=list)
    events: list = field(factory=list)
    gone: list = field(factory=list)
    greeting: tuple = ()

    def connect(self, peer, auth):
        if not isinstance(auth, dict) or auth.get("token") != "good":
            raise ConnectRefused("Invalid token")
        peer.principal = auth["token"]
        peer.join("all")
        if self.greeting:
            peer.emit(*self.greeting)
        self.peers.append(peer)

    def event(self, peer, name, args, ack):
        if name == "raise":
            raise ValueError("on purpose")
        self.events.append((name, args, ack is not None))
        if ack is not None and name == "echo":
            ack(*args)
            ack("a second answer is not sent")

    def disconnected(self, peer, reason):
        self.gone.append((peer, reason))


@define(eq=False)
class Place:
    """A server on a Clock with two namespaces."""

    clock: Clock = field(factory=Clock)
    desk: Desk = field(factory=Desk)
    terminal: Desk = field(factory=Desk)
    server: SocketServer = None
    clients: list[MemoryClient] = field(factory=list)

    def __attrs_post_init__(self):
        self.server = SocketServer(
            self.clock, {"/cli": self.desk, "/terminal": self.terminal}, max_backlog=10_000
        )

    def connect(self, joined: bool = True) -> MemoryClient:
        made = MemoryClient.of(self.server)
        self.clients.append(made)
        if joined:
            made.join()
            made.texts.clear()
        return made

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for client in self.clients:
            client.settle()
