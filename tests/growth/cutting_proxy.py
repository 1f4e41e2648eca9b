"""A TCP proxy that can be cut: between a hub and its database, or between two hubs."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

COMMITTED = b"COMMIT\0"  # in what a database server answers to COMMIT (CommandComplete)


class _End(Protocol):
    """One of the two ends of a proxied connection."""

    def __init__(self, pair: _Pair, is_client: bool) -> None:
        self.pair, self.is_client = pair, is_client

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.pair.made(self)

    def dataReceived(self, data: bytes) -> None:
        self.pair.received(self, data)

    def connectionLost(self, reason: Any = None) -> None:
        self.pair.lost(self)


@define(eq=False)
class _Pair:
    """A connection through the proxy."""

    proxy: CuttingProxy
    client: Any = None
    server: Any = None
    early: list[bytes] = field(factory=list)  # what came before the server was connected
    has_committed: bool = False  # before
    is_over: bool = False

    def made(self, end: _End) -> None:
        if end.is_client:
            self.client = end
            self.proxy.pairs.add(self)
            return
        self.server = end
        if self.is_over:
            end.transport.abortConnection()
            return
        self.client.transport.registerProducer(end.transport, True)
        end.transport.registerProducer(self.client.transport, True)
        early, self.early = self.early, []
        for data in early:
            self.received(self.client, data)
        if self.proxy.is_silent:
            self.pause()

    def received(self, end: _End, data: bytes) -> None:
        if self.is_over:
            return
        if end.is_client and self.server is None:
            self.early.append(data)
            return
        if end.is_client:
            if self.proxy.loses == "question" and self.has_committed:
                self._lose()
                return
        elif COMMITTED in data:
            if self.proxy.loses == "answer":
                self._lose()
                return
            self.has_committed = True
        (self.server if end.is_client else self.client).transport.write(data)

    def _lose(self) -> None:
        self.proxy.commit_lost()
        self.abort()

    def pause(self) -> None:
        for end in (self.client, self.server):
            if end is not None:
                end.transport.pauseProducing()

    def resume(self) -> None:
        for end in (self.client, self.server):
            if end is not None:
                end.transport.resumeProducing()

    def abort(self) -> None:
        self.is_over = True
        self.proxy.pairs.discard(self)
        for end in (self.client, self.server):
            if end is not None:
                end.transport.abortConnection()

    def lost(self, end: _End) -> None:
        if self.is_over:
            return
        self.is_over = True
        self.proxy.pairs.discard(self)
        other = self.server if end.is_client else self.client
        if other is not None:
            other.transport.loseConnection()


@define(eq=False)
class CuttingProxy:
    """Passes connections on to `target`, a port of this machine, which may change.

    `cut()` breaks them all and refuses new ones, as a host does that is gone; `silence()` keeps
    them and lets nothing through, as a network does that drops packets. `lose_commit` breaks a
    connection that writes: when it asks the server something, or when the server answers COMMIT.
    """

    reactor: Any
    target: int
    pairs: set[_Pair] = field(factory=set)
    is_cut: bool = False
    is_silent: bool = False
    loses: str | None = None  # "question" or "answer"
    lost_commits: int = 0
    port: int = 0
    _listening: Any = None

    def start(self) -> CuttingProxy:
        factory = Factory()
        factory.buildProtocol = lambda address: self._accept()  # type: ignore[method-assign]
        self._listening = self.reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=256)
        self.port = self._listening.getHost().port
        return self

    def _accept(self) -> _End | None:
        if self.is_cut:
            return None
        pair = _Pair(self)
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda address: _End(pair, False)  # type: ignore[method-assign]
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.target, timeout=5)
        endpoint.connect(factory).addErrback(lambda failure: pair.abort())
        return _End(pair, True)

    def cut(self) -> None:
        self.is_cut = True
        for pair in list(self.pairs):
            pair.abort()

    def silence(self) -> None:
        self.is_silent = True
        for pair in self.pairs:
            pair.pause()

    def heal(self) -> None:
        self.is_cut, self.loses = False, None
        if self.is_silent:
            self.is_silent = False
            for pair in self.pairs:
                pair.resume()

    def lose_commit(self, which: str) -> None:
        self.loses = which

    def commit_lost(self) -> None:
        self.loses = None
        self.lost_commits += 1

    async def stop(self) -> None:
        self.cut()
        if self._listening is not None:
            await self._listening.stopListening()
