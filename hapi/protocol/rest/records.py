"""Replies about all that is stored: search, usage and export."""

from __future__ import annotations

from typing import Any, TypedDict


class SnippetReply(TypedDict):
    """A part of a message. `marks`: the places of the words that were found, each `[start, end]`
    with `end` left out, in UTF-16 code units, as JavaScript counts.
    """

    text: str
    marks: list[list[int]]
    hasMoreBefore: bool
    hasMoreAfter: bool


class SearchResult(TypedDict):
    """A message. `kind`: `prompt`, `answer`, `thought`, `tool`, `output`, `plan` or `note`."""

    sessionId: str
    sessionTitle: str
    messageId: str
    seq: int
    time: int
    kind: str
    snippet: SnippetReply


class IndexingProgress(TypedDict):
    """How many of the messages that were stored before there was an index are indexed."""

    done: int
    total: int


class SearchReply(TypedDict):
    """`nextCursor`: the `cursor` of the next page, None if this is the last one. `isPartial`: the
    time was over before all of the page was found. `indexing` None: all messages are indexed.
    """

    results: list[SearchResult]
    nextCursor: int | None
    isPartial: bool
    terms: list[str]
    indexing: IndexingProgress | None


# `from` is a keyword, so it cannot be a name in a class.
UsageRange = TypedDict("UsageRange", {"from": int, "to": int})


class Usage(TypedDict):
    inputTokens: int
    outputTokens: int
    cacheReadTokens: int
    cacheCreationTokens: int
    totalTokens: int
    uncachedTokens: int
    requests: int


class UsageTotals(Usage):
    sessions: int


class UsageOf(Usage):
    """The use of one day (`2026-11-26`), agent or model."""

    key: str


class UsageReply(TypedDict):
    range: UsageRange
    totals: UsageTotals
    daily: list[UsageOf]
    byAgent: list[UsageOf]
    byModel: list[UsageOf]
    updatedAt: int


class SessionExport(TypedDict):
    """A whole conversation. `messages` are those of `GET sessions/ID/messages`, oldest first."""

    schemaVersion: int
    exportedAt: int
    session: dict[str, Any]
    messages: list[dict[str, Any]]
    scratchlist: list[dict[str, Any]]
