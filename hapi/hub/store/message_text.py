"""What people read of a message, by kind: the text that is searched and exported. Pure.

Found in a conversation are prompts, answers, thoughts that are complete, the calls of tools with
their inputs, the start and the end of what they put out, plans, and status lines. Not found are
pictures, the contents of attachments, counts of tokens, and records that show nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import frozen

from hapi.hub.store.columns import read_document

PROMPT, ANSWER, THOUGHT, TOOL, OUTPUT, PLAN, NOTE = KINDS = (
    *("prompt", "answer", "thought", "tool", "output", "plan", "note"),
)
OUTPUT_START, OUTPUT_END = 6_000, 2_000  # characters of an output that are searched
MAX_LENGTH = 64_000  # characters of any other text that are searched
MAX_INPUT_TEXTS = 40  # texts of a tool's input
MAX_DEPTH = 6  # of a tool's input


@frozen
class Passage:
    """One text of a message. `title`: the name of the tool, "" for all else."""

    kind: str
    text: str
    title: str = ""

    @property
    def searched(self) -> str:
        """What of it is searched."""
        text = f"{self.title}\n{self.text}" if self.title else self.text
        if self.kind != OUTPUT:
            return text[:MAX_LENGTH]
        if len(text) <= OUTPUT_START + OUTPUT_END:
            return text
        return f"{text[:OUTPUT_START]}\n…\n{text[-OUTPUT_END:]}"


def passages(content: Any) -> list[Passage]:
    """The texts of a message's content, in the order in which they are shown; none of a content
    that nobody understands. The content may be JSON, as it is stored.
    """
    if isinstance(content, msgspec.Raw):
        content = read_document(bytes(content).decode("utf-8", "replace"))
    elif isinstance(content, str):
        content = read_document(content)
    return [found for found in _passages(content) if found.text or found.title]


def _passages(content: Any) -> Iterator[Passage]:
    role, inner = _get(content, "role"), _get(content, "content")
    if role == "user":
        yield Passage(PROMPT, _text(inner if isinstance(inner, str) else _get(inner, "text")))
        for file in _list(_get(inner, "attachments")):
            yield Passage(NOTE, _text(_get(file, "filename")))
    if role != "agent":
        return
    if isinstance(inner, str):
        yield Passage(ANSWER, inner)
    kind, data = _get(inner, "type"), _get(inner, "data")
    if kind == "text":
        yield Passage(ANSWER, _text(_get(inner, "text")))
    elif kind == "codex":
        yield from _record(data)
    elif kind == "output":
        yield from _claude(data)
    elif kind == "event" and _get(data, "type") == "message":
        yield Passage(NOTE, _text(_get(data, "message")))


def _record(data: Any) -> Iterator[Passage]:
    match _get(data, "type"):
        case "message":
            yield Passage(ANSWER, _text(_get(data, "message")))
        case "reasoning" if _get(data, "live") is not True:
            yield Passage(THOUGHT, _text(_get(data, "message")))
        case "tool-call":
            title = _text(_get(data, "nativeTitle")) or _text(_get(data, "name"))
            yield Passage(TOOL, _input(_get(data, "input")), title)
        case "tool-call-result":
            yield Passage(OUTPUT, _output(_get(data, "output")))
        case "plan":
            entries = (_text(_get(entry, "content")) for entry in _list(_get(data, "entries")))
            yield Passage(PLAN, "\n".join(filter(None, entries)))
        case "generated-image":
            yield Passage(NOTE, _text(_get(data, "fileName")))


def _claude(data: Any) -> Iterator[Passage]:
    """Claude's own records; see docs of the Agent SDK, "Message types"."""
    kind = _get(data, "type")
    if _get(data, "isMeta") is True or kind not in ("assistant", "user"):
        return
    content = _get(_get(data, "message"), "content")
    if kind == "assistant" and isinstance(content, str):
        yield Passage(ANSWER, content)
    for part in _list(content):
        match _get(part, "type"):
            case "text" if kind == "assistant":
                yield Passage(ANSWER, _text(_get(part, "text")))
            case "thinking":
                yield Passage(THOUGHT, _text(_get(part, "thinking")))
            case "tool_use":
                yield Passage(TOOL, _input(_get(part, "input")), _text(_get(part, "name")))
            case "tool_result":
                yield Passage(OUTPUT, _output(_get(part, "content")))


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _input(value: Any) -> str:
    """The texts in a tool's input: a command, paths, what is written into a file."""
    return value if isinstance(value, str) else "\n".join(_texts(value, MAX_DEPTH))


def _texts(value: Any, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value]
    if depth == 0 or not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    found: list[str] = []
    for each in inner:
        found += _texts(each, depth - 1)
        if len(found) >= MAX_INPUT_TEXTS:
            break
    return found[:MAX_INPUT_TEXTS]


def _output(value: Any) -> str:
    """An output is a text, or a list of Claude's parts, or any JSON."""
    if isinstance(value, str):
        return value
    parts = [_text(_get(part, "text")) for part in _list(value)]
    if any(parts):
        return "\n".join(filter(None, parts))
    return "\n".join(_texts(value, MAX_DEPTH))
