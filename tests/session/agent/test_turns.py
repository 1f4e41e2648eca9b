"""Turns: prompts in, records out, permissions between, aborts."""

import pytest
from twisted.internet.defer import Deferred

from hapi.net.client.delivery import UnconfirmedEvent
from hapi.protocol.session import BY_SIGNAL
from hapi.session.hub.uplink import CATCH_UP_TIMEOUT
from hapi.session.startup.command_line import Arguments
from tests.support.session_stage import MemoryAgent


def kinds(stage):
    return [record["type"] for record in stage.link.records]


def test_a_turn_goes_in_the_recorded_order(up):
    up.link.sent.clear()
    up.link.message("please list files")
    up.agent.update("agent_thought_chunk", content={"type": "text", "text": "Let me think."})
    up.agent.say("Listing files. ")
    up.agent.update("plan", entries=[{"content": "list", "priority": "high", "status": "pending"}])
    up.agent.update(
        "tool_call",
        toolCallId="c1",
        title="Shell: ls",
        kind="execute",
        status="pending",
        rawInput={"command": "ls"},
    )
    answers = up.agent.ask()
    up.link.rpc_call("permission", {"id": "c1", "approved": True, "decision": "approved"})
    assert answers == [{"outcome": {"outcome": "selected", "optionId": "once"}}]
    up.agent.update("tool_call_update", toolCallId="c1", status="in_progress")
    up.agent.update("tool_call_update", toolCallId="c1", status="completed", rawOutput="a.txt")
    up.agent.say("One file.")
    up.agent.finish(usage={"inputTokens": 10, "outputTokens": 2, "totalTokens": 12})
    told = [
        payload["message"]["content"]["data"]["type"]
        if name == "message"
        else (name, payload.get("thinking"))
        for name, payload in up.link.sent
        if name != "update-metadata"
    ]
    assert told == [
        ("messages-consumed", None),
        ("session-alive", True),
        "reasoning",
        "reasoning",
        "message",
        "plan",
        "tool-call",
        ("update-state", None),
        ("update-state", None),
        "tool-call",
        "tool-call-result",
        "message",
        "token_count",
        ("session-alive", False),
        "ready",
    ]


def test_prompts_that_come_during_a_turn_wait_and_go_together(up):
    up.link.message("one", 1)
    up.link.message("two", 2)
    up.link.message("three", 3)
    assert [payload["localIds"] for payload in up.link.of("messages-consumed")] == [["l1"]]
    up.agent.finish()
    assert up.agent.prompts == ["one", "two\n\nthree"]
    assert [payload["localIds"] for payload in up.link.of("messages-consumed")] == [
        ["l1"],
        ["l2", "l3"],
    ]
    assert kinds(up).count("ready") == 0
    up.agent.finish()
    assert kinds(up).count("ready") == 1


def test_a_command_that_waits_is_a_prompt_of_its_own(up):
    for number, text in enumerate(["one", "two", "three", "/compact", "four"], start=1):
        up.link.message(text, number)
    for _ in range(4):
        up.agent.finish()
    assert up.agent.prompts == ["one", "two\n\nthree", "/compact", "four"]
    assert [payload["localIds"] for payload in up.link.of("messages-consumed")] == [
        ["l1"],
        ["l2", "l3"],
        ["l4"],
        ["l5"],
    ]
    assert kinds(up).count("ready") == 1


def test_a_message_that_is_sent_again_is_prompted_once(up):
    up.link.message("one")
    up.link.message("one")
    up.agent.finish()
    up.link.message("one")
    assert up.agent.prompts == ["one"]


def test_a_waiting_prompt_is_cancelled_and_a_taken_one_is_not(up):
    up.link.message("one", 1)
    up.link.message("two", 2)
    question = {"t": "cancel-queued-message", "messageId": "l2", "localId": "l2"}
    assert up.link.update(**question)["removed"]
    assert up.link.update(**{**question, "messageId": "l1", "localId": "l1"})["consumed"]
    up.agent.finish()
    assert up.agent.prompts == ["one"]


