"""`GET /api/agents`: the table of agents, for the page."""

from __future__ import annotations

from hapi.protocol.agents import AGENTS, agent_catalog
from tests.support.hub_stage import Stage


def test_the_page_is_given_the_table_of_agents():
    stage = Stage()
    answer = stage.get("/api/agents")
    assert answer == agent_catalog()
    assert [agent["name"] for agent in answer["agents"]] == list(AGENTS)


def test_the_table_of_agents_is_given_to_those_who_are_logged_in():
    assert Stage().rest("GET", "/api/agents", namespace=None).status == 401
