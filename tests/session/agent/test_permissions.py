"""Permission requests of a session: shown whole, answered by name, remembered, denied in words."""

import pytest

from hapi.protocol.session import BY_USER

PLAN = [
    {"optionId": "auto", "kind": "allow_always", "name": "Yes, and use auto mode"},
    {"optionId": "bypass", "kind": "allow_always", "name": "Yes, and bypass permissions"},
    {"optionId": "default", "kind": "allow_once", "name": "Yes, manually approve edits"},
    {"optionId": "plan", "kind": "reject_once", "name": "No, keep planning"},
]
ONCE = [
    {"optionId": "once", "kind": "allow_once", "name": "Yes"},
    {"optionId": "no", "kind": "reject_once", "name": "No"},
]


@pytest.fixture
def up(staged):
    stage = staged().up()
    stage.link.message("go")
    return stage


REMEMBERED = [*ONCE, {"optionId": "always", "name": "Always", "kind": "allow_always"}]


def ask(stage, options=ONCE, call_id="c1", **call):
    """The answers that the agent got to its request."""
    answers = []
    call = {"toolCallId": call_id, "title": "Shell", "kind": "execute", **call}
    params = {"sessionId": "agent-1", "toolCall": call, "options": options}
    stage.agent.peer.call("session/request_permission", params).addCallback(answers.append)
    return answers


def ask_for(stage, command, call_id="c1", options=ONCE):
    return ask(stage, options, call_id, rawInput={"command": command})


def answer(stage, call_id="c1", approved=True, **more):
    return stage.link.rpc_call("permission", {"id": call_id, "approved": approved, **more})


def allow_for_session(stage, call_id="c1", **more):
    return answer(stage, call_id, decision="approved_for_session", **more)


def selected(option):
    return [{"outcome": {"outcome": "selected", "optionId": option}}]


def completed(stage, call_id="c1"):
    return stage.link.state["completedRequests"][call_id]


# --- the agent's own options


def test_the_options_of_the_agent_travel_with_the_request_and_back(up):
    answers = ask(up, PLAN, kind="switch_mode")
    shown = up.link.state["requests"]["c1"]["options"]
    assert [option["name"] for option in shown] == [option["name"] for option in PLAN]
    assert answer(up, optionId="bypass") is None
    assert answers == selected("bypass")
    assert completed(up)["option"] == "Yes, and bypass permissions"
    assert completed(up)["optionId"] == "bypass"


def test_allow_for_session_never_means_another_mode(up):
    answers = ask(up, PLAN, kind="switch_mode")
    allow_for_session(up)
    assert answers == selected("default")
    assert completed(up)["decision"] == "approved"
    assert up.session.permissions.rules.rules == ()


@pytest.mark.parametrize("mode", ["yolo", "safe-yolo"])
def test_a_mode_that_allows_everything_does_not_choose_another_mode(staged, mode):
    stage = staged(agent_name="gemini", mode=mode).up()
    stage.link.message("go")
    assert ask(stage, PLAN, kind="switch_mode") == selected("default")
    only_modes = ask(stage, PLAN[:2], "c2", kind="switch_mode")
    assert only_modes == []
    assert list(stage.link.state["requests"]) == ["c2"]
    answer(stage, "c2", optionId="auto")
    assert only_modes == selected("auto")


def test_a_refused_answer_says_why_and_the_request_waits_on(up):
    answers = ask(up, PLAN[:2], kind="switch_mode")
    problem = answer(up)["error"]
    assert "Choose one of its options: Yes, and use auto mode, Yes, and bypass" in problem
    assert up.link.records[-1] == {"type": "message", "message": f"Not answered: {problem}"}
    assert "offers no option 'x'" in answer(up, optionId="x")["error"]
    assert answers == []
    assert list(up.link.state["requests"]) == ["c1"]


# --- shown whole


def test_what_the_tool_call_said_before_is_shown_with_the_request(up):
    change = {"type": "diff", "path": "/w/a", "oldText": "1\n", "newText": "2\n"}
    up.agent.update("tool_call", toolCallId="c1", title="Edit files", kind="edit", content=[change])
    answers = []
    params = {"sessionId": "agent-1", "toolCall": {"toolCallId": "c1"}, "options": ONCE}
    up.agent.peer.call("session/request_permission", params).addCallback(answers.append)
    request = up.link.state["requests"]["c1"]
    assert request["tool"] == "Edit files"
    assert request["arguments"] == {"file_path": "/w/a", "old_string": "1\n", "new_string": "2\n"}
    assert "+2" in request["changes"][0]["diff"]
    card = [record for record in up.link.records if record.get("type") == "tool-call"][-1]
    assert card["input"] == request["arguments"]
    up.session.permissions.cancel_all()


