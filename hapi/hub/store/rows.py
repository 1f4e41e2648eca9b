"""The rows of the store: sessions, machines, messages, tokens. Times are ms since the epoch."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from attrs import field, frozen

Document = Any  # a JSON value: metadata, agent state, runner state, message content

DISCARDED = "\x1fdiscarded"  # the namespace of discarded sessions; no token opens it


@frozen
class SessionRow:
    id: str
    namespace: str
    tag: str
    created_at: int
    updated_at: int
    metadata: Document = None
    metadata_version: int = 1
    agent_state: Document = None
    agent_state_version: int = 1
    model: Document = None
    model_reasoning_effort: str | None = None
    effort: str | None = None
    service_tier: str | None = None
    permission_mode: str | None = None
    collaboration_mode: str | None = None
    copilot_agent_mode: str | None = None
    todos: Document = None
    todos_updated_at: int = 0
    team_state: Document = None
    team_state_updated_at: int = 0
    pinned: bool = False
    global_pinned: bool = False
    active_at: int = 0
    seq: int = 0  # changes of metadata and agent state made by the hub
    epoch: int = 0  # changes of the history other than by appending
    has_content: bool = False  # a user or agent message exists
    last_seq: int = 0  # the highest seq that a message of the session ever had
    last_time: int = 0  # ms; no message of the session has a later position


@frozen
class MachineRow:
    id: str
    namespace: str
    created_at: int
    updated_at: int
    metadata: Document = None
    metadata_version: int = 1
    runner_state: Document = None
    runner_state_version: int = 1
    active_at: int = 0
    seq: int = 0


@frozen
class TokenRow:
    """An access token of one device or machine. The token itself is not stored."""

    id: str
    namespace: str
    name: str  # unique in its namespace
    digest: str = field(repr=False)  # SHA-256 of the token, in hex
    scopes: str  # words of hapi.protocol.token.Scope, separated by spaces
    machine_id: str | None  # the only machine that may register with it; None: not known yet
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None


WEB_PUSH, TELEGRAM = "push", "telegram"


@frozen
class RecipientRow:
    """Where one person's notifications go: a browser's push subscription, or a Telegram user."""

    id: str
    namespace: str
    kind: str  # WEB_PUSH or TELEGRAM
    address: str  # unique within its kind: the subscription's endpoint, or the user's id
    keys: Document = field(repr=False)  # of a subscription: {"p256dh", "auth"}; else None
    label: str  # what people call the device
    token_id: str  # of the device's access token, or what stands for that of the hub
    settings: Document
    created_at: int


QUEUED, INDETERMINATE = "queued", "indeterminate"


@frozen
class MessageRow:
    """One message. `invoked_at` None: a prompt that no session process has taken yet.

    The content of a row that was read from the store is a `msgspec.Raw`, its JSON.
    """

    id: str
    session_id: str
    seq: int
    content: Document
    created_at: int
    local_id: str | None = None
    invoked_at: int | None = None
    scheduled_at: int | None = None
    delivery: str | None = None  # QUEUED, INDETERMINATE or None
    stream: str | None = field(default=None)  # id of a live reasoning snapshot

    @property
    def position(self) -> tuple[int, int]:
        """The position of the message in the conversation."""
        return (self.created_at if self.invoked_at is None else self.invoked_at, self.seq)


@frozen
class Added:
    """The result of appending a message, or of finding its local id in the store."""

    message: MessageRow
    new: bool
    session: dict[str, Any]  # columns of the session that changed with it
    first: bool = False  # it is the first user or agent message of the session


@frozen
class Consumed:
    """Prompts that were marked as consumed, and the time that they got (ms)."""

    local_ids: list[str]
    at: int


@frozen
class TurnEvent:
    """An event for web pages that a turn has produced; `fields` are keys of the wire."""

    namespace: str
    kind: str
    fields: dict[str, Any]


Row = TypeVar("Row", SessionRow, MachineRow)


@frozen
class Written(Generic[Row]):
    """A versioned write that has succeeded."""

    row: Row


@frozen
class VersionMismatch(Generic[Row]):
    """Nothing was written, because the document has another version by now."""

    row: Row


@frozen
class DatabaseSize:
    """Bytes. `used` is without free pages, which the database fills before it grows."""

    used: int
    free: int
    shrinks: bool  # free pages can be given back while the hub runs

    @property
    def total(self) -> int:
        return self.used + self.free


@frozen
class ShareLinkRow:
    """A link under which anybody may read one conversation. Its secret is not stored."""

    id: str
    session_id: str
    digest: str = field(repr=False)  # SHA-256 of the secret, in hex
    created_at: int
    expires_at: int
    until_seq: int | None  # the last message that is shown; None: also those that come later
    has_files: bool  # inputs and outputs of tools are shown
    has_thoughts: bool


@frozen
class ScratchEntryRow:
    """A text that a person keeps beside a conversation, with files; `attachments` are their ids."""

    id: str
    session_id: str
    text: str
    attachments: tuple[str, ...]
    created_at: int
    updated_at: int


@frozen
class ScratchFileRow:
    """A file for a scratchlist, without its content. `size` is in bytes."""

    id: str
    session_id: str
    filename: str
    mime_type: str
    size: int
    created_at: int


@frozen
class SavedPromptRow:
    """A text that a person uses again and again; `name` may be empty."""

    id: str
    namespace: str
    name: str
    text: str
    created_at: int
    updated_at: int


@frozen
class SearchTerm:
    """Words that stand one after the other (see store/words.py). `is_prefix`: the last one may be
    the beginning of a word.
    """

    words: tuple[str, ...]
    is_prefix: bool = False


@frozen
class SearchPage:
    """Messages with all terms, the newest first. `next`: from where to go on, None at the end.
    `is_cut`: the time was over before all of the page was found.
    """

    messages: list[MessageRow]
    next: int | None = None
    is_cut: bool = False


@frozen
class IndexProgress:
    """How far the messages of an older database are indexed. `problem`: why there is no search."""

    problem: str
    is_complete: bool
    done: int
    total: int


@frozen
class TokenUse:
    """The tokens of the requests to one model by one agent in a quarter of an hour that begins at
    `at` (ms). `input` is without what came from a cache.
    """

    at: int
    agent: str
    model: str
    input: int
    output: int
    cache_read: int
    cache_written: int
    requests: int
