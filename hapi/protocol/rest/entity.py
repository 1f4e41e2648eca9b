"""What the replies about sessions and machines have in common."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Entity(TypedDict):
    """What is known of each session and machine, however damaged its row is."""

    id: str
    active: bool
    activeAt: int
    updatedAt: int
    metadata: dict[str, Any] | None
    metadataVersion: int
    damaged: NotRequired[list[str]]  # what is malformed and left out
