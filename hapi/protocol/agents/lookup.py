"""Look-ups in the table of coding agents."""

from __future__ import annotations

from hapi.protocol.agents.agent import EFFORT_SETTINGS, Agent
from hapi.protocol.agents.modes import GENERIC_MODES
from hapi.protocol.agents.table import AGENTS


def agent_named(name: str) -> Agent:
    """The agent `name`; for one that only a `settings.json` knows, the defaults."""
    known = AGENTS.get(name)
    if known is not None:
        return known
    return Agent(
        name,
        name.capitalize(),
        permission_modes=GENERIC_MODES,
        spawn_settings=EFFORT_SETTINGS,
    )


def agents_with(setting: str) -> frozenset[str]:
    """Names of the agents whose `setting` (its wire name) can be changed while a session runs."""
    return frozenset(name for name, agent in AGENTS.items() if setting in agent.settings)
