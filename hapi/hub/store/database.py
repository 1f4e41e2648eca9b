"""The SQLite file: checks when it is opened, migrations in one transaction, and writes that wait
for a lock without blocking.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.hub.store.database_files import DatabaseFiles
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull, StoreRefused
from hapi.hub.store.schema import APPLICATION, MIGRATIONS

T = TypeVar("T")
UNCHANGED = "it was not changed: replace it by a backup or move it away"
MEMORY = ":memory:"
SQLITE_BUSY_TIMEOUT = (
    0.02  # seconds that SQLite itself may wait for a lock: the reactor stands still meanwhile
)
LOCK_TIMEOUT = 5.0  # seconds that a writer waits for a lock of another program
LOCK_POLL_INTERVAL = 0.1  # seconds


def store_error(error: sqlite3.Error) -> Exception:
    """The exception of the store that corresponds to `error`."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy("the database is locked by another program")
    if primary == sqlite3.SQLITE_FULL:
        return StoreFull("no space left for the database")
    return StoreFailed(str(error))


@define(eq=False)
class Database:
    """One connection, used in the reactor's thread. Each write is one transaction, committed before
    its result is returned.
    """

    path: Path | str  # MEMORY: a database in memory
    _clock: IReactorTime
    migrations: Sequence[Sequence[str]] = MIGRATIONS
    _connection: sqlite3.Connection | None = None
    _files: DatabaseFiles | None = None  # None for a database in memory
    _writing: DeferredLock = field(factory=DeferredLock)

    log = Logger()

    def open(self) -> None:
        """Open, check and migrate. Raises StoreRefused, in which case the file is unchanged."""
        if self._connection is not None:
            return
        try:
            self._connection = self._opened()
            self._files = None if self.path == MEMORY else DatabaseFiles(Path(self.path))
        except sqlite3.Error as error:
            raise StoreRefused(self._refusal(error)) from error
        except OSError as error:
            raise StoreRefused(f"database {self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA optimize")
            if self._files is not None:
                self._files.detach()
            connection.close()

    def verify_files(self) -> None:
        """Raises StoreLost if the files of the database are not where they were opened."""
        if self._files is not None:
            self._files.verify()

    def _refusal(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return f"database {self.path} is damaged or not a database ({error}); {UNCHANGED}"
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"database {self.path} is locked by another program"
        return f"database {self.path}: {error}"

    def _opened(self) -> sqlite3.Connection:
        if self.path != MEMORY:
            path = Path(self.path)
            with suppress(FileExistsError):  # readable by its owner only, from the start
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            str(self.path), timeout=SQLITE_BUSY_TIMEOUT, isolation_level=None
        )
        try:
            self._check(connection)
            connection.execute("PRAGMA foreign_keys = ON")
            # A killed process loses nothing that was committed; a power cut may cost the last
            # moments, never the file.
            connection.execute("PRAGMA synchronous = NORMAL")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # a new database
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # see maintenance.py
            connection.execute("PRAGMA journal_mode = WAL")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        connection.row_factory = sqlite3.Row
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse a database of another program or a newer version before anything is written."""
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if tables == 0:
            return
        if application != APPLICATION:
            whose = f"application id {application}, version {version}"
            raise StoreRefused(
                f"database {self.path} belongs to another program ({whose}); it was not touched"
            )
        if version > len(self.migrations):
            known = len(self.migrations)
            what = f"version {version}, this hub knows up to {known}"
            raise StoreRefused(
                f"database {self.path} has {what}: start the newer hub, or use another file"
            )
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise StoreRefused(f"database {self.path} is damaged ({health}); {UNCHANGED}")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == len(self.migrations):
            return
        connection.execute("BEGIN EXCLUSIVE")
        try:
            (version,) = connection.execute(
                "PRAGMA user_version"
            ).fetchone()  # another hub may have migrated it meanwhile
            for statements in self.migrations[version:]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {int(APPLICATION)}")
            connection.execute(f"PRAGMA user_version = {len(self.migrations)}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    @property
    def connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreFailed("the database is closed")
        return self._connection

    def read(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of a query. Readers never wait in WAL mode."""
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise store_error(error) from error

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in a transaction. Waits up to LOCK_TIMEOUT for a database that another
        program has locked.
        """
        await self._writing.acquire()
        try:
            deadline = self._clock.seconds() + LOCK_TIMEOUT
            while True:
                try:
                    return self._transaction(change)
                except StoreBusy:
                    if self._clock.seconds() >= deadline:
                        raise
                    await deferLater(self._clock, LOCK_POLL_INTERVAL)
        finally:
            self._writing.release()

    def _transaction(self, change: Callable[[sqlite3.Connection], T]) -> T:
        connection = self.connection
        self.verify_files()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = change(connection)
                connection.execute("COMMIT")
                return result
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise store_error(error) from error
