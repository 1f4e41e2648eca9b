"""A program on a pseudo-terminal of its own: a real one, and a real one for the person."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hapi.session.local.interface import Launch
from hapi.session.local.screen_modes import RESET
from hapi.session.local.terminal import OwnTerminal

# What a terminal program does: it takes over the screen, then answers each line, until `leave`.
PROGRAM = r"""
import os, signal, subprocess, sys, tty
tty.setraw(0)
out = lambda text: os.write(1, text)
signal.signal(signal.SIGWINCH, lambda *_: out(b"size %d %d;" % os.get_terminal_size()))
def leave(*_):
    out(b"\x1b[?1049lbye")
    os._exit(0)
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: out(b"no!"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, leave)
out(b"\x1b[?1049h\x1b[?25l\x1b]0;busy\x07size %d %d;" % os.get_terminal_size())
if "cooked" in sys.argv:
    subprocess.run(["stty", "sane"])
    out(b"cooked;")
if "flood" in sys.argv:
    for number in range(6_000):
        out(b"%d " % number + b"x" * 100)
    out(b"flooded;")
while data := os.read(0, 100):
    if b"q" in data:
        os._exit(3)
    out(b"<" + data + b">")
"""


class Person:
    """The other end of the person's terminal."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.reads = True
        os.set_blocking(self.master, False)

    def resize(self, rows, cols):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, keys):
        os.write(self.master, keys)

    def has_unread_keys(self):
        return bool(select.select([self.slave], [], [], 0)[0])

    async def sees(self, text):
        deadline = reactor.seconds() + 60
        while text not in self.seen:
            assert reactor.seconds() < deadline, self.seen[-2000:]
            await deferLater(reactor, 0.005)
            self.read()

    def read(self):
        while self.reads:
            try:
                self.seen += os.read(self.master, 65536)
            except (BlockingIOError, OSError):
                return


@pytest.fixture
def person(monkeypatch):
    monkeypatch.setattr("hapi.session.local.terminal.ANSWER_TIMEOUT", 0.05)
    person = Person()
    yield person
    for descriptor in (person.master, person.slave):
        try:
            os.close(descriptor)
        except OSError:
            pass


@pytest.fixture
def start(person, tmp_path):
    terminals = []

    def start(*words):
        terminal = OwnTerminal(reactor, person.slave)
        terminals.append(terminal)
        argv = (sys.executable, "-c", PROGRAM, *words)
        terminal.start(Launch(argv, dict(os.environ)), str(tmp_path))
        return terminal

    yield start
    for terminal in terminals:
        pytest_twisted.blockon(Deferred.fromCoroutine(terminal.end()))
        terminal.release()


async def stays(person, terminal):
    """Until the terminal was given back, and all was read."""
    terminal.release()
    await person.sees(b"\r\n")
    person.read()


@pytest_twisted.ensureDeferred
async def test_the_program_has_the_size_and_the_keys_of_the_person(person, start):
    start()
    await person.sees(b"size 80 24;")
    person.type(b"a\x03\x1b[A")  # Ctrl+C is a key of the program's
    await person.sees(b"<a\x03\x1b[A>")
    person.resize(30, 100)
    os.kill(os.getpid(), signal.SIGWINCH)
    await person.sees(b"size 100 30;")


@pytest_twisted.ensureDeferred
async def test_unsent_text_and_titles_are_told(person, start):
    terminal = start()
    titles, typed = [], []
    terminal.on_titled = titles.append
    terminal.on_typed = lambda: typed.append(terminal.typed.text)
    await person.sees(b"size")
    person.type(b"half a thought")
    await person.sees(b"half a thought>")
    assert typed[-1] == "half a thought"
    assert titles == ["busy"]


@pytest_twisted.ensureDeferred
async def test_a_program_that_leaves_leaves_the_terminal_as_it_was(person, start):
    terminal = start()
    await person.sees(b"size")
    assert termios.tcgetattr(person.slave) != person.before
    await terminal.leave(b"")
    assert await terminal.exited.when_fired() == 0
    await stays(person, terminal)
    assert termios.tcgetattr(person.slave) == person.before
    after = person.seen[person.seen.index(b"bye") :]
    assert b"\x1b[?25h" in after
    assert b"\x1b[?1049l" not in after  # it has done that itself


