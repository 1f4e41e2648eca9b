"""The table of agents: what is built in, what settings change, what can be started here."""

import pytest

from hapi.configured_agents import (
    BUILT_IN,
    agent_environment,
    configured_agents,
    default_agent,
    resolve_command,
    unavailable_reason,
)
from hapi.protocol.agents import DEMO, Agent


@pytest.fixture
def bin_directory(tmp_path):
    def put(*names):
        for name in names:
            path = tmp_path / name
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
        return {"PATH": str(tmp_path)}

    return put


def test_an_agent_is_available_when_its_program_is_on_the_path(bin_directory):
    environ = bin_directory("opencode")
    assert unavailable_reason(BUILT_IN["opencode"], environ) is None
    assert resolve_command(BUILT_IN["opencode"], environ)[1:] == ("acp",)
    assert unavailable_reason(BUILT_IN["gemini"], environ) == "not_found"


def test_the_demo_agent_is_always_there():
    assert unavailable_reason(BUILT_IN[DEMO], {"PATH": ""}) is None


def test_a_program_may_have_several_names_the_preferred_one_first(bin_directory):
    environ = bin_directory("claude-code-acp")
    assert resolve_command(BUILT_IN["claude"], environ)[0].endswith("claude-code-acp")
    environ = bin_directory("claude-agent-acp")
    assert resolve_command(BUILT_IN["claude"], environ)[0].endswith("claude-agent-acp")


def test_a_variable_names_the_program_and_its_arguments(bin_directory, tmp_path):
    environ = bin_directory("other") | {
        "HAPI_DSH_ACP_COMMAND": str(tmp_path / "other"),
        "HAPI_DSH_ACP_ARGS_JSON": '["--acp"]',
    }
    assert resolve_command(BUILT_IN["dsh"], environ) == (str(tmp_path / "other"), "--acp")
    assert (
        unavailable_reason(BUILT_IN["dsh"], environ | {"HAPI_DSH_ACP_ARGS_JSON": "{"})
        == "invalid_configuration"
    )
    assert (
        unavailable_reason(BUILT_IN["dsh"], environ | {"HAPI_DSH_ACP_COMMAND": "/nowhere/dsh"})
        == "not_found"
    )


def test_claude_is_told_where_its_program_is_and_that_root_is_meant():
    claude = BUILT_IN["claude"]
    assert agent_environment(claude, {"HAPI_CLAUDE_PATH": "/opt/claude"}, is_root=False) == {
        "CLAUDE_CODE_EXECUTABLE": "/opt/claude"
    }
    assert agent_environment(claude, {}, is_root=True) == {"IS_SANDBOX": "1"}
    assert (
        agent_environment(
            claude,
            {"IS_SANDBOX": "0", "HAPI_CLAUDE_PATH": "/a", "CLAUDE_CODE_EXECUTABLE": "/b"},
            is_root=True,
        )
        == {}
    )


def test_settings_add_an_agent(bin_directory):
    found = configured_agents(
        {
            "agents": {
                "qwen": {"command": "qwen --acp", "label": "Qwen Code", "environment": {"A": "1"}}
            }
        }
    )["qwen"]
    assert (found.name, found.label, found.command) == ("qwen", "Qwen Code", ("qwen", "--acp"))
    assert agent_environment(found, {}, is_root=False) == {"A": "1"}
    assert found.session_id_field == "qwenSessionId"
    assert unavailable_reason(found, bin_directory("qwen")) is None


def test_settings_change_what_they_name_of_a_known_agent(bin_directory):
    found = configured_agents({"agents": {"opencode": {"command": ["my-opencode", "acp", "-v"]}}})[
        "opencode"
    ]
    assert resolve_command(found, bin_directory("my-opencode", "opencode"))[1:] == ("acp", "-v")
    assert found.permission_modes == BUILT_IN["opencode"].permission_modes
    assert configured_agents({"agents": {"opencode": {"permissionModes": ["default"]}}})[
        "opencode"
    ].programs == ("opencode",)


@pytest.mark.parametrize(
    "entry",
    [
        3,
        {"command": []},
        {"command": [1]},
        {},
        {"command": 'x "'},
        {"command": "x", "permissionModes": "y"},
        {"command": "x", "environment": {"A": 1}},
    ],
)
def test_an_entry_that_makes_no_sense_says_so_and_starts_nothing(entry):
    found = configured_agents({"agents": {"odd": entry}})["odd"]
    assert unavailable_reason(found, {"PATH": "/bin:/usr/bin"}) == "invalid_configuration"
    assert "agents.odd" in found.configuration_error


@pytest.mark.parametrize(
    "settings",
    [
        {"agents": []},
        {"agents": {"../x": {"command": "x"}, "": {"command": "x"}}},
        {"agents": None},
    ],
)
def test_other_nonsense_adds_nobody(settings):
    assert configured_agents(settings) == dict(BUILT_IN)


def test_plain_hapi_starts_what_the_settings_say_else_claude_else_the_demo(bin_directory):
    assert default_agent({"defaultAgent": "opencode"}, {"PATH": ""}) == "opencode"
    assert default_agent({}, bin_directory("claude-agent-acp")) == "claude"
    assert default_agent({}, {"PATH": ""}) == "demo"


def test_yolo_is_the_mode_in_which_the_agent_allows_everything():
    known = {name: agent.unrestricted_mode for name, agent in BUILT_IN.items() if agent.form}
    assert known == {
        "claude": "bypassPermissions",
        "codex": "yolo",
        "opencode": "yolo",
        "gemini": "yolo",
        "cursor": "yolo",
        "copilot": "yolo",
        "kimi": "yolo",
        "grok": "bypassPermissions",
        "dsh": None,
        "pi": None,
    }
    others = {agent.unrestricted_mode for agent in BUILT_IN.values() if not agent.form}
    assert others == {"yolo"}
    assert (
        Agent("x", "X", permission_modes=("request-review", "always-proceed")).unrestricted_mode
        == "always-proceed"
    )
