"""What `session/request_permission` asks, and the options it offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.protocol.acp.updates import ToolCall, read_tool_call
from hapi.protocol.acp.values import mapping, objects, text_or_none
from hapi.protocol.json import Malformed


@frozen
class PermissionOption:
    id: str
    kind: str  # allow_once, allow_always, reject_once, reject_always
    name: str


@frozen
class PermissionRequest:
    call: ToolCall
    options: tuple[PermissionOption, ...]


def read_permission_request(params: Mapping[str, Any]) -> PermissionRequest:
    """Read a permission request. Raises Malformed if it has no tool call."""
    call = read_tool_call(mapping(params.get("toolCall")))
    if call is None:
        raise Malformed("a permission request without a tool call")
    options = tuple(
        PermissionOption(
            option_id, str(item.get("kind") or ""), text_or_none(item.get("name")) or option_id
        )
        for item in objects(params.get("options"))
        if (option_id := text_or_none(item.get("optionId")))
    )
    return PermissionRequest(call, options)
