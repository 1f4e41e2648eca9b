"""REST for people: sessions, their settings, and how they end and come back."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from attrs import define, frozen
from klein import Klein

from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import (
    Conflict,
    InvalidQuery,
    InvalidRequest,
    OperationFailed,
    RpcError,
    Unavailable,
    Unprocessable,
    field_issues,
)
from hapi.hub.domain.lifecycle import Lifecycle
from hapi.hub.domain.resume import Resuming
from hapi.hub.domain.rpc import QUICK_RPC_TIMEOUT, error_text
from hapi.hub.domain.views import session_view
from hapi.hub.http.openapi.operation import Integer, Parameter, operation
from hapi.hub.http.routing import INVALID_BODY, OK, RequestContext, Routes, api, limited
from hapi.hub.http.scopes import ASKING_MODES, PERMISSION_SETTINGS
from hapi.hub.http.summaries import keep_summaries, list_json, list_sort_key, summary_json
from hapi.protocol import rpc_methods
from hapi.protocol.hub import SETTINGS, WITHOUT_MODEL, has_setting, mode_of, modes_of
from hapi.protocol.offer.metadata import offered_ids
from hapi.protocol.rest.bodies import (
    Body,
    PermissionMode,
    Pin,
    Rename,
    Resume,
    SetAgentMode,
    SetCollaborationMode,
    SetEffort,
    SetModel,
    SetOption,
    SetReasoningEffort,
    SetServiceTier,
    Summarize,
)
from hapi.protocol.rest.outcome import Done
from hapi.protocol.rest.sessions import (
    ArchiveReply,
    ReopenReply,
    ResumeReply,
    SessionList,
    SessionReply,
)
from hapi.protocol.token import Scope

MAX_SESSIONS = 500  # in one list
LIST_LIMIT = Integer(
    "limit",
    f"How many at most. Values out of the range 1 to {MAX_SESSIONS} are moved into it.",
    lowest=1,
    highest=MAX_SESSIONS,
    is_clamped=True,
)
ORDER = Parameter("order", "`updatedAt` lists those first that changed last.")
REOPEN_ERRORS = (Conflict, Unprocessable, Unavailable, OperationFailed)


@frozen
class _Setting:
    """A setting that only some flavors have. `column` is its key in SETTINGS and in the store."""

    name: str  # in the RPC and in events
    column: str
    body: type[Body]  # of the request, with one field


_FLAVOR_SETTINGS: Mapping[str, _Setting] = {  # by the last part of the path
    "effort": _Setting("effort", "effort", SetEffort),
    "model-reasoning-effort": _Setting(
        "modelReasoningEffort", "model_reasoning_effort", SetReasoningEffort
    ),
    "service-tier": _Setting("serviceTier", "service_tier", SetServiceTier),
    "collaboration-mode": _Setting("collaborationMode", "collaboration_mode", SetCollaborationMode),
    "copilot-agent-mode": _Setting("copilotAgentMode", "copilot_agent_mode", SetAgentMode),
}
_SETTING_PATHS = ",".join(f'"{path}"' for path in _FLAVOR_SETTINGS)
_SETTING_BODIES = {path: setting.body for path, setting in _FLAVOR_SETTINGS.items()}


def _mode(session: HubSession, wanted: str) -> str:
    """The permission mode by the session's own name for it. Raises InvalidRequest."""
    mode = mode_of(session.metadata, wanted)
    if mode is None:
        raise InvalidRequest(_mode_refusal(session))
    return mode


def _mode_refusal(session: HubSession) -> str:
    """npm's words, and what the session has if it tells."""
    refusal = "Invalid permission mode for session flavor"
    if "offer" not in session.metadata:
        return refusal
    return f"{refusal}: the agent has {', '.join(modes_of(session.metadata))}"


