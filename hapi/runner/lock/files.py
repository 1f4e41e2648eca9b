"""Opening, comparing and exchanging the lock files of a home, safe against links and other programs
(faults.md §2).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from hapi.file_lock import LockUnusable, describe_open_error, reason_unusable
from hapi.runner.lock.stale import MAX_LOCK_BYTES

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # fcntl.h, renameat2(2)


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
