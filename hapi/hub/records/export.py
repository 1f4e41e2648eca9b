"""Export of a whole conversation."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import define
from twisted.internet.task import deferLater

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import TooLarge
from hapi.hub.domain.notifications import session_label
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.views import message_view, session_view
from hapi.hub.records.markdown import document, iso
from hapi.hub.records.scratchlist import Scratchlist
from hapi.hub.store.rows import MessageRow
from hapi.protocol.agents import agent_named

SCHEMA_VERSION = 2  # of npm's export
PIECE = 100  # messages that are read at once; in between, the hub serves others
MAX_MESSAGES = 20_000  # that are exported without `force`
MAX_SIZE = 256 << 20  # bytes that are exported at most


class ExportTooLarge(TooLarge):
    """The conversation has more messages than are exported without `force`, or more bytes than are
    exported at all.
    """


@define(eq=False, repr=False)
class Exporter:
    registry: HubRegistry
    scratchlist: Scratchlist

    async def messages(self, session: HubSession, force: bool) -> list[MessageRow]:
        """All messages of a conversation in their order. Raises ExportTooLarge."""
        if session.row.last_seq > MAX_MESSAGES and not force:
            raise ExportTooLarge(
                "This conversation is very long: ask again with force=true to export it",
                "session_export_too_large",
                count=session.row.last_seq,
                limit=MAX_MESSAGES,
            )
        found: list[MessageRow] = []
        position, size = (-1, -1), 0
        store = self.registry.store
        while True:
            rows = await store.after(session.id, position, None, PIECE)
            found += rows
            size += sum(
                memoryview(row.content).nbytes
                for row in rows
                if isinstance(row.content, msgspec.Raw)
            )
            if size > MAX_SIZE:
                raise ExportTooLarge(
                    "This conversation is too large to be exported",
                    "session_export_too_large",
                    count=session.row.last_seq,
                    limit=MAX_MESSAGES,
                )
            if len(rows) < PIECE:
                return found
            position = rows[-1].position
            await deferLater(self.registry.clock, 0)

    async def markdown(self, session: HubSession, force: bool) -> str:
        """The conversation as Markdown. Raises ExportTooLarge."""
        messages, row = await self.messages(session, force), session.row
        facts = [
            ("Agent", agent_named(session.flavor).label),
            ("Directory", str(session.public_metadata.get("path") or "")),
            ("Begun", iso(row.created_at)),
            ("Exported", iso(self.registry.now())),
        ]
        return document(session_label(session), facts, messages)

    async def export(self, session: HubSession, force: bool) -> dict[str, Any]:
        messages = await self.messages(session, force)
        return {
            "schemaVersion": SCHEMA_VERSION,
            "exportedAt": self.registry.now(),
            "session": session_view(session),
            "messages": [message_view(row) for row in messages],
            "scratchlist": await self.scratchlist.entries(session),
        }
