"""Group commit in PostgreSQL: what waits while a transaction runs shares the next one.

One connection writes, in a thread of its own; it holds the lock WRITING, so that who writes holds
it by construction. Hubs that share the database run their transactions at the same time; what they
write to the journal is ordered at their ends (see journal.py). batch.py is what happens in the
thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.hub.store.disk_thread import Worker
from hapi.hub.store.interface import StoreAway, StoreFailed
from hapi.hub.store.postgres.batch import Batches, Change
from hapi.hub.store.postgres.connection import PostgresConnection, is_away, store_error
from hapi.hub.store.postgres.session import LockLost, WritingSession
from hapi.hub.store.postgres.stall import StallWatch
from hapi.metrics import Histogram
from hapi.request_id import run_for_nobody

T = TypeVar("T")
MAX_BATCH = 256  # changes in one transaction
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, MAX_BATCH)
MAX_WAITING = 1_000  # changes that wait while the database is away
AWAY_TIMEOUT = 10.0  # seconds that changes wait for a database that is away
RETRY_INTERVAL = 0.2  # seconds between two attempts to reach it


@define(eq=False, repr=False)
class PostgresWriter:
    """The changes of one hub, in the order in which they were given.

    When a transaction fails as a whole, so do all changes that wait behind it: a caller that sends
    several changes one after the other never finds a later one stored without an earlier one.
    """

    _reactor: Any
    _worker: Worker
    _batches: Batches
    _lost: Callable[[], object]  # called when another hub has acquired the database
    committed: list[Callable[[], object]] = field(factory=list)  # called after each COMMIT
    sizes: Histogram = field(factory=lambda: Histogram(SIZES))  # changes in one transaction
    seconds: Histogram = field(factory=Histogram)  # of one transaction
    # Seconds of the reactor's clock: the last transaction that was committed had not begun before.
    # It has stored that this hub lives.
    confirmed_at: float = float("-inf")
    _waiting: deque[Change[Any]] = field(factory=deque)
    _idle: list[Deferred[None]] = field(factory=list)
    _running: bool = False
    _closing: bool = False
    _away_since: float | None = None
    _is_lost: bool = False

    log = Logger()

    @property
    def session(self) -> WritingSession:
        return self._batches.session

    @property
    def is_away(self) -> bool:
        return self._away_since is not None or self._is_lost

    async def write(
        self,
        apply: Callable[[PostgresConnection], T],
        committed: Callable[[T], object] = lambda result: None,
        owner: str | None = None,
        moves_homes: bool = False,
        is_urgent: bool = False,
    ) -> T:
        """Run `apply` in the next transaction, if this hub may change `owner`. After the COMMIT,
        `committed` is called with its result, then this returns; both in the order of the changes,
        which one that is urgent does not keep.

        What `apply` raises undoes this change alone. Raises StoreBusy, StoreFull, StoreFailed,
        StoreAway, Moved.
        """
        if self._closing:
            raise StoreFailed("the database is closed")
        if self._is_lost:
            raise self._lock_lost()
        if self.is_away and len(self._waiting) >= MAX_WAITING:
            raise StoreAway("the database is away")
        change: Change[T] = Change(apply, committed, Deferred(), owner, moves_homes)
        if is_urgent:
            self._waiting.appendleft(change)
        else:
            self._waiting.append(change)
        if not self._running:
            self._running = True
            run_for_nobody(lambda: Deferred.fromCoroutine(self._run()))
        return await change.done

    async def call(self, work: Callable[[WritingSession], T]) -> T:
        """Run `work` in the thread of the connection, between two transactions and not in one.
        Raises StoreBusy, StoreFailed, StoreAway.
        """

        def guarded() -> T:
            try:
                return work(self.session)
            except psycopg.Error as error:
                if is_away(error):
                    self.session.drop()
                raise store_error(error) from error
            except LockLost as error:
                raise self._lock_lost() from error

        return await self._watched(guarded)

    def check(self) -> None:
        """Raises StoreAway, StoreFailed if nothing can be written at present."""
        if self._closing:
            raise StoreFailed("the database is closed")
        if self._is_lost:
            raise self._lock_lost()
        if self._away_since is not None:
            raise StoreAway("the database is away")

    def close(self) -> Deferred[None]:
        """Finish what waits, if the database is there; fires when nothing waits."""
        self._closing = True
        done: Deferred[None] = Deferred()
        if self._running:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    def _lock_lost(self) -> StoreAway:
        return StoreAway("another hub has taken over the database")

    # --- in the reactor's thread ------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                try:
                    await self._store(batch)
                except Exception as error:
                    self._fail(batch, error)
                else:
                    self._finish(batch)
        finally:
            self._running = False
        idle, self._idle = self._idle, []
        for done in idle:
            done.callback(None)

    async def _store(self, batch: list[Change[Any]]) -> None:
        """Raises what keeps the whole batch from being stored."""
        self._batches.begin()
        begin = self._reactor.seconds()
        while True:
            attempted_at = self._reactor.seconds()
            try:
                await self._watched(lambda: self._batches.store(batch))
            except LockLost as error:
                self._is_lost = True
                self.log.error("Another hub has taken over the database")
                run_for_nobody(self._lost)
                raise self._lock_lost() from error
            except StoreAway as error:
                now = self._reactor.seconds()
                if self._away_since is None:
                    self._away_since = now
                    self.log.error("The database is away: {reason}", reason=str(error))
                if self._closing or now - self._away_since >= AWAY_TIMEOUT:
                    raise StoreAway(str(error), self._batches.is_unknown) from error
                await deferLater(self._reactor, RETRY_INTERVAL)
            else:
                break
        self.confirmed_at = attempted_at
        if self._away_since is not None:
            self._away_since = None
            self.log.warn("The database can be written again")
        self.sizes.observe(len(batch))
        self.seconds.observe(self._reactor.seconds() - begin)

    async def _watched(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread; cut the connection if it gets no answer for STALL_TIMEOUT."""
        watch = StallWatch(self._reactor, self.session)
        try:
            return await self._worker.run(work)
        finally:
            watch.stop()

    def _fail(self, batch: list[Change[Any]], error: Exception) -> None:
        failed, self._waiting = [*batch, *self._waiting], deque()
        for change in failed:
            unknown = isinstance(error, StoreAway) and error.unknown and change in batch
            change.done.errback(Failure(StoreAway(str(error), True) if unknown else _known(error)))

    def _finish(self, batch: list[Change[Any]]) -> None:
        for call in self.committed:
            call()
        for change in batch:
            if change.error is not None:
                change.done.errback(change.error)
                continue
            try:
                change.committed(change.result)
            except Exception:
                self.log.failure("A change was stored, but not everybody was told")
            change.done.callback(change.result)


def _known(error: Exception) -> Exception:
    return StoreAway(str(error)) if isinstance(error, StoreAway) else error
