"""Replies about scratchlists and saved prompts."""

from __future__ import annotations

from typing import TypedDict


class ScratchFile(TypedDict):
    """`path` names the file in the attachments of a message."""

    id: str
    filename: str
    mimeType: str
    size: int
    path: str


class ScratchEntry(TypedDict):
    entryId: str
    text: str
    createdAt: int
    updatedAt: int
    attachments: list[ScratchFile]


class ScratchEntryReply(TypedDict):
    entry: ScratchEntry


class ScratchlistReply(TypedDict):
    entries: list[ScratchEntry]


class ScratchFileReply(TypedDict):
    success: bool
    attachment: ScratchFile


class ScratchlistLimits(TypedDict):
    """Sizes are in bytes."""

    maxBytesPerFile: int
    maxAttachmentsPerEntry: int
    maxBytesPerEntry: int
    maxBytesPerSession: int
    allowedMimeTypes: list[str]


class ScratchlistLimitsReply(TypedDict):
    limits: ScratchlistLimits


class SavedPrompt(TypedDict):
    id: str
    name: str
    text: str
    createdAt: int
    updatedAt: int


class SavedPromptReply(TypedDict):
    prompt: SavedPrompt


class SavedPromptList(TypedDict):
    prompts: list[SavedPrompt]
