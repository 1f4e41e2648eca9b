"""The silence of an agent is told in the conversation, and never a hundred times."""

from twisted.internet.defer import Deferred

from hapi.session.agent.silence import duration_in_words
from tests.support.session_stage import MemoryAgent


def lines(stage):
    return [
        record["message"]
        for record in stage.link.records
        if record["type"] == "message" and "id" not in record
    ]


def advance(stage, seconds):
    stage.clock.pump([1.0] * int(seconds))


def test_no_sign_of_life_in_a_turn_is_told_after_half_a_minute(up):
    up.link.message("go")
    advance(up, 29)
    assert lines(up) == []
    advance(up, 2)
    assert lines(up) == ["No sign of life from OpenCode for 30 seconds"]


def test_whatever_an_agent_says_is_a_sign_of_life(up):
    up.link.message("go")
    for _ in range(10):
        advance(up, 20)
        up.agent.say("x")
        advance(up, 20)
        up.agent.peer.notify("_own/heartbeat", {})
    assert lines(up) == []


def test_a_silence_of_a_day_is_told_seven_times_at_most(up):
    up.link.message("go")
    up.clock.pump([10.0] * 8640)
    assert len(lines(up)) == 6
    assert lines(up)[:3] == [
        "No sign of life from OpenCode for 30 seconds",
        "No sign of life from OpenCode for 2 minutes",
        "No sign of life from OpenCode for 8 minutes",
    ]


def test_an_agent_that_is_silent_again_and_again_is_told_ever_more_seldom(up):
    up.link.message("go")
    for _ in range(100):
        advance(up, 40)
        up.agent.say("x")
    assert lines(up) == ["No sign of life from OpenCode for 30 seconds"]


def test_a_running_tool_may_be_silent_for_two_minutes_and_is_named(up):
    up.link.message("go")
    up.agent.update("tool_call", toolCallId="c", title="npm test", status="in_progress")
    advance(up, 119)
    assert lines(up) == []
    advance(up, 2)
    assert lines(up) == [
        "No sign of life from OpenCode for 2 minutes; a tool call has not ended: npm test"
    ]


def test_a_call_in_the_background_does_not_put_the_line_off(up):
    up.agent.update("tool_call", toolCallId="b", title="make", status="in_progress")
    up.link.message("go")
    advance(up, 31)
    assert lines(up) == ["No sign of life from OpenCode for 30 seconds"]


def test_an_agent_that_waits_for_a_person_is_not_silent(up):
    up.link.message("go")
    up.agent.ask("c1")
    advance(up, 3600)
    assert lines(up) == []
    up.link.rpc_call("permission", {"id": "c1", "approved": True})
    advance(up, 250)
    assert len(lines(up)) == 1


def test_nothing_is_told_between_turns(up):
    up.link.message("go")
    up.agent.say("done")
    up.agent.finish()
    advance(up, 3600)
    assert lines(up) == []


def test_a_start_that_waits_says_what_the_agent_wrote(staged):
    stage = staged()
    opened = Deferred()

    def make():
        agent = MemoryAgent(stage.clock)
        agent.peer.handlers["session/new"] = lambda params: opened
        return agent

    stage.host.make = make
    stage.host.words = "Open https://example.org/device and enter AB-CD"
    stage.run()
    advance(stage, 31)
    assert lines(stage) == [
        f"OpenCode has not answered for 30 seconds while it starts. It wrote: {stage.host.words}"
    ]
    opened.callback({"sessionId": "agent-1"})
    advance(stage, 3600)
    assert len(lines(stage)) == 1


def test_retries_are_told_at_once_and_then_ever_more_seldom(up):
    up.link.message("go")
    for attempt in range(1, 101):
        up.agent.peer.notify(
            "_x.ai/session_notification",
            {"update": {"sessionUpdate": "retry_state", "attempt": attempt, "reason": "dns error"}},
        )
        advance(up, 6)
    told = lines(up)
    assert told[0] == "OpenCode is retrying (attempt 1): dns error"
    assert told[1:] == [
        "OpenCode is retrying (attempt 6): dns error",
        "OpenCode is retrying (attempt 26): dns error",
    ]


def test_durations_are_words():
    assert [duration_in_words(each) for each in (1, 45, 60, 150, 3600, 90000)] == [
        "1 second",
        "45 seconds",
        "1 minute",
        "2 minutes",
        "1 hour",
        "25 hours",
    ]
