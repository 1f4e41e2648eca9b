"""Group commit: changes that arrive while a COMMIT waits for the disk share the next transaction.

The statements run in the reactor's thread, where each takes microseconds; BEGIN is repeated on the
reactor's clock while another program holds the lock; only COMMIT, which waits for the disk, runs in
the worker. Meanwhile nothing else uses the connection.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.hub.store.disk_thread import Worker
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull, StoreLost
from hapi.request_id import run_for_nobody

T = TypeVar("T")
LOCK_TIMEOUT = 5.0  # seconds that changes wait for a lock of another program
LOCK_POLL_INTERVAL = 0.1  # seconds
BRIEF_LOCK = 0.5  # seconds that another program may hold the lock without the hub being unready
MAX_BATCH = 64  # changes in one transaction: the reactor is busy for some 10 ms with that many

# After these errors nothing else can be written either, and SQLite may have rolled the whole
# transaction back by itself (https://www.sqlite.org/lang_transaction.html, "Response To Errors").
FATAL = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
    }
)


def primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code of `error`; None if the error is not SQLite's own."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def store_error(error: sqlite3.Error) -> Exception:
    """The exception of the store that corresponds to `error`."""
    primary = primary_code(error)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy("the database is locked by another program")
    if primary == sqlite3.SQLITE_FULL:
        return StoreFull("no space left for the database")
    return StoreFailed(str(error))


@define(eq=False, repr=False)
class _Change(Generic[T]):
    apply: Callable[[sqlite3.Connection], T]
    committed: Callable[[T], object]
    done: Deferred[T]
    result: T | None = None
    error: Failure | None = None


@define(eq=False, repr=False)
class GroupCommit:
    """The changes of one connection, in the order in which they were given.

    When a transaction fails as a whole, so do all changes that wait behind it: a caller that sends
    several changes one after the other never finds a later one stored without an earlier one.
    """

    connection: sqlite3.Connection
    _clock: IReactorTime
    _worker: Worker
    _verify: Callable[[], None] = lambda: None  # raises what forbids a transaction
    _waiting: deque[_Change[Any]] = field(factory=deque)
    _idle: list[Deferred[None]] = field(factory=list)
    _running: bool = False
    _awaits_lock: bool = False  # of another program
    _is_failing: bool = False  # the last transaction failed, which was logged

    log = Logger()

    def write(
        self,
        apply: Callable[[sqlite3.Connection], T],
        committed: Callable[[T], object] = lambda result: None,
    ) -> Deferred[T]:
        """Run `apply` under a savepoint. After the COMMIT, `committed` is called with its result,
        then the Deferred fires; both in the order of the changes.

        What `apply` raises undoes this change alone. Errs with StoreBusy, StoreFull, StoreFailed.
        """
        change: _Change[T] = _Change(apply, committed, Deferred())
        self._waiting.append(change)
        if not self._running:
            self._running = True
            run_for_nobody(lambda: Deferred.fromCoroutine(self._run()))
        return change.done

    def drained(self) -> Deferred[None]:
        """Fires when no change waits."""
        done: Deferred[None] = Deferred()
        if self._running:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    async def check(self) -> None:
        """Raises StoreLost, StoreBusy or StoreFailed if no transaction could begin at present. A
        lock that is released within BRIEF_LOCK does not count.
        """
        self._verify()
        deadline = self._clock.seconds() + BRIEF_LOCK
        while self._is_locked():
            if self._clock.seconds() >= deadline:
                raise StoreBusy("the database is locked by another program")
            await deferLater(self._clock, LOCK_POLL_INTERVAL)

    def _is_locked(self) -> bool:
        """Whether another program holds the lock. Raises StoreFailed."""
        if self._running:  # the connection is in use
            return self._awaits_lock
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.execute("ROLLBACK")
        except sqlite3.Error as problem:
            error = store_error(problem)
            if isinstance(error, StoreBusy):
                return True
            raise error from problem
        return False

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._batch()
        finally:
            self._running = False
        idle, self._idle = self._idle, []
        for done in idle:
            done.callback(None)

    async def _batch(self) -> None:
        batch: list[_Change[Any]] = []
        try:
            try:
                await self._begin()
            finally:
                self._awaits_lock = False
            while self._waiting and len(batch) < MAX_BATCH:
                change = self._waiting.popleft()
                batch.append(change)
                self._apply(change)
            await self._worker.run(self._commit)
        except Exception as problem:
            self._roll_back()
            error = store_error(problem) if isinstance(problem, sqlite3.Error) else problem
            self._log_failure(error)
            failed, self._waiting = [*batch, *self._waiting], deque()
            for change in failed:
                change.done.errback(Failure(error))
            return
        if self._is_failing:
            self._is_failing = False
            self.log.info("The database can be written again")
        for change in batch:
            self._finish(change)

    def _log_failure(self, error: Exception) -> None:
        """Once, until something can be written again; StoreLost is logged where it is noticed."""
        if not self._is_failing and not isinstance(error, StoreLost):
            self._is_failing = True
            self.log.error("The database cannot be written: {reason}", reason=str(error))

    async def _begin(self) -> None:
        self._verify()
        deadline = self._clock.seconds() + LOCK_TIMEOUT
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                busy = primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                if not busy or self._clock.seconds() >= deadline:
                    raise
            self._awaits_lock = True
            await deferLater(self._clock, LOCK_POLL_INTERVAL)

    def _apply(self, change: _Change[Any]) -> None:
        """Run one change. Raises sqlite3.Error if the transaction cannot go on."""
        self.connection.execute("SAVEPOINT change")
        try:
            change.result = change.apply(self.connection)
        except Exception as problem:
            if isinstance(problem, sqlite3.Error):
                if not self.connection.in_transaction or primary_code(problem) in FATAL:
                    raise
                problem = store_error(problem)
            change.error = Failure(problem)
            self.connection.execute("ROLLBACK TO change")
        self.connection.execute("RELEASE change")

    def _commit(self) -> None:
        self.connection.execute("COMMIT")

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def _finish(self, change: _Change[Any]) -> None:
        if change.error is not None:
            change.done.errback(change.error)
            return
        try:
            change.committed(change.result)
        except Exception:
            self.log.failure("A change was stored, but not everybody was told")
        change.done.callback(change.result)
