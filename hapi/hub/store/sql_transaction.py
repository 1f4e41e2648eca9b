"""What a turn does with the tables: sessions, machines, access tokens and recipients of
notifications. `messages.py`, `scratchlist.py` and `share_links.py` have theirs, and `sql_store.py`
has what is read outside turns.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from zope.interface import implementer

from hapi.hub.store.columns import (
    MACHINE,
    RECIPIENT,
    SESSION,
    TOKEN,
    Indexing,
    SqlConnection,
    machine_from,
    packed,
    session_from,
)
from hapi.hub.store.interface import IdTaken, ITransaction, NameTaken, TagTaken
from hapi.hub.store.messages import MessageChanges
from hapi.hub.store.rows import (
    DISCARDED,
    Document,
    MachineRow,
    RecipientRow,
    SessionRow,
    TokenRow,
    TurnEvent,
    VersionMismatch,
    Written,
)
from hapi.hub.store.scratchlist import ScratchlistChanges
from hapi.hub.store.share_links import ShareLinkChanges

FIXED = frozenset({"id", "namespace", "tag", "created_at"})  # columns that never change


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
        """The row of a session that was not discarded."""
        row = self.connection.execute(
            "SELECT * FROM sessions WHERE id = ?", (session_id,)
        ).fetchone()
        return None if row is None or row["namespace"] == DISCARDED else session_from(row)

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
