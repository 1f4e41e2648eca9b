"""What was said in a conversation, as its rows at the hub tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Speaker = Literal["user", "agent"]


def spoken_text(row: Any) -> tuple[Speaker, str] | None:
    """Who said what in a row; None for what is not a text."""
    content = row.get("content") if isinstance(row, Mapping) else None
    if not isinstance(content, Mapping) or content.get("role") not in ("user", "agent"):
        return None
    inner = content.get("content")
    if content["role"] == "user":
        text = inner.get("text") if isinstance(inner, Mapping) else inner
        return _said("user", text)
    data = inner.get("data") if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(data, Mapping):
        return None
    if inner.get("type") == "codex" and data.get("type") == "message":
        return _said("agent", data.get("message"))
    message = data.get("message")
    if inner.get("type") == "output" and isinstance(message, Mapping):
        return _said("agent", _claude_text(message.get("content")))
    return None


def _claude_text(parts: Any) -> str:
    """The text of a message as Claude's transcript has it."""
    return "\n".join(
        part["text"]
        for part in (parts if isinstance(parts, list) else ())
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    )


def _said(speaker: Speaker, text: Any) -> tuple[Speaker, str] | None:
    return (speaker, text) if isinstance(text, str) and text.strip() else None


def last_spoken(rows: Iterable[Any], prompts: int) -> list[tuple[Speaker, str]]:
    """What was said from the last `prompts` prompts on. `rows` are oldest first."""
    said = [each for each in map(spoken_text, rows) if each is not None]
    starts = [place for place, (speaker, _) in enumerate(said) if speaker == "user"]
    return said[starts[-prompts] :] if len(starts) > prompts else said
