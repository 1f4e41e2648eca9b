"""The hub's endpoint: TCP or TLS, with its name resolved at each attempt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import define
from twisted.internet.abstract import isIPAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from hapi.startup import hidden_modules

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
CONNECT_TIMEOUT = 20.0  # seconds for name, TCP and TLS


def hub_endpoint(reactor: Any, origin: str) -> IStreamClientEndpoint:
    """An endpoint for `http(s)://host[:port]`; https needs a certificate for that host."""
    parts = urlsplit(origin)
    assert parts.hostname is not None
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    endpoint = tcp_endpoint(reactor, parts.hostname, port)
    if not secure:
        return endpoint
    from hapi.net.client.tls import TlsEndpoint  # OpenSSL only for those who need it

    return TlsEndpoint(endpoint, parts.hostname)


def tcp_endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """An endpoint for a name or an address, without TLS."""
    if isIPAddress(host):  # a resolver would load the tables of IDNA (0.3 MB), and use a thread
        return TCP4ClientEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    # The tables of idna (0.2 MB) are of no use for a name in ASCII; Twisted does without them.
    with hidden_modules(*(["idna"] if host.isascii() else [])):
        return HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)


def websocket_url(origin: str) -> str:
    """The Socket.IO URL at `origin`. The slash before `?` is required (transport.md 1)."""
    return "ws" + origin.removeprefix("http") + "/socket.io/?EIO=4&transport=websocket"


# Headers of the upgrade itself, which must not be sent twice. With an Origin the hub would
# take us for a browser (transport.md 2).
_RESERVED_HEADERS = frozenset(
    {
        "host",
        "connection",
        "upgrade",
        "origin",
        "content-length",
        "transfer-encoding",
        "expect",
        "te",
        "trailer",
    }
)


def extra_upgrade_headers(extra: Mapping[str, str]) -> dict[str, str]:
    """The user's extra headers that may go into the upgrade request, `Authorization` included."""
    return {
        name: value
        for name, value in extra.items()
        if name.lower() not in _RESERVED_HEADERS
        and not name.lower().startswith("sec-websocket-")
        and is_valid_header(name, value)
    }


def is_valid_header(name: str, value: str) -> bool:
    """Whether `name` and `value` are valid in an HTTP head."""
    return bool(_NAME.fullmatch(name)) and value.isprintable() and value.isascii()


@implementer(IStreamClientEndpoint)
@define(eq=False, repr=False)
class ObservedEndpoint:
    """An endpoint that reports why an attempt failed, which ClientService does not."""

    _endpoint: IStreamClientEndpoint
    _failed: Callable[[Failure], None]

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        def report(failure: Failure) -> Failure:
            self._failed(failure)
            return failure

        return self._endpoint.connect(protocolFactory).addErrback(report)
