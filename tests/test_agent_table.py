"""The table of agents: complete, and shown as it is."""

import re

import pytest

from hapi.configured_agents import BUILT_IN
from hapi.protocol.agents import DEMO
from tests.support.agent_table import agent_table
from tests.support.paths import ROOT


def test_the_documentation_shows_the_table_of_agents():
    """`python -m tests.support.agent_table` prints the table for docs/operating.md."""
    text = (ROOT / "docs/operating.md").read_text()
    shown = [line.replace("|  |", "| |") for line in text.splitlines()]
    table = agent_table()
    start = shown.index(table[0])
    assert shown[start : start + len(table)] == table
    assert not shown[start + len(table)].startswith("|")


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {DEMO, "dsh"}))
def test_every_agent_says_how_it_is_installed_and_what_was_tried(name):
    agent = BUILT_IN[name]
    assert re.fullmatch(r"(npm|pypi):[@a-z0-9/._-]+|https://\S+", agent.package), agent.package
    assert agent.install
    assert agent.programs[0] == agent.command[0]
    assert agent.tried_version or not agent.tried


def test_kimi_is_kimi_code():
    assert BUILT_IN["kimi"].install == "npm install -g @moonshot-ai/kimi-code"
