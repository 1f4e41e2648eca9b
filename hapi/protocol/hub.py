"""The hub's REST API on the wire: request bodies, flavors with their modes, and which metadata are
public and which are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hapi.protocol.agents import AGENTS, DEFAULT_AGENT, DEMO, PERMISSION_MODES, agents_with
from hapi.protocol.offer.metadata import offered_ids
from hapi.protocol.offer.modes import is_offered
from hapi.protocol.token import Scope

PROTOCOL_VERSION = 1

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


# --- flavors ------------------------------------------------------------------------------------

# Runners tell their hub which further agents they have (`runnerState.capabilities`).
FLAVORS = frozenset(name for name, agent in AGENTS.items() if agent.form or name == DEMO)
STEERED = frozenset(name for name, agent in AGENTS.items() if agent.is_steerable)
WITHOUT_MODEL = frozenset(name for name, agent in AGENTS.items() if not agent.has_model)

# Which settings a flavor has besides its permission mode; the text is the hub's answer to the
# others.
SETTINGS: Mapping[str, tuple[frozenset[str], str]] = {
    "effort": (agents_with("effort"), "Effort selection is not supported for this session type"),
    "model_reasoning_effort": (
        agents_with("modelReasoningEffort"),
        "Model reasoning effort is not supported for this session type",
    ),
    "service_tier": (
        agents_with("serviceTier"),
        "Service tier is only supported for Codex sessions",
    ),
    "collaboration_mode": (
        agents_with("collaborationMode"),
        "Collaboration mode is only supported for Codex sessions",
    ),
    "copilot_agent_mode": (
        agents_with("copilotAgentMode"),
        "Agent mode is only supported for Copilot sessions",
    ),
}


_OFFERED_BY = {  # column of SETTINGS -> the list in the metadata's offer
    "effort": "efforts",
    "model_reasoning_effort": "efforts",
    "service_tier": "serviceTiers",
    "collaboration_mode": "collaborationModes",
    "copilot_agent_mode": "agentModes",
}


def modes_of(metadata: Any) -> tuple[str, ...]:
    """The permission modes of a session with this metadata: those that it offers, else those of its
    flavor. An agent that only its runner knows may have any mode and checks it itself.
    """
    found = metadata if isinstance(metadata, dict) else {}
    offered = offered_ids(found.get("offer"), "modes")
    if offered is not None:
        return tuple(offered)
    known = AGENTS.get(flavor_of(found))
    return tuple(PERMISSION_MODES if known is None else known.permission_modes)


def has_mode(metadata: Any, mode: str) -> bool:
    """Whether a session with this metadata can work in the permission mode `mode`: in that one, or
    in one that means the same.
    """
    return is_offered(mode, modes_of(metadata))


def has_setting(metadata: Any, column: str) -> bool:
    """Whether a session with this metadata has the setting: its flavor has, or it offers it."""
    offer = metadata.get("offer") if isinstance(metadata, dict) else None
    offered = offered_ids(offer, _OFFERED_BY[column])
    if offered is not None:
        return bool(offered)
    return flavor_of(metadata) in SETTINGS[column][0]


# --- metadata -----------------------------------------------------------------------------------

_TEXTS = (
    "path",
    "host",
    "version",
    "os",
    "machineId",
    "flavor",
    "homeDir",
    "happyHomeDir",
    "happyLibDir",
    "happyToolsDir",
    "startedBy",
    "startingMode",
    "lifecycleState",
    "archivedBy",
    "archiveReason",
    "name",
    "cursorSessionProtocol",
    "hapiMcpUrl",
    "preferredPermissionMode",
    "cursorMigrationState",
)
_MACHINE_TEXTS = (
    "host",
    "platform",
    "happyCliVersion",
    "displayName",
    "homeDir",
    "happyHomeDir",
    "happyLibDir",
)
_SHOWN: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(_TEXTS, (str,)),
    **dict.fromkeys(("hostPid", "lifecycleStateSince"), (int, float)),
    **dict.fromkeys(("startedFromRunner",), (bool,)),
    **dict.fromkeys(("tools", "slashCommands", "permissionRules"), (list,)),
    **dict.fromkeys(
        (
            *("summary", "capabilities", "worktree", "opencodeClearOperation", "ptyResumeAttempt"),
            *("offer", "agentMemory", "agentRest", "usage"),
        ),
        (dict,),
    ),
    **dict.fromkeys(("forkedFrom",), (dict, str)),
}
_MACHINE_SHOWN: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(_MACHINE_TEXTS, (str,)),
    **dict.fromkeys(("workspaceRoots", "capabilities"), (list,)),
    **dict.fromkeys(("startedCliMtimeMs", "installedCliMtimeMs"), (int, float)),
    **dict.fromkeys(("supervisedRestart",), (bool,)),
}
HUB_OWNED = ("supersededBySessionId", "opencodeClearOperation")
_KEPT = ("path", "host", "flavor", "machineId", "cursorSessionProtocol")
_SPECIAL = re.compile(r"conversationHistory|pi[A-Z]")


def _fits(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)


def metadata_kinds(key: str) -> tuple[type, ...]:
    """The types of the values of a session's metadata that clients may see; () if they see none."""
    kinds = _SHOWN.get(key)
    if kinds is not None:
        return kinds
    return (str,) if key.endswith("SessionId") else (object,) if _SPECIAL.match(key) else ()


