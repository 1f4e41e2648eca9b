"""A session from its first write to its archive, between a hub and an agent in memory."""

import time
from email.utils import formatdate

import pytest
from twisted.internet.defer import Deferred

from hapi.net.client.hub_clock import HubClock
from hapi.protocol.session import BY_SIGNAL, BY_USER
from hapi.session.agent.jsonrpc_peer import AgentError
from hapi.session.startup.command_line import Arguments
from tests.support.session_stage import SID, MemoryAgent

# --- coming up


def test_a_new_session_writes_its_state_its_mode_and_its_agents_id(up):
    assert up.link.state == {"controlledByUser": False, "startingMode": "remote"}
    assert up.link.metadata["startingMode"] == "remote"
    assert up.link.metadata["opencodeSessionId"] == "agent-1"
    assert [name for name, _ in up.link.sent if name != "session-alive"][-1] == "session-ready"


def test_the_repr_of_a_running_session_is_short(up):
    """Each process that Twisted starts makes the repr of the session's signal handlers."""
    assert len(repr(up.session)) < 200


def test_an_idle_session_sends_keep_alives_every_ten_seconds_with_the_settings(up):
    before = len(up.link.of("session-alive"))
    up.clock.pump([10.0, 10.0, 10.0])
    alive = up.link.of("session-alive")
    assert len(alive) == before + 3
    assert {
        key: alive[-1][key]
        for key in ("sid", "thinking", "mode", "permissionMode", "model", "modelReasoningEffort")
    } == {
        "sid": SID,
        "thinking": False,
        "mode": "remote",
        "permissionMode": "default",
        "model": None,
        "modelReasoningEffort": None,
    }


def test_a_session_that_works_sends_keep_alives_every_two_seconds(up):
    up.session.hub.set_thinking(True)
    before = len(up.link.of("session-alive"))
    up.clock.pump([2.0, 2.0, 2.0])
    assert len(up.link.of("session-alive")) == before + 3
    up.session.hub.set_thinking(False)
    assert up.link.of("session-alive")[-1]["thinking"] is False
    before = len(up.link.of("session-alive"))
    up.clock.pump([5.0, 4.9])
    assert len(up.link.of("session-alive")) == before


def test_times_on_the_wire_follow_the_hubs_clock(up):
    real = time.time()
    up.link.hub_clock = HubClock(lambda: real - 900, lambda: 50.0)
    up.link.hub_clock.observe(formatdate(real, usegmt=True))
    up.clock.advance(10.0)
    up.agent.ask()
    waiting = up.link.state["requests"]["c1"]
    assert up.link.of("session-alive")[-1]["time"] == pytest.approx(real * 1000, abs=1000)
    assert waiting["createdAt"] == pytest.approx(real * 1000, abs=1000)
    up.session.begin_end(BY_USER)
    up.clock.pump([0.1] * 5)
    assert up.link.of("session-end")[-1]["time"] == pytest.approx(real * 1000, abs=1000)
    since = up.link.metadata["lifecycleStateSince"]
    assert since == pytest.approx(real * 1000, abs=1000)


def test_the_agents_id_is_at_the_hub_before_the_first_prompt__R09(staged):
    stage = staged()
    running = Deferred.fromCoroutine(stage.session.run())
    stage.link.silent = stage.link.connected = True
    stage.link.message("hello")
    assert stage.agent.prompts == []
    stage.link.silent = False
    stage.clock.advance(1)
    stage.link.connect()
    assert running.called
    before = [name for name, _ in stage.link.sent].index("messages-consumed")
    stored = [
        payload["metadata"]
        for name, payload in stage.link.sent[:before]
        if name == "update-metadata"
    ]
    assert stored[-1]["opencodeSessionId"] == "agent-1"
    assert stage.agent.prompts == ["hello"]


def test_a_hub_that_does_not_store_the_agents_id_holds_the_first_prompt_up_for_five_seconds_only(
    staged,
):
    stage = staged()
    running = Deferred.fromCoroutine(stage.session.run())
    stage.link.silent = stage.link.connected = True
    stage.link.message("hello")
    stage.clock.advance(4.9)
    assert stage.agent.prompts == []
    stage.clock.advance(0.2)
    assert stage.agent.prompts == ["hello"]
    assert running.called


