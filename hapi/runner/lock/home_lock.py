"""The lock of a home: acquire it, keep it, release it (faults.md §2).

It excludes runners of npm's programs as well.

It consists of two files, `runner.lock` (`flock.py`) and npm's `runner.state.json.lock`
(`npm_lock.py`). What happens to a lock file whose owner is dead is decided in `stale.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.file_lock import LockUnusable, inode_at, inode_of
from hapi.home import Home, read_capped
from hapi.process import IProcesses
from hapi.runner.lock.files import ignore_step
from hapi.runner.lock.flock import FlockBusy, FlockFile
from hapi.runner.lock.npm_lock import NpmLockFile, RaceLost
from hapi.runner.lock.owner import OwnerInspector
from hapi.runner.lock.stale import UNFINISHED_SECONDS, Held, Unfinished

__all__ = ["HomeHeld", "LockUnusable", "RunnerLock", "Superseded"]

HELD_TIMEOUT = 1.0  # seconds for which a held lock is polled before the start fails
POLL_INTERVAL = 0.05  # seconds between two attempts at a held lock
RETRY_INTERVAL = 0.001  # seconds; lets the reactor work while another program changes the file
# An npm starter that read a dead pid before this start may still delete the new file for so long.
SETTLE_TIME = 0.25  # seconds
SETTLE_POLL_INTERVAL = 0.01  # seconds
MAX_RESTORE_TRIES = 5  # of a heartbeat that finds another file in the lock's place
# Linux can open a directory without the right to read it.
DIRECTORY_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class HomeHeld(Exception):
    """Another runner owns this home."""

    def __init__(self, home: Home, pid: int | None) -> None:
        who = "another runner" if pid is None else f"the runner with process id {pid}"
        super().__init__(f"{home.path} is in use by {who}; stop it with `hapi runner stop`")
        self.home, self.pid = home, pid


@frozen
class Superseded:
    """Another runner owns the home now; this one must leave without touching a file."""

    pid: int | None


@define(eq=False, repr=False)
class RunnerLock:
    """The lock of one home.

    `step` is called with a name after each system call that other programs may see. Tests end the
    process there.
    """

    _home: Home
    _processes: IProcesses
    _clock: IReactorTime | None = None  # the global reactor by default
    _version: str = ""
    _now: Callable[[], float] = time.time
    _step: Callable[[str], object] = ignore_step
    _owner: OwnerInspector = field(init=False)
    _flock: FlockFile = field(init=False)
    _npm: NpmLockFile = field(init=False)
    _taken_at: float | None = None  # monotonic seconds at which both files were ours
    _directory: int = -1  # of the home, kept open to notice when the home is replaced
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._owner = OwnerInspector(self._home, self._processes, self._now)
        self._flock = FlockFile(self._home, self._step)
        self._npm = NpmLockFile(self._home, self._owner, self._step)

    # --- take

    def try_acquire(self) -> bool:
        """Take both files if nobody owns them; True when this process does.

        Never waits and needs no reactor.

        For a program that loads the rest of itself while the lock settles. `acquire` must follow
        before anything becomes visible outside. Raises LockUnusable.
        """
        return self._try_once() is None

    def acquire(self) -> Deferred[None]:
        """Fire when this runner owns the home.

        Errs with HomeHeld after a second, or with LockUnusable.
        """
        return Deferred.fromCoroutine(self._acquire())

    async def _acquire(self) -> None:
        try:
            await self._take()
            await self._settle()
        except BaseException:
            self.release()
            raise

    async def _take(self) -> None:
        from twisted.internet.task import deferLater  # 30 ms, while the lock settles

        clock = self._reactor()
        held_until = clock.seconds() + HELD_TIMEOUT
        unfinished_until = clock.seconds() + UNFINISHED_SECONDS + HELD_TIMEOUT
        while self._taken_at is None:
            found = self._try_once()
            now = clock.seconds()
            match found:
                case None | RaceLost():
                    held_until = max(held_until, now + POLL_INTERVAL)
                    if isinstance(found, RaceLost) and now >= unfinished_until:
                        raise LockUnusable(self._npm.path, "other programs keep changing it")
                    if isinstance(found, RaceLost):
                        await deferLater(clock, RETRY_INTERVAL)
                case FlockBusy(pid) | Held(pid):
                    if now >= held_until:
                        raise HomeHeld(self._home, pid)
                    await deferLater(clock, POLL_INTERVAL)
                case Unfinished():
                    if now >= unfinished_until:
                        raise LockUnusable(
                            self._npm.path,
                            "it contains no process id, and another program keeps rewriting it",
                        )
                    held_until = now + HELD_TIMEOUT
                    await deferLater(clock, POLL_INTERVAL)

    def _try_once(self) -> FlockBusy | Held | Unfinished | RaceLost | None:
        """Take steps 1 to 5 once; None when both files belong to this process."""
        if self._taken_at is not None:
            return None
        if self._directory == -1:
            try:
                self._directory = os.open(self._home.path, DIRECTORY_FLAGS)
            except OSError as error:
                raise LockUnusable(
                    self._home.path, f"it cannot be opened: {error.strerror}"
                ) from error
        was_locked = self._flock.is_locked
        busy = self._flock.try_lock()
        if busy is not None:
            return busy
        if not was_locked:
            if self._flock.is_of_another_host() and not self._npm.is_missing():
                raise LockUnusable(
                    self._flock.path, _describe_other_host(self._flock.owner(), self._npm.path)
                )
            self._flock.describe(self._version)
            self._npm.sweep()
        found = self._npm.place()
        if found is None:
            self._taken_at = time.monotonic()
        return found

    async def _settle(self) -> None:
        """Step 6: a starter that judged the old lock before this one may still delete the file.

        Then the other one owns the home. Raises HomeHeld.
        """
        from twisted.internet.task import deferLater

        clock = self._reactor()
        until = clock.seconds() + SETTLE_TIME - (time.monotonic() - (self._taken_at or 0.0))
        while True:
            self._step("settling")
            if not self._npm.is_ours_on_disk():
                raise HomeHeld(self._home, self._npm.pid_in_place())
            if clock.seconds() >= until:
                self._step("settled")
                return
            await deferLater(clock, SETTLE_POLL_INTERVAL)

    # --- hand over (hapi/runner/handoff/coordinator.py)

    @property
    def descriptor(self) -> int:
        """The descriptor of the locked `runner.lock`.

        A process that inherits it holds the lock as well.
        """
        return self._flock.descriptor

    def adopt(self, descriptor: int) -> None:
        """Use the locked `descriptor` of another runner; `replace_owner` must follow."""
        self._flock.descriptor, self._flock.is_locked = descriptor, True
        self._directory = os.open(self._home.path, DIRECTORY_FLAGS)

    def replace_owner(self) -> None:
        """Replace the pid of the outgoing runner by this one's.

        `acquire` then has nothing left to do. Raises LockUnusable.
        """
        try:
            self._npm.replace()
        except OSError as error:
            raise LockUnusable(self._npm.path, f"it cannot be created: {error.strerror}") from error
        self._flock.describe(self._version)
        self._taken_at = time.monotonic() - SETTLE_TIME

    def reclaim(self, other: int) -> None:
        """After a failed hand-off: write this runner's pid over that of `other`.

        `verify_ownership` judges any other pid.
        """
        try:
            there = self._npm.pid_in_place()
            if there in (None, other) or (there == os.getpid() and not self._npm.is_ours_on_disk()):
                self._npm.replace()
            self._flock.describe(self._version)
        except (OSError, LockUnusable) as error:
            self.log.error("The lock file cannot be written back: {reason}", reason=str(error))

    def abandon(self) -> None:
        """Close the descriptors and touch no file: another process owns the home."""
        self._taken_at = None
        self._npm.close()
        self._flock.close()

    # --- keep

    def verify_ownership(self) -> Literal["ours", "restored"] | Superseded:
        """Check that this runner still owns the home, at each heartbeat.

        Files that were deleted are restored with a warning.
        """
        if not self._flock.is_locked or inode_at(self._home.path) != inode_of(self._directory):
            return Superseded(None)
        restored = False
        if not self._flock.is_ours_on_disk():
            if not self._flock.is_missing() or not self._flock.recreate():
                return Superseded(owner_of(self._home).get("pid"))
            restored = self._warn_restored(self._flock.path)
        other = self._owner.other_runner_in_state()
        if other is not None:
            return Superseded(other.pid)
        if not self._npm.is_ours_on_disk():
            found = self._restore_npm_lock()
            if found is not None:
                return found
            restored = self._warn_restored(self._npm.path)
        return "restored" if restored else "ours"

    def _restore_npm_lock(self) -> Superseded | None:
        for _ in range(MAX_RESTORE_TRIES):
            try:
                found = self._npm.place()
            except LockUnusable as error:
                self.log.error("The lock file cannot be restored: {reason}", reason=str(error))
                return None
            if found is None:
                return None
            if isinstance(found, Held):
                return Superseded(found.pid)
        return None  # another program is writing it: the next heartbeat checks again

    def _warn_restored(self, path: Path) -> bool:
        self.log.warn("{path} had been deleted or replaced and was restored", path=str(path))
        return True

    # --- give up

    def release(self) -> None:
        """Release the home and remove this runner's files. Does nothing when nothing is held."""
        self._taken_at = None
        if self._flock.is_locked:
            self._npm.release()
        self._npm.close()
        self._flock.release()
        if self._directory != -1:
            os.close(self._directory)
            self._directory = -1

    def _reactor(self) -> IReactorTime:
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = reactor
        return self._clock


def owner_of(home: Home) -> dict[str, Any]:
    """What the owner of `runner.lock` wrote about itself, {} without a readable file."""
    try:
        found = json.loads(read_capped(home.runner_lock, 4096) or b"{}")
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _describe_other_host(owner: dict[str, object], path: Path) -> str:
    return (
        f"the last runner of this home ran on host {owner.get('host')} with process id "
        f"{owner.get('pid')}, and the file system is shared; delete {path} if that runner is gone"
    )
