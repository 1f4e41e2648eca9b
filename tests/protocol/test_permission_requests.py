"""What agents ask for, shown whole, and which of their own options an answer means."""

import pytest

from hapi.protocol.acp.permission_requests import read_permission_request
from hapi.protocol.acp.updates import ToolCall, read_tool_call
from hapi.protocol.permissions import (
    CANCELLED,
    acp_permission_answer,
    chosen_option,
    read_permission_answer,
)

PLAIN = [
    {"optionId": "once", "kind": "allow_once", "name": "Yes"},
    {"optionId": "always", "kind": "allow_always", "name": "Always"},
    {"optionId": "no", "kind": "reject_once", "name": "No"},
]
# What claude-agent-acp 0.100.0 offers for ExitPlanMode.
PLAN = [
    {"optionId": "clear", "kind": "allow_always", "name": "Yes, clear context and bypass"},
    {"optionId": "bypass", "kind": "allow_always", "name": "Yes, and bypass permissions"},
    {"optionId": "auto", "kind": "allow_always", "name": "Yes, and use auto mode"},
    {"optionId": "default", "kind": "allow_once", "name": "Yes, manually approve edits"},
    {"optionId": "plan", "kind": "reject_once", "name": "No, keep planning"},
]
# What Qwen Code 0.24.4 offers for a command in its automatic mode.
SWITCH = [
    {"optionId": "once", "kind": "allow_once", "name": "Allow"},
    {"optionId": "mode", "kind": "allow_once", "name": "Switch to Default Mode and allow once"},
    {"optionId": "no", "kind": "reject_once", "name": "Reject"},
]
ALTERNATIVES = [
    {"optionId": "pg", "kind": "allow_once", "name": "PostgreSQL"},
    {"optionId": "lite", "kind": "allow_once", "name": "SQLite"},
    {"optionId": "skip", "kind": "reject_once", "name": "Skip"},
]
AMENDMENT = [
    {"optionId": "approved", "kind": "allow_once", "name": "Yes"},
    {"optionId": "session", "kind": "allow_always", "name": "Yes, for this session"},
    {"optionId": "amend", "kind": "allow_always", "name": "Yes, and all `git` commands"},
    {"optionId": "abort", "kind": "reject_once", "name": "No"},
]


def asked(options=PLAIN, **call):
    given = {"toolCallId": "c", "title": "T", "kind": "execute", **call}
    return read_permission_request({"toolCall": given, "options": options})


@pytest.mark.parametrize(
    ("options", "kind", "decision", "chosen"),
    [
        (PLAIN, "execute", "approved", "once"),
        (PLAIN, "execute", "approved_for_session", "always"),
        (PLAIN, "execute", "denied", "no"),
        (PLAIN, "execute", "abort", None),
        (PLAIN, "execute", "odd", None),
        (PLAIN[:1], "execute", "approved_for_session", "once"),
        (PLAIN[1:], "edit", "approved", "always"),
        (PLAIN[:2], "edit", "denied", None),
        (SWITCH, "execute", "approved", "once"),
        (SWITCH, "execute", "approved_for_session", "once"),
        (PLAN, "switch_mode", "approved", "default"),
        (PLAN, "switch_mode", "approved_for_session", "default"),
        (PLAN, "other", "approved_for_session", "default"),
        (PLAN[1:2], "other", "approved_for_session", None),
        (PLAN[1:2], "other", "approved", None),
        (PLAIN, "switch_mode", "approved_for_session", "once"),
        (PLAIN[1:], "switch_mode", "approved", None),
        (PLAN, "switch_mode", "denied", "plan"),
        (ALTERNATIVES, "other", "approved", None),
        (ALTERNATIVES, "other", "approved_for_session", None),
        (ALTERNATIVES, "other", "denied", "skip"),
        (AMENDMENT, "execute", "approved_for_session", "approved"),
        ([{"optionId": "go", "kind": "custom", "name": "Go"}], "other", "approved", "go"),
        ([{"optionId": "x", "kind": "p"}, {"optionId": "y", "kind": "q"}], None, "approved", None),
        ([], "execute", "approved", None),
    ],
)
def test_a_decision_never_chooses_an_option_of_another_meaning(options, kind, decision, chosen):
    option = asked(options, kind=kind).option_for(decision)
    assert (None if option is None else option.id) == chosen


def test_a_plan_is_no_plain_request_whatever_kind_the_agent_gives_it():
    request = asked(PLAIN, kind="other", rawInput={"plan": "1. do it"})
    assert request.switches_mode
    assert request.option_for("approved_for_session").id == "once"


def answer(approved, **more):
    return read_permission_answer({"id": "c", "approved": approved, **more})


@pytest.mark.parametrize(
    ("verdict", "option_id"), [(True, "bypass"), (True, "default"), (False, "plan")]
)
def test_an_option_that_is_named_is_chosen(verdict, option_id):
    option = chosen_option(answer(verdict, optionId=option_id), asked(PLAN))
    assert acp_permission_answer(option) == {
        "outcome": {"outcome": "selected", "optionId": option_id}
    }


