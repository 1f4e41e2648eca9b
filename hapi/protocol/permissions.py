"""Permission requests: the agent state at the hub, people's answers, and the answer in ACP.

Keys and rules are those of session.md 6. Pure; times are milliseconds since the epoch.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal

from attrs import define, field, frozen

from hapi.protocol.acp.permission_requests import PermissionOption, PermissionRequest
from hapi.protocol.agents import PERMISSION_MODES
from hapi.protocol.mcp.tools import is_harmless_tool
from hapi.protocol.permission_rules import says_exactly
from hapi.protocol.session import initial_state

MAX_COMPLETED_REQUESTS = 100  # completed permission requests that stay in the state
MAX_COMPLETED_LENGTH = 2_000  # characters of a text in the arguments of a completed request
MAX_REASON_LENGTH = 100_000  # characters
MAX_ID_LENGTH = 1_000  # characters of a request's id, which is part of a path

Json = dict[str, Any]
CANCELLED: Json = {"outcome": {"outcome": "cancelled"}}  # the ACP answer when nobody will decide

# --- agent state: permission requests ------------------------------------------------------------


def request_entry(
    tool: str, arguments: Any, now: int, more: Mapping[str, Any] | None = None
) -> Json:
    """A request as pages get it. `more`: what PermissionRequest.as_json has besides."""
    return {"tool": tool, "arguments": arguments, "createdAt": now, **(more or {})}


def with_request(state: Any, request_id: str, entry: Mapping[str, Any]) -> Json:
    found = _state(state)
    return {**found, "requests": {**found.get("requests", {}), request_id: dict(entry)}}


def can_name_request(name: str) -> bool:
    """Whether a request can have this id: it is a segment of the path to which answers are sent.

    Browsers drop the segments `.` and `..`, and lone surrogates have no form in UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(name) <= MAX_ID_LENGTH and name not in (".", "..")


@define
class RequestIds:
    """The ids of the requests that wait in one session, its permissions and questions together."""

    _taken: set[str] = field(factory=set)

    def take(self, call_id: str | None) -> str:
        """A free id. Pages show a request at the tool card of the same id, so it is the id of the
        call if it can be; a second request of one call gets a number."""
        base = call_id if call_id is not None and can_name_request(call_id) else str(uuid.uuid4())
        name, number = base, 2
        while name in self._taken:
            name, number = f"{base}#{number}", number + 1
        self._taken.add(name)
        return name

    def release(self, name: str) -> None:
        self._taken.discard(name)