def test_a_retried_prompt_is_prompted(up):
    content = {
        "role": "user",
        "content": {"type": "text", "text": "again"},
        "meta": {"sentFrom": "webapp"},
    }
    answer = up.link.update(
        t="retry-queued-message",
        messageId="m1",
        localId="l1",
        message={"id": "m1", "content": content},
    )
    assert answer == {"removed": False, "accepted": True}
    assert up.agent.prompts == ["again"]


def test_the_first_prompt_becomes_the_title_until_there_is_a_better_one(up):
    up.link.message("fix   the\nbug " + "x" * 100)
    assert up.link.metadata["summary"]["text"].startswith("fix the bug xxx")
    assert len(up.link.metadata["summary"]["text"]) == 80
    up.agent.update("session_info_update", title="A bug fixed")
    assert up.link.metadata["summary"]["text"] == "A bug fixed"
    assert up.link.records[-1]["summary"] == "A bug fixed"
    up.agent.finish()
    up.link.message("another", 2)
    assert up.link.metadata["summary"]["text"] == "A bug fixed"


def test_observers_get_every_update_after_its_records_and_none_can_stop_another(
    up, logged_failures
):
    seen, records = [], []

    def broken(update):
        raise RuntimeError("broken")

    def observe(update):
        seen.append(type(update).__name__)
        records.append(len(up.link.records))

    up.session.turns.observers += [broken, observe]
    up.link.message("go")
    up.agent.say("one")
    up.agent.update("plan", entries=[])
    assert seen == ["Text", "Plan"]
    assert records == [0, 2]
    assert len(logged_failures.take(RuntimeError)) == 2


# --- failures and aborts


def test_a_failed_prompt_is_told_and_the_session_is_ready_again(up):
    up.link.message("fail")
    up.agent.fail("the model is out of order")
    assert up.link.records[-2:] == [
        {"type": "message", "message": "OpenCode prompt failed: the model is out of order"},
        {"type": "ready"},
    ]
    assert up.link.of("session-alive")[-1]["thinking"] is False


def test_a_failed_prompt_is_told_without_the_agents_stack_trace(up):
    up.link.message("fail")
    up.agent.fail("the model is away\n    at run (file:///agent.js:1:2)\n    at main (x.js:3:4)")
    assert up.link.records[-2]["message"] == "OpenCode prompt failed: the model is away"


def test_an_answer_that_was_cut_says_so(up):
    up.link.message("long")
    up.agent.finish("max_tokens")
    assert "token limit" in up.link.records[-2]["message"]


def test_abort_stops_the_turn_and_leaves_the_session(up):
    up.link.message("long")
    up.agent.update(
        "tool_call", toolCallId="c1", title="Shell", kind="execute", status="in_progress"
    )
    answers = up.agent.ask("c2")
    up.link.rpc_call("abort", {"reason": "User aborted via Telegram Bot"})
    assert up.agent.calls[-1][0] == "session/cancel"
    assert answers == [{"outcome": {"outcome": "cancelled"}}]
    assert up.link.state["completedRequests"]["c2"] | {"createdAt": 0, "completedAt": 0} == {
        "tool": "Shell: ls",
        "arguments": {"command": "ls"},
        "createdAt": 0,
        "completedAt": 0,
        "status": "canceled",
        "decision": "abort",
        "reason": "User aborted",
    }
    assert up.link.of("session-alive")[-1]["thinking"] is True
    up.agent.finish("cancelled")
    assert up.link.of("session-alive")[-1]["thinking"] is False
    assert up.link.records[-2:] == [
        {"type": "message", "message": "Session aborted"},
        {"type": "ready"},
    ]
    closed = [
        record["callId"] for record in up.link.records if record["type"] == "tool-call-result"
    ]
    assert closed == ["c1", "c2"]
    up.link.message("go on", 2)
    assert up.agent.prompts == ["long", "go on"]