def test_a_row_that_existed_is_taken_over_and_its_agent_session_resumed(staged):
    stored = {
        "path": "/w",
        "host": "box",
        "name": "N",
        "lifecycleState": "archived",
        "archivedBy": "cli",
        "archiveReason": "User terminated",
        "opencodeSessionId": "old",
    }
    stage = staged(
        stored=stored, arguments=Arguments("opencode", resume="old", existing_session_id=SID)
    ).up()
    assert stage.agent.calls[0] == (
        "session/load",
        {"sessionId": "old", "cwd": "/w", "mcpServers": []},
    )
    assert (stage.link.metadata["name"], stage.link.metadata["opencodeSessionId"]) == ("N", "old")
    assert stage.link.metadata["lifecycleState"] == "running"
    assert not {"archivedBy", "archiveReason"} & stage.link.metadata.keys()
    assert stage.link.records == []  # what the agent replays is there already
    assert stage.link.metadata["agentMemory"] == {"state": "kept", "since": 1000}


def test_an_agent_that_begins_anew_is_told_as_one(staged):
    stage = staged(arguments=Arguments("opencode", resume="old", existing_session_id=SID))
    stage.host.make = lambda: MemoryAgent(stage.clock, loads=False)
    stage.up()
    assert stage.link.metadata["agentMemory"]["state"] == "new"
    assert "cannot resume its session old" in stage.link.records[0]["message"]


def test_a_session_of_its_own_says_nothing_of_a_memory(up):
    assert "agentMemory" not in up.link.metadata


def test_a_session_that_was_archived_while_it_started_ends__C17(staged):
    stage = staged(
        stored={"lifecycleState": "archived", "archivedBy": "hub", "archiveReason": "x"}
    ).up()
    stage.clock.advance(0.5)
    assert stage.session.ended.has_fired
    assert (stage.link.metadata["lifecycleState"], stage.link.metadata["archiveReason"]) == (
        "archived",
        "User terminated",
    )
    assert stage.host.ended


def test_an_agent_that_cannot_resume_begins_anew_and_says_so(staged):
    stage = staged(arguments=Arguments("opencode", resume="old"), make_agent=None)
    stage.host.make = lambda: MemoryAgent(stage.clock, loads=False)
    stage.up()
    assert stage.link.metadata["opencodeSessionId"] == "agent-1"
    assert stage.link.records == [
        {
            "type": "message",
            "message": "OpenCode cannot resume its session old; this is a new session",
        }
    ]


def test_an_agent_that_opens_no_session_ends_ours_with_its_words(staged):
    stage = staged()
    stage.host.make = lambda: MemoryAgent(
        stage.clock, problem=AgentError(-32603, "no model is configured")
    )
    stage.run()
    stage.clock.advance(2)
    assert {
        "type": "message",
        "message": "OpenCode could not be started: no model is configured",
    } in stage.link.records
    assert stage.link.metadata["archiveReason"] == "Local launch failed: no model is configured"
    assert stage.session.ended.has_fired


def test_settings_of_the_command_line_reach_the_agent(staged):
    config = {
        "configOptions": [
            {
                "id": "model",
                "category": "model",
                "type": "select",
                "currentValue": "a",
                "options": [{"value": "b", "name": "B"}],
            },
            {
                "id": "mode",
                "category": "mode",
                "type": "select",
                "currentValue": "build",
                "options": [{"value": "plan", "name": "Plan"}],
            },
        ]
    }
    stage = staged(arguments=Arguments("opencode", model="b"), mode="plan")
    stage.host.make = lambda: MemoryAgent(stage.clock, modes=config)
    stage.up()
    chosen = [
        (params["configId"], params["value"])
        for name, params in stage.agent.calls
        if name == "session/set_config_option"
    ]
    assert chosen == [("mode", "plan"), ("model", "b")]
    assert stage.link.of("session-alive")[-1]["model"] == "b"


