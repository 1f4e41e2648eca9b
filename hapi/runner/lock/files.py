"""Opening, comparing and exchanging the lock files of a home, safe against links and other programs
(faults.md §2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from hapi.runner.lock.stale import MAX_LOCK_BYTES

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # fcntl.h, renameat2(2)


class LockUnusable(Exception):
    """No runner can start on this home. The message names the file and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def ignore_step(step: str) -> None:
    """The default observer of steps. Tests replace it to end the process at a step."""


def exchange(first: Path, second: Path) -> None:
    """Exchange the files at two paths in one system call. Raises OSError."""
    if (
        _renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE)
        != 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(first), None, str(second))


def _find_renameat2() -> Callable[..., int]:
    try:
        found: Callable[..., int] = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):

        def missing(*_: object) -> int:
            ctypes.set_errno(errno.ENOSYS)
            return -1

        return missing
    return found


_renameat2 = _find_renameat2()


@frozen
class LockFile:
    """A lock file as it was read."""

    content: tuple[bytes, float]  # at most MAX_LOCK_BYTES + 1 bytes, and the file's mtime
    inode: tuple[int, int]


@contextmanager
def open_lock_file(path: Path) -> Iterator[LockFile]:
    """Read the file at `path` and keep it open, so that no other file can get its inode number
    meanwhile.

    Raises FileNotFoundError, LockUnusable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LockUnusable(path, describe_open_error(path, error)) from error
    try:
        facts = os.fstat(descriptor)
        wrong = reason_unusable(facts)
        if wrong is not None:
            raise LockUnusable(path, wrong)
        yield LockFile(
            (os.read(descriptor, MAX_LOCK_BYTES + 1), facts.st_mtime), (facts.st_dev, facts.st_ino)
        )
    finally:
        os.close(descriptor)


def reason_unusable(facts: os.stat_result) -> str | None:
    """Why a file with these facts cannot be a lock file of ours, None if it can."""
    if not stat.S_ISREG(facts.st_mode):
        return "it is not a regular file; move it away"
    if facts.st_uid != os.geteuid():
        return f"it is owned by uid {facts.st_uid}, not by the current user"
    return None


def describe_open_error(path: Path, error: OSError) -> str:
    """Why the lock file at `path` could not be opened, for a person."""
    if error.errno == errno.ELOOP:
        return "it is a symbolic link; move it away"
    with suppress(OSError):
        wrong = reason_unusable(path.lstat())
        if wrong is not None:
            return wrong
    return f"it cannot be opened: {error.strerror}"


def inode_of(descriptor: int) -> tuple[int, int]:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino


def inode_at(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.lstat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
