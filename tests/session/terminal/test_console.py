"""The chat in a terminal: what is typed, what is shown, what Ctrl+C does."""

import io

import pytest

from hapi.protocol.session import BY_INTERRUPT, COMPLETED
from hapi.session.agent.jsonrpc_peer import AgentError
from hapi.session.terminal.console import Terminal
from hapi.session.terminal.text import printable
from tests.support.session_stage import MemoryAgent


@pytest.fixture
def at_terminal(staged):
    """A session with a person at its terminal; `said()` is what was printed since the last look."""

    def make(interactive=True):
        stage = staged()
        out, err = io.StringIO(), io.StringIO()
        terminal = Terminal(stage.clock, out, err, interactive)
        terminal.attach(stage.session)
        stage.run()
        terminal.ready("http://hub")

        def said(stream=out):
            text = stream.getvalue()
            stream.truncate(0)
            stream.seek(0)
            return text

        stage.terminal, stage.said, stage.err = terminal, said, err
        return stage

    return make


def test_a_person_is_greeted_and_asked(at_terminal):
    said = at_terminal().said()
    assert "OpenCode in /w, also on the page at http://hub" in said
    assert said.endswith("\n> ")


def test_a_typed_line_is_a_prompt_here_and_on_the_page(at_terminal):
    stage = at_terminal()
    stage.said()
    stage.terminal.typed("list the files")
    assert stage.agent.prompts == ["list the files"]
    assert stage.link.contents[0] == {
        "role": "user",
        "content": {"type": "text", "text": "list the files"},
        "meta": {"sentFrom": "cli"},
    }
    stage.agent.say("There ")
    stage.agent.say("are two.\n")
    stage.agent.finish()
    assert stage.said() == "There are two.\n\n> "


def test_a_prompt_from_the_page_shows_in_the_terminal(at_terminal):
    stage = at_terminal()
    stage.said()
    stage.link.message("from afar")
    assert stage.said() == "[page] from afar\n"
    assert stage.agent.prompts == ["from afar"]


@pytest.mark.parametrize(("word", "option"), [("y", "once"), ("a", "always"), ("N", "no")])
def test_a_question_is_answered_with_a_letter(at_terminal, word, option):
    stage = at_terminal()
    stage.terminal.typed("go")
    answers = stage.agent.ask()
    assert "? OpenCode asks for permission: Shell: ls" in stage.said()
    stage.terminal.typed("hm")
    assert "Please answer" in stage.said()
    assert answers == []
    stage.terminal.typed(word)
    assert answers[0]["outcome"]["optionId"] == option


PLAN = [
    {"optionId": "auto", "kind": "allow_always", "name": "Yes, and use auto mode"},
    {"optionId": "default", "kind": "allow_once", "name": "Yes, manually approve edits"},
    {"optionId": "plan", "kind": "reject_once", "name": "No, keep planning"},
]


def ask_about_a_plan(stage):
    answers = []
    content = [{"type": "content", "content": {"type": "text", "text": "1. do it\n2. test it"}}]
    call = {"toolCallId": "p", "title": "Approve plan", "kind": "switch_mode", "content": content}
    params = {"sessionId": "agent-1", "toolCall": call, "options": PLAN}
    stage.agent.peer.call("session/request_permission", params).addCallback(answers.append)
    return answers


@pytest.mark.parametrize(("typed", "option"), [("1", "auto"), ("2", "default"), ("3", "plan")])
def test_options_that_differ_by_name_are_numbered(at_terminal, typed, option):
    stage = at_terminal()
    stage.terminal.typed("go")
    answers = ask_about_a_plan(stage)
    said = stage.said()
    assert "    1. do it\n    2. test it\n" in said
    assert "    2. Yes, manually approve edits\n" in said
    stage.terminal.typed("4")
    assert "Please answer 1-3 or n" in stage.said()
    stage.terminal.typed(typed)
    assert answers[0]["outcome"]["optionId"] == option
    assert f"({PLAN[int(typed) - 1]['name']}): Approve plan" in stage.said()


