"""`hapi AGENT` in a real terminal, key by key: a hub of ours, the demo agent, tmux."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from attrs import define, field

from tests.support.paths import SUPPORT
from tests.support.peers import OUR_HAPI, OURS, Cast, User
from tests.support.programs import CANARY, until
from tests.support.tmux import Pane, Terminal

COLOUR = re.compile(r"\x1b\[[\d;]*\b(3[0-8]|4[0-8]|9\d)[;m]")  # of a text; 39 is the usual one
pytestmark = [pytest.mark.program, pytest.mark.peer("tmux")]


@define(eq=False)
class Desk:
    """A hub, and terminals in which sessions run."""

    cast: Cast
    user: User = field(init=False)
    terminal: Terminal = field(init=False)

    def __attrs_post_init__(self) -> None:
        _, self.user = self.cast.hub(OURS)
        self.terminal = Terminal(self.cast)

    def open(self, agent: str = "demo", columns: int = 90, rows: int = 30, **more: str) -> Pane:
        """A session that is ready."""
        settings = self.cast.settings(self.user, self.cast.home(OURS, "session"), "")
        project = self.cast.directory("project")
        argv = [*OUR_HAPI, agent]
        pane = self.terminal.open(argv, {**settings, **more}, project, columns, rows)
        pane.wait("Type a prompt.")
        return pane

    def prompts(self, text: str) -> list[str]:
        """The prompts of the session in which `text` was sent."""
        for row in self.user.sessions():
            contents = [each["content"] for each in self.user.messages(row["id"])]
            found = [each["content"]["text"] for each in contents if each.get("role") == "user"]
            if text in found:
                return found
        return []


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    cast = Cast(tmp_path_factory.mktemp("desk"), token=CANARY)
    try:
        yield Desk(cast)
    finally:
        cast.end()


@pytest.fixture(scope="module")
def pane(desk: Desk) -> Pane:
    """One session of the demo agent for many facts; each test leaves its line empty."""
    return desk.open()


def is_idle(screen: str) -> bool:
    lines = screen.splitlines()
    return len(lines) > 1 and "? help" in lines[-1] and "working" not in lines[-1]


def test_a_paste_of_three_lines_is_one_prompt_and_arrow_up_brings_it_back(desk, pane):
    pane.paste("which mode?\nsecond line\nthird line")
    pane.wait("third line")
    pane.keys("Enter")
    pane.wait("I am in the mode default, with the model swift.")
    assert "> which mode?\n  second line\n  third line\n" in pane.screen()
    assert desk.prompts("which mode?\nsecond line\nthird line") == [
        "which mode?\nsecond line\nthird line"
    ]
    pane.keys("Up")
    pane.wait(lambda screen: screen.count("> which mode?") == 2)
    pane.keys("C-c")
    pane.wait(lambda screen: screen.count("> which mode?") == 1)


def test_commands_and_files_are_completed(desk, pane):
    (desk.cast.directory("project") / "notes-of-today.md").write_text("x")
    pane.type("/to")
    pane.wait("Show a thought, a plan, a permission request and a command")
    pane.keys("Tab")
    pane.wait(lambda screen: pane.line == "> /tour")
    pane.keys("C-c")
    pane.type("read @today")
    pane.wait("  @notes-of-today.md")
    pane.keys("Tab")
    pane.wait(lambda screen: pane.line == "> read @notes-of-today.md")
    pane.keys("C-c")
    pane.wait(lambda screen: pane.line == ">")


def test_output_stands_above_a_half_typed_prompt_and_escape_stops_the_turn(pane):
    pane.type("count to 500")
    pane.keys("Enter")
    pane.wait("working")
    pane.type("half a tho")
    pane.wait(lambda screen: "40" in screen and pane.line == "> half a tho")
    pane.keys("Escape")
    pane.wait("The turn was stopped")
    assert pane.wait(is_idle).splitlines()[-2] == "> half a tho"
    pane.keys("C-c")
    pane.wait(lambda screen: pane.line == ">")


def test_a_permission_is_answered_with_the_arrows(pane):
    pane.type("run: echo one")
    pane.keys("Enter")
    pane.wait("> 1. Allow")
    pane.keys("Down", "Down")
    pane.wait("> 3. Reject")
    pane.keys("Up")
    pane.wait("> 2. Always allow echo")
    pane.keys("Up", "Enter")
    pane.wait("| one")
    pane.wait(is_idle)


def test_a_permission_is_denied_with_a_reason(desk, pane):
    pane.type("run: echo two")
    pane.keys("Enter")
    pane.wait("> 1. Allow")
    pane.keys("r")
    pane.wait("Tell it what to do instead:")
    pane.type("say three instead")
    pane.keys("Enter")
    pane.wait(lambda screen: "Then I leave" in screen)
    pane.wait("You said: ")
    assert "say three instead" in desk.prompts("run: echo two")


def test_a_key_typed_ahead_answers_nothing_and_is_not_lost(pane):
    pane.keys("run: echo four", "Enter", "y")  # in one go, however slow the machine is
    pane.wait("Tab: answer")
    assert pane.line == "> y"
    assert "| four" not in pane.screen()
    pane.keys("Tab")
    pane.wait("> 1. Allow")
    pane.keys("y")
    pane.wait("| four")
    assert pane.wait(is_idle).splitlines()[-2] == "> y"
    pane.keys("C-c")
    pane.wait(lambda screen: pane.line == ">")


def test_the_mode_is_changed_with_shift_and_tab_and_the_model_from_a_list(desk, pane):
    pane.wait("default mode · swift")
    pane.keys("BTab")
    pane.wait("plan · swift")
    (row,) = (row for row in desk.user.sessions() if row["active"])
    until(lambda: desk.user.session(row["id"])["permissionMode"] == "plan")
    pane.keys("F2")
    pane.wait("> 1. swift")
    pane.keys("Down", "Enter")
    pane.wait("plan · thorough")


def test_a_narrow_terminal_shows_the_line_and_the_menu(pane):
    pane.keys("BTab")
    pane.wait("acceptEdits")
    pane.resize(30, 20)
    pane.type("run: echo a-rather-long-word and more")
    pane.keys("Enter")
    pane.wait("> 1. Allow")
    pane.keys("Enter")
    pane.wait("| a-rather-long-word")
    pane.wait(lambda screen: pane.line == ">" and "working" not in screen)
    pane.resize(90, 30)
    pane.type("wide again")
    pane.wait(lambda screen: pane.line == "> wide again")
    pane.keys("C-c")
    pane.wait(lambda screen: pane.line == ">")


def test_control_c_twice_and_control_d_leave_a_terminal_as_it_was(desk, pane):
    """The history of a directory is that of all its sessions, with what Ctrl+C cleared."""
    other = desk.open(NO_COLOR="1", LC_ALL="C", TERM="xterm-256color")
    other.keys("Up")
    other.wait(lambda screen: other.line == "> wide again")
    other.keys("C-c")
    other.type("which mode?")
    other.keys("Enter")
    other.wait("I am in the mode default")
    other.wait(is_idle)
    assert COLOUR.search(pane.screen("-e"))
    assert not COLOUR.search(other.screen("-e"))
    other.keys("C-c", "C-c")  # within two seconds
    assert other.ending() == "exit code 0"
    pane.keys("C-d")
    assert pane.ending() == "exit code 0"


def test_a_question_is_a_menu(desk):
    agent = desk.cast.directory("bin") / "asking-agent"
    agent.write_text(f'#!/bin/sh\nexec {sys.executable} {SUPPORT / "login_agent.py"} "$@"\n')
    agent.chmod(0o755)
    login = desk.cast.directory("login") / "done"
    login.touch()
    pane = desk.open("dsh", HAPI_DSH_ACP_COMMAND=str(agent), LOGIN=str(login))
    pane.type("hello")
    pane.keys("Enter")
    pane.wait("> 1. Red")
    pane.keys("Down")
    pane.wait("> 2. Blue")
    pane.keys("Enter")
    pane.wait('got {"action": "accept", "content": {"colour": "Blue"}}')
    pane.keys("C-d")
    assert pane.ending() == "exit code 0"
