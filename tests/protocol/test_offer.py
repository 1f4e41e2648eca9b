"""What sessions of real agents offer, and what the permission modes of npm's page mean for them."""

import pytest

from hapi.protocol.acp.offers import read_offer
from hapi.protocol.agents import AGENTS, agent_named
from hapi.protocol.offer.metadata import offer_metadata
from hapi.protocol.offer.model_lists import effort_list, model_list
from hapi.protocol.offer.modes import (
    agent_mode_value,
    current_mode,
    find_mode,
    is_offered,
    offered_modes,
)

COPILOT = "https://agentclientprotocol.com/protocol/session-modes#"


def with_modes(*modes, current=None):
    listed = [{"id": mode, "name": name} for mode, name in modes]
    return read_offer(
        {"modes": {"currentModeId": current or modes[0][0], "availableModes": listed}}
    )


CODEX = with_modes(
    ("read-only", "Read-only"),
    ("workspace-write", "Workspace access"),
    ("agent", "Auto review"),
    ("agent-full-access", "Full access"),
    current="agent",
)
QWEN = with_modes(
    ("plan", "Plan"),
    ("default", "Default"),
    ("auto-edit", "Auto Edit"),
    ("auto", "Auto"),
    ("yolo", "YOLO"),
    current="default",
)
VIBE = with_modes(
    ("ask", "Ask"),
    ("plan", "Plan"),
    ("accept-edits", "Accept Edits"),
    ("auto-approve", "Auto Approve"),
)
GEMINI = with_modes(
    ("default", "Default"), ("autoEdit", "Auto Edit"), ("yolo", "YOLO"), ("plan", "Plan")
)
OPENCODE = with_modes(("build", "build"), ("plan", "plan"))
CURSOR = with_modes(("agent", "Agent"), ("plan", "Plan"), ("ask", "Ask"))
ONE_MODE = with_modes(("agent", "agent"))


@pytest.mark.parametrize(
    ("agent", "offer", "expected"),
    [
        (
            "codex",
            CODEX,
            {
                "default": "agent",
                "read-only": "read-only",
                "yolo": "agent-full-access",
                "bypassPermissions": "agent-full-access",
                "workspace-write": "workspace-write",
                "safe-yolo": "agent",
                "plan": None,
            },
        ),
        (
            "qwen",
            QWEN,
            {
                "default": "default",
                "plan": "plan",
                "acceptEdits": "auto-edit",
                "auto": "auto",
                "bypassPermissions": "yolo",
                "yolo": "yolo",
                "debug": None,
            },
        ),
        (
            "vibe",
            VIBE,
            {
                "default": "ask",
                "plan": "plan",
                "acceptEdits": "accept-edits",
                "bypassPermissions": "auto-approve",
                "yolo": "auto-approve",
            },
        ),
        (
            "gemini",
            GEMINI,
            {"default": "default", "acceptEdits": "autoEdit", "plan": "plan", "yolo": "yolo"},
        ),
        ("opencode", OPENCODE, {"default": "build", "plan": "plan", "yolo": "build"}),
        ("cursor", CURSOR, {"default": "agent", "ask": "ask", "plan": "plan", "debug": None}),
        ("fast-agent", ONE_MODE, {"default": "agent", "yolo": "agent", "plan": None}),
    ],
)
def test_the_modes_of_npms_page_are_the_agents_own(agent, offer, expected):
    modes = offered_modes(agent_named(agent), offer, offer)
    found = {name: find_mode(name, modes) for name in expected}
    assert {name: mode and mode.agent_mode for name, mode in found.items()} == expected


def test_each_mode_of_the_agent_is_offered_once_and_what_it_lacks_is_not():
    ids = [mode.id for mode in offered_modes(agent_named("qwen"), QWEN, QWEN)]
    assert ids == ["default", "yolo", "plan", "acceptEdits", "auto"]
    assert [mode.id for mode in offered_modes(AGENTS["codex"], CODEX, CODEX)] == [
        "default",
        "read-only",
        "safe-yolo",
        "yolo",
        "workspace-write",
    ]
    claude = with_modes(
        ("default", "Default"),
        ("acceptEdits", "Accept Edits"),
        ("plan", "Plan Mode"),
        ("dontAsk", "Don't Ask"),
    )
    ids = [mode.id for mode in offered_modes(AGENTS["claude"], claude, claude)]
    assert ids == ["default", "acceptEdits", "bypassPermissions", "plan", "dontAsk"]


