"""An agent's questions, from its request to the answer it gets."""

import pytest

from hapi.session.agent.jsonrpc_peer import AgentError

SCHEMA = {
    "properties": {
        "colour": {"type": "string", "enum": ["Red", "Blue"]},
    },
    "required": ["colour"],
}
QUESTIONS = {
    "questions": [
        {"question": "Which colour?", "options": [{"label": "Red"}, {"label": "Blue"}]},
    ]
}


def requests(stage):
    return stage.link.state.get("requests") or {}


def settled(stage):
    return list(stage.link.state["completedRequests"].values())[-1]


def answer(stage, **more):
    (request_id,) = requests(stage)
    return stage.link.rpc_call("permission", {"id": request_id, "approved": True, **more})


def ask_by_permission(stage, options):
    call = {"toolCallId": "q1", "title": "Ask user 1 question", "kind": "think"}
    return stage.agent.call(
        "session/request_permission",
        {"toolCall": {**call, "rawInput": QUESTIONS}, "options": options},
    )


def test_a_form_is_asked_as_a_question_and_its_answer_is_typed(up):
    up.link.message("hello")
    got = up.agent.elicit(SCHEMA)
    (entry,) = requests(up).values()
    assert entry["tool"] == "AskUserQuestion"
    assert entry["arguments"]["questions"][0]["question"] == "Which colour?"
    answer(up, answers={"Which colour?": ["Blue"]})
    assert got == [{"action": "accept", "content": {"colour": "Blue"}}]
    assert requests(up) == {}
    assert settled(up)["status"] == "approved"


def test_question_and_answer_stay_in_the_conversation(up):
    up.agent.elicit(SCHEMA)
    answer(up, answers={"colour": {"answers": ["Blue"]}})
    asked, result = up.link.records[-2:]
    assert (asked["type"], asked["name"]) == ("tool-call", "AskUserQuestion")
    assert (result["callId"], result["output"], result["is_error"]) == (
        asked["callId"],
        "Which colour?: Blue",
        False,
    )


def test_a_question_of_a_tool_call_is_asked_at_its_card(up):
    up.link.message("hello")
    up.agent.update("tool_call", toolCallId="t1", title="Ask", kind="think")
    up.agent.elicit(SCHEMA, toolCallId="t1")
    assert list(requests(up)) == ["t1"]
    assert [record["type"] for record in up.link.records].count("tool-call") == 1


@pytest.mark.parametrize("question_first", [True, False])
def test_a_question_and_a_permission_of_one_call_are_both_answered(up, question_first):
    up.link.message("hello")
    answers = {}

    def elicit():
        answers["question"] = up.agent.elicit(SCHEMA, toolCallId="x1")

    def permit():
        call = {"toolCallId": "x1", "title": "rm -rf build", "kind": "execute"}
        options = [{"optionId": "yes", "kind": "allow_once", "name": "Yes"}]
        answers["permission"] = up.agent.call(
            "session/request_permission", {"toolCall": call, "options": options}
        )

    for step in (elicit, permit) if question_first else (permit, elicit):
        step()
    by_tool = {entry["tool"]: name for name, entry in requests(up).items()}
    assert len(by_tool) == 2
    question = by_tool.pop("AskUserQuestion")
    (permission,) = by_tool.values()
    up.link.rpc_call("permission", {"id": permission, "approved": True})
    assert answers["permission"][0]["outcome"]["optionId"] == "yes"
    given = {"id": question, "approved": True, "answers": {"Which colour?": ["Red"]}}
    up.link.rpc_call("permission", given)
    assert answers["question"] == [{"action": "accept", "content": {"colour": "Red"}}]


@pytest.mark.parametrize("call_id", ["..", ".", "x" * 100_000, "\ud800q"])
def test_a_question_has_an_id_that_a_path_can_carry(up, call_id):
    up.link.message("hello")
    up.agent.elicit(SCHEMA, toolCallId=call_id)
    (request_id,) = requests(up)
    assert len(request_id) < 100
    assert request_id != call_id


