"""A file of SQLite as one end of a transfer."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from attrs import define
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hapi.hub.store.backup import check_identity, publish, scratch_directory
from hapi.hub.store.database import Database
from hapi.hub.store.database_files import INDEX, LOG
from hapi.hub.store.message_index import (
    FORMAT,
    GENERATION_SIZE,
    MessageIndex,
    message_words,
)
from hapi.hub.store.schema import VERSION
from hapi.hub.store.transfer.ends import ORDERED, Row, TransferFailed

OWN_COLUMNS = {"messages": frozenset({"search_id"})}  # of the search index
OWN_TABLES = ("message_index", "search_index")
WRITTEN_AT_ONCE = 500  # rows
LOCK_TIMEOUT = 5.0  # seconds that another program may have the file locked


@define(eq=False, repr=False)
class SqliteSource:
    """An open file that is read in one transaction."""

    name: str
    connection: sqlite3.Connection

    def _value(self, query: str) -> int:
        (found,) = self.connection.execute(query).fetchone()
        return int(found or 0)

    def tables(self) -> dict[str, tuple[str, ...]]:
        names = [
            name
            for (name,) in self.connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            )
            if not name.startswith(("sqlite_", *OWN_TABLES))
        ]
        return {
            name: tuple(
                column[1]
                for column in self.connection.execute(f"PRAGMA table_info({name})")
                if column[1] not in OWN_COLUMNS.get(name, ())
            )
            for name in names
        }

    def count(self, table: str) -> int:
        return self._value(f"SELECT count(*) FROM {table}")

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        selected = ", ".join(columns)
        if table == "messages":
            first, last = self._index_range()
            selected += f", coalesce(search_id BETWEEN {first} AND {last}, 0)"
        order = " ORDER BY rowid" if table in ORDERED else ""
        return iter(self.connection.execute(f"SELECT {selected} FROM {table}{order}"))

    def conversations(self) -> dict[str, tuple[int, int]]:
        rows = self.connection.execute(
            "SELECT session_id, count(*), max(seq) FROM messages GROUP BY session_id"
        )
        return {session_id: (count, seq) for session_id, count, seq in rows}

    def is_indexed(self) -> bool:
        return bool(
            self._value(
                f"SELECT count(*) FROM message_index WHERE format = {FORMAT} AND is_complete = 1"
            )
        )

    def _index_range(self) -> tuple[int, int]:
        """The `search_id` of messages in the index."""
        if not self.is_indexed():
            return (1, 0)  # none: all messages have to be indexed anew
        first = self._value("SELECT generation FROM message_index") * GENERATION_SIZE
        return first, first + GENERATION_SIZE - 1


class SqliteTarget(SqliteSource):
    """A new file, in which a transaction is open."""

    def storable(self, row: Row) -> Row:
        return row

    def fill(self, table: str, columns: Sequence[str], rows: Iterator[Row]) -> None:
        names = [*columns, *(["search_id"] if table == "messages" else [])]
        marks = ", ".join("?" * len(names))
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
        if table == "messages":
            rows = self._indexed(columns.index("content"), rows)
        while portion := list(islice(rows, WRITTEN_AT_ONCE)):
            self.connection.executemany(statement, portion)

    def _indexed(self, content: int, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows with their `search_id`."""
        number = self._value("SELECT generation FROM message_index") * GENERATION_SIZE
        number += GENERATION_SIZE // 2
        has_index = self.is_indexed()
        for *values, is_found in rows:
            words = message_words(values[content]) if is_found and has_index else ""
            if not words:
                yield (*values, None)
                continue
            number += 1
            self.connection.execute(
                "INSERT INTO search_index (rowid, words) VALUES (?, ?)", (number, words)
            )
            yield (*values, number)

    def finish(self, is_indexed: bool) -> None:
        if not is_indexed:
            self.connection.execute("UPDATE message_index SET is_complete = 0")
        self.connection.execute("COMMIT")


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=LOCK_TIMEOUT, isolation_level=None
    )
    connection.text_factory = lambda content: content.decode("utf-8", "replace")
    return connection


@contextmanager
def sqlite_source(path: Path) -> Iterator[SqliteSource]:
    """The file, for reading. Raises TransferFailed, StoreRefused."""
    if not path.exists():
        raise TransferFailed(f"there is no database {path}")
    # Who may only read would leave files behind that SQLite creates beside a closed database.
    read_only = os.path.exists(f"{path}{LOG}")
    with _explained(path), closing(_connect(path, read_only)) as connection:
        check_identity(connection, path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            raise TransferFailed(
                f"database {path} has version {version} and this program {VERSION}: start the "
                "hub once on it, and stop it"
            )
        connection.execute("PRAGMA query_only = ON")
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise TransferFailed(f"database {path} is damaged ({health})")
        connection.execute("BEGIN")
        yield SqliteSource(str(path), connection)


@contextmanager
def sqlite_target(path: Path, force: bool) -> Iterator[SqliteTarget]:
    """A new file beside `path`, which takes its place when the transfer was done. Raises
    TransferFailed, StoreRefused.
    """
    _check_target(path, force)
    with _explained(path), scratch_directory(path) as scratch:
        made = scratch / "hub.db"
        _create(made)
        with closing(_connect(made, read_only=False)) as connection:
            # It is nobody's yet, and written to the disk in the end.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            MessageIndex(connection)
            connection.execute("BEGIN")
            yield SqliteTarget(str(path), connection)
            if connection.in_transaction:
                return
        _settle(path)
        publish(made, path, force)


def _create(path: Path) -> None:
    """A new database without rows."""
    database, failed = Database(path, Clock()), list[Failure]()
    database.open().addErrback(failed.append)
    database.close()
    for failure in failed:
        failure.raiseException()


def _check_target(path: Path, force: bool) -> None:
    if path.is_dir():
        raise TransferFailed(f"{path} is a directory: give the database a file name")
    if os.path.lexists(path) and not force:
        raise TransferFailed(f"{path} already exists: choose another name, or use --force")
    if not path.parent.is_dir():
        raise TransferFailed(f"{path.parent} is not an existing directory")


def _settle(path: Path) -> None:
    """Leave no log beside a file that is being replaced: it would be taken for one of the new."""
    if path.exists():
        with suppress(sqlite3.DatabaseError), closing(_connect(path, False)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    for suffix in (LOG, INDEX):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise TransferFailed(f"database {path} is locked by another program") from error
        if code == sqlite3.SQLITE_FULL:
            raise TransferFailed(f"no space left for {path}") from error
        raise TransferFailed(f"database {path}: {error}") from error
    except OSError as error:
        raise TransferFailed(f"{error.filename or path}: {error.strerror or error}") from error
