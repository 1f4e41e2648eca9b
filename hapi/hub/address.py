"""The address under which people reach a hub."""

from __future__ import annotations

import socket
from contextlib import suppress
from urllib.parse import urlsplit

WILDCARD_HOSTS = ("0.0.0.0", "::", "*", "")  # spellings of "every interface"


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