def test_a_mode_has_the_agents_name_where_that_says_more():
    modes = {mode.id: mode.name for mode in offered_modes(AGENTS["codex"], CODEX, CODEX)}
    assert (modes["default"], modes["yolo"]) == ("Auto review", "Full access")
    modes = {mode.id: mode.name for mode in offered_modes(agent_named("qwen"), QWEN, QWEN)}
    assert modes["default"] == "Ask before acting"


def test_modes_of_the_settings_are_the_only_ones():
    from attrs import evolve

    agent = evolve(
        agent_named("qwen"), permission_modes=("default", "plan", "debug"), has_fixed_modes=True
    )
    assert [mode.id for mode in offered_modes(agent, QWEN, QWEN)] == ["default", "plan"]


def test_an_agent_without_modes_that_manages_its_permissions_offers_none():
    assert offered_modes(AGENTS["pi"], read_offer({}), None) == ()


def test_the_mode_in_use_is_the_chosen_one_until_the_agent_leaves_it():
    modes = offered_modes(AGENTS["opencode"], OPENCODE, OPENCODE)
    assert current_mode(modes, "yolo", "build") == "yolo"
    assert current_mode(modes, "yolo", "plan") == "plan"
    assert current_mode(modes, None, "build") == "default"


def test_copilots_modes_are_not_permission_modes():
    offer = with_modes(
        (COPILOT + "agent", "Agent"), (COPILOT + "plan", "Plan"), (COPILOT + "autopilot", "Auto")
    )
    modes = offered_modes(AGENTS["copilot"], offer, offer)
    assert [mode.id for mode in modes] == ["default", "read-only", "safe-yolo", "yolo"]
    told = offer_metadata(AGENTS["copilot"], offer, modes, "default")
    assert [mode["id"] for mode in told["agentModes"]] == ["interactive", "plan", "autopilot"]
    assert told["agentMode"] == "interactive"
    assert agent_mode_value(offer.mode, "autopilot") == COPILOT + "autopilot"
    assert agent_mode_value(offer.mode, "interactive") == COPILOT + "agent"


def test_a_mode_is_recognized_by_what_it_means():
    assert is_offered("bypassPermissions", ["default", "yolo"])
    assert is_offered("auto-edit", ["acceptEdits"])
    assert not is_offered("plan", ["default", "yolo"])


# --- lists of models -----------------------------------------------------------------------------

OFFER = {
    "models": [{"id": "a/m", "name": "M"}, {"id": "a/n", "name": "N"}],
    "model": "a/n",
    "efforts": [{"id": "low", "name": "Low"}, {"id": "high", "name": "High"}],
    "effort": "low",
    "serviceTiers": [{"id": "standard", "name": "Standard"}, {"id": "fast", "name": "Fast"}],
}


def test_models_are_listed_in_the_shape_that_npms_page_reads_for_each_agent():
    assert model_list(AGENTS["opencode"], OFFER) == {
        "success": True,
        "availableModels": [{"modelId": "a/m", "name": "M"}, {"modelId": "a/n", "name": "N"}],
        "currentModelId": "a/n",
    }
    codex = model_list(AGENTS["codex"], OFFER)
    assert codex["success"] is True
    assert codex["models"][1] == {
        "id": "a/n",
        "displayName": "N",
        "isDefault": True,
        "defaultReasoningEffort": "low",
        "supportedReasoningEfforts": ["low", "high"],
        "serviceTiers": ["fast"],
    }
    assert model_list(AGENTS["pi"], OFFER)["availableModels"][0] == {
        "provider": "a",
        "modelId": "m",
        "name": "M",
    }
    grok = model_list(AGENTS["grok"], OFFER)["availableModels"][0]
    assert grok["reasoningEfforts"][0] == {"value": "low", "name": "Low", "isDefault": True}


def test_efforts_are_listed_with_the_model_that_they_are_of():
    assert effort_list(OFFER) == {
        "success": True,
        "options": [{"value": "low", "name": "Low"}, {"value": "high", "name": "High"}],
        "currentValue": "low",
        "currentModelId": "a/n",
        "targetModelId": "a/n",
    }
    assert effort_list(None)["success"] is False


@pytest.mark.parametrize("offer", [None, {}, {"models": 3}, {"models": [1, {"id": 2}]}])
def test_without_models_the_answer_says_so(offer):
    assert model_list(AGENTS["codex"], offer) == {
        "success": False,
        "error": "the agent offers no choice of model",
    }
