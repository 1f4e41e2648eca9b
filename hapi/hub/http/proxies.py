"""The address of a client behind reverse proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`,
believed only as far as trusted proxies wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING

from attrs import frozen

from hapi.protocol.authority import parse_address

if TYPE_CHECKING:  # the options of a hub are read before it is known whether it needs TLS
    from twisted.web.iweb import IRequest

# RFC 7239, section 4: `for=192.0.2.43;proto=http`; pairs and elements are separated by ; and ,
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")[ \t]*(;|,|$)')
# Section 6: IPv4, or IPv6 in brackets, and a port that may be hidden.
_NODE = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?")

IPV4_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291, section 2.5.5.2


class MalformedForwarding(Exception):
    """A header that names clients of proxies cannot be read."""


@frozen
class TrustedProxies:
    """The networks of the proxies whose headers are believed."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> TrustedProxies:
        """From addresses and networks such as `10.0.0.1` or `fd00::/8`. Raises ValueError."""
        return cls(tuple(_parse_network(text) for text in texts))

    def client_address(self, request: IRequest) -> str:
        """The address of the client; "" for one without an address. Another hub that passes the
        request on has signed the address that it found.
        """
        if (hop := getattr(request, "hop", None)) is not None:
            return str(hop.value)
        peer = str(getattr(request.getClientAddress(), "host", None) or "")
        headers = request.requestHeaders
        return self.resolve(
            peer,
            headers.getRawHeaders(b"forwarded") or (),
            headers.getRawHeaders(b"x-forwarded-for") or (),
        )

    def resolve(
        self, peer: str, forwarded: Sequence[bytes], x_forwarded_for: Sequence[bytes]
    ) -> str:
        """The rightmost address that is not a trusted proxy, beginning with `peer`.

        It is `peer` itself if a header cannot be read, or if both headers are present and name
        different clients: a proxy writes one of them, and passes on what a client wrote into the
        other.
        """
        if not self._trusts(parse_address(peer)):
            return peer
        found: set[str] = set()
        try:
            if forwarded:
                nodes = forwarded_nodes(_joined(forwarded))
                found.add(self._rightmost(peer, nodes))
            if x_forwarded_for:
                nodes = [node.strip(" \t") for node in _joined(x_forwarded_for).split(",")]
                found.add(self._rightmost(peer, nodes))
        except MalformedForwarding:
            return peer
        return found.pop() if len(found) == 1 else peer

    def _rightmost(self, peer: str, nodes: Sequence[str]) -> str:
        address = peer
        for node in reversed(nodes):
            found = parse_node(node)
            address = str(found)
            if not self._trusts(found):
                break
        return address

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self.networks)


NO_PROXIES = TrustedProxies()


def forwarded_nodes(header: str) -> list[str]:
    """The `for` of each element of a Forwarded header. Raises MalformedForwarding."""
    nodes: list[str] = []
    names: set[str] = set()
    position, separator, node = 0, ",", ""
    while separator:
        pair = _PAIR.match(header, position)
        if pair is None:
            raise MalformedForwarding("not a list of pairs")
        name, value, separator = pair[1].lower(), pair[2], pair[3]
        if name in names:
            raise MalformedForwarding(f"{name} twice in one element")
        names.add(name)
        if name == "for":
            node = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if separator != ";":
            nodes.append(node)
            names, node = set(), ""
        position = pair.end()
    return nodes


def parse_node(text: str) -> IPv4Address | IPv6Address:
    """The address of `text`, with or without a port. Raises MalformedForwarding, also for
    `unknown` and hidden names.
    """
    address = parse_address(text)  # X-Forwarded-For has IPv6 addresses without brackets
    if address is None and (node := _NODE.fullmatch(text)) is not None:
        address = parse_address(node[1] or node[2] or "")
    if address is None:
        raise MalformedForwarding("not an address")
    return address


def _joined(values: Sequence[bytes]) -> str:
    return ",".join(str(value, "latin-1") for value in values)


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    """Raises ValueError, with the text and what is wrong with it."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} must be an IP address or a network such as 10.0.0.0/8 or fd00::/8"
        ) from None
    if network.prefixlen == 0:
        raise ValueError(f"{text!r} contains all addresses, so that clients could choose theirs")
    if ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"{text!r} has bits set beyond its prefix; the network is {network}")
    if isinstance(network, IPv6Network) and network.subnet_of(IPV4_MAPPED):
        prefix = network.prefixlen - IPV4_MAPPED.prefixlen
        return ip_network((int(network.network_address) & 0xFFFFFFFF, prefix))
    return network
