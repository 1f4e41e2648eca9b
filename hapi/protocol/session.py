"""A session as hubs know it: its agent state with the permission requests in it, how it ends.

Keys and rules are those of session.md 6 and 11. Pure; times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

from hapi.protocol.acp import PermissionOption
from hapi.protocol.agents import PERMISSION_MODES

KEPT_REQUESTS = 100  # answered permission requests that stay in the state

Json = dict[str, Any]


# --- agent state: permission requests --------------------------------------------------------------------------------------


def initial_state() -> Json:
    """In a session of ours the page may always write, whoever started it."""
    return {"controlledByUser": False, "startingMode": "remote"}


def with_request(state: Any, request_id: str, tool: str, arguments: Any, now: int) -> Json:
    found = _state(state)
    entry = {"tool": tool, "arguments": arguments, "createdAt": now}
    return {**found, "requests": {**found.get("requests", {}), request_id: entry}}


@frozen
class PermissionOutcome:
    """How a request ended. `status`: approved, denied, canceled; `decision`: as received."""

    status: str
    decision: str | None = None
    reason: str | None = None
    mode: str | None = None
    allow_tools: tuple[str, ...] | None = None
    answers: Any = None

    def entry(self) -> Json:
        told = {
            "status": self.status,
            "reason": self.reason,
            "mode": self.mode,
            "decision": self.decision,
            "allowTools": None if self.allow_tools is None else list(self.allow_tools),
            "answers": self.answers,
        }
        return {key: value for key, value in told.items() if value is not None}


ABORTED = PermissionOutcome("canceled", "abort", "User aborted")


def with_completed_request(
    state: Any,
    request_id: str,
    settled: PermissionOutcome,
    now: int,
    request: Mapping[str, Any] | None = None,
) -> Json:
    """Move a request to the answered ones; `request` stands in for one that was never shown."""
    found = _state(state)
    waiting = dict(found.get("requests", {}))
    entry = waiting.pop(request_id, None) or request
    if entry is None:
        return {**found, "requests": waiting}
    return {
        **found,
        "requests": waiting,
        "completedRequests": _completed(found, {request_id: _closed(entry, settled, now)}),
    }


def with_all_requests_canceled(state: Any, settled: PermissionOutcome, now: int) -> Json:
    """No request is left waiting."""
    found = _state(state)
    waiting = found.get("requests") or {}
    if not waiting:
        return found
    closed = {request_id: _closed(entry, settled, now) for request_id, entry in waiting.items()}
    return {**found, "requests": {}, "completedRequests": _completed(found, closed)}


def _state(state: Any) -> Json:
    return dict(state) if isinstance(state, Mapping) else initial_state()


def _closed(entry: Mapping[str, Any], settled: PermissionOutcome, now: int) -> Json:
    return {**entry, "completedAt": now, **settled.entry()}


def _completed(state: Mapping[str, Any], more: Mapping[str, Any]) -> Json:
    """The newest ones: the state is sent whole each time, and arguments may be files."""
    both = {**(state.get("completedRequests") or {}), **more}
    return dict(list(both.items())[-KEPT_REQUESTS:])


# --- permission: answers and automatic approval ------------------------------------------------------------------------------

Decision = Literal["approved", "approved_for_session", "denied", "abort"]
DECISIONS = ("approved", "approved_for_session", "denied", "abort")


@frozen
class PermissionAnswer:
    """What a person decided about a request. `mode`: a permission mode to go on with."""

    request_id: str
    approved: bool
    decision: str
    given: str | None = None  # the decision as it was sent
    mode: str | None = None
    allow_tools: tuple[str, ...] | None = None
    answers: Any = None

    @property
    def settled(self) -> PermissionOutcome:
        status = "approved" if self.approved else "denied"
        return PermissionOutcome(
            status, self.given or self.decision, None, self.mode, self.allow_tools, self.answers
        )


def read_answer(params: Any) -> PermissionAnswer:
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


_KINDS = {
    "approved": ("allow_once", "allow_always"),
    "approved_for_session": ("allow_always", "allow_once"),
    "denied": ("reject_once", "reject_always"),
}


def option_for_decision(decision: str, options: Sequence[PermissionOption]) -> str | None:
    """The agent's option that means `decision`; None: the answer is `cancelled`."""
    for kind in _KINDS.get(decision, ()):
        for option in options:
            if option.kind == kind:
                return option.id
    return None


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
    """What `mode` decides without asking a person; None: ask. Modes that are not here are the agent's own business.

    A tool of kind `execute` is no reading, whatever its title says: it is asked about in `read-only`.
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


# --- how a session ends -------------------------------------------------------------------------------------------------------


@frozen
class Ending:
    """`reason` goes into `session-end`, `archive_reason` into the metadata."""

    reason: Literal["completed", "terminated", "error"]
    archive_reason: str
    exit_code: int
    explicit: bool = False

    def told(self, stop_reason: str | None) -> Ending:
        """An explicit reason, left in the session's folder by whoever ends it, wins over a default."""
        if self.explicit or not stop_reason:
            return self
        return Ending("terminated", stop_reason, 0, explicit=True)


BY_SIGNAL = Ending("terminated", "Hub restart", 0)  # the wire's words for SIGTERM without more
BY_INTERRUPT = Ending("terminated", "User terminated", 0)
BY_USER = Ending("terminated", "User terminated", 0, explicit=True)
COMPLETED = Ending("completed", "Session completed", 0)
CRASHED = Ending("error", "Session crashed", 1)


def launch_failed(text: str) -> Ending:
    return Ending("error", f"Local launch failed: {text}", 1)
