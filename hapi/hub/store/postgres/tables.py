"""Checks a PostgreSQL database before anything is written to it, and migrates its tables."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import psycopg

from hapi.hub.store.interface import StoreBusy, StoreRefused
from hapi.hub.store.postgres.connection import PostgresConnection, one_line
from hapi.hub.store.postgres.locks import HOLDERS, MIGRATION
from hapi.hub.store.postgres.schema import APPLICATION, MIN_SERVER, TABLES, Migration
from hapi.hub.store.shared import DEAD_AFTER

COLUMNS = (
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema()"
)


def prepare(connection: PostgresConnection, shown: str, migrations: Sequence[Migration]) -> None:
    """Check the database and migrate its tables, whole or not at all. `shown` is its address for
    people. Raises StoreRefused or StoreBusy, in which case nothing has been changed.
    """
    _check_server(connection, shown)
    if _version(connection, shown, migrations) >= len(migrations):
        return
    try:
        connection.execute("BEGIN")
        connection.execute("SET LOCAL statement_timeout = 0")  # an index of all messages takes long
        connection.execute("SELECT pg_advisory_xact_lock(?)", (MIGRATION,))
        version = _version(connection, shown, migrations)  # another hub may have done it meanwhile
        if version < len(migrations):
            _migrate(connection, shown, version, migrations)
        connection.execute("COMMIT")
    except psycopg.errors.LockNotAvailable as error:
        raise StoreBusy(
            f"the tables of database {shown} have to be changed, and another program uses them"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreRefused(f"database {shown}: {one_line(error)}") from error
    finally:
        with suppress(psycopg.Error):
            connection.roll_back()


def _check_server(connection: PostgresConnection, shown: str) -> None:
    info = connection.raw.info
    if info.server_version < MIN_SERVER:
        found, needed = info.server_version // 10_000, MIN_SERVER // 10_000
        raise StoreRefused(
            f"database {shown}: the server is PostgreSQL {found}, and the hub needs {needed} or"
            " newer"
        )
    encoding, schema, is_replica = connection.execute(
        "SELECT current_setting('server_encoding'), current_schema(), pg_is_in_recovery()"
    ).fetchone()
    if encoding != "UTF8":
        raise StoreRefused(
            f"database {shown} has the encoding {encoding}: create it with ENCODING 'UTF8'"
        )
    if schema is None:
        raise StoreRefused(
            f"database {shown}: {info.user} may not use a schema of its search_path; grant USAGE"
            " and CREATE on one"
        )
    if is_replica:
        raise StoreRefused(f"database {shown} is a replica, which cannot be written")


def _version(connection: PostgresConnection, shown: str, migrations: Sequence[Migration]) -> int:
    """The version of the tables, 0: there are none."""
    columns: dict[str, set[str]] = {}
    for table, column in connection.execute(COLUMNS).fetchall():
        columns.setdefault(table, set()).add(column)
    if not columns:
        return 0
    if not {"application", "version", "compat"} <= columns.get("meta", set()):
        raise StoreRefused(
            f"database {shown} has tables of another program ({_some(columns)}); it was not"
            " touched: create a database for the hub alone"
        )
    try:
        meta = connection.execute("SELECT application, version, compat FROM meta").fetchone()
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreRefused(f"database {shown}: {one_line(error)}") from error
    if meta is None or meta["application"] != APPLICATION:
        raise StoreRefused(f"database {shown} belongs to another program; it was not touched")
    if problem := too_new(connection, len(migrations)):
        raise StoreRefused(f"database {shown} {problem}")
    (may_write,) = connection.execute(
        "SELECT has_table_privilege('sessions', 'INSERT, UPDATE, DELETE')"
    ).fetchone()
    if not may_write:
        raise StoreRefused(
            f"database {shown}: {connection.raw.info.user} may not write its tables; use the role"
            " that created them"
        )
    if meta["version"] >= len(migrations) and (missing := TABLES - columns.keys()):
        raise StoreRefused(
            f"database {shown} lacks tables of a hub, or {connection.raw.info.user} may not use"
            f" them ({', '.join(sorted(missing))}): restore it from a backup, or use"
            " another database"
        )
    return int(meta["version"])


def too_new(connection: PostgresConnection, known: int) -> str:
    """What keeps a hub that knows the tables up to the version `known` from working with them; ""
    if nothing does.
    """
    version, compat = connection.execute("SELECT version, compat FROM meta").fetchone()
    if compat <= known:
        return ""
    return (
        f"has version {version}, this hub knows up to {known}: start the newer hub, or use another"
        " database"
    )


def _some(tables: dict[str, set[str]]) -> str:
    names = sorted(tables)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _migrate(
    connection: PostgresConnection, shown: str, version: int, migrations: Sequence[Migration]
) -> None:
    (may_create,) = connection.execute(
        "SELECT has_schema_privilege(current_schema(), 'CREATE')"
    ).fetchone()
    if not may_create:
        user = connection.raw.info.user
        raise StoreRefused(
            f"database {shown}: {user} may not create tables in it; make {user} its owner, or"
            " grant CREATE on its schema"
        )
    compat = migrations[-1].compat
    if version and compat > connection.execute("SELECT compat FROM meta").fetchone()[0]:
        _exclude_older(connection, shown, compat)
    for migration in migrations[version:]:
        for statement in migration.statements:
            connection.execute(statement)
    connection.execute("UPDATE meta SET version = ?, compat = ?", (len(migrations), compat))


def _exclude_older(connection: PostgresConnection, shown: str, compat: int) -> None:
    """Make sure that no hub which knows less than the version `compat` writes after this
    transaction: one that is alive is a reason to refuse, the connection of one that has given no
    sign of life for DEAD_AFTER is ended. None can acquire the database meanwhile. Raises
    StoreRefused.
    """
    silence = int(DEAD_AFTER * 1000)
    older = connection.execute(
        "SELECT name FROM hubs WHERE schema < ? AND seen_at > now_ms() - ?", (compat, silence)
    ).fetchone()
    holders = [
        row
        for row in connection.execute(HOLDERS).fetchall()
        if row["schema"] is None or row["schema"] < compat
    ]
    alive = [row["name"] for row in holders if (row["silence"] or 0) <= silence]
    if older is not None or alive:
        name = (alive[0] if older is None else older["name"]) or "unnamed"
        raise StoreRefused(
            f"database {shown} is in use by an older hub ({name}), which could not work with the"
            " tables of this one: stop it first"
        )
    for row in holders:
        connection.execute("SELECT pg_terminate_backend(CAST(? AS integer))", (row["pid"],))