def test_the_words_of_a_question_are_not_the_tool_s_result(up):
    content = [{"type": "content", "content": {"type": "text", "text": "Run `ls` in /w, ok?"}}]
    ask(up, content=content)
    assert up.link.state["requests"]["c1"]["text"] == "Run `ls` in /w, ok?"
    answer(up)
    up.agent.update("tool_call_update", toolCallId="c1", status="completed", content=[])
    results = [record for record in up.link.records if record.get("type") == "tool-call-result"]
    assert results[-1]["output"] == ""


@pytest.mark.parametrize("call_id", ["turn/call", "a b", "日本"])
def test_ids_of_any_text_name_their_request(up, call_id):
    ask_for(up, "ls", call_id)
    assert list(up.link.state["requests"]) == [call_id]
    up.session.permissions.cancel_all()


@pytest.mark.parametrize("call_id", [".", ".."])
def test_an_id_that_no_path_can_hold_is_replaced_and_names_its_card(up, call_id):
    answers = ask_for(up, "ls", call_id)
    ((request_id, request),) = up.link.state["requests"].items()
    assert len(request_id) == 36
    assert request["toolCallId"] == call_id
    answer(up, request_id)
    assert answers == selected("once")


def test_a_second_request_for_one_call_names_its_card(up):
    ask_for(up, "ls")
    ask_for(up, "ls -l")
    assert up.link.state["requests"]["c1#2"]["toolCallId"] == "c1"
    up.session.permissions.cancel_all()


# --- allowed for the session


def test_what_was_allowed_for_the_session_is_not_asked_again(up):
    ask_for(up, "touch x && echo y")
    allow_for_session(up)
    assert completed(up)["decision"] == "approved_for_session"
    assert ask_for(up, "touch x && echo y", "c2") == selected("once")
    assert completed(up, "c2")["decision"] == "approved_for_session"
    assert completed(up, "c2")["ruleId"] == up.session.permissions.rules.rules[0].id
    assert ask_for(up, "touch x && echo y; rm -rf /", "c3") == []
    up.session.permissions.cancel_all()


def test_patterns_of_npm_s_page_are_remembered(up):
    ask_for(up, "npm test")
    answer(up, allowTools=["Bash(npm test:*)"])
    assert ask_for(up, "npm test -- --watch", "c2") == selected("once")
    assert ask_for(up, "npm test && rm -rf /", "c3") == []
    up.session.permissions.cancel_all()


def test_a_pattern_is_honoured_exactly_also_where_the_agent_would_remember(up):
    answers = up.agent.ask("c1")
    answer(up, allowTools=["Bash(ls)"])
    assert answers[0]["outcome"]["optionId"] == "once"
    (rule,) = up.session.permissions.rules.rules
    assert rule.command == "ls"


def test_all_edits_are_allowed_for_the_session_and_nothing_else(up):
    edit = {"title": "Edit a.py", "kind": "edit", "rawInput": {"file_path": "/w/a.py"}}
    answers = ask(up, REMEMBERED, **edit)
    allow_for_session(up, allowTools=["Edit"])
    assert answers == selected("once")  # what the agent would remember could be less, or more
    (rule,) = up.session.permissions.rules.rules
    assert (rule.kind, rule.paths, rule.tool) == ("edit", (), None)
    other = {"title": "Write b.py", "kind": "edit", "rawInput": {"file_path": "/w/b.py"}}
    assert ask(up, ONCE, "c2", **other) == selected("once")
    assert ask_for(up, "rm b.py", "c3") == []
    up.session.permissions.cancel_all()


def test_a_finished_call_is_forgotten(up):
    up.agent.update("tool_call", toolCallId="c1", title="Edit", kind="edit", status="pending")
    assert up.session.turns.tool_calls.get("c1").title == "Edit"
    up.agent.update("tool_call_update", toolCallId="c1", status="completed")
    assert up.session.turns.tool_calls.get("c1") is None


