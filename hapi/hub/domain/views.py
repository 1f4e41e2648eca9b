"""Views of sessions, machines and messages: for REST, for events, and for lists."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.logger import Logger

from hapi.hub.domain.damage import shown_agent_state, shown_model, shown_todos
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.store.rows import INDETERMINATE, MessageRow
from hapi.protocol import events as protocol_events
from hapi.protocol.hub import (
    agent_session_id,
    public_machine_metadata,
    public_metadata,
    public_runner_state,
)

P = ParamSpec("P")
Entity = TypeVar("Entity", HubSession, HubMachine)
UNREADABLE = ("row",)  # the damage of a row of which nothing but its id can be shown

log = Logger()


def _total(
    view: Callable[Concatenate[Entity, P], dict[str, Any]],
) -> Callable[Concatenate[Entity, P], dict[str, Any]]:
    """Make a view that shows what it can of any row: a list never fails because of one of them."""

    @wraps(view)
    def shown(entity: Entity, /, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        try:
            found = view(entity, *args, **kwargs)
            return {**found, "damaged": list(entity.damage)} if entity.damage else found
        except Exception:
            if entity.reported_damage != UNREADABLE:
                entity.reported_damage = UNREADABLE
                log.failure("The row {id} cannot be shown", id=entity.id)
            return _remains(entity)

    return shown


def _remains(entity: HubSession | HubMachine) -> dict[str, Any]:
    """What is shown of a row that no view can show."""
    row = entity.row
    return {
        "id": row.id,
        "namespace": row.namespace,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "active": entity.active,
        "activeAt": entity.active_at,
        "thinking": False,
        "metadata": None,
        "metadataVersion": row.metadata_version,
        "damaged": list(UNREADABLE),
    }


INPUT_TOOLS = frozenset(
    {"AskUserQuestion", "ask_user_question", "request_user_input", "ExitPlanMode", "exit_plan_mode"}
)
SUMMARY_FIELDS = (
    "name",
    "path",
    "machineId",
    "summary",
    "flavor",
    "worktree",
    "lifecycleState",
    "hapiMcpUrl",
    "agentRest",
)
SETTING_COLUMNS = {  # wire name -> column of the settings that an alive may report
    "permissionMode": "permission_mode",
    "model": "model",
    "modelReasoningEffort": "model_reasoning_effort",
    "effort": "effort",
    "serviceTier": "service_tier",
    "collaborationMode": "collaboration_mode",
    "copilotAgentMode": "copilot_agent_mode",
}
ALWAYS_INCLUDED = ("model", "modelReasoningEffort", "effort", "serviceTier")


def permission_mode(session: HubSession) -> str | None:
    preferred = session.metadata.get("preferredPermissionMode")
    return session.row.permission_mode or (preferred if isinstance(preferred, str) else None)


def settings_view(session: HubSession) -> dict[str, Any]:
    shown = {}
    for name, column in SETTING_COLUMNS.items():
        value = getattr(session.row, column)
        if name == "permissionMode":
            value = permission_mode(session)
        elif name == "model":
            value = shown_model(value)
        if value is not None or name in ALWAYS_INCLUDED:
            shown[name] = value
    return shown


@_total
def session_view(session: HubSession) -> dict[str, Any]:
    """All that clients may see of a session. `damaged`, if anything is, names what is left out."""
    row = session.row
    view: dict[str, Any] = {
        "hasConversationContent": row.has_content,
        "id": row.id,
        "namespace": row.namespace,
        "seq": row.seq,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "pinned": row.pinned,
        "globalPinned": row.global_pinned,
        "active": session.active,
        "activeAt": session.active_at,
        "metadata": public_metadata(row.metadata),
        "metadataVersion": row.metadata_version,
        "agentState": shown_agent_state(row.agent_state),
        "agentStateVersion": row.agent_state_version,
        "thinking": session.thinking,
        "thinkingAt": session.thinking_at,
        "activeTurnStartedAt": session.turn_started_at,
        "backgroundTaskCount": 0,
        "todosUpdatedAt": row.todos_updated_at,
        "teamStateUpdatedAt": row.team_state_updated_at,
        **settings_view(session),
    }
    if (todos := shown_todos(row.todos)) is not None:
        view["todos"] = todos
    if row.team_state is not None:
        view["teamState"] = row.team_state
    return view


def alive_view(session: HubSession) -> dict[str, Any]:
    """The patch that is published for an alive."""
    return {
        "active": session.active,
        "activeAt": session.active_at,
        "thinking": session.thinking,
        "activeTurnStartedAt": session.turn_started_at,
        **settings_view(session),
    }


def request_kind(request: dict[str, Any]) -> str:
    tool = request.get("tool")
    return "input" if isinstance(tool, str) and tool in INPUT_TOOLS else "permission"


@_total
def summary_view(session: HubSession, scheduled: tuple[int, int] | None) -> dict[str, Any]:
    """One entry in the list of sessions; `scheduled`: the number of scheduled prompts, and when the
    next one is due (ms).
    """
    row, shown = session.row, public_metadata(session.row.metadata)
    metadata = None
    if shown is not None:
        metadata = {key: shown[key] for key in SUMMARY_FIELDS if key in shown}
        if "summary" in metadata:
            text = metadata["summary"].get("text")
            metadata["summary"] = {"text": text if isinstance(text, str) else None}
        agent = agent_session_id(shown)
        if agent is not None:
            metadata["agentSessionId"] = agent
    todos = shown_todos(row.todos) or []
    requests = session.requests
    kinds = sorted({request_kind(request) for request in requests.values()}, reverse=True)
    return {
        "hasConversationContent": row.has_content,
        "id": row.id,
        "active": session.active,
        "thinking": session.thinking,
        "activeAt": session.active_at,
        "updatedAt": row.updated_at,
        "pinned": row.pinned,
        "globalPinned": row.global_pinned,
        "metadata": metadata,
        "metadataVersion": row.metadata_version,
        "agentStateVersion": row.agent_state_version,
        "todosUpdatedAt": row.todos_updated_at,
        "todoProgress": {
            "completed": sum(todo.get("status") == "completed" for todo in todos),
            "total": len(todos),
        }
        if todos
        else None,
        "pendingRequestsCount": len(requests),
        "pendingRequestKinds": kinds,
        "pendingRequests": [
            {
                "id": key,
                "kind": request_kind(request),
                "tool": request.get("tool"),
                "since": request.get("createdAt"),
            }
            for key, request in list(requests.items())[:5]
        ],
        "backgroundTaskCount": 0,
        "futureScheduledMessageCount": scheduled[0] if scheduled else 0,
        "nextScheduledAt": scheduled[1] if scheduled else None,
        "model": shown_model(row.model),
        "modelReasoningEffort": row.model_reasoning_effort,
        "effort": row.effort,
    }


@_total
def machine_view(machine: HubMachine) -> dict[str, Any]:
    row = machine.row
    return {
        "id": row.id,
        "namespace": row.namespace,
        "seq": row.seq,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "active": machine.active,
        "activeAt": machine.active_at,
        "metadata": public_machine_metadata(row.metadata),
        "metadataVersion": row.metadata_version,
        "runnerState": public_runner_state(row.runner_state),
        "runnerStateVersion": row.runner_state_version,
        "health": machine.health,
    }


def message_view(row: MessageRow) -> dict[str, Any]:
    view = {
        "id": row.id,
        "seq": row.seq,
        "localId": row.local_id,
        "content": row.content,
        "createdAt": row.created_at,
        "invokedAt": row.invoked_at,
        "scheduledAt": row.scheduled_at,
    }
    return {**view, "deliveryState": INDETERMINATE} if row.delivery == INDETERMINATE else view


def delivery_view(row: MessageRow) -> dict[str, Any]:
    """A message as it is delivered to a session process."""
    return {
        "id": row.id,
        "seq": row.seq,
        "createdAt": row.created_at,
        "localId": row.local_id,
        "content": row.content,
    }


def new_message_update(row: MessageRow) -> dict[str, Any]:
    """The `update` that delivers a message to the sockets of its session."""
    return {
        "id": row.id,
        "seq": row.seq,
        "createdAt": row.created_at,
        "body": {
            "t": protocol_events.UPDATE_NEW_MESSAGE,
            "sid": row.session_id,
            "message": delivery_view(row),
        },
    }
