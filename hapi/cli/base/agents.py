"""Which agents this machine has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def found_agents(
    settings: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Names of the agents that can be started here, and of those that cannot; `demo` is always among the first."""
    from hapi.agents import agents

    judged = {
        name: agent.availability(environ) for name, agent in agents(settings, environ).items()
    }
    return [name for name, lack in judged.items() if lack is None], [
        name for name, lack in judged.items() if lack is not None
    ]


def agents_sentence(found: list[str], missing: list[str]) -> str:
    """What `hapi up` says: which agents were found here, and that `demo` always is."""
    real = [name for name in found if name != "demo"]
    if not real:
        return "No coding agent was found on this machine; the built-in agent `demo` shows everything without one."
    return f"Agents found on this machine: {', '.join(real)}. The built-in agent `demo` is always there."
