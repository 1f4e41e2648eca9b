"""Removing sessions and giving space back, in turns that are short whatever the size of a session.

A large session is first marked as discarded, in one small write, and nobody sees it any more; its
messages are deleted in portions. A hub that is killed meanwhile goes on with that.

Space is given back by incremental vacuum (https://www.sqlite.org/pragma.html#pragma_auto_vacuum),
which moves a few pages at a time and costs appending nothing that can be measured (30,000 messages,
0.67 s of CPU either way). A database needs it from its creation on, or a VACUUM once, for
which nobody may use it (`compact`).

Measured on a busy machine (load 10 on two cores): deleting a session of 100,000 messages (196 MB)
took 61 s in the background and giving the space back 25 s. Meanwhile the hub answered `/health` in
14 and 8 ms (median) instead of 9, and a write took 41 and 28 ms instead of 27.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from hapi.hub.store.backup import check_identity
from hapi.hub.store.database import Database
from hapi.hub.store.database_files import INDEX, LOG
from hapi.hub.store.group_commit import store_error
from hapi.hub.store.interface import StoreRefused
from hapi.hub.store.rows import DISCARDED, DatabaseSize
from hapi.hub.store.search import Search

WHOLE_LIMIT = 60  # messages that are deleted with their session in one write
PURGE_BUDGET = 0.004  # seconds that one portion may keep the reactor's thread busy
INCREMENTAL = 2  # of PRAGMA auto_vacuum
VACUUM_PAGES = 8  # pages per step of an incremental vacuum, between two looks at the clock


def database_size(value: Callable[[str], int]) -> DatabaseSize:
    """`value` runs a query for one number."""
    pages, free, size, vacuum = (
        value(f"PRAGMA {name}")
        for name in ("page_count", "freelist_count", "page_size", "auto_vacuum")
    )
    return DatabaseSize((pages - free) * size, free * size, vacuum == INCREMENTAL)


class Maintenance:
    """The part of a store that removes sessions and gives space back."""

    database: Database
    searches: Search
    _is_merging = False  # the search index still takes the space of what was deleted

    async def size(self) -> DatabaseSize:
        """How large the database is."""
        return database_size(lambda query: self.database.read_now(query)[0][0])

    def files(self) -> tuple[str, dict[str, int]]:
        """The path of the database, and the sizes of its files by their suffixes, in bytes."""
        path = str(self.database.path)
        sizes = dict.fromkeys(("", LOG, INDEX), 0)
        for suffix in sizes:
            with suppress(OSError):
                sizes[suffix] = os.stat(f"{path}{suffix}").st_size
        return path, sizes

    async def discard_session(self, session_id: str) -> int | None:
        """Delete a session; how many messages it had, None if it did not exist.

        The messages of a large session remain until `purge` has deleted them, but nobody sees them.
        """

        def discard(connection: sqlite3.Connection) -> int | None:
            # The highest number, since counting takes long where it matters.
            (count,) = connection.execute(
                "SELECT coalesce(max(seq), 0) FROM messages WHERE session_id = ?", (session_id,)
            ).fetchone()
            if count > WHOLE_LIMIT:
                found = connection.execute(
                    "UPDATE sessions SET namespace = ?, tag = id WHERE id = ? AND namespace != ?",
                    (DISCARDED, session_id, DISCARDED),
                )
            else:
                found = connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
                self._is_merging = True
            return int(count) if found.rowcount > 0 else None

        return await self.database.write(discard)

    async def purge(self) -> bool:
        """Delete one portion of what was discarded; whether there may be more."""
        if not await self.database.read("SELECT 1 FROM sessions WHERE namespace = ?", (DISCARDED,)):
            return await self._merge_index()

        def purge(connection: sqlite3.Connection) -> bool:
            deadline = time.perf_counter() + PURGE_BUDGET
            while time.perf_counter() < deadline:
                found = connection.execute(
                    "SELECT id FROM sessions WHERE namespace = ? LIMIT 1", (DISCARDED,)
                ).fetchone()
                if found is None:
                    break
                deleted = connection.execute(
                    "DELETE FROM messages WHERE rowid = "
                    "(SELECT rowid FROM messages WHERE session_id = ? LIMIT 1)",
                    (found[0],),
                )
                if not deleted.rowcount:
                    connection.execute("DELETE FROM sessions WHERE id = ?", (found[0],))
            return True

        self._is_merging = True
        return await self.database.write(purge)

    async def _merge_index(self) -> bool:
        """Rewrite one portion of the search index without what was deleted; whether there may be
        more.
        """
        if self._is_merging:
            index, deadline = self.searches.index, time.perf_counter() + PURGE_BUDGET
            self._is_merging = await self.database.write(lambda _: index.merge(deadline))
        return self._is_merging

    async def reclaim(self, keep: int) -> bool:
        """Give one portion of the free space beyond `keep` bytes back to the file system; whether
        there may be more.
        """

        def reclaim(connection: sqlite3.Connection) -> bool:
            def value(query: str) -> int:
                return int(connection.execute(query).fetchone()[0])

            deadline = time.perf_counter() + PURGE_BUDGET
            while database_size(value).free > keep:
                if time.perf_counter() >= deadline:
                    return True
                connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
            return False

        size = await self.size()
        return size.shrinks and size.free > keep and await self.database.write(reclaim)


def compact(path: Path) -> tuple[int, int]:
    """Rewrite a database that nobody uses without its free pages, so that it can give space back
    while a hub runs from now on. The bytes before and after.

    An interrupted rewrite changes nothing. Raises StoreRefused.
    """
    if not path.exists():
        raise StoreRefused(f"there is no database {path}")
    before = path.stat().st_size
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            check_identity(connection, path)
            connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        reason = store_error(error)
        raise StoreRefused(
            f"database {path} was not compacted and is unchanged: {reason}"
        ) from error
    return before, path.stat().st_size
