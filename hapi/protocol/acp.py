"""The Agent Client Protocol: what agents send in JSON-RPC, as values.

Version 1 of https://agentclientprotocol.com; we are the client. Unknown keys and kinds are ignored,
so that an agent of a later version still works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.protocol.acp_text import block_text, objects, tool_output
from hapi.protocol.json import Malformed

PROTOCOL_VERSION = 1
AUTH_REQUIRED = -32000  # the code of an error that means: log in first


# --- what an agent is and offers ----------------------------------------------------------------


@frozen
class AgentIntroduction:
    """The answer to `initialize`."""

    protocol_version: int
    loads_sessions: bool
    forks_sessions: bool
    name: str | None
    version: str | None
    login_hint: str | None  # how to log in, in the agent's words


def read_introduction(value: Any) -> AgentIntroduction:
    """Read the answer to `initialize`. Raises Malformed, also for an unknown version."""
    if not isinstance(value, dict):
        raise Malformed("the answer to initialize is not an object")
    version = value.get("protocolVersion")
    if version != PROTOCOL_VERSION:
        raise Malformed(f"the agent speaks version {version!r} of ACP, we speak {PROTOCOL_VERSION}")
    abilities = _mapping(value.get("agentCapabilities"))
    sessions = _mapping(abilities.get("sessionCapabilities"))
    info = _mapping(value.get("agentInfo"))
    hints = [
        _text(method.get("description")) or _text(method.get("name"))
        for method in objects(value.get("authMethods"))
    ]
    return AgentIntroduction(
        PROTOCOL_VERSION,
        abilities.get("loadSession") is True,
        isinstance(sessions.get("fork"), dict),
        _text(info.get("name")),
        _text(info.get("version")),
        next(filter(None, hints), None),
    )


@frozen
class Choice:
    value: str
    name: str
    description: str | None = None


@frozen
class Select:
    """A choice that the agent offers.

    `option` is the id of the config option; None for the older `modes` and `models`.
    """

    option: str | None
    current: str | None
    choices: tuple[Choice, ...]

    def has(self, value: str) -> bool:
        return any(choice.value == value for choice in self.choices)


@frozen
class Offer:
    """What can be set on a session; None where the agent offers no choice."""

    mode: Select | None = None
    model: Select | None = None
    effort: Select | None = None


CATEGORIES = {"mode": "mode", "model": "model", "thought_level": "effort"}


def read_offer(value: Any, before: Offer | None = None) -> Offer:
    """What an answer or a `config_option_update` offers, merged into `before`."""
    before = before or Offer()
    found = _mapping(value)
    parts: dict[str, Select | None] = {
        "mode": before.mode,
        "model": before.model,
        "effort": before.effort,
    }
    modes, models = _mapping(found.get("modes")), _mapping(found.get("models"))
    if modes:
        parts["mode"] = Select(
            None, _text(modes.get("currentModeId")), _choices(modes.get("availableModes"), "id")
        )
    if models:
        parts["model"] = Select(
            None,
            _text(models.get("currentModelId")),
            _choices(models.get("availableModels"), "modelId"),
        )
    for option in objects(found.get("configOptions")):
        part = CATEGORIES.get(str(option.get("category") or option.get("id")))
        name = _text(option.get("id"))
        if part and name and option.get("type", "select") == "select":
            parts[part] = Select(
                name, _text(option.get("currentValue")), _choices(option.get("options"), "value")
            )
    return Offer(**parts)


def _choices(listed: Any, key: str) -> tuple[Choice, ...]:
    """The choices of a list, flat or grouped."""
    found: list[Choice] = []
    for item in objects(listed):
        if isinstance(item.get("options"), list):
            found += _choices(item["options"], key)
        elif value := _text(item.get(key)):
            found.append(
                Choice(value, _text(item.get("name")) or value, _text(item.get("description")))
            )
    return tuple(found)


def setting_call(
    session_id: str, part: str, select: Select, value: str
) -> tuple[str, dict[str, Any]]:
    """Method and parameters that set `part` (mode, model, effort) to `value`."""
    if select.option is not None:
        return "session/set_config_option", {
            "sessionId": session_id,
            "configId": select.option,
            "value": value,
        }
    if part == "mode":
        return "session/set_mode", {"sessionId": session_id, "modeId": value}
    return "session/set_model", {"sessionId": session_id, "modelId": value}


# --- session/update -----------------------------------------------------------------------------


@frozen
class Text:
    """A piece of the answer. `message` tells messages apart, where the agent does."""

    text: str
    message: str | None = None


@frozen
class Thought:
    text: str


@frozen
class UserText:
    """A prompt of the past, replayed by `session/load`."""

    text: str


@frozen
class ToolCall:
    """A tool call or a change of one; None for what was left out."""

    call_id: str
    title: str | None = None
    kind: str | None = None
    status: str | None = None  # pending, in_progress, completed, failed
    input: Any = None
    output: Any = None  # once there is any: text where possible


@frozen
class Plan:
    entries: tuple[Mapping[str, str], ...]  # content, priority, status


@frozen
class Commands:
    """Slash commands: name and description."""

    commands: tuple[tuple[str, str | None], ...]


@frozen
class ModeChanged:
    """The agent changed its mode by itself."""

    mode: str


@frozen
class OptionsChanged:
    value: Mapping[str, Any]  # for read_offer


@frozen
class Context:
    """How full the model's context is, in tokens."""

    used: int
    size: int