@pytest.mark.parametrize(
    ("more", "action"), [({"decision": "denied"}, "decline"), ({"decision": "abort"}, "cancel")]
)
def test_a_refusal_declines_and_an_abort_cancels(up, more, action):
    up.link.message("hello")
    got = up.agent.elicit(SCHEMA)
    answer(up, approved=False, **more)
    assert got == [{"action": action}]
    assert settled(up)["status"] == "denied"
    cancelled = [method for method, _ in up.agent.calls].count("session/cancel")
    assert cancelled == (1 if action == "cancel" else 0)


def test_an_answer_that_does_not_fit_is_refused_in_words_and_the_question_waits_on(up):
    got = up.agent.elicit(SCHEMA)
    assert answer(up) == {"error": "“Which colour?” needs an answer"}
    assert answer(up, answers={"colour": ["Pink"]}) == {
        "error": "“Pink” is not one of the choices of “Which colour?”"
    }
    assert got == []
    answer(up, answers={"colour": ["Red"]})
    assert got == [{"action": "accept", "content": {"colour": "Red"}}]


@pytest.mark.parametrize("mode", ["yolo", "default"])
def test_no_permission_mode_answers_a_question(staged, mode):
    stage = staged(mode=mode).up()
    stage.link.message("hello")
    got = stage.agent.elicit(SCHEMA)
    also = ask_by_permission(stage, [{"optionId": "y", "kind": "allow_once", "name": "Submit"}])
    assert (got, also, len(requests(stage))) == ([], [], 2)


def test_a_question_that_comes_as_a_permission_gets_the_persons_pick(up):
    up.link.message("hello")
    options = [
        {"optionId": "a", "kind": "allow_once", "name": "Red"},
        {"optionId": "b", "kind": "allow_once", "name": "Blue"},
        {"optionId": "no", "kind": "reject_once", "name": "Skip"},
    ]
    got = ask_by_permission(up, options)
    answer(up, answers={"Which colour?": ["Blue"]})
    assert got == [{"outcome": {"outcome": "selected", "optionId": "b"}, "answers": {"0": "Blue"}}]


def test_a_refused_question_of_a_permission_selects_the_option_that_rejects(up):
    up.link.message("hello")
    got = ask_by_permission(
        up,
        [
            {"optionId": "y", "kind": "allow_once", "name": "Submit"},
            {"optionId": "no", "kind": "reject_once", "name": "Skip"},
        ],
    )
    answer(up, approved=False)
    assert got == [{"outcome": {"outcome": "selected", "optionId": "no"}}]


def test_a_visit_ends_when_the_agent_says_that_it_is_complete(up):
    visit = {"mode": "url", "url": "https://x.org/login", "elicitationId": "e1"}
    got = up.agent.elicit(**visit)
    up.agent.peer.notify("elicitation/complete", {"elicitationId": "other"})
    assert len(requests(up)) == 1
    up.agent.peer.notify("elicitation/complete", {"elicitationId": "e1"})
    assert (requests(up), got) == ({}, [{"action": "accept"}])


def test_done_accepts_a_visit(up):
    got = up.agent.elicit(mode="url", url="https://x.org/login", elicitationId="e1")
    answer(up, answers={"0": ["Done"]})
    assert got == [{"action": "accept"}]


def test_a_question_that_the_agent_takes_back_disappears(up):
    got = up.agent.elicit(SCHEMA)
    up.agent.peer.notify("$/cancel_request", {"requestId": 0})
    assert requests(up) == {}
    assert (settled(up)["status"], settled(up)["reason"]) == (
        "canceled",
        "The agent took the question back",
    )
    problem = got[0].value
    assert isinstance(problem, AgentError)
    assert problem.code == -32800


def test_the_questions_of_an_agent_that_ends_disappear(up):
    up.agent.elicit(SCHEMA)
    up.host.die()
    assert requests(up) == {}
    assert settled(up)["status"] == "canceled"


def test_stop_cancels_the_questions(up):
    up.link.message("hello")
    got = up.agent.elicit(SCHEMA)
    up.link.rpc_call("abort")
    assert (requests(up), got) == ({}, [{"action": "cancel"}])


def test_a_question_outlasts_the_turn_in_which_it_was_asked(up):
    up.link.message("hello")
    got = up.agent.elicit(SCHEMA)
    up.agent.finish()
    assert len(requests(up)) == 1
    answer(up, answers={"colour": ["Red"]})
    assert got == [{"action": "accept", "content": {"colour": "Red"}}]
