"""The records of a session's conversation (session.md 5), as they are sent."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from hapi.protocol.acp.prompts import Usage

Data = dict[str, Any]


def new_id() -> str:
    return str(uuid.uuid4())


# --- envelopes ----------------------------------------------------------------------------------


def agent_record(data: Mapping[str, Any]) -> Data:
    """A record of the agent; the type `codex` is historical."""
    return {
        "role": "agent",
        "content": {"type": "codex", "data": data},
        "meta": {"sentFrom": "cli"},
    }


def summary_record(text: str) -> Data:
    data = {"type": "summary", "summary": text, "leafUuid": new_id()}
    return {
        "role": "agent",
        "content": {"type": "output", "data": data},
        "meta": {"sentFrom": "cli"},
    }


def turn_duration_record(milliseconds: int) -> Data:
    """The time of a turn, in the form of Claude's own records (session.md 5.3)."""
    data = {
        "type": "system",
        "subtype": "turn_duration",
        "uuid": new_id(),
        "durationMs": milliseconds,
    }
    return {
        "role": "agent",
        "content": {"type": "output", "data": data},
        "meta": {"sentFrom": "cli"},
    }


def event_record(data: Mapping[str, Any]) -> Data:
    return {"role": "agent", "content": {"id": new_id(), "type": "event", "data": data}}


def user_record(text: str) -> Data:
    """A prompt that was typed at the terminal."""
    return {"role": "user", "content": {"type": "text", "text": text}, "meta": {"sentFrom": "cli"}}


READY: Data = {"type": "ready"}


def message_event(text: str) -> Data:
    """A status line: `Session aborted`, `Kimi prompt failed: …`."""
    return {"type": "message", "message": text}


def mode_event(mode: str) -> Data:
    return {"type": "permission-mode-changed", "mode": mode}


# --- records ------------------------------------------------------------------------------------


def message(text: str, name: str) -> Data:
    """`name`: an id of its own, so that a message that had to be sent twice is shown once."""
    return {"type": "message", "message": text, "id": name}


def reasoning(text: str, stream: str, live: bool) -> Data:
    return {"type": "reasoning", "message": text, "id": stream} | ({"live": True} if live else {})


def is_snapshot(data: Mapping[str, Any]) -> bool:
    """Whether a record is a thought so far, which another one will replace."""
    return data.get("type") == "reasoning" and data.get("live") is True


def plan(entries: tuple[Mapping[str, str], ...]) -> Data:
    return {"type": "plan", "entries": list(entries)}


def tool_result(call_id: str, output: Any, failed: bool) -> Data:
    return {
        "type": "tool-call-result",
        "callId": call_id,
        "output": "" if output is None else output,
        "is_error": failed,
    }


def generated_image(
    image_id: str, file_name: str, media_type: str, size: int, source: Mapping[str, str]
) -> Data:
    """A picture or file that was shown; its bytes are read by `readGeneratedImage`.

    `size` in bytes. `source` says where it came from: `ingress` is `mcp` or `acp`.
    """
    return {
        "type": "generated-image",
        "imageId": image_id,
        "fileName": file_name,
        "mimeType": media_type,
        "id": new_id(),
        "source": dict(source),
        "size": size,
    }


def token_count(
    usage: Usage,
    model: str | None,
    context: tuple[int, int] | None,
    cost: tuple[float, str] | None = None,
) -> Data:
    """`context`: tokens in the model's context and its size. `cost`: amount and currency of what
    is counted; npm's session does not tell it."""
    total = {
        "inputTokens": usage.input,
        "outputTokens": usage.output,
        "totalTokens": usage.total,
        "thoughtTokens": usage.thought,
        "cachedInputTokens": usage.cached,
        "cacheWriteInputTokens": usage.cache_written,
    }
    info: Data = {"total": {name: count for name, count in total.items() if count is not None}}
    if context is not None:
        info |= {"contextTokens": context[0], "modelContextWindow": context[1]}
    named = {"model": model} if model else {}
    semantics = {"usageSchema": "hapi.usage.v1", "inputTokenSemantics": "includes-cache"}
    paid = {"cost": {"amount": cost[0], "currency": cost[1]}} if cost is not None else {}
    return {"type": "token_count", **named, **semantics, **paid, "info": info}
