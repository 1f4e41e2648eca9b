"""Connections through an HTTP proxy by CONNECT (RFC 9110 9.3.6), which Twisted has none for."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from hapi.hub.notify.proxy_address import ProxyAddress

CONNECT_TIMEOUT = 10.0  # seconds for the connection to the proxy
TUNNEL_TIMEOUT = 20.0  # seconds for the proxy's answer
MAX_HEAD = 16384  # bytes of that answer


class ProxyRefused(Exception):
    """The proxy has not made the connection; the text says what it answered."""


@implementer(IStreamClientEndpoint)
@define(eq=False, repr=False)
class TunnelEndpoint:
    """Connects to `host` and `port` through a proxy, which resolves the name."""

    _reactor: Any
    _proxy: ProxyAddress
    _host: str
    _port: int

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        proxy = self._proxy
        connected: Deferred[Any] = Deferred()
        target = (
            f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        )
        factory = Factory.forProtocol(
            lambda: _Tunnel(self._reactor, target, proxy.credentials, protocolFactory, connected)
        )
        endpoint = HostnameEndpoint(self._reactor, proxy.host, proxy.port, timeout=CONNECT_TIMEOUT)
        attempt = endpoint.connect(factory)
        attempt.addErrback(connected.errback)
        return connected


class _Tunnel(Protocol):
    """Asks for the tunnel, and hands the connection over to the protocol that uses it."""

    def __init__(
        self, clock: Any, target: str, credentials: str, factory: Any, connected: Deferred[Any]
    ) -> None:
        self._target, self._credentials = target, credentials
        self._factory, self._connected = factory, connected
        self._head = b""
        self._inner: Any = None
        self._timeout = clock.callLater(TUNNEL_TIMEOUT, self._late)

    def connectionMade(self) -> None:
        lines = [f"CONNECT {self._target} HTTP/1.1", f"Host: {self._target}"]
        if self._credentials:
            lines.append(f"Proxy-Authorization: Basic {self._credentials}")
        self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if not found:
            if len(self._head) > MAX_HEAD:
                self._fail("the proxy's answer is too long")
            return
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        words = status.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or words[1][:1] != "2":
            self._fail(f"the proxy answered {status[:100]!r}")
            return
        self._stop_timer()
        inner = self._inner = self._factory.buildProtocol(self.transport.getPeer())  # type: ignore[union-attr]
        inner.makeConnection(self.transport)
        self._connected.callback(inner)
        if rest:
            inner.dataReceived(rest)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:
        self._stop_timer()
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self._connected.called:
            self._connected.errback(reason)

    def _late(self) -> None:
        self._fail(f"the proxy has not answered within {TUNNEL_TIMEOUT:.0f} s")

    def _fail(self, text: str) -> None:
        self._stop_timer()
        if not self._connected.called:
            self._connected.errback(ProxyRefused(text))
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _stop_timer(self) -> None:
        if self._timeout.active():
            self._timeout.cancel()
