"""`hapi resume`: what is listed, what is refused, and what the process becomes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from click.testing import CliRunner
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from twisted.internet.defer import Deferred

from hapi.cli.app import hapi
from hapi.cli.commands import resume
from hapi.cli.commands.resume import in_order, may_bring_prompts, session_words
from hapi.cli.commands.resume_picker import Choice, Lines, age, choose, choose_by_number, line
from hapi.cli.commands.resume_states import LEGEND, read_states
from hapi.cli.commands.sessions.ask import ask_hub
from hapi.client import ResumableSession, ResumeTarget
from hapi.home import Home
from hapi.settings import machine_id
from tests.support.hub_stage import TOKEN, Stage, result_of

HUB = "http://127.0.0.1:3006"


def entry(number: int, **more: Any) -> ResumableSession:
    given = {"flavor": "claude", "directory": "/work", "updated_at": number * 1000, **more}
    return ResumableSession(session_id=f"s{number}", **given)


def resumable(session_id: str, **more: Any) -> ResumableSession:
    return ResumableSession(session_id=session_id, flavor="demo", directory="/", **more)


class Terminal:
    """A machine with a session at a hub in memory; `became` is what the process became."""

    def __init__(self, monkeypatch: Any, tmp_path: Any) -> None:
        self.stage = Stage()
        monkeypatch.setenv("HAPI_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HAPI_API_URL", HUB)
        monkeypatch.setenv("CLI_API_TOKEN", TOKEN)
        (tmp_path / "home").mkdir(mode=0o700)
        self.machine = machine_id(Home.find())
        self.directory = tmp_path / "project"
        self.directory.mkdir()
        self.peer: Any = None
        self.became: list[list[str]] = []
        monkeypatch.setattr("hapi.cli.commands.sessions.ask.run_once", self._run_once)
        monkeypatch.setattr("hapi.client.transport.make_http", lambda *_: self.stage.stub)
        monkeypatch.setattr(resume.os, "execv", self._execv)
        monkeypatch.chdir(tmp_path)

    def _execv(self, program: str, argv: list[str]) -> None:
        assert argv[:4] == [sys.executable, "-P", "-m", "hapi"]
        self.became.append(argv[4:])
        raise SystemExit(0)

    def _run_once(self, ask: Any, seconds: float) -> Any:
        running = Deferred.fromCoroutine(ask(self.stage.clock))
        for _ in range(60):
            self.stage.stub.flush()
            if self.peer is not None and self.peer.calls:
                self.peer.answer('{"ok":true}')
                self.peer.send("session-end", {"sid": self.id, "time": self.stage.now()})
                self.peer.drop()
                self.peer = None
            self.stage.clock.advance(0.1)
        return result_of(running)

    def session(self, live: bool = False, thinking: bool = False, **metadata: Any) -> str:
        given = {
            "path": str(self.directory),
            "flavor": "demo",
            "demoSessionId": "d1",
            "machineId": self.machine,
            **metadata,
        }
        if not live:
            self.id = self.stage.session(**given)
            return self.id
        self.id, self.peer = self.stage.live(**given)
        self.peer.serve(self.id, "handoff-local", "killSession")
        self.stage.alive(self.peer, self.id, thinking=thinking, model="swift")
        return self.id

    def run(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(hapi, ["resume", *words])
        assert done.exit_code == code, done
        return done.stderr.strip()


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    return Terminal(monkeypatch, tmp_path)


def test_an_ended_session_is_taken_over(terminal):
    session_id = terminal.session()
    terminal.run(session_id[:8])
    assert terminal.became == [["demo", "--existing-session-id", session_id, "--resume=d1"]]


def test_a_session_that_runs_is_handed_off_first(terminal):
    session_id = terminal.session(live=True)
    terminal.run(session_id, "--remote", "--", "--verbose", "x")
    assert terminal.peer is None
    [became] = terminal.became
    assert became[1:5] == ["--existing-session-id", session_id, "--resume=d1", "--model=swift"]
    assert became[-4:] == ["--remote", "--", "--verbose", "x"]


def test_a_running_turn_is_not_stopped_without_asking(terminal):
    session_id = terminal.session(live=True, thinking=True)
    assert "a turn is running" in terminal.run(session_id, code=1)
    assert terminal.peer is not None
    terminal.run(session_id, "--force")
    assert len(terminal.became) == 1


@pytest.mark.parametrize(
    ("state", "program", "is_refused"),
    [("running", "hapi", True), ("archived", "hapi", False), ("running", "other", False)],
)
def test_a_process_that_has_lost_the_hub_is_not_doubled(terminal, state, program, is_refused):
    code = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        session_id = terminal.session(lifecycleState=state, hostPid=process.pid)
        told = terminal.run(session_id, code=int(is_refused))
        process.stdin.close()
    assert ("has no connection to the hub" in told) is is_refused
    assert len(terminal.became) == (not is_refused)


def test_a_session_without_an_agents_conversation_begins_anew_and_says_so(terminal):
    session_id = terminal.session(demoSessionId=None)
    assert "it begins anew" in terminal.run(session_id)
    assert terminal.became == [["demo", "--existing-session-id", session_id]]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"machineId": "m2", "host": "server"}, "the session belongs to the machine server"),
        ({"path": "/nowhere"}, "the directory /nowhere of the session no longer exists"),
        ({"flavor": "stakpak", "stakpakSessionId": "x"}, "is not installed"),
        ({"flavor": "other", "otherSessionId": "x"}, "there is no agent named other here"),
    ],
)
def test_a_session_that_cannot_go_on_here_is_refused(terminal, metadata, reason):
    assert reason in terminal.run(terminal.session(**metadata), code=1)
    assert terminal.became == []


def test_outside_of_a_terminal_an_id_is_needed(terminal):
    assert "`hapi sessions list` shows them" in terminal.run(code=2)


def test_a_session_is_not_taken_where_no_prompt_can_come(terminal, monkeypatch):
    session_id = terminal.session(live=True)
    monkeypatch.setattr(resume, "may_bring_prompts", lambda stdin: False)
    assert "`hapi sessions send` sends one" in terminal.run(session_id, code=2)
    assert (terminal.became, terminal.peer is None) == ([], False)


@pytest.mark.parametrize(("text", "expected"), [("", False), ("go on", True)])
def test_a_file_brings_prompts_unless_it_is_empty(tmp_path, text, expected):
    file = tmp_path / "prompts"
    file.write_text(text)
    with file.open() as stdin:
        assert may_bring_prompts(stdin) is expected
        assert stdin.read() == text


@pytest.mark.parametrize(
    ("written", "is_closed", "expected"),
    [(b"", True, False), (b"go on", True, True), (b"go on", False, True), (b"", False, True)],
)
def test_a_pipe_brings_prompts_unless_it_has_ended_without_one(written, is_closed, expected):
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb") as stdin, os.fdopen(writes, "wb") as writer:
        writer.write(written)
        writer.flush()
        if is_closed:
            writer.close()
        assert may_bring_prompts(stdin) is expected


def test_a_terminal_brings_prompts_and_nothing_brings_none():
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "rb") as stdin:
        assert may_bring_prompts(stdin)
    with open(os.devnull) as nothing:
        assert not may_bring_prompts(nothing)
    assert not may_bring_prompts(None)


def test_both_ways_to_begin_exclude_each_other(terminal):
    assert "exclude each other" in terminal.run("x", "--local", "--remote", code=2)


def test_this_directory_comes_first_and_then_the_newest():
    listed = [entry(3), entry(2, directory="/here"), entry(4), entry(1, directory="/here")]
    assert [each.session_id for each in in_order(listed, "/here")] == ["s2", "s1", "s4", "s3"]


def test_values_that_begin_with_a_dash_stay_values():
    target = ResumeTarget(
        session_id="s",
        flavor="claude",
        directory="/",
        agent_session_id="-x",
        model={"provider": "p"},
        effort="high",
        permission_mode="plan",
    )
    assert session_words(target)[3:] == ["--resume=-x", "--effort=high", "--permission-mode=plan"]


def test_a_line_names_the_place_and_hides_control_characters():
    listed = entry(1, summary="Red \x1b[31m", first_user_message="why?")
    shown = line(listed, "/here", 61.0, "archived")
    assert shown == "  1m  claude    archived  Red \\x1b[31m  [/work] | why?"


def test_the_titles_stand_below_each_other_whatever_the_states():
    entries = [entry(1, name="one"), entry(2, name="two", active=True)]
    lines = Lines(entries, "/work", {"s1": "waiting, under the runner"})
    assert [lines.line(each, 2.0) for each in entries] == [
        " now  claude    waiting, under the runner  one",
        " now  claude    idle                       two",
    ]


@pytest.mark.parametrize(
    ("state", "controlled", "expected"),
    [
        ({}, False, "idle"),
        ({"startedBy": "terminal"}, False, "idle, in another terminal"),
        ({"startedBy": "runner"}, False, "idle, under the runner"),
        ({"startedBy": "terminal"}, True, "idle, in its own program"),
    ],
)
def test_a_session_that_runs_is_listed_with_the_place_where_it_does(
    terminal, state, controlled, expected
):
    session_id = terminal.session(live=True, **state)
    listed = [resumable(session_id, active=True, controlled_by_user=controlled)]
    assert ask_hub(lambda client: read_states(client, listed)) == {session_id: expected}


def test_the_states_are_the_words_of_the_list_of_sessions(terminal):
    ended = terminal.session()
    archived = terminal.stage.session(tag="2", lifecycleState="archived")
    live, peer = terminal.stage.live(tag="3")
    request = {"tool": "Bash", "arguments": {}, "createdAt": 1}
    change = {"sid": live, "expectedVersion": 1, "agentState": {"requests": {"r1": request}}}
    peer.ask("update-state", change)
    listed = [
        *(resumable(each) for each in (ended, archived, "gone")),
        resumable(live, active=True),
    ]
    states = ask_hub(lambda client: read_states(client, listed))
    assert list(states.values()) == ["inactive", "archived", "inactive", "waiting"]


def test_an_age_is_short():
    now = time.time()
    ages = [age(int((now - seconds) * 1000), now) for seconds in (0, 90, 7300, 3 * 86400, -50)]
    assert ages == ["now", "1m", "2h", "3d", "now"]


def test_a_search_finds_all_words_anywhere():
    entries = [entry(1, name="Fix the shop"), entry(2, summary="Shop", first_user_message="slow")]
    choice = Choice(entries)
    choice.search("shop SLOW")
    assert choice.chosen == entries[1]
    choice.search("s1")
    assert choice.found == [entries[0]]
    choice.search("nothing")
    assert choice.chosen is None


def test_a_long_list_shows_the_part_around_the_chosen():
    choice = Choice([entry(number) for number in range(50)])
    assert choice.window(10) == range(10)
    choice.move(30)
    assert 30 in choice.window(10)
    choice.move(1000)
    assert choice.window(10) == range(40, 50)


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ("\r", "s0"),
        ("\x1b[B\x1b[B\r", "s2"),
        ("\x1b[6~\x1b[A\r", "s9"),
        ("third\r", "s3"),
        ("nothing\r\x15\r", "s0"),
        ("\x1b", None),
        ("\x03", None),
    ],
)
def test_a_session_is_chosen_with_keys(keys, chosen):
    entries = [entry(number, name="third" if number == 3 else None) for number in range(20)]
    with create_pipe_input() as typed:
        typed.send_text(keys)
        found = choose(entries, "", {}, input=typed, output=DummyOutput())
    assert (found and found.session_id) == chosen


def test_a_choice_leaves_a_reactor_of_the_process_its_signals():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno())
    try:
        with create_pipe_input() as typed:
            typed.send_text("\r")
            choose([entry(0)], "", {}, input=typed, output=DummyOutput())
    finally:
        left = signal.set_wakeup_fd(before)
    assert left == theirs.fileno()
    ours.close()
    theirs.close()


def test_a_terminal_without_a_cursor_asks_for_a_number(monkeypatch, capsys):
    entries = [entry(number) for number in range(40)]
    monkeypatch.setattr("click.prompt", lambda *words, **more: 2)
    assert choose_by_number(entries, "", {}) == entries[1]
    shown = capsys.readouterr().out
    assert "and 10 more" in shown
    assert LEGEND in shown
