"""Terminals of a session: real shells in real pseudo-terminals."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hapi.process.shell import SECRETS, shell_environment, shell_program
from hapi.protocol.work.terminals import SCROLLBACK
from hapi.session.pty.scrollback import Scrollback
from hapi.session.pty.terminal import FLUSH_SIZE
from hapi.session.pty.terminals import AWAY_TIMEOUT, MAX_TERMINALS, Terminals
from hapi.settings import ConfigurationError
from hapi.switches import read_terminal
from tests.support.paths import ROOT
from tests.support.terminal_hub import HubSide

pytestmark = pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def hub():
    return HubSide()


@pytest.fixture
def home(tmp_path_factory):
    """An empty one: the start-up files of who runs the tests must not decide how they end."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def terminals(hub, tmp_path, home):
    environ = {**os.environ, "HOME": str(home), "SHELL": "/bin/bash", "PS1": "$ "}
    environ["CLI_API_TOKEN"] = "secret-token"
    made = Terminals(reactor, hub, "s", str(tmp_path), environ)
    made.start()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))


@pytest_twisted.ensureDeferred
async def test_a_shell_runs_in_the_sessions_directory_with_the_size_that_was_asked(
    hub, terminals, tmp_path
):
    hub.open(cols=101, rows=33)
    hub.type("pwd; stty size; echo $TERM-$COLORTERM-[$CLI_API_TOKEN]; tty\r")
    await hub.says("/dev/pts/")
    assert len(hub.of("ready")) == 1
    for text in (str(tmp_path), "33 101", "xterm-256color-truecolor-[]"):
        assert text in hub.text()
    hub.ask("resize", cols=90, rows=20)
    hub.type("stty size\r")
    await hub.says("20 90")


@pytest_twisted.ensureDeferred
async def test_the_exit_is_told_with_its_code_after_all_output(hub, terminals):
    hub.open()
    hub.type("printf 'la%s\\n' st; exit 3\r")
    await hub.until(lambda: hub.of("exit"))
    assert "last\r\n" in hub.text()
    assert hub.heard[-1] == (
        "terminal:exit",
        {"sessionId": "s", "terminalId": "t", "code": 3, "signal": None},
    )
    assert len(terminals) == 0
    hub.open()  # the same id is a new shell
    hub.type("echo $((6*7))\r")
    await hub.says("42")


@pytest_twisted.ensureDeferred
async def test_a_character_that_is_split_over_two_writes_arrives_whole(hub, terminals):
    hub.open()
    hub.type("printf '\\xe2\\x82'; sleep 0.3; printf '\\xac!\\n'\r")
    await hub.says("€!")
    assert "�" not in hub.text()


@pytest_twisted.ensureDeferred
async def test_closing_ends_everything_that_was_started_even_what_ignores_sighup(
    hub, terminals, tmp_path
):
    hub.open()
    hub.type(
        "nohup sleep 600 & echo $! >a; (trap '' HUP TERM; echo $BASHPID >b; sleep 601) & "
        "setsid sleep 602 & echo $! >c; trap '' HUP TERM; echo $$ >d; cat\r"
    )
    names = ("a", "b", "c", "d")
    await hub.until(lambda: all((tmp_path / name).exists() for name in names))
    await deferLater(reactor, 0.2)
    pids = [int((tmp_path / name).read_text()) for name in names]
    hub.ask("close")
    await hub.until(lambda: not any(map(alive, pids)))
    await hub.until(lambda: hub.of("exit"))


@pytest_twisted.ensureDeferred
async def test_the_end_of_the_session_ends_what_shells_left_behind(hub, terminals, tmp_path):
    hub.open()
    hub.type("nohup sleep 603 & echo $! >a; exit\r")
    await hub.until(lambda: hub.of("exit"))
    pid = int((tmp_path / "a").read_text())
    assert alive(pid)  # as after any login shell
    await terminals.stop()
    assert not alive(pid)


@pytest_twisted.ensureDeferred
async def test_a_hub_that_does_not_read_stops_the_program_and_memory_stays_bounded(hub, terminals):
    hub.open()
    await hub.until(lambda: hub.of("output"))
    hub.writable = False
    hub.type("cat /dev/urandom\r")
    await deferLater(reactor, 1.0)
    terminal = terminals._terminals["t"]
    assert terminal._unsent_size < 2 * FLUSH_SIZE + 70_000  # and one read
    before = terminal._unsent_size
    await deferLater(reactor, 0.3)
    assert terminal._unsent_size == before
    hub.writable = True
    hub.type("\x03")
    hub.type("echo $((6*7))\r")
    await hub.says("42")
    assert terminal.scrollback.size < 3 * SCROLLBACK


@pytest_twisted.ensureDeferred
async def test_a_program_that_does_not_read_gets_at_most_a_megabyte_of_input(hub, terminals):
    hub.open()
    hub.type("stty -icanon -echo; sleep 5\r")
    await deferLater(reactor, 0.3)
    for _ in range(100):
        hub.type("x" * 100_000)
    assert terminals._terminals["t"]._input_size <= 1024 * 1024


@pytest_twisted.ensureDeferred
async def test_a_shell_goes_on_while_the_hub_is_away_and_is_replayed(hub, terminals):
    hub.open()
    hub.type("sleep 0.3; echo $((6*7)); echo done\r")
    await hub.says("sleep")
    hub.connect(False)
    await hub.until(lambda: "42\r\ndone" in terminals._terminals["t"].scrollback.text)
    hub.heard.clear()
    hub.connect(True)
    assert hub.heard == [("terminal:running", {"sessionId": "s", "terminalIds": ["t"]})]
    hub.ask("attach", cols=80, rows=24)
    (replay,) = hub.of("output")
    assert replay["replay"] is True
    assert "42\r\ndone" in replay["data"]
    assert hub.of("ready")


