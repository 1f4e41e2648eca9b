"""What the readers of a share link get to see of a message. Pure.

Everything is left out that is not named here: a record of a kind that is added later stays private.
Pictures and attached files are never shown, only their names: they live on a machine, and a link
must not reach it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hapi.hub.store.columns import read_document

Json = dict[str, Any]


def shared_content(content: Any, tools: bool, thoughts: bool) -> Json | None:
    """The content of a message as it is shared; None: nothing of it. `tools`: also what tools were
    asked and put out.
    """
    if isinstance(content, msgspec.Raw):
        content = read_document(bytes(content).decode("utf-8", "replace"))
    role, inner = _get(content, "role"), _get(content, "content")
    if role == "user":
        return _prompt(inner)
    if role != "agent":
        return None
    if isinstance(inner, str):
        return _record({"type": "message", "message": inner})
    kind, data = _get(inner, "type"), _get(inner, "data")
    if kind == "codex":
        return _agent_record(data, tools, thoughts)
    if kind == "output":
        return _claude(data, tools, thoughts)
    if kind == "event" and _get(data, "type") == "message":
        shown = _pick(data, "type", "message")
        return {"role": "agent", "content": {"type": "event", "data": shown}}
    return None


def _prompt(inner: Any) -> Json:
    text = inner if isinstance(inner, str) else _get(inner, "text")
    files = _get(inner, "attachments")
    names = [_pick(file, "filename") for file in files] if isinstance(files, list) else []
    shown: Json = {"type": "text", "text": text if isinstance(text, str) else ""}
    return {"role": "user", "content": shown | ({"attachments": names} if names else {})}


def _agent_record(data: Any, tools: bool, thoughts: bool) -> Json | None:
    match _get(data, "type"):
        case "message":
            return _record(_pick(data, "type", "message", "id", "side"))
        case "reasoning" if thoughts and _get(data, "live") is not True:
            return _record(_pick(data, "type", "message", "id"))
        case "tool-call" if tools:
            names = ("name", "callId", "input", "status", "nativeTitle", "nativeKind", "changes")
            return _record(_pick(data, "type", "description", "side", *names))
        case "tool-call-result" if tools:
            return _record(_pick(data, "type", "callId", "output", "is_error"))
        case "plan":
            return _record(_pick(data, "type", "entries"))
        case "generated-image":
            name = _get(data, "fileName")
            return _record({"type": "note", "message": f"Picture: {name}"}) if name else None
    return None


def _claude(data: Any, tools: bool, thoughts: bool) -> Json | None:
    """Claude's own records; of each, the parts that may be shown."""
    kind, message = _get(data, "type"), _get(data, "message")
    if kind not in ("assistant", "user") or _get(data, "isMeta") is True:
        return None
    content = _get(message, "content")
    if isinstance(content, str):
        parts: list[Json] = [{"type": "text", "text": content}]
    else:
        parts = [part for part in content if isinstance(part, dict)] if content else []
    shown: list[Json] = []
    for part in parts:
        match part.get("type"):
            case "text" if kind == "assistant":
                shown.append(_pick(part, "type", "text"))
            case "thinking" if thoughts:
                shown.append(_pick(part, "type", "thinking"))
            case "tool_use" if tools:
                shown.append(_pick(part, "type", "id", "name", "input"))
            case "tool_result" if tools:
                texts = _result_text(part.get("content"))
                shown.append(_pick(part, "type", "tool_use_id", "is_error") | {"content": texts})
    if not shown:
        return None
    kept = _pick(data, "type", "uuid", "isSidechain") | {"message": {"content": shown}}
    return {"role": "agent", "content": {"type": "output", "data": kept}}


def _result_text(content: Any) -> Any:
    """The texts of a result, without the pictures in it."""
    if not isinstance(content, list):
        return content
    return [
        _pick(part, "type", "text") if _get(part, "type") == "text" else {"type": "picture"}
        for part in content
    ]


def _record(data: Json) -> Json:
    return {"role": "agent", "content": {"type": "codex", "data": data}}


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _pick(value: Any, *names: str) -> Json:
    return {name: value[name] for name in names if name in value} if isinstance(value, dict) else {}
