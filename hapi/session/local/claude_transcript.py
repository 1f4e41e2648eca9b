"""The lines of Claude Code's transcript (`~/.claude/projects/DIRECTORY/SESSION.jsonl`). Pure.

Seen with Claude Code 2.1.197. A line is written when a message is complete, so thoughts, texts and
calls of one answer are lines of their own, with the same `message.id`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from hapi.protocol.acp.prompts import Usage

MIN_TOLD_DURATION = 10_000  # milliseconds of a turn whose time is told in the conversation
_INTERRUPTED = re.compile(r"\[Request interrupted by user[^\]]*\]")
_COMMAND = re.compile(r"<command-name>(.*?)</command-name>", re.DOTALL)
_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
_SHELL = re.compile(r"<bash-input>(.*?)</bash-input>", re.DOTALL)
_PRINTED = re.compile(
    r"<(?:local-command-stdout|local-command-stderr|bash-stdout|bash-stderr)>(.*?)"
    r"</(?:local-command-stdout|local-command-stderr|bash-stdout|bash-stderr)>",
    re.DOTALL,
)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@frozen
class Line:
    """A line that the conversation shows as it is."""

    data: Mapping[str, Any]


@frozen
class Typed:
    """A prompt, a command (`/compact`) or a shell line (`!ls`) of the person."""

    text: str


@frozen
class Printed:
    """What a command of Claude Code, or a shell line, put out."""

    text: str


@frozen
class Interrupted:
    """The person stopped the turn."""


@frozen
class TurnDuration:
    """The turn is over."""

    data: Mapping[str, Any] | None  # to be shown; None: the turn was short


@frozen
class Titled:
    title: str


@frozen
class Entry:
    """What one line tells. `at`: milliseconds since the epoch; `key`: the line's id."""

    key: str
    at: int
    parts: tuple[Line | Typed | Printed | Interrupted | TurnDuration | Titled, ...]


def read_entry(line: bytes) -> Entry | None:
    """None for a line that tells nothing, or is none of a transcript."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    if data.get("type") in ("ai-title", "custom-title"):
        title = data.get("aiTitle") or data.get("customTitle")
        return Entry("", 0, (Titled(title),)) if isinstance(title, str) and title else None
    key, at = data.get("uuid"), read_time(data.get("timestamp"))
    if not isinstance(key, str) or at is None:
        return None
    if data.get("isMeta") is True and not _is_duration(data):
        return None
    parts = tuple(_parts(data))
    return Entry(key, at, parts) if parts else None


def read_time(value: Any) -> int | None:
    """Milliseconds since the epoch of an ISO time."""
    try:
        return int(datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp() * 1000)
    except (ValueError, AttributeError, OverflowError):
        return None


def _is_duration(data: Mapping[str, Any]) -> bool:
    return data.get("type") == "system" and data.get("subtype") == "turn_duration"


def _parts(data: Mapping[str, Any]) -> list[Any]:
    if _is_duration(data):
        took = data.get("durationMs")
        is_long = isinstance(took, int | float) and took >= MIN_TOLD_DURATION
        return [TurnDuration(data if is_long else None)]
    if data.get("type") == "system" and data.get("subtype") == "local_command":
        return _typed(str(data.get("content") or ""))
    queued = data.get("attachment")
    if isinstance(queued, Mapping) and queued.get("type") == "queued_command":
        return _typed(queued["prompt"]) if isinstance(queued.get("prompt"), str) else []
    message = data.get("message")
    if not isinstance(message, Mapping) or data.get("isCompactSummary") is True:
        return []
    if data.get("type") == "assistant":
        return [] if message.get("model") == "<synthetic>" and _is_empty(message) else [Line(data)]
    if data.get("type") != "user":
        return []
    content = message.get("content")
    if isinstance(content, str):
        return _typed(content) if data.get("isSidechain") is not True else []
    if not isinstance(content, list):
        return []
    if any(isinstance(one, Mapping) and one.get("type") == "tool_result" for one in content):
        return [Line(data)]
    texts = [
        one["text"]
        for one in content
        if isinstance(one, Mapping) and isinstance(one.get("text"), str)
    ]
    if data.get("isSidechain") is True:
        return []
    pictures = sum(1 for one in content if isinstance(one, Mapping) and one.get("type") == "image")
    return _typed("\n".join([*texts, *(["(with a picture)"] if pictures and not texts else [])]))


def _typed(text: str) -> list[Any]:
    if _INTERRUPTED.fullmatch(text.strip()):
        return [Interrupted()]
    if found := _COMMAND.search(text):
        given = _ARGUMENTS.search(text)
        name = found[1].strip()
        words = f"{name if name.startswith('/') else '/' + name} {given[1] if given else ''}"
        return [Typed(words.strip())]
    if found := _SHELL.search(text):
        return [Typed(f"!{found[1].strip()}")]
    if printed := _PRINTED.findall(text):
        shown = _ESCAPES.sub("", "\n".join(filter(None, map(str.strip, printed))))
        return [Printed(shown)] if shown else []
    if text.lstrip().startswith(("<local-command-caveat>", "<task-notification>")):
        return []
    return [Typed(text)] if text.strip() else []


def _is_empty(message: Mapping[str, Any]) -> bool:
    """Whether Claude Code wrote it to keep the order of roles."""
    content = message.get("content")
    return content in ([], [{"type": "text", "text": "No response requested."}])


def usage_of(data: Mapping[str, Any]) -> tuple[str, Usage, int] | None:
    """Of an assistant's line: the id of its message, what that used, and the tokens in the context
    after it. All lines of a message tell the same, or the later ones more."""
    message = data.get("message")
    if data.get("type") != "assistant" or not isinstance(message, Mapping):
        return None
    found, name = message.get("usage"), message.get("id")
    if not isinstance(found, Mapping) or not isinstance(name, str) or data.get("isSidechain"):
        return None

    def count(key: str) -> int:
        value = found.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    cached, written = count("cache_read_input_tokens"), count("cache_creation_input_tokens")
    everything = count("input_tokens") + cached + written
    output = count("output_tokens")
    return name, Usage(everything, output), everything + output


def projects_directory(environ: Mapping[str, str], home: Path) -> Path:
    named = environ.get("CLAUDE_CONFIG_DIR")
    return (Path(named) if named else home / ".claude") / "projects"


def transcript_path(projects: Path, directory: str, session: str) -> Path:
    """Where a session of `directory` is written. Hooks tell it as well."""
    return projects / re.sub(r"[^A-Za-z0-9]", "-", directory) / f"{session}.jsonl"
