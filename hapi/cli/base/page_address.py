"""The address of the web page, with the token behind `#` (servers never log it); its QR code."""

from __future__ import annotations

import io
from urllib.parse import quote


def page_address(url: str, token: str) -> str:
    return f"{url.rstrip('/')}/#token={quote(token, safe='')}"


def qr_code(text: str) -> str:
    """`text` as a QR code for a terminal, half a line a module."""
    import segno

    drawn = io.StringIO()
    segno.make(text, micro=False, error="l").terminal(drawn, compact=True, border=2)
    return drawn.getvalue().rstrip("\n")
