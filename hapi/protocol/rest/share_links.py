"""Replies about share links and what they show."""

from __future__ import annotations

from typing import Any, TypedDict


class ShareLink(TypedDict):
    """A link under which anybody may read a conversation. `includesLater`: also what is said after
    it was made; `includesTools`: also what tools were asked and put out.
    """

    id: str
    createdAt: int
    expiresAt: int
    includesLater: bool
    includesTools: bool
    includesThoughts: bool


class ShareLinkList(TypedDict):
    links: list[ShareLink]


class NewShareLink(ShareLink):
    """`path`: its address below that of the hub, which is shown this once."""

    path: str


class SharedMessage(TypedDict):
    id: str
    seq: int
    content: dict[str, Any]
    createdAt: int
    invokedAt: int | None


class SharedConversation(TypedDict):
    """A page of a shared conversation, oldest first. `cursor`: that of the next page, None if there
    is none. `isGrowing`: what is said later is shown as well.
    """

    title: str
    agent: str
    sharedAt: int
    expiresAt: int
    isGrowing: bool
    messages: list[SharedMessage]
    cursor: str | None
