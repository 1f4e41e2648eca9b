"""What the hub reads from the content of messages: reasoning streams, to-do lists, readiness; long
strings of agents are cut. Pure.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from hapi.hub.store.columns import as_key
from hapi.protocol.json import MAX_STRING_LENGTH, bounded, check_number_of_values, cut

# Tools that keep the agent's to-do list, in small letters and without underscores: Claude Code,
# OpenCode, Qwen Code and Gemini CLI.
TODO_TOOLS = ("todowrite", "writetodos")


def storable(content: Any) -> Any:
    """`content` as it is stored: that of a person is kept whole, that of an agent is `cut`."""
    return bounded(content) if role(content) == "user" else cut(content)


def content_of(message: Any) -> Any:
    """The content of a `message` event, given as an object or as its JSON text, as it is stored."""
    if isinstance(message, str):
        try:
            check_number_of_values(message)
            parsed = json.loads(message)
        except (ValueError, RecursionError):
            return cut(message)
        return storable(parsed) if isinstance(parsed, dict) else cut(message)
    return storable(message)


def record(content: Any) -> tuple[str, dict[str, Any]]:
    """Kind of the inner content (`codex`, `output`, `event`, `text`, …) and its data; ("", {}) if
    it has none.
    """
    inner = content.get("content") if isinstance(content, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("type"), str):
        return "", {}
    data = inner.get("data")
    return inner["type"], data if isinstance(data, dict) else {}


def role(content: Any) -> str:
    found = content.get("role") if isinstance(content, dict) else None
    return found if isinstance(found, str) else ""


def is_long(content: Any) -> bool:
    """Whether the content of a prompt, read from the store or not yet, is of more than 64 KiB."""
    if isinstance(content, msgspec.Raw):
        return memoryview(content).nbytes > MAX_STRING_LENGTH
    inner = content.get("content") if isinstance(content, dict) else None
    text = inner.get("text") if isinstance(inner, dict) else inner
    return isinstance(text, str) and len(text) > MAX_STRING_LENGTH


def stream_of(content: Any) -> str | None:
    """The id of a reasoning stream whose earlier snapshots this record replaces."""
    kind, data = record(content)
    found = data.get("id") if kind == "codex" and data.get("type") == "reasoning" else None
    return as_key(found) if isinstance(found, str) and found else None


def is_ready(content: Any) -> bool:
    kind, data = record(content)
    return kind == "event" and data.get("type") == "ready"


def todos_of(content: Any) -> list[dict[str, Any]] | None:
    """The to-do list that a `plan` record or a call of a to-do tool sets, None for any other
    content."""
    kind, data = record(content)
    if kind == "codex" and data.get("type") == "plan":
        return _todos(data.get("entries"))
    if kind == "codex" and data.get("type") == "tool-call" and _is_todo_tool(data.get("name")):
        return _todos(_todo_input(data.get("input")))
    if kind == "output" and data.get("type") == "assistant":
        message = data.get("message")
        items = message.get("content") if isinstance(message, dict) else None
        for item in items if isinstance(items, list) else ():
            if (
                isinstance(item, dict)
                and item.get("type") == "tool_use"
                and _is_todo_tool(item.get("name"))
            ):
                return _todos(_todo_input(item.get("input")))
    return None


def _is_todo_tool(name: Any) -> bool:
    return isinstance(name, str) and name.lower().replace("_", "") in TODO_TOOLS


def _todo_input(value: Any) -> Any:
    return value.get("todos") if isinstance(value, dict) else None


def _todos(entries: Any) -> list[dict[str, Any]] | None:
    if not isinstance(entries, list):
        return None
    found = []
    for number, entry in enumerate(entries, start=1):
        text = entry.get("content", entry.get("description")) if isinstance(entry, dict) else None
        if not isinstance(text, str):
            continue
        status, priority, name = entry.get("status"), entry.get("priority"), entry.get("id")
        found.append(
            {
                "content": text,
                "status": status
                if status in ("pending", "in_progress", "completed")
                else "pending",
                "priority": priority if priority in ("high", "medium", "low") else "medium",
                "id": name if isinstance(name, str) and name else f"todo-{number}",
            }
        )
    return found


def prompt(
    text: str, attachments: list[dict[str, Any]] | None, delivery_mode: str
) -> dict[str, Any]:
    """A message posted by a person, as it is stored and delivered."""
    inner: dict[str, Any] = {"type": "text", "text": text}
    if attachments:
        inner["attachments"] = attachments
    return {
        "role": "user",
        "content": inner,
        "meta": {"sentFrom": "webapp", "deliveryMode": delivery_mode},
    }
