"""The store in one SQLite file: sessions and machines. Messages are in `messages.py`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from hapi.hub.store.columns import MACHINE, SESSION, machine_from, packed, session_from
from hapi.hub.store.database import MEMORY, Database
from hapi.hub.store.interface import IdTaken, IStore, TagTaken
from hapi.hub.store.maintenance import DISCARDED, Maintenance
from hapi.hub.store.messages import MessageTable
from hapi.hub.store.rows import Document, MachineRow, SessionRow, VersionMismatch, Written

FIXED = frozenset({"id", "namespace", "tag", "created_at"})


def _insert(connection: sqlite3.Connection, table: str, row: SessionRow | MachineRow) -> None:
    names = SESSION if isinstance(row, SessionRow) else MACHINE
    marks = ", ".join("?" * len(names))
    values = [packed(name, getattr(row, name)) for name in names]
    connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)


def _update(connection: sqlite3.Connection, table: str, key: str, changes: dict[str, Any]) -> None:
    known = SESSION if table == "sessions" else MACHINE
    assert set(changes) <= set(known), changes
    sets = ", ".join(f"{name} = ?" for name in changes)
    values = [packed(name, value) for name, value in changes.items()]
    connection.execute(f"UPDATE {table} SET {sets} WHERE id = ?", [*values, key])


def _session(connection: sqlite3.Connection, session_id: str) -> SessionRow | None:
    row = connection.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
    return None if row is None else session_from(row)


@implementer(IStore)
class SqliteStore(MessageTable, Maintenance):
    """`path` is the file, or MEMORY."""

    def __init__(self, path: Path | str, clock: IReactorTime) -> None:
        super().__init__(Database(path, clock))

    def open(self) -> None:
        self.database.open()

    def close(self) -> None:
        self.database.close()

    # --- sessions ---------------------------------------------------------------------------------

    async def sessions(self) -> list[SessionRow]:
        rows = self.database.read("SELECT * FROM sessions WHERE namespace <> ?", (DISCARDED,))
        return [session_from(row) for row in rows]

    async def create_session(
        self, row: SessionRow, any_id: bool = False
    ) -> tuple[SessionRow, bool]:
        def create(connection: sqlite3.Connection) -> tuple[SessionRow, bool]:
            found = connection.execute(
                "SELECT * FROM sessions WHERE namespace = ? AND tag = ?", (row.namespace, row.tag)
            ).fetchone()
            if found is not None:
                if not any_id and found["id"] != row.id:
                    raise TagTaken(row.tag)
                return session_from(found), False
            if _session(connection, row.id) is not None:
                raise IdTaken(row.id)
            _insert(connection, "sessions", row)
            return row, True

        return await self.database.write(create)

    async def write_metadata(
        self, session_id: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        return await self._versioned(session_id, "metadata", expected, value, changes)

    async def write_agent_state(
        self, session_id: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        return await self._versioned(session_id, "agent_state", expected, value, changes)

    async def _versioned(
        self, session_id: str, name: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        def write(
            connection: sqlite3.Connection,
        ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
            row = _session(connection, session_id)
            if row is None:
                raise KeyError(session_id)
            if getattr(row, f"{name}_version") != expected:
                return VersionMismatch(row)
            everything = {name: value, f"{name}_version": expected + 1, **changes}
            _update(connection, "sessions", session_id, everything)
            return Written(evolve(row, **everything))

        return await self.database.write(write)

    async def change_session(self, session_id: str, changes: dict[str, Any]) -> SessionRow:
        def change(connection: sqlite3.Connection) -> SessionRow:
            row = _session(connection, session_id)
            if row is None:
                raise KeyError(session_id)
            _update(connection, "sessions", session_id, changes)
            return evolve(row, **changes)

        return await self.database.write(change)

    async def delete_session(self, session_id: str) -> bool:
        return await self.database.write(
            lambda connection: (
                connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,)).rowcount > 0
            )
        )

    async def merge_session(self, old: str, new: str, row: SessionRow) -> SessionRow:
        def merge(connection: sqlite3.Connection) -> SessionRow:
            if _session(connection, old) is None or _session(connection, new) is None:
                raise KeyError(old)
            (count,) = connection.execute(
                "SELECT coalesce(max(seq), 0) FROM messages WHERE session_id = ?", (old,)
            ).fetchone()
            # Two steps: the numbers are unique, and an update that shifts them one by one would
            # meet its own neighbours.
            connection.execute(
                "UPDATE messages SET seq = -(seq + ?) WHERE session_id = ?", (count, new)
            )
            connection.execute("UPDATE messages SET seq = -seq WHERE session_id = ?", (new,))
            connection.execute(
                "UPDATE messages"
                " SET local_id = NULL, invoked_at = coalesce(invoked_at, created_at)"
                " WHERE session_id = ?"
                " AND local_id IN (SELECT local_id FROM messages WHERE session_id = ?)",
                (old, new),
            )
            connection.execute(
                "UPDATE messages SET session_id = ?, moved = 1 WHERE session_id = ?", (new, old)
            )
            connection.execute("DELETE FROM sessions WHERE id = ?", (old,))
            _update(
                connection,
                "sessions",
                new,
                {name: getattr(row, name) for name in SESSION if name not in FIXED},
            )
            return row

        return await self.database.write(merge)

    # --- machines ---------------------------------------------------------------------------------

    async def machines(self) -> list[MachineRow]:
        return [machine_from(row) for row in self.database.read("SELECT * FROM machines")]

    async def create_machine(self, row: MachineRow) -> MachineRow:
        def create(connection: sqlite3.Connection) -> MachineRow:
            if (
                connection.execute("SELECT 1 FROM machines WHERE id = ?", (row.id,)).fetchone()
                is not None
            ):
                raise IdTaken(row.id)
            _insert(connection, "machines", row)
            return row

        return await self.database.write(create)

    async def write_machine(
        self, row: MachineRow, expected: MachineRow
    ) -> Written[MachineRow] | VersionMismatch[MachineRow]:
        def write(
            connection: sqlite3.Connection,
        ) -> Written[MachineRow] | VersionMismatch[MachineRow]:
            found = connection.execute("SELECT * FROM machines WHERE id = ?", (row.id,)).fetchone()
            if found is None:
                raise KeyError(row.id)
            now = machine_from(found)
            if (now.metadata_version, now.runner_state_version) != (
                expected.metadata_version,
                expected.runner_state_version,
            ):
                return VersionMismatch(now)
            _update(
                connection,
                "machines",
                row.id,
                {name: getattr(row, name) for name in MACHINE if name not in FIXED},
            )
            return Written(row)

        return await self.database.write(write)


def memory_store(clock: IReactorTime) -> SqliteStore:
    """An open store in memory."""
    store = SqliteStore(MEMORY, clock)
    store.open()
    return store
