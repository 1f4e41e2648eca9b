"""Searching the messages of a SQLite store: in a thread beside the reactor, for a limited time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress

from attrs import define, field

from hapi.hub.store.columns import message_from
from hapi.hub.store.database import Database
from hapi.hub.store.disk_thread import CallerThread, Worker
from hapi.hub.store.group_commit import store_error
from hapi.hub.store.interface import StoreFailed
from hapi.hub.store.message_index import MessageIndex, match_expression
from hapi.hub.store.rows import IndexProgress, SearchPage, SearchTerm

SEARCH_TIMEOUT = 3.0  # seconds; then a page is what has been found
CHECK_INTERVAL = 5_000  # steps of SQLite's virtual machine between two looks at the clock

QUERY = """
    SELECT messages.id, session_id, messages.seq, content, messages.created_at, local_id,
        invoked_at, scheduled_at, delivery, stream, search_id
    FROM search_index
    CROSS JOIN messages ON messages.search_id = search_index.rowid
    CROSS JOIN sessions ON sessions.id = messages.session_id
    WHERE search_index MATCH ? AND search_index.rowid < ? AND namespace = ? {session}
    ORDER BY search_index.rowid DESC LIMIT ?
"""
NEWEST = (1 << 63) - 1


@define(eq=False, repr=False)
class Search:
    """The searches of one open store. `worker` runs one at a time."""

    _database: Database
    index: MessageIndex
    worker: Worker = field(factory=CallerThread)
    _connection: sqlite3.Connection | None = None
    _is_closed: bool = False

    async def search(
        self,
        namespace: str,
        terms: Sequence[SearchTerm],
        limit: int,
        before: int | None,
        session_id: str | None,
    ) -> SearchPage:
        if not terms or self.index.problem:
            return SearchPage([])
        query = QUERY.format(session="" if session_id is None else "AND sessions.id = ?")
        values = [match_expression(terms), NEWEST if before is None else before, namespace]
        values += [*([] if session_id is None else [session_id]), limit + 1]
        return await self.worker.run(lambda: self._page(query, values, limit))

    def _page(self, query: str, values: list[object], limit: int) -> SearchPage:
        connection = self._open()
        deadline = time.monotonic() + SEARCH_TIMEOUT
        connection.set_progress_handler(lambda: time.monotonic() > deadline, CHECK_INTERVAL)
        rows: list[sqlite3.Row] = []
        is_cut = False
        try:
            for row in connection.execute(query, values):
                rows.append(row)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                raise store_error(error) from error
            is_cut = True
        finally:
            connection.set_progress_handler(None, 0)
        more, rows = len(rows) > limit, rows[:limit]
        following = rows[-1]["search_id"] if rows and (more or is_cut) else None
        columns = [name for name in (rows[0].keys() if rows else ()) if name != "search_id"]
        found = [message_from({name: row[name] for name in columns}) for row in rows]
        return SearchPage(found, following, is_cut)

    def _open(self) -> sqlite3.Connection:
        if self._is_closed:
            raise StoreFailed("the database is closed")
        if self._connection is None:
            self._connection = self._database.reading_connection()
        return self._connection

    async def close(self) -> None:
        """End a search that runs, and close."""
        self._is_closed = True
        connection, self._connection = self._connection, None
        if connection is not None and connection is not self._database.connection:
            with suppress(sqlite3.Error):
                connection.interrupt()
            await self.worker.run(connection.close)
        self.worker.stop()


class SearchTable:
    """The methods of IStore that index and search; documented there."""

    database: Database
    searches: Search

    async def search(
        self,
        namespace: str,
        terms: Sequence[SearchTerm],
        limit: int,
        before: int | None = None,
        session_id: str | None = None,
    ) -> SearchPage:
        return await self.searches.search(namespace, terms, limit, before, session_id)

    def index_progress(self) -> IndexProgress:
        return self.searches.index.progress

    async def index_older(self) -> bool:
        index = self.searches.index
        if index.is_complete:
            return False
        try:
            return await self.database.write(lambda connection: index.advance())
        except BaseException:
            index.restart()
            raise