def public_metadata(stored: Any) -> dict[str, Any] | None:
    """The metadata of a session that clients may see; None without `path` and `host`. Values of a
    wrong type are left out.
    """
    if not isinstance(stored, dict) or not (
        isinstance(stored.get("path"), str) and isinstance(stored.get("host"), str)
    ):
        return None
    return {
        key: value
        for key, value in stored.items()
        if value is not None and (kinds := metadata_kinds(key)) and _fits(value, kinds)
    }


def public_machine_metadata(stored: Any) -> dict[str, Any] | None:
    required = ("host", "platform", "happyCliVersion")
    if not isinstance(stored, dict) or not all(
        isinstance(stored.get(key), str) for key in required
    ):
        return None
    return {
        key: stored[key] for key, kinds in _MACHINE_SHOWN.items() if _fits(stored.get(key), kinds)
    }


def public_runner_state(stored: Any) -> dict[str, Any] | None:
    return stored if isinstance(stored, dict) and isinstance(stored.get("status"), str) else None


def merged_metadata(stored: Any, written: dict[str, Any]) -> dict[str, Any]:
    """The stored metadata after a write of the session process: omitted keys are removed, except
    those that identify the session.

    An explicit null removes such a key; what belongs to the hub stays as the hub has it.
    """
    before = stored if isinstance(stored, dict) else {}
    kept = [
        key
        for key in before
        if key in _KEPT or (key.endswith("SessionId") and key not in HUB_OWNED)
    ]
    result = {key: value for key, value in written.items() if key not in HUB_OWNED}
    for key in kept:
        if key not in result and (
            key != "cursorSessionProtocol" or "cursorSessionId" not in written
        ):
            result[key] = before[key]
    for key in (*_KEPT, *(key for key in list(result) if key.endswith("SessionId"))):
        if key in result and result[key] is None:
            del result[key]
    return {**result, **{key: before[key] for key in HUB_OWNED if key in before}}


def flavor_of(metadata: Any) -> str:
    flavor = metadata.get("flavor") if isinstance(metadata, dict) else None
    return flavor if isinstance(flavor, str) and flavor else DEFAULT_AGENT


def agent_session_id(metadata: Any) -> str | None:
    """The agent's own id of the session, by which it is resumed."""
    found = metadata.get(f"{flavor_of(metadata)}SessionId") if isinstance(metadata, dict) else None
    return found if isinstance(found, str) and found else None


# What a `session-updated` patch may hold; with any other key the web page discards it and reads the
# session again. fmt: off
PATCH_KEYS = frozenset(
    {
        "active",
        "thinking",
        "activeTurnStartedAt",
        "activeAt",
        "updatedAt",
        "metadata",
        "agentState",
        "todos",
        "teamState",
        "model",
        "modelReasoningEffort",
        "effort",
        "serviceTier",
        "permissionMode",
        "collaborationMode",
        "copilotAgentMode",
        "backgroundTaskCount",
        "scratchlistUpdatedAt",
    }
)
