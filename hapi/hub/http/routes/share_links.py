"""REST for share links: made, listed and revoked by people, and read by anybody who has one."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import define
from klein import Klein

from hapi.hub.domain.errors import Conflict, InvalidRequest, NotFound, RequestRateLimited
from hapi.hub.http.openapi.operation import Parameter, operation
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import OK, RequestContext, Routes, api, public
from hapi.hub.records.sharing import Sharing, link_view, read_cursor
from hapi.protocol.rest.bodies import CreateShareLink
from hapi.protocol.rest.outcome import Done
from hapi.protocol.rest.share_links import NewShareLink, SharedConversation, ShareLinkList

CURSOR = Parameter("cursor", "`cursor` of the page before.")
PRIVATE: Mapping[str, str] = {"X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "no-referrer"}


@define(eq=False, repr=False)
class ShareRoutes(Routes):
    sharing: Sharing

    app: ClassVar[Klein] = Klein()

    @app.route("/api/sessions/<session_id>/share-links", methods=["GET"])
    @api
    @operation(ShareLinkList)
    async def list_links(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """List the share links of a conversation, without their secrets."""
        links = await self.sharing.links(context.session(session_id))
        return {"links": [link_view(row) for row in links]}

    @app.route("/api/sessions/<session_id>/share-links", methods=["POST"])
    @api
    @operation(
        NewShareLink,
        body=CreateShareLink,
        errors=(InvalidRequest, Conflict),
        status=201,
    )
    async def create(self, context: RequestContext, session_id: str) -> Response:
        """Make a link under which anybody may read the conversation.

        The reply is the only place where its address ever stands.
        """
        session, body = context.session(session_id), context.body(CreateShareLink)
        row, secret = await self.sharing.create(
            session,
            body.expires_in,
            body.includes_later,
            body.includes_tools,
            body.includes_thoughts,
        )
        return Response(201, {**link_view(row), "path": f"/share/{secret}"})

    @app.route("/api/sessions/<session_id>/share-links/<link_id>", methods=["DELETE"])
    @api
    @operation(Done, errors=(NotFound,))
    async def revoke(
        self, context: RequestContext, session_id: str, link_id: str
    ) -> dict[str, Any]:
        """Revoke a share link at once."""
        await self.sharing.revoke(context.session(session_id), link_id)
        return OK

    @app.route("/api/share/<secret>", methods=["GET"])
    @public
    @operation(
        SharedConversation,
        query=(CURSOR,),
        errors=(InvalidRequest, NotFound, RequestRateLimited),
    )
    async def read(self, context: RequestContext, secret: str) -> Response:
        """Read a page of a conversation that was shared."""
        after = read_cursor(context.query.get(CURSOR.name))
        address = self.dispatcher.authenticator.address(context.request)
        row, session = await self.sharing.opened(secret, address)
        page = await self.sharing.page(row, after)
        return Response(200, {**self.sharing.about(row, session), **page}, PRIVATE)
