"""REST for runners and session processes: `/cli`."""

from __future__ import annotations

from typing import Any

from hapi.hub.domain.entities import Session
from hapi.hub.domain.lifecycle import Refusal
from hapi.hub.domain.registry import Denied
from hapi.hub.domain.views import machine_view, message_view, session_view
from hapi.hub.http.paging import MOST, BadQuery, whole
from hapi.hub.http.routing import Asked, Routes
from hapi.protocol.hub import CreateSession, RegisterMachine

route = Routes()


def _whole(asked: Asked, session: Session) -> dict[str, Any]:
    return {
        "session": session_view(session),
        "sessionSummaryContract": asked.hub.settings.session_summary_contract,
    }


@route("POST", "/cli/sessions")
async def create_session(asked: Asked) -> dict[str, Any]:
    body = asked.body(CreateSession)
    try:
        return _whole(asked, await asked.hub.lifecycle.create(asked.caller.namespace, body))
    except Denied:
        raise Refusal(403, "Machine access denied") from None


@route("GET", "/cli/sessions/<session_id>")
async def read_session(asked: Asked, session_id: str) -> dict[str, Any]:
    return _whole(asked, asked.session(session_id))


@route("GET", "/cli/sessions/<session_id>/messages")
async def messages_after(asked: Asked, session_id: str) -> dict[str, Any]:
    session = asked.session(session_id)
    try:
        seq, limit = whole(asked.query, "afterSeq"), whole(asked.query, "limit", 1, MOST)
    except BadQuery:
        seq = None
    if seq is None:
        raise Refusal(400, "Invalid query")
    rows = await asked.engine.store.after_seq(session.id, seq, limit or MOST, asked.engine.now())
    return {"messages": [message_view(row) for row in rows]}


@route("POST", "/cli/machines")
async def register_machine(asked: Asked) -> dict[str, Any]:
    body = asked.body(RegisterMachine)
    try:
        return {
            "machine": machine_view(
                await asked.hub.documents.register(asked.caller.namespace, body)
            )
        }
    except Denied:
        raise Refusal(403, "Machine access denied") from None


@route("GET", "/cli/machines/<machine_id>")
async def read_machine(asked: Asked, machine_id: str) -> dict[str, Any]:
    return {"machine": machine_view(asked.machine(machine_id))}
