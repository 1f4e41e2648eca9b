"""What permission modes mean, and which of them a session has.

People, npm's programs and the hub's rows name permission modes as `PERMISSION_MODES` does; each
agent has names of its own for the same thing (Qwen's auto-edit is acceptEdits). The rules here
translate by the names alone, so that they hold for agents that nobody has listed. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from hapi.protocol.acp.offers import OFF, ON, Choice, Offer, Select
from hapi.protocol.agents import PERMISSION_MODES, Agent

EVERYTHING = "everything"

# What a mode means, by its name in lower case without punctuation.
_MEANINGS = {
    "plan": "plan",
    "planmode": "plan",
    "acceptedits": "acceptEdits",
    "autoedit": "acceptEdits",
    "autoacceptedits": "acceptEdits",
    "bypasspermissions": EVERYTHING,
    "yolo": EVERYTHING,
    "autoapprove": EVERYTHING,
    "alwaysproceed": EVERYTHING,
    "allowall": EVERYTHING,
    "fullaccess": EVERYTHING,
    "agentfullaccess": EVERYTHING,
    "dangerfullaccess": EVERYTHING,
    "readonly": "read-only",
    "safeyolo": "safe-yolo",
    "autoreview": "autoReview",
    "requestreview": "default",
}
# Names of the mode in which an agent usually works, the surest first. An agent that also has the
# first ones means something of its own by the later ones.
_USUAL_MODES = ("default", "requestreview", "agent", "build", "code", "normal", "ask")
_COPILOT_AGENT_MODES = {"interactive": "agent"}  # npm's name -> the end of the mode's URL


@frozen
class OfferedMode:
    """A permission mode that can be chosen.

    `agent_mode` is the agent's own mode for it, None if the agent has no modes. `enforced`: HAPI
    answers the agent's requests, because the agent has no such mode.
    """

    id: str
    name: str
    description: str | None
    agent_mode: str | None
    enforced: bool

    @property
    def is_unrestricted(self) -> bool:
        known = PERMISSION_MODES.get(self.id)
        grants = known.grants if known is not None else None
        return grants in ("each request", "everything") or meaning(self.id) == EVERYTHING


def meaning(mode: str) -> str:
    """What a permission mode means: the name it shares with modes that mean the same."""
    plain = _plain(mode)
    return _MEANINGS.get(plain) or ("default" if plain == "default" else mode)


def _plain(mode: str) -> str:
    """Copilot's modes are URLs, whose fragment is the name."""
    return re.sub(r"[^a-z0-9]", "", mode.rpartition("#")[2].lower())


def find_mode(wanted: str, modes: Iterable[OfferedMode]) -> OfferedMode | None:
    """The offered mode that is called `wanted`, else the one that means the same."""
    listed = list(modes)
    for mode in listed:
        if wanted in (mode.id, mode.agent_mode if not mode.enforced else None):
            return mode
    return next((mode for mode in listed if meaning(mode.id) == meaning(wanted)), None)


def offered_modes(
    agent: Agent, offer: Offer, initial: Offer | None = None
) -> tuple[OfferedMode, ...]:
    """The permission modes of a session: those of the table that the agent has or HAPI enforces,
    then what the agent has besides.

    `initial` is what was current when the session was opened.
    """
    select = None if "copilotAgentMode" in agent.settings else offer.mode
    if not agent.permission_modes and (select is None or not select.choices):
        return ()
    own = _named_modes(agent, select, initial)
    usual = next((name for name in own if meaning(name) == "default"), None)
    found = {}
    for name in agent.permission_modes:
        if name in own:
            found[name] = _of_agent(name, own[name])
        elif _is_enforceable(name, own):
            known = PERMISSION_MODES[name]
            value = own[usual].value if usual is not None else None
            found[name] = OfferedMode(name, known.label, None, value, enforced=True)
    if not agent.has_fixed_modes:
        found |= {
            name: _of_agent(name, choice) for name, choice in own.items() if name not in found
        }
    return tuple(found.values())


