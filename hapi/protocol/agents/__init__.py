"""Coding agents: what HAPI knows of each one. `table.py` is where an agent is added. Pure data."""

from hapi.protocol.agents.agent import EFFORT_SETTINGS, Agent
from hapi.protocol.agents.catalog import agent_catalog, agent_form
from hapi.protocol.agents.lookup import agent_named, agents_with
from hapi.protocol.agents.modes import GENERIC_MODES, PERMISSION_MODES
from hapi.protocol.agents.table import AGENTS, DEFAULT_AGENT, DEMO

__all__ = [
    "AGENTS",
    "DEFAULT_AGENT",
    "DEMO",
    "EFFORT_SETTINGS",
    "GENERIC_MODES",
    "PERMISSION_MODES",
    "Agent",
    "agent_catalog",
    "agent_form",
    "agent_named",
    "agents_with",
]
