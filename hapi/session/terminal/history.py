"""The prompts that were written in a directory, for this and later sessions.

One file per directory in HAPI_HOME/history, readable by its owner alone, one prompt a line, as
JSON. Several sessions add to it at the same time: each line is written at once and at the end.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
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
    """The history in the file `path`. Where that cannot be used, what is written in this session
    alone is remembered, and `tell` gets a sentence that says so, once."""

    log = Logger()

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._is_usable = True
        self.tell: Callable[[str], object] = lambda sentence: None

    def append_string(self, string: str) -> None:
        """Not twice in a row, and nothing that begins with a space: as shells do."""
        known = self.get_strings()
        if string.strip() and not string.startswith(" ") and (not known or known[-1] != string):
            super().append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """The newest first. Lines that are no prompt are left out."""
        try:
            lines = self._last_lines(2 * MAX_FILE_SIZE)
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed(error)
            return
        for line in reversed(lines[-MAX_PROMPTS:]):
            with suppress(ValueError, RecursionError):
                prompt = json.loads(line)
                if isinstance(prompt, str) and prompt.encode():  # no lone surrogates
                    yield prompt

    def _last_lines(self, size: int) -> list[bytes]:
        """The whole lines in the last `size` bytes of the file, with their ends."""
        with os.fdopen(_open_file(self._path, os.O_RDONLY), "rb") as file:
            end = os.fstat(file.fileno()).st_size
            file.seek(max(0, end - size))
            lines = file.read(size).splitlines(keepends=True)
            return lines[1:] if end > size else lines

    def _failed(self, error: OSError) -> None:
        self.log.warn("The history of prompts cannot be used: {reason}", reason=str(error))
        if self._is_usable:
            self._is_usable = False
            self.tell(
                f"The history of this directory cannot be used ({error.strerror}: {self._path}). "
                "Only the prompts of this session are remembered."
            )

    def store_string(self, string: str) -> None:
        if len(string) > MAX_PROMPT_LENGTH or not self._is_usable:
            return
        line = json.dumps(string).encode() + b"\n"
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            with self._locked() as is_locked:
                self._append(line, may_shorten=is_locked)
        except OSError as error:
            self._failed(error)

    def _append(self, line: bytes, may_shorten: bool) -> None:
        descriptor = _open_file(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, line)
            is_large = os.fstat(descriptor).st_size > MAX_FILE_SIZE
        finally:
            os.close(descriptor)
        if is_large and may_shorten:
            self._shorten()

    def _shorten(self) -> None:
        kept = self._last_lines(MAX_FILE_SIZE)[-MAX_PROMPTS:]
        while sum(map(len, kept)) > MAX_FILE_SIZE // 2:
            del kept[: max(1, len(kept) // 8)]
        other = self._path.with_suffix(f".{os.getpid()}")
        descriptor = _open_file(other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
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


def _open_file(path: Path, flags: int) -> int:
    """Open a file, and nothing that is a link or would let us wait. Raises OSError."""
    more = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags | more, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "Not a file", str(path))