def test_an_agent_that_answers_a_cancel_with_an_error_has_not_failed(up):
    up.link.message("long")
    up.link.rpc_call("abort")
    up.agent.fail("aborted")
    assert [record.get("message") for record in up.link.records] == ["Session aborted", None]


def test_an_abort_stands_after_all_that_the_agent_says_in_the_turn(up):
    up.link.message("long")
    up.agent.say("one two")
    up.link.rpc_call("abort")
    up.agent.say(" three")
    up.agent.finish("cancelled")
    assert [record.get("message") for record in up.link.records] == [
        "one two three",
        "Session aborted",
        None,
    ]


def test_an_abort_without_a_turn_is_told_at_once(up):
    up.link.rpc_call("abort")
    assert up.link.records == [{"type": "message", "message": "Session aborted"}]


def test_an_abort_that_the_agent_ignores_is_told_before_the_agent_is_ended(up):
    up.link.message("long")
    up.agent.say("one")
    up.link.rpc_call("abort")
    up.clock.advance(15)
    assert [record.get("message") for record in up.link.records[:3]] == [
        "one",
        "Session aborted",
        "OpenCode did not stop. It is ended and restarts with the next prompt",
    ]


def test_prompts_that_wait_during_an_abort_are_next(up):
    up.link.message("one", 1)
    up.link.message("two", 2)
    up.link.rpc_call("abort")
    up.agent.finish("cancelled")
    assert up.agent.prompts == ["one", "two"]


def test_an_agent_that_does_not_obey_is_ended_and_comes_back(up):
    up.link.message("long")
    up.link.rpc_call("abort")
    up.clock.advance(15)
    assert up.host.ended == 1
    assert up.link.records[-1] == {"type": "ready"}
    up.link.message("next", 2)
    assert (up.host.starts, up.agent.prompts) == (2, ["next"])


# --- permissions


def test_a_request_can_be_answered_for_the_session_or_denied(up):
    up.link.message("go")
    first = up.agent.ask("c1")
    up.link.rpc_call(
        "permission", {"id": "c1", "approved": True, "decision": "approved_for_session"}
    )
    second = up.agent.ask("c2")
    up.link.rpc_call("permission", {"id": "c2", "approved": False})
    assert first[0]["outcome"]["optionId"] == "always"
    assert second[0]["outcome"]["optionId"] == "no"
    assert up.agent.calls[-1][0] != "session/cancel"
    assert up.link.state["completedRequests"]["c2"]["status"] == "denied"


def test_the_pages_deny_stops_the_whole_turn(up):
    up.link.message("go")
    first, second = up.agent.ask("c1"), up.agent.ask("c2")
    up.link.rpc_call("permission", {"id": "c1", "approved": False, "decision": "abort"})
    assert first == second == [{"outcome": {"outcome": "cancelled"}}]
    assert up.agent.calls[-1][0] == "session/cancel"
    done = up.link.state["completedRequests"]
    assert (done["c1"]["status"], done["c1"]["decision"], done["c2"]["status"]) == (
        "denied",
        "abort",
        "canceled",
    )


def test_two_questions_about_one_call_are_two_requests(up):
    up.link.message("go")
    first, second = up.agent.ask("c1"), up.agent.ask("c1")
    assert list(up.link.state["requests"]) == ["c1", "c1#2"]
    up.link.rpc_call("permission", {"id": "c1#2", "approved": True})
    assert (first, len(second)) == ([], 1)


def test_an_answer_twice_or_to_nothing_changes_nothing(up):
    up.link.message("go")
    up.agent.ask("c1")
    up.link.rpc_call("permission", {"id": "c1", "approved": True})
    before = up.link.state
    assert up.link.rpc_call("permission", {"id": "c1", "approved": False}) is None
    assert up.link.rpc_call("permission", {"id": "other", "approved": True}) is None
    assert up.link.state == before


