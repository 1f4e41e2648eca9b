"""A session on a screen: keys, what is drawn, and the terminal lent to another program."""

import pytest

from hapi.protocol.session import BY_INTERRUPT, BY_USER, COMPLETED, HANDED_OFF, launch_failed
from hapi.session.terminal.text import goodbye
from tests.support.screen_stage import UP, ScreenStage


@pytest.fixture
def at_screen(staged):
    stages = []

    def make():
        stages.append(ScreenStage(staged()).up())
        return stages[-1]

    yield make
    for stage in stages:
        stage.leave()


def test_a_person_is_greeted_above_the_line(at_screen):
    assert "OpenCode in /w, also on the page at http://hub" in at_screen().said()


def test_what_was_said_before_stands_above_each_answer_by_itself(at_screen):
    stage = at_screen()
    stage.said()
    stage.screen.show_earlier([("user", "hello"), ("agent", "One."), ("agent", "Two.")])
    assert stage.said().split() == [">", "hello", "One.", "Two."]


def test_enter_sends_the_line_and_shows_it_above(at_screen):
    stage = at_screen()
    stage.said()
    stage.press("list the files", "\r")
    assert stage.agent.prompts == ["list the files"]
    assert stage.said() == "> list the files\n"
    assert stage.draft == ""


def test_arrow_up_brings_the_last_prompt_back(at_screen):
    stage = at_screen()
    stage.press("first", "\r", UP)
    assert stage.draft == "first"
    assert stage.agent.prompts == ["first"]


def test_three_pasted_lines_are_one_prompt(at_screen):
    stage = at_screen()
    stage.press("\x1b[200~one\rtwo\nthree\x1b[201~")
    assert stage.agent.prompts == []
    stage.press("\r")
    assert stage.agent.prompts == ["one\ntwo\nthree"]


@pytest.mark.parametrize("key", ["\x1b\r", "\n", "\\\r"], ids=["Alt+Enter", "Ctrl+J", "backslash"])
def test_a_prompt_of_several_lines_can_be_typed(at_screen, key):
    stage = at_screen()
    stage.press("one", key, "two", "\r")
    assert stage.agent.prompts == ["one\ntwo"]


def test_what_the_agent_says_never_mixes_with_what_is_typed(at_screen):
    stage = at_screen()
    stage.press("go", "\r")
    stage.said()
    stage.press("half a th")
    stage.agent.say("Hello\n\nwor")
    assert stage.said() == "Hello\n"
    assert stage.screen.live() == [("", "wor")]
    stage.agent.say("ld")
    stage.agent.finish()
    assert stage.said() == "\nworld\n"
    assert stage.draft == "half a th"


def test_nothing_that_an_agent_says_steers_the_terminal(at_screen):
    stage = at_screen()
    stage.press("go", "\r")
    stage.said()
    stage.agent.say("a\x1b[2Jb\n")
    assert stage.screen.live() == [("", "a\\x1b[2Jb")]
    stage.agent.finish()
    assert stage.said() == "a\\x1b[2Jb\n"


def test_a_released_terminal_shows_nothing_until_it_is_resumed(at_screen):
    stage = at_screen()
    stage.said()
    released = []
    stage.screen.release().addCallback(released.append)
    assert not released
    stage.settle()
    assert released == [None]
    stage.link.message("from afar")
    assert stage.said() == ""
    stage.screen.resume("half a th")
    assert stage.said() == "[page] > from afar\n"
    stage.press("ought", "\r")
    assert stage.agent.prompts[-1:] == ["from afar"]
    stage.agent.finish()
    assert stage.agent.prompts[-1] == "half a thought"


def test_control_o_asks_for_the_agents_own_program(at_screen):
    stage = at_screen()
    stage.press("\x0f")  # no program: nothing happens
    asked = []
    stage.screen.on_local_wanted = lambda: asked.append(True)
    stage.press("\x0f")
    assert asked == [True]


# --- tools
def run_tool(stage, *updates):
    """What is shown of a call that is told in these pieces."""
    stage.press("go", "\r")
    stage.said()
    stage.agent.update("tool_call", toolCallId="t", **updates[0])
    for update in updates[1:]:
        stage.agent.update("tool_call_update", toolCallId="t", **update)
    return stage.said()


