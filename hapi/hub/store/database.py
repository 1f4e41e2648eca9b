"""The SQLite file: checks when it is opened, migrations in one transaction, a connection for
writing and one for reading.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from hapi.home import make_private
from hapi.hub.store.database_files import DatabaseFiles
from hapi.hub.store.disk_thread import CallerThread, Worker
from hapi.hub.store.group_commit import GroupCommit, store_error
from hapi.hub.store.interface import StoreFailed, StoreRefused
from hapi.hub.store.schema import APPLICATION, MIGRATIONS
from hapi.one_shot import OneShotObserver

T = TypeVar("T")
UNCHANGED = "it was not changed: replace it by a backup or move it away"
MEMORY = ":memory:"
READ_TIMEOUT = (
    0.02  # seconds that SQLite itself may wait for a lock: the reactor stands still meanwhile
)
MIN_FREE_SPACE = 128 << 10  # bytes: what SQLite creates beside a database, twice
OPEN_TIMEOUT = 1.0  # seconds: the same while the database is opened, in the worker
MAX_KEPT_WAL = 64 << 20  # bytes of the write-ahead log that are kept for reuse


def _read_leniently(
    connection: sqlite3.Connection, query: str, values: Sequence[Any]
) -> list[sqlite3.Row]:
    """The rows of a query, some of which hold a text that is damaged: not UTF-8."""
    connection.text_factory = lambda content: content.decode("utf-8", "replace")
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise store_error(error) from error
    finally:
        connection.text_factory = str


def free_space(path: Path) -> int:
    """The bytes that are free on the disk of a file."""
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return 0


@define(eq=False, repr=False)
class Database:
    """Each change is committed, and on the disk, before its result is returned. Reads see what has
    been committed.

    `worker` runs what waits for the disk; without one, everything runs in the caller's thread.
    """

    path: Path | str  # MEMORY: a database in memory
    _clock: IReactorTime
    migrations: Sequence[Sequence[str]] = MIGRATIONS
    worker: Worker = field(factory=CallerThread)
    _writer: GroupCommit | None = field(default=None, init=False)
    _reader: sqlite3.Connection | None = field(default=None, init=False)
    _closing: bool = field(default=False, init=False)
    _closed: OneShotObserver[None] = field(factory=OneShotObserver, init=False)
    _files: DatabaseFiles | None = field(default=None, init=False)  # None: a database in memory

    def open(self) -> Deferred[None]:
        """Open, check and migrate. Errs with StoreRefused, in which case the file is unchanged.
        Idempotent.
        """
        if self._writer is not None:
            return succeed(None)
        opened: Deferred[Any] = self.worker.run(self._connect)
        return opened.addCallback(self._opened)

    def close(self) -> Deferred[None]:
        """Finish all changes, then close. Idempotent."""
        if not self._closing:
            self._closing = True
            Deferred.fromCoroutine(self._close()).addBoth(self._closed.fire)
        return self._closed.when_fired()

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.drained()
            reader, self._reader = self._reader, None
            await self.worker.run(lambda: self._disconnect(writer.connection, reader))
        self.worker.stop()

    def _disconnect(self, writer: sqlite3.Connection, reader: sqlite3.Connection | None) -> None:
        with suppress(sqlite3.Error):
            writer.execute("PRAGMA optimize")
        if self._files is not None:
            self._files.detach()
        if reader is not None:
            reader.close()
        writer.close()

    # --- opening ----------------------------------------------------------------------------------

    def _connect(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        try:
            return self._connections()
        except sqlite3.Error as error:
            raise StoreRefused(self._refusal(error)) from error
        except OSError as error:
            raise StoreRefused(f"database {self.path}: {error.strerror or error}") from error

    def _opened(self, connections: tuple[sqlite3.Connection, sqlite3.Connection]) -> None:
        self._files = None if self.path == MEMORY else DatabaseFiles(Path(self.path))
        writer, self._reader = connections
        self._writer = GroupCommit(writer, self._clock, self.worker, self.verify_files)

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
        # SQLite reports an I/O error if there is no room for the files beside the database.
        if code == sqlite3.SQLITE_FULL or (
            code == sqlite3.SQLITE_IOERR and free_space(Path(self.path)) < MIN_FREE_SPACE
        ):
            return f"database {self.path}: no space left on its disk"
        return f"database {self.path}: {error}"

    def _connections(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        if self.path != MEMORY:
            path = Path(self.path)
            try:  # readable by its owner only, from the start
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            except FileExistsError:  # SQLite gives the mode of the database to the files beside it
                for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                    make_private(each)
        writer = self._connection(OPEN_TIMEOUT)
        try:
            self._check(writer)
            writer.execute("PRAGMA foreign_keys = ON")
            # What is committed survives a power cut as well as the end of the process.
            writer.execute("PRAGMA synchronous = FULL")
            if writer.execute("PRAGMA user_version").fetchone()[0] == 0:  # a new database
                writer.execute("PRAGMA auto_vacuum = INCREMENTAL")  # see maintenance.py
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute(f"PRAGMA journal_size_limit = {MAX_KEPT_WAL}")
            self._migrate(writer)
            writer.execute("PRAGMA busy_timeout = 0")  # waiting is done on the reactor's clock
            if self.path == MEMORY:
                return writer, writer
            reader = self._connection(READ_TIMEOUT)
            reader.execute("PRAGMA query_only = ON")
            # The first read opens the log and its index; later they may have no name any more.
            reader.execute("SELECT 1 FROM sqlite_master").fetchone()
        except BaseException:
            writer.close()
            raise
        return writer, reader

    def _connection(self, timeout: float) -> sqlite3.Connection:
        # The reactor and the worker use a connection in turns, never at the same time.
        connection = sqlite3.connect(
            str(self.path), timeout=timeout, isolation_level=None, check_same_thread=False
        )
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

    # --- reading and writing ----------------------------------------------------------------------

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that writes."""
        return self.writer.connection

    @property
    def writer(self) -> GroupCommit:
        if self._writer is None:
            raise StoreFailed("the database is closed")
        return self._writer

    def reading_connection(self) -> sqlite3.Connection:
        """Another connection for reading, to be used in one thread at a time and closed by the
        caller; that of a database in memory is the one that writes.
        """
        if self.path == MEMORY:
            return self.connection
        connection = self._connection(READ_TIMEOUT)
        connection.execute("PRAGMA query_only = ON")
        return connection

    async def read(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of a query. Readers never wait in WAL mode."""
        return self.read_now(query, values)

    def read_now(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The same for who cannot await."""
        if self._reader is None:
            raise StoreFailed("the database is closed")
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise store_error(error) from error
            return _read_leniently(self._reader, query, values)
        except sqlite3.Error as error:
            raise store_error(error) from error

    async def write(
        self,
        change: Callable[[sqlite3.Connection], T],
        committed: Callable[[T], object] = lambda result: None,
    ) -> T:
        """Run `change` in a transaction; see GroupCommit.write."""
        return await self.writer.write(change, committed)
