"""Replies of a session process or runner about files and Git."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class RpcReply(TypedDict, total=False):
    """The answer of a session process or runner, which adds keys of its own."""

    success: bool
    error: str | None


class FileEntry(TypedDict):
    fileName: str
    filePath: str
    fullPath: str
    fileType: str


class FilesReply(TypedDict):
    success: bool
    error: NotRequired[str]
    files: NotRequired[list[FileEntry]]
