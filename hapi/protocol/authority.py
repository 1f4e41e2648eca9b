"""Hosts and origins as they stand in HTTP headers, in one normal form (RFC 3986, section 3.2; RFC
9110, section 7.2; RFC 6454, section 6.1).

Stricter than the RFCs: percent-encoding and the delimiters that a registered name might contain
are refused, because no host of today has them and other parsers read them differently.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

from attrs import frozen

_AUTHORITY = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z_][0-9A-Za-z_.~-]*))(?::([0-9]{0,5}))?"
)
_ORIGIN = re.compile(r"(https?)://([^/?#@\\]+)", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_PORT = 65535


@frozen
class Authority:
    """A host in lower case, an IPv6 address without brackets; the port if one is given."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Authority | None:
        """Read the value of a Host header, None if it is malformed."""
        found = _AUTHORITY.fullmatch(text)
        if found is None:
            return None
        port = int(found[3]) if found[3] else None
        if port is not None and port > MAX_PORT:
            return None
        if found[1] is None:
            return cls(found[2].lower().removesuffix("."), port)
        try:
            return cls(IPv6Address(found[1]).compressed, port)
        except AddressValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


@frozen
class Origin:
    """Who serves a page: scheme, host and port, the port of the scheme by default."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Origin | None:
        """Read the value of an Origin header, None for `null` and for what is malformed."""
        found = _ORIGIN.fullmatch(text)
        authority = Authority.parse(found[2]) if found else None
        if found is None or authority is None:
            return None
        scheme = found[1].lower()
        return cls(scheme, authority.host, authority.port or DEFAULT_PORTS[scheme])

    def is_at(self, host: str) -> bool:
        """Whether this origin's host and port are those of a Host header.

        A Host header without a port means the port of the scheme by which the page was loaded.
        """
        authority = Authority.parse(host)
        return authority is not None and (self.host, self.port) == (
            authority.host,
            authority.port or DEFAULT_PORTS[self.scheme],
        )


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address, IPv6 without brackets."""
    if host == "localhost":
        return True
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback


def same_host(origin: str, host: str) -> bool:
    """Whether a page of `origin` comes from the address it talks to (the Host header)."""
    found = Origin.parse(origin)
    return found is not None and found.is_at(host)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address `text`, without a zone, as IPv4 if it is an IPv4-mapped IPv6 address."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
