"""Content blocks and tool output of the Agent Client Protocol as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapi.protocol.acp.values import objects

MAX_DIFF_LINES = 20_000  # lines of both versions together; comparing takes their product


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
    """A tool's output.

    It is the raw output where that is or contains text, else the content as text, else the raw
    output.
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
    parts = [_content_text(item) for item in objects(found.get("content"))]
    return "\n".join(filter(None, parts)) or raw


def _content_text(item: Mapping[str, Any]) -> str:
    if item.get("type") == "diff":
        return _diff(str(item.get("path") or ""), item.get("oldText"), item.get("newText"))
    return block_text(item.get("content")) if item.get("type") == "content" else ""


def _diff(path: str, old: Any, new: Any) -> str:
    from difflib import unified_diff  # loaded when an agent shows its first change

    before, after = (value.splitlines() if isinstance(value, str) else [] for value in (old, new))
    if len(before) + len(after) > MAX_DIFF_LINES:
        return f"{path}: {len(before)} lines became {len(after)}"
    return "\n".join(
        unified_diff(before, after, path if old is not None else "/dev/null", path, lineterm="")
    )