def test_an_agent_that_remembers_by_itself_is_left_to_it(up):
    answers = up.agent.ask("c1")
    allow_for_session(up)
    assert answers[0]["outcome"]["optionId"] == "always"
    assert up.session.permissions.rules.rules == ()


def test_what_no_rule_can_say_is_allowed_once_and_says_so(up):
    answers = ask(up)  # a shell whose command the agent does not tell
    allow_for_session(up)
    assert answers == selected("once")
    assert completed(up)["decision"] == "approved"


def test_a_resumed_session_keeps_its_rules(up, staged):
    ask_for(up, "make")
    allow_for_session(up)
    up.agent.finish()
    stored = up.link.metadata
    up.end(BY_USER)
    again = staged(stored={**stored, "lifecycleState": "archived"}).up()
    again.link.message("go on")
    assert ask_for(again, "make", "n1") == selected("once")


def test_rules_are_listed_and_can_be_taken_back(up):
    ask_for(up, "make")
    allow_for_session(up)
    (rule,) = up.link.rpc_call("list-permission-rules")["rules"]
    assert rule["command"] == "make"
    assert up.link.metadata["permissionRules"] == [rule]
    assert up.link.rpc_call("remove-permission-rule", {"id": rule["id"]}) == {
        "success": True,
        "rules": [],
    }
    assert up.link.metadata["permissionRules"] == []
    assert ask_for(up, "make", "c2") == []
    assert "needs the id" in up.link.rpc_call("remove-permission-rule", {})["error"]
    up.session.permissions.cancel_all()


def test_rules_count_while_the_hub_is_away(up):
    ask_for(up, "make")
    up.link.connected = False
    allow_for_session(up)
    assert ask_for(up, "make", "c2") == selected("once")
    up.link.connect()
    assert len(up.link.metadata["permissionRules"]) == 1


def test_rules_count_at_a_hub_that_drops_what_it_does_not_know(up):
    ask_for(up, "make")
    allow_for_session(up)
    up.session.hub.metadata.value = {"path": "/w", "host": "box"}
    assert ask_for(up, "make", "c2") == selected("once")


@pytest.mark.parametrize("mode", ["plan"])
def test_a_stricter_mode_sets_the_rules_aside(staged, mode):
    stage = staged(agent_name="gemini", mode="default").up()
    stage.link.message("go")
    ask_for(stage, "make")
    allow_for_session(stage)
    stage.session.settings.mode = mode
    assert ask_for(stage, "make", "c2") == []
    stage.session.permissions.cancel_all()


def test_a_rule_answers_no_question(up):
    ask(up, ONCE, "c1", kind="other", title="ask_user")
    allow_for_session(up)
    assert up.session.permissions.rules.rules
    alternatives = [{**ONCE[0], "name": "Red"}, {**ONCE[0], "optionId": "blue", "name": "Blue"}]
    assert ask(up, alternatives, "c2", kind="other", title="ask_user") == []
    up.session.permissions.cancel_all()


# --- denied with a reason


@pytest.mark.parametrize("decision", ["denied", "abort"])
def test_the_reason_of_a_denial_is_the_agent_s_next_input(up, decision):
    ask_for(up, "rm -rf build")
    answer(up, approved=False, decision=decision, reason="  Use make clean instead. ")
    assert completed(up)["reason"] == "Use make clean instead."
    up.agent.finish("cancelled" if decision == "abort" else "end_turn")
    assert up.agent.prompts == ["go", "Use make clean instead."]
    said = [content for content in up.link.contents if content["role"] == "user"]
    assert said[-1]["content"]["text"] == "Use make clean instead."


def test_a_reason_that_is_blank_says_nothing(up):
    ask_for(up, "rm -rf build")
    answer(up, approved=False, reason=" \n")
    assert "reason" not in completed(up)
    up.agent.finish()
    assert up.agent.prompts == ["go"]


def test_a_rule_is_kept_where_another_option_would_switch_the_mode(up):
    options = [
        *ONCE[:1],
        {"optionId": "mode", "kind": "allow_once", "name": "Switch to Default Mode and allow once"},
        *ONCE[1:],
    ]
    first = ask_for(up, "make", "c1", options)
    allow_for_session(up, "c1")
    second = ask_for(up, "make", "c2", options)
    assert first == second == [{"outcome": {"outcome": "selected", "optionId": "once"}}]