DIFF = {"type": "diff", "path": "/w/a.txt", "oldText": "1\n", "newText": "2\n"}


@pytest.mark.parametrize(
    ("updates", "line"),
    [
        (
            [
                {"title": "Preparing file…", "status": "pending", "rawInput": {}},
                {"title": "Write a.txt", "rawInput": {"file_path": "/w/a.txt"}},
            ],
            "● Write a.txt\n",
        ),
        (
            [
                {"title": "bash", "status": "pending", "rawInput": {}},
                {"status": "in_progress", "rawInput": {"command": "ls -l\nrm x"}},
                {"title": "Lists", "status": "in_progress"},
            ],
            "● bash: ls -l…\n",
        ),
        ([{"title": "Read File", "locations": [{"path": "/w/a.txt"}]}], "● Read File: /w/a.txt\n"),
        ([{"title": "Think", "status": "pending"}], ""),
    ],
)
def test_a_tool_call_is_shown_once_when_it_says_what_it_does(at_screen, updates, line):
    stage = at_screen()
    assert run_tool(stage, *updates) == line
    ended = {"toolCallId": "t", "status": "completed", "rawOutput": "done"}
    stage.agent.update("tool_call_update", **ended)
    assert stage.said() == ("" if line else "● Think\n") + "  | done\n"


def test_an_edit_that_is_not_asked_about_shows_its_change_after_its_line_once(at_screen):
    said = run_tool(
        at_screen(),
        {"title": "Edit", "status": "pending", "rawInput": {}},
        {"title": "Edit a.txt", "rawInput": {"file_path": "/w/a.txt"}, "content": [DIFF]},
        {"status": "completed"},
    )
    assert said.startswith("● Edit a.txt\n    --- /w/a.txt\n")
    assert said.count("    +2\n") == 1


# --- the end
@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (COMPLETED, "The session has ended. `hapi resume s1` goes on with it."),
        (BY_USER, "The session was archived. `hapi resume s1` goes on with it."),
        (BY_INTERRUPT, "The session was ended. `hapi resume s1` goes on with it."),
        (
            HANDED_OFF,
            (
                "The session goes on in another terminal: it was taken over. "
                "`hapi resume s1` gets it back."
            ),
        ),
        (
            launch_failed("no"),
            (
                "The session ended with an error: Local launch failed: no. "
                "`hapi resume s1` goes on with it."
            ),
        ),
    ],
)
def test_the_last_words_say_how_the_session_ended_and_how_to_go_on(ending, words):
    assert goodbye(ending, "s1") == words


@pytest.mark.parametrize("is_local", [False, True])
def test_the_end_is_told_on_the_screen_also_after_local_mode(at_screen, is_local):
    stage = at_screen()
    stage.said()
    if is_local:
        stage.screen.release()
        stage.settle()
    stage.stage.session.begin_end(COMPLETED)
    stage.settle(5)
    said = " ".join(stage.said().split())
    assert said.startswith("The session has ended. `hapi resume ")
    assert said.endswith("` goes on with it.")


def test_a_stopped_turn_is_not_told_as_the_end_of_the_session(at_screen):
    stage = at_screen()
    stage.press("go", "\r", "\x03")
    stage.agent.finish("cancelled")
    assert "* The turn was stopped\n" in stage.said()
    assert any(record.get("message") == "Session aborted" for record in stage.link.records) or (
        "Session aborted" in str(stage.link.contents)
    )


# --- words
def test_lines_are_broken_at_spaces(at_screen):
    stage = at_screen()
    stage.press("go", "\r")
    stage.said()
    stage.agent.say("word " * 30)
    assert {len(line) for line in stage.screen.live()[0][1].split("\n")} == {79, 69}
    stage.agent.finish()
    stage.said()
    stage.press("?")
    assert all(len(line) <= 80 for line in stage.said().splitlines())


def test_a_thought_is_marked_where_there_are_no_colours(at_screen):
    stage = at_screen()
    stage.press("go", "\r")
    stage.said()
    stage.agent.update("agent_thought_chunk", content={"type": "text", "text": "hm"})
    assert stage.screen.live() == [("class:thought", "(thinking) hm")]
    stage.agent.finish()
    assert stage.said() == "(thinking) hm\n"
