"""Exclusive locks on files of their own, which the kernel releases when their process ends.

The locks are those of flock(2). `FileLock` is the lock of a hub; the runner's lock
(`hapi.runner.lock`) respects the npm programs as well and shares the checks below.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from hapi.home import PRIVATE_FILE_MODE

# What flock(2) reports on file systems without locks, such as NFS without its lock service.
NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL))
MAX_OWNER_BYTES = 4096
MAX_REPLACEMENTS = 5  # of the file by other programs, between opening it and locking it


class LockUnusable(Exception):
    """A lock file cannot be used, so its program cannot start. The message names the file and the
    reason.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


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


def describe_lock_error(error: OSError) -> str:
    """Why flock(2) failed, for a person."""
    if error.errno in NO_LOCKS:
        return "the file system does not support locks"
    return f"it cannot be locked: {error.strerror}"


def inode_of(descriptor: int) -> tuple[int, int]:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino


def inode_at(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.lstat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def open_for_locking(path: Path, flags: int = 0) -> int:
    """A descriptor of the lock file at `path`, which is created if missing and not inherited by
    other programs. Raises LockUnusable.
    """
    flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, PRIVATE_FILE_MODE)
    except OSError as error:
        raise LockUnusable(path, describe_open_error(path, error)) from error
    wrong = reason_unusable(os.fstat(descriptor))
    if wrong is not None:
        os.close(descriptor)
        raise LockUnusable(path, wrong)
    return descriptor


@frozen
class LockOwner:
    """What the owner of a lock wrote about itself; None and {} if that cannot be read (yet)."""

    pid: int | None = None
    facts: dict[str, Any] = field(factory=dict)


@define(eq=False, repr=False)
class FileLock:
    """An exclusive lock. The file is created once and never deleted: a file that is left behind
    blocks nobody.
    """

    path: Path
    _descriptor: int = -1
    _content: bytes = b""

    @property
    def is_held(self) -> bool:
        return self._descriptor != -1

    def try_acquire(self, **facts: Any) -> LockOwner | None:
        """Try once: None when this object holds the lock now, else its owner.

        `facts` are written into the file, see `describe`. Raises LockUnusable.
        """
        for _ in range(MAX_REPLACEMENTS):
            descriptor = open_for_locking(self.path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = _owner(descriptor)
                os.close(descriptor)
                return owner
            except OSError as error:
                os.close(descriptor)
                reason = f"{describe_lock_error(error)}; put it on a local disk"
                raise LockUnusable(self.path, reason) from error
            if inode_at(self.path) == inode_of(descriptor):
                self._descriptor = descriptor
                self._describe(facts)
                return None
            os.close(descriptor)  # the file was replaced between open and flock
        raise LockUnusable(self.path, "other programs keep replacing it")

    def describe(self, **facts: Any) -> None:
        """Write into the file, for people, who holds the lock: pid, host, and `facts`. On a full
        disk the lock is held without that.
        """
        if self.is_held:
            self._describe(facts)

    def _describe(self, facts: dict[str, Any]) -> None:
        everything = {"pid": os.getpid(), "host": socket.gethostname(), **facts}
        self._content = json.dumps(everything).encode() + b"\n"
        with suppress(OSError):
            _write(self._descriptor, self._content)

    def restore(self) -> None:
        """Create the file again, locked, if another program has deleted it. Does nothing if there
        is another file by now, or no directory.
        """
        if not self.is_held or os.path.lexists(self.path):
            return
        try:
            descriptor = open_for_locking(self.path, os.O_EXCL)
        except LockUnusable:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, self._content)
        except OSError:
            os.close(descriptor)
            return
        os.close(self._descriptor)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock. The file stays, and is empty until its next owner writes into it."""
        if self.is_held:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def lock_owner(path: Path) -> LockOwner | None:
    """Who holds the lock of the file at `path`; None if nobody does, or if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _write(descriptor: int, content: bytes) -> None:
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))


def _owner(descriptor: int) -> LockOwner:
    try:
        found = json.loads(os.pread(descriptor, MAX_OWNER_BYTES, 0))
    except (OSError, ValueError, RecursionError):
        return LockOwner()
    if not isinstance(found, dict):
        return LockOwner()
    pid = found.get("pid")
    return LockOwner(pid if isinstance(pid, int) and not isinstance(pid, bool) else None, found)