def test_yolo_answers_by_itself_and_writes_it_down(staged):
    stage = staged(mode="yolo").up()
    stage.link.message("go")
    assert stage.agent.ask("c1")[0]["outcome"]["optionId"] == "always"
    assert stage.link.state["completedRequests"]["c1"]["decision"] == "approved_for_session"
    assert not stage.link.state.get("requests")


def test_a_request_outlives_a_lost_connection(up):
    up.link.message("go")
    answers = up.agent.ask("c1")
    up.link.drop()
    up.link.connect()
    up.link.rpc_call("permission", {"id": "c1", "approved": True})
    assert len(answers) == 1


def test_the_card_of_a_call_that_was_not_allowed_says_so_where_the_agent_does_not(up):
    up.link.message("go")
    up.agent.ask("c1")
    up.link.rpc_call("permission", {"id": "c1", "approved": False, "decision": "denied"})
    up.agent.finish()
    result = up.link.records[-2]
    assert (result["callId"], result["output"], result["is_error"]) == ("c1", "Not allowed", True)


def test_a_request_that_waits_when_its_turn_ends_can_still_be_answered(up):
    up.link.message("go")
    answers = up.agent.ask("c1")
    up.agent.finish()
    assert up.link.of("session-alive")[-1]["thinking"] is True
    up.link.rpc_call("permission", {"id": "c1", "approved": True})
    assert answers == [{"outcome": {"outcome": "selected", "optionId": "once"}}]
    up.agent.update("tool_call_update", toolCallId="c1", status="completed", rawOutput="a")
    assert up.link.records[-1]["output"] == "a"
    advance(up, 10)
    assert up.link.records[-1] == {"type": "ready"}


# --- work outside a turn


def advance(stage, seconds):
    stage.clock.pump([0.5] * int(seconds * 2))


def texts(stage):
    return [
        record["message"]
        for record in stage.link.records
        if record["type"] == "message" and "id" in record
    ]


def thinking(stage):
    return stage.link.of("session-alive")[-1]["thinking"]


def test_what_an_agent_says_after_its_turn_is_one_message_and_ends_with_ready(up):
    up.link.message("go")
    up.agent.finish()
    assert up.session.turns.is_quiet
    for word in ("The ", "build ", "is ", "done."):
        up.agent.say(word)
        up.clock.advance(0.1)
    assert thinking(up)
    assert not up.session.turns.is_quiet
    advance(up, 2)
    assert texts(up) == ["The build is done."]
    assert thinking(up)
    advance(up, 5)
    assert not thinking(up)
    assert kinds(up).count("ready") == 2
    assert kinds(up)[-1] == "ready"
    assert up.session.turns.is_quiet


def test_a_call_in_progress_keeps_work_outside_a_turn_open_for_ten_minutes(up):
    up.agent.update("tool_call", toolCallId="b", title="make", kind="execute", status="pending")
    advance(up, 120)
    assert thinking(up)
    up.agent.update("tool_call_update", toolCallId="b", status="in_progress")
    advance(up, 590)
    assert thinking(up)
    advance(up, 20)
    assert not thinking(up)
    assert up.link.records[-2]["output"] == "The agent reported no result for this call"


def test_the_late_end_of_a_call_is_shown_without_beginning_new_work(up):
    up.link.message("go")
    up.agent.update(
        "tool_call", toolCallId="l", title="helper", status="pending", rawInput={"prompt": "look"}
    )
    up.agent.finish()
    assert not up.session.turns.is_quiet  # it may still run
    up.agent.update("tool_call_update", toolCallId="l", status="completed", rawOutput="4 files")
    card, result = up.link.records[-2:]
    assert (card["name"], card["input"], result["output"]) == (
        "helper",
        {"prompt": "look"},
        "4 files",
    )
    assert not thinking(up)
    assert up.session.turns.is_quiet


def test_a_call_that_was_left_without_a_result_counts_as_running_for_ten_minutes_only(up):
    up.link.message("go")
    up.agent.update("tool_call", toolCallId="l", title="bash", status="pending")
    up.agent.finish()
    advance(up, 590)
    assert not up.session.turns.is_quiet
    advance(up, 20)
    assert up.session.turns.is_quiet