@pytest.mark.parametrize(
    ("verdict", "option_id", "problem"),
    [
        (
            True,
            "gone",
            r"offers no option 'gone'; it offers once \(Yes\), always \(Always\), no \(No\)",
        ),
        (True, "no", "The answer approves, but the option 'No' does not"),
        (False, "always", "The answer denies, but the option 'Always' does not"),
    ],
)
def test_an_answer_that_contradicts_its_option_is_refused(verdict, option_id, problem):
    with pytest.raises(ValueError, match=problem):
        chosen_option(answer(verdict, optionId=option_id), asked())


def test_an_answer_that_could_mean_several_options_is_refused():
    with pytest.raises(ValueError, match="Choose one of its options: PostgreSQL, SQLite, Skip"):
        chosen_option(answer(True), asked(ALTERNATIVES))
    assert acp_permission_answer(chosen_option(answer(False), asked(PLAIN[:2]))) == CANCELLED


@pytest.mark.parametrize(
    ("options", "by_name"),
    [(PLAIN, False), (PLAN, True), (ALTERNATIVES, True), (AMENDMENT, True), ([], False)],
)
def test_pages_are_told_when_only_names_tell_the_options_apart(options, by_name):
    assert asked(options).as_json().get("byName", False) is by_name


# --- what is shown


def test_a_change_in_the_content_becomes_arguments_and_a_diff():
    change = {"type": "diff", "path": "/w/a.txt", "oldText": "one\n", "newText": "two\n"}
    request = asked(kind="edit", content=[change], locations=[{"path": "/w/a.txt", "line": 3}])
    assert request.arguments == {
        "file_path": "/w/a.txt",
        "old_string": "one\n",
        "new_string": "two\n",
    }
    shown = request.as_json()
    assert shown["locations"] == [{"path": "/w/a.txt", "line": 3}]
    assert "-one\n+two" in shown["changes"][0]["diff"]
    assert shown["kind"] == "edit"
    assert shown["options"][1] == {"id": "always", "name": "Always", "kind": "allow_always"}


def test_what_the_earlier_tool_call_said_is_part_of_the_request():
    change = {"type": "diff", "path": "b", "oldText": None, "newText": "x\n"}
    earlier = read_tool_call(
        {"toolCallId": "c", "title": "Edit files", "kind": "edit", "content": [change]}
    )
    request = read_permission_request({"toolCall": {"toolCallId": "c"}, "options": PLAIN})
    whole = request.completed_by(earlier)
    assert (whole.call.title, whole.call.kind) == ("Edit files", "edit")
    assert whole.arguments["file_path"] == "b"
    assert whole.as_json()["changes"][0]["path"] == "b"
    command = ToolCall("c", input={"command": "ls"})
    assert request.completed_by(command).arguments == {"command": "ls"}


def content(text):
    return [{"type": "content", "content": {"type": "text", "text": text}}]


def test_a_command_or_a_plan_that_is_told_in_words_becomes_an_argument():
    told = asked(content=content("Run command `ls -l`"))
    assert told.arguments == {"command": "ls -l"}
    assert told.as_json()["text"] == "Run command `ls -l`"
    plan = asked(PLAN, kind="switch_mode", rawInput={}, content=content("# Plan\n1. do it"))
    assert plan.arguments == {"plan": "# Plan\n1. do it"}
    asked_about = asked(kind="other", content=content("`a` or `b`?"))
    assert asked_about.arguments == {"description": "`a` or `b`?"}


def test_a_command_that_is_only_the_title_becomes_an_argument():
    told = [{"type": "content", "content": {"type": "text", "text": "[current directory /p]"}}]
    request = asked(title="touch a && echo b", content=told)
    assert request.arguments["command"] == "touch a && echo b"
    assert request.arguments["description"] == "[current directory /p]"


def test_an_input_that_tells_enough_is_left_as_it_is():
    given = {"command": "ls", "timeout": 3}
    assert asked(rawInput=given, content=content("something")).arguments == given
    assert asked(rawInput="text").arguments == "text"
    assert asked(kind="other").arguments == {}


def test_huge_changes_are_cut():
    changes = [
        {
            "type": "diff",
            "path": f"f{number}",
            "oldText": "",
            "newText": "".join(f"line {number} {line}\n" for line in range(5000)),
        }
        for number in range(12)
    ]
    one, many = asked(content=changes[:1]), asked(content=changes)
    assert len(one.arguments["diff"]) <= 40_000
    assert sum(len(item["diff"]) for item in many.as_json()["changes"]) < 130_000
    assert many.as_json()["changes"][-1]["diff"] == "f11: +5000 −0 lines"
    assert len(many.arguments["files"]) == 12
