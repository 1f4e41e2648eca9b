"""Cuts streamed Markdown into blocks that can be drawn by themselves, each once. Pure."""

from __future__ import annotations

import re

from attrs import define

MAX_BLOCK = 6_000  # characters; a longer one is cut at the end of a line
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@define
class BlockCutter:
    """`rest` is what has begun and is no whole block yet."""

    rest: str = ""

    def add(self, text: str) -> list[str]:
        """Add what was said; returns the blocks that are whole now."""
        self.rest += text
        blocks = []
        while (end := _end_of_block(self.rest)) is not None:
            blocks.append(self.rest[:end])
            self.rest = self.rest[end:]
        return [block for block in blocks if block.strip()]

    def finish(self) -> str:
        """What is left: the message has ended."""
        rest, self.rest = self.rest, ""
        return rest


def _end_of_block(text: str) -> int | None:
    """Where the first block of `text` ends; None if it may go on."""
    fence, is_blank, at = "", False, 0
    for line in text.splitlines(keepends=True):
        begins_block = is_blank and line.strip() and not line[0].isspace()
        if begins_block and not fence:
            return at
        if not line.endswith("\n"):
            break
        found = _FENCE.match(line)
        if fence:
            if found is not None and found[1].startswith(fence) and not line[found.end() :].strip():
                return at + len(line)
        elif found is not None:
            if text[:at].strip():
                return at  # what stands before a fence is a block of its own
            fence = found[1]
        is_blank = not line.strip() and bool(text[:at].strip())
        at += len(line)
    if len(text) > MAX_BLOCK:
        return at if 0 < at <= MAX_BLOCK * 2 else MAX_BLOCK
    return None