def _is_enforceable(name: str, own: Mapping[str, Choice]) -> bool:
    """Whether HAPI can stand in for a mode that the agent lacks."""
    known = PERMISSION_MODES.get(name)
    if known is None:
        return False
    if known.grants == "everything":  # unless the agent has it under its other name
        return all(meaning(mode) != EVERYTHING for mode in own)
    return known.grants is not None or (known.enforced_by == "session" and not own)


def _of_agent(name: str, choice: Choice) -> OfferedMode:
    known = PERMISSION_MODES.get(name)
    is_plain_name = _plain(choice.name) in (_plain(name), _plain(choice.value))
    label = known.label if known is not None and is_plain_name else choice.name
    return OfferedMode(name, label, choice.description, choice.value, enforced=False)


def _named_modes(agent: Agent, select: Select | None, initial: Offer | None) -> dict[str, Choice]:
    """The agent's modes by the names that they have for people."""
    if select is None:
        return {}
    table = agent.permission_modes
    everything = "bypassPermissions" if "bypassPermissions" in table else "yolo"
    usual = _usual_mode(select, initial)
    named: dict[str, Choice] = {}
    for choice in select.choices:
        shared = meaning(choice.value)
        if choice is usual:
            name = next((mode for mode in table if meaning(mode) == "default"), "default")
        elif choice.value in PERMISSION_MODES and shared != EVERYTHING:
            name = choice.value
        else:
            name = everything if shared == EVERYTHING else shared
        named.setdefault(name if name not in named else choice.value, choice)
    return named


def _usual_mode(select: Select, initial: Offer | None) -> Choice | None:
    """The mode in which the agent usually works: the one that says so by its name, else the one
    in which the session began."""
    by_name = {_plain(choice.value): choice for choice in select.choices}
    began = initial.mode.current if initial is not None and initial.mode is not None else None
    for name in _USUAL_MODES[:2]:
        if name in by_name:
            return by_name[name]
    for choice in select.choices:
        if choice.value == began and _plain(choice.value) not in _MEANINGS:
            return choice
    return next((by_name[name] for name in _USUAL_MODES if name in by_name), None)


def current_mode(
    modes: Sequence[OfferedMode], chosen: str | None, current: str | None
) -> str | None:
    """The id of the mode in use: the chosen one, unless the agent has left it for another."""
    mode = find_mode(chosen, modes) if chosen is not None else None
    if mode is not None and (current is None or mode.agent_mode in (current, None)):
        return mode.id
    own = (mode.id for mode in modes if mode.agent_mode == current and not mode.enforced)
    return next(own, None) or (modes[0].id if modes and current is None else current)


def speed_value(tier: str | None) -> str:
    """The agent's value for a service tier of npm's page: `fast`, `standard` or none."""
    return ON if tier == "fast" else OFF


def agent_mode_value(select: Select, mode: str) -> str | None:
    """The agent's value for npm's `copilotAgentMode`: interactive, plan, autopilot."""
    wanted = _COPILOT_AGENT_MODES.get(mode, mode)
    values = (choice.value for choice in select.choices)
    return next((value for value in values if _plain(value) == _plain(wanted)), None)


def agent_mode_name(value: str | None) -> str | None:
    """npm's name of Copilot's mode `value`."""
    if value is None:
        return None
    names = {end: name for name, end in _COPILOT_AGENT_MODES.items()}
    return names.get(_plain(value), value.rpartition("#")[2])


def named_mode(wanted: str, ids: Iterable[str]) -> str | None:
    """The one of the modes `ids` that is called `wanted`, else the one that means the same; None
    if there is none. What begins with a hyphen names no mode: a program would read it as an option.
    """
    listed = list(ids)
    if wanted.strip().startswith("-"):
        return None
    if wanted in listed:
        return wanted
    return next((mode for mode in listed if meaning(mode) == meaning(wanted)), None)


def is_offered(mode: str, ids: Iterable[str]) -> bool:
    """Whether one of the modes `ids` is `mode` or means the same."""
    return named_mode(mode, ids) is not None
