"""The messages of the store: appending, the queue of prompts, and the pages of a conversation."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from hapi.hub.store.columns import as_json, message_from, session_from
from hapi.hub.store.rows import INDETERMINATE, Added, Document, MessageRow

if TYPE_CHECKING:
    from hapi.hub.store.database import Database
    from hapi.hub.store.rows import SessionRow

COLUMNS = (
    "id, session_id, seq, content, created_at, local_id, invoked_at, scheduled_at, delivery, stream"
)
SORT_TIME = "coalesce(invoked_at, created_at)"
MAX_VARIABLES = 500  # values in one statement; SQLite takes at least 999


def is_conversation(content: Document) -> bool:
    """A user or agent message, as opposed to an event; a session with such a message has a
    conversation.
    """
    if not isinstance(content, dict) or content.get("role") not in ("user", "agent"):
        return False
    inner = content.get("content")
    return not (isinstance(inner, dict) and inner.get("type") == "event")


class MessageTable:
    """The methods of IStore that concern messages; documented there."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def _rows(self, where: str, values: Sequence[object]) -> list[MessageRow]:
        return [
            message_from(row)
            for row in self.database.read(f"SELECT {COLUMNS} FROM messages WHERE {where}", values)
        ]

    async def add_message(self, row: MessageRow, touch: int | None) -> Added:
        def add(connection: sqlite3.Connection) -> Added:
            session = row.session_id
            if (
                connection.execute("SELECT 1 FROM sessions WHERE id = ?", (session,)).fetchone()
                is None
            ):
                raise KeyError(session)
            if row.local_id is not None:
                known = connection.execute(
                    f"SELECT {COLUMNS} FROM messages WHERE session_id = ? AND local_id = ?",
                    (session, row.local_id),
                ).fetchone()
                if known is not None:
                    return Added(message_from(known), False, {})
            (last,) = connection.execute(
                "SELECT coalesce(max(seq), 0) FROM messages WHERE session_id = ?", (session,)
            ).fetchone()
            (end,) = connection.execute(
                f"SELECT max({SORT_TIME}) FROM messages WHERE session_id = ?",
                (session,),
            ).fetchone()
            stored = evolve(row, seq=last + 1)
            content = as_json(stored.content)
            connection.execute(
                f"INSERT INTO messages ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    stored.id,
                    session,
                    stored.seq,
                    content,
                    stored.created_at,
                    stored.local_id,
                    stored.invoked_at,
                    stored.scheduled_at,
                    stored.delivery,
                    stored.stream,
                ),
            )
            if row.stream is not None:
                connection.execute(
                    "DELETE FROM messages WHERE session_id = ? AND stream = ? AND seq < ?",
                    (session, row.stream, stored.seq),
                )
                if not _is_live(stored.content):
                    connection.execute(
                        "UPDATE messages SET stream = NULL WHERE id = ?", (stored.id,)
                    )
            earlier = end is not None and stored.position[0] < end
            (updated_at, has_content, epoch) = connection.execute(
                "UPDATE sessions SET updated_at = max(updated_at, ?),"
                " has_content = max(has_content, ?), epoch = epoch + ?"
                " WHERE id = ? RETURNING updated_at, has_content, epoch",
                (touch or 0, int(is_conversation(stored.content)), int(earlier), session),
            ).fetchone()
            return Added(
                stored,
                True,
                {"updated_at": updated_at, "has_content": bool(has_content), "epoch": epoch},
            )

        return await self.database.write(add)

    async def message(self, session_id: str, name: str) -> MessageRow | None:
        where = "session_id = ? AND (local_id = ? OR id = ?) ORDER BY local_id = ? DESC LIMIT 1"
        found = self._rows(where, (session_id, name, name, name))
        return found[0] if found else None

    async def local_messages(self, session_id: str, local_ids: Sequence[str]) -> list[MessageRow]:
        found: list[MessageRow] = []
        for start in range(0, len(local_ids), MAX_VARIABLES):
            part = local_ids[start : start + MAX_VARIABLES]
            marks = ", ".join("?" * len(part))
            found += self._rows(
                f"session_id = ? AND local_id IN ({marks}) ORDER BY seq", (session_id, *part)
            )
        return found

    async def queued(self, session_id: str, due: int) -> list[MessageRow]:
        return self._rows(
            "session_id = ? AND invoked_at IS NULL AND local_id IS NOT NULL"
            " AND coalesce(delivery, '') <> ?"
            " AND coalesce(scheduled_at, 0) <= ? ORDER BY seq",
            (session_id, INDETERMINATE, due),
        )

    async def due(self, after: int, until: int) -> list[MessageRow]:
        return self._rows(
            "invoked_at IS NULL AND scheduled_at > ? AND scheduled_at <= ?"
            " AND coalesce(delivery, '') <> ?"
            " ORDER BY scheduled_at, seq",
            (after, until, INDETERMINATE),
        )

    async def scheduled(self, namespace: str, after: int) -> dict[str, tuple[int, int]]:
        rows = self.database.read(
            "SELECT session_id, count(*), min(scheduled_at)"
            " FROM messages JOIN sessions ON sessions.id = session_id"
            " WHERE invoked_at IS NULL AND scheduled_at > ? AND namespace = ? GROUP BY session_id",
            (after, namespace),
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    async def consume(
        self, session_id: str, local_ids: Sequence[str], at: int, touch: bool
    ) -> list[str]:
        def consume(connection: sqlite3.Connection) -> list[str]:
            taken = []
            for local_id in local_ids:
                taken += connection.execute(
                    "UPDATE messages SET invoked_at = ?, delivery = NULL"
                    " WHERE session_id = ? AND local_id = ? AND invoked_at IS NULL"
                    " RETURNING local_id",
                    (at, session_id, local_id),
                ).fetchall()
            if taken and touch:
                connection.execute(
                    "UPDATE sessions SET updated_at = max(updated_at, ?) WHERE id = ?",
                    (at, session_id),
                )
            return [row[0] for row in taken]

        return await self.database.write(consume)

    async def consume_all(self, session_id: str, at: int) -> list[str]:
        def consume(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "UPDATE messages SET invoked_at = ?, delivery = NULL"
                " WHERE session_id = ? AND invoked_at IS NULL"
                " AND local_id IS NOT NULL AND scheduled_at IS NULL"
                " AND coalesce(delivery, '') <> ? RETURNING local_id",
                (at, session_id, INDETERMINATE),
            ).fetchall()
            return [row[0] for row in rows]

        return await self.database.write(consume)

    async def set_delivery(self, message_id: str, delivery: str) -> bool:
        return await self.database.write(
            lambda connection: (
                connection.execute(
                    "UPDATE messages SET delivery = ? WHERE id = ? AND invoked_at IS NULL",
                    (delivery, message_id),
                ).rowcount
                > 0
            )
        )

    async def delete_message(self, message_id: str) -> SessionRow | None:
        def delete(connection: sqlite3.Connection) -> SessionRow | None:
            gone = connection.execute(
                "DELETE FROM messages WHERE id = ? AND invoked_at IS NULL RETURNING session_id",
                (message_id,),
            ).fetchall()
            if not gone:
                return None
            session_id = gone[0][0]
            (left,) = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM messages WHERE session_id = ?)", (session_id,)
            ).fetchone()
            connection.execute(
                "UPDATE sessions SET epoch = epoch + 1, has_content = min(has_content, ?)"
                " WHERE id = ?",
                (left, session_id),
            )
            return session_from(
                connection.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
            )

        return await self.database.write(delete)

    async def after_seq(self, session_id: str, seq: int, limit: int, due: int) -> list[MessageRow]:
        # What a merge moved here and was taken before is history: a process must not meet it as a
        # new prompt.
        return self._rows(
            "session_id = ? AND seq > ? AND NOT (moved AND invoked_at IS NOT NULL)"
            " AND (invoked_at IS NOT NULL OR coalesce(scheduled_at, 0) <= ?) ORDER BY seq LIMIT ?",
            (session_id, seq, due, limit),
        )

    async def latest(self, session_id: str, limit: int) -> list[MessageRow]:
        return self._rows(
            f"session_id = ? ORDER BY {SORT_TIME} DESC, seq DESC LIMIT ?", (session_id, limit)
        )[::-1]

    async def waiting(self, session_id: str) -> list[MessageRow]:
        return self._rows(
            f"session_id = ? AND invoked_at IS NULL ORDER BY {SORT_TIME}, seq", (session_id,)
        )

    async def before(
        self, session_id: str, position: tuple[int, int], limit: int
    ) -> list[MessageRow]:
        where = (
            f"session_id = ? AND ({SORT_TIME}, seq) < (?, ?)"
            f" ORDER BY {SORT_TIME} DESC, seq DESC LIMIT ?"
        )
        return self._rows(where, (session_id, *position, limit))[::-1]

    async def after(
        self, session_id: str, position: tuple[int, int], until: tuple[int, int] | None, limit: int
    ) -> list[MessageRow]:
        bound, values = ("", ()) if until is None else (f" AND ({SORT_TIME}, seq) <= (?, ?)", until)
        where = (
            f"session_id = ? AND ({SORT_TIME}, seq) > (?, ?){bound}"
            f" ORDER BY {SORT_TIME}, seq LIMIT ?"
        )
        return self._rows(where, (session_id, *position, *values, limit))


def _is_live(content: Document) -> bool:
    try:
        return content["content"]["data"].get("live") is True
    except (KeyError, TypeError, AttributeError):
        return False
