"""A database in PostgreSQL as one end of a transfer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from attrs import define

from hapi.hub.store.interface import StoreBusy, StoreRefused
from hapi.hub.store.postgres.connection import PostgresConnection, connect, one_line
from hapi.hub.store.postgres.index import FORMAT, message_words, vector
from hapi.hub.store.postgres.locks import WRITING
from hapi.hub.store.postgres.schema import MIGRATIONS, TABLES, VERSION
from hapi.hub.store.postgres.tables import prepare
from hapi.hub.store.transfer.ends import (
    ORDERED,
    DatabaseInUse,
    Row,
    TransferFailed,
    rows_sentence,
)

APPLICATION = "hapi hub migrate"
# Of the hubs themselves, not of people.
OWN_TABLES = frozenset({"meta", "secrets", "hubs", "homes", "live", "events", "message_index"})
OWN_COLUMNS = frozenset({"rowid", "search_words"})
READ_AT_ONCE = 500  # rows
RELEASE_TIMEOUT = 2.0  # seconds in which the connections of a hub that has ended are closed
# A statement of a transfer may take long, and nobody else is held up.
SETTINGS = """
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '5s'
"""
OTHERS = """
    SELECT coalesce(nullif(hubs.name, ''), activity.application_name) AS name,
        coalesce(hubs.url, '') AS url
    FROM pg_stat_activity AS activity
    LEFT JOIN hubs ON activity.application_name = 'hapi ' || hubs.id
    WHERE activity.datname = current_database() AND activity.pid <> pg_backend_pid()
        AND activity.application_name LIKE 'hapi %'
    ORDER BY 1 LIMIT 1
