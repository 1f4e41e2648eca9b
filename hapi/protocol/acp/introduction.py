"""How an agent introduces itself: the answer to `initialize`."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hapi.protocol.acp.authentication import AuthMethod, read_auth_methods
from hapi.protocol.acp.prompts import PromptCapabilities, read_prompt_capabilities
from hapi.protocol.acp.values import mapping, text_or_none
from hapi.protocol.json import Malformed

PROTOCOL_VERSION = 1


@frozen
class AgentIntroduction:
    """The answer to `initialize`."""

    protocol_version: int
    loads_sessions: bool
    forks_sessions: bool
    name: str | None
    version: str | None
    prompts: PromptCapabilities
    auth_methods: tuple[AuthMethod, ...] = ()


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
    return AgentIntroduction(
        PROTOCOL_VERSION,
        abilities.get("loadSession") is True,
        isinstance(sessions.get("fork"), dict),
        text_or_none(info.get("name")),
        text_or_none(info.get("version")),
        read_prompt_capabilities(abilities.get("promptCapabilities")),
        read_auth_methods(value.get("authMethods")),
    )
