"""The messages of the store: appending, the queue of prompts, and the pages of a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from hapi.hub.store.columns import (
    Indexing,
    SqlConnection,
    SqlDatabase,
    as_json,
    message_from,
    read_content,
    session_from,
)
from hapi.hub.store.rows import INDETERMINATE, Added, Consumed, Document, MessageRow, SessionRow
from hapi.hub.store.share_links import Turn, require_session

COLUMNS = (
    "id, session_id, seq, content, created_at, local_id, invoked_at, scheduled_at, delivery, stream"
)
SORT_TIME = "coalesce(invoked_at, created_at)"
PLACE = "SELECT last_seq, last_time, has_content FROM sessions WHERE id = ?"
ADVANCE = (
    "UPDATE sessions SET last_seq = ?, last_time = max(last_time, ?),"
    " updated_at = max(updated_at, ?), has_content = max(has_content, ?)"
    " WHERE id = ? RETURNING updated_at, has_content, epoch"
)
COPY = (
    "INSERT INTO messages (id, session_id, seq, content, created_at, invoked_at, moved)"
    " SELECT {random_id}, CAST(? AS TEXT), seq, content, created_at, invoked_at, 1"
    " FROM messages WHERE session_id = ? AND seq > ? AND seq <= ? AND invoked_at IS NOT NULL"
)
COPIED_AT_ONCE = 100  # messages
MAX_VARIABLES = 500  # values in one statement; SQLite takes at least 999


@cache
def insert(column: str) -> str:
    """The statement that stores a message; `column` is that of the index."""
    marks = ", ".join("?" * 11)
    return f"INSERT INTO messages ({COLUMNS}, {column}) VALUES ({marks})"


def is_conversation(content: Document) -> bool:
    """A user or agent message, as opposed to an event; a session with such a message has a
    conversation.
    """
    if not isinstance(content, dict) or content.get("role") not in ("user", "agent"):
        return False
    inner = content.get("content")
    return not (isinstance(inner, dict) and inner.get("type") == "event")


class MessageChanges:
    """The methods of ITransaction that concern messages; documented there."""

    def __init__(self, connection: SqlConnection, index: Indexing) -> None:
        self.connection, self._index = connection, index

    def add_message(self, row: MessageRow, touch: int | None) -> Added:
        execute, session = self.connection.execute, row.session_id
        if row.local_id is not None:
            known = execute(
                f"SELECT {COLUMNS} FROM messages WHERE session_id = ? AND local_id = ?",
                (session, row.local_id),
            ).fetchone()
            if known is not None:
                return Added(message_from(known), False, {})
        content = as_json(row.content)
        place = execute(PLACE, (session,)).fetchone()
        if place is None:
            raise KeyError(session)
        last_seq, last_time, had_content = place
        stored = placed(row, last_seq + 1, last_time, read_content(content))
        execute(
            insert(self._index.column),
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
                stored.stream if row.stream is None or is_live(row.content) else None,
                self._index.add(self.connection, stored, content),
            ),
        )
        if row.stream is not None:
            execute(
                "DELETE FROM messages WHERE session_id = ? AND stream = ? AND seq < ?",
                (session, row.stream, stored.seq),
            )
        (updated_at, has_content, epoch) = execute(
            ADVANCE,
            (
                stored.seq,
                stored.position[0],
                touch or 0,
                int(is_conversation(row.content)),
                session,
            ),
        ).fetchone()
        changes = {"updated_at": updated_at, "has_content": bool(has_content), "epoch": epoch}
        return Added(stored, True, changes, first=bool(has_content) and not had_content)

    def consume(self, session_id: str, local_ids: Sequence[str], at: int, touch: bool) -> Consumed:
        at = self._time(session_id, at)
        taken: list[str] = []
        for local_id in local_ids:
            taken += (
                row[0]
                for row in self.connection.execute(
                    "UPDATE messages SET invoked_at = ?, delivery = NULL"
                    " WHERE session_id = ? AND local_id = ? AND invoked_at IS NULL"
                    " RETURNING local_id",
                    (at, session_id, local_id),
                ).fetchall()
            )
        return self._consumed(session_id, taken, at, touch)

    def consume_all(self, session_id: str, at: int) -> Consumed:
        at = self._time(session_id, at)
        rows = self.connection.execute(
            "UPDATE messages SET invoked_at = ?, delivery = NULL"
            " WHERE session_id = ? AND invoked_at IS NULL"
            " AND local_id IS NOT NULL AND scheduled_at IS NULL"
            " AND coalesce(delivery, '') <> ? RETURNING local_id",
            (at, session_id, INDETERMINATE),
        ).fetchall()
        return self._consumed(session_id, [row[0] for row in rows], at, False)

    def _time(self, session_id: str, at: int) -> int:
        """The time of a prompt that is consumed at `at`: after all that stands in the conversation,
        since the prompt has a lower seq than what came after it.
        """
        row = self.connection.execute(PLACE, (session_id,)).fetchone()
        return at if row is None else max(at, row[1] + 1)

    def _consumed(self, session_id: str, local_ids: list[str], at: int, touch: bool) -> Consumed:
        if local_ids:
            self.connection.execute(
                "UPDATE sessions SET last_time = max(last_time, ?),"
                " updated_at = max(updated_at, ?) WHERE id = ?",
                (at, at if touch else 0, session_id),
            )
        return Consumed(local_ids, at)

    def set_delivery(self, message_id: str, delivery: str) -> bool:
        return (
            self.connection.execute(
                "UPDATE messages SET delivery = ? WHERE id = ? AND invoked_at IS NULL",
                (delivery, message_id),
            ).rowcount
            > 0
        )

    def delete_message(self, message_id: str) -> SessionRow | None:
        gone = self.connection.execute(
            "DELETE FROM messages WHERE id = ? AND invoked_at IS NULL RETURNING session_id",
            (message_id,),
        ).fetchall()
        if not gone:
            return None
        session_id = gone[0][0]
        (left,) = self.connection.execute(
            "SELECT EXISTS (SELECT 1 FROM messages WHERE session_id = ?)", (session_id,)
        ).fetchone()
        self.connection.execute(
            "UPDATE sessions SET epoch = epoch + 1, has_content = min(has_content, ?) WHERE id = ?",
            (int(left), session_id),
        )
        return session_from(
            self.connection.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
        )

    def local_messages(self, session_id: str, local_ids: Sequence[str]) -> list[MessageRow]:
        found: list[MessageRow] = []
        for query, values in _by_local_id(session_id, local_ids):
            found += map(message_from, self.connection.execute(query, values).fetchall())
        return found


def placed(row: MessageRow, seq: int, last_time: int, content: Document) -> MessageRow:
    """`row` at the end of its conversation, with the content as it is stored.

    Times are those of a clock that may have been put back, so none is earlier than that of the
    message before: the order is that of the seq.
    """
    created_at, invoked_at = row.created_at, row.invoked_at
    if invoked_at is None:
        created_at = max(created_at, last_time)
    else:
        invoked_at = max(invoked_at, last_time)
        created_at = invoked_at if created_at == row.invoked_at else created_at
    return MessageRow(
        row.id,
        row.session_id,
        seq,
        content,
        created_at,
        row.local_id,
        invoked_at,
        row.scheduled_at,
        row.delivery,
        row.stream,
    )


def _by_local_id(
    session_id: str, local_ids: Sequence[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The queries for the messages with these local ids."""
    for start in range(0, len(local_ids), MAX_VARIABLES):
        part = local_ids[start : start + MAX_VARIABLES]
        marks = ", ".join("?" * len(part))
        where = f"session_id = ? AND local_id IN ({marks}) ORDER BY seq"
        yield f"SELECT {COLUMNS} FROM messages WHERE {where}", (session_id, *part)


