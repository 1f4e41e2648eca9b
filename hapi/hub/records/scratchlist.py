"""The scratchlist of a session: texts and files that a person keeps beside the conversation until
they are sent (the routes and limits are npm's; page-extras.md 2).
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Sequence
from typing import Any

from attrs import define, evolve

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import Conflict, InvalidRequest, NotFound, RpcError, TooLarge
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.rpc import SLOW_RPC_TIMEOUT
from hapi.hub.store.rows import ScratchEntryRow, ScratchFileRow
from hapi.protocol import rpc_methods

MAX_ENTRIES = 200  # of a session
MAX_TEXT = 10_000  # characters of an entry
MAX_FILE = 10 << 20  # bytes
MAX_ENTRY_FILES = 4
MAX_ENTRY_SIZE = 20 << 20  # bytes of all files of an entry
MAX_SESSION_SIZE = 100 << 20  # bytes of all files of a session
MEDIA_TYPES = (
    *("image/jpeg", "image/png", "image/gif", "image/webp", "image/svg+xml"),
    *("application/pdf", "text/plain"),
)
LIMITS = {
    "maxBytesPerFile": MAX_FILE,
    "maxAttachmentsPerEntry": MAX_ENTRY_FILES,
    "maxBytesPerEntry": MAX_ENTRY_SIZE,
    "maxBytesPerSession": MAX_SESSION_SIZE,
    "allowedMimeTypes": list(MEDIA_TYPES),
}
EXCEEDED = "The files of this scratchlist would exceed their limit"
PATH_PREFIX = "hapi-hub:scratchlist/"
_UNSAFE = re.compile(r"[^\w.\- ]+")
MAX_NAME = 200  # characters of a file name

Json = dict[str, Any]


def invalid(message: str, field: str = "text") -> InvalidRequest:
    """npm's answer to a malformed entry."""
    return InvalidRequest(
        "Invalid body", issues=[{"code": "custom", "path": [field], "message": message}]
    )


def too_large(message: str) -> TooLarge:
    return TooLarge(message, "scratchlist_attachment_too_large")


