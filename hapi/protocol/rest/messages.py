"""Replies about the messages of a conversation."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Message(TypedDict):
    """A message of a conversation. A prompt whose `invokedAt` is null is still queued."""

    id: str
    seq: int
    localId: str | None
    content: Any
    createdAt: int
    invokedAt: int | None
    scheduledAt: int | None
    deliveryState: NotRequired[str]  # `indeterminate`: the agent may or may not have the prompt
    sessionId: NotRequired[str]


class Page(TypedDict):
    """Where a page of messages lies, and the positions from which the next ones continue."""

    direction: Literal["before", "after", "latest", "around"]
    limit: int
    epoch: int
    reset: bool
    nextBeforeSeq: int | None
    nextBeforeAt: int | None
    nextAfterSeq: int | None
    nextAfterAt: int | None
    snapshotHeadSeq: int | None
    snapshotHeadAt: int | None
    hasMore: bool
    hasMoreAfter: NotRequired[bool]
    """Whether there are later messages; only for the direction `around`."""


class MessagePage(TypedDict):
    messages: list[Message]
    page: Page


class InvokedMessage(TypedDict):
    localId: str | None
    invokedAt: int


class QueuedStateReply(TypedDict):
    queuedLocalIds: list[str | None]
    indeterminateLocalIds: list[str | None]
    invokedLocalMessages: list[InvokedMessage]


class CancelReply(TypedDict):
    status: Literal["cancelled", "busy", "invoked"]
    localId: NotRequired[str | None]
    message: NotRequired[Message]


class RetryReply(TypedDict):
    status: Literal["retried", "invoked", "already-queued", "retry-unavailable", "not-found"]
    localId: str | None
    message: NotRequired[Message]


class SteerReply(TypedDict):
    status: Literal["steered", "invoked", "failed"]
    localId: str | None
    error: NotRequired[str]


class Messages(TypedDict):
    messages: list[Message]
