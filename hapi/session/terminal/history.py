"""The prompts that were written in a directory, for this and later sessions.

One file per directory in HAPI_HOME/history, readable by its owner alone, one prompt a line, as
JSON. Several sessions add to it at the same time: each line is written at once and at the end.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from prompt_toolkit.history import History
from twisted.logger import Logger

from hapi.home import Home

MAX_FILE_SIZE = 256 * 1024  # bytes; a larger file is shortened to its newest prompts
MAX_PROMPTS = 500  # that are kept then
MAX_PROMPT_LENGTH = 10_000  # characters; a longer one is not kept after the session


def history_path(home: Home, directory: str) -> Path:
    """The file of that directory."""
    name = sha256(os.path.realpath(directory).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return home.path / "history" / f"{name}.jsonl"


class DirectoryHistory(History):
    """The history in the file `path`. Without the file, or where it cannot be written, what was
    written in this session alone is remembered."""

    log = Logger()

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def append_string(self, string: str) -> None:
        """Not twice in a row, and nothing that begins with a space: as shells do."""
        known = self.get_strings()
        if string.strip() and not string.startswith(" ") and (not known or known[-1] != string):
            super().append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """The newest first."""
        try:
            lines = self._path.read_bytes()[-2 * MAX_FILE_SIZE :].splitlines()
        except OSError:
            return
        for line in reversed(lines[-MAX_PROMPTS:]):
            with suppress(ValueError):
                prompt = json.loads(line)
                if isinstance(prompt, str):
                    yield prompt

    def store_string(self, string: str) -> None:
        if len(string) > MAX_PROMPT_LENGTH:
            return
        line = json.dumps(string).encode() + b"\n"
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            with self._locked() as is_locked:
                self._append(line, may_shorten=is_locked)
        except OSError as error:
            self.log.warn("The prompt was not added to the history: {reason}", reason=str(error))

    def _append(self, line: bytes, may_shorten: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, line)
            is_large = os.fstat(descriptor).st_size > MAX_FILE_SIZE
        finally:
            os.close(descriptor)
        if is_large and may_shorten:
            self._shorten()

    def _shorten(self) -> None:
        kept = self._path.read_bytes().splitlines(keepends=True)[-MAX_PROMPTS:]
        while sum(map(len, kept)) > MAX_FILE_SIZE // 2:
            del kept[: max(1, len(kept) // 8)]
        other = self._path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, b"".join(kept))
        finally:
            os.close(descriptor)
        os.replace(other, self._path)

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether no other session adds to the history meanwhile. Nothing waits for one that does:
        then the file is only added to."""
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)
