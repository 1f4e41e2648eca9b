"""REST for people: logging in, and sessions with their settings and their life."""

from __future__ import annotations

from typing import Any

from hapi.hub.domain.entities import Session
from hapi.hub.domain.lifecycle import Refusal
from hapi.hub.domain.rpc import CallFailed, TargetMissing, error_text
from hapi.hub.domain.views import list_sort_key, session_view, summary_view
from hapi.hub.http.paging import InvalidQuery, read_integer
from hapi.hub.http.routing import RequestContext, Routes
from hapi.protocol.hub import (
    PROTOCOL_VERSION,
    SETTINGS,
    WITHOUT_MODEL,
    HubSettingsChange,
    Login,
    PermissionMode,
    Pin,
    Rename,
    Resume,
    Summarize,
    Visibility,
    modes_of,
)

route = Routes()
OK = {"ok": True}


@route("GET", "/health", open=True)
async def health(context: RequestContext) -> dict[str, Any]:
    capabilities = {"workGraph": False, "titleSuggestion": False}
    return {"status": "ok", "protocolVersion": PROTOCOL_VERSION, "capabilities": capabilities}


@route("POST", "/api/auth", open=True)
async def login(context: RequestContext) -> dict[str, Any]:
    body = context.body(Login)
    if body.access_token is None:
        if body.init_data is not None:
            raise Refusal(503, "Telegram authentication is disabled. Configure TELEGRAM_BOT_TOKEN.")
        raise Refusal(400, "Invalid body")
    caller = context.hub.authenticator.access(context.request, body.access_token)
    if caller is None:
        raise Refusal(401, "Invalid access token")
    token = context.hub.token_issuer.issue_web_token(caller, context.registry.now() / 1000)
    return {"token": token, "user": {"id": 1, "firstName": "Web User"}}


@route("GET", "/api/sessions")
async def list_sessions(context: RequestContext) -> dict[str, Any]:
    try:
        limit = read_integer(context.query, "limit", -(1 << 53))
    except InvalidQuery:
        limit = None
    sessions = context.registry.of(context.caller.namespace)
    if context.query.get("order") == "updatedAt":
        sessions.sort(key=lambda session: -session.row.updated_at)
    else:
        sessions.sort(key=list_sort_key)
    if limit is not None:
        sessions = sessions[: min(max(limit, 1), 500)]
    scheduled = await context.registry.store.scheduled(
        context.caller.namespace, context.registry.now()
    )
    return {"sessions": [summary_view(session, scheduled.get(session.id)) for session in sessions]}


@route("GET", "/api/sessions/<session_id>")
async def read(context: RequestContext, session_id: str) -> dict[str, Any]:
    return {"session": session_view(context.session(session_id))}


