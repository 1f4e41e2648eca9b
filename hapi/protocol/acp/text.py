"""Content blocks and tool output of the Agent Client Protocol as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapi.protocol.acp.values import objects


def block_text(block: Any) -> str:
    """A content block as text; other kinds are named."""
    found = block if isinstance(block, dict) else {}
    match found.get("type"):
        case "text":
            return str(found.get("text") or "")
        case "resource_link":
            return f"[{found.get('name') or found.get('uri')}]({found.get('uri')})"
        case "resource":
            resource = found.get("resource")
            if not isinstance(resource, dict):
                return ""
            return str(resource.get("text") or resource.get("uri") or "")
        case "image" | "audio" as kind:
            return f"[{kind} {found.get('mimeType') or ''}]".replace(" ]", "]")
    return ""


def tool_output(found: Mapping[str, Any]) -> Any:
    """A tool's output; None if `found` says nothing of it, and empty if it has none any more.

    It is the raw output where that is or contains text, else the content as text, else the raw
    output. Changes of files and terminals in the content are not part of it.
    """
    raw = found.get("rawOutput")
    if isinstance(raw, str) and raw:
        return raw
    if isinstance(raw, dict):
        for key in ("output", "stdout", "text", "error"):
            if isinstance(raw.get(key), str) and raw[key]:
                return raw[key]
    if (
        isinstance(raw, list)
        and raw
        and all(isinstance(item, dict) and isinstance(item.get("text"), str) for item in raw)
    ):
        return "\n".join(item["text"] for item in raw)
    content = found.get("content")
    items = objects(content)
    text = "\n".join(
        filter(None, (block_text(item.get("content")) for item in items if _is_block(item)))
    )
    if text or raw is not None:
        return text or raw
    replaces = isinstance(content, list) and not any(
        item.get("type") == "terminal" for item in items
    )
    return "" if replaces else None


def _is_block(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "content"