"""


@define(eq=False, repr=False)
class PostgresSource:
    """A database of which one transaction is open."""

    name: str
    connection: PostgresConnection

    def _value(self, query: str) -> int:
        (found,) = self.connection.execute(query).fetchone()
        return int(found or 0)

    def tables(self) -> dict[str, tuple[str, ...]]:
        columns: dict[str, tuple[str, ...]] = {}
        for table, column in self.connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
        ).fetchall():
            if table in TABLES - OWN_TABLES and column not in OWN_COLUMNS:
                columns[table] = (*columns.get(table, ()), column)
        return columns

    def count(self, table: str) -> int:
        return self._value(f"SELECT count(*) FROM {table}")

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        selected = ", ".join(columns)
        if table == "messages":
            selected += ", search_words IS NOT NULL" if self.is_indexed() else ", false"
        order = " ORDER BY rowid" if table in ORDERED else ""
        # A cursor of the server, since a client's would hold all rows in memory.
        name = f"reading_{table}"
        self.connection.execute(f"DECLARE {name} CURSOR FOR SELECT {selected} FROM {table}{order}")
        while rows := self.connection.execute(f"FETCH {READ_AT_ONCE} FROM {name}").fetchall():
            yield from map(tuple, rows)
        self.connection.execute(f"CLOSE {name}")

    def conversations(self) -> dict[str, tuple[int, int]]:
        rows = self.connection.execute(
            "SELECT session_id, count(*), max(seq) FROM messages GROUP BY session_id"
        ).fetchall()
        return {session_id: (count, seq) for session_id, count, seq in rows}

    def is_indexed(self) -> bool:
        return bool(
            self._value(
                f"SELECT count(*) FROM message_index WHERE format = {FORMAT} AND is_complete = 1"
            )
        )


class PostgresTarget(PostgresSource):
    """A database without rows, of which the transaction is open that fills it."""

    def storable(self, row: Row) -> Row:
        """PostgreSQL's texts have no NUL."""
        if not any(isinstance(value, str) and "\0" in value for value in row):
            return row
        return tuple(
            value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row
        )

    def fill(self, table: str, columns: Sequence[str], rows: Iterator[Row]) -> None:
        names = [*columns, *(["search_words"] if table == "messages" else [])]
        if table == "messages":
            rows = self._indexed(columns, rows)
        with (
            self.connection.raw.cursor() as cursor,
            cursor.copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def _indexed(self, columns: Sequence[str], rows: Iterator[Row]) -> Iterator[Row]:
        content = columns.index("content")
        for *values, is_found in rows:
            yield (*values, vector(message_words(values[content])) if is_found else None)

    def finish(self, is_indexed: bool) -> None:
        self.connection.execute(
            "UPDATE message_index SET format = ?, is_complete = ?", (FORMAT, int(is_indexed))
        )
        self.connection.execute("COMMIT")

    def clear(self) -> None:
        """Delete all rows, in the same transaction."""
        # Pages that follow the journal have to read everything again.
        self.connection.execute(
            "UPDATE meta SET trimmed = greatest(trimmed, (SELECT coalesce(max(id), 0) FROM events))"
        )
        # The secrets as well: those of the hub whose data comes are brought by its home.
        cleared = ", ".join(sorted(TABLES - {"meta", "message_index"}))
        self.connection.execute(f"TRUNCATE {cleared}")


@contextmanager
def postgres_source(url: str, shown: str) -> Iterator[PostgresSource]:
    """The database, for reading; hubs cannot write it meanwhile. Raises TransferFailed,
    StoreRefused.
    """
    with _locked(url, shown, _check_version) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield PostgresSource(shown, connection)


@contextmanager
def postgres_target(url: str, shown: str, force: bool) -> Iterator[PostgresTarget]:
    """The database, to be filled. `force` deletes what it has. Raises TransferFailed,
    StoreRefused.
    """
    with _locked(url, shown, _prepare) as connection:
        connection.execute("BEGIN")
        target = PostgresTarget(shown, connection)
        counts = {table: target.count(table) for table in target.tables()}
        has_secrets = bool(target.count("secrets"))
        if any(counts.values()) or has_secrets:
            if not force:
                found = rows_sentence(counts) or "a hub has left its access token in it"
                raise TransferFailed(
                    f"database {shown} is not empty ({found}): use another one, or --force to "
                    "delete what it has"
                )
            target.clear()
        yield target


@contextmanager
def _locked(
    url: str, shown: str, check: Callable[[PostgresConnection, str], object]
) -> Iterator[PostgresConnection]:
    """A connection that keeps hubs from using the database, whose tables are those of today."""
    with _explained(shown), closing(_connected(url, shown)) as connection:
        check(connection, shown)
        connection.execute(SETTINGS)
        _acquire(connection, shown)
        yield connection


def _acquire(connection: PostgresConnection, shown: str) -> None:
    """Keep hubs out, active ones and those that wait. Raises DatabaseInUse."""
    deadline = time.monotonic() + RELEASE_TIMEOUT
    while True:
        (is_free,) = connection.execute("SELECT pg_try_advisory_lock(?)", (WRITING,)).fetchone()
        other = connection.execute(OTHERS).fetchone()
        if is_free and other is None:
            return
        if time.monotonic() > deadline:
            if other is not None and other["name"] == APPLICATION:
                raise DatabaseInUse(
                    f"database {shown} is in use by another `hapi hub migrate`: wait for its end, "
                    "which is a few seconds away if it was killed"
                )
            raise DatabaseInUse(f"database {shown} is in use by {_who(other)}; stop it first")
        time.sleep(0.1)


def _check_version(connection: PostgresConnection, shown: str) -> None:
    """As `prepare`, but changes nothing."""
    try:
        (version,) = connection.execute("SELECT version FROM meta").fetchone()
    except psycopg.errors.UndefinedTable as error:
        raise TransferFailed(f"database {shown} has no tables of a hub") from error
    if version < VERSION:
        raise TransferFailed(
            f"database {shown} has version {version} and this program {VERSION}: start the hub "
            "once on it, and stop it"
        )
    _prepare(connection, shown)


def _prepare(connection: PostgresConnection, shown: str) -> None:
    prepare(connection, shown, MIGRATIONS)


def _connected(url: str, shown: str) -> PostgresConnection:
    try:
        return connect(url, APPLICATION)
    except psycopg.Error as error:
        raise StoreRefused(f"database {shown}: {one_line(error)}") from error


def _who(other: Any) -> str:
    if other is None:
        return "a hub"
    name = "" if other["name"].startswith("hapi ") else f" {other['name']}"
    return f"the hub{name}" + (f" at {other['url']}" if other["url"] else "")


@contextmanager
def _explained(shown: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise TransferFailed(f"database {shown}: {one_line(error)}") from error
    except StoreBusy as error:
        raise TransferFailed(f"{error}: try again") from error
