"""What a session offers to choose from, as its metadata tell it (`metadata.offer`). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hapi.protocol.acp.offers import ON, Offer, Select
from hapi.protocol.agents import Agent
from hapi.protocol.offer.modes import OfferedMode, agent_mode_name

Json = dict[str, Any]

MAX_CHOICES = 300  # of one list; the metadata are sent whole at each change
MAX_DESCRIPTION = 300  # characters


def offer_metadata(
    agent: Agent,
    offer: Offer,
    modes: Sequence[OfferedMode],
    mode: str | None,
    commands: Iterable[tuple[str, str | None]] = (),
) -> Json:
    """`metadata.offer`: what a page may offer to choose, and what is current.

    `modes`, `models`, `efforts`, `collaborationModes`, `serviceTiers`, `agentModes` and the
    `choices` of `options` are lists of `{id, name, description?}`; a list is absent if there is no
    such choice.
    """
    found: Json = {"modes": [_mode_entry(each) for each in modes], "mode": mode}
    if agent.has_model and offer.model is not None:
        found |= {"models": _entries(offer.model), "model": offer.model.current}
    if offer.effort is not None:
        found |= {"efforts": _entries(offer.effort), "effort": offer.effort.current}
        found["effortSetting"] = effort_setting(agent)
    if offer.collaboration is not None:
        found["collaborationModes"] = _entries(offer.collaboration)
        found["collaborationMode"] = offer.collaboration.current
    if offer.speed is not None:
        tiers = (("standard", "Standard"), ("fast", "Fast"))
        found["serviceTiers"] = [{"id": tier, "name": name} for tier, name in tiers]
        found["serviceTier"] = "fast" if offer.speed.current == ON else "standard"
    if "copilotAgentMode" in agent.settings and offer.mode is not None:
        found["agentModes"] = [
            {**entry, "id": agent_mode_name(entry["id"])} for entry in _entries(offer.mode)
        ]
        found["agentMode"] = agent_mode_name(offer.mode.current)
    if offer.others:
        found["options"] = [
            {
                "id": select.option,
                "name": select.name,
                "choices": _entries(select),
                "current": select.current,
            }
            for select in offer.others
            if select.choices
        ]
    listed = list(commands)[:MAX_CHOICES]
    if listed:
        found["commands"] = [_entry("name", name, None, text) for name, text in listed]
    return {key: value for key, value in found.items() if value is not None}


def effort_setting(agent: Agent) -> str:
    """The wire name under which the reasoning effort of the agent is set."""
    return next(iter(agent.effort_settings), "effort")


def _mode_entry(mode: OfferedMode) -> Json:
    entry = _entry("id", mode.id, mode.name, mode.description)
    return entry | ({"unrestricted": True} if mode.is_unrestricted else {})


def _entries(select: Select) -> list[Json]:
    return [
        _entry("id", choice.value, choice.name, choice.description)
        for choice in select.choices[:MAX_CHOICES]
    ]


def _entry(key: str, value: str, name: str | None, description: str | None) -> Json:
    found = {key: value, "name": name} if name is not None else {key: value}
    return found | ({"description": description[:MAX_DESCRIPTION]} if description else {})


def offered_ids(offer: Any, key: str) -> list[str] | None:
    """The ids of the list `key` of a `metadata.offer`; None if it has no such list."""
    listed = offer.get(key) if isinstance(offer, Mapping) else None
    if not isinstance(listed, list):
        return None
    ids = (entry.get("id") for entry in listed if isinstance(entry, Mapping))
    return [value for value in ids if isinstance(value, str)]
