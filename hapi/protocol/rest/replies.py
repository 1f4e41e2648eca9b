"""Replies of the hub's REST API, as JSON objects: with the keys that stand here, and possibly with
further ones. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Issues(TypedDict):
    """What is wrong with a body or a query: as a whole, and by field."""

    formErrors: list[str]
    fieldErrors: dict[str, list[str]]


class EntryIssue(TypedDict):
    """What is wrong with one field, in the form of the routes for scratchlists."""

    code: str
    path: list[str]
    message: str


class ErrorReply(TypedDict):
    """Why a request was refused or failed: a sentence for people, a word for programs, and the id
    under which the hub's log has the request.
    """

    error: str
    code: NotRequired[str]
    issues: NotRequired[Issues | list[EntryIssue]]
    requestId: NotRequired[str]


class Done(TypedDict):
    """The request was carried out."""

    ok: bool


# --- the hub ------------------------------------------------------------------------------------


class Health(TypedDict):
    status: str
    protocolVersion: int
    capabilities: dict[str, bool]


class Ready(TypedDict):
    status: Literal["ready"]


class NotReady(TypedDict):
    """The hub answers, and cannot store anything."""

    status: Literal["not ready"]
    error: str
    requestId: NotRequired[str]


class User(TypedDict):
    id: int
    firstName: str


class Access(TypedDict):
    """What a token allows. `name` None: it is the access token of the hub."""

    name: str | None
    namespace: str
    scopes: list[str]


class AccessReply(TypedDict):
    access: Access


class LoginReply(TypedDict):
    """The web token, which expires after some hours."""

    token: str
    user: User
    access: NotRequired[Access]


class AccessToken(TypedDict):
    """An access token of a device or machine, without its secret."""

    id: str
    name: str
    namespace: str
    scopes: list[str]
    machineId: str | None
    createdAt: int
    expiresAt: int | None
    lastUsedAt: int | None


class AccessTokenList(TypedDict):
    tokens: list[AccessToken]


class NewAccessToken(AccessToken):
    """`token`: the secret, which is shown this once."""

    token: str


class AuditEntry(TypedDict):
    """`time`: ms. `outcome`: `done`, `refused` or `failed`. `actor`: the name of a device's token,
    None for the access token of the hub and for wrong tokens; the latter have no namespace.
    """

    time: int
    action: str
    outcome: str
    status: int
    namespace: NotRequired[str]
    actor: NotRequired[str | None]
    tokenId: NotRequired[str]
    address: NotRequired[str]
    subject: NotRequired[dict[str, str]]
    facts: NotRequired[dict[str, Any]]
    requestId: NotRequired[str]


class Audit(TypedDict):
    entries: list[AuditEntry]


class HubSettingsReply(TypedDict):
    sessionSummaryContract: bool
    sessionSummaryInChat: bool


class MachineCounts(TypedDict):
    total: int
    online: int


class DatabaseSizes(TypedDict):
    """Bytes. `freeBytes` are filled before the file grows."""

    usedBytes: int
    freeBytes: int


class HubStatusReply(TypedDict):
    """`sessions` are counts by state, `sockets` those of runners and sessions, `eventStreams` those
    of pages. `ready` is what `/ready` tells, `problem` why the hub is not.
    """

    version: str
    pid: int
    ready: bool
    problem: str | None
    startedAt: int
    uptimeSeconds: float
    sessions: dict[str, int]
    machines: MachineCounts
    sockets: int
    eventStreams: int
    database: DatabaseSizes


# --- sessions -----------------------------------------------------------------------------------


class _Entity(TypedDict):
    """What is known of each session and machine, however damaged its row is."""

    id: str
    active: bool
    activeAt: int
    updatedAt: int
    metadata: dict[str, Any] | None
    metadataVersion: int
    damaged: NotRequired[list[str]]  # what is malformed and left out


class Session(_Entity, total=False):
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


class SessionSummary(_Entity, total=False):
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


# --- messages -----------------------------------------------------------------------------------


class Message(TypedDict):
    """A message of a conversation. A prompt whose `invokedAt` is null is still queued."""

    id: str
    seq: int
    localId: str | None
    content: Any
    createdAt: int
    invokedAt: int | None
    scheduledAt: int | None
    deliveryState: NotRequired[str]  # `indeterminate`: the agent may or may not have the prompt
    sessionId: NotRequired[str]


class Page(TypedDict):
    """Where a page of messages lies, and the positions from which the next ones continue."""

    direction: Literal["before", "after", "latest", "around"]
    limit: int
    epoch: int
    reset: bool
    nextBeforeSeq: int | None
    nextBeforeAt: int | None
    nextAfterSeq: int | None
    nextAfterAt: int | None
    snapshotHeadSeq: int | None
    snapshotHeadAt: int | None
    hasMore: bool
    hasMoreAfter: NotRequired[bool]
    """Whether there are later messages; only for the direction `around`."""


class MessagePage(TypedDict):
    messages: list[Message]
    page: Page


class InvokedMessage(TypedDict):
    localId: str | None
    invokedAt: int


class QueuedStateReply(TypedDict):
    queuedLocalIds: list[str | None]
    indeterminateLocalIds: list[str | None]
    invokedLocalMessages: list[InvokedMessage]


class CancelReply(TypedDict):
    status: Literal["cancelled", "busy", "invoked"]
    localId: NotRequired[str | None]
    message: NotRequired[Message]


class RetryReply(TypedDict):
    status: Literal["retried", "invoked", "already-queued", "retry-unavailable", "not-found"]
    localId: str | None
    message: NotRequired[Message]


class SteerReply(TypedDict):
    status: Literal["steered", "invoked", "failed"]
    localId: str | None
    error: NotRequired[str]


class Rules(TypedDict, total=False):
    """The permission rules that remain. `ok` alone: a session that does not tell them."""

    ok: bool
    rules: list[dict[str, Any]]


# --- machines -----------------------------------------------------------------------------------


class Machine(_Entity, total=False):
    namespace: str
    seq: int
    createdAt: int
    thinking: bool  # of a row that cannot be read
    runnerState: dict[str, Any] | None
    runnerStateVersion: int
    health: Any


class MachineList(TypedDict):
    machines: list[Machine]


class MachineReply(TypedDict):
    machine: Machine


class AgentCatalog(TypedDict):
    agents: list[dict[str, Any]]
    generic: dict[str, Any]
    permissionModes: list[dict[str, Any]]


class SpawnReply(TypedDict):
    """What came of a start; the status is 200 in both cases."""

    type: Literal["success", "error"]
    sessionId: NotRequired[str]
    message: NotRequired[str]
    code: NotRequired[str]
    agent: NotRequired[str]


class PathsReply(TypedDict):
    exists: dict[str, Any]


class AgentAvailability(TypedDict):
    agent: str
    available: NotRequired[bool]


class AvailabilityReply(TypedDict):
    agents: list[AgentAvailability]


class RestartReply(TypedDict):
    message: str


class RpcReply(TypedDict, total=False):
    """The answer of a session process or runner, which adds keys of its own."""

    success: bool
    error: str | None


class FileEntry(TypedDict):
    fileName: str
    filePath: str
    fullPath: str
    fileType: str


class FilesReply(TypedDict):
    success: bool
    error: NotRequired[str]
    files: NotRequired[list[FileEntry]]


# --- /cli ---------------------------------------------------------------------------------------


class CliSessionReply(TypedDict):
    session: Session
    sessionSummaryContract: bool


class Messages(TypedDict):
    messages: list[Message]


# --- search, usage and export --------------------------------------------------------------------


class SnippetReply(TypedDict):
    """A part of a message. `marks`: the places of the words that were found, each `[start, end]`
    with `end` left out, in UTF-16 code units, as JavaScript counts.
    """

    text: str
    marks: list[list[int]]
    hasMoreBefore: bool
    hasMoreAfter: bool


class SearchResult(TypedDict):
    """A message. `kind`: `prompt`, `answer`, `thought`, `tool`, `output`, `plan` or `note`."""

    sessionId: str
    sessionTitle: str
    messageId: str
    seq: int
    time: int
    kind: str
    snippet: SnippetReply


class IndexingProgress(TypedDict):
    """How many of the messages that were stored before there was an index are indexed."""

    done: int
    total: int


class SearchReply(TypedDict):
    """`nextCursor`: the `cursor` of the next page, None if this is the last one. `isPartial`: the
    time was over before all of the page was found. `indexing` None: all messages are indexed.
    """

    results: list[SearchResult]
    nextCursor: int | None
    isPartial: bool
    terms: list[str]
    indexing: IndexingProgress | None


# `from` is a keyword, so it cannot be a name in a class.
UsageRange = TypedDict("UsageRange", {"from": int, "to": int})


class Usage(TypedDict):
    inputTokens: int
    outputTokens: int
    cacheReadTokens: int
    cacheCreationTokens: int
    totalTokens: int
    uncachedTokens: int
    requests: int


class UsageTotals(Usage):
    sessions: int


class UsageOf(Usage):
    """The use of one day (`2026-11-26`), agent or model."""

    key: str


class UsageReply(TypedDict):
    range: UsageRange
    totals: UsageTotals
    daily: list[UsageOf]
    byAgent: list[UsageOf]
    byModel: list[UsageOf]
    updatedAt: int


class StorageReply(TypedDict):
    """The files of the hub's database, in bytes."""

    path: str
    databaseBytes: int
    walBytes: int
    shmBytes: int
    totalBytes: int


