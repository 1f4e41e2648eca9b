"""The store in a PostgreSQL database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from hapi.hub.store.database_url import DatabaseUrl
from hapi.hub.store.postgres.connection import PostgresConnection
from hapi.hub.store.postgres.database import PostgresDatabase
from hapi.hub.store.postgres.index import PostgresIndex
from hapi.hub.store.postgres.listener import JournalListener
from hapi.hub.store.postgres.locks import HOLDERS
from hapi.hub.store.postgres.publisher import Publisher
from hapi.hub.store.postgres.shared_tables import SharedTables, member_from
from hapi.hub.store.postgres.transaction import PostgresTransaction
from hapi.hub.store.rows import (
    DISCARDED,
    DatabaseSize,
    IndexProgress,
    SearchPage,
    SearchTerm,
    SessionRow,
)
from hapi.hub.store.shared import DEAD_AFTER, ISharedStore, Member
from hapi.hub.store.sql_store import SqlStore
from hapi.hub.store.sql_transaction import SqlTransaction
from hapi.metrics import Histogram

T = TypeVar("T")

WHOLE_LIMIT = 500  # messages that are deleted with their session in one write
PURGED_AT_ONCE = 500  # messages
BLOCK = 8_192  # bytes: what PostgreSQL has unless it was built otherwise


@implementer(ISharedStore)
class PostgresStore(SharedTables, SqlStore):
    """The database of `url` (`postgresql://…`), used by the hub `hub_id`, a new id by default.

    `open` connects and migrates only; another hub may be active meanwhile. Whoever wants to write
    has to `acquire` the database; a turn before that fails with StoreAway. `on_lost_lock` is
    called, in the reactor's thread, if the connection was lost and another hub has acquired the
    database since: every turn fails with StoreAway from then on.
    """

    database: PostgresDatabase
    random_id = "replace(gen_random_uuid()::text, '-', '')"

    def __init__(self, url: str, reactor: Any, hub_id: str | None = None) -> None:
        self.hub_id = hub_id or uuid.uuid4().hex
        self._reactor = reactor
        self.on_lost_lock: list[Callable[[], object]] = []
        super().__init__(PostgresDatabase(url, reactor, self.hub_id, self._lost), reactor)
        self.statistics.batches = self.database.batches
        self.index = PostgresIndex()
        self.journal = self.database.journal
        self.publisher = Publisher(reactor, self.database.write, lambda: self.database.is_closing)
        self._bells: list[Callable[[], object]] = []
        self._listener: JournalListener | None = None

    def _lost(self) -> None:
        for call in self.on_lost_lock:
            call()

    def open(self) -> Deferred[None]:
        """Errs with StoreRefused: an unreachable server, a wrong password, a missing database or
        right, a server older than 13, a database of something else, a newer version of the tables.
        """
        return Deferred.fromCoroutine(self.database.open())

    def close(self) -> Deferred[None]:
        if self._listener is not None:
            self._listener.stop()
        return self.database.close()

    @property
    def batch_sizes(self) -> Histogram:
        """How many turns a transaction had."""
        return self.database.writer.sizes

    @property
    def batch_seconds(self) -> Histogram:
        """How long a transaction took, with attempts to reach the database."""
        return self.database.writer.seconds

    @property
    def confirmed_at(self) -> float:
        return self.database.writer.confirmed_at

    # --- which hub is active ----------------------------------------------------------------------

    async def acquire(self, shared: bool) -> bool:
        """Try once to become a hub that writes; False if another hub excludes it. `shared`: beside
        others that share it.
        """

        def acquire(session: Any) -> bool:
            if not session.acquire(shared):
                return False
            self.index.prepare(session.connection())
            return True

        is_acquired = await self.database.writer.call(acquire)
        if is_acquired and shared and self._listener is None:
            self.journal.is_active = True
            self.database.writer.committed.append(self._ring)
            self._listener = JournalListener(
                self._reactor, self.database.url, self.hub_id, self._ring
            )
            self._listener.start()
        return is_acquired

    async def active_hub(self) -> Member | None:
        """The hub that has acquired the database; of several the one that was seen last."""
        holders = [row for row in await self.database.read(HOLDERS) if row["id"] is not None]
        if not holders:
            return None
        return member_from(holders[0])

    async def end_stale_holder(self) -> bool:
        """End the connections of hubs that hold the database and have given no sign of life for
        DEAD_AFTER seconds; whether there were any.
        """

        def end(session: Any) -> bool:
            connection = session.connected()
            query = "SELECT pg_terminate_backend(CAST(? AS integer))"
            ended = [
                connection.execute(query, (row["pid"],)).fetchone()[0]
                for row in connection.execute(HOLDERS).fetchall()
                if row["id"] != self.hub_id and (row["silence"] or 0) > DEAD_AFTER * 1000
            ]
            return any(ended)

        return await self.database.writer.call(end)

    # --- turns ------------------------------------------------------------------------------------

    async def turn(self, owner: str, change: Callable[[SqlTransaction], T]) -> T:
        transaction: PostgresTransaction | None = None

        def apply(connection: PostgresConnection) -> T:
            nonlocal transaction
            transaction = PostgresTransaction(connection, self.index)
            result = change(transaction)
            self.journal.append_events(transaction.events)
            return result

        def committed(result: T) -> None:
            assert transaction is not None
            self._publish(transaction.events)

        return await self._counted(self.database.write(apply, committed, owner))

    async def set_delivery(self, message_id: str, delivery: str) -> bool:
        def change(turn: SqlTransaction) -> bool:
            self._verify_session_of(turn, message_id)
            return turn.set_delivery(message_id, delivery)

        return await self.turn(message_id, change)

    async def delete_message(self, message_id: str) -> SessionRow | None:
        def change(turn: SqlTransaction) -> SessionRow | None:
            self._verify_session_of(turn, message_id)
            return turn.delete_message(message_id)

        return await self.turn(message_id, change)

    def _verify_session_of(self, turn: Any, message_id: str) -> None:
        """Raises Moved if another hub serves the session of the message."""
        found = turn.connection.execute(
            "SELECT session_id FROM messages WHERE id = ?", (message_id,)
        ).fetchone()
        if found is not None:
            self.journal.verify_other(turn.connection, found[0])

    def _verify_merged(self, turn: Any, session_id: str) -> None:
        self.journal.verify_other(turn.connection, session_id)

    async def check(self) -> None:
        self.database.writer.check()

    async def probe(self) -> None:
        await self._counted(self.database.write(lambda connection: None))

    # --- maintenance ------------------------------------------------------------------------------

    async def size(self) -> DatabaseSize:
        """PostgreSQL itself uses the space of what was deleted again (autovacuum)."""
        rows = await self.database.read("SELECT pg_database_size(current_database())")
        return DatabaseSize(rows[0][0], 0, False)

    async def reclaim(self, keep: int) -> bool:
        return False

    def files(self) -> tuple[str, dict[str, int]]:
        return str(DatabaseUrl.parse(self.database.url)), {}

    async def discard_session(self, session_id: str) -> int | None:
        def discard(turn: SqlTransaction) -> int | None:
            execute = turn.connection.execute
            (count,) = execute(
                "SELECT coalesce(max(seq), 0) FROM messages WHERE session_id = ?", (session_id,)
            ).fetchone()
            if count > WHOLE_LIMIT:
                found = execute(
                    "UPDATE sessions SET namespace = ?, tag = id WHERE id = ? AND namespace <> ?",
                    (DISCARDED, session_id, DISCARDED),
                )
            else:
                found = execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            return int(count) if found.rowcount > 0 else None

        return await self.turn(session_id, discard)

    async def purge(self) -> bool:
        def purge(connection: PostgresConnection) -> bool:
            found = connection.execute(
                "SELECT id FROM sessions WHERE namespace = ? LIMIT 1", (DISCARDED,)
            ).fetchone()
            if found is None:
                return False
            deleted = connection.execute(
                "DELETE FROM messages WHERE id IN"
                " (SELECT id FROM messages WHERE session_id = ? LIMIT ?)",
                (found[0], PURGED_AT_ONCE),
            )
            if deleted.rowcount < PURGED_AT_ONCE:
                connection.execute("DELETE FROM sessions WHERE id = ?", (found[0],))
            return True

        if not await self.database.read(
            "SELECT 1 FROM sessions WHERE namespace = ? LIMIT 1", (DISCARDED,)
        ):
            return False
        return await self.database.write(purge)

    # --- searching --------------------------------------------------------------------------------

    async def search(
        self,
        namespace: str,
        terms: Sequence[SearchTerm],
        limit: int,
        before: int | None = None,
        session_id: str | None = None,
    ) -> SearchPage:
        if not terms:
            return SearchPage([])
        return await self.database.readers.run(
            lambda connection: self.index.page(
                connection, namespace, terms, limit, before, session_id
            )
        )

    def index_progress(self) -> IndexProgress:
        return self.index.progress

    async def index_older(self) -> bool:
        if self.index.is_complete:
            return False
        return self.index.advanced(*await self.database.write(self.index.advance))