@define(eq=False, repr=False)
class Scratchlist:
    registry: HubRegistry

    async def entries(self, session: HubSession) -> list[Json]:
        store = self.registry.store
        files = {row.id: row for row in await store.scratch_files(session.id)}
        return [entry_view(session, row, files) for row in await store.scratch_entries(session.id)]

    async def add(
        self,
        session: HubSession,
        text: str,
        attachments: Sequence[str],
        entry_id: str | None,
        created_at: int | None,
    ) -> tuple[Json, bool]:
        """The new entry and True, or the one with this id and False.

        Raises InvalidRequest, Conflict, TooLarge.
        """
        if not text and not attachments:
            raise invalid("Scratchlist entry requires text or attachments")
        now, wanted = self.registry.now(), entry_id or str(uuid.uuid4())

        def add(turn: Any) -> tuple[ScratchEntryRow, dict[str, ScratchFileRow], bool]:
            known, files = turn.scratch_entries(session.id), files_by_id(turn, session)
            for row in known:
                if row.id == wanted:
                    return row, files, False
            if len(known) >= MAX_ENTRIES:
                raise Conflict(
                    f"A scratchlist can have {MAX_ENTRIES} entries at most", "scratchlist_at_cap"
                )
            row = ScratchEntryRow(
                wanted,
                session.id,
                text,
                checked_files(attachments, files),
                min(created_at, now) if created_at is not None else now,
                now,
            )
            turn.write_scratch_entry(row)
            return row, files, True

        row, files, is_new = await self.registry.turn(session, add)
        if is_new:
            self._changed(session)
        return entry_view(session, row, files), is_new

    async def change(
        self,
        session: HubSession,
        entry_id: str,
        text: str | None,
        attachments: Sequence[str] | None,
    ) -> Json:
        """Raises InvalidRequest, NotFound, TooLarge."""
        if text is None and attachments is None:
            raise invalid("Update requires text and/or attachments")
        now = self.registry.now()

        def change(turn: Any) -> tuple[ScratchEntryRow, dict[str, ScratchFileRow]]:
            known = turn.scratch_entries(session.id)
            row = next((each for each in known if each.id == entry_id), None)
            if row is None:
                raise NotFound("Scratchlist entry not found")
            files = files_by_id(turn, session)
            changed = evolve(
                row,
                text=row.text if text is None else text,
                attachments=row.attachments
                if attachments is None
                else checked_files(attachments, files),
                updated_at=now,
            )
            if not changed.text and not changed.attachments:
                raise invalid("Scratchlist entry requires text or attachments")
            turn.write_scratch_entry(changed)
            return changed, files

        row, files = await self.registry.turn(session, change)
        self._changed(session)
        return entry_view(session, row, files)

    async def delete(self, session: HubSession, entry_id: str) -> None:
        """Raises NotFound."""
        if not await self.registry.store.delete_scratch_entry(session.id, entry_id):
            raise NotFound("Scratchlist entry not found")
        self._changed(session)

    async def upload(
        self, session: HubSession, filename: str, content: str, media_type: str
    ) -> Json:
        """Keep a file, whose `content` is base64. Raises InvalidRequest, TooLarge."""
        if media_type not in MEDIA_TYPES:
            raise invalid("This type of file cannot be kept", "mimeType")
        if len(content) * 3 // 4 > MAX_FILE + 2:
            raise too_large("The file is larger than 10 MB")
        try:
            data = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise invalid("Invalid base64", "content") from None
        if len(data) > MAX_FILE:
            raise too_large(EXCEEDED)
        name = _UNSAFE.sub("_", filename.rpartition("/")[2])[-MAX_NAME:] or "file"
        row = ScratchFileRow(
            str(uuid.uuid4()), session.id, name, media_type, len(data), self.registry.now()
        )

        def add(turn: Any) -> None:
            kept = sum(each.size for each in turn.scratch_files(session.id))
            if kept + len(data) > MAX_SESSION_SIZE:
                raise too_large(EXCEEDED)
            turn.add_scratch_file(row, data)

        await self.registry.turn(session, add)
        return file_view(session, row)

    async def file(self, session: HubSession, file_id: str) -> tuple[ScratchFileRow, bytes]:
        """A file with its content. Raises NotFound."""
        store = self.registry.store
        rows = await store.scratch_files(session.id)
        row = next((each for each in rows if each.id == file_id), None)
        content = await store.scratch_content(session.id, file_id)
        if row is None or content is None:
            raise NotFound("Attachment not found")
        return row, content

    async def delete_file(self, session: HubSession, file_id: str) -> None:
        """Raises Conflict while an entry has the file. A file that is gone already is no error."""

        def delete(turn: Any) -> None:
            if any(file_id in row.attachments for row in turn.scratch_entries(session.id)):
                raise Conflict(
                    "Attachment is still referenced by a scratchlist entry",
                    "scratchlist_attachment_in_use",
                )
            turn.delete_scratch_file(session.id, file_id)

        await self.registry.turn(session, delete)

    async def handed_over(
        self, session: HubSession, attachments: list[Json] | None
    ) -> list[Json] | None:
        """The attachments of a message, where files of the scratchlist have been uploaded to the
        session, whose machine has no others. Raises NotFound, RpcError.
        """
        if attachments is None:
            return None
        return [await self._handed_over(session, each) for each in attachments]

    async def _handed_over(self, session: HubSession, attachment: Json) -> Json:
        path = attachment.get("path")
        if not isinstance(path, str) or not path.startswith(PATH_PREFIX):
            return attachment
        row, content = await self.file(session, str(attachment.get("id")))
        params = {
            "sessionId": session.id,
            "filename": row.filename,
            "content": base64.b64encode(content).decode(),
            "mimeType": row.mime_type,
        }
        answer = await self.registry.rpc.call(
            session.id, rpc_methods.UPLOAD_FILE, params, SLOW_RPC_TIMEOUT
        )
        uploaded = answer.get("path") if isinstance(answer, dict) else None
        if not isinstance(uploaded, str):
            raise RpcError("The session did not take the file")
        return {**attachment, "path": uploaded}

    def _changed(self, session: HubSession) -> None:
        self.registry.publish_patch(session, scratchlistUpdatedAt=self.registry.now())


def files_by_id(turn: Any, session: HubSession) -> dict[str, ScratchFileRow]:
    return {row.id: row for row in turn.scratch_files(session.id)}


def checked_files(ids: Sequence[str], files: dict[str, ScratchFileRow]) -> tuple[str, ...]:
    """The ids of an entry's files, each once. Raises InvalidRequest, TooLarge."""
    wanted = tuple(dict.fromkeys(ids))
    if any(each not in files for each in wanted):
        raise invalid("Unknown attachment", "attachments")
    if len(wanted) > MAX_ENTRY_FILES:
        raise invalid(f"At most {MAX_ENTRY_FILES} attachments", "attachments")
    if sum(files[each].size for each in wanted) > MAX_ENTRY_SIZE:
        raise too_large("The files of this entry are larger than 20 MB")
    return wanted


def entry_view(session: HubSession, row: ScratchEntryRow, files: dict[str, ScratchFileRow]) -> Json:
    return {
        "entryId": row.id,
        "text": row.text,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "attachments": [
            file_view(session, files[each]) for each in row.attachments if each in files
        ],
    }


def file_view(session: HubSession, row: ScratchFileRow) -> Json:
    return {
        "id": row.id,
        "filename": row.filename,
        "mimeType": row.mime_type,
        "size": row.size,
        "path": f"{PATH_PREFIX}{session.namespace}/{session.id}/{row.id}-{row.filename}",
    }
