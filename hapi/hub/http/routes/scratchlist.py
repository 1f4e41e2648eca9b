"""REST for people: what they keep beside a conversation, and the prompts that they use again."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

from attrs import define
from klein import Klein

from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.errors import Conflict, InvalidRequest, NotFound, TooLarge
from hapi.hub.http.openapi.operation import operation
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import MAX_UPLOAD_SIZE, OK, RequestContext, Routes, api, limited
from hapi.hub.records.saved_prompts import SavedPrompts
from hapi.hub.records.scratchlist import LIMITS, Scratchlist
from hapi.protocol.rest.bodies import (
    AddScratchEntry,
    ChangePrompt,
    ChangeScratchEntry,
    SavePrompt,
    ScratchAttachment,
    Upload,
)
from hapi.protocol.rest.outcome import Done
from hapi.protocol.rest.scratchlist import (
    SavedPromptList,
    SavedPromptReply,
    ScratchEntryReply,
    ScratchFileReply,
    ScratchlistLimitsReply,
    ScratchlistReply,
)

_LIST = "/api/sessions/<session_id>/scratchlist"


def _ids(attachments: list[ScratchAttachment] | None) -> list[str] | None:
    return None if attachments is None else [each.id for each in attachments]


@define(eq=False, repr=False)
class ScratchlistRoutes(Routes):
    scratchlist: Scratchlist

    app: ClassVar[Klein] = Klein()

    @app.route(_LIST, methods=["GET"])
    @api
    @operation(ScratchlistReply)
    async def list_entries(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """List what is kept beside a conversation, the newest first."""
        return {"entries": await self.scratchlist.entries(context.session(session_id))}

    @app.route(_LIST, methods=["POST"])
    @api
    @operation(
        ScratchEntryReply,
        body=AddScratchEntry,
        status=201,
        replies={200: ScratchEntryReply},
        errors=(InvalidRequest, Conflict, TooLarge),
    )
    async def add_entry(self, context: RequestContext, session_id: str) -> Response:
        """Keep a text, with files that were uploaded before.

        A known id brings the entry that has it, with the status 200.
        """
        session, body = context.session(session_id), context.body(AddScratchEntry)
        entry, is_new = await self.scratchlist.add(
            session, body.text, _ids(body.attachments) or [], body.entry_id, body.created_at
        )
        return Response(201 if is_new else 200, {"entry": entry})

    @app.route(f"{_LIST}/limits", methods=["GET"])
    @api
    @operation(ScratchlistLimitsReply)
    async def read_limits(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Tell what a scratchlist can hold."""
        context.session(session_id)
        return {"limits": LIMITS}

    @app.route(f"{_LIST}/upload", methods=["POST"])
    @api
    @limited(Cost.UPLOAD)
    @operation(ScratchFileReply, body=Upload, errors=(InvalidRequest, TooLarge))
    async def upload(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Upload a file for the scratchlist. The hub keeps it."""
        session, body = context.session(session_id), context.body(Upload, limit=MAX_UPLOAD_SIZE)
        attachment = await self.scratchlist.upload(
            session, body.filename, body.content, body.mime_type
        )
        return {"success": True, "attachment": attachment}

    @app.route(f"{_LIST}/attachments/<attachment_id>", methods=["GET"])
    @api
    @operation(None, media_type="*/*", errors=(NotFound,))
    async def read_file(
        self, context: RequestContext, session_id: str, attachment_id: str
    ) -> Response:
        """Read a file of the scratchlist."""
        row, content = await self.scratchlist.file(context.session(session_id), attachment_id)
        headers = {
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(row.filename)}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(200, content, headers, row.mime_type)

    @app.route(f"{_LIST}/attachments/<attachment_id>", methods=["DELETE"])
    @api
    @operation(Done, errors=(Conflict,))
    async def delete_file(
        self, context: RequestContext, session_id: str, attachment_id: str
    ) -> dict[str, Any]:
        """Delete a file that no entry has."""
        await self.scratchlist.delete_file(context.session(session_id), attachment_id)
        return OK

    @app.route(f"{_LIST}/<entry_id>", methods=["PUT"])
    @api
    @operation(
        ScratchEntryReply,
        body=ChangeScratchEntry,
        errors=(InvalidRequest, NotFound, TooLarge),
    )
    async def change_entry(
        self, context: RequestContext, session_id: str, entry_id: str
    ) -> dict[str, Any]:
        """Change what is kept."""
        session, body = context.session(session_id), context.body(ChangeScratchEntry)
        attachments = _ids(body.attachments)
        return {"entry": await self.scratchlist.change(session, entry_id, body.text, attachments)}

    @app.route(f"{_LIST}/<entry_id>", methods=["DELETE"])
    @api
    @operation(Done, errors=(NotFound,))
    async def delete_entry(
        self, context: RequestContext, session_id: str, entry_id: str
    ) -> dict[str, Any]:
        """Remove what was kept. Its files stay until they are deleted."""
        await self.scratchlist.delete(context.session(session_id), entry_id)
        return OK


@define(eq=False, repr=False)
class SavedPromptRoutes(Routes):
    prompts: SavedPrompts

    app: ClassVar[Klein] = Klein()

    @app.route("/api/prompts", methods=["GET"])
    @api
    @operation(SavedPromptList)
    async def list_prompts(self, context: RequestContext) -> dict[str, Any]:
        """List the saved prompts, in the order in which they were saved."""
        return {"prompts": await self.prompts.list(context.namespace)}

    @app.route("/api/prompts", methods=["POST"])
    @api
    @operation(SavedPromptReply, body=SavePrompt, status=201, errors=(Conflict,))
    async def save(self, context: RequestContext) -> Response:
        """Save a prompt for all devices of the namespace."""
        body = context.body(SavePrompt)
        prompt = await self.prompts.add(context.namespace, body.name, body.text)
        return Response(201, {"prompt": prompt})

    @app.route("/api/prompts/<prompt_id>", methods=["PUT"])
    @api
    @operation(SavedPromptReply, body=ChangePrompt, errors=(NotFound,))
    async def change(self, context: RequestContext, prompt_id: str) -> dict[str, Any]:
        """Change a saved prompt."""
        body = context.body(ChangePrompt)
        prompt = await self.prompts.change(context.namespace, prompt_id, body.name, body.text)
        return {"prompt": prompt}

    @app.route("/api/prompts/<prompt_id>", methods=["DELETE"])
    @api
    @operation(Done, errors=(NotFound,))
    async def delete(self, context: RequestContext, prompt_id: str) -> dict[str, Any]:
        """Delete a saved prompt."""
        await self.prompts.delete(context.namespace, prompt_id)
        return OK
