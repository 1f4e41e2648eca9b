"""Prompts and what a turn used: parameters and answer of `session/prompt`."""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from hapi.protocol.acp.values import count_or_none, mapping


@frozen
class Usage:
    """Tokens of a turn. `input` counts what was read from and written to the cache too."""

    input: int
    output: int
    total: int | None = None
    thought: int | None = None
    cached: int | None = None
    cache_written: int | None = None


def read_usage(value: Any) -> Usage | None:
    """The usage in the answer to `session/prompt`, None when it has none.

    Gemini says it in `_meta.quota.token_count`.
    """
    answer = mapping(value)
    found = mapping(answer.get("usage"))
    if not found:
        quota = mapping(mapping(answer.get("_meta")).get("quota"))
        counted = mapping(quota.get("token_count"))
        found = {
            "inputTokens": counted.get("input_tokens"),
            "outputTokens": counted.get("output_tokens"),
        }
    fresh, output = (
        count_or_none(found.get("inputTokens")),
        count_or_none(found.get("outputTokens")),
    )
    if fresh is None or output is None:
        return None
    cached, written = (
        count_or_none(found.get("cachedReadTokens")),
        count_or_none(found.get("cachedWriteTokens")),
    )
    whole = fresh + (cached or 0) + (written or 0)
    return Usage(
        whole,
        output,
        count_or_none(found.get("totalTokens")),
        count_or_none(found.get("thoughtTokens")),
        cached,
        written,
    )


# --- what a prompt is made of --------------------------------------------------------------------

# The pictures that models take, by their first bytes. A file that only claims to be one makes the
# model's provider refuse it, with all later requests of that conversation.
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
PICTURE_HEAD_SIZE = 12  # bytes that tell the type of a picture
MAX_MEDIA_SIZE = 10 << 20  # bytes of a picture or recording that is sent as it is
MAX_EMBEDDED_SIZE = 64 << 10  # bytes of a text that is sent as it is


@frozen
class PromptCapabilities:
    """Which blocks an agent takes besides text and links (`promptCapabilities`)."""

    image: bool = False
    audio: bool = False
    embedded_context: bool = False


@frozen
class Attachment:
    """A file that goes with a prompt."""

    path: str  # absolute, on the agent's machine
    name: str
    mime_type: str | None = None  # as its sender says


PromptPart = str | Attachment


def read_prompt_capabilities(value: Any) -> PromptCapabilities:
    """The `promptCapabilities` of an introduction."""
    found = mapping(value)
    return PromptCapabilities(
        found.get("image") is True, found.get("audio") is True, found.get("embeddedContext") is True
    )


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def picture_note(path: str) -> str:
    """What tells an agent, beside a picture, where its file is: it may have to copy or edit it."""
    return f"(Attached picture: {path})"


def attachment_block(
    attachment: Attachment, content: bytes | None, size: int, capabilities: PromptCapabilities
) -> dict[str, Any]:
    """The block for an attachment of `size` bytes: picture, recording or text as it is if the agent
    takes those, else a link to the file.

    `content` is None if the file was not read.
    """
    uri = Path(attachment.path).as_uri()
    if content is not None:
        picture = picture_type(content)
        claimed = attachment.mime_type or ""
        if picture is not None and capabilities.image and size <= MAX_MEDIA_SIZE:
            return _media_block("image", picture, content, uri)
        if claimed.startswith("audio/") and capabilities.audio and size <= MAX_MEDIA_SIZE:
            return _media_block("audio", claimed, content, None)
        if capabilities.embedded_context and size <= MAX_EMBEDDED_SIZE and picture is None:
            with suppress(UnicodeDecodeError):
                resource = {"uri": uri, "text": content.decode()}
                kind = {"mimeType": claimed} if claimed else {}
                return {"type": "resource", "resource": {**resource, **kind}}
    link: dict[str, Any] = {"type": "resource_link", "uri": uri, "name": attachment.name}
    if attachment.mime_type:
        link["mimeType"] = attachment.mime_type
    return {**link, "size": size}


def picture_type(content: bytes) -> str | None:
    """The MIME type of a picture that models take, by its first bytes; None for anything else."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _PICTURES if content.startswith(start)), None)


def _media_block(kind: str, mime_type: str, content: bytes, uri: str | None) -> dict[str, Any]:
    block = {"type": kind, "mimeType": mime_type, "data": base64.b64encode(content).decode()}
    return block if uri is None else {**block, "uri": uri}
