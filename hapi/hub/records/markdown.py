"""A conversation as Markdown, to be read without HAPI. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from hapi.hub.store.message_text import (
    ANSWER,
    NOTE,
    OUTPUT,
    PLAN,
    PROMPT,
    THOUGHT,
    TOOL,
    Passage,
    passages,
)
from hapi.hub.store.rows import MessageRow

_FENCE = re.compile(r"`{3,}")
_LINE_BREAKS = re.compile(r"\s+")
HEADINGS = {PROMPT: "Prompt", ANSWER: "Answer", THOUGHT: "Thought", PLAN: "Plan", NOTE: "Note"}


def iso(time: int) -> str:
    """ms as `2026-11-26 17:43 UTC`."""
    try:
        return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return str(time)


def one_line(text: str) -> str:
    return _LINE_BREAKS.sub(" ", text).strip()


def fenced(text: str) -> str:
    """`text` as it is: in a fence that is longer than any in it."""
    longest = max((len(found) for found in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"


def document(title: str, facts: Iterable[tuple[str, str]], rows: Iterable[MessageRow]) -> str:
    """The whole document; `facts` are shown below the title."""
    head = [f"# {one_line(title)}", "\n".join(f"- {name}: {one_line(v)}" for name, v in facts if v)]
    return "\n\n".join([*head, *sections(rows)]) + "\n"


def sections(rows: Iterable[MessageRow]) -> Iterator[str]:
    last = ""
    for row in rows:
        for passage in passages(row.content):
            heading, body = _section(passage)
            if heading and (heading != last or passage.kind == PROMPT):
                yield (
                    f"## {heading}, {iso(row.position[0])}"
                    if passage.kind in HEADINGS
                    else (f"### {heading}")
                )
            last = heading or last
            if body:
                yield body


def _section(passage: Passage) -> tuple[str, str]:
    """The heading of a passage, "" for none, and its body."""
    text = passage.text.strip("\n")
    match passage.kind:
        case kind if kind == TOOL:
            return f"Tool: {one_line(passage.title) or 'tool'}", fenced(text) if text else ""
        case kind if kind == OUTPUT:
            return "", fenced(text) if text else ""
        case kind if kind == PLAN:
            return HEADINGS[kind], "\n".join(f"- {one_line(line)}" for line in text.splitlines())
        case kind if kind == THOUGHT:
            return HEADINGS[kind], "\n".join(f"> {line}" for line in text.splitlines())
        case kind:
            return HEADINGS.get(kind, ""), text
