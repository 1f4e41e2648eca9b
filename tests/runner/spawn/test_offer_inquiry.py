"""Asking an installed agent what it offers, with real processes."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest
import pytest_twisted

from hapi.configured_agents import configured_agents
from hapi.remembered_offers import remembered_offer
from hapi.runner.spawn.offer_inquiry import OfferInquiry

AGENT = """
import json, os, sys
for line in sys.stdin:
    call = json.loads(line)
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(call["method"] + " " + os.getcwd() + "\\n")
    result = {"protocolVersion": 1}
    if call["method"] == "session/new":
        models = [{"modelId": "lab/small", "name": "Small"}]
        state = {"currentModelId": "lab/small", "availableModels": models}
        result = {"sessionId": "s", "models": state}
    if os.environ.get("REFUSES") and call["method"] == "session/new":
        error = {"code": -32000, "message": "Authentication required"}
        print(json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": error}), flush=True)
    elif "id" in call:
        print(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}), flush=True)
"""


@pytest.fixture
def environ(home, tmp_path, monkeypatch):
    (tmp_path / "agent.py").write_text(AGENT)
    agent = {"command": [sys.executable, str(tmp_path / "agent.py")]}
    home.settings.write_text(json.dumps({"agents": {"mine": agent}}))
    return {**os.environ, "HAPI_HOME": str(home.path), "CALLS": str(tmp_path / "calls")}


def known(home, environ):
    agent = configured_agents(json.loads(home.settings.read_text()))["mine"]
    return remembered_offer(home, agent, environ)


@pytest_twisted.ensureDeferred
async def test_an_agent_is_asked_without_a_prompt_and_outside_of_all_projects(
    home, environ, tmp_path
):
    from twisted.internet import reactor

    inquiry = OfferInquiry(reactor, home, environ)
    assert await inquiry.ask("mine") is None
    assert known(home, environ)["models"] == [{"id": "lab/small", "name": "Small"}]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["initialize", "session/new"]
    assert {call.split()[1] for call in calls} == {str(home.path / "offers")}


@pytest_twisted.ensureDeferred
async def test_an_agent_that_refuses_is_quoted_and_not_asked_again_at_once(home, environ, tmp_path):
    from twisted.internet import reactor

    inquiry = OfferInquiry(reactor, home, {**environ, "REFUSES": "yes"})
    reason = await inquiry.ask("mine")
    assert reason.startswith("Mine did not say what it offers: ")
    before = (tmp_path / "calls").read_text()
    began = time.monotonic()
    assert await inquiry.ask("mine") == reason
    assert time.monotonic() - began < 1
    assert (tmp_path / "calls").read_text() == before
    assert known(home, environ) is None
