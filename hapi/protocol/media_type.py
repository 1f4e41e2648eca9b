"""Media types in one normal form (RFC 9110, section 8.3.1), and those that cannot run anything."""

from __future__ import annotations

import re

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"[ \t]*({_TOKEN}/{_TOKEN})[ \t]*(?:;[ -~\t]*)?")

# Pictures without scripts and links: a browser may show them in place.
BITMAPS = frozenset(
    f"image/{subtype}"
    for subtype in [
        "apng",
        "avif",
        "bmp",
        "gif",
        "heic",
        "heif",
        "jpeg",
        "jpg",
        "png",
        "tiff",
        "vnd.microsoft.icon",
        "webp",
        "x-icon",
    ]
)


def essence(text: object) -> str:
    """`type/subtype` in lower case, without parameters; "" for what is not a media type."""
    found = _MEDIA_TYPE.fullmatch(text) if isinstance(text, str) else None
    return found[1].lower() if found else ""
