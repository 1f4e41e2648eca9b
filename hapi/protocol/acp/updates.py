"""The updates of a turn (`session/update`), as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.protocol.acp.notices import Notice
from hapi.protocol.acp.pictures import Picture, read_picture, read_pictures
from hapi.protocol.acp.text import block_text, tool_output
from hapi.protocol.acp.tool_content import (
    FileChange,
    Location,
    TerminalEnd,
    read_changes,
    read_locations,
    read_terminal_end,
    read_terminal_output,
)
from hapi.protocol.acp.values import count_or_none, mapping, objects, text_or_none


@frozen
class Text:
    """A piece of the answer. `message` tells messages apart, where the agent does."""

    text: str
    message: str | None = None


@frozen
class Shown:
    """A picture, a recording or a file in the answer."""

    picture: Picture


@frozen
class Thought:
    text: str


@frozen
class UserText:
    """A prompt of the past, replayed by `session/load`."""

    text: str


@frozen
class ToolCall:
    """A tool call or a change of one; None for what was left out.

    `output` replaces the output so far, and is empty if there is none any more; `output_delta`
    continues it. `changes` are as the agent sent them: `diffs.diff_of` compares them.
    """

    call_id: str
    title: str | None = None
    kind: str | None = None
    status: str | None = None  # pending, in_progress, completed, failed
    input: Any = None
    output: Any = None  # text where possible
    output_delta: str | None = None
    changes: tuple[FileChange, ...] | None = None
    locations: tuple[Location, ...] | None = None
    pictures: tuple[Picture, ...] = ()
    terminal_end: TerminalEnd | None = None


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
    """How full the model's context is, in tokens; `cost` of the session: amount and currency."""

    used: int
    size: int
    cost: tuple[float, str] | None = None


@frozen
class Titled:
    title: str


Update = (
    Text
    | Shown
    | Thought
    | UserText
    | ToolCall
    | Plan
    | Commands
    | ModeChanged
    | OptionsChanged
    | Context
    | Titled
    | Notice
)


def read_update(params: Mapping[str, Any]) -> Update | None:
    """The update in a `session/update`; None if its kind is unknown or it is malformed."""
    found = mapping(params.get("update"))
    match found.get("sessionUpdate"):
        case "agent_message_chunk":
            if (picture := read_picture(found.get("content"))) is not None:
                return Shown(picture)
            return Text(block_text(found.get("content")), text_or_none(found.get("messageId")))
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
                    if text_or_none(entry.get("content"))
                )
            )
        case "available_commands_update":
            listed = objects(found.get("availableCommands"))
            return Commands(
                tuple(
                    (name, text_or_none(item.get("description")))
                    for item in listed
                    if (name := text_or_none(item.get("name")))
                )
            )
        case "current_mode_update":
            mode = text_or_none(found.get("currentModeId"))
            return ModeChanged(mode) if mode else None
        case "config_option_update":
            return OptionsChanged(found)
        case "usage_update":
            used, size = count_or_none(found.get("used")), count_or_none(found.get("size"))
            if used is None or size is None:
                return None
            return Context(used, size, _cost(mapping(found.get("cost"))))
        case "session_info_update":
            title = text_or_none(found.get("title"))
            return Titled(title) if title else None
    return None


def read_tool_call(found: Mapping[str, Any]) -> ToolCall | None:
    """A `tool_call`, a `tool_call_update`, or the `toolCall` of a permission request."""
    call_id = text_or_none(found.get("toolCallId"))
    if call_id is None:
        return None
    status = found.get("status")
    return ToolCall(
        call_id,
        text_or_none(found.get("title")),
        text_or_none(found.get("kind")),
        status if status in ("pending", "in_progress", "completed", "failed") else None,
        found.get("rawInput"),
        tool_output(found),
        read_terminal_output(found),
        read_changes(found),
        read_locations(found),
        read_pictures(found),
        read_terminal_end(found),
    )


def _cost(found: Mapping[str, Any]) -> tuple[float, str] | None:
    amount, currency = found.get("amount"), text_or_none(found.get("currency"))
    if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
        return None
    return (float(amount), currency or "USD") if math.isfinite(amount) else None


def _entry(entry: Mapping[str, Any]) -> dict[str, str]:
    priority, status = entry.get("priority"), entry.get("status")
    return {
        "content": str(entry["content"]),
        "priority": priority if priority in ("high", "medium", "low") else "medium",
        "status": status if status in ("pending", "in_progress", "completed") else "pending",
    }
