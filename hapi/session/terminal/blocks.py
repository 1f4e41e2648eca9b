"""Cuts streamed Markdown into blocks that can be drawn by themselves, each once. Pure."""

from __future__ import annotations

import re

from attrs import define

MAX_BLOCK = 4_000  # characters; a longer one is cut, at the end of a line if there is one
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@define
class BlockCutter:
    """`rest` is what has begun and is no whole block yet."""

    rest: str = ""

    def add(self, text: str) -> list[str]:
        """Add what was said; returns the blocks that are whole now."""
        said, start = self.rest + text, 0
        blocks = []
        while (end := _end_of_block(said, start)) is not None:
            blocks.append(said[start:end])
            start = end
        self.rest = said[start:]
        return [block for block in blocks if block.strip()]

    def finish(self) -> str:
        """What is left: the message has ended."""
        rest, self.rest = self.rest, ""
        return rest


def _end_of_block(text: str, start: int) -> int | None:
    """Where the block of `text` that begins at `start` ends; None if it may go on."""
    fence, is_blank, has_text, at = "", False, False, start
    while at < len(text):
        end = text.find("\n", at) + 1
        line = text[at : end or len(text)][:MAX_BLOCK]
        if is_blank and not fence and line.strip() and not line[0].isspace():
            return at
        if (end or len(text)) - start > MAX_BLOCK:
            return at if at > start else start + MAX_BLOCK
        if not end:
            return None
        found = _FENCE.match(line)
        if fence:
            if found is not None and found[1].startswith(fence) and not line[found.end() :].strip():
                return end
        elif found is not None:
            if has_text:
                return at  # what stands before a fence is a block of its own
            fence = found[1]
        is_blank = not line.strip() and has_text
        has_text = has_text or bool(line.strip())
        at = end
    return None
