"""What `hapi doctor` finds about a hub's database in PostgreSQL."""

from __future__ import annotations

from contextlib import closing

from hapi.cli.checks.check import Check
from hapi.hub.store.database_url import DatabaseUrl
from hapi.units import format_size

FACTS = "SELECT pg_database_size(current_database()), to_regclass('hubs') IS NOT NULL"


def check_postgres(url: DatabaseUrl, limit: int | None = None) -> Check:
    """`limit` is --max-database-size in bytes."""
    try:
        import psycopg

        from hapi.hub.store.postgres.connection import connect, one_line
    except ImportError:
        text = f"{url} needs psycopg: pip install 'hapi-runner[postgres]'"
        return Check("database", "broken", text)
    try:
        with closing(connect(url.with_password, "hapi doctor", is_read_only=True)) as connection:
            size, has_tables = connection.execute(FACTS).fetchone()
    except psycopg.Error as error:
        return Check("database", "broken", f"{url} cannot be used: {one_line(error)}")
    if not has_tables:
        return Check("database", "good", f"{url} holds nothing yet")
    text = f"{url} holds {format_size(size)}"
    if limit is not None and size > limit:
        text += f", more than its limit of {format_size(limit)} (--max-database-size)"
        return Check("database", "note", text)
    return Check("database", "good", f"{text}; it is backed up with pg_dump")
