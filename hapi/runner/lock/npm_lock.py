"""`runner.state.json.lock`, the lock file of npm's programs: it exists while a runner runs and
holds its pid.

`NpmLockFile.place` puts it in place and replaces a stale one (faults.md §2, steps 2 to 5). The path
is never empty meanwhile: both files are exchanged in one system call, and the file that comes out
is compared with the one that was judged stale.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import define, field, frozen

from hapi.file_lock import LockUnusable, inode_at, inode_of
from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.runner.lock.files import exchange, ignore_step, open_lock_file
from hapi.runner.lock.owner import OwnerInspector
from hapi.runner.lock.stale import Held, Stale, Unfinished, pid_in

NO_EXCHANGE = frozenset((errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM))
NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES))


@frozen
class RaceLost:
    """Another program changed the file between two steps: try again."""


@define(eq=False, repr=False)
class NpmLockFile:
    """`runner.state.json.lock`, written by the holder of the flock on `runner.lock`."""

    _home: Home
    _owner: OwnerInspector
    _step: Callable[[str], object] = ignore_step
    # Of the file in place. While it is open, no other file can get its inode number.
    descriptor: int = -1
    _pid: bytes = field(factory=lambda: str(os.getpid()).encode())

    @property
    def path(self) -> Path:
        return self._home.npm_lock

    def sweep(self) -> None:
        """Remove the temporary files of starting runners that died half-way.

        One of them may be the lock of a running runner, set aside: that one is put back.
        """
        with suppress(OSError):
            for name in os.listdir(self.path.parent):
                if name.startswith(f"{self.path.name}."):
                    self._put_back_or_remove(self.path.with_name(name))
        self._step("swept")

    def _put_back_or_remove(self, left: Path) -> None:
        with suppress(OSError, LockUnusable), open_lock_file(left) as found:
            if isinstance(self._owner.judge_lock(*found.content), Held):
                with (
                    suppress(LockUnusable, FileNotFoundError),
                    open_lock_file(self.path) as present,
                ):
                    if isinstance(self._owner.judge_lock(*present.content), Held):
                        left.unlink()
                        return
                left.rename(self.path)
                return
        with suppress(OSError):
            left.unlink()

    def place(self) -> Held | Unfinished | RaceLost | None:
        """Try once to put a file with this process's pid in place; None when it is there.

        Raises LockUnusable.
        """
        sibling = self.path.with_name(f"{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            self._write(sibling)
            self._step("sibling written")
            try:
                os.link(sibling, self.path, follow_symlinks=False)
            except FileExistsError:
                return self._replace_if_stale(sibling)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                return self._create_without_links()
            self._step("linked")
            return None
        except OSError as error:
            raise LockUnusable(self.path, f"it cannot be created: {error.strerror}") from error
        finally:
            with suppress(OSError):
                sibling.unlink()
            self._step("sibling removed")

    def _write(self, path: Path) -> None:
        self.close()
        self.descriptor = os.open(
            path,
            os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW,
            PRIVATE_FILE_MODE,
        )
        self._step("sibling made")
        os.write(self.descriptor, self._pid)
        os.fsync(self.descriptor)

    def _create_without_links(self) -> Held | Unfinished | RaceLost | None:
        try:
            self._write(self.path)
        except FileExistsError:
            sibling = self.path.with_name(f"{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            self._write(sibling)
            return self._replace_if_stale(sibling)
        self._step("created")
        return None

    def _replace_if_stale(self, sibling: Path) -> Held | Unfinished | RaceLost | None:
        """Judge the file in place, and exchange it for `sibling` if it is stale."""
        try:
            with open_lock_file(self.path) as judged:
                self._step("judging")
                found = self._owner.judge_lock(*judged.content)
                if not isinstance(found, Stale):
                    return found
                self._step("judged stale")
                return self._swap(sibling, judged.inode)
        except FileNotFoundError:
            return RaceLost()

    def _swap(self, sibling: Path, judged: tuple[int, int]) -> RaceLost | None:
        """Exchange `sibling` with the file in place if that still is the `judged` one."""
        try:
            exchange(sibling, self.path)
        except FileNotFoundError:
            return RaceLost()
        except OSError as error:
            if error.errno not in NO_EXCHANGE:
                raise
            return self._swap_in_two(sibling, judged)
        self._step("exchanged")
        if inode_at(sibling) == judged:
            sibling.unlink()
            self._step("old one removed")
            return None
        try:
            exchange(sibling, self.path)
        except FileNotFoundError:  # ours was removed meanwhile: theirs goes back all the same
            with suppress(FileExistsError):
                os.link(sibling, self.path, follow_symlinks=False)
        self._step("exchanged back")
        return RaceLost()

    def _swap_in_two(self, sibling: Path, judged: tuple[int, int]) -> RaceLost | None:
        """`_swap` for file systems that cannot exchange names: the path is empty for a moment."""
        aside = sibling.with_name(f"{sibling.name}.aside")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return RaceLost()
        self._step("set aside")
        try:
            if inode_at(aside) != judged:
                with suppress(FileExistsError):
                    os.link(aside, self.path, follow_symlinks=False)
                return RaceLost()
            try:
                os.link(sibling, self.path, follow_symlinks=False)
            except FileExistsError:
                return RaceLost()
            return None
        finally:
            with suppress(OSError):
                aside.unlink()

    def replace(self) -> None:
        """Replace the file in place by one with this process's pid, in one step. Raises OSError.

        Only for a hand-off, in which the previous owner has agreed.
        """
        sibling = self.path.with_name(f"{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            self._write(sibling)
            self._step("sibling written")
            os.rename(sibling, self.path)
            self._step("put over")
        except OSError:
            with suppress(OSError):
                sibling.unlink()
            raise

    def is_ours_on_disk(self) -> bool:
        return self.descriptor != -1 and inode_at(self.path) == inode_of(self.descriptor)

    def is_missing(self) -> bool:
        return not os.path.lexists(self.path)

    def pid_in_place(self) -> int | None:
        """The pid in the file that is in place, None if there is no file or no pid."""
        with suppress(OSError, LockUnusable), open_lock_file(self.path) as found:
            return pid_in(found.content[0])
        return None

    def release(self) -> None:
        """Remove the file if it is this process's."""
        if self.is_ours_on_disk():
            self._step("releasing")
            with suppress(OSError):
                self.path.unlink()
            self._step("released")
        self.close()

    def close(self) -> None:
        if self.descriptor != -1:
            os.close(self.descriptor)
            self.descriptor = -1
