"""Permission requests: the agent state at the hub, people's answers, and the answer in ACP.

Keys and rules are those of session.md 6. Pure; times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

from hapi.protocol.acp.permission_requests import PermissionOption
from hapi.protocol.agents import PERMISSION_MODES
from hapi.protocol.session import initial_state

MAX_COMPLETED_REQUESTS = 100  # completed permission requests that stay in the state

Json = dict[str, Any]
CANCELLED: Json = {"outcome": {"outcome": "cancelled"}}  # the ACP answer when nobody will decide

# --- agent state: permission requests ------------------------------------------------------------


def with_request(state: Any, request_id: str, tool: str, arguments: Any, now: int) -> Json:
    found = _state(state)
    entry = {"tool": tool, "arguments": arguments, "createdAt": now}
    return {**found, "requests": {**found.get("requests", {}), request_id: entry}}


@frozen
class PermissionOutcome:
    """The outcome of a request. `status`: approved, denied, canceled; `decision`: as received."""

    status: str
    decision: str | None = None
    reason: str | None = None
    mode: str | None = None
    allow_tools: tuple[str, ...] | None = None
    answers: Any = None

    def entry(self) -> Json:
        fields = {
            "status": self.status,
            "reason": self.reason,
            "mode": self.mode,
            "decision": self.decision,
            "allowTools": None if self.allow_tools is None else list(self.allow_tools),
            "answers": self.answers,
        }
        return {key: value for key, value in fields.items() if value is not None}


ABORTED = PermissionOutcome("canceled", "abort", "User aborted")


def with_completed_request(
    state: Any,
    request_id: str,
    outcome: PermissionOutcome,
    now: int,
    request: Mapping[str, Any] | None = None,
) -> Json:
    """Move a request to the completed ones; `request` stands in for one that was never shown."""
    found = _state(state)
    waiting = dict(found.get("requests", {}))
    entry = waiting.pop(request_id, None) or request
    if entry is None:
        return {**found, "requests": waiting}
    return {
        **found,
        "requests": waiting,
        "completedRequests": _completed(found, {request_id: _closed(entry, outcome, now)}),
    }


def with_all_requests_canceled(state: Any, outcome: PermissionOutcome, now: int) -> Json:
    """Cancel all waiting requests."""
    found = _state(state)
    waiting = found.get("requests") or {}
    if not waiting:
        return found
    closed = {request_id: _closed(entry, outcome, now) for request_id, entry in waiting.items()}
    return {**found, "requests": {}, "completedRequests": _completed(found, closed)}


def _state(state: Any) -> Json:
    return dict(state) if isinstance(state, Mapping) else initial_state()


def _closed(entry: Mapping[str, Any], outcome: PermissionOutcome, now: int) -> Json:
    return {**entry, "completedAt": now, **outcome.entry()}


def _completed(state: Mapping[str, Any], more: Mapping[str, Any]) -> Json:
    """The newest completed requests: the state is sent whole, and arguments may be large."""
    both = {**(state.get("completedRequests") or {}), **more}
    return dict(list(both.items())[-MAX_COMPLETED_REQUESTS:])


# --- permission: answers and automatic approval -------------------------------------------------

Decision = Literal["approved", "approved_for_session", "denied", "abort"]
DECISIONS = ("approved", "approved_for_session", "denied", "abort")


@frozen
class PermissionAnswer:
    """A person's answer to a request. `mode`: a permission mode to continue with."""

    request_id: str
    approved: bool
    decision: str
    given: str | None = None  # the decision as it was sent
    mode: str | None = None
    allow_tools: tuple[str, ...] | None = None
    answers: Any = None

    @property
    def outcome(self) -> PermissionOutcome:
        status = "approved" if self.approved else "denied"
        return PermissionOutcome(
            status, self.given or self.decision, None, self.mode, self.allow_tools, self.answers
        )


def read_permission_answer(params: Any) -> PermissionAnswer:
    """The parameters of the `permission` RPC. Raises ValueError with a sentence."""
    found = params if isinstance(params, Mapping) else {}
    request_id, approved = found.get("id"), found.get("approved")
    if not isinstance(request_id, str) or not request_id:
        raise ValueError("permission needs the id of the request")
    if not isinstance(approved, bool):
        raise ValueError("permission needs approved: true or false")
    given = found.get("decision")
    given = given if given in DECISIONS else None
    tools = found.get("allowTools")
    tools = (
        tuple(tool for tool in tools if isinstance(tool, str)) if isinstance(tools, list) else None
    )
    mode = found.get("mode")
    decision = given or (
        "approved_for_session" if tools and approved else "approved" if approved else "denied"
    )
    if approved != decision.startswith("approved"):
        decision = "approved" if approved else "denied"
    return PermissionAnswer(
        request_id,
        approved,
        decision,
        given,
        mode if isinstance(mode, str) else None,
        tools,
        found.get("answers"),
    )


_OPTION_KINDS = {
    "approved": ("allow_once", "allow_always"),
    "approved_for_session": ("allow_always", "allow_once"),
    "denied": ("reject_once", "reject_always"),
}


def acp_permission_answer(decision: str, options: Sequence[PermissionOption]) -> Json:
    """The ACP answer to a permission request that means `decision`.

    It selects the first of the agent's options of a fitting kind; without one it is CANCELLED.
    """
    for kind in _OPTION_KINDS.get(decision, ()):
        for option in options:
            if option.kind == kind:
                return {"outcome": {"outcome": "selected", "optionId": option.id}}
    return CANCELLED


_WRITES = (
    "write",
    "edit",
    "create",
    "delete",
    "patch",
    "move",
    "rename",
    "remove",
    "replace",
    "update",
    "apply",
    "install",
)
_READING_KINDS = ("read", "search", "fetch", "think", "other", None)


def automatic_decision(mode: str | None, tool: str, kind: str | None) -> Decision | None:
    """What `mode` decides without asking a person; None: ask.

    A tool of kind `execute` does not count as reading, whatever its title says.
    """
    known = PERMISSION_MODES.get(mode or "")
    match known.grants if known is not None else None:
        case "everything":
            return "approved_for_session"
        case "each request":
            return "approved"
        case "reading" if kind in _READING_KINDS and not any(
            hint in tool.lower() for hint in _WRITES
        ):
            return "approved"
    return None
