"""One turn in PostgreSQL."""

from __future__ import annotations

from typing import Any

from hapi.hub.store.columns import as_json, message_from, read_content
from hapi.hub.store.messages import COLUMNS, is_conversation, is_live
from hapi.hub.store.postgres.pipeline import AddMessage
from hapi.hub.store.rows import Added, MessageRow
from hapi.hub.store.sql_transaction import SqlTransaction

KNOWN = f"SELECT {COLUMNS} FROM messages WHERE session_id = ? AND local_id = ?"


class PostgresTransaction(SqlTransaction):
    def add_message(self, row: MessageRow, touch: int | None) -> Added:
        """The same in one statement (see schema.py): each one takes the server and this process
        longer than SQLite takes for all four.
        """
        connection: Any = self.connection

        def make(connection: Any) -> AddMessage:
            content = as_json(row.content)
            values = (
                *(row.id, row.session_id, content, row.created_at, row.local_id, row.invoked_at),
                *(row.scheduled_at, row.delivery, row.stream, int(is_live(row.content))),
                self._index.add(connection, row, content),
                touch or 0,
                int(is_conversation(row.content)),
            )
            return AddMessage(row, content, values)

        call: AddMessage = connection.add_message(row, make)
        result = call.result
        if result["seq"] is None:
            raise KeyError(row.session_id)
        if result["is_known"]:
            known = connection.execute(KNOWN, (row.session_id, row.local_id)).fetchone()
            return Added(message_from(known), False, {})
        stored = MessageRow(
            row.id,
            row.session_id,
            result["seq"],
            read_content(call.content),
            result["created_at"],
            row.local_id,
            result["invoked_at"],
            row.scheduled_at,
            row.delivery,
            row.stream,
        )
        has_content = bool(result["has_content"])
        changes = {
            "updated_at": result["updated_at"],
            "has_content": has_content,
            "epoch": result["epoch"],
        }
        return Added(stored, True, changes, first=has_content and not result["had_content"])
