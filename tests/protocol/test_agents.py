"""The one table of agents: what it says to hubs and pages, and that nothing else lists them."""

import ast
from pathlib import Path

import pytest

import hapi
from hapi.protocol.agents import (
    AGENTS,
    PERMISSION_MODES,
    Agent,
    agent_catalog,
    agent_form,
    agent_named,
    agents_with,
)

ROOT = Path(hapi.__file__).parent
MODULES = [
    path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "protocol" / "agents" / "table.py"
]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_lists_agents(path):
    """Where an agent is added has one answer. A module may treat one agent or another specially."""
    names = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in AGENTS
    }
    assert len(names) < 3, f"{path} lists {sorted(names)}: say it in hapi/protocol/agents/table.py"


def test_every_permission_mode_of_an_agent_has_a_label():
    used = {mode for agent in AGENTS.values() for mode in agent.permission_modes}
    assert used <= PERMISSION_MODES.keys()


def test_a_page_learns_agents_and_modes_from_one_answer():
    catalog = agent_catalog()
    claude = next(entry for entry in catalog["agents"] if entry["name"] == "claude")
    assert claude == {
        "name": "claude",
        "label": "Claude",
        "permissionModes": ["default", "acceptEdits", "auto", "bypassPermissions", "plan"],
        "hasModel": True,
        "models": ["sonnet", "opus", "haiku"],
        "settings": ["effort"],
        "approvalStyle": "tools",
        "steerable": False,
    }
    assert catalog["generic"]["permissionModes"][0] == "default"
    assert [mode["name"] for mode in catalog["permissionModes"] if mode["unrestricted"]] == [
        "bypassPermissions",
        "safe-yolo",
        "yolo",
        "always-proceed",
    ]


def test_an_agent_that_only_the_settings_know_has_the_general_form():
    assert agent_form(agent_named("qwen")) == {
        "flavor": "qwen",
        "fields": [
            {
                "id": "permission",
                "section": "permission",
                "kind": "select",
                "optionSource": "static",
                "availability": "both",
            }
        ],
    }
    fields = agent_form(Agent("x", "X", permission_modes=()))["fields"]
    assert fields[0]["availability"] == "managed"


def test_settings_beside_mode_and_model_belong_to_certain_agents():
    assert agents_with("effort") == {"claude", "grok", "pi"}
    assert agents_with("serviceTier") == {"codex"}
