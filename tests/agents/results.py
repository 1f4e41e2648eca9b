"""What each real agent did at which version: `tests/agents/results.json`, and the table of it in
`docs/agents.md`.

`python -m tests.agents.results --write` brings the table up to date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from attrs import define, field

from tests.support.paths import ROOT
from tests.support.real_agents import AGENTS

FILE = Path(__file__).with_name("results.json")
DOCUMENT = ROOT / "docs/agents.md"
BEGIN, END = "<!-- begin of the generated table -->", "<!-- end of the generated table -->"
BEHAVIOURS = {
    "answer": "answers",
    "allow": "allow",
    "deny": "deny",
    "always": "allow for session",
    "abort": "stop while it asks",
    "edit": "edit with diff",
    "modes": "modes",
    "picture": "picture",
    "question": "question",
    "resume": "resume",
    "fork": "fork",
    "rest": "rest",
    "kill": "kill -9",
}


@define
class Results:
    """What was seen in this run, by agent and behaviour."""

    seen: dict[str, dict[str, str]] = field(factory=dict)

    def note(self, agent: str, behaviour: str, what: str) -> None:
        assert behaviour in BEHAVIOURS
        self.seen.setdefault(agent, {})[behaviour] = what

    def write(self) -> None:
        """Merge into the file: agents that were not run keep what was seen of them before."""
        stored = read()
        versions = {agent.name: agent.version for agent in AGENTS}
        for name, behaviours in self.seen.items():
            before = stored.get(name, {}) if same_version(stored, name) else {}
            stored[name] = {**before, **behaviours, "version": versions[name]}
        FILE.write_text(json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def same_version(stored: dict[str, dict[str, str]], name: str) -> bool:
    version = next(agent.version for agent in AGENTS if agent.name == name)
    return stored.get(name, {}).get("version") == version


def read() -> dict[str, dict[str, str]]:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def table() -> str:
    """The table in Markdown: a row for each agent."""
    stored = read()
    lines = [
        "| agent | package | version | " + " | ".join(BEHAVIOURS.values()) + " |",
        "| --- | --- | --- |" + " --- |" * len(BEHAVIOURS),
    ]
    for agent in AGENTS:
        seen = stored.get(agent.name, {}) if same_version(stored, agent.name) else {}
        cells = [seen.get(behaviour, "not run") for behaviour in BEHAVIOURS]
        start = f"| `{agent.name}` | {agent.registry}: `{agent.package}` | {agent.version} | "
        lines.append(start + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_table(document: str) -> str:
    """The document with the table as it should be."""
    before, rest = document.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
    else:
        print(table())