class SessionExport(TypedDict):
    """A whole conversation. `messages` are those of `GET sessions/ID/messages`, oldest first."""

    schemaVersion: int
    exportedAt: int
    session: dict[str, Any]
    messages: list[dict[str, Any]]
    scratchlist: list[dict[str, Any]]


# --- scratchlists and saved prompts -------------------------------------------------------------


class ScratchFile(TypedDict):
    """`path` names the file in the attachments of a message."""

    id: str
    filename: str
    mimeType: str
    size: int
    path: str


class ScratchEntry(TypedDict):
    entryId: str
    text: str
    createdAt: int
    updatedAt: int
    attachments: list[ScratchFile]


class ScratchEntryReply(TypedDict):
    entry: ScratchEntry


class ScratchlistReply(TypedDict):
    entries: list[ScratchEntry]


class ScratchFileReply(TypedDict):
    success: bool
    attachment: ScratchFile


class ScratchlistLimits(TypedDict):
    """Sizes are in bytes."""

    maxBytesPerFile: int
    maxAttachmentsPerEntry: int
    maxBytesPerEntry: int
    maxBytesPerSession: int
    allowedMimeTypes: list[str]


class ScratchlistLimitsReply(TypedDict):
    limits: ScratchlistLimits


class SavedPrompt(TypedDict):
    id: str
    name: str
    text: str
    createdAt: int
    updatedAt: int