def test_a_request_outside_a_turn_waits_for_any_time_and_outlives_another_turn(up):
    up.link.message("go")
    up.agent.finish()
    answers = up.agent.ask("bg")
    advance(up, 3600)
    assert thinking(up)
    assert list(up.link.state["requests"]) == ["bg"]
    up.link.message("meanwhile", 2)
    assert up.agent.prompts == ["go", "meanwhile"]  # sent at once
    up.agent.finish()
    assert list(up.link.state["requests"]) == ["bg"]
    up.link.rpc_call("permission", {"id": "bg", "approved": True})
    assert answers == [{"outcome": {"outcome": "selected", "optionId": "once"}}]
    up.agent.update("tool_call_update", toolCallId="bg", status="completed", rawOutput="ok")
    advance(up, 10)
    assert not thinking(up)


def test_stop_reaches_work_outside_a_turn(up):
    up.link.message("go")
    up.agent.finish()
    up.agent.say("counting ")
    up.agent.update("tool_call", toolCallId="b", title="make", status="in_progress")
    answers = up.agent.ask("q")
    up.link.rpc_call("abort", {})
    assert up.agent.calls[-1][0] == "session/cancel"
    assert answers == [{"outcome": {"outcome": "cancelled"}}]
    closed = [
        (record["callId"], record["output"])
        for record in up.link.records
        if record["type"] == "tool-call-result"
    ]
    assert closed == [("b", "Interrupted"), ("q", "Interrupted")]
    assert texts(up) == ["counting "]
    advance(up, 8)
    assert not thinking(up)
    assert up.host.ended == 0


def test_an_agent_that_works_on_outside_a_turn_after_stop_is_ended(up):
    up.link.message("go")
    up.agent.finish()
    up.agent.say("on ")
    up.link.rpc_call("abort", {})
    for _ in range(20):
        if up.host.ended:
            break
        up.agent.say("and on ")
        up.clock.advance(1)
    assert up.host.ended == 1
    assert not thinking(up)


def test_an_agent_that_dies_outside_a_turn_leaves_no_open_card_and_no_request(up):
    up.link.message("go")
    up.agent.finish()
    up.agent.update("tool_call", toolCallId="b", title="make", status="in_progress")
    up.agent.ask("q")
    up.host.die()
    assert [
        record["output"] for record in up.link.records if record["type"] == "tool-call-result"
    ] == ["The agent ended before it reported a result for this call"] * 2
    assert not up.link.state["requests"]
    assert not thinking(up)


def test_a_prompt_ends_the_message_that_was_said_before_it(up):
    up.agent.say("from the background")
    up.link.message("go")
    up.agent.say("the answer")
    up.agent.finish()
    assert texts(up) == ["from the background", "the answer"]


def test_calls_that_are_open_when_the_session_ends_are_closed_with_that(up):
    up.link.message("go")
    up.agent.update("tool_call", toolCallId="b", title="make", status="in_progress")
    up.end(BY_SIGNAL)
    assert up.link.records[-1] == {
        "type": "tool-call-result",
        "callId": "b",
        "output": "The session ended before the agent reported a result for this call",
        "is_error": True,
    }


def test_what_an_agent_replays_after_it_has_resumed_is_not_said_again(staged):
    stage = staged(arguments=Arguments("opencode", resume="old")).up()
    stage.agent.update("user_message_chunk", content={"type": "text", "text": "earlier"})
    stage.agent.say("said before")
    advance(stage, 10)
    assert texts(stage) == []
    stage.link.message("go")
    stage.agent.say("new")
    stage.agent.finish()
    assert texts(stage) == ["new"]


def late_replay(staged):
    stage = staged(arguments=Arguments("opencode", resume="old"), make_agent=None)
    stage.host.make = lambda: MemoryAgent(stage.clock, replays_late=True)
    stage.up()
    stage.link.message("go")
    return stage


