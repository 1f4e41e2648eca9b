"""Reading a log to its end, and on as it grows, whether it is cut, renamed or made anew meanwhile."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

GLANCE = 0.25  # seconds between looks
PIECE = 1 << 16  # bytes


def last_lines(paths: list[Path], count: int | None) -> list[bytes]:
    """The last `count` lines (None: all) of files that follow one another, the oldest first. Missing ones are left out."""
    found: deque[bytes] = deque(maxlen=count)
    for path in paths:
        try:
            with path.open("rb") as file:
                found.extend(file)
        except FileNotFoundError:
            continue
    return list(found)


def follow(
    path: Path,
    is_over: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[bytes]:
    """What is written to `path` from now on, as it comes, until `is_over` and nothing more is there."""
    place = _size(path)
    inode = _inode(path)
    while True:
        over = is_over()
        if _inode(path) != inode or _size(path) < place:  # another file, or cut
            inode, place = _inode(path), 0
        piece = _read(path, place)
        if piece:
            place += len(piece)
            yield piece
        elif over:
            return
        else:
            sleep(GLANCE)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _read(path: Path, place: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(place, os.SEEK_SET)
            return file.read(PIECE)
    except OSError:
        return b""