@route("PATCH", "/api/sessions/<session_id>")
async def rename(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    name = context.body(Rename, "Invalid body: name is required").name.strip()
    if not name:
        raise Refusal(400, "Invalid body: name is required")
    await context.hub.rewrite(session, lambda metadata: {**metadata, "name": name})
    return OK


@route("PATCH", "/api/sessions/<session_id>/summary")
async def summarize(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    text = context.body(Summarize, "Invalid body: text is required").text.strip()
    if not text:
        raise Refusal(400, "Invalid body: text is required")
    summary = {"text": text, "updatedAt": context.registry.now()}
    await context.hub.rewrite(session, lambda metadata: {**metadata, "summary": summary})
    return OK


@route("PUT", "/api/sessions/<session_id>/pin")
async def pin(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    mode = context.body(Pin, "Invalid body: mode must be none, project, or global").mode
    await context.hub.lifecycle.pin(session, mode)
    return OK


@route("DELETE", "/api/sessions/<session_id>")
async def delete(context: RequestContext, session_id: str) -> dict[str, Any]:
    await context.hub.lifecycle.delete(context.session(session_id))
    return OK


@route("POST", "/api/sessions/<session_id>/archive")
async def archive(context: RequestContext, session_id: str) -> dict[str, Any]:
    return await context.hub.lifecycle.archive(context.session(session_id))


@route("POST", "/api/sessions/<session_id>/reopen")
async def reopen(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    alive, resumed = await context.hub.lifecycle.resume(session, reopen=True)
    protocol = alive.metadata.get("cursorSessionProtocol")
    extra = {"cursorSessionProtocol": protocol} if protocol is not None and resumed else {}
    return {"ok": True, "sessionId": alive.id, "resumed": resumed, **extra}


@route("POST", "/api/sessions/<session_id>/resume")
async def resume(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    mode = context.body(Resume).permission_mode
    if mode is not None and mode not in modes_of(session.flavor):
        raise Refusal(400, "Invalid permission mode for session flavor")
    alive, _ = await context.hub.lifecycle.resume(session, mode)
    return {"type": "success", "sessionId": alive.id}


@route("POST", "/api/sessions/<session_id>/abort")
async def abort(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id, active=True)
    await context.registry.rpc.call(
        session.id, "abort", {"reason": "User aborted via Telegram Bot"}
    )
    return OK


@route("POST", "/api/sessions/<session_id>/switch")
async def switch(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id, active=True)
    await context.registry.rpc.call(session.id, "switch", {"to": "remote"})
    return OK


# --- settings --------------------------------------------------------------------------------------------------------


@route("POST", "/api/sessions/<session_id>/permission-mode")
async def permission_mode(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id)
    mode = context.body(PermissionMode).mode
    modes = modes_of(session.flavor)
    if not modes:
        raise Refusal(400, "Permission mode not supported for session flavor")
    if mode not in modes:
        raise Refusal(400, "Invalid permission mode for session flavor")
    if session.active:
        await _apply(context, session, "permissionMode", "permission_mode", mode)
    prefer = {"preferredPermissionMode": mode}
    await context.hub.rewrite(
        session, lambda metadata: {**metadata, **prefer}, {"permission_mode": mode}, counted=False
    )
    return OK


async def _apply(
    context: RequestContext, session: Session, name: str, column: str, value: Any
) -> None:
    """Have the session process take a setting. Raises Refusal 409."""
    try:
        answer = await context.registry.rpc.call(session.id, "set-session-config", {name: value})
    except (TargetMissing, CallFailed) as error:
        raise Refusal(409, str(error)) from error
    problem = error_text(answer)
    if problem is not None:
        raise Refusal(409, problem)
    applied = answer.get("applied") if isinstance(answer, dict) else None
    if not isinstance(applied, dict) or name not in applied:
        raise Refusal(409, f"Session did not apply {name}")
    session.applied[column] = context.registry.now()


async def _set(
    context: RequestContext, session: Session, name: str, column: str, value: Any
) -> dict[str, Any]:
    await _apply(context, session, name, column, value)
    await context.hub.change(session, column, name, value)
    return OK


@route("POST", "/api/sessions/<session_id>/model")
async def model(context: RequestContext, session_id: str) -> dict[str, Any]:
    session = context.session(session_id, active=True)
    body = context.body(dict)
    value = body.get("model")
    provided = isinstance(value, dict) and set(value) >= {"provider", "modelId"}
    if "model" not in body or not (value is None or (isinstance(value, str) and value) or provided):
        raise Refusal(400, "Invalid body")
    if session.flavor in WITHOUT_MODEL:
        raise Refusal(400, "Model selection is not supported for this session type")
    return await _set(context, session, "model", "model", value)


def _setting(
    path: str, name: str, column: str, values: frozenset[str] | None = None, key: str | None = None
) -> None:
    """A route for a setting that only some flavors have."""
    flavors, text = SETTINGS[column]

    async def handle(context: RequestContext, session_id: str) -> dict[str, Any]:
        session = context.session(session_id, active=True)
        if session.flavor not in flavors:
            raise Refusal(400, text)
        value = context.body(dict).get(key or name)
        if not (value is None or (isinstance(value, str) and 0 < len(value) <= 256)) or (
            values and value not in values
        ):
            raise Refusal(400, "Invalid body")
        return await _set(context, session, name, column, value)

    route("POST", f"/api/sessions/<session_id>/{path}")(handle)


_setting("effort", "effort", "effort")
_setting("model-reasoning-effort", "modelReasoningEffort", "model_reasoning_effort")
_setting("service-tier", "serviceTier", "service_tier", frozenset({"fast", "standard"}))
_setting(
    "collaboration-mode",
    "collaborationMode",
    "collaboration_mode",
    frozenset({"default", "plan"}),
    "mode",
)
_setting(
    "copilot-agent-mode",
    "copilotAgentMode",
    "copilot_agent_mode",
    frozenset({"interactive", "plan", "autopilot"}),
    "mode",
)


# --- this hub --------------------------------------------------------------------------------------------------------


@route("POST", "/api/visibility")
async def visibility(context: RequestContext) -> dict[str, Any]:
    body = context.body(Visibility)
    listener = context.registry.events.listener(body.subscription_id)
    if listener is None or listener.subscription.namespace != context.caller.namespace:
        raise Refusal(404, "Subscription not found")
    listener.visible = body.visibility == "visible"
    return OK


@route("GET", "/api/hub-settings")
async def hub_settings(context: RequestContext) -> dict[str, Any]:
    settings = context.hub.settings
    return {
        "sessionSummaryContract": settings.session_summary_contract,
        "sessionSummaryInChat": settings.session_summary_in_chat,
    }


@route("PUT", "/api/hub-settings")
async def change_hub_settings(context: RequestContext) -> Any:
    if context.caller.namespace != "default":
        raise Refusal(403, "Only the owner of the hub may change its settings")
    body = context.body(HubSettingsChange)
    settings = context.hub.settings
    if body.session_summary_contract is not None:
        settings.session_summary_contract = body.session_summary_contract
    if body.session_summary_in_chat is not None:
        settings.session_summary_in_chat = body.session_summary_in_chat
    return await hub_settings(context)
