"""The address of the web page, with the token behind `#` (servers never log it); its QR code."""

from __future__ import annotations

import io
import socket
from contextlib import suppress
from urllib.parse import quote, urlsplit

WILDCARD_HOSTS = ("0.0.0.0", "::", "*", "")  # spellings of "every interface"


def page_address(url: str, token: str) -> str:
    return f"{url.rstrip('/')}/#token={quote(token, safe='')}"


def reachable_url(url: str, host: str, public_url: str | None) -> str:
    """The hub's address for other machines.

    That is the public URL, or an address of this machine when the hub listens on every interface.
    """
    if public_url or host not in WILDCARD_HOSTS:
        return public_url or url
    return f"http://{_own_address() or '127.0.0.1'}:{urlsplit(url).port}"


def _own_address() -> str | None:
    """The source address of connections to elsewhere. Connecting a UDP socket sends nothing."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
        return str(probe.getsockname()[0])
    return None


def qr_code(text: str) -> str:
    """`text` as a QR code for a terminal, half a line a module."""
    import segno

    drawn = io.StringIO()
    segno.make(text, micro=False, error="l").terminal(drawn, compact=True, border=2)
    return drawn.getvalue().rstrip("\n")
