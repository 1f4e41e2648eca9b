"""Small pictures for tests."""

from __future__ import annotations

import random
import struct
import zlib


def png(width: int, height: int, colour: bytes) -> bytes:
    """A PNG of one colour, given as three bytes: red, green, blue."""
    return _png(width, height, (b"\0" + colour * width) * height)


def noisy_png(width: int, height: int) -> bytes:
    """A PNG that compresses as badly as a photo does: some three bytes for each pixel."""
    noise = random.Random(1)
    rows = b"".join(b"\0" + noise.randbytes(3 * width) for _ in range(height))
    return _png(width, height, rows)


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
