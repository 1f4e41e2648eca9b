"""A connection to PostgreSQL with the manners of one to SQLite: `?` for values, rows by name and by
number. It blocks, and is used in one thread at a time.
"""

from __future__ import annotations

import logging
import os
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8Dumper

from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.rows import MessageRow

ADD = f"SELECT * FROM add_message({', '.join('?' * 13)})"
PREPARED = 100  # statements of a connection that psycopg keeps prepared, those last used
CONNECT_TIMEOUT = 5  # seconds
# Both ends find out within some 11 s that the other one is gone.
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}
# Nobody waits longer for a lock, and nobody keeps others waiting longer. TCP's settings are those
# of the server's end; a Unix socket ignores them.
SETTINGS = """
    SET lock_timeout = '5s'; SET statement_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s';
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
    SET client_min_messages = 'warning'; SET TimeZone = 'UTC'
"""
NO_PASSWORD = "no password supplied"  # libpq, to a server that asks for one
READ_ONLY = "; SET default_transaction_read_only = on"

# psycopg logs what it also raises; without a handler Python would print it on the terminal.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

# The connection ends with these errors, or nothing can be written on this server any more.
_AWAY = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,
)
_BUSY = (errors.LockNotAvailable, errors.QueryCanceled)
_FULL = (errors.DiskFull, errors.OutOfMemory)
# The same statements may succeed when they are tried again.
AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)


Statement = tuple[str, Sequence[Any]]  # with `?` for values, and the values


class Row(tuple[Any, ...]):
    """A row whose columns are found by name as well."""

    numbers: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return tuple.__getitem__(self, self.numbers[key] if isinstance(key, str) else key)

    def keys(self) -> list[str]:
        return list(self.numbers)


@cache
def _row_type(names: tuple[str, ...]) -> type[Row]:
    numbers = {name: number for number, name in enumerate(names)}
    return type("Row", (Row,), {"numbers": numbers})


def _row_factory(cursor: Any) -> Callable[[Sequence[Any]], Any]:
    if cursor.description is None:
        return tuple
    return _row_type(tuple(column.name for column in cursor.description))


@lru_cache(maxsize=2_000)
def numbered(query: str) -> str:
    """`query` with PostgreSQL's marks for values, `$1`, in the place of `?`."""
    first, *others = query.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(others, 1))


def without_nul(value: Any) -> Any:
    """PostgreSQL's texts have no NUL."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def as_text(values: Sequence[Any]) -> list[Any]:
    """Values of a statement whose types the server knows: it is prepared once for all of them."""
    return [None if value is None else without_nul(str(value)) for value in values]


def is_away(error: BaseException) -> bool:
    """Whether the connection is lost, or that to a server on which nothing can be written."""
    if isinstance(error, _AWAY):
        return True
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


def store_error(error: psycopg.Error) -> Exception:
    """The exception of the store that corresponds to `error`."""
    if is_away(error):
        return StoreAway(one_line(error))
    if isinstance(error, _BUSY):
        return StoreBusy("the database is locked by another program, or too slow")
    if isinstance(error, _FULL):
        return StoreFull("no space left for the database")
    return StoreFailed(one_line(error))


def one_line(error: BaseException) -> str:
    """What libpq or the server says, in one line."""
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if NO_PASSWORD in text:
        text += "; the password belongs in ~/.pgpass or the variable PGPASSWORD"
    return text.removeprefix("connection failed: ")


class PostgresConnection:
    """`wrote`: a statement may have changed something since it was set to False. `calls` counts the
    statements.
    """

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw, self.wrote, self.calls = raw, False, 0
        self.prepared_until = -1  # see pipeline.py: ADD is prepared as long as `calls` is lower
        self.backend: int = raw.info.backend_pid
        self.descriptor = raw.fileno()

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Any:
        """Raises psycopg.Error."""
        self.calls += 1
        if not self.wrote and not query.lstrip().startswith("SELECT"):
            self.wrote = True
        cursor = self.raw.cursor()
        if values:
            return cursor.execute(numbered(query), [without_nul(value) for value in values])
        return cursor.execute(query)

    def execute_together(self, statements: Sequence[Statement]) -> list[Any]:
        """Execute statements in one round trip; a cursor for each. After one that fails none of the
        others is executed. Raises psycopg.Error.
        """
        self.calls += len(statements)
        self.wrote = True
        cursors: list[Any] = []
        with self.raw.pipeline():
            for query, values in statements:
                marked = numbered(query) if values else query
                given = [without_nul(value) for value in values]
                cursors.append(self.raw.cursor().execute(marked, given or None))
        return cursors

    def roll_back(self) -> None:
        """End a transaction, and prepare all statements anew: those of before may be for tables
        that another hub has migrated since. psycopg does so if it has not met the text before.
        """
        self.prepared_until = -1
        self.execute(f"ROLLBACK -- {self.calls}")

    def add_message(self, row: MessageRow, make: Callable[[Any], Any]) -> Any:
        """Execute the call that `make` makes up; see pipeline.py."""
        call = make(self)
        self.wrote = True
        call.result = self.execute(ADD, as_text(call.values)).fetchone()
        return call

    @property
    def is_open(self) -> bool:
        return not self.raw.closed

    def is_connected(self) -> bool:
        """Whether the other end has not closed it. Safe in any thread."""
        ended = select.poll()
        ended.register(self.descriptor, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        try:
            return not ended.poll(0)
        except OSError:
            return False

    def interrupt(self) -> None:
        """End the connection from another thread: what waits for an answer fails at once."""
        with suppress(OSError), socket.socket(fileno=os.dup(self.descriptor)) as twin:
            twin.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(psycopg.Error):
            self.raw.close()


def connect(url: str, name: str, is_read_only: bool = False) -> PostgresConnection:
    """Connect as the application `name`. Raises psycopg.Error."""
    given: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT,
        **KEEPALIVES,
        **conninfo_to_dict(url),
        "application_name": name,
    }
    if "," in str(given.get("host", "")):  # the one of several servers that can be written
        given.setdefault("target_session_attrs", "read-write")
    raw = psycopg.connect(
        **given, autocommit=True, cursor_factory=psycopg.RawCursor, row_factory=_row_factory
    )
    raw.adapters.register_dumper(int, Int8Dumper)
    raw.prepare_threshold, raw.prepared_max = 2, PREPARED
    try:
        raw.execute(SETTINGS + (READ_ONLY if is_read_only else ""))
    except BaseException:
        raw.close()
        raise
    return PostgresConnection(raw)
