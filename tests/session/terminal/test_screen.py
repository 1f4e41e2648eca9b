"""A session on a screen: keys, what is drawn, and the terminal lent to another program."""

import pytest

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
