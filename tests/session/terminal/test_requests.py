"""Requests and questions on a screen: menus, and what a key answers or does not."""

import pytest

from hapi.protocol.acp.permission_requests import PermissionRequest
from hapi.protocol.acp.questions import Question, questions_of_tool
from hapi.protocol.acp.tool_content import Location
from hapi.protocol.acp.updates import ToolCall
from hapi.protocol.permissions import PermissionOutcome
from hapi.session.terminal.permission_prompt import request_lines
from hapi.session.terminal.question_prompt import QuestionForm, answered_lines
from tests.support.screen_stage import DOWN, UP, ScreenStage

AFTER_GUARD = 0.35  # seconds; menus take no keys before


@pytest.fixture
def at_screen(staged):
    stages = []

    def make():
        stages.append(ScreenStage(staged()).up())
        stages[-1].press("go", "\r")
        stages[-1].said()
        return stages[-1]

    yield make
    for stage in stages:
        stage.leave()


def asked(stage, **more):
    answers = stage.agent.ask(**more)
    stage.settle(AFTER_GUARD)
    return answers


def outcome(answers):
    return [answer["outcome"].get("optionId") for answer in answers]


@pytest.mark.parametrize(
    ("keys", "option"),
    [
        (["\r"], "once"),
        ([DOWN, "\r"], "always"),
        ([UP, UP, "\r"], "no"),
        (["2"], "always"),
        (["y"], "once"),
        (["a"], "always"),
        (["n"], "no"),
    ],
)
def test_a_permission_is_given_by_arrows_numbers_and_letters(at_screen, keys, option):
    stage = at_screen()
    answers = asked(stage)
    assert "? OpenCode asks for permission: Shell: ls\n    command: ls\n" in stage.said()
    assert stage.shown_menu().splitlines()[1:] == [
        "> 1. Yes (y)",
        "  2. Always (a)",
        "  3. No (n)",
        "  4. No, and say what to do instead (r)",
        "Enter chooses, Tab: write a prompt. The page can answer, too",
    ]
    stage.press(*keys)
    assert outcome(answers) == [option]
    assert stage.shown_menu() == ""


def test_a_denial_says_what_to_do_instead(at_screen):
    stage = at_screen()
    answers = asked(stage)
    stage.press("r")
    assert stage.screen.label() == "Tell it what to do instead: "
    assert "Enter sends, Esc: back" in stage.shown_menu()
    stage.said()
    stage.press("use make", "\r")
    assert outcome(answers) == ["no"]
    assert "  denied: Shell: ls\n    Instead: use make\n" in stage.said()
    stage.agent.finish()
    stage.settle()
    assert stage.agent.prompts == ["go", "use make"]


def test_the_field_of_a_denial_is_left_by_escape(at_screen):
    stage = at_screen()
    answers = asked(stage)
    stage.press("r", "us", "\x1b")
    stage.settle(1)
    assert stage.draft == ""
    stage.press("y")
    assert outcome(answers) == ["once"]


def test_keys_that_come_with_the_request_answer_nothing_and_stay(at_screen):
    stage = at_screen()
    answers = stage.agent.ask()
    stage.settle(0.1)
    stage.press("y")
    stage.settle(AFTER_GUARD)
    stage.press("es", "\r")
    assert (answers, stage.draft) == ([], "")
    assert "> yes" in stage.said()
    stage.settle(AFTER_GUARD)
    stage.press("y")
    assert outcome(answers) == ["once"]
    stage.agent.finish()
    stage.settle()
    assert stage.agent.prompts == ["go", "yes"]


def test_a_prompt_that_is_being_written_keeps_the_keys_until_tab(at_screen):
    stage = at_screen()
    stage.press("half a ")
    answers = asked(stage)
    stage.settle(5)
    assert "Tab: answer" in stage.shown_menu()
    stage.press("y")
    assert (answers, stage.draft) == ([], "half a y")
    stage.press("\t", "y")
    assert outcome(answers) == ["once"]
    assert stage.draft == "half a y"


def test_a_draft_survives_a_denial_with_a_reason(at_screen):
    stage = at_screen()
    stage.press("half")
    asked(stage)
    stage.press("\t", "r", "no", "\r")
    assert stage.draft == "half"


def test_what_is_pasted_while_a_menu_is_shown_is_a_draft(at_screen):
    stage = at_screen()
    answers = asked(stage)
    stage.press("\x1b[200~y\ny\x1b[201~")
    assert (answers, stage.draft) == ([], "y\ny")


def test_a_request_that_was_answered_on_the_page_closes_its_menu(at_screen):
    stage = at_screen()
    asked(stage)
    stage.link.rpc_call("permission", {"id": "c1", "approved": True})
    assert stage.shown_menu() == ""
    assert "approved: Shell: ls" in stage.said()


def test_requests_are_asked_one_after_the_other(at_screen):
    stage = at_screen()
    answers = asked(stage)
    others = stage.agent.ask("c2", "Shell: rm", command="rm")
    stage.press("y")
    assert (outcome(answers), others) == (["once"], [])
    assert "Shell: rm" in stage.shown_menu()
    stage.press("n")  # meant for the first one, perhaps: the line has the keys
    assert (others, stage.draft) == ([], "n")


