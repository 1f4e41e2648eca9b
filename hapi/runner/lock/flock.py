"""`runner.lock`: the flock on this file decides which runner owns a home.

Each method is one step that never waits; `hapi.runner.lock.home_lock` does the waiting (faults.md
§2).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import define, frozen

from hapi.file_lock import LockUnusable, describe_lock_error, inode_at, inode_of, open_for_locking
from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.process.kernel import kernel
from hapi.runner.lock.files import ignore_step
from hapi.runner.lock.stale import may_run_on_another_host


@frozen
class FlockBusy:
    """Another process holds the flock."""

    pid: int | None


@define(eq=False, repr=False)
class FlockFile:
    """`runner.lock`, the file whose flock decides which runner owns the home.

    It is created once and never deleted.
    """

    _home: Home
    _step: Callable[[str], object] = ignore_step
    descriptor: int = -1
    is_locked: bool = False

    @property
    def path(self) -> Path:
        return self._home.runner_lock

    def try_lock(self) -> FlockBusy | None:
        """Try once to get the flock; None when this process holds it. Raises LockUnusable."""
        if self.is_locked:
            return None
        if self.descriptor == -1:
            self.descriptor = open_for_locking(self.path)
        self._step("opened")
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self.owner().get("pid")
            return FlockBusy(pid if isinstance(pid, int) else None)
        except OSError as error:
            self.close()
            reason = f"{describe_lock_error(error)}; put HAPI_HOME on a local disk"
            raise LockUnusable(self.path, reason) from error
        self._step("flocked")
        if (
            not self.is_ours_on_disk()
        ):  # another program deleted and recreated the file between open and flock
            self.close()
            return FlockBusy(None)
        self.is_locked = True
        return None

    def owner(self) -> dict[str, object]:
        """What the last owner wrote about itself, {} if that cannot be read."""
        try:
            found = json.loads(os.pread(self.descriptor, 4096, 0))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def is_of_another_host(self) -> bool:
        """Whether the last owner ran on another host and may still run there."""
        return may_run_on_another_host(
            self.owner(),
            host=socket.gethostname(),
            boot_id=kernel().boot_id(),
            file_system=_file_system(os.fstat(self.descriptor).st_dev),
        )

    def describe(self, version: str) -> None:
        """Write into the file who holds it, for people. Raises LockUnusable."""
        content = json.dumps(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "bootId": kernel().boot_id(),
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

    def recreate(self) -> bool:
        """Create the file again, locked, after another program deleted it; False if another file is
        there by now.
        """
        try:
            recreated = os.open(
                self.path,
                os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW,
                PRIVATE_FILE_MODE,
            )
        except OSError:
            return False
        try:
            fcntl.flock(recreated, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(recreated)
            return False
        content = os.pread(self.descriptor, 4096, 0)
        os.pwrite(recreated, content, 0)
        os.close(self.descriptor)
        self.descriptor = recreated
        return True

    def release(self) -> None:
        """Release the flock. The file stays, and is empty until the next owner writes into it."""
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


def _file_system(device: int) -> str | None:
    """The type of the file system with that device number, None if it is unknown."""
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
