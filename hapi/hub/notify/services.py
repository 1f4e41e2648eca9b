"""The push services that the hub sends to: which endpoints are accepted, and how they are reached.

An endpoint comes from a client, so that the hub must not be led into its own network: only https,
and only public addresses. The address is checked when the name has been resolved for the very
connection that is made, so that a name that changes leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from hapi.hub.notify.proxy import TunnelEndpoint
from hapi.hub.notify.proxy_address import ProxyAddress
from hapi.hub.notify.public_hosts import is_public, is_public_name
from hapi.protocol.authority import Authority

CONNECT_TIMEOUT = 10.0  # seconds
MAX_ENDPOINT_LENGTH = 2048  # characters
# The end of a host that programs read as an IPv4 address: 127.1, 0x7f.1, 2130706433 (URL Standard,
# "ends in a number").
_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9A-Fa-f]*)$")


class EndpointRefused(ValueError):
    """The hub sends nothing to this address; the text says why."""


@frozen
class PushService:
    """Where a subscription's messages go."""

    url: str
    origin: str


def read_endpoint(url: str, allows_private: bool = False) -> PushService:
    """The push service of an endpoint. Raises EndpointRefused."""
    if len(url) > MAX_ENDPOINT_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        raise EndpointRefused("The endpoint is not a URL of a push service")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise EndpointRefused("The endpoint is not a URL of a push service") from error
    if parts.scheme != "https" or not parts.netloc:
        raise EndpointRefused("The endpoint of a push service must be an https URL")
    if "@" in parts.netloc:
        raise EndpointRefused("The endpoint of a push service must not contain a user name")
    authority = Authority.parse(parts.netloc)
    if authority is None or re.search(r"\.(:|$)", parts.netloc):
        raise EndpointRefused(
            "The host in the endpoint of a push service is malformed: write it without escapes and "
            "without a dot at its end"
        )
    host, port = authority.host, authority.port
    address = _literal(host)
    if address is None and _NUMBER.search(host):
        raise EndpointRefused(
            "The address in the endpoint of a push service must be four decimal numbers or IPv6"
        )
    if port == 0:
        raise EndpointRefused("The port in the endpoint of a push service must be 1 to 65535")
    if not allows_private:
        if address is None and not is_public_name(host):
            raise EndpointRefused(
                "The endpoint of a push service must be at a public address: the name of its host "
                "is one of local networks"
            )
        if address is not None and not is_public(host):
            raise EndpointRefused(
                "The endpoint of a push service must be at a public address: that of its host is "
                "private or reserved"
            )
    name = f"[{host}]" if ":" in host else host
    return PushService(url, f"https://{name}" + ("" if port in (None, 443) else f":{port}"))


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@implementer(IResolutionReceiver)
@define(eq=False, repr=False)
class _PublicAddresses:
    """Passes on only the public ones of the addresses of a name."""

    _receiver: Any

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: Any) -> None:
        if is_public(address.host):
            self._receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


@implementer(IHostnameResolver)
@define(eq=False, repr=False)
class PublicResolver:
    """A resolver that knows only public addresses."""

    _resolver: Any

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, *arguments: Any, **named: Any
    ) -> Any:
        receiver = _PublicAddresses(resolutionReceiver)
        return self._resolver.resolveHostName(receiver, hostName, *arguments, **named)


@implementer(IReactorPluggableNameResolver, IReactorTCP, IReactorTime)
@define(eq=False, repr=False)
class _PublicReactor:
    """The parts of `reactor` that a HostnameEndpoint uses, with its own resolver."""

    _reactor: Any
    nameResolver: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.nameResolver = PublicResolver(self._reactor.nameResolver)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@implementer(IAgentEndpointFactory)
@define(eq=False, repr=False)
class ServiceEndpoints:
    """TLS connections to push services and to Telegram, through `proxy` if there is one.

    `allows_private`: also to addresses that are not public.
    """

    _reactor: Any
    _allows_private: bool = False
    _proxy: ProxyAddress | None = None

    def endpointForURI(self, uri: Any) -> Any:
        plain: Any
        if self._proxy is not None:  # it resolves the name itself
            plain = TunnelEndpoint(self._reactor, self._proxy, uri.host.decode("ascii"), uri.port)
        else:
            reactor = self._reactor if self._allows_private else _PublicReactor(self._reactor)
            plain = HostnameEndpoint(reactor, uri.host, uri.port, timeout=CONNECT_TIMEOUT)
        if uri.scheme != b"https":
            return plain
        from hapi.net.client.tls import TlsEndpoint

        return TlsEndpoint(plain, uri.host.decode("ascii"))


def make_http(reactor: Any, endpoints: ServiceEndpoints) -> Any:
    """A treq client whose connections are kept for a while. treq is loaded here."""
    from treq.client import HTTPClient
    from twisted.web.client import Agent, HTTPConnectionPool

    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.cachedConnectionTimeout = 60  # seconds
    pool.retryAutomatically = True
    return HTTPClient(Agent.usingEndpointFactory(reactor, endpoints, pool))
