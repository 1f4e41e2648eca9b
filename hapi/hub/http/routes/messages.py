"""REST for people: the conversation and its queue."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define
from klein import Klein
from msgspec.structs import replace

from hapi.hub.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    RpcError,
    field_issues,
)
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.queued_prompts import (
    PromptBusy,
    PromptCancelled,
    PromptInvoked,
    QueuedPrompts,
)
from hapi.hub.domain.rpc import QUICK_RPC_TIMEOUT
from hapi.hub.domain.views import message_view
from hapi.hub.http.openapi.operation import operation
from hapi.hub.http.paging import PAGE_PARAMETERS, PageReader, page_query
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import OK, RequestContext, Routes, api
from hapi.hub.records.scratchlist import Scratchlist
from hapi.hub.store.rows import INDETERMINATE, MessageRow
from hapi.protocol import rpc_methods
from hapi.protocol.hub import STEERED
from hapi.protocol.rest.bodies import PostMessage, QueuedState
from hapi.protocol.rest.messages import (
    CancelReply,
    MessagePage,
    QueuedStateReply,
    RetryReply,
    SteerReply,
)
from hapi.protocol.rest.outcome import Done

MAX_SCHEDULE_AHEAD = 7 * 24 * 3600 * 1000  # ms


def _invalid(field: str, reason: str) -> InvalidRequest:
    return InvalidRequest("Invalid body", issues=field_issues(field, reason))


@define(eq=False, repr=False)
class MessageRoutes(Routes):
    messages: Messages
    queued: QueuedPrompts
    pages: PageReader
    scratchlist: Scratchlist

    app: ClassVar[Klein] = Klein()

    @app.route("/api/sessions/<session_id>/messages", methods=["GET"])
    @api
    @operation(MessagePage, query=PAGE_PARAMETERS, errors=(InvalidRequest, NotFound))
    async def list_messages(self, context: RequestContext, session_id: str) -> Response:
        """List the messages of a session, a page of them."""
        session = context.session(session_id)
        query = page_query(context.query)
        return Response(200, await self.pages.read(context.registry.store, session, query))

    @app.route("/api/sessions/<session_id>/messages", methods=["POST"])
    @api
    @operation(Done, body=PostMessage, errors=(Conflict, RpcError))
    async def post(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Keep a prompt. A prompt for a session whose process is still starting waits for it."""
        session = await context.session_for_prompt(session_id)
        body = context.body(PostMessage)
        if not body.text and not body.attachments:
            raise InvalidRequest("Message requires text or attachments")
        if body.scheduled_at is not None:
            if body.local_id is None:
                raise _invalid("localId", "scheduledAt requires localId")
            if body.attachments:
                raise _invalid("attachments", "scheduledAt cannot be combined with attachments")
            if body.delivery_mode == "steer":
                raise _invalid("deliveryMode", "scheduledAt cannot be combined with steer")
            if body.scheduled_at > context.registry.now() + MAX_SCHEDULE_AHEAD:
                raise _invalid("scheduledAt", "scheduledAt must be within 7 days")
        attachments = await self.scratchlist.handed_over(session, body.attachments)
        await self.messages.post(session, replace(body, attachments=attachments))
        return OK

    @app.route("/api/sessions/<session_id>/messages/queued-state", methods=["POST"])
    @api
    @operation(QueuedStateReply, body=QueuedState)
    async def queued_state(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Tell what became of prompts."""
        session = context.session(session_id)
        local_ids = list(dict.fromkeys(context.body(QueuedState).local_ids))
        rows = await context.registry.store.local_messages(session.id, local_ids)
        waiting = [row for row in rows if row.invoked_at is None]
        return {
            "queuedLocalIds": [row.local_id for row in waiting if row.delivery != INDETERMINATE],
            "indeterminateLocalIds": [
                row.local_id for row in waiting if row.delivery == INDETERMINATE
            ],
            "invokedLocalMessages": [
                {"localId": row.local_id, "invokedAt": row.invoked_at}
                for row in rows
                if row.invoked_at is not None
            ],
        }

    @app.route("/api/sessions/<session_id>/messages/<name>", methods=["DELETE"])
    @api
    @operation(CancelReply, errors=(Conflict,))
    async def cancel(self, context: RequestContext, session_id: str, name: str) -> dict[str, Any]:
        """Cancel a prompt that the agent does not have yet."""
        session = context.session(session_id)
        match await self.queued.cancel(session, name):
            case PromptCancelled(local_id):
                return {"status": "cancelled", "localId": local_id}
            case PromptBusy(local_id):
                return {"status": "busy", "localId": local_id}
            case PromptInvoked(message):
                return {"status": "invoked", "message": _with_session(message)}

    @app.route("/api/sessions/<session_id>/messages/<name>/retry", methods=["POST"])
    @api
    @operation(RetryReply)
    async def retry(self, context: RequestContext, session_id: str, name: str) -> dict[str, Any]:
        """Queue a prompt again that may not have reached the agent."""
        session = context.session(session_id)
        result = await self.queued.retry(session, name)
        body: dict[str, Any] = {"status": result.status, "localId": result.local_id}
        if result.message is not None:
            body["message"] = _with_session(result.message)
        return body

    @app.route("/api/sessions/<session_id>/messages/<name>/steer", methods=["POST"])
    @api
    @operation(SteerReply, errors=(Conflict, RpcError))
    async def steer(self, context: RequestContext, session_id: str, name: str) -> dict[str, Any]:
        """Give a queued prompt to the agent during its turn."""
        session = await context.active_session(session_id)
        message = await context.registry.store.message(session.id, name)
        if message is None:
            raise NotFound("Message not found")
        if message.invoked_at is not None:
            return {"status": "invoked", "localId": message.local_id}
        if session.flavor not in STEERED and session.metadata.get("cursorSessionProtocol") != "acp":
            return _steer_failed(message, "Steering is not supported for this session type")
        answer = await context.registry.call_session(
            session,
            rpc_methods.STEER_QUEUED_MESSAGE,
            {"localId": message.local_id},
            QUICK_RPC_TIMEOUT,
        )
        status = answer.get("status") if isinstance(answer, dict) else None
        if status in ("steered", "invoked"):
            return {"status": status, "localId": message.local_id}
        return _steer_failed(message, "The session did not steer")


def _with_session(row: MessageRow) -> dict[str, Any]:
    return {**message_view(row), "sessionId": row.session_id}


def _steer_failed(message: MessageRow, reason: str) -> dict[str, Any]:
    return {"status": "failed", "error": reason, "localId": message.local_id}
