"""Which agents are installed on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def detect_agents(
    settings: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """The names of the agents that can run here, `demo` always among them, and of the others."""
    from hapi.configured_agents import configured_agents, unavailable_reason

    problems = {
        name: unavailable_reason(agent, environ)
        for name, agent in configured_agents(settings).items()
    }
    available = [name for name, problem in problems.items() if problem is None]
    return available, [name for name in problems if name not in available]


def agents_sentence(available: list[str]) -> str:
    """What `hapi up` prints about the agents of this machine."""
    real = [name for name in available if name != "demo"]
    if not real:
        return (
            "No coding agent was found on this machine. "
            "The built-in agent `demo` lets you try everything without one."
        )
    names = ", ".join(real)
    return f"Agents found on this machine: {names}. The built-in agent `demo` is always available."
