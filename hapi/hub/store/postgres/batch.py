"""The transactions of a hub, each of which stores a batch of changes. Everything here is used in
the thread of the connection.

When a change fails after it wrote, the whole batch runs once more, with a savepoint for each
change. That is rare, and savepoints would cost each change two more statements.

Each batch stores its number. If the connection breaks after COMMIT was sent, the number tells
whether it was done: the batch is finished, or runs once more. So changes must be re-runnable, and
touch nothing but their transaction.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

import psycopg
from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hapi.hub.store.interface import StoreAway, StoreFailed
from hapi.hub.store.postgres.connection import AGAIN, PostgresConnection, is_away, store_error
from hapi.hub.store.postgres.journal import BatchJournal
from hapi.hub.store.postgres.pipeline import AddMessage, Capture, Captured, Replay, Unsuited, send
from hapi.hub.store.postgres.session import LockLost, WritingSession

T = TypeVar("T")
MAX_REPETITIONS = 3  # of a batch that met a deadlock


@define(eq=False, repr=False)
class Change(Generic[T]):
    """What one caller writes. `result` or `error` is there after the batch was stored; `done` and
    `committed` belong to the reactor's thread.
    """

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
class Batches:
    """`is_unknown`: COMMIT of the last batch was sent, without an answer."""

    session: WritingSession
    journal: BatchJournal
    is_unknown: bool = False
    _number: int = 0  # of the batch

    def begin(self) -> None:
        """What is stored from now on is another batch."""
        self._number += 1
        self.is_unknown = False

    def store(self, batch: list[Change[Any]]) -> None:
        """Store the batch, or find that it was stored. Raises StoreAway, LockLost, StoreProblem."""
        try:
            connection = self.session.connection()
            if self.is_unknown and self._was_stored(connection):
                self.journal.committed()
                return
            self.is_unknown = False
            self._store_now(connection, batch)
        except psycopg.Error as error:
            self.session.roll_back()
            if is_away(error):
                self.session.drop()
            else:
                self.is_unknown = False
            raise store_error(error) from error
        except (StoreAway, LockLost):  # it is as unknown as before
            raise
        except Exception:
            self.session.roll_back()
            self.is_unknown = False
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

    def _store_now(self, connection: PostgresConnection, batch: list[Change[Any]]) -> None:
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
        self, connection: PostgresConnection, batch: list[Change[Any]], way: int
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
        self.is_unknown = True
        try:
            *_, commit = connection.execute_together([*statements, ("COMMIT", ())])
        except psycopg.Error as error:
            self.is_unknown = is_away(error)
            raise
        self.is_unknown = False
        if commit.statusmessage != "COMMIT":
            raise psycopg.DatabaseError(f"the transaction ended with {commit.statusmessage}")
        self.journal.committed()

    def _captured(self, changes: Iterable[Change[Any]]) -> list[AddMessage]:
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
        self, connection: PostgresConnection, changes: list[Change[Any]], calls: list[AddMessage]
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

    def _apply(self, connection: PostgresConnection, change: Change[Any]) -> None:
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

    def _apply_under_savepoint(self, connection: PostgresConnection, change: Change[Any]) -> None:
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

    def _verified(self, change: Change[T]) -> Change[T]:
        """Raises Moved."""
        if change.owner is not None:
            self.journal.verify(change.owner)
        return change


def _ends_all(error: psycopg.Error) -> bool:
    """Whether nothing else can be written either."""
    return (
        not isinstance(store_error(error), StoreFailed)
        or is_away(error)
        or isinstance(error, AGAIN)
    )
