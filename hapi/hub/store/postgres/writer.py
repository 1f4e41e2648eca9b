"""Group commit in PostgreSQL: what waits while a transaction runs shares the next one.

One connection writes, in a thread of its own; it holds the lock WRITING, so that who writes holds
it by construction. Hubs that share the database run their transactions at the same time; what they
write to the journal is ordered at their ends (see journal.py). When a change fails after it wrote,
the whole batch runs once more, with a savepoint for each change. That is rare, and savepoints would
cost each change two more statements.

Each batch stores its number. If the connection breaks after COMMIT was sent, the number tells
whether it was done: the batch is finished, or runs once more. So changes must be re-runnable, and
touch nothing but their transaction.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

import psycopg
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.hub.store.disk_thread import Worker
from hapi.hub.store.interface import StoreAway, StoreFailed
from hapi.hub.store.postgres.connection import AGAIN, PostgresConnection, is_away, store_error
from hapi.hub.store.postgres.journal import BatchJournal
from hapi.hub.store.postgres.pipeline import AddMessage, Capture, Captured, Replay, Unsuited, send
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
MAX_REPETITIONS = 3  # of a batch that met a deadlock


@define(eq=False, repr=False)
class _Change(Generic[T]):
    apply: Callable[[PostgresConnection], T]
    committed: Callable[[T], object]
    done: Deferred[T]
    owner: str | None
    moves_homes: bool
    result: T | None = None
    error: Failure | None = None


PIPELINED, SEQUENTIAL, SAVEPOINTS = range(3)  # how a batch is run, the fastest first


class _Repeat(Exception):
    """The batch has to run in another way."""

    def __init__(self, way: int = SAVEPOINTS) -> None:
        super().__init__()
        self.way = way


@define(eq=False, repr=False)
class PostgresWriter:
    """The changes of one hub, in the order in which they were given.

    When a transaction fails as a whole, so do all changes that wait behind it: a caller that sends
    several changes one after the other never finds a later one stored without an earlier one.
    """

    _reactor: Any
    _worker: Worker
    session: WritingSession
    _lost: Callable[[], object]  # called when another hub has acquired the database
    journal: BatchJournal
    committed: list[Callable[[], object]] = field(factory=list)  # called after each COMMIT
    sizes: Histogram = field(factory=lambda: Histogram(SIZES))  # changes in one transaction
    seconds: Histogram = field(factory=Histogram)  # of one transaction
    # Seconds of the reactor's clock: the last transaction that was committed had not begun before.
    # It has stored that this hub lives.
    confirmed_at: float = float("-inf")
    _waiting: deque[_Change[Any]] = field(factory=deque)
    _idle: list[Deferred[None]] = field(factory=list)
    _running: bool = False
    _closing: bool = False
    _number: int = 0  # of the batch
    _unknown: bool = False  # COMMIT of that batch was sent, without an answer
    _away_since: float | None = None
    _is_lost: bool = False

    log = Logger()

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
        change: _Change[T] = _Change(apply, committed, Deferred(), owner, moves_homes)
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

    async def _store(self, batch: list[_Change[Any]]) -> None:
        """Raises what keeps the whole batch from being stored."""
        self._number += 1
        self._unknown = False
        begin = self._reactor.seconds()
        while True:
            attempted_at = self._reactor.seconds()
            try:
                await self._watched(lambda: self._attempt(batch))
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
                    raise StoreAway(str(error), self._unknown) from error
                await deferLater(self._reactor, RETRY_INTERVAL)
            else:
                break
        self.confirmed_at = attempted_at
        if self._away_since is not None:
            self._away_since = None
            self.log.info("The database can be written again")
        self.sizes.observe(len(batch))
        self.seconds.observe(self._reactor.seconds() - begin)

    async def _watched(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread; cut the connection if it gets no answer for STALL_TIMEOUT."""
        watch = StallWatch(self._reactor, self.session)
        try:
            return await self._worker.run(work)
        finally:
            watch.stop()

    def _fail(self, batch: list[_Change[Any]], error: Exception) -> None:
        failed, self._waiting = [*batch, *self._waiting], deque()
        for change in failed:
            unknown = isinstance(error, StoreAway) and error.unknown and change in batch
            change.done.errback(Failure(StoreAway(str(error), True) if unknown else _known(error)))

    def _finish(self, batch: list[_Change[Any]]) -> None:
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

    # --- in the writer's thread -------------------------------------------------------------------

    def _attempt(self, batch: list[_Change[Any]]) -> None:
        """Store the batch, or find that it was stored. Raises StoreAway, LockLost, StoreProblem."""
        try:
            connection = self.session.connection()
            if self._unknown and self._was_stored(connection):
                self.journal.committed()
                return
            self._unknown = False
            self._store_now(connection, batch)
        except psycopg.Error as error:
            self.session.roll_back()
            if is_away(error):
                self.session.drop()
            else:
                self._unknown = False
            raise store_error(error) from error
        except (StoreAway, LockLost):  # it is as unknown as before
            raise
        except Exception:
            self.session.roll_back()
            self._unknown = False
            raise

    def _was_stored(self, connection: PostgresConnection) -> bool:
        """Whether the COMMIT that got no answer was done. It is over when the row of this hub is
        free, which each transaction changes.
        """
        query = "SELECT last_batch FROM hubs WHERE id = ? FOR UPDATE"
        try:
            row = connection.execute(query, (self.session.hub_id,)).fetchone()
        except psycopg.Error as error:
            if is_away(error):
                raise
            raise StoreAway("a COMMIT got no answer, and is not over") from error
        return row is not None and int(row[0]) >= self._number

    def _store_now(self, connection: PostgresConnection, batch: list[_Change[Any]]) -> None:
        way, repetitions = PIPELINED, 0
        while True:
            try:
                self._transaction(connection, batch, way)
                return
            except _Repeat as repeat:
                way = repeat.way
            except AGAIN:
                repetitions += 1
                if repetitions > MAX_REPETITIONS:
                    raise
            connection.roll_back()

    def _transaction(
        self, connection: PostgresConnection, batch: list[_Change[Any]], way: int
    ) -> None:
        owners = {change.owner for change in batch if change.owner is not None}
        self.journal.begin(connection, owners, any(change.moves_homes for change in batch))
        left = deque(batch)
        while left:
            run = self._captured(left) if way == PIPELINED else []
            if len(run) > 1:
                self._apply_together(connection, [left.popleft() for _ in run], run)
            if left:
                change = left.popleft()
                change.result = change.error = None
                if way == SAVEPOINTS:
                    self._apply_under_savepoint(connection, change)
                else:
                    self._apply(connection, change)
        self._commit(connection)

    def _commit(self, connection: PostgresConnection) -> None:
        statements = [self.session.entry(self._number), *self.journal.statements(connection)]
        self._unknown = True
        try:
            *_, commit = connection.execute_together([*statements, ("COMMIT", ())])
        except psycopg.Error as error:
            self._unknown = is_away(error)
            raise
        self._unknown = False
        if commit.statusmessage != "COMMIT":
            raise psycopg.DatabaseError(f"the transaction ended with {commit.statusmessage}")
        self.journal.committed()

    def _captured(self, changes: Iterable[_Change[Any]]) -> list[AddMessage]:
        """The calls with which the first changes begin, as many as begin with one."""
        run: list[AddMessage] = []
        capture: Any = Capture()
        for change in changes:
            mark = self.journal.mark()
            try:
                self._verified(change).apply(capture)
            except Captured as captured:
                run.append(captured.call)
                continue
            except (Unsuited, Exception):
                pass
            self.journal.reset(mark)
            break
        return run

    def _apply_together(
        self, connection: PostgresConnection, changes: list[_Change[Any]], calls: list[AddMessage]
    ) -> None:
        """Run changes that begin with these calls. Raises _Repeat."""
        try:
            send(connection, calls)
        except Exception as error:  # a text of one message may be none that UTF-8 can encode
            if isinstance(error, psycopg.Error) and _ends_all(error):
                raise
            raise _Repeat from error
        later = Counter(change.owner for change in changes)
        for change, call in zip(changes, calls, strict=True):
            later[change.owner] -= 1
            is_last = change.owner is not None and not later[change.owner]
            replay = Replay(connection, call, is_last)
            change.result = change.error = None
            try:
                change.result = change.apply(cast(PostgresConnection, replay))
            except Unsuited as error:
                raise _Repeat(SEQUENTIAL) from error
            except psycopg.Error as error:
                if _ends_all(error):
                    raise
                raise _Repeat from error
            except Exception as error:
                if replay.wrote:
                    raise _Repeat from error
                change.error = Failure(error)

    def _apply(self, connection: PostgresConnection, change: _Change[Any]) -> None:
        """Raises _Repeat if the change has failed after it wrote."""
        connection.wrote = False
        try:
            change.result = self._verified(change).apply(connection)
        except psycopg.Error as error:
            if _ends_all(error):
                raise
            raise _Repeat from error
        except Exception as error:
            if connection.wrote:
                raise _Repeat from error
            change.error = Failure(error)

    def _apply_under_savepoint(self, connection: PostgresConnection, change: _Change[Any]) -> None:
        connection.execute("SAVEPOINT change")
        mark = self.journal.mark()
        try:
            change.result = self._verified(change).apply(connection)
        except Exception as error:
            problem: Exception = error
            if isinstance(error, psycopg.Error):
                if _ends_all(error):
                    raise
                problem = store_error(error)
            change.error = Failure(problem)
            self.journal.reset(mark)
            connection.execute("ROLLBACK TO SAVEPOINT change")
        connection.execute("RELEASE SAVEPOINT change")

    def _verified(self, change: _Change[T]) -> _Change[T]:
        """Raises Moved."""
        if change.owner is not None:
            self.journal.verify(change.owner)
        return change


def _known(error: Exception) -> Exception:
    return StoreAway(str(error)) if isinstance(error, StoreAway) else error


def _ends_all(error: psycopg.Error) -> bool:
    """Whether nothing else can be written either."""
    return (
        not isinstance(store_error(error), StoreFailed)
        or is_away(error)
        or isinstance(error, AGAIN)
    )
