"""REST for people: the conversation, its queue, and permissions."""

from __future__ import annotations

from typing import Any

import msgspec

from hapi.hub.domain.entities import Session
from hapi.hub.domain.lifecycle import Refusal
from hapi.hub.domain.messages import PromptBusy, PromptCancelled, PromptInvoked
from hapi.hub.domain.views import message_view
from hapi.hub.http.paging import page, page_query
from hapi.hub.http.routing import RequestContext, Routes
from hapi.hub.store.rows import INDETERMINATE, MessageRow
from hapi.protocol.hub import STEERED, Approve, Deny, PostMessage, QueuedState, modes_of

route = Routes()
MAX_SCHEDULE_AHEAD = 7 * 24 * 3600 * 1000  # ms that a prompt may be scheduled ahead
OK = {"ok": True}


def _issue(field: str, reason: str) -> Refusal:
    return Refusal(400, "Invalid body", issues={"formErrors": [], "fieldErrors": {field: [reason]}})


@route("GET", "/api/sessions/<session_id>/messages")
async def read(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    return await page(context.registry.store, session, page_query(context.query))


@route("POST", "/api/sessions/<session_id>/messages")
async def post(context: RequestContext, session_id: str) -> dict[str, Any]:
    """Keep a prompt. One for a session whose process is only coming up waits for it."""
    session = context.session(session_id, active=True, or_expected=True)
    body = context.body(PostMessage, issues=True)
    if not body.text and not body.attachments:
        raise Refusal(400, "Message requires text or attachments")
    if body.scheduled_at is not None:
        if body.local_id is None:
            raise _issue("localId", "scheduledAt requires localId")
        if body.attachments:
            raise _issue("attachments", "scheduledAt cannot be combined with attachments")
        if body.delivery_mode == "steer":
            raise _issue("deliveryMode", "scheduledAt cannot be combined with steer")
        if body.scheduled_at > context.registry.now() + MAX_SCHEDULE_AHEAD:
            raise _issue("scheduledAt", "scheduledAt must be within 7 days")
    await context.hub.messages.post(session, body)
    return OK


@route("POST", "/api/sessions/<session_id>/messages/queued-state")
async def queued_state(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    names = context.body(QueuedState).local_ids
    rows = await context.registry.store.local_messages(session.id, list(dict.fromkeys(names)))
    waiting = [row for row in rows if row.invoked_at is None]
    return {
        "queuedLocalIds": [row.local_id for row in waiting if row.delivery != INDETERMINATE],
        "indeterminateLocalIds": [row.local_id for row in waiting if row.delivery == INDETERMINATE],
        "invokedLocalMessages": [
            {"localId": row.local_id, "invokedAt": row.invoked_at}
            for row in rows
            if row.invoked_at is not None
        ],
    }


def _with_session(row: MessageRow) -> dict[str, Any]:
    return {**message_view(row), "sessionId": row.session_id}


@route("DELETE", "/api/sessions/<session_id>/messages/<name>")
async def cancel(context: RequestContext, session_id: str, name: str) -> dict[str, Any]:
    session = context.session(session_id)
    match await context.hub.messages.cancel(session, name):
        case PromptCancelled(local_id):
            return {"status": "cancelled", "localId": local_id}
        case PromptBusy(local_id):
            return {"status": "busy", "localId": local_id}
        case PromptInvoked(message):
            return {"status": "invoked", "message": _with_session(message)}


@route("POST", "/api/sessions/<session_id>/messages/<name>/retry")
async def retry(context: RequestContext, session_id: str, name: str) -> dict[str, Any]:
    session = context.session(session_id)
    result = await context.hub.messages.retry(session, name)
    body: dict[str, Any] = {"status": result.status, "localId": result.local_id}
    return body if result.message is None else {**body, "message": _with_session(result.message)}


@route("POST", "/api/sessions/<session_id>/messages/<name>/steer")
async def steer(context: RequestContext, session_id: str, name: str) -> dict[str, Any]:
    session = context.session(session_id, active=True)
    message = await context.registry.store.message(session.id, name)
    if message is None:
        raise Refusal(404, "Message not found")
    if message.invoked_at is not None:
        return {"status": "invoked", "localId": message.local_id}
    if session.flavor not in STEERED and session.metadata.get("cursorSessionProtocol") != "acp":
        return {
            "status": "failed",
            "error": "Steering is not supported for this session type",
            "localId": message.local_id,
        }
    answer = await context.registry.rpc.call(
        session.id, "steer-queued-message", {"localId": message.local_id}
    )
    status = answer.get("status") if isinstance(answer, dict) else None
    if status in ("steered", "invoked"):
        return {"status": status, "localId": message.local_id}
    return {"status": "failed", "error": "The session did not steer", "localId": message.local_id}


# --- permissions -----------------------------------------------------------------------------------------------------


def _waits(session: Session, request_id: str) -> Any:
    """The request, if it waits for an answer and none is on its way. Raises Refusal 404."""
    request = session.requests.get(request_id)
    if request is None or session.answered.get(request_id) == request:
        raise Refusal(404, "Request not found")
    return request


async def _answer(
    context: RequestContext, session: Session, answer: dict[str, Any], request: Any
) -> dict[str, bool]:
    """The first answer counts: whoever comes while it is on its way hears that the request is not there any more."""
    request_id = answer["id"]
    session.answered = {
        name: found
        for name, found in session.answered.items()
        if session.requests.get(name) == found
    }
    session.answered[request_id] = request
    try:
        await context.registry.rpc.call(session.id, "permission", answer)
    except Exception:
        session.answered.pop(request_id, None)
        raise
    return OK


@route("POST", "/api/sessions/<session_id>/permissions/<request_id>/approve")
async def approve(context: RequestContext, session_id: str, request_id: str) -> dict[str, Any]:
    session = context.session(session_id, active=True)
    request = _waits(session, request_id)
    body = context.body(Approve)
    if body.mode is not None and body.mode not in modes_of(session.flavor):
        raise Refusal(400, "Invalid permission mode for session flavor")
    return await _answer(
        context, session, {"id": request_id, "approved": True, **msgspec.to_builtins(body)}, request
    )


@route("POST", "/api/sessions/<session_id>/permissions/<request_id>/deny")
async def deny(context: RequestContext, session_id: str, request_id: str) -> dict[str, Any]:
    session = context.session(session_id, active=True)
    request = _waits(session, request_id)
    return await _answer(
        context,
        session,
        {"id": request_id, "approved": False, **msgspec.to_builtins(context.body(Deny))},
        request,
    )
