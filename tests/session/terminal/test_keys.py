"""Keys on a screen: stopping, leaving, modes and models, completion, help."""

import pytest
from attrs import evolve
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.keys import Keys

from hapi.protocol.session import BY_INTERRUPT
from hapi.session.terminal.devices import joined
from hapi.session.terminal.editor import MAX_UNDO, MAX_UNDO_LENGTH, LineBuffer
from tests.support.screen_stage import BACKTAB, DOWN, UP, ScreenStage
from tests.support.session_stage import SID, MemoryAgent

CONTROL_C, CONTROL_D, ESCAPE, F2, F3 = "\x03", "\x04", "\x1b", "\x1bOQ", "\x1bOR"
OFFER = {
    "modes": {
        "currentModeId": "default",
        "availableModes": [
            {"id": "default", "name": "Default"},
            {"id": "plan", "name": "Plan"},
            {"id": "bypassPermissions", "name": "Bypass"},
        ],
    },
    "models": {
        "currentModelId": "swift",
        "availableModels": [
            {"modelId": "swift", "name": "Swift"},
            {"modelId": "thorough", "name": "Thorough", "description": "Takes\x1b time"},
        ],
    },
}


@pytest.fixture
def at_screen(staged):
    stages = []

    def make():
        stage = staged(agent_name="claude")
        stage.host.make = lambda: evolve(MemoryAgent(stage.clock), modes=OFFER)
        stages.append(ScreenStage(stage).up())
        stages[-1].said()
        return stages[-1]

    yield make
    for stage in stages:
        stage.leave()


def cancels(stage):
    return [name for name, _ in stage.agent.calls].count("session/cancel")


def has_ended(stage):
    return stage.stage.session.ended.has_fired


def test_control_c_clears_the_line_and_up_brings_it_back(at_screen):
    stage = at_screen()
    stage.press("go", "\r", "half", CONTROL_C)
    assert (stage.draft, cancels(stage)) == ("", 0)
    stage.press(UP)
    assert stage.draft == "half"


def test_control_c_in_an_empty_line_stops_the_turn_and_again_ends_the_session(at_screen):
    stage = at_screen()
    ended = []
    stage.stage.session.ended.when_fired().addCallback(ended.append)
    stage.press("go", "\r", CONTROL_C)
    assert (cancels(stage), ended) == (1, [])
    assert "stopping" in stage.status()
    stage.press(CONTROL_C)
    assert ended == [BY_INTERRUPT]


def test_control_c_between_turns_ends_the_session_the_second_time(at_screen):
    stage = at_screen()
    stage.press(CONTROL_C)
    assert "Ctrl+C again ends the session" in stage.status()
    stage.settle(2.1)
    assert "Ctrl+C" not in stage.status()
    stage.press(CONTROL_C)
    assert not has_ended(stage)
    stage.press(CONTROL_C)
    assert has_ended(stage)


def test_escape_stops_the_turn_and_keeps_the_line(at_screen):
    stage = at_screen()
    stage.press("go", "\r", "half", ESCAPE)
    stage.settle(1)
    assert (stage.draft, cancels(stage)) == ("half", 1)
    stage.press(ESCAPE)
    stage.settle(1)
    assert not has_ended(stage)


def test_control_d_ends_the_session_from_an_empty_line_alone(at_screen):
    stage = at_screen()
    stage.press("x", CONTROL_D)
    assert not has_ended(stage)
    stage.press(CONTROL_C, CONTROL_D)
    assert has_ended(stage)


def test_shift_tab_goes_through_the_modes_in_which_the_agent_asks(at_screen):
    stage = at_screen()
    seen = []
    for _ in range(2):
        stage.press(BACKTAB)
        seen.append(stage.stage.session.settings.mode)
    assert seen == ["plan", "default"]
    assert stage.status().startswith("default")


def test_all_modes_are_in_a_list(at_screen):
    stage = at_screen()
    stage.press(F3)
    (line,) = (line for line in stage.shown_menu().splitlines() if "Bypass" in line)
    stage.press(line.split(".")[0].strip("> "))
    assert stage.stage.session.settings.mode == "bypassPermissions"