@frozen
class Titled:
    title: str


Update = (
    Text
    | Thought
    | UserText
    | ToolCall
    | Plan
    | Commands
    | ModeChanged
    | OptionsChanged
    | Context
    | Titled
)


def read_update(params: Mapping[str, Any]) -> Update | None:
    """The update in a `session/update`; None if its kind is unknown or it is malformed."""
    found = _mapping(params.get("update"))
    match found.get("sessionUpdate"):
        case "agent_message_chunk":
            return Text(block_text(found.get("content")), _text(found.get("messageId")))
        case "agent_thought_chunk":
            return Thought(block_text(found.get("content")))
        case "user_message_chunk":
            return UserText(block_text(found.get("content")))
        case "tool_call" | "tool_call_update":
            return read_tool_call(found)
        case "plan":
            return Plan(
                tuple(
                    _entry(entry)
                    for entry in objects(found.get("entries"))
                    if _text(entry.get("content"))
                )
            )
        case "available_commands_update":
            listed = objects(found.get("availableCommands"))
            return Commands(
                tuple(
                    (name, _text(item.get("description")))
                    for item in listed
                    if (name := _text(item.get("name")))
                )
            )
        case "current_mode_update":
            mode = _text(found.get("currentModeId"))
            return ModeChanged(mode) if mode else None
        case "config_option_update":
            return OptionsChanged(found)
        case "usage_update":
            used, size = _count(found.get("used")), _count(found.get("size"))
            return Context(used, size) if used is not None and size is not None else None
        case "session_info_update":
            title = _text(found.get("title"))
            return Titled(title) if title else None
    return None


def read_tool_call(found: Mapping[str, Any]) -> ToolCall | None:
    """A `tool_call`, a `tool_call_update`, or the `toolCall` of a permission request."""
    call_id = _text(found.get("toolCallId"))
    if call_id is None:
        return None
    status = found.get("status")
    return ToolCall(
        call_id,
        _text(found.get("title")),
        _text(found.get("kind")),
        status if status in ("pending", "in_progress", "completed", "failed") else None,
        found.get("rawInput"),
        tool_output(found),
    )


def _entry(entry: Mapping[str, Any]) -> dict[str, str]:
    priority, status = entry.get("priority"), entry.get("status")
    return {
        "content": str(entry["content"]),
        "priority": priority if priority in ("high", "medium", "low") else "medium",
        "status": status if status in ("pending", "in_progress", "completed") else "pending",
    }


# --- permission, usage, prompt ------------------------------------------------------------------


@frozen
class PermissionOption:
    id: str
    kind: str  # allow_once, allow_always, reject_once, reject_always
    name: str


@frozen
class PermissionRequest:
    call: ToolCall
    options: tuple[PermissionOption, ...]


def read_permission_request(params: Mapping[str, Any]) -> PermissionRequest:
    """Read a permission request. Raises Malformed if it has no tool call."""
    call = read_tool_call(_mapping(params.get("toolCall")))
    if call is None:
        raise Malformed("a permission request without a tool call")
    options = tuple(
        PermissionOption(
            option_id, str(item.get("kind") or ""), _text(item.get("name")) or option_id
        )
        for item in objects(params.get("options"))
        if (option_id := _text(item.get("optionId")))
    )
    return PermissionRequest(call, options)


@frozen
class Usage:
    """Tokens of a turn. `input` counts what was read from and written to the cache too."""

    input: int
    output: int
    total: int | None = None
    thought: int | None = None
    cached: int | None = None
    cache_written: int | None = None


def read_usage(value: Any) -> Usage | None:
    """The usage in the answer to `session/prompt`, None when it has none."""
    found = _mapping(_mapping(value).get("usage"))
    fresh, output = _count(found.get("inputTokens")), _count(found.get("outputTokens"))
    if fresh is None or output is None:
        return None
    cached, written = _count(found.get("cachedReadTokens")), _count(found.get("cachedWriteTokens"))
    whole = fresh + (cached or 0) + (written or 0)
    return Usage(
        whole,
        output,
        _count(found.get("totalTokens")),
        _count(found.get("thoughtTokens")),
        cached,
        written,
    )


def prompt_blocks(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


# --- reading what may be anything ---------------------------------------------------------------


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
