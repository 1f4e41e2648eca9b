"""Requests that waited when the session's earlier process was killed: closed, told, asked again."""

import pytest

from hapi.session.startup.command_line import Arguments
from hapi.session.startup.interrupted_requests import (
    UNANSWERED,
    interrupted_requests,
    interruption_notice,
    state_after_interruption,
)
from tests.support.session_stage import SID, MemoryAgent

RESUMED = Arguments("opencode", resume="old", existing_session_id=SID)
REQUEST = {"tool": "Bash", "arguments": {"command": "ls -l"}, "createdAt": 5, "options": []}
STATE = {
    "controlledByUser": True,
    "requests": {"c1": REQUEST},
    "completedRequests": {"c0": {"tool": "Bash", "arguments": {}, "status": "approved"}},
}


def statuses(stage):
    return [record["message"] for record in stage.link.records if record.get("type") == "message"]


def results(stage):
    return [record for record in stage.link.records if record.get("type") == "tool-call-result"]


def test_the_conversation_says_which_request_was_interrupted_and_closes_its_card(staged):
    stage = staged(state=STATE, arguments=RESUMED).up()
    assert statuses(stage)[0] == (
        "The session was interrupted before you answered this request: Bash `ls -l`"
    )
    (result,) = results(stage)
    assert (result["callId"], result["output"], result["is_error"]) == ("c1", UNANSWERED, True)
    assert "requests" not in stage.link.state
    closed = stage.link.state["completedRequests"]
    assert (closed["c1"]["status"], closed["c1"]["reason"]) == ("canceled", UNANSWERED)
    assert closed["c0"]["status"] == "approved"  # what was decided earlier stays


def test_an_agent_that_remembers_is_asked_to_go_on_and_can_ask_again(staged):
    stage = staged(state=STATE, arguments=RESUMED).up()
    assert statuses(stage)[1] == "OpenCode is asked to go on"
    (prompt,) = stage.agent.prompts
    assert "Bash `ls -l`" in prompt
    assert "ask again" in prompt
    answers = stage.agent.ask(call_id="c2", command="ls -l")
    assert list(stage.link.state["requests"]) == ["c2"]
    stage.link.rpc_call("permission", {"id": "c2", "approved": True})
    assert answers[0]["outcome"]["optionId"] == "once"


def test_an_agent_that_remembers_nothing_is_asked_nothing(staged):
    stage = staged(state=STATE, arguments=RESUMED)
    stage.host.make = lambda: MemoryAgent(stage.clock, loads=False)
    stage.up()
    assert "before you answered this request" in statuses(stage)[0]
    assert "cannot resume its session old" in statuses(stage)[1]
    assert (stage.agent.prompts, len(statuses(stage))) == ([], 2)


def test_a_prompt_that_a_person_has_sent_meanwhile_stands_instead(staged):
    stage = staged(state=STATE, arguments=RESUMED)
    stage.link.message("do something else")
    stage.up()
    assert stage.agent.prompts == ["do something else"]
    assert len(statuses(stage)) == 1


def test_an_agent_that_cannot_be_started_leaves_the_notice(staged):
    stage = staged(state=STATE, arguments=RESUMED)

    def broken():
        raise OSError("no such program")

    stage.host.make = broken
    stage.run()
    assert "before you answered this request" in statuses(stage)[0]
    assert "could not be started" in statuses(stage)[1]


def test_a_session_that_was_not_asking_says_nothing(staged):
    for state in ({"controlledByUser": False}, {"requests": {}}, None, [], {"requests": [1]}):
        stage = staged(state=state, arguments=RESUMED).up()
        assert (stage.link.records, stage.agent.prompts) == ([], [])


def test_a_killed_session_that_is_resumed_twice_says_so_once(staged):
    first = staged(state=STATE, arguments=RESUMED).up()
    second = staged(state=first.link.state, arguments=RESUMED).up()
    assert (second.link.records, second.agent.prompts) == ([], [])


QUESTION = {"tool": "AskUserQuestion", "arguments": {"questions": [{"question": "Which  one?"}]}}
LOGIN = {"tool": "AskUserQuestion", "arguments": {"questions": [], "login": {"title": "x"}}}


@pytest.mark.parametrize(
    ("entry", "summary"),
    [
        (REQUEST, "Bash `ls -l`"),
        ({"tool": "Edit", "arguments": {"file_path": "/a"}}, "Edit `/a`"),
        ({"tool": "Edit", "arguments": {"command": ["x"], "path": 7}}, "Edit"),
        (
            {"tool": "Bash", "arguments": {"command": "a\nb " + "x" * 300}},
            f"Bash `a b {'x' * 196}…`",
        ),
        ({"tool": "Shell: ls -l", "arguments": {"command": "ls -l"}}, "Shell: ls -l"),
        (QUESTION, "“Which one?”"),
        ({"tool": "AskUserQuestion", "arguments": None}, "a question"),
        ({}, "a tool"),
    ],
)
def test_a_request_is_described_by_what_it_was_about(entry, summary):
    (found,) = interrupted_requests({"requests": {"r": entry}})
    assert (found.call_id, found.summary) == ("r", summary)


def test_the_card_of_a_second_request_of_one_call_is_that_of_the_call():
    (found,) = interrupted_requests({"requests": {"c1#2": {**REQUEST, "toolCallId": "c1"}}})
    assert found.call_id == "c1"


def test_a_login_is_closed_and_not_told_because_the_session_asks_for_it_itself():
    state = {"requests": {"q1": LOGIN}}
    assert interrupted_requests(state) == ()
    assert list(state_after_interruption(state, 7)["completedRequests"]) == ["q1"]


def test_several_requests_are_told_in_one_sentence():
    both = interrupted_requests({"requests": {"a": REQUEST, "b": QUESTION}})
    assert interruption_notice(both).endswith("these requests: Bash `ls -l`; “Which one?”")


@pytest.mark.parametrize("state", [None, [], "x", {"requests": 7, "completedRequests": [1]}])
def test_a_malformed_state_is_replaced(state):
    assert state_after_interruption(state, 7) == {
        "controlledByUser": False,
        "startingMode": "remote",
    }


def test_malformed_requests_are_dropped():
    state = {"requests": {"a": REQUEST, "b": 7}, "completedRequests": {"c": None}}
    assert list(state_after_interruption(state, 7)["completedRequests"]) == ["a"]
