"""Reading the end of a log, and following it while it is truncated, renamed or replaced."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_INTERVAL = 0.25  # seconds
CHUNK_SIZE = 1 << 16  # bytes


def last_lines(paths: list[Path], count: int | None) -> list[bytes]:
    """The last `count` lines (None: all) of the existing `paths`, oldest first."""
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
    """Chunks written to `path` from now on, until `is_over` holds and all has been read."""
    position = _size(path)
    inode = _inode(path)
    while True:
        ended = is_over()
        if _inode(path) != inode or _size(path) < position:  # replaced or truncated
            inode, position = _inode(path), 0
        piece = _read(path, position)
        if piece:
            position += len(piece)
            yield piece
        elif ended:
            return
        else:
            sleep(POLL_INTERVAL)


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


def _read(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position, os.SEEK_SET)
            return file.read(CHUNK_SIZE)
    except OSError:
        return b""


class LineFollower:
    """The lines that are added to a file, also while it is rotated away and begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._position, self._rest = _inode(path), _size(path), b""

    def new_lines(self) -> list[bytes]:
        """The whole lines since the last call."""
        if _inode(self._path) != self._inode or _size(self._path) < self._position:
            self._inode, self._position, self._rest = _inode(self._path), 0, b""
        content = b""
        while piece := _read(self._path, self._position):
            content += piece
            self._position += len(piece)
        *whole, self._rest = (self._rest + content).split(b"\n")
        return whole
