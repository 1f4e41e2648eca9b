"""The tables of sessions, machines, tokens and recipients, and what a store has in common with the
other ones. Messages are in `messages.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from hapi.hub.store.columns import (
    MACHINE,
    RECIPIENT,
    SESSION,
    TOKEN,
    Indexing,
    SqlConnection,
    SqlDatabase,
    machine_from,
    packed,
    recipient_from,
    session_from,
)
from hapi.hub.store.interface import (
    IdTaken,
    ITransaction,
    NameTaken,
    StoreBusy,
    StoreFailed,
    StoreFull,
    StoreStatistics,
    TagTaken,
)
from hapi.hub.store.messages import MessageChanges, MessageTable
from hapi.hub.store.rows import (
    Added,
    Consumed,
    Document,
    MachineRow,
    MessageRow,
    RecipientRow,
    SessionRow,
    TokenRow,
    TurnEvent,
    VersionMismatch,
    Written,
)
from hapi.hub.store.scratchlist import ScratchlistChanges, ScratchlistTables
from hapi.hub.store.share_links import ShareLinkChanges, ShareLinkTable
from hapi.hub.store.token_use import TokenUseTable

T = TypeVar("T")

DISCARDED = "\x1fdiscarded"  # the namespace of discarded sessions; no token opens it
FIXED = frozenset({"id", "namespace", "tag", "created_at"})


def _insert(connection: SqlConnection, table: str, row: SessionRow | MachineRow) -> None:
    names = SESSION if isinstance(row, SessionRow) else MACHINE
    marks = ", ".join("?" * len(names))
    values = [packed(name, getattr(row, name)) for name in names]
    connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)


def _update(connection: SqlConnection, table: str, key: str, changes: dict[str, Any]) -> None:
    known = SESSION if table == "sessions" else MACHINE
    assert set(changes) <= set(known), changes
    sets = ", ".join(f"{name} = ?" for name in changes)
    values = [packed(name, value) for name, value in changes.items()]
    connection.execute(f"UPDATE {table} SET {sets} WHERE id = ?", [*values, key])


def _session(connection: SqlConnection, session_id: str) -> SessionRow | None:
    """The row of a session that was not discarded."""
    row = connection.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
    return None if row is None or row["namespace"] == DISCARDED else session_from(row)


@implementer(ITransaction)
class SqlTransaction(MessageChanges, ScratchlistChanges, ShareLinkChanges):
    """One turn, on the connection that has its transaction open."""

    def __init__(self, connection: SqlConnection, index: Indexing) -> None:
        super().__init__(connection, index)
        self.events: list[TurnEvent] = []

    def publish(self, namespace: str, kind: str, **fields: Any) -> None:
        self.events.append(TurnEvent(namespace, kind, fields))

    # --- sessions ---------------------------------------------------------------------------------

    def session(self, session_id: str) -> SessionRow | None:
        return _session(self.connection, session_id)

    def create_session(self, row: SessionRow, any_id: bool = False) -> tuple[SessionRow, bool]:
        found = self.connection.execute(
            "SELECT * FROM sessions WHERE namespace = ? AND tag = ?", (row.namespace, row.tag)
        ).fetchone()
        if found is not None:
            if not any_id and found["id"] != row.id:
                raise TagTaken(row.tag)
            return session_from(found), False
        if self.connection.execute("SELECT 1 FROM sessions WHERE id = ?", (row.id,)).fetchone():
            raise IdTaken(row.id)
        _insert(self.connection, "sessions", row)
        return row, True

    def write_metadata(
        self, session_id: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        return self._versioned(session_id, "metadata", expected, value, changes)

    def write_agent_state(
        self, session_id: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        return self._versioned(session_id, "agent_state", expected, value, changes)

    def _versioned(
        self, session_id: str, name: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        row = self.session(session_id)
        if row is None:
            raise KeyError(session_id)
        if getattr(row, f"{name}_version") != expected:
            return VersionMismatch(row)
        everything = {name: value, f"{name}_version": expected + 1, **changes}
        _update(self.connection, "sessions", session_id, everything)
        return Written(evolve(row, **everything))

    def change_session(self, session_id: str, changes: dict[str, Any]) -> SessionRow:
        row = self.session(session_id)
        if row is None:
            raise KeyError(session_id)
        _update(self.connection, "sessions", session_id, changes)
        return evolve(row, **changes)

    def delete_session(self, session_id: str) -> bool:
        return (
            self.connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,)).rowcount > 0
        )

    def merge_session(self, old: str, new: str, row: SessionRow) -> SessionRow:
        execute = self.connection.execute
        earlier, later = self.session(old), self.session(new)
        if earlier is None or later is None:
            raise KeyError(old)
        # Two steps: the numbers are unique, and an update that shifts them one by one would meet
        # its own neighbours.
        execute(
            "UPDATE messages SET seq = -(seq + ?), created_at = max(created_at, ?),"
            " invoked_at = max(invoked_at, ?) WHERE session_id = ?",
            (earlier.last_seq, earlier.last_time, earlier.last_time, new),
        )
        execute("UPDATE messages SET seq = -seq WHERE session_id = ?", (new,))
        execute(
            "UPDATE messages"
            " SET local_id = NULL, invoked_at = coalesce(invoked_at, created_at)"
            " WHERE session_id = ?"
            " AND local_id IN (SELECT local_id FROM messages WHERE session_id = ?)",
            (old, new),
        )
        execute(
            "UPDATE share_links SET until_seq = until_seq + ? WHERE session_id = ?",
            (earlier.last_seq, new),
        )
        execute("UPDATE share_links SET session_id = ? WHERE session_id = ?", (new, old))
        execute("UPDATE messages SET session_id = ?, moved = 1 WHERE session_id = ?", (new, old))
        for table in ("scratch_entries", "scratch_files"):
            execute(
                f"UPDATE {table} SET session_id = ? WHERE session_id = ?"
                f" AND id NOT IN (SELECT id FROM {table} WHERE session_id = ?)",
                (new, old, new),
            )
        execute("DELETE FROM sessions WHERE id = ?", (old,))
        merged = evolve(
            row,
            last_seq=earlier.last_seq + later.last_seq,
            last_time=max(earlier.last_time, later.last_time),
        )
        _update(
            self.connection,
            "sessions",
            new,
            {name: getattr(merged, name) for name in SESSION if name not in FIXED},
        )
        return merged

    # --- machines ---------------------------------------------------------------------------------

    def _machine(self, machine_id: str) -> MachineRow | None:
        row = self.connection.execute(
            "SELECT * FROM machines WHERE id = ?", (machine_id,)
        ).fetchone()
        return None if row is None else machine_from(row)

    def create_machine(self, row: MachineRow) -> MachineRow:
        if self._machine(row.id) is not None:
            raise IdTaken(row.id)
        _insert(self.connection, "machines", row)
        return row

    def write_machine(
        self, row: MachineRow, expected: MachineRow
    ) -> Written[MachineRow] | VersionMismatch[MachineRow]:
        now = self._machine(row.id)
        if now is None:
            raise KeyError(row.id)
        if (now.metadata_version, now.runner_state_version) != (
            expected.metadata_version,
            expected.runner_state_version,
        ):
            return VersionMismatch(now)
        _update(
            self.connection,
            "machines",
            row.id,
            {name: getattr(row, name) for name in MACHINE if name not in FIXED},
        )
        return Written(row)

    # --- access tokens ----------------------------------------------------------------------------

    def create_token(self, row: TokenRow) -> TokenRow:
        taken = self.connection.execute(
            "SELECT 1 FROM access_tokens WHERE namespace = ? AND name = ?",
            (row.namespace, row.name),
        ).fetchone()
        if taken is not None:
            raise NameTaken(row.name)
        marks = ", ".join("?" * len(TOKEN))
        self.connection.execute(
            f"INSERT INTO access_tokens ({', '.join(TOKEN)}) VALUES ({marks})",
            [getattr(row, name) for name in TOKEN],
        )
        return row

    def change_token(self, token_id: str, changes: dict[str, Any]) -> TokenRow:
        assert set(changes) <= {"machine_id", "last_used_at"}, changes
        sets = ", ".join(f"{name} = ?" for name in changes)
        self.connection.execute(
            f"UPDATE access_tokens SET {sets} WHERE id = ?", [*changes.values(), token_id]
        )
        row = self.connection.execute(
            "SELECT * FROM access_tokens WHERE id = ?", (token_id,)
        ).fetchone()
        if row is None:
            raise KeyError(token_id)
        return TokenRow(**row)

    def delete_token(self, token_id: str) -> bool:
        deleted = self.connection.execute("DELETE FROM access_tokens WHERE id = ?", (token_id,))
        return deleted.rowcount > 0

    # --- recipients of notifications --------------------------------------------------------------

    def write_recipient(self, row: RecipientRow) -> RecipientRow:
        marks = ", ".join("?" * len(RECIPIENT))
        self.connection.execute(
            "DELETE FROM notification_recipients WHERE id = ? OR (kind = ? AND address = ?)",
            (row.id, row.kind, row.address),
        )
        self.connection.execute(
            f"INSERT INTO notification_recipients ({', '.join(RECIPIENT)}) VALUES ({marks})",
            [packed(name, getattr(row, name)) for name in RECIPIENT],
        )
        return row

    def delete_recipient(self, recipient_id: str) -> bool:
        deleted = self.connection.execute(
            "DELETE FROM notification_recipients WHERE id = ?", (recipient_id,)
        )
        return deleted.rowcount > 0


class SqlStore(MessageTable, TokenUseTable, ShareLinkTable, ScratchlistTables):
    """The methods of IStore that are the same for all databases."""

    database: SqlDatabase

    def __init__(self, database: SqlDatabase, clock: IReactorTime) -> None:
        super().__init__(database)
        self._clock = clock
        self._listeners: list[Callable[[TurnEvent], object]] = []
        self.statistics = StoreStatistics()

    async def turn(self, owner: str, change: Callable[[Any], T]) -> T:
        raise NotImplementedError

    def follow(self, call: Callable[[TurnEvent], object]) -> None:
        self._listeners.append(call)

    def _publish(self, events: Sequence[TurnEvent]) -> None:
        for event in events:
            for call in self._listeners:
                call(event)

    async def _counted(self, turn: Awaitable[T]) -> T:
        statistics, begin = self.statistics, self._clock.seconds()
        statistics.waiting += 1
        try:
            result = await turn
        except (StoreBusy, StoreFull, StoreFailed) as error:
            statistics.failures[type(error).__name__] += 1
            statistics.problem = error
            raise
        finally:
            statistics.waiting -= 1
        statistics.seconds.observe(self._clock.seconds() - begin)
        statistics.problem = None
        return result

    # --- sessions ---------------------------------------------------------------------------------

    async def sessions(self) -> list[SessionRow]:
        rows = await self.database.read(
            "SELECT * FROM sessions WHERE namespace <> ? ORDER BY created_at, id", (DISCARDED,)
        )
        return [session_from(row) for row in rows]

    async def create_session(
        self, row: SessionRow, any_id: bool = False
    ) -> tuple[SessionRow, bool]:
        return await self.turn(row.id, lambda turn: turn.create_session(row, any_id))

    async def write_metadata(
        self, session_id: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        return await self.turn(
            session_id, lambda turn: turn.write_metadata(session_id, expected, value, changes)
        )

    async def write_agent_state(
        self, session_id: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        return await self.turn(
            session_id, lambda turn: turn.write_agent_state(session_id, expected, value, changes)
        )

    async def change_session(self, session_id: str, changes: dict[str, Any]) -> SessionRow:
        return await self.turn(session_id, lambda turn: turn.change_session(session_id, changes))

    async def delete_session(self, session_id: str) -> bool:
        return await self.turn(session_id, lambda turn: turn.delete_session(session_id))

    async def merge_session(self, old: str, new: str, row: SessionRow) -> SessionRow:
        return await self.turn(new, lambda turn: turn.merge_session(old, new, row))

    # --- machines ---------------------------------------------------------------------------------

    async def machines(self) -> list[MachineRow]:
        rows = await self.database.read("SELECT * FROM machines ORDER BY created_at, id")
        return [machine_from(row) for row in rows]

    async def create_machine(self, row: MachineRow) -> MachineRow:
        return await self.turn(row.id, lambda turn: turn.create_machine(row))

    async def write_machine(
        self, row: MachineRow, expected: MachineRow
    ) -> Written[MachineRow] | VersionMismatch[MachineRow]:
        return await self.turn(row.id, lambda turn: turn.write_machine(row, expected))

    # --- access tokens ----------------------------------------------------------------------------

    async def tokens(self) -> list[TokenRow]:
        rows = await self.database.read("SELECT * FROM access_tokens ORDER BY created_at, id")
        return [TokenRow(**row) for row in rows]

    async def create_token(self, row: TokenRow) -> TokenRow:
        return await self.turn(row.id, lambda turn: turn.create_token(row))

    async def change_token(self, token_id: str, changes: dict[str, Any]) -> TokenRow:
        return await self.turn(token_id, lambda turn: turn.change_token(token_id, changes))

    async def delete_token(self, token_id: str) -> bool:
        return await self.turn(token_id, lambda turn: turn.delete_token(token_id))

    # --- recipients of notifications --------------------------------------------------------------

    async def recipients(self) -> list[RecipientRow]:
        query = "SELECT * FROM notification_recipients ORDER BY created_at, id"
        return [recipient_from(row) for row in await self.database.read(query)]

    async def write_recipient(self, row: RecipientRow) -> RecipientRow:
        return await self.turn(row.id, lambda turn: turn.write_recipient(row))

    async def delete_recipient(self, recipient_id: str) -> bool:
        return await self.turn(recipient_id, lambda turn: turn.delete_recipient(recipient_id))

    # --- messages ---------------------------------------------------------------------------------

    async def add_message(self, row: MessageRow, touch: int | None) -> Added:
        return await self.turn(row.session_id, lambda turn: turn.add_message(row, touch))

    async def consume(
        self, session_id: str, local_ids: Sequence[str], at: int, touch: bool
    ) -> Consumed:
        return await self.turn(
            session_id, lambda turn: turn.consume(session_id, local_ids, at, touch)
        )

    async def consume_all(self, session_id: str, at: int) -> Consumed:
        return await self.turn(session_id, lambda turn: turn.consume_all(session_id, at))

    async def set_delivery(self, message_id: str, delivery: str) -> bool:
        return await self.turn(message_id, lambda turn: turn.set_delivery(message_id, delivery))

    async def delete_message(self, message_id: str) -> SessionRow | None:
        return await self.turn(message_id, lambda turn: turn.delete_message(message_id))
