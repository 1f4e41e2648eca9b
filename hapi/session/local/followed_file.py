"""Reads the lines of a file that another program appends to.

Which file it is, may be told by anyone who runs as the user: only ordinary files below a directory
of the agent are read, and nothing that could hold the reactor up, as a FIFO.
"""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path

from attrs import define

PIECE_SIZE = 1024 * 1024  # bytes that are read at once
MAX_LINE_SIZE = 64 * 1024 * 1024  # bytes; a longer line is left out


@define(eq=False, repr=False)
class FollowedFile:
    """`offset` is the place after the last whole line that was returned. `is_behind` tells that
    there is more to read at once. Only a file below `root` has lines."""

    path: Path
    root: Path
    offset: int = 0
    is_behind: bool = False
    _partial: bytes = b""  # what is known of the line at `offset`
    _skips: bool = False  # the line at `offset` is too long

    @classmethod
    def at_end(cls, path: Path, root: Path) -> FollowedFile:
        """The lines that come from now on. A last line without its end counts as one to come, if it
        is not too long."""
        followed = cls(path, root)
        try:
            with open_below(path, root) as file:
                size = last = os.fstat(file.fileno()).st_size
                while size > 0:  # back to the end of a line
                    if last - size > MAX_LINE_SIZE:
                        followed.offset, followed._skips = last, True
                        break
                    begin = max(0, size - PIECE_SIZE)
                    file.seek(begin)
                    end = file.read(size - begin).rfind(b"\n")
                    if end >= 0:
                        followed.offset = begin + end + 1
                        break
                    size = begin
        except OSError:
            return followed
        return followed

    def read(self) -> list[bytes]:
        """The whole lines of the next piece. A file that has become shorter is read again."""
        self.is_behind = False
        try:
            with open_below(self.path, self.root) as file:
                size = os.fstat(file.fileno()).st_size
                if size < self.offset:
                    self.offset, self._partial, self._skips = 0, b"", False
                begin = self.offset + len(self._partial)
                file.seek(begin)
                data = file.read(PIECE_SIZE)
        except OSError:
            return []
        self.is_behind = begin + len(data) < size
        *lines, rest = data.split(b"\n")
        if not lines:
            if not self._skips and len(self._partial) + len(rest) > MAX_LINE_SIZE:
                self._skips = True
            if self._skips:  # nothing of it is kept
                self.offset, self._partial = begin + len(rest), b""
            else:
                self._partial += rest
            return []
        lines[0] = self._partial + lines[0]
        if self._skips:
            del lines[0]
        self._skips, self._partial = False, rest
        self.offset = begin + len(data) - len(rest)
        return [line for line in lines if line.strip()]


def is_below(path: Path, root: Path) -> bool:
    """Whether `path`, with all links followed, is in the directory `root`. It need not exist."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    except (OSError, ValueError):  # a NUL in it
        return False


def open_below(path: Path, root: Path) -> FileIO:
    """Open an ordinary file below `root`. Raises OSError for all others."""
    if not is_below(path, root):
        raise PermissionError(f"{path} is not below {root}")
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(os.path.realpath(path), flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PermissionError(f"{path} is not an ordinary file")
        return FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def first_line(path: Path, root: Path, max_size: int) -> bytes | None:
    """The first line of a file below `root`, or as much of it as may be; None if it is not whole
    yet, or cannot be read."""
    try:
        with open_below(path, root) as file:
            data = file.read(max_size) or b""
    except OSError:
        return None
    line, end, _ = data.partition(b"\n")
    return line if end or len(data) >= max_size else None