class MessageTable:
    """The methods of IStore that read messages; documented there."""

    random_id = "lower(hex(randomblob(16)))"  # SQL for the id of a copied message

    turn: Turn

    def __init__(self, database: SqlDatabase) -> None:
        self.database: SqlDatabase = database

    async def _rows(self, where: str, values: Sequence[object]) -> list[MessageRow]:
        rows = await self.database.read(f"SELECT {COLUMNS} FROM messages WHERE {where}", values)
        return [message_from(row) for row in rows]

    async def message(self, session_id: str, name: str) -> MessageRow | None:
        where = (
            "session_id = ? AND (local_id = ? OR id = ?)"
            " ORDER BY CASE WHEN local_id = ? THEN 0 ELSE 1 END LIMIT 1"
        )
        found = await self._rows(where, (session_id, name, name, name))
        return found[0] if found else None

    async def copy_messages(self, source: str, target: str, after: int) -> int | None:
        def copy(turn: Any) -> int | None:
            connection = turn.connection
            require_session(connection, target)
            (last,) = connection.execute(
                "SELECT max(seq) FROM (SELECT seq FROM messages WHERE session_id = ? AND seq > ?"
                " ORDER BY seq LIMIT ?) AS portion",
                (source, after, COPIED_AT_ONCE),
            ).fetchone()
            if last is not None:
                connection.execute(copies, (target, source, after, last))
            return None if last is None else int(last)

        copies = COPY.format(random_id=self.random_id)
        copied: int | None = await self.turn(target, copy)
        return copied

    async def local_messages(self, session_id: str, local_ids: Sequence[str]) -> list[MessageRow]:
        found: list[MessageRow] = []
        for query, values in _by_local_id(session_id, local_ids):
            found += map(message_from, await self.database.read(query, values))
        return found

    async def queued(self, session_id: str, due: int) -> list[MessageRow]:
        return await self._rows(
            "session_id = ? AND invoked_at IS NULL AND local_id IS NOT NULL"
            " AND coalesce(delivery, '') <> ?"
            " AND coalesce(scheduled_at, 0) <= ? ORDER BY seq",
            (session_id, INDETERMINATE, due),
        )

    async def due(self, after: int, until: int) -> list[MessageRow]:
        return await self._rows(
            "invoked_at IS NULL AND scheduled_at > ? AND scheduled_at <= ?"
            " AND coalesce(delivery, '') <> ?"
            " ORDER BY scheduled_at, seq",
            (after, until, INDETERMINATE),
        )

    async def scheduled(self, namespace: str, after: int) -> dict[str, tuple[int, int]]:
        rows = await self.database.read(
            "SELECT session_id, count(*), min(scheduled_at)"
            " FROM messages JOIN sessions ON sessions.id = session_id"
            " WHERE invoked_at IS NULL AND scheduled_at > ? AND namespace = ? GROUP BY session_id",
            (after, namespace),
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    async def after_seq(self, session_id: str, seq: int, limit: int, due: int) -> list[MessageRow]:
        # What a merge moved here and was taken before is history: a process must not meet it as a
        # new prompt.
        return await self._rows(
            "session_id = ? AND seq > ? AND NOT (moved <> 0 AND invoked_at IS NOT NULL)"
            " AND (invoked_at IS NOT NULL OR coalesce(scheduled_at, 0) <= ?) ORDER BY seq LIMIT ?",
            (session_id, seq, due, limit),
        )

    async def latest(self, session_id: str, limit: int) -> list[MessageRow]:
        newest = f"session_id = ? ORDER BY {SORT_TIME} DESC, seq DESC LIMIT ?"
        return (await self._rows(newest, (session_id, limit)))[::-1]

    async def waiting(self, session_id: str) -> list[MessageRow]:
        return await self._rows(
            f"session_id = ? AND invoked_at IS NULL ORDER BY {SORT_TIME}, seq", (session_id,)
        )

    async def before(
        self, session_id: str, position: tuple[int, int], limit: int
    ) -> list[MessageRow]:
        where = (
            f"session_id = ? AND ({SORT_TIME}, seq) < (?, ?)"
            f" ORDER BY {SORT_TIME} DESC, seq DESC LIMIT ?"
        )
        return (await self._rows(where, (session_id, *position, limit)))[::-1]

    async def after(
        self, session_id: str, position: tuple[int, int], until: tuple[int, int] | None, limit: int
    ) -> list[MessageRow]:
        bound, values = ("", ()) if until is None else (f" AND ({SORT_TIME}, seq) <= (?, ?)", until)
        where = (
            f"session_id = ? AND ({SORT_TIME}, seq) > (?, ?){bound}"
            f" ORDER BY {SORT_TIME}, seq LIMIT ?"
        )
        return await self._rows(where, (session_id, *position, *values, limit))


def is_live(content: Document) -> bool:
    try:
        return content["content"]["data"].get("live") is True
    except (KeyError, TypeError, AttributeError):
        return False
