"""Terminate a session with all its descendants: SIGTERM to it, then to the others, then SIGKILL.

All are signalled at once: a tree that ignores SIGTERM takes no longer than one process. Repeated
scans find what was started meanwhile. Signals go through pidfds that are compared with the scan.
"""

from __future__ import annotations

import signal
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, race
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.process.exit_watch import ExitWatcher
from hapi.process.interface import TerminationResult
from hapi.process.kernel import Kernel
from hapi.process.tree import Members, ProcessScanner, has_no_descendants, members
from hapi.protocol.attempt import ProcessIdentity

MAX_KILL_PASSES = 10  # kills of what is found again and again
POLL_INTERVALS = (0.01, 0.02, 0.03, 0.05)  # seconds between looks whether everybody is gone
STOPPED = frozenset("Tt")  # states of a process that waits for SIGCONT
KILL_ALL_BELOW = signal.SIGUSR1  # what a holder takes it for
HOLDER_EXIT_TIMEOUT = 0.5  # seconds the holder has to write the end down


@define
class TreeTermination:
    """One end of one tree."""

    _clock: IReactorTime
    _kernel: Kernel
    _exits: ExitWatcher
    _scanner: ProcessScanner
    _identity: ProcessIdentity
    _attempt_id: str
    _grace_period: float
    _own_pid: int
    log = Logger()

    async def run(self) -> TerminationResult:
        running = self._kernel.is_running(self._identity)
        if running is None:
            self.log.warn(
                "Process {pid} is hidden from this user, so it is not signalled",
                pid=self._identity.pid,
            )
            return "still_alive"
        begun = self._clock.seconds()
        asked: set[tuple[int, int]] = set()
        root = self._kernel.read_stat(self._identity.pid) if running else None
        if root is not None:  # at once: who else is there shows while it ends
            self._signal([root], asked, signal.SIGTERM, signal.SIGCONT)
        seen = await self._scan()
        if root is None and seen.is_empty and await self._is_over(seen):
            return "already_gone"
        if root is not None:
            stopped = [stat for stat in seen.others if stat.state in STOPPED]
            self._signal(stopped, set(), signal.SIGCONT)  # these cannot help it to end
            await self._wait_for_exit(self._identity, self._grace_period / 2)
            seen = await self._scan()
        attempt = 0
        while not (seen.is_empty and await self._is_over(seen)):
            if self._clock.seconds() - begun >= self._grace_period:
                return await self._kill(seen)
            self._signal(list(reversed(seen.others)), asked, signal.SIGTERM, signal.SIGCONT)
            await self._sleep(POLL_INTERVALS[min(attempt, len(POLL_INTERVALS) - 1)])
            attempt += 1
            seen = await self._scan()
        return "stopped"

    async def _kill(self, seen: Members) -> TerminationResult:
        """Kill all that scans find until they find none. The holder does the same, and faster."""
        refused: set[int] = set()
        for again in range(MAX_KILL_PASSES):
            everybody = [stat for stat in (*reversed(seen.others), seen.root) if stat is not None]
            if again:
                # Freeze them first: they may fork faster than they are found.
                self._signal(everybody, set(), signal.SIGSTOP)
            refused = self._signal(everybody, set(), signal.SIGKILL)
            if seen.holder is not None:
                self._signal([seen.holder], set(), KILL_ALL_BELOW, signal.SIGCONT)
            for attempt in POLL_INTERVALS:
                await self._sleep(attempt)
                if all(self._is_gone(stat) for stat in everybody):
                    break
            seen = await self._scan()
            if seen.is_empty and await self._is_over(seen):
                return "stopped"
        left = [stat.pid for stat in seen.stats if stat is not seen.holder]
        self.log.warn(
            "Could not end processes {pids}; this user cannot signal {refused} of them",
            pids=left,
            refused=len(refused),
        )
        return "still_alive"

    async def _is_over(self, seen: Members) -> bool:
        """A scan can miss fast forks: the proof is a holder that ended or has no children."""
        identity = None if seen.holder is None else self._kernel.identity_of(seen.holder)
        if identity is None:
            return True
        self._signal([seen.holder], set(), signal.SIGCONT)
        await self._wait_for_exit(identity, HOLDER_EXIT_TIMEOUT)
        if self._kernel.is_running(identity) is False:
            return True
        nobody = has_no_descendants(self._kernel, identity.pid)
        return (await self._scan()).is_empty if nobody is None else nobody

    def _signal(
        self, stats: list[Any], sent: set[tuple[int, int]], *signals: signal.Signals
    ) -> set[int]:
        """Signal those that are not in `sent` yet. Returns the pids that we may not signal."""
        refused = set()
        for stat in stats:
            who = (stat.pid, stat.start_ticks)
            if who in sent:
                continue
            sent.add(who)
            identity = (
                self._identity
                if who == (self._identity.pid, self._identity.start_ticks)
                else self._kernel.identity_of(stat)
            )
            try:
                if identity is not None:
                    self._kernel.send(identity, *signals)
            except OSError as error:
                refused.add(stat.pid)
                self.log.warn(
                    "Process {pid} could not be signalled: {reason}",
                    pid=stat.pid,
                    reason=str(error),
                )
        return refused

    def _is_gone(self, stat: Any) -> bool:
        now = self._kernel.read_stat(stat.pid)
        return now is None or now.ended or now.start_ticks != stat.start_ticks

    async def _scan(self) -> Members:
        """Who is there now."""
        found = members(await self._scanner.scan(), self._identity, self._attempt_id, self._own_pid)
        if found.root is not None and self._kernel.is_running(self._identity) is False:
            found.root = None  # same pid, same tick, another process
        return found

    async def _wait_for_exit(self, identity: ProcessIdentity, seconds: float) -> None:
        """Until it has ended, at most so long."""
        contest: list[Deferred[Any]] = [self._exits.when_exited(identity), self._sleep(seconds)]
        await race(contest)

    def _sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds)
