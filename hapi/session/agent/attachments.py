"""Prompts as blocks of the Agent Client Protocol: texts, and files that a person has attached."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, frozen
from twisted.internet.threads import deferToThread

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
from hapi.protocol.acp.prompts import (
    MAX_MEDIA_SIZE,
    PICTURE_HEAD_SIZE,
    Attachment,
    PromptCapabilities,
    PromptPart,
    attachment_block,
    picture_note,
    picture_type,
    text_block,
)

MAX_PROMPT_SIZE = 24 << 20  # bytes of all files that are sent as they are with one prompt
Block = dict[str, Any]


@define(eq=False, repr=False)
class PromptBlocks:
    """Makes the blocks of prompts.

    Files are read within `directory` only. `reads_paths`: the agent itself reads `@path` in the
    text. It gets pictures as they are nevertheless, if it takes them: Claude Code 2.1.197 leaves
    out larger ones (561 kB, not 17 kB) that a path names, without a word. `report` is called with a
    sentence for the person about a file that cannot be sent.
    """

    _directory: ConfinedDirectory
    _reads_paths: bool
    _report: Callable[[str], object]

    async def of(
        self, parts: Sequence[PromptPart], capabilities: PromptCapabilities
    ) -> list[Block]:
        """The blocks of one prompt. Files are read in a thread."""
        if all(isinstance(part, str) for part in parts):
            return [text_block("\n\n".join(str(part) for part in parts))]
        blocks, problems = await deferToThread(self._read, tuple(parts), capabilities)
        for problem in problems:
            self._report(problem)
        return blocks

    def _read(
        self, parts: tuple[PromptPart, ...], capabilities: PromptCapabilities
    ) -> tuple[list[Block], list[str]]:
        """The blocks, and a sentence for each file that cannot be read."""
        pieces: list[_Piece] = []
        problems: list[str] = []
        left = MAX_PROMPT_SIZE
        for part in parts:
            if isinstance(part, str):
                pieces.append(_Words(part))
                continue
            try:
                content, size = self._content(part, left, capabilities)
            except (OSError, PathNotAllowed) as problem:
                problems.append(
                    f"The attachment {part.name} cannot be read: {_reason(problem, part.path)}. "
                    "The prompt was sent without it"
                )
                pieces.append(_Words(f"(The attached file {part.name} is not available.)"))
                continue
            if self._reads_paths and content is None:
                pieces.append(_Words(f"@{part.path}", is_path=True))
                continue
            left -= len(content or b"")
            pieces.append(attachment_block(part, content, size, capabilities))
            if self._reads_paths:
                pieces.append(_Words(picture_note(part.path)))
        return _joined(pieces), problems

    def _content(
        self, attachment: Attachment, left: int, capabilities: PromptCapabilities
    ) -> tuple[bytes | None, int]:
        """What the file contains, None if it is too large or not needed, and its size in bytes."""
        descriptor = self._directory.open(attachment.path)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(errno.EINVAL, "it is not a file")
            if facts.st_size > min(MAX_MEDIA_SIZE, left):
                return None, facts.st_size
            head = file.read(PICTURE_HEAD_SIZE)
            is_picture = capabilities.image and picture_type(head) is not None
            if self._reads_paths and not is_picture:
                return None, facts.st_size
            return head + file.read(MAX_MEDIA_SIZE - len(head)), facts.st_size


def _reason(problem: OSError | PathNotAllowed, path: str) -> str:
    if isinstance(problem, OSError):
        return problem.strerror or str(problem)
    # The uploads of an earlier process of this session were removed with their directory.
    return str(problem) if os.path.lexists(path) else os.strerror(errno.ENOENT)


@frozen
class _Words:
    text: str
    is_path: bool = False  # `@path`: several stand on one line


_Piece = _Words | Block


def _joined(pieces: Sequence[_Piece]) -> list[Block]:
    """The blocks: texts that follow each other become one, with an empty line between them."""
    blocks: list[Block] = []
    last: _Piece | None = None
    for piece in pieces:
        if not isinstance(piece, _Words):
            blocks.append(piece)
        elif isinstance(last, _Words):
            between = " " if last.is_path and piece.is_path else "\n\n"
            blocks[-1] = text_block(f"{blocks[-1]['text']}{between}{piece.text}")
        else:
            blocks.append(text_block(piece.text))
        last = piece
    return blocks
