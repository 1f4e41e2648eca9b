"""The page about real agents says what was seen, at the versions that the table of agents names."""

from __future__ import annotations

import pytest

from hapi.protocol.agents import AGENTS as KNOWN
from tests.agents.results import DOCUMENT, with_table
from tests.support.real_agents import AGENTS


def test_the_table_in_the_documentation_is_that_of_the_results():
    document = DOCUMENT.read_text()
    assert with_table(document) == document, "python -m tests.agents.results --write"


@pytest.mark.parametrize(
    "agent",
    [
        agent
        for agent in AGENTS
        if KNOWN[agent.name].package == f"{agent.registry.lower()}:{agent.package}"
    ],
    ids=lambda agent: agent.name,
)
def test_the_version_that_is_run_is_the_one_that_the_table_of_agents_names(agent):
    assert KNOWN[agent.name].tried_version == agent.version
