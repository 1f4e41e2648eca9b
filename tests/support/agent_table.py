"""The table of agents as docs/operating.md shows it.

`python -m tests.support.agent_table` prints it.
"""

from __future__ import annotations

from hapi.configured_agents import BUILT_IN
from hapi.protocol.agents import DEMO, Agent

HEAD = (
    "| agent | program | installed with | run with HAPI | variables |",
    "| --- | --- | --- | --- | --- |",
)


def agent_table() -> list[str]:
    """The lines of the table, its head included."""
    return [*HEAD, *map(_row, BUILT_IN.values())]


def _row(agent: Agent) -> str:
    if agent.name == DEMO:
        return f"| `{DEMO}` | built in, always available | | yes | |"
    program = f"`{' '.join(agent.command)}`"
    if len(agent.programs) > 1:
        program += f" (or `{'`, `'.join(agent.programs[1:])}`)"
    install = agent.install
    if install and not install.startswith("https:"):
        install = f"`{install}`"
        if agent.minimum_version:
            install += f" ({agent.minimum_version} or later)"
    tried = f"{agent.tried_version}" if agent.tried_version else "no, only read about"
    if agent.tried:
        tried += f": {agent.tried}"
    names = [agent.program_variable, agent.arguments_variable]
    names += [ours for ours, _ in agent.forwarded_variables]
    variables = ", ".join(f"`{name}`" for name in names if name)
    return f"| `{agent.name}` | {program} | {install} | {tried} | {variables} |".replace(
        "|  |", "| |"
    )


if __name__ == "__main__":
    print("\n".join(agent_table()))
