"""Prompts and what a turn used: parameters and answer of `session/prompt`."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hapi.protocol.acp.values import count_or_none, mapping


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
    found = mapping(mapping(value).get("usage"))
    fresh, output = (
        count_or_none(found.get("inputTokens")),
        count_or_none(found.get("outputTokens")),
    )
    if fresh is None or output is None:
        return None
    cached, written = (
        count_or_none(found.get("cachedReadTokens")),
        count_or_none(found.get("cachedWriteTokens")),
    )
    whole = fresh + (cached or 0) + (written or 0)
    return Usage(
        whole,
        output,
        count_or_none(found.get("totalTokens")),
        count_or_none(found.get("thoughtTokens")),
        cached,
        written,
    )


def prompt_blocks(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]
