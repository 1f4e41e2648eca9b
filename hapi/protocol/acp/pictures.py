"""Pictures, sounds and files in the content that agents send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from hapi.protocol.acp.values import mapping, objects, text_or_none


@frozen
class Picture:
    """A picture, or another file, as the agent sent it: nothing of it has been checked."""

    mime_type: str
    data_base64: str = field(repr=False)
    name: str | None = None  # of the file, where the agent names one


def read_picture(block: Any) -> Picture | None:
    """The picture in a content block (`image`, `audio`, or a `resource` of bytes); None for other
    blocks. ACP and MCP have the same blocks."""
    found = mapping(block)
    kind = found.get("type")
    if kind in ("image", "audio"):
        data = found.get("data")
        name = _file_name(found.get("uri"))
        declared = text_or_none(found.get("mimeType")) or ""
        return Picture(declared, data if isinstance(data, str) else "", name)
    if kind == "resource":
        resource = mapping(found.get("resource"))
        if (blob := text_or_none(resource.get("blob"))) is not None:
            declared = text_or_none(resource.get("mimeType")) or ""
            return Picture(declared, blob, _file_name(resource.get("uri")))
    return None


def read_pictures(found: Mapping[str, Any]) -> tuple[Picture, ...]:
    """The pictures of a tool call: in its content, or in the raw result of an MCP tool."""
    blocks: list[Any] = [
        item.get("content")
        for item in objects(found.get("content"))
        if item.get("type") == "content"
    ]
    raw = found.get("rawOutput")
    blocks += objects(raw if isinstance(raw, list) else mapping(raw).get("content"))
    pictures = [picture for block in blocks if (picture := read_picture(block)) is not None]
    if len(pictures) < 2:  # large ones are compared only if they must be
        return tuple(pictures)
    by_data = {picture.data_base64: picture for picture in reversed(pictures)}
    return tuple(picture for picture in pictures if by_data[picture.data_base64] is picture)


def _file_name(uri: Any) -> str | None:
    try:
        path = urlsplit(uri).path if isinstance(uri, str) else ""
    except ValueError:
        return None
    return unquote(path).rstrip("/").rpartition("/")[2] or None
