"""Search in the contents of the files below the session's directory, bounded in time and size.

Files are opened from the directory that they are in, so no symbolic link is followed, also if one
takes the place of a file or directory meanwhile. A search runs in a thread.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.threads import deferToThread

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
from hapi.protocol.work.files import FoundContent, FoundLine, SearchContent
from hapi.session.rpc.file_search import SKIPPED_DIRECTORIES

TIME_LIMIT = 8.0  # seconds; a hub waits 30 for the answer
MAX_FILES = 100_000  # searched
MAX_FILE_SIZE = 4 << 20  # bytes; larger files are left out
MAX_READ = 1 << 30  # bytes of all files together
MAX_LINES_OF_FILE = 50
MAX_TEXT, CONTEXT = 300, 80  # characters of a line, and before the place in a longer one
PROBE_SIZE = 8000  # bytes in which a zero byte means a binary file, as for git
OUT_OF_TIME = f"The search was stopped after {TIME_LIMIT:g} s."


@define
class ContentSearch:
    """The `searchContent` RPC. One search at a time: a newer one ends the one before."""

    _directory: ConfinedDirectory
    _now: Callable[[], float] = time.monotonic
    _latest: threading.Event = field(factory=threading.Event)

    async def search(self, params: Any) -> Any:
        try:
            asked = msgspec.convert(params, SearchContent)
        except msgspec.ValidationError as error:
            return {"success": False, "error": str(error)}
        self._latest.set()
        self._latest = superseded = threading.Event()
        try:
            return await deferToThread(self._search, asked, superseded)
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        except OSError as error:
            return {"success": False, "error": error.strerror or str(error)}

    def _search(self, asked: SearchContent, superseded: threading.Event) -> FoundContent:
        root = self._directory.open("", os.O_RDONLY | os.O_DIRECTORY)
        try:
            return self._search_below(root, asked, superseded)
        finally:
            os.close(root)

    def _search_below(
        self, root: int, asked: SearchContent, superseded: threading.Event
    ) -> FoundContent:
        pattern = re.compile(re.escape(asked.query), re.IGNORECASE)
        end = self._now() + TIME_LIMIT
        matches: list[FoundLine] = []
        count, read, left_out = 0, 0, 0
        for place, directory, name in _files_below(root):
            problem = None
            if superseded.is_set():
                problem = "Another search has taken the place of this one."
            elif self._now() > end:
                problem = OUT_OF_TIME
            elif count >= MAX_FILES:
                problem = f"Only {MAX_FILES} files were searched."
            elif read >= MAX_READ:
                problem = f"Only {MAX_READ >> 20} MB were searched."
            if problem is not None:
                return FoundContent(matches, count, problem)
            content = _text(directory, name)
            if content is None:
                left_out += 1
                continue
            count += 1
            read += len(content)
            path = os.path.normpath(os.path.join(place, name))
            for found in _lines(path, content.decode(errors="replace"), pattern):
                if len(matches) == asked.limit:
                    return FoundContent(matches, count, f"Only {asked.limit} lines are shown.")
                matches.append(found)
        incomplete = "Binary and very large files were left out." if left_out else None
        return FoundContent(matches, count, incomplete)


def _files_below(root: int) -> Iterator[tuple[str, int, str]]:
    """The path of each directory, a descriptor of it, and the name of a file in it."""
    for place, names, files, directory in os.fwalk(".", dir_fd=root):
        names[:] = sorted(name for name in names if name not in SKIPPED_DIRECTORIES)
        for name in sorted(files):
            yield place, directory, name


def _text(directory: int, name: str) -> bytes | None:
    """The content of a file; None for what is no file of text, too large, or gone."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with suppress(OSError):
        descriptor = os.open(name, flags, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_FILE_SIZE:
                return None
            content = file.read(MAX_FILE_SIZE)
        return None if b"\0" in content[:PROBE_SIZE] else content
    return None


def _lines(path: str, text: str, pattern: re.Pattern[str]) -> Iterator[FoundLine]:
    """The lines that match, each once."""
    shown = os.fsencode(path).decode(errors="replace")  # a name that is not UTF-8 cannot be sent
    number, counted, end = 1, 0, -1
    found = 0
    for match in pattern.finditer(text):
        if match.start() <= end:
            continue  # the same line
        number += text.count("\n", counted, match.start())
        counted = match.start()
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.start())
        end = len(text) if end < 0 else end
        yield FoundLine(shown, number, _cut(text, start, match.start(), end))
        found += 1
        if found == MAX_LINES_OF_FILE:
            return


def _cut(text: str, start: int, place: int, end: int) -> str:
    """The line from `start` to `end`, or what is around `place` in a long one."""
    if end - start <= MAX_TEXT:
        return text[start:end].rstrip("\r")
    begin = max(start, place - CONTEXT)
    return ("…" if begin > start else "") + text[begin : min(end, begin + MAX_TEXT)] + "…"
