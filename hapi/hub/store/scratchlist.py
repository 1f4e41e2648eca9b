"""What people keep beside conversations, and the prompts that they have saved."""

from __future__ import annotations

import json
from typing import Any

from attrs import astuple, fields

from hapi.hub.store.columns import SqlConnection, SqlDatabase
from hapi.hub.store.rows import SavedPromptRow, ScratchEntryRow, ScratchFileRow
from hapi.hub.store.share_links import Turn, require_session

FILE_COLUMNS = tuple(attribute.name for attribute in fields(ScratchFileRow))
PROMPT_COLUMNS = tuple(attribute.name for attribute in fields(SavedPromptRow))


ENTRIES = "SELECT * FROM scratch_entries WHERE session_id = ? ORDER BY created_at DESC, id"
FILES = (
    f"SELECT {', '.join(FILE_COLUMNS)} FROM scratch_files WHERE session_id = ?"
    " ORDER BY created_at, id"
)
PROMPTS = "SELECT * FROM saved_prompts WHERE namespace = ? ORDER BY created_at, id"


def owner_of_prompts(namespace: str) -> str:
    """The owner of the turns that change the saved prompts of a namespace. It has no home: hubs
    change them one after the other.
    """
    return f"prompts:{namespace}"


def _entry_from(row: Any) -> ScratchEntryRow:
    return ScratchEntryRow(**{**dict(row), "attachments": tuple(json.loads(row["attachments"]))})


class ScratchlistChanges:
    """The methods of ITransaction that concern scratchlists and saved prompts."""

    connection: SqlConnection

    def scratch_entries(self, session_id: str) -> list[ScratchEntryRow]:
        return [_entry_from(row) for row in self._rows(ENTRIES, session_id)]

    def write_scratch_entry(self, row: ScratchEntryRow) -> None:
        require_session(self.connection, row.session_id)
        self.connection.execute(
            "INSERT INTO scratch_entries"
            " (session_id, id, text, attachments, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (session_id, id) DO UPDATE SET text = excluded.text,"
            " attachments = excluded.attachments, created_at = excluded.created_at,"
            " updated_at = excluded.updated_at",
            (
                *(row.session_id, row.id, row.text, json.dumps(row.attachments)),
                *(row.created_at, row.updated_at),
            ),
        )

    def delete_scratch_entry(self, session_id: str, entry_id: str) -> bool:
        query = "DELETE FROM scratch_entries WHERE session_id = ? AND id = ?"
        return self._deletes(query, session_id, entry_id)

    def scratch_files(self, session_id: str) -> list[ScratchFileRow]:
        return [ScratchFileRow(**row) for row in self._rows(FILES, session_id)]

    def add_scratch_file(self, row: ScratchFileRow, content: bytes) -> None:
        require_session(self.connection, row.session_id)
        marks = ", ".join("?" * (len(FILE_COLUMNS) + 1))
        self.connection.execute(
            f"INSERT INTO scratch_files ({', '.join(FILE_COLUMNS)}, content) VALUES ({marks})",
            (*astuple(row), content),
        )

    def delete_scratch_file(self, session_id: str, file_id: str) -> bool:
        query = "DELETE FROM scratch_files WHERE session_id = ? AND id = ?"
        return self._deletes(query, session_id, file_id)

    def saved_prompts(self, namespace: str) -> list[SavedPromptRow]:
        return [SavedPromptRow(**row) for row in self._rows(PROMPTS, namespace)]

    def write_saved_prompt(self, row: SavedPromptRow) -> None:
        marks = ", ".join("?" * len(PROMPT_COLUMNS))
        replaced = ", ".join(f"{name} = excluded.{name}" for name in PROMPT_COLUMNS)
        self.connection.execute(
            f"INSERT INTO saved_prompts ({', '.join(PROMPT_COLUMNS)}) VALUES ({marks})"
            f" ON CONFLICT (id) DO UPDATE SET {replaced}",
            astuple(row),
        )

    def delete_saved_prompt(self, namespace: str, prompt_id: str) -> bool:
        query = "DELETE FROM saved_prompts WHERE namespace = ? AND id = ?"
        return self._deletes(query, namespace, prompt_id)

    def _rows(self, query: str, value: str) -> list[Any]:
        return list(self.connection.execute(query, (value,)).fetchall())

    def _deletes(self, query: str, *values: str) -> bool:
        """Whether the query has deleted something."""
        return bool(self.connection.execute(query, values).rowcount > 0)


class ScratchlistTables:
    """The methods of IStore that concern scratchlists and saved prompts; documented there. Who
    changes what he has read does both in one turn.
    """

    database: SqlDatabase
    turn: Turn

    async def scratch_entries(self, session_id: str) -> list[ScratchEntryRow]:
        return [_entry_from(row) for row in await self.database.read(ENTRIES, (session_id,))]

    async def write_scratch_entry(self, row: ScratchEntryRow) -> None:
        await self.turn(row.session_id, lambda turn: turn.write_scratch_entry(row))

    async def delete_scratch_entry(self, session_id: str, entry_id: str) -> bool:
        found: bool = await self.turn(
            session_id, lambda turn: turn.delete_scratch_entry(session_id, entry_id)
        )
        return found

    async def scratch_files(self, session_id: str) -> list[ScratchFileRow]:
        return [ScratchFileRow(**row) for row in await self.database.read(FILES, (session_id,))]

    async def scratch_content(self, session_id: str, file_id: str) -> bytes | None:
        rows = await self.database.read(
            "SELECT content FROM scratch_files WHERE session_id = ? AND id = ?",
            (session_id, file_id),
        )
        return bytes(rows[0]["content"]) if rows else None

    async def add_scratch_file(self, row: ScratchFileRow, content: bytes) -> None:
        await self.turn(row.session_id, lambda turn: turn.add_scratch_file(row, content))

    async def delete_scratch_file(self, session_id: str, file_id: str) -> bool:
        found: bool = await self.turn(
            session_id, lambda turn: turn.delete_scratch_file(session_id, file_id)
        )
        return found

    async def saved_prompts(self, namespace: str) -> list[SavedPromptRow]:
        return [SavedPromptRow(**row) for row in await self.database.read(PROMPTS, (namespace,))]

    async def write_saved_prompt(self, row: SavedPromptRow) -> None:
        owner = owner_of_prompts(row.namespace)
        await self.turn(owner, lambda turn: turn.write_saved_prompt(row))

    async def delete_saved_prompt(self, namespace: str, prompt_id: str) -> bool:
        found: bool = await self.turn(
            owner_of_prompts(namespace), lambda turn: turn.delete_saved_prompt(namespace, prompt_id)
        )
        return found
