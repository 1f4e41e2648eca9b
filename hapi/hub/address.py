"""The addresses under which people and other hubs reach a hub."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from hapi.settings import ConfigurationError, configuration_error, origin, quoted_url

WILDCARD_HOSTS = ("0.0.0.0", "::", "*", "")  # spellings of "every interface"
MAX_HOST_LENGTH = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def reachable_url(url: str, host: str, public_url: str | None) -> str:
    """The address for other devices of a hub that listens on `host` and is reached locally as
    `url`.

    That is the public URL, or an address of this machine when the hub listens on every interface.
    """
    if public_url or host not in WILDCARD_HOSTS:
        return public_url or url
    parts = urlsplit(url)
    return f"{parts.scheme}://{_own_address() or '127.0.0.1'}:{parts.port}"


def _own_address() -> str | None:
    """The source address of connections to elsewhere. Connecting a UDP socket sends nothing."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
        return str(probe.getsockname()[0])
    return None


def read_advertised_url(value: object, name: str) -> str:
    """The origin where other hubs reach this one, from the setting `name`, with its host in ASCII.
    Raises ConfigurationError.
    """

    def refused(reason: str) -> ConfigurationError:
        return configuration_error(name, f"{name}: hub URL {quoted_url(value)} {reason}")

    if isinstance(value, str) and (" " in value or not value.isprintable()):
        raise refused("must not have a space or a control character")
    parts = urlsplit(origin(value, name))
    if parts.port == 0:
        raise refused("must have the port where other hubs reach this one, not 0")
    host = _host_in_ascii(parts.hostname or "")
    if len(host or "") > MAX_HOST_LENGTH:
        raise refused(f"has a host of more than {MAX_HOST_LENGTH} characters")
    if host is None:
        raise refused("must have a valid host name or IP address")
    if host in WILDCARD_HOSTS or _is_unspecified(host):
        raise refused("must name one host where other hubs reach this one, not every interface")
    if not _is_host(host):
        raise refused("must have a valid host name or IP address")
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _host_in_ascii(host: str) -> str | None:
    """`host` as the domain name system has it; None if it has no such name."""
    if host.isascii() or len(host) > MAX_HOST_LENGTH:
        return host
    import idna  # its tables are large

    try:
        return idna.encode(host, uts46=True).decode("ascii").lower()
    except UnicodeError:
        return None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_unspecified(host: str) -> bool:
    address = _address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address is not None and (mapped or address).is_unspecified


def _is_host(host: str) -> bool:
    """Whether `host` is an address, or a name whose last label is none of an IPv4 address."""
    if _address(host) is not None:
        return True
    labels = host.removesuffix(".").split(".")
    is_number = re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]) is not None
    return not is_number and all(map(_LABEL.fullmatch, labels))
