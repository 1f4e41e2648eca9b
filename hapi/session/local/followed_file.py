"""Reads the lines of a file that another program appends to."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import define

PIECE_SIZE = 1024 * 1024  # bytes that are read at once
MAX_LINE_SIZE = 64 * 1024 * 1024  # bytes; a longer line is left out


@define(eq=False, repr=False)
class FollowedFile:
    """`offset` is the place after the last whole line that was returned. `is_behind` tells that
    there is more to read at once."""

    path: Path
    offset: int = 0
    is_behind: bool = False
    _partial: bytes = b""  # what is known of the line at `offset`
    _skips: bool = False  # the line at `offset` is too long

    @classmethod
    def at_end(cls, path: Path) -> FollowedFile:
        """The lines that come from now on. A last line without its end counts as one to come."""
        followed = cls(path)
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                while size > 0:  # back to the end of a line
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
            with self.path.open("rb", buffering=0) as file:
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