def test_no_with_words_denies_and_tells_the_agent(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("go")
    answers = stage.agent.ask()
    stage.terminal.typed("No, use `make clean`: it is safer")
    assert answers[0]["outcome"]["optionId"] == "no"
    stage.agent.finish()
    assert stage.agent.prompts == ["go", "use `make clean`: it is safer"]


@pytest.mark.parametrize("typed", ["nothing", "note", "5", "maybe"])
def test_other_words_answer_nothing(at_terminal, typed):
    stage = at_terminal()
    stage.terminal.typed("go")
    answers = stage.agent.ask()
    stage.terminal.typed(typed)
    assert answers == []
    assert "Please answer y (yes), a (always)" in stage.said()


def test_a_change_is_shown_as_a_diff(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("go")
    change = {"type": "diff", "path": "/w/a", "oldText": "1\n", "newText": "2\n"}
    call = {"toolCallId": "e", "title": "Edit a", "kind": "edit", "content": [change]}
    params = {"sessionId": "agent-1", "toolCall": call, "options": PLAN[1:]}
    stage.agent.peer.call("session/request_permission", params)
    said = stage.said()
    assert "    file_path: /w/a\n" in said
    assert "    -1\n    +2\n" in said
    assert "old_string" not in said


def test_a_question_that_was_answered_on_the_page_is_over_in_the_terminal(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("go")
    stage.agent.ask()
    stage.said()
    stage.link.rpc_call("permission", {"id": "c1", "approved": True})
    assert stage.said() == "  approved: Shell: ls\n"
    stage.agent.finish()
    stage.terminal.typed("y")
    assert stage.agent.prompts == ["go", "y"]


def test_tools_plans_and_failures_are_shown(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("go")
    stage.said()
    stage.agent.update("plan", entries=[{"content": "do it", "status": "in_progress"}])
    stage.agent.update("tool_call", toolCallId="c", title="cat", status="in_progress")
    stage.agent.update(
        "tool_call_update",
        toolCallId="c",
        status="completed",
        rawOutput="\n".join(map(str, range(20))),
    )
    stage.agent.fail("no more tokens")
    said = stage.said()
    assert said.startswith("  [~] do it\n[in progress] cat\n  | 0\n")
    assert "  | … 8 more lines\n* OpenCode prompt failed: no more tokens\n> " in said


def test_nothing_that_an_agent_says_steers_the_terminal__K03(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("go")
    stage.said()
    stage.agent.say("a\x1b[2Jb\tc\r\nd")
    assert stage.said() == "a\\x1b[2Jb\tc\\r\nd"
    assert printable("\x9b31m") == "\\x9b31m"


def test_the_first_interrupt_stops_the_turn_and_the_second_ends_the_session(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("long")
    ended = []
    stage.session.ended.when_fired().addCallback(ended.append)
    stage.terminal.interrupt()
    assert stage.agent.calls[-1][0] == "session/cancel"
    assert ended == []
    stage.terminal.interrupt()
    assert ended == [BY_INTERRUPT]


def test_an_interrupt_after_a_stopped_turn_stops_the_next_one(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("long")
    stage.terminal.interrupt()
    stage.agent.finish("cancelled")
    stage.terminal.typed("again")
    stage.terminal.interrupt()
    assert [name for name, _ in stage.agent.calls].count("session/cancel") == 2
    assert not stage.session.ended.has_fired


def test_an_interrupt_stops_what_the_agent_does_outside_a_turn(at_terminal):
    stage = at_terminal()
    stage.agent.say("still at it")
    stage.terminal.interrupt()
    assert stage.agent.calls[-1][0] == "session/cancel"
    assert not stage.session.ended.has_fired


def test_an_interrupt_between_turns_ends_the_session(at_terminal):
    stage = at_terminal()
    stage.terminal.interrupt()
    assert stage.link.metadata["archiveReason"] == "User terminated"


def test_the_end_of_input_during_a_turn_says_what_it_does(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("go")
    stage.said()
    stage.terminal.end_of_input()
    assert "The session ends after this turn. Press Ctrl+C to end it now." in stage.said()
    stage.agent.finish()


def test_the_end_of_input_completes_the_session_after_the_turn(at_terminal):
    stage = at_terminal()
    stage.terminal.typed("one")
    stage.terminal.end_of_input()
    assert not stage.session.ended.has_fired
    stage.agent.finish()
    assert stage.link.metadata["archiveReason"] == "Session completed"


def test_a_piped_prompt_prints_the_answer_alone(at_terminal):
    stage = at_terminal(interactive=False)
    stage.terminal.typed("what is\nthis")
    stage.terminal.end_of_input()
    stage.agent.update("agent_thought_chunk", content={"type": "text", "text": "hm"})
    stage.agent.say("It is a test.")
    stage.agent.finish()
    assert stage.agent.prompts == ["what is\nthis"]
    assert stage.said() == "It is a test.\n"
    assert "OpenCode in /w" in stage.said(stage.err)


def test_a_piped_prompt_that_is_too_long_fails_in_words(at_terminal):
    stage = at_terminal(interactive=False)
    stage.link.max_size = 500
    ended = []
    stage.session.ended.when_fired().addCallback(ended.append)
    stage.terminal.typed("word " * 100)
    stage.terminal.end_of_input()
    stage.clock.advance(5)
    assert "hapi: The prompt of 500 characters was not sent: message is too long" in (
        stage.err.getvalue()
    )
    assert [ending.exit_code for ending in ended] == [1]
    assert stage.agent.prompts == []


def test_a_typed_prompt_that_is_too_long_is_refused_and_the_next_one_taken(at_terminal):
    stage = at_terminal()
    stage.link.max_size = 500
    stage.terminal.typed("word " * 100)
    assert "was not sent" in stage.said()
    stage.terminal.typed("short")
    assert stage.agent.prompts == ["short"]


def test_what_is_typed_before_the_agent_is_there_waits_for_it(staged):
    stage = staged()
    terminal = Terminal(stage.clock, io.StringIO(), io.StringIO(), True)
    terminal.typed("early")
    terminal.attach(stage.session)
    terminal.typed("bird")
    stage.run()
    terminal.ready("http://hub")
    stage.agent.finish()
    assert stage.agent.prompts == ["early", "bird"]


def test_input_that_ends_before_the_agent_is_there_completes_the_session(staged):
    stage = staged()
    terminal = Terminal(stage.clock, io.StringIO(), io.StringIO(), False)
    terminal.attach(stage.session)
    terminal.end_of_input()
    stage.run()
    terminal.ready("http://hub")
    ended = []
    stage.session.ended.when_fired().addCallback(ended.append)
    assert ended == [COMPLETED]


def test_a_closed_terminal_ends_no_session(at_terminal):
    stage = at_terminal()
    stage.terminal._out.close()
    stage.terminal.typed("go")
    stage.agent.say("still here")
    stage.agent.finish()
    assert stage.link.records[-1] == {"type": "ready"}


# --- questions
SCHEMA = {
    "properties": {
        "colour": {"title": "Colour", "enum": ["Red", "Blue"]},
        "parts": {"title": "Parts", "type": "array", "items": {"enum": ["one", "two", "three"]}},
        "port": {"title": "Port", "type": "integer", "default": 80, "maximum": 99},
    },
    "required": ["colour"],
}


def test_questions_are_answered_one_after_the_other_by_number(at_terminal):
    stage = at_terminal()
    got = stage.agent.elicit(SCHEMA, message="Set up")
    said = stage.said()
    assert "? OpenCode asks:" in said
    assert "1. Red" in said
    stage.terminal.typed("3")
    assert "Please answer 1-2" in stage.said()
    stage.terminal.typed("2")
    assert "such as 1,3" in stage.said()
    stage.terminal.typed("1, 3")
    assert "Enter for 80" in stage.said()
    stage.terminal.typed("")
    assert got == [
        {
            "action": "accept",
            "content": {"colour": "Blue", "parts": ["one", "three"], "port": 80},
        }
    ]


def test_an_answer_that_does_not_fit_is_asked_for_again(at_terminal):
    stage = at_terminal()
    got = stage.agent.elicit(SCHEMA)
    for line in ("Red", "", "100"):
        stage.terminal.typed(line)
    assert "at most 99" in stage.said()
    for line in ("Red", "", "9"):
        stage.terminal.typed(line)
    assert got == [{"action": "accept", "content": {"colour": "Red", "port": 9}}]


def test_a_question_is_declined_by_d_and_what_is_typed_then_is_a_prompt(at_terminal):
    stage = at_terminal()
    got = stage.agent.elicit(SCHEMA)
    stage.terminal.typed("d")
    assert got == [{"action": "decline"}]
    stage.terminal.typed("hello")
    assert stage.agent.prompts == ["hello"]


def test_a_question_that_was_answered_on_the_page_takes_no_typed_lines(at_terminal):
    stage = at_terminal()
    stage.agent.elicit(SCHEMA)
    (request_id,) = stage.link.state["requests"]
    stage.link.rpc_call(
        "permission", {"id": request_id, "approved": True, "answers": {"colour": ["Red"]}}
    )
    stage.terminal.typed("hello")
    assert stage.agent.prompts == ["hello"]


def login_stage(staged, interactive):
    stage = staged()
    problem = AgentError(-32000, "Authentication required")
    stage.host.make = lambda: MemoryAgent(
        stage.clock, problem=problem if stage.host.starts == 1 else None
    )
    out = io.StringIO()
    terminal = Terminal(stage.clock, out, io.StringIO(), interactive)
    terminal.attach(stage.session)
    stage.run()
    stage.clock.advance(1)
    return stage, terminal, out


def test_a_login_is_told_with_its_command_and_tried_again(staged):
    stage, terminal, out = login_stage(staged, interactive=True)
    assert "Run `opencode auth login` in a terminal." in out.getvalue()
    terminal.typed("1")
    stage.clock.advance(1)
    assert stage.session.is_accepting_prompts


def test_a_piped_prompt_whose_agent_needs_a_login_fails(staged):
    stage, _, _ = login_stage(staged, interactive=False)
    stage.clock.advance(1)
    assert stage.session.ended.has_fired
    assert "opencode auth login" in stage.link.metadata["archiveReason"]
