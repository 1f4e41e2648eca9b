"""What both lock files of a home need, and `runner.lock`: its flock is the truth, it is made once and never deleted.

Step by step and without waiting; hapi/runner/lock/home_lock.py does the waiting (faults.md §2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, frozen

from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.process.identity import boot_id
from hapi.runner.lock.owner import LONGEST

AT_FDCWD, RENAME_EXCHANGE = -100, 2
NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL))
SHARED = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ceph",
        "lustre",
        "gpfs",
        "afs",
        "fuse.sshfs",
        "fuse.glusterfs",
    )
)


class LockUnusable(Exception):
    """No runner can be started on this home; the text names the file and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


@frozen
class FlockBusy:
    """Another process holds the flock."""

    pid: int | None


def nothing(step: str) -> None:
    """Production does nothing at a step; a test ends the process there."""


def exchange(one: Path, other: Path) -> None:
    """Both names swap their files in one step. Raises OSError."""
    if _renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


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


@define(eq=False)
class FlockFile:
    """`runner.lock`."""

    _home: Home
    _step: Callable[[str], object] = nothing
    descriptor: int = -1
    is_locked: bool = False

    @property
    def path(self) -> Path:
        return self._home.runner_lock

    def take(self) -> FlockBusy | None:
        """Try for the flock once; None when it is ours. Raises LockUnusable."""
        if self.is_locked:
            return None
        if self.descriptor == -1:
            self.descriptor = self._open()
        self._step("opened")
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self.owner().get("pid")
            return FlockBusy(pid if isinstance(pid, int) else None)
        except OSError as error:
            self.close()
            reason = (
                "this file system has no locks"
                if error.errno in NO_LOCKS
                else f"it cannot be locked: {error.strerror}"
            )
            raise LockUnusable(self.path, f"{reason}; put HAPI_HOME on a local disk") from error
        self._step("flocked")
        if (
            not self.is_ours_on_disk()
        ):  # deleted and made anew by somebody between our open and our lock
            self.close()
            return FlockBusy(None)
        self.is_locked = True
        return None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags, PRIVATE_FILE_MODE)
        except OSError as error:
            raise LockUnusable(self.path, _why(self.path, error)) from error
        wrong = _what_is_wrong(os.fstat(descriptor))
        if wrong is not None:
            os.close(descriptor)
            raise LockUnusable(self.path, wrong)
        return descriptor

    def owner(self) -> dict[str, object]:
        """What the last owner wrote about itself, {} if that makes no sense."""
        try:
            found = json.loads(os.pread(self.descriptor, 4096, 0))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def is_of_another_host(self) -> bool:
        """Whether the last owner ran elsewhere and may still: pids say nothing about it."""
        last = self.owner()
        if not last or last.get("host") == socket.gethostname() or last.get("bootId") == boot_id():
            return False
        return _file_system(os.fstat(self.descriptor).st_dev) in SHARED

    def describe(self, version: str) -> None:
        """Say who holds it, for people."""
        content = json.dumps(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "bootId": boot_id(),
                "version": version,
            }
        ).encode()
        try:
            os.pwrite(self.descriptor, content + b"\n", 0)
            os.ftruncate(self.descriptor, len(content) + 1)
        except OSError as error:
            raise LockUnusable(self.path, f"it cannot be written: {error.strerror}") from error
        self._step("described")

    def is_ours_on_disk(self) -> bool:
        return inode_at(self.path) == inode_of(self.descriptor)

    def is_missing(self) -> bool:
        return not os.path.lexists(self.path)

    def make_again(self) -> bool:
        """Put a file, locked by us, where somebody deleted ours; False if another one is there by now."""
        try:
            fresh = os.open(
                self.path,
                os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW,
                PRIVATE_FILE_MODE,
            )
        except OSError:
            return False
        try:
            fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fresh)
            return False
        content = os.pread(self.descriptor, 4096, 0)
        os.pwrite(fresh, content, 0)
        os.close(self.descriptor)
        self.descriptor = fresh
        return True

    def release(self) -> None:
        """Give the flock up. The file stays, and stays empty until the next owner."""
        if self.is_locked:
            with suppress(OSError):
                os.ftruncate(self.descriptor, 0)
            self._step("emptied")
        self.close()

    def close(self) -> None:
        self.is_locked = False
        if self.descriptor != -1:
            os.close(self.descriptor)
            self.descriptor = -1


@frozen
class Found:
    content: tuple[
        bytes, float
    ]  # at most a byte more than a lock may have, and the time it was written
    inode: tuple[int, int]


@contextmanager
def reading(path: Path) -> Iterator[Found]:
    """What stands at `path`, kept open so that its inode number stays its own. Raises FileNotFoundError, LockUnusable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LockUnusable(path, _why(path, error)) from error
    try:
        facts = os.fstat(descriptor)
        wrong = _what_is_wrong(facts)
        if wrong is not None:
            raise LockUnusable(path, wrong)
        yield Found(
            (os.read(descriptor, LONGEST + 1), facts.st_mtime), (facts.st_dev, facts.st_ino)
        )
    finally:
        os.close(descriptor)


def _what_is_wrong(facts: os.stat_result) -> str | None:
    if not stat.S_ISREG(facts.st_mode):
        return "it is not a regular file; move it away"
    if facts.st_uid != os.geteuid():
        return f"it belongs to the user with uid {facts.st_uid}, not to us"
    return None


def _why(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link; move it away"
    with suppress(OSError):
        wrong = _what_is_wrong(path.lstat())
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


def _file_system(device: int) -> str | None:
    """The type of the file system with that device number, None if it is not found."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with (
        suppress(OSError),
        open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts,
    ):
        for line in mounts:
            fields = line.split()
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    return None