class SavedPromptReply(TypedDict):
    prompt: SavedPrompt


class SavedPromptList(TypedDict):
    prompts: list[SavedPrompt]


# --- notifications ------------------------------------------------------------------------------


class VapidPublicKey(TypedDict):
    """An uncompressed point of P-256, in base64url."""

    publicKey: str


class Subscribed(TypedDict):
    """`id`: of the device in `GET /api/notifications/devices`."""

    ok: bool
    id: str


class QuietHours(TypedDict):
    """Times of day such as `22:30`, in an IANA time zone."""

    start: str
    end: str
    timeZone: str


class NotificationSettings(TypedDict):
    kinds: list[str]
    detail: Literal["minimal", "title", "command"]
    quietHours: QuietHours | None
    mutedSessions: list[str]
    whileVisible: bool


class NotifiedDevice(TypedDict):
    """`kind`: `push` for a browser, `telegram` for a person at Telegram."""

    id: str
    kind: str
    label: str
    createdAt: int
    settings: NotificationSettings


class NotifiedDevices(TypedDict):
    devices: list[NotifiedDevice]


class ShareLink(TypedDict):
    """A link under which anybody may read a conversation. `includesLater`: also what is said after
    it was made; `includesTools`: also what tools were asked and put out.
    """

    id: str
    createdAt: int
    expiresAt: int
    includesLater: bool
    includesTools: bool
    includesThoughts: bool


class ShareLinkList(TypedDict):
    links: list[ShareLink]


class NewShareLink(ShareLink):
    """`path`: its address below that of the hub, which is shown this once."""

    path: str


class SharedMessage(TypedDict):
    id: str
    seq: int
    content: dict[str, Any]
    createdAt: int
    invokedAt: int | None


class SharedConversation(TypedDict):
    """A page of a shared conversation, oldest first. `cursor`: that of the next page, None if there
    is none. `isGrowing`: what is said later is shown as well.
    """

    title: str
    agent: str
    sharedAt: int
    expiresAt: int
    isGrowing: bool
    messages: list[SharedMessage]
    cursor: str | None


class ForkReply(TypedDict):
    """The id of the new session."""

    sessionId: str