def model_options(current):
    option = {"id": "model", "category": "model", "type": "select", "currentValue": current}
    names = [{"value": name, "name": name} for name in ("default", "opus")]
    return {"configOptions": [{**option, "options": names}]}


def resumed_with(staged, model, before):
    """A session that is resumed; the agent calls the model of its last answer `opus` chosen."""
    arguments = Arguments("claude", existing_session_id=SID, resume="agent-1", model=model)
    stored = {"claudeSessionId": "agent-1", "offer": {"modes": [], "model": before}}
    stage = staged(agent_name="claude", arguments=arguments, stored=stored)
    stage.host.make = lambda: MemoryAgent(stage.clock, modes=model_options("opus"))
    stage.up()
    return [
        params["value"]
        for name, params in stage.agent.calls
        if name == "session/set_config_option" and params["configId"] == "model"
    ]


def test_a_resumed_session_keeps_the_default_model_unless_a_person_chose_another(staged):
    assert resumed_with(staged, None, "default") == ["default"]
    assert resumed_with(staged, "opus", "default") == []  # it is that one already
    assert resumed_with(staged, None, "opus") == []


def test_what_no_agent_can_be_told_is_said(staged):
    stage = staged(arguments=Arguments("opencode", service_tier="fast", cursor_worktree="")).up()
    assert [record["message"] for record in stage.link.records] == [
        "Not set: serviceTier fast: OpenCode has no setting serviceTier",
        "Not set: cursorWorktree: OpenCode has no such setting over ACP",
    ]


# --- the agent's own end


def test_an_agent_that_ends_by_itself_completes_the_session(up):
    up.host.die("exited with code 0", 0)
    assert up.end_reasons == ("completed", "Session completed", "cli")


def test_an_agent_that_dies_comes_back_with_the_next_prompt_and_remembers(up):
    up.host.die("exited with code 3: out of memory")
    assert (
        up.link.records[-1]["message"]
        == "OpenCode exited with code 3: out of memory. It restarts with the next prompt"
    )
    up.link.message("still there?")
    assert up.host.starts == 2
    assert up.agent.calls[0][0] == "session/load"
    assert up.agent.prompts == ["still there?"]


def test_an_agent_that_dies_in_a_turn_fails_the_prompt_and_not_the_session(up):
    up.link.message("hello")
    up.host.die()
    assert {
        "type": "message",
        "message": "OpenCode prompt failed: The agent exited with code 3",
    } in up.link.records
    assert up.link.records[-1] == {"type": "ready"}
    assert not up.link.of("session-end")


def ending_agents(stage, ends):
    """The first `ends` agents exit while they open their session; returns all that were made."""
    made = []

    def make():
        agent = MemoryAgent(stage.clock)
        if len(made) < ends:
            agent.peer.handlers["session/new"] = lambda params: agent.ours.closed(
                "OpenCode exited with code 1: Failed query"
            )
        made.append(agent)
        return agent

    stage.host.make = make
    return made


AGAIN = {
    "type": "message",
    "message": "OpenCode exited with code 1: Failed query. It is started again",
}


def test_an_agent_that_ends_while_it_starts_is_started_again(staged):
    """As OpenCode does when two of its processes make one database at the same time."""
    stage = staged()
    made = ending_agents(stage, ends=1)
    stage.run()
    assert stage.link.records == [AGAIN]
    stage.link.message("hello")
    stage.clock.advance(1)
    assert made[1].prompts == ["hello"]


def test_an_agent_that_ends_twice_while_it_starts_ends_the_session(staged):
    stage = staged()
    made = ending_agents(stage, ends=9)
    stage.run()
    stage.clock.advance(1)
    stage.clock.advance(2)
    assert len(made) == 2
    assert stage.link.metadata["archiveReason"].endswith(
        "OpenCode exited with code 1: Failed query"
    )
    assert stage.session.ended.has_fired


def test_a_session_that_ends_meanwhile_starts_no_agent_again(staged):
    stage = staged()
    made = ending_agents(stage, ends=1)
    stage.run()
    stage.end(BY_SIGNAL)
    stage.clock.advance(9)
    assert len(made) == 1
