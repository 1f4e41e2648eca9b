"""Draw the page's icons: `python docs/make_icons.py` writes `hapi/hub/pages/icons/*.png`.

The shapes are those of `hapi/hub/pages/icon.svg`, on a grid of 64: a rounded square and, in white
strokes 6 wide with round ends, two uprights and an arc between them. Nothing but Python's own
library is needed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from math import hypot
from pathlib import Path

ICONS = Path(__file__).parents[1] / "hapi/hub/pages/icons"
GRID = 64.0
CORNER = 16.0  # radius of the square's corners
STROKE = 3.0  # half the width of a stroke
FILL, WHITE = (0x5B, 0x5B, 0xD6), (0xFF, 0xFF, 0xFF)
CURVE_STEPS = 32

Point = tuple[float, float]
Segment = tuple[Point, Point]


def curve(start: Point, first: Point, second: Point, end: Point) -> list[Segment]:
    """A cubic Bézier curve as straight segments."""
    points = []
    for step in range(CURVE_STEPS + 1):
        t = step / CURVE_STEPS
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        corners = (start, first, second, end)
        points.append(
            (
                sum(weight * x for weight, (x, _) in zip(weights, corners, strict=True)),
                sum(weight * y for weight, (_, y) in zip(weights, corners, strict=True)),
            )
        )
    return list(pairwise(points))


LETTER: Sequence[Segment] = (
    ((20, 16), (20, 48)),
    ((44, 16), (44, 48)),
    *curve((20, 33), (26, 26), (38, 26), (44, 33)),
)


def distance(x: float, y: float, segment: Segment) -> float:
    (ax, ay), (bx, by) = segment
    dx, dy = bx - ax, by - ay
    along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
    along = min(max(along, 0.0), 1.0)
    return hypot(x - ax - along * dx, y - ay - along * dy)


def outside_square(x: float, y: float) -> float:
    """The distance to the rounded square; negative inside."""
    half = GRID / 2
    dx, dy = abs(x - half) - (half - CORNER), abs(y - half) - (half - CORNER)
    return hypot(max(dx, 0.0), max(dy, 0.0)) + min(max(dx, dy), 0.0) - CORNER


def coverage(signed: float, pixel: float) -> float:
    """How much of a pixel is inside, by the distance of its middle to the edge."""
    return min(max(0.5 - signed / pixel, 0.0), 1.0)


def draw(size: int, scale: float = 1.0, is_full: bool = False, is_mask: bool = False) -> bytes:
    """The pixels as RGBA. `scale`: of the letter; `is_full`: the colour reaches all edges;
    `is_mask`: the letter alone, in white, for the status bar of Android.
    """
    pixel = GRID / size
    rows = bytearray()
    for row in range(size):
        rows.append(0)  # PNG: no filter
        for column in range(size):
            x, y = (column + 0.5) * pixel, (row + 0.5) * pixel
            inner = GRID / 2 + (x - GRID / 2) / scale, GRID / 2 + (y - GRID / 2) / scale
            near = min(distance(*inner, segment) for segment in LETTER) - STROKE
            letter = coverage(near * scale, pixel)
            if is_mask:
                rows += bytes((*WHITE, round(255 * letter)))
                continue
            square = 1.0 if is_full else coverage(outside_square(x, y), pixel)
            mixed = (
                round(fill + (white - fill) * letter)
                for fill, white in zip(FILL, WHITE, strict=True)
            )
            rows += bytes((*mixed, round(255 * square)))
    return bytes(rows)


def png(size: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)  # 8 bits, RGBA
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def icons() -> dict[str, bytes]:
    """The files by name. A maskable icon keeps the letter in the middle 80 % (W3C App Manifest)."""
    return {
        "192.png": png(192, draw(192)),
        "512.png": png(512, draw(512)),
        "maskable-192.png": png(192, draw(192, 0.8, is_full=True)),
        "maskable-512.png": png(512, draw(512, 0.8, is_full=True)),
        "apple-touch-icon.png": png(180, draw(180, 0.9, is_full=True)),
        "badge.png": png(96, draw(96, 1.4, is_mask=True)),
    }


if __name__ == "__main__":
    ICONS.mkdir(exist_ok=True)
    for name, content in icons().items():
        (ICONS / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes")
