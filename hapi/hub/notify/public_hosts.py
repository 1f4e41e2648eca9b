"""Which addresses and names are those of the public Internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# The IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890) as of 2025, whether an entry
# can be reached globally or not: none of them is a host's own address on the public Internet.
# Python's `is_global` knows a part of them, depending on its version.
_SPECIAL_IPV4 = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24"),
            *("192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
        ),
    )
)
# Of what is allocated as global unicast (2000::/3), which leaves out all other special ones.
_GLOBAL_UNICAST = ip_network("2000::/3")
_SPECIAL_IPV6 = tuple(
    map(
        ip_network,
        ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_MULTICAST = ip_network("224.0.0.0/4")
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits

# Ends of names that lead to nothing on the public Internet: the IANA registry of special-use domain
# names (RFC 6761), `internal` (ICANN, 2024), and top-level domains that exist in no public zone but
# in many private ones.
_LOCAL_ENDS = tuple(
    f".{name}"
    for name in (
        *("alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test"),
        *("corp", "home", "intranet", "lan", "localdomain", "private"),
    )
)


def is_public(address: str) -> bool:
    """Whether an IP address, perhaps with a zone, is one of the public Internet."""
    return _is_public(ip_address(address.partition("%")[0]))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        ranges = (*_SPECIAL_IPV4, _MULTICAST)
        return address.is_global and not any(address in each for each in ranges)
    if address.ipv4_mapped is not None:
        return _is_public(address.ipv4_mapped)
    if address in _NAT64:  # how a host in a network without IPv4 reaches the rest
        return _is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    is_special = any(address in each for each in _SPECIAL_IPV6)
    return address in _GLOBAL_UNICAST and address.is_global and not is_special


def is_public_name(host: str) -> bool:
    """Whether a host name in lower case may be one of the public Internet."""
    return "." in host and not host.endswith(_LOCAL_ENDS)