@frozen
class PermissionOutcome:
    """The outcome of a request. `status`: approved, denied, canceled; `decision`: as received."""

    status: str
    decision: str | None = None
    reason: str | None = None
    mode: str | None = None
    allow_tools: tuple[str, ...] | None = None
    answers: Any = None
    option: PermissionOption | None = None  # the option that was chosen by its name
    rule_id: str | None = None  # the rule that allowed it

    def entry(self) -> Json:
        fields = {
            "status": self.status,
            "reason": self.reason,
            "mode": self.mode,
            "decision": self.decision,
            "allowTools": None if self.allow_tools is None else list(self.allow_tools),
            "answers": self.answers,
            "optionId": None if self.option is None else self.option.id,
            "option": None if self.option is None else self.option.name,
            "ruleId": self.rule_id,
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


_ONLY_WHILE_WAITING = (
    *("options", "byName", "kind", "locations", "changes", "text"),
    "terminalOnly",
)


def _closed(entry: Mapping[str, Any], outcome: PermissionOutcome, now: int) -> Json:
    kept = {key: value for key, value in entry.items() if key not in _ONLY_WHILE_WAITING}
    if "changes" in entry or "text" in entry:
        kept["arguments"] = _shortened(kept.get("arguments"))
    return {**kept, "completedAt": now, **outcome.entry()}


def _shortened(arguments: Any) -> Any:
    """Arguments without their long texts: the conversation's own records have them whole."""
    if not isinstance(arguments, Mapping):
        return arguments
    return {
        key: f"{value[:MAX_COMPLETED_LENGTH]}…"
        if isinstance(value, str) and len(value) > MAX_COMPLETED_LENGTH
        else value
        for key, value in arguments.items()
    }


def _completed(state: Mapping[str, Any], more: Mapping[str, Any]) -> Json:
    """The newest completed requests: the state is sent whole, and arguments may be large."""
    both = {**(state.get("completedRequests") or {}), **more}
    return dict(list(both.items())[-MAX_COMPLETED_REQUESTS:])


# --- permission: answers and automatic approval -------------------------------------------------

Decision = Literal["approved", "approved_for_session", "denied", "abort"]
DECISIONS = ("approved", "approved_for_session", "denied", "abort")


@frozen
class PermissionAnswer:
    """A person's answer to a request.

    `mode`: a permission mode to continue with; `option_id`: one of the agent's own options;
    `reason`: what the agent shall do instead, in the person's words.
    """

    request_id: str
    approved: bool
    decision: str
    given: str | None = None  # the decision as it was sent
    mode: str | None = None
    allow_tools: tuple[str, ...] | None = None
    answers: Any = None
    option_id: str | None = None
    reason: str | None = None

    @property
    def outcome(self) -> PermissionOutcome:
        return PermissionOutcome(
            "approved" if self.approved else "denied",
            self.given or self.decision,
            self.reason,
            self.mode,
            self.allow_tools,
            self.answers,
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
    decision = given or (
        "approved_for_session" if tools and approved else "approved" if approved else "denied"
    )
    if approved != decision.startswith("approved"):
        decision = "approved" if approved else "denied"
    reason = (_text(found, "reason") or "").strip()
    if len(reason) > MAX_REASON_LENGTH:
        raise ValueError(f"The reason is longer than {MAX_REASON_LENGTH} characters")
    return PermissionAnswer(
        request_id,
        approved,
        decision,
        given,
        _text(found, "mode"),
        tools,
        found.get("answers"),
        _text(found, "optionId"),
        reason or None,
    )


def _text(found: Mapping[str, Any], key: str) -> str | None:
    value = found.get(key)
    return value if isinstance(value, str) else None


class AmbiguousAnswer(ValueError):
    """An answer that could mean several of the agent's options; the text names them."""


def chosen_option(answer: PermissionAnswer, request: PermissionRequest) -> PermissionOption | None:
    """The agent's option that `answer` means; None: `cancelled`.

    Raises ValueError, with a sentence, if the answer names no option of the request, and
    AmbiguousAnswer if it could mean several.
    """
    names = ", ".join(option.name for option in request.options)
    if answer.option_id is not None:
        option = request.option(answer.option_id)
        if option is None:
            offered = ", ".join(f"{each.id} ({each.name})" for each in request.options)
            raise ValueError(
                f"The agent offers no option {answer.option_id!r}; it offers {offered or 'none'}"
            )
        rejects = option.kind.startswith("reject")
        if (answer.approved and rejects) or (not answer.approved and option.kind[:5] == "allow"):
            verdict = "approves" if answer.approved else "denies"
            raise ValueError(f"The answer {verdict}, but the option {option.name!r} does not")
        return option
    # A pattern says exactly what is allowed; what the agent remembers could be wider.
    has_pattern = any(map(says_exactly, answer.allow_tools or ()))
    option = request.option_for("approved" if has_pattern and answer.approved else answer.decision)
    if option is None and answer.approved and request.options:
        raise AmbiguousAnswer(
            f"This request has no plain Allow. Choose one of its options: {names}"
        )
    return option


def acp_permission_answer(option: PermissionOption | None) -> Json:
    """The ACP answer that selects `option`; CANCELLED without one."""
    if option is None:
        return CANCELLED
    return {"outcome": {"outcome": "selected", "optionId": option.id}}


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

    A tool of kind `execute` does not count as reading, whatever its title says. Tools of our own
    MCP server that only show something are approved in every mode.
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
    return "approved" if kind in _READING_KINDS and is_harmless_tool(tool) else None
