"""Bodies of requests to the hub's REST API, as JSON objects."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hapi.protocol.agents import DEFAULT_AGENT
from hapi.protocol.token import Scope

Text = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Setting = Annotated[str, Meta(min_length=1, max_length=256)]
# Milliseconds since the epoch, up to the integers that JavaScript represents exactly.
Time = Annotated[int, Meta(ge=0, le=1 << 53)]


class Body(Struct, frozen=True, rename="camel"):
    """A JSON object in a request. Unknown keys are ignored."""


# --- /cli ---------------------------------------------------------------------------------------


class RegisterMachine(Body, frozen=True):
    id: Annotated[str, Meta(min_length=1, max_length=256)]
    metadata: Any
    runner_state: Any = None


class CreateSession(Body, frozen=True):
    tag: Annotated[str, Meta(min_length=1, max_length=512)]
    metadata: Any
    agent_state: Any = None
    id: (
        Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")] | None
    ) = None
    model: str | None = None
    model_reasoning_effort: str | None = None
    effort: str | None = None
    machine: RegisterMachine | None = None


# --- /api ---------------------------------------------------------------------------------------


class Login(Body, frozen=True):
    access_token: str | None = None
    init_data: str | None = None


class Bind(Body, frozen=True):
    """`init_data`: what Telegram gave to the Mini App."""

    init_data: str
    access_token: str


class CreateToken(Body, frozen=True):
    """`expires_in`: ms, None: the token does not expire. `namespace` None: that of the request."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(Scope))]
    expires_in: Annotated[int, Meta(gt=0, description="Milliseconds from now.")] | None = None
    namespace: str | None = None
    machine_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class Fork(Body, frozen=True):
    """`message_local_id`: the prompt before which the copy ends; None: it has everything."""

    message_local_id: str | None = None


class Rewind(Body, frozen=True):
    message_local_id: Annotated[str, Meta(min_length=1)]


class CreateShareLink(Body, frozen=True):
    """`expires_in`: ms, None: seven days. `includes_later`: also what is said after now."""

    expires_in: Annotated[int, Meta(gt=0, description="Milliseconds from now.")] | None = None
    includes_later: bool = False
    includes_tools: bool = False
    includes_thoughts: bool = False


class Rename(Body, frozen=True):
    name: Name


class Summarize(Body, frozen=True):
    text: Name


class Pin(Body, frozen=True):
    mode: Literal["none", "project", "global"]


class PermissionMode(Body, frozen=True):
    mode: Text


class SetOption(Body, frozen=True):
    id: Name
    value: Annotated[str, Meta(max_length=256)]


class SetModel(Body, frozen=True):
    """An object has at least the keys `provider` and `modelId`; None: the agent's own choice."""

    model: Text | dict[str, Any] | None


class SetEffort(Body, frozen=True):
    effort: Setting | None = None


class SetReasoningEffort(Body, frozen=True):
    model_reasoning_effort: Setting | None = None


class SetServiceTier(Body, frozen=True):
    service_tier: Literal["fast", "standard"]


class SetCollaborationMode(Body, frozen=True):
    mode: Literal["default", "plan"]


class SetAgentMode(Body, frozen=True):
    mode: Literal["interactive", "plan", "autopilot"]


class Resume(Body, frozen=True):
    permission_mode: str | None = None


class PostMessage(Body, frozen=True):
    text: str
    local_id: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    attachments: list[dict[str, Any]] | None = None
    scheduled_at: Time | None = None
    delivery_mode: Literal["queue", "steer"] = "queue"


class QueuedState(Body, frozen=True):
    local_ids: Annotated[list[str], Meta(max_length=1000)]


Decision = Literal["approved", "approved_for_session", "denied", "abort"]


class Approve(Body, frozen=True, omit_defaults=True):
    mode: str | None = None
    allow_tools: list[str] | None = None
    decision: Decision | None = None
    answers: dict[str, Any] | None = None
    option_id: str | None = None


class Deny(Body, frozen=True, omit_defaults=True):
    decision: Decision | None = None
    option_id: str | None = None
    reason: str | None = None


class DisplayName(Body, frozen=True):
    display_name: str


class Spawn(Body, frozen=True, omit_defaults=True):
    directory: Text
    agent: str = DEFAULT_AGENT
    model: str | None = None
    effort: str | None = None
    model_reasoning_effort: str | None = None
    yolo: bool | None = None
    permission_mode: str | None = None
    session_type: Literal["simple", "worktree"] | None = None
    worktree_name: str | None = None
    service_tier: Literal["fast", "standard"] | None = None
    collaboration_mode: Literal["default", "plan"] | None = None
    copilot_agent_mode: Literal["interactive", "plan", "autopilot"] | None = None
    starting_mode: Literal["remote", "pty"] | None = None
    idle_agent: str | None = None  # ours: `off` or a time such as `30m`


class ListDirectory(Body, frozen=True):
    path: Text
    include_hidden: bool = False


class PathsExist(Body, frozen=True):
    paths: Annotated[list[str], Meta(max_length=1000)]


class Visibility(Body, frozen=True):
    subscription_id: str
    visibility: Literal["visible", "hidden"]


class ReadLive(Body, frozen=True):
    """`session_id`: whose live text the page shows; None: of no session."""

    subscription_id: str
    session_id: str | None = None


class Upload(Body, frozen=True):
    filename: Annotated[str, Meta(min_length=1, max_length=4096)]  # the session shortens it
    content: str  # base64
    mime_type: Name


class DeleteUpload(Body, frozen=True):
    path: Text


ScratchId = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
ScratchText = Annotated[str, Meta(max_length=10_000)]


class ScratchAttachment(Body, frozen=True):
    """A file that was uploaded for the scratchlist; its other keys are known to the hub."""

    id: str


ScratchAttachments = Annotated[list[ScratchAttachment], Meta(max_length=100)]


class AddScratchEntry(Body, frozen=True):
    """`entry_id` makes it safe to repeat the request."""

    text: ScratchText = ""
    entry_id: ScratchId | None = None
    created_at: Time | None = None
    attachments: ScratchAttachments | None = None


class ChangeScratchEntry(Body, frozen=True):
    text: ScratchText | None = None
    attachments: ScratchAttachments | None = None


PromptText = Annotated[str, Meta(min_length=1, max_length=20_000)]
PromptName = Annotated[str, Meta(max_length=100)]


class SavePrompt(Body, frozen=True):
    text: PromptText
    name: PromptName = ""


class ChangePrompt(Body, frozen=True):
    text: PromptText | None = None
    name: PromptName | None = None


class HubSettingsChange(Body, frozen=True):
    session_summary_contract: bool | None = None
    session_summary_in_chat: bool | None = None


class SubscriptionKeys(Body, frozen=True):
    """The browser's public key and its secret, in base64url (RFC 8291)."""

    p256dh: Annotated[str, Meta(max_length=256)]
    auth: Annotated[str, Meta(max_length=256)]


class Subscribe(Body, frozen=True):
    """A push subscription; `label` (ours) is what people call the device."""

    endpoint: Annotated[str, Meta(min_length=1, max_length=2048)]
    keys: SubscriptionKeys
    label: Annotated[str, Meta(max_length=64)] | None = None


class Unsubscribe(Body, frozen=True):
    endpoint: Annotated[str, Meta(min_length=1, max_length=2048)]


class AnswerByToken(Body, frozen=True):
    """The answer to the permission request for which the hub has made `token`."""

    token: Annotated[str, Meta(min_length=1, max_length=4096)]
    decision: Literal["allow", "deny"]
