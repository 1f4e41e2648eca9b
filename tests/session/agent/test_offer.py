"""What the agent offers reaches the hub and the machine's memory, and stays current."""

import json

import pytest

from hapi.configured_agents import BUILT_IN
from hapi.remembered_offers import mode_refusal, remember_offer, remembered_offer
from hapi.session.startup.command_line import Arguments
from tests.support.session_stage import MemoryAgent


def option(name, category, *values):
    choices = [{"value": value, "name": value.title()} for value in values]
    return {"id": name, "category": category, "currentValue": values[0], "options": choices}


CODEX = {
    "configOptions": [
        option("mode", "mode", "agent", "read-only", "agent-full-access"),
        option("model", "model", "m1", "m2"),
        option("reasoning_effort", "thought_level", "low", "high"),
        option("collaboration_mode", "collaboration_mode", "default", "plan"),
        option("fast-mode", "model_config", "off", "on"),
        option("tone", "style", "dry", "warm"),
    ]
}


class CurrentAgent(MemoryAgent):
    """Answers to a setting with the complete list, as agents do."""

    def _option(self, params):
        for each in self.modes["configOptions"]:
            if each["id"] == params["configId"]:
                each["currentValue"] = params["value"]
        return self._called("session/set_config_option", params, self.modes)


@pytest.fixture
def codex(staged):
    def up(**more):
        stage = staged(agent_name="codex", **more)
        offer = json.loads(json.dumps(CODEX))
        stage.host.make = lambda: CurrentAgent(stage.clock, modes=offer)
        return stage.up()

    return up


def set_options(stage):
    calls = [params for name, params in stage.agent.calls if name == "session/set_config_option"]
    return [(params["configId"], params["value"]) for params in calls]


def test_the_hub_is_told_what_can_be_chosen_and_what_is_current(codex):
    stage = codex(mode=None)
    stage.agent.update(
        "available_commands_update", availableCommands=[{"name": "init", "description": "set up"}]
    )
    offer = stage.link.metadata["offer"]
    assert [mode["id"] for mode in offer["modes"]] == ["default", "read-only", "safe-yolo", "yolo"]
    assert (offer["mode"], offer["model"], offer["effort"]) == ("default", "m1", "low")
    assert [entry["id"] for entry in offer["models"]] == ["m1", "m2"]
    assert [entry["id"] for entry in offer["efforts"]] == ["low", "high"]
    assert offer["effortSetting"] == "modelReasoningEffort"
    assert [entry["id"] for entry in offer["collaborationModes"]] == ["default", "plan"]
    assert offer["serviceTier"] == "standard"
    assert offer["options"][0]["id"] == "tone"
    assert offer["commands"] == [{"name": "init", "description": "set up"}]


def test_yolo_selects_full_access_where_codex_offers_it(codex):
    stage = codex(mode="yolo")
    assert set_options(stage) == [("mode", "agent-full-access")]
    assert stage.link.metadata["offer"]["mode"] == "yolo"


def test_collaboration_mode_service_tier_and_other_options_are_set_at_the_agent(codex):
    stage = codex(arguments=Arguments("codex", collaboration_mode="plan"))
    assert set_options(stage) == [("collaboration_mode", "plan")]
    answer = stage.link.rpc_call(
        "set-session-config", {"serviceTier": "fast", "collaborationMode": "default"}
    )
    assert answer == {"applied": {"serviceTier": "fast", "collaborationMode": "default"}}
    assert set_options(stage)[1:] == [("fast-mode", "on"), ("collaboration_mode", "default")]
    alive = stage.link.of("session-alive")[-1]
    assert (alive["serviceTier"], alive["collaborationMode"]) == ("fast", "default")
    answer = stage.link.rpc_call("set-session-config", {"option": {"id": "tone", "value": "warm"}})
    assert answer == {"applied": {"option": {"id": "tone", "value": "warm"}}}
    assert stage.link.metadata["offer"]["options"][0]["current"] == "warm"
    answer = stage.link.rpc_call("set-session-config", {"option": {"id": "tone", "value": "loud"}})
    assert answer == {"error": "tone cannot be loud (it can be dry, warm)"}


def test_a_mode_that_the_agent_lacks_is_told_and_the_agent_asks(codex):
    stage = codex(mode="plan")
    assert stage.link.records[0]["message"] == (
        "Not set: Codex has no permission mode plan (it has: default, read-only, safe-yolo, yolo)."
        " It asks for each permission"
    )
    assert stage.link.of("session-alive")[-1]["permissionMode"] == "default"
    assert stage.agent.ask("c1") == []


def test_what_the_agent_changes_by_itself_reaches_the_page(codex):
    stage = codex()
    stage.agent.update(
        "config_option_update",
        configOptions=[
            option("mode", "mode", "read-only", "agent"),
            option("model", "model", "m2", "m3"),
        ],
    )
    offer = stage.link.metadata["offer"]
    assert (offer["mode"], offer["model"]) == ("read-only", "m2")
    assert [entry["id"] for entry in offer["models"]] == ["m2", "m3"]
    assert "efforts" not in offer
    assert "serviceTiers" not in offer
    assert stage.link.records[-1] == {"type": "permission-mode-changed", "mode": "read-only"}
    assert stage.link.of("session-alive")[-1]["permissionMode"] == "read-only"


def test_an_agent_that_goes_to_full_access_by_itself_is_not_answered_for_the_person(codex):
    stage = codex()
    stage.agent.update("current_mode_update", currentModeId="agent-full-access")
    assert stage.link.metadata["offer"]["mode"] == "yolo"
    assert stage.agent.ask("c1") == []


# --- the machine's memory ------------------------------------------------------------------------


@pytest.fixture
def environ(tmp_path):
    program = tmp_path / "bin" / "codex-acp"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return {"PATH": str(program.parent)}


OFFER = {"modes": [{"id": "default"}, {"id": "workspace-write"}], "mode": "default"}


def test_an_offer_is_remembered_until_the_program_is_another_one(home, environ, tmp_path):
    codex = BUILT_IN["codex"]
    assert remembered_offer(home, codex, environ) is None
    remember_offer(home, codex, environ, OFFER)
    assert remembered_offer(home, codex, environ) == {"modes": OFFER["modes"]}
    (tmp_path / "bin" / "codex-acp").write_text("#!/bin/sh\n# another version\n")
    assert remembered_offer(home, codex, environ) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"offer": 3}', "\xff"])
def test_a_damaged_memory_counts_as_none(home, environ, content):
    home.directory("offers")
    (home.path / "offers" / "codex.json").write_text(content, encoding="latin-1")
    assert remembered_offer(home, BUILT_IN["codex"], environ) is None
    remember_offer(home, BUILT_IN["codex"], environ, OFFER)
    assert remembered_offer(home, BUILT_IN["codex"], environ) is not None


def test_a_mode_is_refused_by_name_with_what_the_agent_has():
    codex = BUILT_IN["codex"]
    assert mode_refusal(codex, "workspace-write", OFFER) is None
    assert mode_refusal(codex, "plan", OFFER) == (
        "codex has no permission mode 'plan': it is one of default, workspace-write"
    )
    assert mode_refusal(codex, "bypassPermissions", None) is None
    assert mode_refusal(BUILT_IN["qwen"], "plan", None) is None  # nobody knows before it runs
    assert mode_refusal(BUILT_IN["qwen"], "plan", {"modes": [{"id": "default"}]}) is not None
    assert mode_refusal(BUILT_IN["pi"], "default", None) == (
        "pi has no permission mode 'default': it is managed by the agent"
    )
