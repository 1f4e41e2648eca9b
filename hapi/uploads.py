"""Files that the page uploads to sessions: `$HAPI_HOME/uploads/SESSION/`, within a quota.

A session process holds a shared lock on its directory. A directory that nobody holds belongs to a
session without a process: the runner and `hapi doctor clean` remove it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.confined_directory import open_without_links
from hapi.home import PRIVATE_DIRECTORY_MODE, PRIVATE_FILE_MODE, Home, remove_tree

MAX_NAME_SIZE = 120  # bytes of a kept name; eCryptfs, the strictest file system, allows 143
MAX_SUFFIX_SIZE = 20  # bytes; a longer "suffix" is part of the name
LOCK_ATTEMPTS, LOCK_INTERVAL = 50, 0.02  # tries; seconds between them
_PARTIAL = ".part-"  # files begin so until all of their bytes are written
log = Logger()
_PLAIN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")


@frozen
class UploadQuota:
    """How much may be kept, in bytes and files, for one session and for all sessions of a home."""

    session_size: int = 256 << 20
    session_files: int = 500
    home_size: int = 2 << 30
    home_files: int = 5000


class UploadRefused(ValueError):
    """An upload that is not kept; the text is a sentence for the person who sent it."""


@frozen
class _Usage:
    size: int = 0  # bytes
    files: int = 0

    def __add__(self, other: _Usage) -> _Usage:
        return _Usage(self.size + other.size, self.files + other.files)


def session_directory_name(session_id: str) -> str:
    """The name of a directory for a session. An id that is no plain name is replaced by its
    hash."""
    if _PLAIN_ID.fullmatch(session_id) is None:
        return hashlib.sha256(session_id.encode(errors="replace")).hexdigest()
    return session_id


def uploads_directory(home: Home, session_id: str) -> Path:
    """Where the uploads of a session are."""
    return _all_uploads(home) / session_directory_name(session_id)


def _all_uploads(home: Home) -> Path:
    """The directory of all uploads; a user may have put a link to another disk there."""
    return home.uploads.resolve()


def file_name(name: str) -> str:
    """`name` as it is kept: without directories, control characters and leading dots, at most
    `MAX_NAME_SIZE` bytes of UTF-8, with its suffix."""
    plain = os.path.basename(unicodedata.normalize("NFC", name))
    plain = re.sub(r"[^\w.-]+", "_", plain).lstrip(".") or "file"
    stem, suffix = os.path.splitext(plain)
    if len(suffix.encode()) > MAX_SUFFIX_SIZE:
        stem, suffix = plain, ""
    size = MAX_NAME_SIZE - len(suffix.encode())
    return stem.encode()[:size].decode(errors="ignore") + suffix


@define
class SessionUploads:
    """The uploads of one session. Its methods may be called in any thread."""

    home: Home
    session_id: str
    quota: UploadQuota = UploadQuota()
    _lock: int | None = field(default=None, init=False)  # descriptor of the locked directory
    _ended: bool = field(default=False, init=False)
    _threads: Lock = field(factory=Lock, init=False, repr=False, eq=False)

    @property
    def path(self) -> Path:
        return uploads_directory(self.home, self.session_id)

    def store(self, name: str, content: bytes) -> Path:
        """Keep an upload; returns where. Raises UploadRefused and OSError."""
        with self._threads:
            if self._ended:
                raise UploadRefused("The session has ended.")
            directory = self._locked_directory()
        kept = f"{secrets.token_hex(4)}-{file_name(name)}"
        partial = _PARTIAL + kept
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _counting(_all_uploads(self.home)):
            self._check_quota(len(content))
            descriptor = os.open(partial, flags, PRIVATE_FILE_MODE, dir_fd=directory)
            with suppress(OSError):
                os.ftruncate(descriptor, len(content))  # other sessions count it from now on
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.rename(partial, kept, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial, dir_fd=directory)
            raise
        return self.path / kept

    def delete(self, path: Path) -> None:
        """Remove one upload. Raises UploadRefused for another file, and OSError."""
        if path.parent != self.path or path.name in ("", ".."):
            raise UploadRefused("Not an uploaded file of this session")
        with suppress(FileNotFoundError):
            directory = open_without_links(str(self.path))
            try:
                os.unlink(path.name, dir_fd=directory)
            finally:
                os.close(directory)

    def remove(self) -> None:
        """Remove all of them, and take no more; the session is over."""
        with self._threads:
            self._ended = True
            shutil.rmtree(self.path, ignore_errors=True)
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _check_quota(self, size: int) -> None:
        quota, own, all_sessions = self.quota, _usage(self.path), _usage(_all_uploads(self.home))
        if own.size + size > quota.session_size:
            raise UploadRefused(
                f"The uploads of this session would exceed {_megabytes(quota.session_size)}. "
                "Remove attachments that are not needed any more, or start another session."
            )
        if own.files >= quota.session_files:
            raise UploadRefused(
                f"This session has {quota.session_files} uploaded files already. "
                "Remove attachments that are not needed any more, or start another session."
            )
        is_full = all_sessions.size + size > quota.home_size
        if is_full or all_sessions.files >= quota.home_files:
            raise UploadRefused(
                "The uploads of all sessions on this machine have reached their limit of "
                f"{_megabytes(quota.home_size)} or {quota.home_files} files. "
                "Archive sessions that are not needed any more, or run `hapi doctor clean --yes`."
            )

    def _locked_directory(self) -> int:
        """A descriptor of the directory, which is made if missing and locked by this process."""
        while self._lock is None or not _is_directory_at(self._lock, self.path):
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None
            for directory in (self.path.parent, self.path):  # `parents` have the usual mode
                directory.mkdir(PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
            try:
                descriptor = _open_directory(self.path)
            except FileNotFoundError:  # another process took it for unused
                continue
            with suppress(OSError):  # another process of the session holds it
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_partial(descriptor)  # of a process that was killed
            with suppress(OSError):  # a file system without locks: nobody will remove it as unused
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            self._lock = descriptor
        return self._lock


def unused_uploads(home: Home) -> list[Path]:
    """The directories of sessions that have no process."""
    found = []
    with suppress(OSError):
        for path in sorted(_all_uploads(home).iterdir()):
            with _unused(path) as is_unused:
                if is_unused:
                    found.append(path)
    return found


def remove_unused(directory: Path) -> bool:
    """Remove the uploads at `directory` unless a process holds them; returns whether there are none
    now. A failure is logged."""
    with _unused(directory) as is_unused:
        if is_unused:
            try:
                remove_tree(directory)
            except OSError as error:
                log.warn(
                    "The uploads in {path} stay: {reason}",
                    path=str(directory),
                    reason=error.strerror or str(error),
                )
    return not os.path.lexists(directory)


@contextmanager
def _unused(directory: Path) -> Iterator[bool]:
    """Whether `directory` exists and no session holds it; none can take it meanwhile."""
    try:
        descriptor = _open_directory(directory)
    except OSError:  # also a symbolic link
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


@contextmanager
def _counting(uploads: Path) -> Iterator[None]:
    """Only one process of a home decides at a time whether an upload fits.

    Raises UploadRefused when another one takes too long.
    """
    descriptor = _open_directory(uploads)
    try:
        for _ in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(LOCK_INTERVAL)
        else:
            raise UploadRefused("Another upload is in progress. Please try again.")
        yield
    finally:
        os.close(descriptor)


def _usage(directory: Path) -> _Usage:
    """What is below `directory`."""
    total = _Usage()
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    total += _usage(Path(entry.path))
                else:
                    total += _Usage(entry.stat(follow_symlinks=False).st_size, 1)
    return total


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_directory_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _remove_partial(directory: int) -> None:
    for name in os.listdir(directory):
        if name.startswith(_PARTIAL):
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):g} MB"
