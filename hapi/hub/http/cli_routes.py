"""REST for runners and session processes: `/cli`."""

from __future__ import annotations

from typing import Any

from hapi.hub.domain.entities import Session
from hapi.hub.domain.lifecycle import Refusal
from hapi.hub.domain.registry import Denied
from hapi.hub.domain.views import machine_view, message_view, session_view
from hapi.hub.http.paging import MAX_LIMIT, InvalidQuery, read_integer
from hapi.hub.http.routing import RequestContext, Routes
from hapi.protocol.hub import CreateSession, RegisterMachine

route = Routes()


def _whole(context: RequestContext, session: Session) -> dict[str, Any]:
    return {
        "session": session_view(session),
        "sessionSummaryContract": context.hub.settings.session_summary_contract,
    }


@route("POST", "/cli/sessions")
async def create_session(context: RequestContext) -> dict[str, Any]:
    body = context.body(CreateSession)
    try:
        return _whole(context, await context.hub.lifecycle.create(context.caller.namespace, body))
    except Denied:
        raise Refusal(403, "Machine access denied") from None


@route("GET", "/cli/sessions/<session_id>")
async def read_session(context: RequestContext, session_id: str) -> dict[str, Any]:
    return _whole(context, context.session(session_id))


@route("GET", "/cli/sessions/<session_id>/messages")
async def messages_after(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    try:
        seq, limit = (
            read_integer(context.query, "afterSeq"),
            read_integer(context.query, "limit", 1, MAX_LIMIT),
        )
    except InvalidQuery:
        seq = None
    if seq is None:
        raise Refusal(400, "Invalid query")
    rows = await context.registry.store.after_seq(
        session.id, seq, limit or MAX_LIMIT, context.registry.now()
    )
    return {"messages": [message_view(row) for row in rows]}


@route("POST", "/cli/machines")
async def register_machine(context: RequestContext) -> dict[str, Any]:
    body = context.body(RegisterMachine)
    try:
        return {
            "machine": machine_view(
                await context.hub.documents.register(context.caller.namespace, body)
            )
        }
    except Denied:
        raise Refusal(403, "Machine access denied") from None


@route("GET", "/cli/machines/<machine_id>")
async def read_machine(context: RequestContext, machine_id: str) -> dict[str, Any]:
    return {"machine": machine_view(context.machine(machine_id))}
