"""What `hapi doctor` finds about the hub's database: its place, its size, its limit."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from hapi.cli.base.hub_database import used_database
from hapi.cli.checks.check import Check
from hapi.cli.checks.postgres_check import check_hubs, check_postgres
from hapi.home import Home
from hapi.hub.options import HubOptions
from hapi.hub.store.backup import lost_database
from hapi.hub.store.database_files import size_on_disk
from hapi.hub.store.maintenance import database_size
from hapi.hub.store.rows import DatabaseSize
from hapi.settings import read_settings
from hapi.units import format_size

LARGE = 1 << 30  # bytes: a database without a limit that is worth a note
MUCH_FREE, FREE_SHARE = 64 << 20, 0.25  # bytes and part of the database that are worth a note
LARGE_LOG = 256 << 20  # bytes of hub.db-wal


def check_database(home: Home, environ: Mapping[str, str]) -> list[Check]:
    """Nothing, if no hub has used this home."""
    path, hub = used_database(None)
    limit = HubOptions.from_environment(environ, home=home).retention.database_size
    if not isinstance(path, Path):
        token = environ.get("CLI_API_TOKEN") or read_settings(home).get("cliApiToken") or ""
        return [check_postgres(path, limit), *check_hubs(home, path, str(token).strip())]
    if (lost := lost_database(path, hub) if hub is not None else None) is not None:
        text = (
            f"{path} was deleted or replaced while the hub (process {lost.pid}) runs, which saves "
            "nothing any more: run `hapi hub backup FILE` before the hub stops"
        )
        return [Check("database", "broken", text)]
    if not path.exists():
        return []
    return [judge(path, _size(path), limit, _log_size(path), size_on_disk(path))]


def judge(
    path: Path, size: DatabaseSize, limit: int | None, log_size: int, on_disk: int | None = None
) -> Check:
    """The finding about a database of that size; `limit` is --max-database-size in bytes."""
    text = f"{path} holds {format_size(size.used)}"
    if on_disk is not None:
        text += f" ({format_size(on_disk)} on disk)"
    if limit is not None and size.used > limit:
        text += f", more than its limit of {format_size(limit)} (--max-database-size)"
        return Check("database", "note", text)
    if log_size > LARGE_LOG:
        text = f"{path}-wal takes {format_size(log_size)}: a program reads {path} for very long"
        return Check("database", "note", text)
    if size.free > max(MUCH_FREE, size.total * FREE_SHARE) and not size.shrinks:
        text += (
            f" and {format_size(size.free)} of free space, which `hapi hub compact` gives back "
            "while the hub is stopped"
        )
        return Check("database", "note", text)
    if limit is None and size.used > LARGE:
        text += " and grows without a limit (--keep-sessions, --max-database-size)"
        return Check("database", "note", text)
    return Check("database", "good", text)


def _size(path: Path) -> DatabaseSize:
    # Without a log, everything is in the file; opening it otherwise would create one.
    more = "" if os.path.exists(f"{path}-wal") else "&immutable=1"
    uri = f"file:{quote(str(path))}?mode=ro{more}"
    with closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
        return database_size(lambda query: int(connection.execute(query).fetchone()[0]))


def _log_size(path: Path) -> int:
    with suppress(OSError):
        return os.stat(f"{path}-wal").st_size
    return 0
