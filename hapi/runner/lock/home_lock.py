"""One runner per home: taking the lock, keeping it, giving it up (faults.md §2). Excludes the npm CLI's runners too."""

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
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.home import Home, read_capped
from hapi.process import IProcesses
from hapi.runner.lock.flock import FlockBusy, FlockFile, LockUnusable, inode_at, inode_of, nothing
from hapi.runner.lock.npm_lock import NpmLockFile, RaceLost
from hapi.runner.lock.owner import YOUNG, Held, OwnerInspector, Unfinished

__all__ = ["HomeHeld", "LockUnusable", "RunnerLock", "Superseded"]

PATIENCE = 1.0  # seconds before a lock that is held counts as held
GLANCE = 0.05  # seconds between looks at a held lock
SETTLE, SETTLE_GLANCE = (
    0.25,
    0.01,
)  # seconds; an npm starter that read a dead pid before us may still delete our file
PLACE_TRIES = 5  # of a beat that finds another file in the lock's place


class HomeHeld(Exception):
    """Another runner has this home."""

    def __init__(self, home: Home, pid: int | None) -> None:
        who = "another runner" if pid is None else f"the runner with process id {pid}"
        super().__init__(f"{home.path} is in use by {who}; stop it with `hapi runner stop`")
        self.home, self.pid = home, pid


@frozen
class Superseded:
    """Another runner has the home now, and this one must leave without touching a file."""

    pid: int | None