def test_the_model_is_chosen_from_a_list_without_control_characters(at_screen):
    stage, chosen = at_screen(), []
    stage.agent.peer.handlers["session/set_model"] = lambda params: (
        chosen.append(params["modelId"]) or {}
    )
    stage.press(F2)
    assert "Takes\\x1b time" in stage.shown_menu()
    stage.press(DOWN, "\r")
    assert chosen == ["thorough"]


def test_a_list_is_left_by_escape_and_requests_come_afterwards(at_screen):
    stage = at_screen()
    stage.press("go", "\r", F2)
    stage.agent.ask()
    stage.settle(1)
    assert "Model" in stage.shown_menu()
    stage.press(ESCAPE)
    stage.settle(1)
    assert "Shell: ls" in stage.shown_menu()


def test_a_question_mark_in_an_empty_line_shows_the_keys(at_screen):
    stage = at_screen()
    stage.press("?")
    assert "Shift+Tab changes the permission mode" in stage.said()
    assert "Ctrl+O" not in stage.said()
    stage.press("why", "?")
    assert stage.draft == "why?"


def test_the_agents_commands_are_completed(at_screen):
    stage = at_screen()
    commands = [{"name": "review", "description": "Look"}, {"name": "rest", "description": "Stop"}]
    stage.agent.update("available_commands_update", availableCommands=commands)
    stage.press("/re")
    stage.settle(1)
    stage.press(DOWN, "\r")
    assert stage.draft == "/review "
    stage.press("x", "\r")
    assert stage.agent.prompts == ["/review x"]


def test_what_is_said_here_and_there_while_the_terminal_is_lent_keeps_the_line(at_screen):
    stage = at_screen()
    stage.press("half")
    stage.screen.release()
    stage.settle()
    stage.screen.resume("typed there")
    stage.settle()
    assert stage.draft == "half\ntyped there"


def test_a_prompt_that_begins_with_a_space_is_sent(at_screen):
    stage = at_screen()
    stage.press(" secret", "\r")
    assert stage.agent.prompts == [" secret"]


def test_a_change_is_shown_once_as_a_diff(at_screen):
    stage = at_screen()
    stage.press("go", "\r")
    stage.said()
    change = {"type": "diff", "path": "/w/a", "oldText": "1\n", "newText": "2\n"}
    stage.agent.update(
        "tool_call", toolCallId="e", title="Edit a", kind="edit", status="in_progress"
    )
    for _ in range(2):
        stage.agent.update("tool_call_update", toolCallId="e", status="completed", content=[change])
    said = stage.said()
    assert said.count("    -1\n    +2\n") == said.count("+2\n") == 1
    assert said.count("● Edit a\n") == 1


def test_the_context_is_told(at_screen):
    stage = at_screen()
    stage.agent.update("usage_update", used=50_000, size=200_000)
    stage.settle()
    assert "context 25 % of 200k" in stage.status()


def test_it_is_told_whether_a_page_shows_the_session(at_screen):
    stage = at_screen()
    assert "watched" not in stage.status()
    stage.link.deliver("session-live", {"sid": SID, "watched": True})
    assert "watched on the page" in stage.status()


# --- much text
def test_many_characters_in_one_read_are_one_insertion_and_ends_of_lines_stay_keys():
    keys = []
    Vt100Parser(keys.append).feed("ab\r" + "x" * 4000 + "\r" + "é y\x1b[A")
    found = [(key.key, key.data) for key in joined(keys)]
    assert found == [
        ("a", "a"),
        ("b", "b"),
        (Keys.ControlM, "\r"),
        (Keys.BracketedPaste, "x" * 4000),
        (Keys.ControlM, "\r"),
        ("é", "é"),
        (" ", " "),
        ("y", "y"),
        (Keys.Up, "\x1b[A"),
    ]


def test_the_memory_of_earlier_texts_is_bounded():
    line = LineBuffer()
    for _ in range(3 * MAX_UNDO):
        line.insert_text("x" * 20_000, fire_event=False)
        line.save_to_undo_stack()
    assert sum(len(text) for text, _ in line._undo_stack) <= max(MAX_UNDO_LENGTH, len(line.text))
    line.reset()
    for number in range(2 * MAX_UNDO):
        line.insert_text(str(number % 10), fire_event=False)
        line.save_to_undo_stack()
    assert len(line._undo_stack) == MAX_UNDO
    line.undo()
    assert len(line.text) == 2 * MAX_UNDO - 1
