"""What people keep beside conversations, and the prompts that they have saved."""

from __future__ import annotations

import json
from typing import Any

from attrs import astuple, fields

from hapi.hub.store.columns import SqlConnection, SqlDatabase
from hapi.hub.store.rows import SavedPromptRow, ScratchEntryRow, ScratchFileRow

FILE_COLUMNS = tuple(attribute.name for attribute in fields(ScratchFileRow))
PROMPT_COLUMNS = tuple(attribute.name for attribute in fields(SavedPromptRow))


def _entry_from(row: Any) -> ScratchEntryRow:
    return ScratchEntryRow(**{**dict(row), "attachments": tuple(json.loads(row["attachments"]))})


class ScratchlistTables:
    """The methods of IStore that concern scratchlists and saved prompts; documented there."""

    database: SqlDatabase

    async def scratch_entries(self, session_id: str) -> list[ScratchEntryRow]:
        rows = await self.database.read(
            "SELECT * FROM scratch_entries WHERE session_id = ? ORDER BY created_at DESC, id",
            (session_id,),
        )
        return [_entry_from(row) for row in rows]

    async def write_scratch_entry(self, row: ScratchEntryRow) -> None:
        values = (
            *(row.session_id, row.id, row.text, json.dumps(row.attachments)),
            *(row.created_at, row.updated_at),
        )

        def write(connection: SqlConnection) -> None:
            connection.execute(
                "INSERT INTO scratch_entries"
                " (session_id, id, text, attachments, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (session_id, id) DO UPDATE SET text = excluded.text,"
                " attachments = excluded.attachments, created_at = excluded.created_at,"
                " updated_at = excluded.updated_at",
                values,
            )

        await self.database.write(write)

    async def delete_scratch_entry(self, session_id: str, entry_id: str) -> bool:
        query = "DELETE FROM scratch_entries WHERE session_id = ? AND id = ?"
        return await self._deletes(query, session_id, entry_id)

    async def scratch_files(self, session_id: str) -> list[ScratchFileRow]:
        rows = await self.database.read(
            f"SELECT {', '.join(FILE_COLUMNS)} FROM scratch_files WHERE session_id = ?"
            " ORDER BY created_at, id",
            (session_id,),
        )
        return [ScratchFileRow(**row) for row in rows]

    async def scratch_content(self, session_id: str, file_id: str) -> bytes | None:
        rows = await self.database.read(
            "SELECT content FROM scratch_files WHERE session_id = ? AND id = ?",
            (session_id, file_id),
        )
        return bytes(rows[0]["content"]) if rows else None

    async def add_scratch_file(self, row: ScratchFileRow, content: bytes) -> None:
        marks = ", ".join("?" * (len(FILE_COLUMNS) + 1))

        def insert(connection: SqlConnection) -> None:
            connection.execute(
                f"INSERT INTO scratch_files ({', '.join(FILE_COLUMNS)}, content) VALUES ({marks})",
                (*astuple(row), content),
            )

        await self.database.write(insert)

    async def delete_scratch_file(self, session_id: str, file_id: str) -> bool:
        query = "DELETE FROM scratch_files WHERE session_id = ? AND id = ?"
        return await self._deletes(query, session_id, file_id)

    async def saved_prompts(self, namespace: str) -> list[SavedPromptRow]:
        rows = await self.database.read(
            "SELECT * FROM saved_prompts WHERE namespace = ? ORDER BY created_at, id", (namespace,)
        )
        return [SavedPromptRow(**row) for row in rows]

    async def write_saved_prompt(self, row: SavedPromptRow) -> None:
        marks = ", ".join("?" * len(PROMPT_COLUMNS))
        replaced = ", ".join(f"{name} = excluded.{name}" for name in PROMPT_COLUMNS)

        def write(connection: SqlConnection) -> None:
            connection.execute(
                f"INSERT INTO saved_prompts ({', '.join(PROMPT_COLUMNS)}) VALUES ({marks})"
                f" ON CONFLICT (id) DO UPDATE SET {replaced}",
                astuple(row),
            )

        await self.database.write(write)

    async def delete_saved_prompt(self, namespace: str, prompt_id: str) -> bool:
        query = "DELETE FROM saved_prompts WHERE namespace = ? AND id = ?"
        return await self._deletes(query, namespace, prompt_id)

    async def _deletes(self, query: str, *values: str) -> bool:
        """Whether the query has deleted something."""

        def delete(connection: SqlConnection) -> bool:
            return connection.execute(query, values).rowcount > 0

        return await self.database.write(delete)
