"""REST for people: search, usage of tokens, size of the database, export of a conversation."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define
from klein import Klein

from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.errors import (
    AccessDenied,
    InvalidQuery,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from hapi.hub.http.openapi.operation import Flag, Integer, Parameter, operation
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import RequestContext, Routes, api, limited
from hapi.hub.records.export import Exporter, ExportTooLarge
from hapi.hub.records.query import MAX_QUERY_LENGTH
from hapi.hub.records.search import DEFAULT_LIMIT, MAX_LIMIT, ConversationSearch
from hapi.hub.records.usage import DEFAULT_RANGE, DEFAULT_ZONE, UsageSummary, time_zone
from hapi.protocol.rest.hub import StorageReply
from hapi.protocol.rest.records import SearchReply, SessionExport, UsageReply
from hapi.protocol.token import DEFAULT_NAMESPACE

QUERY = Parameter("q", "Words, phrases in quotation marks, and beginnings of words (`wor*`).", True)
LIMIT = Integer("limit", "How many results at most.", lowest=1, highest=MAX_LIMIT)
CURSOR = Integer("cursor", "`nextCursor` of the page before.", highest=(1 << 63) - 1)
IN_SESSION = Parameter("sessionId", "Search in this session only.")
RANGE = Parameter("range", "`7d` (default), `30d` or `all`.")
TIME_ZONE = Parameter("timeZone", "The IANA name of the zone whose days are counted (UTC).")
FORCE = Flag("force", "`true`: also a very long conversation.")


@define(eq=False, repr=False)
class RecordRoutes(Routes):
    search: ConversationSearch
    usage: UsageSummary
    exporter: Exporter

    app: ClassVar[Klein] = Klein()

    @app.route("/api/search", methods=["GET"])
    @api
    @limited(Cost.SEARCH)
    @operation(
        SearchReply,
        query=(QUERY, LIMIT, CURSOR, IN_SESSION),
        errors=(InvalidRequest, NotFound, Unavailable),
    )
    async def find(self, context: RequestContext) -> dict[str, Any]:
        """Search all conversations, the newest messages first."""
        text = context.query.get(QUERY.name, "")
        if not text:
            raise InvalidQuery(QUERY.name, "Invalid input: expected string, received undefined")
        if len(text) > MAX_QUERY_LENGTH:
            raise InvalidQuery(QUERY.name, f"Too big: at most {MAX_QUERY_LENGTH} characters")
        session_id = context.query.get(IN_SESSION.name)
        if session_id is not None:
            session_id = context.session(session_id).id
        limit, cursor = LIMIT.read(context.query), CURSOR.read(context.query)
        return await self.search.search(
            context.namespace, text, limit or DEFAULT_LIMIT, cursor, session_id
        )

    @app.route("/api/usage/summary", methods=["GET"])
    @api
    @operation(UsageReply, query=(RANGE, TIME_ZONE), errors=(InvalidRequest,))
    async def summarize_usage(self, context: RequestContext) -> dict[str, Any]:
        """Tell how many tokens were used, by day, agent and model."""
        zone = time_zone(context.query.get(TIME_ZONE.name) or DEFAULT_ZONE)
        chosen = context.query.get(RANGE.name, DEFAULT_RANGE)
        return await self.usage.summary(context.namespace, chosen, zone)

    @app.route("/api/storage/sqlite", methods=["GET"])
    @api
    @operation(StorageReply)
    async def storage(self, context: RequestContext) -> dict[str, Any]:
        """Tell how much room the hub's database takes."""
        if context.namespace != DEFAULT_NAMESPACE:
            raise AccessDenied("Only the owner of the hub may see its files")
        path, sizes = context.registry.store.files()
        return {
            "path": path,
            "databaseBytes": sizes[""],
            "walBytes": sizes["-wal"],
            "shmBytes": sizes["-shm"],
            "totalBytes": sum(sizes.values()),
        }

    @app.route("/api/sessions/<session_id>/export", methods=["GET"])
    @api
    @operation(SessionExport, query=(FORCE,), errors=(ExportTooLarge,))
    async def export(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Export a conversation with all of its messages."""
        session = context.session(session_id)
        return await self.exporter.export(session, FORCE.read(context.query))

    @app.route("/api/sessions/<session_id>/export/markdown", methods=["GET"])
    @api
    @operation(None, query=(FORCE,), errors=(ExportTooLarge,), media_type="text/markdown")
    async def export_markdown(self, context: RequestContext, session_id: str) -> Response:
        """Export a conversation as Markdown."""
        session = context.session(session_id)
        text = await self.exporter.markdown(session, FORCE.read(context.query))
        return Response(200, text, kind="text/markdown; charset=utf-8")
