"""The connection that writes: it holds the lock WRITING, and gets it back after it was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from attrs import define, field

from hapi.hub.store.database_url import DatabaseUrl
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreRefused
from hapi.hub.store.postgres.connection import (
    PostgresConnection,
    Statement,
    connect,
    is_away,
    one_line,
    store_error,
)
from hapi.hub.store.postgres.locks import HOLDERS, MIGRATION, SINGLETON, WRITING, application
from hapi.hub.store.postgres.schema import MIGRATIONS
from hapi.hub.store.postgres.tables import prepare, too_new

ENTER = """
    INSERT INTO hubs (id, schema, started_at, seen_at, last_batch)
    VALUES (?, ?, now_ms(), now_ms(), ?)
    ON CONFLICT (id) DO UPDATE SET schema = excluded.schema, seen_at = excluded.seen_at,
        last_batch = max(hubs.last_batch, excluded.last_batch)
"""
# What hubs that have been gone for a day left behind, and sessions and machines that were deleted.
_KNOWN = "SELECT id FROM sessions UNION SELECT id FROM machines"
FORGET = (
    "DELETE FROM hubs WHERE seen_at < now_ms() - 86400000",
    f"DELETE FROM live WHERE owner NOT IN ({_KNOWN})",
    f"DELETE FROM homes WHERE hub IS NULL AND owner NOT IN ({_KNOWN})",
)


class LockLost(Exception):
    """Another hub has acquired the database, or a newer one has changed its tables."""


class TablesChanging(Exception):
    """Another hub is changing the tables at this moment."""


@define(eq=False, repr=False)
class WritingSession:
    """Everything here blocks, and is used in one thread at a time, except `interrupt`."""

    url: str = field(repr=False)
    hub_id: str
    is_shared: bool | None = None  # None: the database has not been acquired
    has_singleton: bool = False  # the lock SINGLETON is held
    _connection: PostgresConnection | None = None
    _backend: int = 0  # the server's process of the last connection
    _term: int = 0  # in which this hub has acquired the database for itself

    @property
    def calls(self) -> int:
        return 0 if self._connection is None else self._connection.calls

    def open(self) -> None:
        """Connect and migrate. Raises StoreRefused; StoreBusy if the database is locked or too
        slow, so that a later attempt may succeed.
        """
        shown = str(DatabaseUrl.parse(self.url))
        try:
            connection = connect(self.url, application(self.hub_id))
        except psycopg.Error as error:
            raise StoreRefused(f"database {shown}: {one_line(error)}") from error
        try:
            prepare(connection, shown, MIGRATIONS)
        except psycopg.Error as error:
            connection.close()
            if isinstance(problem := store_error(error), StoreBusy):
                raise problem from error
            raise StoreRefused(f"database {shown}: {one_line(error)}") from error
        except BaseException:
            connection.close()
            raise
        self._keep(connection)

    def _keep(self, connection: PostgresConnection) -> None:
        self._connection, self._backend = connection, connection.backend

    def acquire(self, shared: bool) -> bool:
        """Try once to get the lock. Raises psycopg.Error, StoreAway; StoreRefused if a newer hub
        has changed the tables since `open`.
        """
        connection = self.connected()
        if self.is_shared is not None:
            return self.is_shared == shared
        try:
            with _no_migration(connection):
                if problem := too_new(connection, len(MIGRATIONS)):
                    shown = str(DatabaseUrl.parse(self.url))
                    raise StoreRefused(f"database {shown} {problem}")
                if not _try_lock(connection, shared):
                    return False
                self.enter(connection, 0)
        except TablesChanging:
            return False
        for statement in FORGET:
            connection.execute(statement)
        since = "UPDATE hubs SET started_at = now_ms() WHERE id = ?"  # it begins to serve
        connection.execute(since, (self.hub_id,))
        if not shared:
            query = "UPDATE meta SET term = term + 1 RETURNING term"
            self._term = int(connection.execute(query).fetchone()[0])
        self.is_shared = shared
        return True

    def enter(self, connection: PostgresConnection, last_batch: int) -> None:
        """Enter this hub among those that the database knows."""
        connection.execute(*self.entry(last_batch))

    def entry(self, last_batch: int) -> Statement:
        """What enters this hub, if it was not there, with the number of its last batch."""
        return ENTER, (self.hub_id, len(MIGRATIONS), last_batch)

    def connection(self) -> PostgresConnection:
        """The connection, which holds the lock. Raises psycopg.Error, StoreAway, LockLost."""
        if self.is_shared is None:
            raise StoreAway("this hub has not acquired the database")
        return self.connected()

    def connected(self) -> PostgresConnection:
        """The connection, whether the database was acquired or not."""
        if self._connection is not None and self._connection.is_open:
            return self._connection
        if not self._backend:
            raise StoreAway("the database is closed")
        before, self.has_singleton = self._backend, False
        connection = connect(self.url, application(self.hub_id))
        try:
            if self.is_shared is not None:
                self._acquire_again(connection, self.is_shared, before)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return connection

    def _acquire_again(self, connection: PostgresConnection, shared: bool, before: int) -> None:
        # The server may not have noticed that the connection before is gone, and holds its lock.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid = ? AND application_name = ?",
            (before, application(self.hub_id)),
        )
        try:
            with _no_migration(connection):
                if too_new(connection, len(MIGRATIONS)):
                    raise LockLost
                is_acquired = _try_lock(connection, shared)
        except TablesChanging as error:
            raise StoreAway("another hub is changing the tables of the database") from error
        if is_acquired:
            (term,) = connection.execute("SELECT term FROM meta").fetchone()
            if not shared and term != self._term:  # another hub has served meanwhile
                raise LockLost
            return
        for holder in connection.execute(HOLDERS).fetchall():
            if holder["id"] not in (None, self.hub_id):
                raise LockLost
        raise StoreAway("the lock of the connection before is still held")

    def attend(self, name: str, url: str, version: str) -> None:
        """A sign of life of a hub that may not have acquired the database."""
        connection = self.connected()
        self.enter(connection, 0)
        connection.execute(
            "UPDATE hubs SET name = ?, url = ?, version = ?, is_member = 1 WHERE id = ?",
            (name, url, version, self.hub_id),
        )

    def depart(self) -> None:
        """This hub leaves the others, whether it has acquired the database or not."""
        connection = self.connected()
        connection.execute("UPDATE hubs SET is_member = 0 WHERE id = ?", (self.hub_id,))

    @property
    def is_connected(self) -> bool:
        """Whether the connection that writes is there, also if nobody uses it. Does not block, and
        may be asked in any thread.
        """
        connection = self._connection
        return connection is not None and connection.is_connected()

    def try_singleton(self) -> bool:
        """Whether this connection holds the lock SINGLETON by now."""
        connection = self.connection()
        if not self.has_singleton:
            self.has_singleton = bool(
                connection.execute("SELECT pg_try_advisory_lock(?)", (SINGLETON,)).fetchone()[0]
            )
        return self.has_singleton

    def roll_back(self) -> None:
        if self._connection is not None and self._connection.is_open:
            try:
                self._connection.roll_back()
            except psycopg.Error as error:
                if is_away(error):
                    self.drop()

    def interrupt(self) -> None:
        """From another thread: what waits for an answer fails at once."""
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def drop(self) -> None:
        """Forget a connection that is lost."""
        self.has_singleton = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Give everything up. A hub without a name is forgotten: nobody looks for it."""
        if self._connection is not None and self._connection.is_open and self.is_shared is not None:
            with suppress(psycopg.Error):
                self._connection.execute(
                    "DELETE FROM hubs WHERE id = ? AND is_member = 0", (self.hub_id,)
                )
                # The server notices the end of the connection a moment later.
                self._connection.execute("SELECT pg_advisory_unlock_all()")
        self.drop()
        self.is_shared, self._backend = None, 0


@contextmanager
def _no_migration(connection: PostgresConnection) -> Iterator[None]:
    """Nobody changes the tables meanwhile: who acquires the database either is seen by the one who
    wants to change them, or sees what has been changed. Raises TablesChanging.
    """
    query = "SELECT pg_try_advisory_lock_shared(?)"
    if not connection.execute(query, (MIGRATION,)).fetchone()[0]:
        raise TablesChanging
    try:
        yield
    finally:
        if connection.is_open:
            connection.execute("SELECT pg_advisory_unlock_shared(?)", (MIGRATION,))


def _try_lock(connection: PostgresConnection, shared: bool) -> bool:
    kind = "_shared" if shared else ""
    query = f"SELECT pg_try_advisory_lock{kind}(?)"
    return bool(connection.execute(query, (WRITING,)).fetchone()[0])
