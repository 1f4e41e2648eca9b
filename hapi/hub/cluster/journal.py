"""Reads the journal, the list in the database of all that hubs have published: every hub gets every
entry once, in the order of the ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel

from hapi.deferreds import run_in_background
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.shared import JournalEntry
from hapi.request_id import run_for_nobody

POLL_INTERVAL = 0.5  # seconds between two looks, if nothing tells of new entries
# Seconds from one read to the next one that nobody waits for. What comes meanwhile is read
# together, which costs a busy hub much less.
READ_INTERVAL = 0.02
MAX_ENTRIES = 256  # in one read


@define(eq=False, repr=False)
class JournalFollower:
    """`deliver` gets each entry. `on_gap` is called when entries were deleted before this hub has
    read them; the follower then goes on with what is newer.
    """

    _store: Any  # ISharedStore
    _clock: IReactorTime
    _deliver: Callable[[JournalEntry], object]
    _on_gap: Callable[[], object]
    position: int = 0  # the id of the last entry that was delivered
    _at_end: float = 0.0  # clock seconds: nothing newer was there
    _restarts: int = 0
    _is_reading: bool = False
    _is_behind: bool = False  # there may be entries that the read under way does not see
    _read_at: float = float("-inf")  # clock seconds: the last read began
    _next: IDelayedCall | None = None  # read
    _is_failing: bool = False  # the last read failed, which was logged
    _waiters: list[tuple[int, Deferred[None]]] = field(factory=list)
    _loop: LoopingCall | None = None

    log = Logger()

    def start(self, position: int) -> None:
        """Deliver all entries after `position`."""
        self.position, self._at_end = position, self._clock.seconds()
        self._store.on_journal(self.poll)
        loop = self._loop = LoopingCall(self.poll)
        loop.clock = self._clock
        loop.start(POLL_INTERVAL, now=True)

    def stop(self) -> None:
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self._loop = None
        if self._next is not None:
            self._next.cancel()
            self._next = None
        waiters, self._waiters = self._waiters, []
        for _, done in waiters:
            done.cancel()

    async def restart(self) -> None:
        """Go on from the newest entry, if it is older than what this hub has read: entries were
        lost. Raises what the store raises; nothing has changed then.
        """
        before = self.position
        newest = await self._store.newest_entry()
        if newest < before == self.position:
            self._restarts += 1  # a read under way delivers nothing more
            self._reach(newest)

    @property
    def lag(self) -> float:
        """Seconds since this hub had delivered all entries."""
        return max(0.0, self._clock.seconds() - self._at_end)

    def poll(self) -> None:
        """Deliver what is new: at once, if somebody waits for it, or within READ_INTERVAL."""
        if self._loop is None:
            return
        if self._is_reading:
            self._is_behind = True
            return
        wait = 0.0 if self._waiters else self._read_at + READ_INTERVAL - self._clock.seconds()
        if wait > 0:
            if self._next is None:
                self._next = self._clock.callLater(wait, self._poll_later)
            return
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._is_reading = True
        run_for_nobody(
            lambda: run_in_background(self._read(), self.log, "The journal could not be read")
        )

    def _poll_later(self) -> None:
        self._next = None
        self.poll()

    async def _read(self) -> None:
        try:
            while self._loop is not None:
                self._is_behind, begun = False, self._clock.seconds()
                self._read_at, restarts = begun, self._restarts
                try:
                    entries = await self._store.entries_after(self.position, MAX_ENTRIES)
                    if entries is None:
                        newest = await self._store.newest_entry()
                except (StoreBusy, StoreFull, StoreFailed) as error:
                    if not self._is_failing:
                        self._is_failing = True
                        # The store has logged that it is away.
                        level = LogLevel.info if isinstance(error, StoreAway) else LogLevel.warn
                        self.log.emit(
                            level, "The journal cannot be read: {reason}", reason=str(error)
                        )
                    self._is_behind = False  # it is tried again after POLL_INTERVAL
                    return
                self._is_failing = False
                if self._loop is None:
                    return
                if restarts != self._restarts:
                    continue
                if entries is None:
                    self.log.warn(
                        "This hub has missed entries of the journal that are no longer kept; it "
                        "reads everything again"
                    )
                    self._reach(newest)
                    self._on_gap()
                    continue
                for entry in entries:
                    self._deliver_one(entry)
                if len(entries) < MAX_ENTRIES:
                    self._at_end = begun
                    if not (self._is_behind and self._waiters):
                        return
        finally:
            self._is_reading = False
            if self._is_behind:
                self.poll()

    def _deliver_one(self, entry: JournalEntry) -> None:
        try:
            self._deliver(entry)
        except Exception:
            self.log.failure("The entry {id} of the journal could not be applied", id=entry.id)
        self._reach(entry.id)

    def _reach(self, position: int) -> None:
        self.position = position
        ready = [done for wanted, done in self._waiters if wanted <= position]
        self._waiters = [waiter for waiter in self._waiters if waiter[0] > position]
        for done in ready:
            if not done.called:
                done.callback(None)

    async def reached(self, position: int, seconds: float) -> bool:
        """Whether all entries up to `position` have been delivered, within so many seconds."""
        if position <= self.position:
            return True
        done: Deferred[None] = Deferred()
        self._waiters.append((position, done))
        self.poll()
        try:
            await done.addTimeout(seconds, self._clock)
        except (TimeoutError, CancelledError):
            return False
        finally:
            self._waiters = [waiter for waiter in self._waiters if waiter[1] is not done]
        return True