@define(eq=False, repr=False)
class SessionRoutes(Routes):
    lifecycle: Lifecycle
    resuming: Resuming
    documents: Documents

    app: ClassVar[Klein] = Klein()

    @app.route("/api/sessions", methods=["GET"])
    @api
    @operation(SessionList, query=(LIST_LIMIT, ORDER))
    async def list_sessions(self, context: RequestContext) -> dict[str, Any]:
        """List the sessions."""
        registry = context.registry
        try:
            limit = LIST_LIMIT.read(context.query)
        except InvalidQuery:
            limit = None
        sessions = registry.sessions_of(context.namespace)
        await keep_summaries(sessions, registry.clock)
        if context.query.get(ORDER.name) == "updatedAt":
            sessions.sort(key=lambda session: -session.row.updated_at)
        else:
            sessions.sort(key=list_sort_key)
        if limit is not None:
            sessions = sessions[:limit]
        scheduled = await registry.store.scheduled(context.namespace, registry.now())
        shown = (summary_json(session, scheduled.get(session.id)) for session in sessions)
        return {"sessions": list_json(shown)}

    @app.route("/api/sessions/<session_id>", methods=["GET"])
    @api
    @operation(SessionReply)
    async def read_session(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Show a session."""
        return {"session": session_view(context.session(session_id))}

    @app.route("/api/sessions/<session_id>", methods=["PATCH"])
    @api
    @operation(Done, body=Rename, errors=(Conflict,))
    async def rename(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Rename a session."""
        session = context.session(session_id)
        name = context.body(Rename, "Invalid body: name is required").name.strip()
        if not name:
            raise InvalidRequest("Invalid body: name is required")
        await self.documents.rewrite(session, lambda metadata: {**metadata, "name": name})
        return OK

    @app.route("/api/sessions/<session_id>/summary", methods=["PATCH"])
    @api
    @operation(Done, body=Summarize, errors=(Conflict,))
    async def summarize(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Set the summary of a session."""
        session = context.session(session_id)
        text = context.body(Summarize, "Invalid body: text is required").text.strip()
        if not text:
            raise InvalidRequest("Invalid body: text is required")
        summary = {"text": text, "updatedAt": context.registry.now()}
        await self.documents.rewrite(session, lambda metadata: {**metadata, "summary": summary})
        return OK

    @app.route("/api/sessions/<session_id>/pin", methods=["PUT"])
    @api
    @operation(Done, body=Pin)
    async def pin(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Pin a session in the list, or unpin it."""
        session = context.session(session_id)
        mode = context.body(Pin, "Invalid body: mode must be none, project, or global").mode
        await self.lifecycle.pin(session, mode)
        return OK

    @app.route("/api/sessions/<session_id>", methods=["DELETE"])
    @api
    @operation(Done, errors=(Conflict, Unavailable))
    async def delete(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Delete a session with its messages."""
        await self.lifecycle.delete(context.session(session_id))
        return OK

    @app.route("/api/sessions/<session_id>/archive", methods=["POST"])
    @api
    @operation(ArchiveReply, errors=(Conflict, Unavailable))
    async def archive(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """End the process of a session; its messages are kept."""
        return await self.lifecycle.archive(context.session(session_id))

    @app.route("/api/sessions/<session_id>/reopen", methods=["POST"])
    @api
    @limited(Cost.SPAWN)
    @operation(ReopenReply, errors=REOPEN_ERRORS)
    async def reopen(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Start a session again, with its conversation."""
        session = context.session(session_id)
        if not self.resuming.resumed_modes(session) <= ASKING_MODES:
            context.require(Scope.APPROVE)
        resumed = await self.resuming.resume(session, reopen=True)
        protocol = resumed.session.metadata.get("cursorSessionProtocol")
        extra = {}
        if protocol is not None and resumed.was_started:
            extra["cursorSessionProtocol"] = protocol
        if resumed.memory is not None:
            extra["memory"] = resumed.memory
        answer = {"ok": True, "sessionId": resumed.session.id, "resumed": resumed.is_resumed}
        return answer | extra

    @app.route("/api/sessions/<session_id>/resume", methods=["POST"])
    @api
    @limited(Cost.SPAWN)
    @operation(ResumeReply, body=Resume, errors=REOPEN_ERRORS)
    async def resume(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Start the process of a session again."""
        session = context.session(session_id)
        wanted = context.body(Resume).permission_mode
        mode = None if wanted is None else _mode(session, wanted)
        if not {wanted} | self.resuming.resumed_modes(session, wanted) <= ASKING_MODES:
            context.require(Scope.APPROVE)
        resumed = await self.resuming.resume(session, mode)
        answer: dict[str, Any] = {"type": "success", "sessionId": resumed.session.id}
        if resumed.memory is not None:
            answer |= {"resumed": resumed.is_resumed, "memory": resumed.memory}
        return answer

    @app.route("/api/sessions/<session_id>/abort", methods=["POST"])
    @api
    @operation(Done, errors=(Conflict, RpcError))
    async def abort(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Stop the turn of a session."""
        session = await context.active_session(session_id)
        # npm's hub sends this reason for every abort.
        reason = {"reason": "User aborted via Telegram Bot"}
        registry = context.registry
        await registry.call_session(session, rpc_methods.ABORT, reason, QUICK_RPC_TIMEOUT)
        return OK

    @app.route("/api/sessions/<session_id>/switch", methods=["POST"])
    @api
    @operation(Done, errors=(Conflict, RpcError))
    async def switch(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Take the control of a session from its terminal."""
        session = await context.active_session(session_id)
        asked, registry = {"to": "remote"}, context.registry
        await registry.call_session(session, rpc_methods.SWITCH, asked, QUICK_RPC_TIMEOUT)
        return OK

    # --- settings ---------------------------------------------------------------------------------

    @app.route("/api/sessions/<session_id>/permission-mode", methods=["POST"])
    @api
    @operation(Done, body=PermissionMode, errors=(Conflict,))
    async def set_permission_mode(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Set the permission mode of a session."""
        session = context.session(session_id)
        if not modes_of(session.metadata):
            raise InvalidRequest("Permission mode not supported for session flavor")
        mode = _mode(session, context.body(PermissionMode).mode)
        if session.active:
            await self._apply(context, session, "permissionMode", "permission_mode", mode)
        preferred = {"preferredPermissionMode": mode}
        await self.documents.rewrite(
            session,
            lambda metadata: {**metadata, **preferred},
            columns={"permission_mode": mode},
            counted=False,
        )
        return OK

    @app.route("/api/sessions/<session_id>/model", methods=["POST"])
    @api
    @operation(Done, body=SetModel, errors=(Conflict,))
    async def set_model(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Set the model of a session."""
        session = await context.active_session(session_id)
        value = context.body(SetModel).model
        if isinstance(value, dict) and not set(value) >= {"provider", "modelId"}:
            reason = "Expected an object with the keys provider and modelId"
            raise InvalidRequest(INVALID_BODY, issues=field_issues("model", reason))
        if session.flavor in WITHOUT_MODEL:
            raise InvalidRequest("Model selection is not supported for this session type")
        return await self._set(context, session, "model", "model", value)

    @app.route(f"/api/sessions/<session_id>/<any({_SETTING_PATHS}):path>", methods=["POST"])
    @api
    @operation(Done, body_by_path=_SETTING_BODIES, errors=(Conflict,))
    async def set_flavor_setting(
        self, context: RequestContext, session_id: str, path: str
    ) -> dict[str, Any]:
        """Set a setting that only some agents have."""
        setting = _FLAVOR_SETTINGS[path]
        if path in PERMISSION_SETTINGS:
            context.require(Scope.APPROVE)
        session = await context.active_session(session_id)
        if not has_setting(session.metadata, setting.column):
            raise InvalidRequest(SETTINGS[setting.column][1])
        (value,) = msgspec.structs.astuple(context.body(setting.body))
        return await self._set(context, session, setting.name, setting.column, value)

    @app.route("/api/sessions/<session_id>/option", methods=["POST"])
    @api
    @operation(Done, body=SetOption, errors=(Conflict,))
    async def set_option(self, context: RequestContext, session_id: str) -> dict[str, Any]:
        """Set an option of the agent that has no route of its own (`metadata.offer.options`)."""
        session = await context.active_session(session_id)
        body = context.body(SetOption)
        offer = session.metadata.get("offer")
        if body.id not in (offered_ids(offer, "options") or ()):
            raise InvalidRequest("The agent of this session has no such option")
        option = {"id": body.id, "value": body.value}
        await self._apply(context, session, "option", "option", option)
        return OK

    async def _set(
        self, context: RequestContext, session: HubSession, name: str, column: str, value: Any
    ) -> dict[str, Any]:
        await self._apply(context, session, name, column, value)
        await self.documents.change_setting(session, column, name, value)
        return OK

    async def _apply(
        self, context: RequestContext, session: HubSession, name: str, column: str, value: Any
    ) -> None:
        """Have the session process apply a setting. Raises Conflict if it does not."""
        registry = context.registry
        try:
            answer = await registry.call_session(
                session, rpc_methods.SET_SESSION_CONFIG, {name: value}
            )
        except RpcError as error:
            raise Conflict(str(error)) from error
        problem = error_text(answer)
        if problem is not None:
            raise Conflict(problem)
        applied = answer.get("applied") if isinstance(answer, dict) else None
        if not isinstance(applied, dict) or name not in applied:
            raise Conflict(f"Session did not apply {name}")
        session.applied[column] = (registry.now(), registry.clock.seconds())
