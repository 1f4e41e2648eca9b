"""What a hub takes from agents and metadata: flavors with their modes and settings, and which
metadata are public and which are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hapi.protocol.agents import AGENTS, DEFAULT_AGENT, DEMO, PERMISSION_MODES, agents_with
from hapi.protocol.offer.metadata import offered_ids
from hapi.protocol.offer.modes import named_mode

PROTOCOL_VERSION = 1

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


def mode_of(metadata: Any, wanted: str) -> str | None:
    """The permission mode that `wanted` names in a session with this metadata, by the name that the
    session has for it; None if it has no such mode, and none that means the same.
    """
    return named_mode(wanted, modes_of(metadata))


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