def test_a_prompt_waits_until_an_agent_that_replays_late_has_done_so(staged):
    """As Gemini does: it answers session/load, then replays the conversation."""
    stage = late_replay(staged)
    advance(stage, 0.4)
    stage.agent.replay()
    advance(stage, 0.4)
    stage.agent.say("more of it")
    assert stage.agent.prompts == []
    advance(stage, 0.6)
    assert stage.agent.prompts == ["go"]
    stage.agent.say("new")
    stage.agent.finish()
    assert texts(stage) == ["new"]


def test_a_prompt_that_is_stopped_while_it_waits_for_a_replay_is_not_sent(staged):
    stage = late_replay(staged)
    stage.link.rpc_call("abort")
    advance(stage, 2)
    assert stage.agent.prompts == []
    assert stage.link.records[-1] == {"type": "ready"}


# --- settings

OFFER = {
    "configOptions": [
        {
            "id": "model",
            "category": "model",
            "type": "select",
            "currentValue": "a",
            "options": [{"value": "a", "name": "A"}, {"value": "broken", "name": "B"}],
        },
        {
            "id": "mode",
            "category": "mode",
            "type": "select",
            "currentValue": "build",
            "options": [{"value": "build", "name": "build"}, {"value": "plan", "name": "plan"}],
        },
    ]
}


def with_offer(staged):
    stage = staged()
    stage.host.make = lambda: MemoryAgent(stage.clock, modes=OFFER)
    return stage.up()


def option_calls(stage):
    return [
        (params["configId"], params["value"])
        for name, params in stage.agent.calls
        if name == "session/set_config_option"
    ]


def test_a_mode_that_the_agent_has_is_set_there_and_left_again(staged):
    stage = with_offer(staged)
    assert stage.link.rpc_call("set-session-config", {"permissionMode": "plan"}) == {
        "applied": {"permissionMode": "plan"}
    }
    assert stage.link.of("session-alive")[-1]["permissionMode"] == "plan"
    assert stage.link.rpc_call("set-session-config", {"permissionMode": "yolo"}) == {
        "applied": {"permissionMode": "yolo"}
    }
    assert option_calls(stage) == [("mode", "plan"), ("mode", "build")]


def test_a_model_is_set_and_one_that_the_agent_refuses_is_not_applied(staged):
    stage = with_offer(staged)
    answer = stage.link.rpc_call("set-session-config", {"model": "broken"})
    assert answer == {"error": "model not found: broken"}
    assert stage.link.of("session-alive")[-1]["model"] is None


def test_what_the_session_cannot_have_is_refused_in_words(up):
    for params, words in [
        (
            {"permissionMode": "acceptEdits"},
            "OpenCode has no permission mode acceptEdits (it has: default, yolo)",
        ),
        (
            {"permissionMode": "plan"},
            "OpenCode has no permission mode plan (it has: default, yolo)",
        ),
        ({"model": "x"}, "the agent offers no choice of model"),
        ({"effort": "high"}, "OpenCode has no setting effort"),
        ({"serviceTier": "fast"}, "OpenCode has no setting serviceTier"),
        ({"colour": "red"}, "there is no setting named colour"),
        ({"model": 3}, "model must be a string"),
    ]:
        assert up.link.rpc_call("set-session-config", params) == {"error": words}
    assert up.link.rpc_call("set-session-config", None) == {"applied": {}}


def test_a_mode_that_the_agent_changes_itself_is_reported(staged):
    stage = with_offer(staged)
    stage.agent.update("current_mode_update", currentModeId="plan")
    assert stage.link.records[-1] == {"type": "permission-mode-changed", "mode": "plan"}
    assert stage.link.of("session-alive")[-1]["permissionMode"] == "plan"


