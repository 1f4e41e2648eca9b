"""The methods of ISharedStore; documented there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from hapi.hub.store.columns import as_json, machine_from, read_document, session_from
from hapi.hub.store.postgres.connection import PostgresConnection
from hapi.hub.store.postgres.database import PostgresDatabase
from hapi.hub.store.postgres.journal import NEWEST, BatchJournal, entries_after, trim
from hapi.hub.store.postgres.publisher import Publisher
from hapi.hub.store.rows import DISCARDED, MachineRow, SessionRow
from hapi.hub.store.shared import DEAD_AFTER, Home, JournalEntry, Member

# Columns by name: a plan that is kept stays right when another hub adds one.
MEMBERS = """
    SELECT id, name, url, version, started_at, seen_at, is_draining, now_ms() - seen_at AS silence
    FROM hubs WHERE is_member = 1 ORDER BY started_at, id
"""
# The hubs that have given no sign of life for DEAD_AFTER, and those that have left nothing at all.
DEAD = (
    "hub <> ? AND hub NOT IN"
    f" (SELECT id FROM hubs WHERE seen_at >= now_ms() - {int(DEAD_AFTER * 1000)})"
)
# The first part of a file's name in the log is the timeline, which changes with each failover.
EPOCH = "SELECT cluster_id || ':' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM meta"


def member_from(row: Any) -> Member:
    """`row` has the columns of `hubs`, and `silence`: milliseconds since its last sign of life."""
    return Member(
        *(row["id"], row["name"], row["url"], row["version"], row["started_at"], row["seen_at"]),
        row["silence"] <= DEAD_AFTER * 1000,
        bool(row["is_draining"]),
    )


class SharedTables:
    database: PostgresDatabase
    hub_id: str
    journal: BatchJournal
    publisher: Publisher
    _bells: list[Callable[[], object]]

    log = Logger()

    # --- the journal

    def publish(
        self, namespace: str, kind: str, fields: dict[str, Any], live: dict[str, Any] | None = None
    ) -> None:
        if not self.journal.is_active:
            return
        body, state = as_json(fields), None if live is None else as_json(live)

        def append(connection: PostgresConnection) -> None:
            self.journal.append_encoded(namespace, kind, fields, body, state)

        self.publisher.publish(append)

    def on_journal(self, call: Callable[[], object]) -> None:
        self._bells.append(call)

    def _ring(self) -> None:
        for call in self._bells:
            call()

    async def journal_epoch(self) -> str:
        return str((await self.database.read(EPOCH))[0][0])

    async def newest_entry(self) -> int:
        return int((await self.database.read(NEWEST))[0][0])

    async def entries_after(self, entry_id: int, limit: int) -> list[JournalEntry] | None:
        return await self.database.readers.run(
            lambda connection: entries_after(connection, entry_id, limit)
        )

    async def trim_journal(self) -> bool:
        return await self.database.write(trim)

    # --- homes

    async def claim(self, owner: str, live: dict[str, Any] | None = None) -> Home:
        return await self.database.write(
            lambda connection: self.journal.claim(connection, owner, live), moves_homes=True
        )

    async def release(self, owner: str) -> None:
        await self.database.write(
            lambda connection: self.journal.release(
                connection, "owner = ? AND hub = ?", [owner, self.hub_id]
            ),
            moves_homes=True,
        )

    async def home(self, owner: str) -> Home | None:
        rows = await self.database.read(
            "SELECT owner, hub, epoch FROM homes WHERE owner = ? AND hub IS NOT NULL", (owner,)
        )
        return Home(*rows[0]) if rows else None

    async def homes(self) -> list[Home]:
        rows = await self.database.read("SELECT owner, hub, epoch FROM homes WHERE hub IS NOT NULL")
        return [Home(*row) for row in rows]

    # --- hubs

    async def join(self, name: str, url: str, version: str) -> None:
        def join(connection: PostgresConnection) -> None:
            connection.execute(
                "UPDATE hubs SET name = ?, url = ?, version = ?, is_member = 1, is_draining = 0"
                " WHERE id = ?",
                (name, url, version, self.hub_id),
            )

        await self.database.write(join)

    async def beat(self, is_draining: bool = False) -> list[Member]:
        def beat(connection: PostgresConnection) -> tuple[list[Any], bool]:
            connection.execute(
                "UPDATE hubs SET seen_at = now_ms(), is_draining = ? WHERE id = ?",
                (int(is_draining), self.hub_id),
            )
            rows: list[Any] = connection.execute(MEMBERS).fetchall()
            dead = f"SELECT EXISTS (SELECT 1 FROM homes WHERE hub IS NOT NULL AND {DEAD})"
            return rows, bool(connection.execute(dead, (self.hub_id,)).fetchone()[0])

        rows, any_dead = await self.database.write(beat, is_urgent=True)
        if any_dead:
            await self.database.write(
                lambda connection: self.journal.release(connection, DEAD, [self.hub_id]),
                moves_homes=True,
            )
        return [member_from(row) for row in rows]

    async def leave(self) -> None:
        def leave(connection: PostgresConnection) -> None:
            connection.execute("UPDATE hubs SET is_member = 0 WHERE id = ?", (self.hub_id,))
            self.journal.release(connection, "hub = ?", [self.hub_id])

        await self.database.write(leave, moves_homes=True)

    async def attend(self, name: str, url: str, version: str) -> list[Member]:
        """A sign of life of a hub that need not have acquired the database; all members."""

        def attend(session: Any) -> list[Any]:
            session.attend(name, url, version)
            rows: list[Any] = session.connected().execute(MEMBERS).fetchall()
            return rows

        return [member_from(row) for row in await self.database.writer.call(attend)]

    async def depart(self) -> None:
        """Leave the members, without homes and whether the database was acquired or not."""
        await self.database.writer.call(lambda session: session.depart())

    def is_connected(self) -> bool:
        """Whether the connection that writes is there."""
        return self.database.is_connected

    async def runs_singleton_tasks(self) -> bool:
        return await self.database.writer.call(lambda session: session.try_singleton())

    async def secret(self, name: str, made: str) -> str:
        def secret(session: Any) -> str:
            connection = session.connected()
            connection.execute(
                "INSERT INTO secrets VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, made)
            )
            query = "SELECT value FROM secrets WHERE name = ?"
            return str(connection.execute(query, (name,)).fetchone()[0])

        return await self.database.writer.call(secret)

    # --- rows

    async def live_states(self) -> dict[str, dict[str, Any]]:
        rows = await self.database.read("SELECT owner, state FROM live")
        return {row["owner"]: read_document(row["state"]) for row in rows}

    async def session_row(self, session_id: str) -> SessionRow | None:
        rows = await self.database.read(
            "SELECT * FROM sessions WHERE id = ? AND namespace <> ?", (session_id, DISCARDED)
        )
        return session_from(rows[0]) if rows else None

    async def machine_row(self, machine_id: str) -> MachineRow | None:
        rows = await self.database.read("SELECT * FROM machines WHERE id = ?", (machine_id,))
        return machine_from(rows[0]) if rows else None
