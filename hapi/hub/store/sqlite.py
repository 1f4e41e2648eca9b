"""The store in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from hapi.hub.store.database import MEMORY, Database
from hapi.hub.store.disk_thread import CallerThread, DiskThread, Worker
from hapi.hub.store.interface import IStore
from hapi.hub.store.maintenance import Maintenance
from hapi.hub.store.message_index import MessageIndex
from hapi.hub.store.search import Search, SearchTable
from hapi.hub.store.sql_store import SqlStore
from hapi.hub.store.sql_transaction import SqlTransaction

T = TypeVar("T")


@implementer(IStore)
class SqliteStore(SearchTable, Maintenance, SqlStore):
    """`path` is the file, or MEMORY. `worker` runs what waits for the disk (see Database), and
    `search_worker` the searches.
    """

    database: Database
    searches: Search

    def __init__(
        self,
        path: Path | str,
        clock: IReactorTime,
        worker: Worker | None = None,
        search_worker: Worker | None = None,
    ) -> None:
        super().__init__(Database(path, clock, worker=worker or CallerThread()), clock)
        self._search_worker = search_worker or CallerThread()

    def open(self) -> Deferred[None]:
        return self.database.open().addCallback(self._opened)

    def _opened(self, _: None) -> None:
        if not hasattr(self, "searches"):
            index = MessageIndex(self.database.connection)
            self.searches = Search(self.database, index, self._search_worker)

    def close(self) -> Deferred[None]:
        if not hasattr(self, "searches"):
            return self.database.close()
        closed = Deferred.fromCoroutine(self.searches.close())
        return closed.addBoth(lambda _: self.database.close())

    async def turn(self, owner: str, change: Callable[[SqlTransaction], T]) -> T:
        transaction: SqlTransaction | None = None

        def apply(connection: sqlite3.Connection) -> T:
            nonlocal transaction
            transaction = SqlTransaction(connection, self.searches.index)
            return change(transaction)

        def committed(result: T) -> None:
            assert transaction is not None
            self._publish(transaction.events)

        return await self._counted(self.database.write(apply, committed))

    async def check(self) -> None:
        await self.database.writer.check()

    async def probe(self) -> None:
        def write_again(connection: sqlite3.Connection) -> None:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {int(version)}")  # writes the first page

        await self._counted(self.database.write(write_again))


def file_store(path: Path, reactor: Any) -> SqliteStore:
    """The store in a file, which leaves waiting for the disk to a thread of its own."""
    return SqliteStore(path, reactor, DiskThread(reactor), DiskThread(reactor, "hub-search"))


def memory_store(clock: IReactorTime) -> SqliteStore:
    """An open store in memory."""
    store = SqliteStore(MEMORY, clock)
    store.open()
    return store
