"""Replies about sessions, their permission rules and what starts them again."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from hapi.protocol.rest.entity import Entity


class Session(Entity, total=False):
    namespace: str
    seq: int
    createdAt: int
    thinking: bool
    thinkingAt: int
    hasConversationContent: bool
    pinned: bool
    globalPinned: bool
    agentState: dict[str, Any] | None
    agentStateVersion: int
    activeTurnStartedAt: int | None
    backgroundTaskCount: int
    todos: list[dict[str, Any]]
    todosUpdatedAt: int | None
    teamState: Any
    teamStateUpdatedAt: int | None
    permissionMode: str | None
    model: str | dict[str, Any] | None
    modelReasoningEffort: str | None
    effort: str | None
    serviceTier: str | None
    collaborationMode: str | None
    copilotAgentMode: str | None


class SessionReply(TypedDict):
    session: Session


class PendingRequest(TypedDict):
    """An open permission request (`permission`) or question (`input`) of an agent."""

    id: str
    kind: Literal["permission", "input"]
    tool: Any
    since: Any


class TodoProgress(TypedDict):
    completed: int
    total: int


class SessionSummary(Entity, total=False):
    """One entry in the list of sessions. `pendingRequests` holds at most five."""

    thinking: bool
    hasConversationContent: bool
    pinned: bool
    globalPinned: bool
    agentStateVersion: int
    todosUpdatedAt: int | None
    todoProgress: TodoProgress | None
    pendingRequestsCount: int
    pendingRequestKinds: list[str]
    pendingRequests: list[PendingRequest]
    backgroundTaskCount: int
    futureScheduledMessageCount: int
    nextScheduledAt: int | None
    model: str | dict[str, Any] | None
    modelReasoningEffort: str | None
    effort: str | None


class SessionList(TypedDict):
    sessions: list[SessionSummary]


class ArchiveReply(TypedDict):
    """`endedBy`: who ended a process that did not answer."""

    ok: bool
    alreadyArchived: NotRequired[bool]
    endedBy: NotRequired[str]


class ReopenReply(TypedDict):
    """`memory`: whether the agent remembers the conversation (`kept`, `new`, `unknown`)."""

    ok: bool
    sessionId: str
    resumed: bool
    memory: NotRequired[str]
    cursorSessionProtocol: NotRequired[str]


class ResumeReply(TypedDict):
    type: Literal["success"]
    sessionId: str
    resumed: NotRequired[bool]
    memory: NotRequired[str]


class ForkReply(TypedDict):
    """The id of the new session."""

    sessionId: str


class CliSessionReply(TypedDict):
    session: Session
    sessionSummaryContract: bool


class ResumeTarget(TypedDict):
    """What a program needs to go on with a session. `agentSessionId`: the agent's own id of it."""

    sessionId: str
    flavor: str
    directory: str
    host: str
    active: bool
    thinking: bool
    controlledByUser: bool
    agentSessionId: str
    model: str | dict[str, Any] | None
    effort: str | None
    modelReasoningEffort: str | None
    machineId: NotRequired[str]
    permissionMode: NotRequired[str]


class ResumeTargetReply(TypedDict):
    target: ResumeTarget


class ResumableSession(ResumeTarget):
    """`name`: what a person called it; `summary`: its title."""

    updatedAt: int
    name: NotRequired[str]
    summary: NotRequired[str]
    firstUserMessage: NotRequired[str]


class ResumableSessions(TypedDict):
    sessions: list[ResumableSession]


class Rules(TypedDict, total=False):
    """The permission rules that remain. `ok` alone: a session that does not tell them."""

    ok: bool
    rules: list[dict[str, Any]]