def test_models_and_commands_are_listed(staged):
    stage = with_offer(staged)
    stage.agent.update(
        "available_commands_update", availableCommands=[{"name": "init", "description": "set up"}]
    )
    assert stage.link.rpc_call("listOpencodeModels") == {
        "success": True,
        "availableModels": [{"modelId": "a", "name": "A"}, {"modelId": "broken", "name": "B"}],
        "currentModelId": "a",
    }
    assert stage.link.rpc_call("listSlashCommands", {"agent": "opencode"}) == {
        "success": True,
        "commands": [{"name": "init", "description": "set up", "source": "user"}],
    }
    assert stage.link.rpc_call("listSkills", {"flavor": "opencode"}) == {
        "success": True,
        "skills": [],
    }
    assert stage.link.rpc_call("switch", {"to": "remote"}) is None


# --- reconnects


def row(number, text="hi", role="user", sent_from="webapp"):
    content = {
        "role": role,
        "content": {"type": "text", "text": text},
        "meta": {"sentFrom": sent_from},
    }
    return {"id": f"m{number}", "seq": number, "localId": f"l{number}", "content": content}


def test_what_was_said_while_the_link_was_down_is_fetched_once__N21(up):
    up.link.message("one", 1)
    up.agent.finish()
    up.link.drop()
    up.rows = [
        row(1),
        row(2, "agent's", "agent"),
        row(3, "two"),
        row(4, "typed", sent_from="cli"),
        row(5, "three"),
    ]
    up.link.connect()
    assert up.asked_rows == [1]
    assert up.agent.prompts == ["one", "two\n\nthree"]
    up.link.message("three", 5)
    up.agent.finish()
    assert len(up.agent.prompts) == 2


def test_a_long_backlog_is_fetched_page_by_page__N21(up):
    up.link.message("one", 1)
    up.agent.finish()
    up.link.drop()
    up.rows = [row(number) for number in range(2, 452)]
    up.link.connect()
    assert up.asked_rows == [1, 201, 401]
    assert len(up.agent.prompts[-1].split("\n\n")) == 450


@pytest.mark.parametrize("again", [False, True], ids=["first-connect", "reconnect"])
def test_prompts_reach_the_agent_in_the_order_of_the_conversation__whatever_comes_first(
    staged, again
):
    """A prompt that is written while the link comes up is delivered before those that waited."""
    stage = staged().up()
    if again:
        stage.link.message("zero", 1)
        stage.agent.finish()
    before = len(stage.agent.prompts)
    stage.link.drop()
    stage.link.silent = True  # the hub has not handled the keep-alive yet
    stage.link.connect()
    stage.link.message("six", 9)
    assert len(stage.agent.prompts) == before
    for number, text in enumerate(["one", "two", "three"], 2):
        stage.link.message(text, number)
    stage.link.message("six", 9)
    stage.link.silent = False
    stage.link.answer_all()
    assert stage.agent.prompts[before:] == ["one\n\ntwo\n\nthree\n\nsix"]


def test_a_hub_that_answers_no_ping_gets_its_prompts_to_the_agent_nevertheless(staged):
    stage = staged().up()
    stage.link.drop()
    stage.link.silent = True
    stage.link.connect()
    stage.link.message("one", 1)
    stage.clock.advance(CATCH_UP_TIMEOUT)
    assert stage.agent.prompts == ["one"]


def reviewed(stage, unsure):
    found = []
    Deferred.fromCoroutine(stage.link.review(unsure)).addCallback(found.extend)
    return found


def test_records_that_the_hub_does_not_have_are_sent_again_and_no_others__N05(up):
    up.link.message("go", 1)
    up.agent.say("one")
    up.agent.update("plan", entries=[])
    up.agent.say("two " + "x" * 70_000)
    up.agent.finish()
    unsure = [UnconfirmedEvent("message", (payload,)) for payload in up.link.of("message")]
    unsure.insert(0, UnconfirmedEvent("messages-consumed", ({"localIds": ["l1"]},)))
    stored = [
        {"seq": number, "content": sent.args[0]["message"]}
        for number, sent in enumerate(unsure)
        if sent.event == "message"
    ]
    long = dict(stored[2]["content"]["content"]["data"])
    cut = (
        long["message"][: 48 * 1024]
        + "\n…[hapi: truncated 10564 chars]…\n"
        + long["message"][-12 * 1024 :]
    )
    up.rows = [stored[0], {"seq": 9, "content": record(long | {"message": cut})}]
    assert [
        sent.args[0].get("message", {}).get("content", {}).get("data", {}).get("type")
        for sent in reviewed(up, unsure)
    ] == [
        None,
        "plan",
        "ready",
    ]