def test_control_c_in_a_menu_stops_the_turn(at_screen):
    stage = at_screen()
    answers = asked(stage)
    stage.press("\x03")
    assert answers[0]["outcome"] == {"outcome": "cancelled"}
    assert stage.shown_menu() == ""
    assert not stage.stage.session.ended.has_fired


PLAN = [
    {"optionId": "auto", "kind": "allow_always", "name": "Yes, and use auto mode"},
    {"optionId": "default", "kind": "allow_once", "name": "Yes, manually approve edits"},
    {"optionId": "plan", "kind": "reject_once", "name": "No, keep planning"},
]


@pytest.mark.parametrize(("key", "option"), [("1", "auto"), ("2", "default"), ("3", "plan")])
def test_the_agents_own_options_are_chosen_by_their_numbers(at_screen, key, option):
    stage = at_screen()
    content = [{"type": "content", "content": {"type": "text", "text": "1. do it"}}]
    call = {"toolCallId": "p", "title": "Approve plan", "kind": "switch_mode", "content": content}
    answers = stage.agent.call(
        "session/request_permission", {"sessionId": "agent-1", "toolCall": call, "options": PLAN}
    )
    stage.settle(AFTER_GUARD)
    stage.press("y")  # means nothing here
    assert answers == []
    stage.press(key)
    assert outcome(answers) == [option]


# --- questions
SCHEMA = {
    "properties": {
        "colour": {"title": "Colour", "enum": ["Red", "Blue"]},
        "parts": {"title": "Parts", "type": "array", "items": {"enum": ["one", "two", "three"]}},
        "port": {"title": "Port", "type": "integer", "default": 80, "maximum": 99},
    },
    "required": ["colour"],
}


def test_questions_are_menus_and_fields(at_screen):
    stage = at_screen()
    got = stage.agent.elicit(SCHEMA, message="Set up")
    stage.settle(AFTER_GUARD)
    assert "  2. Blue" in stage.shown_menu()
    stage.press(DOWN, "\r")
    stage.settle(AFTER_GUARD)
    stage.press("1", DOWN, DOWN, " ")
    assert "[x] one" in stage.shown_menu()
    assert "[ ] two" in stage.shown_menu()
    stage.press("\r")
    stage.settle(AFTER_GUARD)
    stage.press("w")
    assert stage.draft == "80"
    stage.press("\x7f\x7f", "100", "\r")
    assert "at most 99" in stage.said()
    assert "Colour" in stage.shown_menu()
    for keys in ("1", "\r", "w"):
        stage.settle(AFTER_GUARD)
        stage.press(keys)
    stage.press("\x7f\x7f", "9", "\r")
    assert got == [{"action": "accept", "content": {"colour": "Red", "port": 9}}]


def test_a_question_is_declined(at_screen):
    stage = at_screen()
    got = stage.agent.elicit(SCHEMA)
    stage.settle(AFTER_GUARD)
    stage.press("d")
    assert got == [{"action": "decline"}]
    assert stage.shown_menu() == ""


def test_a_number_without_end_is_no_choice():
    colours = {"question": "Colour?", "options": [{"label": "Red"}, {"label": "Blue"}]}
    form = QuestionForm("r1", questions_of_tool({"questions": [colours]}))
    form.take("9" * 5000)
    assert "Red" not in str(form.answers)


def test_a_question_and_its_answer_stay_above_the_line(at_screen):
    stage = at_screen()
    stage.agent.elicit(SCHEMA)
    stage.settle(AFTER_GUARD)
    said = stage.said()
    assert "? OpenCode asks:\n    Which colour?\n    Colour\n    Parts\n    Port\n" in said
    for keys in ("2", "\r", "l"):
        stage.press(keys)
        stage.settle(AFTER_GUARD)
    assert stage.said() == "  Answered Colour: Blue\n  Left out Parts\n  Left out Port\n"


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (PermissionOutcome("approved", answers={"q": ["Red"]}), "Answered: Red"),
        (PermissionOutcome("approved"), "Answered: Blue"),
        (PermissionOutcome("denied"), "Declined to answer"),
        (PermissionOutcome("canceled", reason="User aborted"), "Not answered: User aborted"),
    ],
)
def test_the_end_of_a_question_is_told_in_its_own_words(outcome, line):
    question = Question("q", "Which colour?", "choice", default=("Blue",))
    assert list(answered_lines([question], outcome)) == [line]


def test_the_field_of_an_answer_says_which_keys_send_it_and_lead_back(at_screen):
    stage = at_screen()
    stage.agent.elicit({"properties": {"name": {"title": "Name", "type": "string"}}})
    stage.settle(AFTER_GUARD)
    stage.press("w")
    assert stage.screen.label() == "Answer: "
    assert "Enter sends, Esc: back" in stage.shown_menu()
    assert "You are writing a prompt" not in stage.shown_menu()


def test_arguments_that_say_nothing_are_left_out_and_a_path_has_a_label():
    call = ToolCall("c", locations=(Location("/w/a", 3),))
    request = PermissionRequest(call, ())
    arguments = {"replace_all": False, "note": "", "edits": [], "more": None, "count": 0}
    assert list(request_lines(request, arguments)) == ["count: 0", "file: /w/a:3"]
