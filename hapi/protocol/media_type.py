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

# Sound and video without scripts: a browser may play them.
RECORDINGS = frozenset(
    [
        "audio/aac",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
        "video/mp4",
        "video/ogg",
        "video/webm",
    ]
)
OTHER = "application/octet-stream"  # a file that is saved, and never shown in place

# The first bytes of a file, and where they stand (https://mimesniff.spec.whatwg.org, section 6).
_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP", "image/webp"),
    (6, b"\0\0\0\0", "image/bmp"),  # after "BM" and the size
    (0, b"\0\0\1\0", "image/x-icon"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
)


def sniff(content: bytes, declared: str = "") -> str:
    """The media type of a picture, a sound or a video by its first bytes; `OTHER` for all else.

    `declared` decides only between sound and video of the same container.
    """
    for offset, signature, media_type in _SIGNATURES:
        if content.startswith(signature, offset):
            if media_type == "image/bmp" and not content.startswith(b"BM"):
                continue
            container = media_type.partition("/")[2]
            kind = essence(declared)
            same = kind in RECORDINGS and kind.partition("/")[2] == container
            return kind if same else media_type
    return OTHER


def essence(text: object) -> str:
    """`type/subtype` in lower case, without parameters; "" for what is not a media type."""
    found = _MEDIA_TYPE.fullmatch(text) if isinstance(text, str) else None
    return found[1].lower() if found else ""