@pytest_twisted.ensureDeferred
async def test_a_program_that_does_not_leave_is_ended_and_the_screen_restored(
    person, start, monkeypatch
):
    monkeypatch.setattr("hapi.session.local.terminal.LEAVE_TIMEOUT", 0.1)
    monkeypatch.setattr("hapi.session.local.terminal.END_TIMEOUT", 0.2)
    terminal = start("stubborn")
    await person.sees(b"size")
    await terminal.leave(b"")
    assert await terminal.exited.when_fired() is None
    assert not Path(f"/proc/{terminal.pid}").exists()
    await stays(person, terminal)
    assert person.seen.endswith(b"\x1b[?1049l\x1b[?25h" + RESET + b"\r\n")


@pytest_twisted.ensureDeferred
async def test_what_the_terminal_answers_late_is_not_typed_into_what_comes_next(
    person, start, monkeypatch
):
    monkeypatch.setattr("hapi.session.local.terminal.ANSWER_TIMEOUT", 60)
    terminal = start()
    await person.sees(b"size")
    terminal.exited.when_fired().addCallback(
        lambda code: person.type(b"\x1bP>|tmux 3.3a\x1b\\\x1b[?1;2cmine") or code
    )
    leaving = Deferred.fromCoroutine(terminal.leave(b""))
    await person.sees(b"\x1b[5n")
    person.type(b"\x1b[0")
    person.type(b"n")
    await leaving
    await stays(person, terminal)
    assert not person.has_unread_keys()
    assert b"tmux" not in person.seen  # as an echo
    assert terminal.typed.text == "mine"


@pytest_twisted.ensureDeferred
async def test_an_answer_that_finds_the_program_gone_is_not_drawn(person, start):
    terminal = start("cooked")
    await person.sees(b"cooked;")
    person.type(b"\x1bP>|tmux 3.3a\x1b\\\x1b[?1;2cmine\r")
    await person.sees(b"<mine\r\n>")
    assert b"1;2c" not in person.seen
    assert b"tmux" not in person.seen
    assert terminal.typed.text == ""


@pytest_twisted.ensureDeferred
async def test_the_exit_code_is_known(person, start):
    terminal = start()
    await person.sees(b"size")
    person.type(b"q")
    assert await terminal.exited.when_fired() == 3


@pytest_twisted.ensureDeferred
async def test_a_terminal_that_does_not_read_stops_the_program_and_nothing_else(person, start):
    person.reads = False
    start("flood")
    for _ in range(20):  # the reactor goes on
        await deferLater(reactor, 0.005)
    person.reads = True
    await person.sees(b"flooded;")
    assert b"5999 x" in person.seen


@pytest_twisted.ensureDeferred
async def test_a_terminal_that_does_not_read_holds_up_no_end(person, start, monkeypatch):
    monkeypatch.setattr("hapi.session.local.terminal.LAST_WRITE_TIMEOUT", 0.1)
    person.reads = False
    terminal = start("flood")
    for _ in range(20):
        await deferLater(reactor, 0.005)
    await terminal.end()
    terminal.release()
    assert not Path(f"/proc/{terminal.pid}").exists()


@pytest_twisted.ensureDeferred
async def test_a_closed_terminal_is_told(person, start):
    terminal = start()
    closed = Deferred()
    terminal.on_hangup = lambda: closed.called or closed.callback(None)
    await person.sees(b"size")
    os.close(person.master)
    await closed


@pytest_twisted.ensureDeferred
async def test_a_program_cannot_be_suspended_for_good(person, start):
    start()
    await person.sees(b"size")
    person.type(b"x\x1ay\x1b[122;5uz")
    await person.sees(b"<xyz>")


@pytest_twisted.ensureDeferred
async def test_a_program_that_cannot_be_run_ends_at_once(person, tmp_path):
    terminal = OwnTerminal(reactor, person.slave)
    terminal.start(Launch((str(tmp_path / "nowhere"),), {}), str(tmp_path))
    assert await terminal.exited.when_fired() == 1
    await stays(person, terminal)
    assert termios.tcgetattr(person.slave) == person.before


def test_a_title_that_cannot_be_told_ends_nothing(person, logged_failures):
    def broken(title):
        raise RuntimeError("a bug")

    terminal = OwnTerminal(reactor, person.slave)
    terminal.on_titled = broken
    terminal.childDataReceived(1, b"\x1b]0;busy\x07")
    logged_failures.take(RuntimeError)