@pytest_twisted.ensureDeferred
async def test_npms_hub_gets_what_it_missed_when_it_opens_a_terminal_again(hub, terminals):
    hub.open()
    hub.type("sleep 0.2; echo $((6*7))\r")
    await hub.says("sleep")
    hub.connect(False)
    await hub.until(lambda: "42" in terminals._terminals["t"].scrollback.text)
    hub.heard.clear()
    hub.connect(True)
    hub.open()
    assert "42" in hub.of("output")[0]["data"]
    assert "replay" not in hub.of("output")[0]


@pytest_twisted.ensureDeferred
async def test_an_exit_that_a_hub_missed_is_told_later(hub, terminals):
    hub.open()
    hub.type("sleep 0.2; exit 5\r")
    await hub.says("sleep")
    hub.connect(False)
    await hub.until(lambda: len(terminals) == 0)
    hub.heard.clear()
    hub.connect(True)
    assert hub.of("exit")[0]["code"] == 5


@pytest_twisted.ensureDeferred
async def test_without_a_hub_for_an_hour_the_shells_are_ended(hub, terminals, monkeypatch):
    monkeypatch.setattr("hapi.session.pty.terminals.AWAY_TIMEOUT", 0.2)
    assert AWAY_TIMEOUT == 3600
    hub.open()
    hub.connect(False)
    await hub.until(lambda: len(terminals) == 0)


@pytest_twisted.ensureDeferred
async def test_there_are_at_most_so_many_and_events_of_others_are_ignored(hub, terminals):
    for number in range(MAX_TERMINALS + 1):
        hub.open(f"t{number}")
    (problem,) = hub.of("error", f"t{MAX_TERMINALS}")
    assert "Too many" in problem["message"]
    hub.handlers["terminal:open"]({"sessionId": "x", "terminalId": "y", "cols": 1, "rows": 1})
    for payload in (None, [], {}, {"sessionId": "s", "terminalId": "t0", "cols": 0, "rows": 1}):
        for handle in hub.handlers.values():
            handle(payload)
    assert len(terminals) == MAX_TERMINALS


@pytest_twisted.ensureDeferred
async def test_odd_ids_and_sizes_of_a_hub_open_nothing_and_break_nothing(hub, terminals):
    for terminal in ("t\0", "t" * 2**20, "\ud800", ""):
        hub.open(terminal)
    for size in (0, -1, 80.5, 1e30, "80"):
        hub.open(cols=size)
    assert len(terminals) == 0
    hub.open(cols=10**30, rows=10**9)
    hub.type("stty size\r")
    await hub.says("1000 1000")


@pytest_twisted.ensureDeferred
async def test_a_directory_that_is_gone_is_no_crash(hub, terminals, tmp_path):
    tmp_path.rmdir()
    hub.open()
    await hub.until(lambda: hub.of("error") or hub.of("exit"))
    assert len(terminals) == 0


PROGRAM = """
import os, sys
from twisted.internet import reactor
from hapi.session.pty.terminals import Terminals
from tests.support.terminal_hub import HubSide
hub = HubSide()
Terminals(reactor, hub, "s", sys.argv[1], {**os.environ, "SHELL": "/bin/bash"}).start()
reactor.callLater(0, hub.open)
reactor.callLater(0, hub.type, "sleep 604 & echo $! >a; echo $$ >b; cat\\r")
reactor.run()
"""


@pytest_twisted.ensureDeferred
async def test_no_shell_outlives_a_session_that_is_killed(hub, tmp_path, home):
    import subprocess

    environ = {**os.environ, "HOME": str(home)}
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, env=environ
    )
    try:
        await hub.until(lambda: (tmp_path / "b").exists() and (tmp_path / "b").read_text())
        pids = [int((tmp_path / name).read_text()) for name in ("a", "b")]
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    await hub.until(lambda: not any(map(alive, pids)))


def test_the_scrollback_keeps_the_last_of_it():
    kept = Scrollback(1000)
    for number in range(500):
        kept.add(f"{number}\n" * 10)
    assert len(kept.text) <= 1000
    assert kept.text.endswith("499\n")
    kept.add("x" * 5000)
    assert kept.text == "x" * 1000
    assert kept.size <= 2000


def test_nothing_secret_is_in_the_environment_of_a_shell():
    environ = dict.fromkeys(SECRETS, "secret") | {"PATH": "/bin", "HOME": "/root"}
    assert "secret" not in shell_environment(environ, "t").values()
    assert shell_environment(environ, "t")["PATH"] == "/bin"


def test_the_shell_is_the_persons_own_if_it_exists():
    assert shell_program({"SHELL": "/bin/sh"}) == "/bin/sh"
    assert shell_program({"SHELL": "/no/such/shell"}) != "/no/such/shell"
    assert os.path.isabs(shell_program({}))


@pytest.mark.parametrize(
    ("environ", "settings", "flag", "has_roots", "allowed"),
    [
        ({}, {}, None, False, True),
        ({}, {}, None, True, False),
        ({}, {}, "yes", True, True),
        ({}, {"terminal": False}, None, False, False),
        ({"HAPI_TERMINAL": "no"}, {"terminal": True}, None, False, False),
        ({"HAPI_TERMINAL": "no"}, {}, "on", False, True),
    ],
)
def test_terminals_are_allowed_unless_turned_off_or_roots_confine_sessions(
    environ, settings, flag, has_roots, allowed
):
    assert read_terminal(environ, settings, flag, has_roots) is allowed


def test_another_word_for_the_setting_is_refused():
    with pytest.raises(ConfigurationError, match="must be yes or no"):
        read_terminal({}, {}, "perhaps")
