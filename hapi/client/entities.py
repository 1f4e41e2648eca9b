"""Sessions, machines and messages as a hub shows them. What a hub leaves out has the default that
stands here, and further keys are ignored; times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class Entity(Struct, frozen=True, rename="camel"):
    """A JSON object of the API."""


class PermissionRequest(Entity, frozen=True):
    """What an agent asks for and waits for. `tool` and `arguments` are the agent's own words."""

    id: str
    tool: str
    arguments: Any = None
    created_at: int | None = None
    options: list[dict[str, Any]] = field(default_factory=list)


class PendingRequest(Entity, frozen=True):
    """An open permission request or, if `kind` is `input`, a question."""

    id: str
    kind: str = "permission"
    tool: str | None = None
    since: int | None = None


class _Described(Entity, frozen=True):
    id: str
    active: bool = False
    active_at: int = 0
    updated_at: int = 0
    thinking: bool = False
    metadata: dict[str, Any] | None = None

    def _text(self, name: str) -> str | None:
        value = (self.metadata or {}).get(name)
        return value if isinstance(value, str) and value else None

    @property
    def directory(self) -> str | None:
        return self._text("path")

    @property
    def agent(self) -> str:
        return self._text("flavor") or "claude"

    @property
    def machine_id(self) -> str | None:
        return self._text("machineId")

    @property
    def is_archived(self) -> bool:
        return self._text("lifecycleState") == "archived"

    @property
    def title(self) -> str | None:
        """The name that a person gave, else the agent's summary."""
        summary = (self.metadata or {}).get("summary")
        text = summary.get("text") if isinstance(summary, dict) else None
        return self._text("name") or (text if isinstance(text, str) and text else None)


class SessionSummary(_Described, frozen=True):
    """One entry in the list of sessions. `pending_requests` holds at most five."""

    pending_requests_count: int = 0
    pending_requests: list[PendingRequest] = field(default_factory=list)
    model: Any = None


class Session(_Described, frozen=True):
    created_at: int = 0
    agent_state: dict[str, Any] | None = None
    permission_mode: str | None = None
    model: Any = None

    @property
    def requests(self) -> list[PermissionRequest]:
        """The open permission requests and questions."""
        found = (self.agent_state or {}).get("requests")
        if not isinstance(found, dict):
            return []
        return [
            PermissionRequest(
                id=key,
                tool=str(request.get("tool") or "unknown"),
                arguments=request.get("arguments"),
                created_at=_time(request.get("createdAt")),
                options=[each for each in _list(request.get("options")) if isinstance(each, dict)],
            )
            for key, request in found.items()
            if isinstance(request, dict)
        ]


class Machine(Entity, frozen=True):
    id: str
    active: bool = False
    active_at: int = 0
    metadata: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        shown = self.metadata or {}
        return str(shown.get("displayName") or shown.get("host") or self.id)


class Message(Entity, frozen=True):
    """A message of a conversation. `invoked_at` of a prompt is None while it is queued."""

    id: str
    seq: int
    content: Any = None
    local_id: str | None = None
    created_at: int = 0
    invoked_at: int | None = None
    scheduled_at: int | None = None

    @property
    def role(self) -> str:
        """`user` or `agent`."""
        role = self.content.get("role") if isinstance(self.content, dict) else None
        return role if isinstance(role, str) else "agent"

    @property
    def position(self) -> tuple[int, int]:
        """Where it stands in the conversation: time in ms, and seq."""
        return (self.created_at if self.invoked_at is None else self.invoked_at, self.seq)

    @property
    def kind(self) -> str | None:
        """The form of the record: `text` of a prompt, `codex`, `output` (Claude's own) or `event`
        of an agent.
        """
        inner = self.content.get("content") if isinstance(self.content, dict) else None
        return _text(inner.get("type")) if isinstance(inner, dict) else None

    @property
    def text(self) -> str | None:
        """What the person or the agent said; None for everything else (thoughts, tools, …)."""
        inner = self.content.get("content") if isinstance(self.content, dict) else None
        if not isinstance(inner, dict):
            return inner if isinstance(inner, str) else None
        if inner.get("type") == "text":
            return _text(inner.get("text"))
        if inner.get("type") == "output":
            return _said(self.data)
        is_message = inner.get("type") == "codex" and self.data.get("type") == "message"
        return _text(self.data.get("message")) if is_message else None

    @property
    def status(self) -> str | None:
        """A line that the session, not the agent, has to say, such as `Session aborted`."""
        is_status = self.kind == "event" and self.data.get("type") == "message"
        return _text(self.data.get("message")) if is_status else None

    @property
    def is_ready(self) -> bool:
        """Whether it says that the turn has ended and no prompt waits."""
        return self.kind == "event" and self.data.get("type") == "ready"

    @property
    def tool_calls(self) -> list[tuple[str, str]]:
        """Id and name of the tools that the agent calls here."""
        if self.kind == "codex" and self.data.get("type") == "tool-call":
            return [(str(self.data.get("callId")), str(self.data.get("name") or "unknown"))]
        if self.kind == "output" and self.data.get("type") == "assistant":
            return [
                (str(part.get("id")), str(part.get("name") or "unknown"))
                for part in _parts(self.data)
                if part.get("type") == "tool_use"
            ]
        return []

    @property
    def data(self) -> dict[str, Any]:
        """The record of the agent, with a `type` such as `message`, `reasoning` or `tool-call`;
        empty for a prompt.
        """
        inner = self.content.get("content") if isinstance(self.content, dict) else None
        data = inner.get("data") if isinstance(inner, dict) else None
        return data if isinstance(data, dict) else {}


class Spawned(Entity, frozen=True):
    """What came of a start. `session_id` None: `message` says why there is no session."""

    session_id: str | None = None
    message: str | None = None
    code: str | None = None


class ResumeTarget(Entity, frozen=True, kw_only=True):
    """What a program needs to go on with a session. `agent_session_id`: the agent's own id."""

    session_id: str
    flavor: str
    directory: str
    machine_id: str | None = None
    host: str | None = None
    active: bool = False
    thinking: bool = False
    controlled_by_user: bool = False
    agent_session_id: str | None = None
    model: Any = None
    effort: str | None = None
    model_reasoning_effort: str | None = None
    permission_mode: str | None = None


class ResumableSession(ResumeTarget, frozen=True, kw_only=True):
    updated_at: int = 0
    name: str | None = None
    summary: str | None = None
    first_user_message: str | None = None


class Event(Entity, frozen=True):
    """A server-sent event: its type, and the JSON that it carries."""

    type: str
    body: dict[str, Any]
    id: str | None = None

    @property
    def session_id(self) -> str | None:
        return _text(self.body.get("sessionId"))


def _parts(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The content of a record in Claude's own form."""
    message = data.get("message")
    parts = message.get("content") if isinstance(message, dict) else None
    return [part for part in _list(parts) if isinstance(part, dict)]


def _said(data: dict[str, Any]) -> str | None:
    """The text of a record in Claude's own form; what its sub-agents say to it is none."""
    if data.get("type") != "assistant" or data.get("isSidechain") is True:
        return None
    texts = [part.get("text") for part in _parts(data) if part.get("type") == "text"]
    said = "\n".join(text for text in texts if isinstance(text, str) and text)
    return said or None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: Any) -> int | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
