"""Search in the contents of files: a call that only HAPI's own sessions answer."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

MAX_QUERY = 1000  # characters
MAX_MATCHES = 500  # lines in one answer


class SearchContent(Struct, frozen=True, rename="camel"):
    """The parameters of `searchContent`: a text, found whatever the case of its letters."""

    query: Annotated[str, Meta(min_length=1, max_length=MAX_QUERY)]
    limit: Annotated[int, Meta(ge=1, le=MAX_MATCHES)] = MAX_MATCHES


class FoundLine(Struct, frozen=True, rename="camel"):
    """A line that contains the text; `line` counts from 1, `text` is cut around the place."""

    path: str
    line: int
    text: str


class FoundContent(Struct, frozen=True, rename="camel"):
    """The answer. `files`: how many were searched; `incomplete`: a sentence that says why there may
    be more, None if everything was searched."""

    matches: list[FoundLine]
    files: int
    incomplete: str | None = None
    success: bool = True
