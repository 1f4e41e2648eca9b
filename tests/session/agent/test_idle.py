"""An idle agent rests, and the next prompt wakes it with its memory."""

import pytest

from hapi.protocol.session import BY_USER
from hapi.session.agent.idle import CHECK_INTERVAL, MIN_IDLE_TIME
from hapi.session.startup.command_line import Arguments
from tests.support.session_stage import SID, MemoryAgent

LIMIT = 120.0  # seconds


@pytest.fixture
def idle(staged):
    """A session with an idle limit that takes prompts. Its agent has answered one."""

    def make(limit=LIMIT, prompted=True, has_terminal=False, commands=False, **agent):
        stage = staged(make_agent=lambda: MemoryAgent(stage.clock, **agent))
        stage.session.idle.limit = limit
        if has_terminal:
            from attrs import evolve

            stage.session.start = evolve(stage.session.start, has_terminal=True)
        stage.host.commands = commands
        stage.up()
        if prompted:
            stage.link.message("remember rhubarb", 1)
            stage.agent.finish()
        return stage

    return make


def wait(stage, seconds):
    stage.clock.pump([CHECK_INTERVAL] * int(seconds / CHECK_INTERVAL + 1))


def rests(stage):
    return "agentRest" in stage.link.metadata


def test_an_idle_agent_is_ended_and_its_session_stays(idle):
    stage = idle()
    wait(stage, LIMIT - 10)
    assert (stage.host.ended, rests(stage)) == (0, False)
    wait(stage, 20)
    assert stage.host.ended == 1
    assert stage.link.metadata["agentRest"]["since"] > 0
    assert stage.link.metadata["lifecycleState"] == "running"
    assert stage.link.of("session-end") == []
    wait(stage, 10 * LIMIT)
    assert (stage.host.starts, stage.host.ended) == (1, 1)


def test_the_next_prompt_wakes_it_with_its_memory(idle):
    stage = idle()
    wait(stage, LIMIT + 10)
    stage.link.message("what did I say?", 2)
    assert stage.host.starts == 2
    assert [name for name, _ in stage.agent.calls if name.startswith("session/")] == [
        "session/load"
    ]
    assert stage.agent.prompts == ["what did I say?"]
    assert not rests(stage)
    stage.agent.finish()
    wait(stage, LIMIT + 10)
    assert rests(stage)
    assert not any("resume" in str(record) for record in stage.link.records)


def test_an_agent_that_was_never_prompted_begins_anew_without_a_word(idle):
    stage = idle(prompted=False)
    wait(stage, LIMIT + 10)
    assert rests(stage)
    stage.link.message("hello", 1)
    assert [name for name, _ in stage.agent.calls if name.startswith("session/")] == ["session/new"]
    assert stage.link.records == [] or all(
        record["type"] != "message" for record in stage.link.records
    )


@pytest.mark.parametrize(
    "how", [{"limit": None}, {"loads": False}, {"has_terminal": True}, {"commands": True}]
)
def test_some_agents_never_rest(idle, how):
    stage = idle(**how)
    wait(stage, 2 * LIMIT)
    assert (stage.host.ended, rests(stage)) == (0, False)


def test_an_agent_does_not_rest_in_a_turn_nor_while_it_waits_for_an_answer(idle):
    stage = idle()
    stage.link.message("a long turn", 2)
    wait(stage, 2 * LIMIT)
    stage.agent.ask()
    wait(stage, 2 * LIMIT)
    assert stage.host.ended == 0
    stage.link.rpc_call("permission", {"id": "c1", "approved": True})
    stage.agent.update("tool_call_update", toolCallId="c1", status="completed")
    stage.agent.finish()
    wait(stage, LIMIT - 10)
    assert stage.host.ended == 0
    wait(stage, 20)
    assert stage.host.ended == 1


def test_work_outside_a_turn_puts_the_rest_off(idle):
    stage = idle()
    for number in range(8):
        wait(stage, LIMIT / 4)
        stage.agent.say(f"The helper has found bug {number}. ")
    assert stage.host.ended == 0
    wait(stage, LIMIT + 20)
    assert stage.host.ended == 1


def test_a_prompt_that_comes_while_the_agent_is_ended_waits_for_the_end(idle):
    stage = idle()
    stage.host.hold_end()
    wait(stage, LIMIT + 10)
    stage.link.message("now", 2)
    assert stage.host.starts == 1
    stage.host.release_end()
    assert stage.host.starts == 2
    assert stage.agent.prompts == ["now"]


def test_an_agent_that_could_not_resume_does_not_rest_again(idle):
    stage = idle()
    wait(stage, LIMIT + 10)
    stage.host.make = lambda: MemoryAgent(stage.clock, forgets=True)
    stage.link.message("what did I say?", 2)
    stage.agent.finish()
    assert any("cannot resume its session" in str(record) for record in stage.link.records)
    wait(stage, 3 * LIMIT)
    assert stage.host.ended == 1


def test_the_models_are_known_while_the_agent_rests(idle):
    stage = idle()
    before = stage.link.rpc_call("listOpencodeModels")
    wait(stage, LIMIT + 10)
    assert stage.link.rpc_call("listOpencodeModels") == before
    assert stage.host.starts == 1


def test_the_runner_may_ask_for_the_memory_of_an_agent_that_is_idle(idle):
    stage = idle(limit=10 * LIMIT)
    asked = []
    stage.session.idle._is_wanted = lambda: asked.append(1) or len(asked) == 3
    wait(stage, MIN_IDLE_TIME - 4)
    assert asked == []
    wait(stage, 20)
    assert rests(stage)
    assert len(asked) == 3


def test_a_session_that_ends_while_its_agent_rests_is_not_shown_as_resting(idle):
    stage = idle()
    wait(stage, LIMIT + 10)
    stage.end(BY_USER)
    stage.clock.advance(1)
    assert stage.link.metadata["lifecycleState"] == "archived"
    assert not rests(stage)


def test_a_process_that_takes_over_a_session_does_not_take_over_its_rest(staged):
    stage = staged(stored={"path": "/w", "host": "box", "agentRest": {"since": 1}}).up()
    assert not rests(stage)


def test_the_idle_time_of_one_session_stays_with_it_when_it_is_reopened(staged):
    own = staged(arguments=Arguments("opencode", idle_agent="30m")).up()
    stored = own.link.metadata
    assert stored["idleAgent"] == "30m"
    reopened = staged(
        stored=stored, arguments=Arguments("opencode", resume="agent-1", existing_session_id=SID)
    ).up()
    assert reopened.session.idle.limit == 1800
    assert reopened.link.metadata["idleAgent"] == "30m"


def test_a_damaged_idle_time_of_a_row_is_passed_over(staged):
    stage = staged(
        stored={"path": "/w", "idleAgent": "soon"},
        arguments=Arguments("opencode", resume="old", existing_session_id=SID),
    ).up()
    assert stage.session.idle.limit is None