@define(eq=False)
class RunnerLock:
    """`step` is called with a name after each system call that others may see: a test ends the process there."""

    _home: Home
    _processes: IProcesses
    _clock: IReactorTime | None = None  # the global reactor by default
    _version: str = ""
    _now: Callable[[], float] = time.time
    _step: Callable[[str], object] = nothing
    _judge: OwnerInspector = field(init=False)
    _ours: FlockFile = field(init=False)
    _npm: NpmLockFile = field(init=False)
    _taken_at: float | None = None  # monotonic seconds at which both files were ours
    _directory: int = -1  # of the home, kept open: a home that is replaced is another one
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._judge = OwnerInspector(self._home, self._processes, self._now)
        self._ours = FlockFile(self._home, self._step)
        self._npm = NpmLockFile(self._home, self._judge, self._step)

    # --- take

    def try_acquire(self) -> bool:
        """Take both files now if nobody has them: True when they are ours. Waits for nothing and needs no reactor.

        For a program that wants to load the rest of itself while the lock settles; `acquire` must follow before anything
        is visible outside. Raises LockUnusable.
        """
        return self._try_once() is None

    def acquire(self) -> Deferred[None]:
        """Fires when the home is ours. Errs with HomeHeld after a second, LockUnusable."""
        return Deferred.fromCoroutine(self._acquire())

    async def _acquire(self) -> None:
        try:
            await self._take()
            await self._settle()
        except BaseException:
            self.release()
            raise

    async def _take(self) -> None:
        clock = self._reactor()
        held_until = clock.seconds() + PATIENCE
        unfinished_until = clock.seconds() + YOUNG + PATIENCE
        while self._taken_at is None:
            found = self._try_once()
            now = clock.seconds()
            match found:
                case None | RaceLost():
                    held_until = max(held_until, now + GLANCE)
                    if isinstance(found, RaceLost) and now >= unfinished_until:
                        raise LockUnusable(self._npm.path, "other programs keep changing it")
                    if isinstance(found, RaceLost):
                        await deferLater(
                            clock, 0.001
                        )  # whoever is faster each time does not keep the reactor from its work
                case FlockBusy(pid) | Held(pid):
                    if now >= held_until:
                        raise HomeHeld(self._home, pid)
                    await deferLater(clock, GLANCE)
                case Unfinished():
                    if now >= unfinished_until:
                        raise LockUnusable(
                            self._npm.path, "it holds no process id and is written again and again"
                        )
                    held_until = now + PATIENCE
                    await deferLater(clock, GLANCE)

    def _try_once(self) -> FlockBusy | Held | Unfinished | RaceLost | None:
        """Steps 1 to 5; None when both files are ours."""
        if self._taken_at is not None:
            return None
        if self._directory == -1:
            try:
                self._directory = os.open(
                    self._home.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
                )
            except OSError as error:
                raise LockUnusable(
                    self._home.path, f"it cannot be opened: {error.strerror}"
                ) from error
        was_locked = self._ours.is_locked
        busy = self._ours.take()
        if busy is not None:
            return busy
        if not was_locked:
            if self._ours.is_of_another_host() and not self._npm.is_missing():
                raise LockUnusable(self._ours.path, _elsewhere(self._ours.owner(), self._npm.path))
            self._ours.describe(self._version)
            self._npm.sweep()
        found = self._npm.place()
        if found is None:
            self._taken_at = time.monotonic()
        return found

    async def _settle(self) -> None:
        """Step 6: whoever judged the lock before us may still delete it. Then that one has it, and we give way."""
        clock = self._reactor()
        until = clock.seconds() + SETTLE - (time.monotonic() - (self._taken_at or 0.0))
        while True:
            self._step("settling")
            if not self._npm.is_ours_on_disk():
                raise HomeHeld(self._home, self._npm.pid_in_place())
            if clock.seconds() >= until:
                self._step("settled")
                return
            await deferLater(clock, SETTLE_GLANCE)

    # --- hand over (hapi/runner/handoff/coordinator.py)

    @property
    def descriptor(self) -> int:
        """That of the locked `runner.lock`: whoever inherits it holds the lock as well, for as long as one of both lives."""
        return self._ours.descriptor

    def adopt(self, descriptor: int) -> None:
        """`descriptor` came from the runner before us, with the lock; `replace_owner` is to follow."""
        self._ours.descriptor, self._ours.is_locked = descriptor, True
        self._directory = os.open(self._home.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def replace_owner(self) -> None:
        """Write our pid over that of the runner before us. `acquire` finds everything done. Raises LockUnusable."""
        try:
            self._npm.replace()
        except OSError as error:
            raise LockUnusable(self._npm.path, f"it cannot be made: {error.strerror}") from error
        self._ours.describe(self._version)
        self._taken_at = time.monotonic() - SETTLE

    def reclaim(self, other: int) -> None:
        """After a hand-off that failed: write our pid over that of `other`. What a third one wrote is left to the verify_ownership."""
        try:
            there = self._npm.pid_in_place()
            if there in (None, other) or (there == os.getpid() and not self._npm.is_ours_on_disk()):
                self._npm.replace()
            self._ours.describe(self._version)
        except (OSError, LockUnusable) as error:
            self.log.error("The lock cannot be written back: {reason}", reason=str(error))

    def abandon(self) -> None:
        """Another process has what we had: close our descriptors and touch no file."""
        self._taken_at = None
        self._npm.close()
        self._ours.close()

    # --- keep

    def verify_ownership(self) -> Literal["ours", "restored"] | Superseded:
        """Whether the home still is ours; called by every beat. What somebody deleted is made again, once with a warning."""
        if not self._ours.is_locked or inode_at(self._home.path) != inode_of(self._directory):
            return Superseded(None)
        restored = False
        if not self._ours.is_ours_on_disk():
            if not self._ours.is_missing() or not self._ours.make_again():
                return Superseded(owner_of(self._home).get("pid"))
            restored = self._tell_of(self._ours.path)
        rival = self._judge.of_state()
        if rival is not None:
            return Superseded(rival.pid)
        if not self._npm.is_ours_on_disk():
            found = self._place_again()
            if found is not None:
                return found
            restored = self._tell_of(self._npm.path)
        return "restored" if restored else "ours"

    def _place_again(self) -> Superseded | None:
        for _ in range(PLACE_TRIES):
            try:
                found = self._npm.place()
            except LockUnusable as error:
                self.log.error("The lock cannot be made again: {reason}", reason=str(error))
                return None
            if found is None:
                return None
            if isinstance(found, Held):
                return Superseded(found.pid)
        return None  # somebody is just writing: the next beat looks again

    def _tell_of(self, path: Path) -> bool:
        self.log.warn("{path} had been deleted or replaced and is ours again", path=str(path))
        return True

    # --- give up

    def release(self) -> None:
        """Give the home up: our files go, those of others stay. Harmless when nothing is held."""
        self._taken_at = None
        if self._ours.is_locked:
            self._npm.release()
        self._npm.close()
        self._ours.release()
        if self._directory != -1:
            os.close(self._directory)
            self._directory = -1

    def _reactor(self) -> IReactorTime:
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = reactor
        return self._clock


def owner_of(home: Home) -> dict[str, Any]:
    """What the owner of `runner.lock` wrote about itself, {} when nobody has it or it makes no sense. Only reads."""
    try:
        found = json.loads(read_capped(home.runner_lock, 4096) or b"{}")
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _elsewhere(owner: dict[str, object], path: Path) -> str:
    return (
        f"the last runner of this home ran on {owner.get('host')} with process id {owner.get('pid')}, and the file system is "
        f"shared; if it runs no more, delete {path}"
    )
