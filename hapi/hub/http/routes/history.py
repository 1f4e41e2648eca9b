"""REST for people: forking, rewinding and clearing the history of a conversation.

An agent's own memory is the history that counts. Where an agent cannot change it, the hub says so
in the words of npm's hub, on which its page decides what to offer.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define
from klein import Klein

from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.errors import Conflict, Unavailable, Unprocessable
from hapi.hub.http.openapi.operation import operation
from hapi.hub.http.routing import RequestContext, Routes, api, limited
from hapi.hub.http.scopes import ASKING_MODES
from hapi.hub.records.fork import Forking
from hapi.protocol.rest.bodies import Fork, Rewind
from hapi.protocol.rest.outcome import Done
from hapi.protocol.rest.sessions import ForkReply
from hapi.protocol.token import Scope


@define(eq=False, repr=False)
class HistoryRoutes(Routes):
    forking: Forking

    app: ClassVar[Klein] = Klein()

    @app.route("/api/sessions/<session_id>/fork", methods=["POST"])
    @api
    @limited(Cost.SPAWN)
    @operation(ForkReply, body=Fork, errors=(Conflict, Unavailable, Unprocessable))
    async def fork(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Begin another session with the memory of this one, if its agent can do that."""
        session, body = await context.active_session(session_id), context.body(Fork)
        if not self.forking.modes(session) <= ASKING_MODES:
            context.require(Scope.APPROVE)
        child = await self.forking.fork(session, body.message_local_id)
        return {"sessionId": child.id}

    @app.route("/api/sessions/<session_id>/rewind", methods=["POST"])
    @api
    @operation(Done, body=Rewind, errors=(Conflict,))
    async def rewind(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Take a conversation back to a prompt, if its agent can do that."""
        context.session(session_id)
        context.body(Rewind)
        raise Conflict("Rewind is not supported for this session", hydrateFailed=False)

    @app.route("/api/sessions/<session_id>/clear", methods=["POST"])
    @api
    @operation(Done, errors=(Conflict,))
    async def clear(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Clear the history that several clients share, if its agent can do that."""
        context.session(session_id)
        raise Conflict("Shared session required")
