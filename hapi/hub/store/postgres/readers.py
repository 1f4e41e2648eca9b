"""Reading from PostgreSQL: a few threads with a connection each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, TypeVar

import psycopg
from attrs import define, field
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread, deferToThreadPool
from twisted.python.threadpool import ThreadPool

from hapi.hub.store.interface import StoreAway, StoreFailed
from hapi.hub.store.postgres.connection import PostgresConnection, connect, is_away, store_error
from hapi.hub.store.postgres.locks import application
from hapi.hub.store.postgres.stall import StallWatch

T = TypeVar("T")
MAX_READERS = 3
READ_TIMEOUT = 10.0  # seconds that a read waits for a database that is away
RETRY_INTERVAL = 0.2  # seconds


@define(eq=False, repr=False)
class _Attempt:
    """One read, for who watches it from another thread."""

    connection: PostgresConnection | None = None

    @property
    def calls(self) -> int:
        return 0 if self.connection is None else self.connection.calls

    def interrupt(self) -> None:
        if self.connection is not None:
            self.connection.interrupt()


@define(eq=False, repr=False)
class Readers:
    """A read that finds its connection lost is made again, since it changes nothing."""

    _reactor: Any
    _url: str = field(repr=False)
    _hub_id: str
    _idle: list[PostgresConnection] = field(factory=list)
    _busy: set[_Attempt] = field(factory=set)
    _pool: ThreadPool | None = None
    _is_closed: bool = False

    async def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query. Raises StoreBusy, StoreFailed, StoreAway."""
        rows: list[Any] = await self.run(
            lambda connection: connection.execute(query, values).fetchall()
        )
        return rows

    async def run(self, work: Callable[[PostgresConnection], T]) -> T:
        """Run `work` in a thread with a connection that must not write, more than once if
        necessary.
        """
        begin = self._reactor.seconds()
        while True:
            try:
                return await self._once(work)
            except StoreAway:
                if self._is_closed or self._reactor.seconds() - begin >= READ_TIMEOUT:
                    raise
            await deferLater(self._reactor, RETRY_INTERVAL)

    async def _once(self, work: Callable[[PostgresConnection], T]) -> T:
        if self._is_closed:
            raise StoreFailed("the database is closed")
        attempt = _Attempt()
        guarded = partial(self._guarded, work, attempt)
        if not self._reactor.running:  # nobody has to wait
            return await maybeDeferred(guarded)
        if self._pool is None:
            self._pool = ThreadPool(minthreads=0, maxthreads=MAX_READERS, name="hub-reader")
            # A thread that waits for a server must not keep the process from ending.
            self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
            self._pool.start()
        self._busy.add(attempt)
        watch = StallWatch(self._reactor, attempt)
        try:
            return await deferToThreadPool(self._reactor, self._pool, guarded)
        finally:
            watch.stop()
            self._busy.discard(attempt)

    def _guarded(self, work: Callable[[PostgresConnection], T], attempt: _Attempt) -> T:
        connection: PostgresConnection | None = None
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = connect(self._url, application(self._hub_id), is_read_only=True)
            attempt.connection = connection
            try:
                result = work(connection)
            except psycopg.errors.FeatureNotSupported:
                # The statements of this connection were prepared for tables that another hub has
                # migrated since.
                connection.roll_back()
                result = work(connection)
        except psycopg.Error as error:
            if connection is not None and is_away(error):
                connection.close()
            elif connection is not None:
                with suppress(psycopg.Error):
                    connection.roll_back()
            raise store_error(error) from error
        finally:
            if connection is not None and connection.is_open:
                if self._is_closed:
                    connection.close()
                else:
                    self._idle.append(connection)
        return result

    async def close(self) -> None:
        """End reads that run, and close. One that waits for an answer to its attempt to connect
        takes until CONNECT_TIMEOUT.
        """
        self._is_closed = True
        for attempt in self._busy:
            attempt.interrupt()
        while self._idle:
            self._idle.pop().close()
        pool, self._pool = self._pool, None
        if pool is not None:
            await deferToThread(pool.stop)  # which waits for its threads
