"""Titles of sessions: from the first prompt, and which of an agent's titles say something. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_LENGTH = 80  # characters
MIN_ECHO = 12  # characters of a prompt that make a title that begins with them an echo of it

# `@/path/of/an/upload`, and what `picture_note` says of a picture
_ATTACHMENT = re.compile(r"(?:^|(?<=\s))(?:@(?:\"[^\"]*\"|\S*/\S*)|\(Attached picture: [^)\n]*\))")
_PLACEHOLDER = re.compile(
    r"(?:new|untitled) (?:session|chat|conversation|thread|task)\b|untitled\b", re.IGNORECASE
)
_ERROR = re.compile(
    r"(?:(?:api|internal|server|request|http|authentication) )?"
    r"(?:error|fail|failed|failure|exception)\s*[:(\[\d]|http \d{3}\b|traceback \(",
    re.IGNORECASE,
)


_FENCE = re.compile(
    r"^ {0,3}(?:`{3,}[^`\n]*|~{3,}.*)$", re.MULTILINE
)  # a line that only fences code


def title_of_prompt(text: str) -> str | None:
    """A title from a person's prompt; None if it has nothing to say, as a slash command alone."""
    words = _without_attachments(_FENCE.sub("", text))
    if not words or re.fullmatch(r"/\S+", words):
        return None
    return shortened(words)


def shortened(title: str) -> str:
    """`title` on one line, of a bounded length, without the backticks of code in Markdown."""
    words = " ".join(title.replace("`", "").split())
    return words if len(words) <= MAX_LENGTH else f"{words[: MAX_LENGTH - 1].rstrip()}…"


def is_telling(title: str, prompts: Iterable[str]) -> bool:
    """Whether an agent's title says what the session is about.

    It does not if it is an error, a path, the name of every new session, or one of `prompts` again,
    whole or in part, with or without what was attached.
    """
    words = _without_attachments(title)
    if not words or _PLACEHOLDER.match(words) or _ERROR.match(words):
        return False
    if re.fullmatch(r"\S*[/\\]\S*", words):
        return False
    said = _comparable(words)
    return bool(said) and not any(
        _echoes(said, _comparable(_without_attachments(prompt))) for prompt in prompts
    )


def _echoes(title: str, prompt: str) -> bool:
    if not prompt:
        return False
    return title == prompt or (
        min(len(title), len(prompt)) >= MIN_ECHO
        and (prompt.startswith(title) or title.startswith(prompt))
    )


def _without_attachments(text: str) -> str:
    return " ".join(_ATTACHMENT.sub(" ", text).split())


def _comparable(text: str) -> str:
    return text.replace("`", "").casefold().rstrip(".…").strip()
