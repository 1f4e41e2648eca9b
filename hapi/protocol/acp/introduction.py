"""How an agent introduces itself: the answer to `initialize`."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hapi.protocol.acp.prompts import PromptCapabilities, read_prompt_capabilities
from hapi.protocol.acp.values import mapping, objects, text_or_none
from hapi.protocol.json import Malformed

PROTOCOL_VERSION = 1


AUTH_REQUIRED = -32000  # the code of an error that means: log in first


@frozen
class AgentIntroduction:
    """The answer to `initialize`."""

    protocol_version: int
    loads_sessions: bool
    forks_sessions: bool
    name: str | None
    version: str | None
    login_hint: str | None  # how to log in, in the agent's words
    prompts: PromptCapabilities


def read_introduction(value: Any) -> AgentIntroduction:
    """Read the answer to `initialize`. Raises Malformed, also for an unknown version."""
    if not isinstance(value, dict):
        raise Malformed("the answer to initialize is not an object")
    version = value.get("protocolVersion")
    if version != PROTOCOL_VERSION:
        raise Malformed(f"the agent speaks version {version!r} of ACP, we speak {PROTOCOL_VERSION}")
    abilities = mapping(value.get("agentCapabilities"))
    sessions = mapping(abilities.get("sessionCapabilities"))
    info = mapping(value.get("agentInfo"))
    hints = [
        text_or_none(method.get("description")) or text_or_none(method.get("name"))
        for method in objects(value.get("authMethods"))
    ]
    return AgentIntroduction(
        PROTOCOL_VERSION,
        abilities.get("loadSession") is True,
        isinstance(sessions.get("fork"), dict),
        text_or_none(info.get("name")),
        text_or_none(info.get("version")),
        next(filter(None, hints), None),
        read_prompt_capabilities(abilities.get("promptCapabilities")),
    )
