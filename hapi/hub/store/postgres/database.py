"""An open PostgreSQL database: the connection that writes, and those that read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from hapi.hub.store.disk_thread import DiskThread, Worker
from hapi.hub.store.interface import BatchStatistics, StoreFailed
from hapi.hub.store.postgres.batch import Batches
from hapi.hub.store.postgres.connection import PostgresConnection
from hapi.hub.store.postgres.journal import BatchJournal
from hapi.hub.store.postgres.readers import Readers
from hapi.hub.store.postgres.session import WritingSession
from hapi.hub.store.postgres.writer import PostgresWriter
from hapi.one_shot import OneShotObserver

T = TypeVar("T")


@define(eq=False, repr=False)
class PostgresDatabase:
    """`lost` is called, in the reactor's thread, when another hub has acquired the database."""

    url: str = field(repr=False)
    _reactor: Any
    hub_id: str
    lost: Callable[[], object]
    _worker: Worker = field(init=False)
    _writer: PostgresWriter = field(init=False)
    readers: Readers = field(init=False)
    journal: BatchJournal = field(init=False)
    _is_open: bool = field(default=False, init=False)
    _closing: bool = field(default=False, init=False)
    _closed: OneShotObserver[None] = field(factory=OneShotObserver, init=False)

    def __attrs_post_init__(self) -> None:
        self._worker = DiskThread(self._reactor)
        session = WritingSession(self.url, self.hub_id)
        self.journal = BatchJournal(self.hub_id)
        batches = Batches(session, self.journal)
        self._writer = PostgresWriter(self._reactor, self._worker, batches, self.lost)
        self.readers = Readers(self._reactor, self.url, self.hub_id)

    async def open(self) -> None:
        """Connect, check and migrate. Raises StoreRefused. Idempotent."""
        if not self._is_open:
            await self._worker.run(self._writer.session.open)
            self._is_open = True

    @property
    def is_closing(self) -> bool:
        return self._closing

    @property
    def batches(self) -> BatchStatistics:
        return BatchStatistics(self._writer.sizes, self._writer.seconds)

    @property
    def writer(self) -> PostgresWriter:
        if not self._is_open:
            raise StoreFailed("the database is closed")
        return self._writer

    @property
    def is_connected(self) -> bool:
        return self._is_open and self._writer.session.is_connected

    def close(self) -> Deferred[None]:
        """Finish all changes, then close. Idempotent."""
        if not self._closing:
            self._closing = True
            Deferred.fromCoroutine(self._close()).addBoth(self._closed.fire)
        return self._closed.when_fired()

    async def _close(self) -> None:
        await self._writer.close()
        self._is_open = False
        await self.readers.close()
        await self._worker.run(self._writer.session.close)
        self._worker.stop()

    async def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query. Raises StoreBusy, StoreFailed, StoreAway."""
        if not self._is_open:
            raise StoreFailed("the database is closed")
        return await self.readers.read(query, values)

    async def write(
        self,
        change: Callable[[PostgresConnection], T],
        committed: Callable[[T], object] = lambda result: None,
        owner: str | None = None,
        moves_homes: bool = False,
        is_urgent: bool = False,
    ) -> T:
        """Run `change` in a transaction; see PostgresWriter.write."""
        return await self.writer.write(change, committed, owner, moves_homes, is_urgent)