def record(data):
    return {
        "role": "agent",
        "content": {"type": "codex", "data": data},
        "meta": {"sentFrom": "cli"},
    }


def test_a_snapshot_of_a_thought_that_is_over_is_not_sent_again(up):
    live = {"type": "reasoning", "message": "hm", "id": "r", "live": True}
    unsure = [UnconfirmedEvent("message", ({"sid": "s", "message": record(live)},))]
    assert reviewed(up, unsure) == []


def test_two_records_that_are_alike_are_two__N05(up):
    one = UnconfirmedEvent("message", ({"message": record({"type": "plan", "entries": []})},))
    two = UnconfirmedEvent("message", ({"message": record({"type": "plan", "entries": []})},))
    up.rows = [{"seq": 1, "content": record({"type": "plan", "entries": []})}]
    assert reviewed(up, [one, two]) == [two]


def test_nothing_is_fetched_when_nothing_was_seen(up):
    up.link.drop()
    up.link.connect()
    assert up.asked_rows == []


def test_documents_written_while_the_link_was_down_arrive_afterwards(up):
    up.link.message("go")
    up.link.drop()
    up.agent.ask("c1")
    up.clock.advance(30)
    up.link.connect()
    up.clock.pump([0.1] * 10)
    assert list(up.link.state["requests"]) == ["c1"]
    up.end(BY_SIGNAL)


def test_what_an_agent_writes_besides_messages_is_told_once_and_stops_nothing(up):
    up.link.message("hello")
    for line in ("Update available: 2.0", "42", '{"level":"info","id":0,"msg":"log"}', "null"):
        up.agent.ours.received(line.encode() + b"\n")
    up.agent.say("still here")
    up.agent.finish()
    up.clock.advance(3.0)
    up.agent.ours.received(b"more\n")
    up.clock.advance(10.0)
    said, noise = [rec["message"] for rec in up.link.records if rec["type"] == "message"]
    assert said == "still here"
    assert noise.startswith("OpenCode wrote 4 lines on its standard output")
    assert noise.endswith("The first: Update available: 2.0")
    assert up.session.host.noise.text.splitlines()[-1] == "more"


def test_a_large_change_is_compared_in_a_thread_and_nothing_overtakes_it(up, monkeypatch):
    compared = []

    def in_thread(call, *args):
        compared.append((done := Deferred(), call, args))
        return done

    monkeypatch.setattr("hapi.session.agent.change_comparison.deferToThread", in_thread)
    old = "".join(f"line {n}\n" for n in range(9800))
    new = old.replace("line 5000\n", "other\n")
    content = [{"type": "diff", "path": "big.txt", "oldText": old, "newText": new}]
    up.link.message("edit it")
    up.agent.update("tool_call", toolCallId="c", title="Edit", status="completed", content=content)
    up.agent.say("Edited.")
    up.agent.finish()
    assert "tool-call" not in kinds(up)
    assert up.link.rpc_call("listSlashCommands", {}) is not None  # others are served meanwhile
    [(done, call, args)] = compared
    done.callback(call(*args))
    assert [kind for kind in kinds(up) if kind != "permission-mode-changed"] == [
        "tool-call",
        "tool-call-result",
        "message",
        "ready",
    ]
    [card] = [record for record in up.link.records if record["type"] == "tool-call"]
    assert (card["changes"][0]["added"], card["changes"][0]["removed"]) == (1, 1)
