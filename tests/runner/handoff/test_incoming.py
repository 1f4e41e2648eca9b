"""Both ends of a hand-off's talk: the new runner that waits to be given the home, and the program that the old one starts."""

import json
import os
import sys

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hapi.process import MemoryProcesses, SystemProcesses
from hapi.runner.handoff import channel as talking
from hapi.runner.handoff.channel import Talk, TalkEnded
from hapi.runner.handoff.descriptors import (
    DESCRIPTORS,
    FROM_PID,
    NONE,
    Heirlooms,
    Inheritance,
    OwnStart,
)
from hapi.runner.handoff.incoming import Heir, PredecessorStays
from hapi.runner.handoff.replacement import ReplacementNotStarted, start_replacement
from tests.support.programs import alive
from tests.support.runner_stage import assert_waiting, result_of

case = SynchronousTestCase()


class Lock:
    """Remembers what was done with it."""

    def __init__(self):
        self.done = []

    def inherit(self, descriptor):
        self.done.append(f"inherited {descriptor}")

    def take_over(self):
        self.done.append("taken over")


class Succession:
    """A new runner, and what the old one says to it."""

    def __init__(self, monkeypatch, parent=True):
        self.clock, self.processes, self.lock, self.forsaken = (
            Clock(),
            MemoryProcesses(),
            Lock(),
            [],
        )
        self.old = self.processes.add(
            "hapi", "runner", "start-sync", pid=os.getppid() if parent else 4711
        )
        self.talk, self.wire = Talk(), StringTransport()
        self.talk.makeConnection(self.wire)
        monkeypatch.setattr(talking, "talk_on", lambda reactor, descriptor: self.talk)
        inheritance = Inheritance(self.old.pid, 5, 6, 7, 8)
        self.heir = Heir(
            self.clock, self.processes, inheritance, lambda: self.forsaken.append(True)
        )
        self.inherited = Deferred.fromCoroutine(self.heir.inherit(self.lock))

    def says(self, word, **more):
        self.talk.lineReceived(json.dumps({"word": word, **more}).encode())

    def closes(self):
        self.talk.connectionLost(Failure(ConnectionDone()))

    def heard(self):
        return [json.loads(line) for line in self.wire.value().splitlines()]


def test_a_new_runner_says_that_it_is_ready_and_waits_for_its_turn(monkeypatch):
    scene = Succession(monkeypatch)
    assert scene.heard() == [{"word": "ready"}]
    assert_waiting(scene.inherited)
    assert scene.lock.done == ["inherited 5"]
    scene.says("yours", token="secret", ages=[3.0, 0.0])
    assert result_of(scene.inherited) == [3.0, 0.0]
    assert scene.lock.done == ["inherited 5", "taken over"]
    assert not scene.heir.confirmed
    scene.says("keep")
    assert scene.heir.confirmed
    assert scene.heard()[-1] == {"word": "mine"}


@pytest.mark.parametrize("token", [None, "", 5, ["x"]])
def test_a_turn_without_a_token_that_makes_sense_is_taken_all_the_same(monkeypatch, token):
    scene = Succession(monkeypatch)
    scene.says("yours", token=token, ages="many")
    assert result_of(scene.inherited) == []
    assert scene.heir._inheritance.token is None


def test_an_old_runner_that_is_gone_before_it_said_a_word_has_left_us_the_home__P04(monkeypatch):
    scene = Succession(monkeypatch, parent=False)
    scene.closes()
    assert result_of(scene.inherited) == []
    assert scene.heir.confirmed


def test_an_old_runner_that_dies_within_a_second_has_left_us_the_home__P04(monkeypatch):
    scene = Succession(monkeypatch)
    scene.closes()
    assert_waiting(scene.inherited)
    scene.processes.exit(scene.old, signal="SIGKILL")
    assert result_of(scene.inherited) == []
    assert scene.heir.confirmed
    assert scene.lock.done[-1] == "taken over"


def test_an_old_runner_that_closed_and_lives_on_keeps_its_home__H02(monkeypatch):
    scene = Succession(monkeypatch)
    scene.closes()
    scene.clock.advance(1.0)
    case.failureResultOf(scene.inherited, PredecessorStays)
    assert not scene.heir.confirmed
    assert scene.lock.done == ["inherited 5"]
    assert scene.clock.getDelayedCalls() == []


def test_one_that_closes_after_the_turn_and_lives_on_makes_us_leave__H02(monkeypatch):
    scene = Succession(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.closes()
    scene.clock.advance(1.0)
    assert scene.forsaken == [True]
    assert not scene.heir.confirmed


def test_one_that_dies_after_the_turn_has_left_us_the_home__P04(monkeypatch):
    scene = Succession(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.closes()
    scene.processes.exit(scene.old, signal="SIGKILL")
    assert scene.heir.confirmed
    assert scene.forsaken == []


def test_a_new_runner_that_cannot_come_up_says_why__H01(monkeypatch):
    scene = Succession(monkeypatch)
    scene.heir.could_not_come_up(Failure(OSError("no " + "x" * 900)))
    last = scene.heard()[-1]
    assert (last["word"], len(last["reason"])) == ("failed", 500)


@pytest.mark.parametrize(
    ("source", "said"), [("os-signal", ["ready", "leaving"]), ("exception", ["ready"])]
)
def test_a_new_runner_that_is_stopped_meanwhile_says_so_and_closes__H13(monkeypatch, source, said):
    scene = Succession(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.heir.leave(source)
    assert [message["word"] for message in scene.heard()] == said
    assert scene.wire.disconnecting
    scene.clock.advance(5.0)
    assert scene.forsaken == []


def test_once_the_home_is_ours_the_old_one_hears_no_more(monkeypatch):
    scene = Succession(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.says("keep")
    before = scene.heard()
    scene.heir.could_not_come_up(Failure(OSError("late")))
    scene.heir.leave("os-signal")
    assert scene.heard() == before


def test_one_who_was_never_spoken_to_leaves_in_silence(monkeypatch):
    heir = Heir(Clock(), MemoryProcesses(), Inheritance(1, 5, 6, 7, 8), lambda: None)
    heir.could_not_come_up(Failure(OSError("x")))
    heir.leave("os-signal")
    assert not heir.confirmed


# --- the talk


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"word":5}', b"\xff", b"[" * 5000])
def test_words_that_make_no_sense_end_the_talk__H04(line):
    talk, wire = Talk(), StringTransport()
    talk.makeConnection(wire)
    waiting = talk.hear()
    talk.dataReceived(line + b"\n")
    case.failureResultOf(waiting, TalkEnded)
    assert wire.disconnecting
    case.failureResultOf(talk.hear(), TalkEnded)
    talk.say("nobody hears this")
    assert wire.value() == b""


def test_a_line_without_end_ends_the_talk__H04():
    talk, wire = Talk(), StringTransport()
    talk.makeConnection(wire)
    talk.dataReceived(b"x" * 70_000)
    case.failureResultOf(talk.hear(), TalkEnded)
    assert wire.disconnecting


def test_whoever_gives_up_waiting_takes_no_word_from_the_next():
    talk = Talk()
    first = talk.hear()
    first.addErrback(lambda _: None).cancel()
    second = talk.hear()
    talk.lineReceived(b'{"word":"yours"}')
    assert result_of(second) == {"word": "yours"}


# --- the program that is started

PROGRAM = f"""
import json, os, socket, subprocess, sys, time
names = [name for name in os.environ if name.startswith(("LISTEN_", "WATCHDOG_PID"))]
given = os.environ[{DESCRIPTORS!r}]
talk = socket.socket(fileno=int(given.split(",")[-1]))
if sys.argv[1] == "brood":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    names.append(child.pid)
talk.sendall(json.dumps({{"word": "here", "from": os.environ[{FROM_PID!r}], "names": names}}).encode() + b"\\n")
if sys.argv[1] == "exit":
    sys.exit(7)
time.sleep(600)
"""


@pytest.fixture
def begin(reactor):
    """Starts a replacement that does what its argument says; the lock it inherits is any file."""
    started = []

    def start(what, **environment):
        heirlooms = Heirlooms(os.open(os.devnull, os.O_RDONLY), NONE, NONE)
        own = OwnStart((sys.executable, "-c", PROGRAM, what), "/", {**os.environ, **environment})
        started.append(
            (start_replacement(reactor, SystemProcesses(reactor), own, heirlooms), heirlooms.lock)
        )
        return started[-1][0]

    yield start
    for replacement, lock in started:
        pytest_twisted.blockon(replacement.end())
        os.close(lock)


@pytest_twisted.ensureDeferred
async def test_a_replacement_speaks_to_us_and_gets_no_word_that_names_our_pid__C18(begin):
    replacement = begin("wait", LISTEN_FDS="2", LISTEN_PID="1", WATCHDOG_PID="1")
    message = await replacement.talk.hear()
    assert (message["from"], message["names"]) == (str(os.getpid()), [])
    replacement.terminate()
    assert await replacement.ended.when_fired() == "it ended by SIGTERM"
    replacement.terminate()  # nothing is there any more


@pytest_twisted.ensureDeferred
async def test_how_a_replacement_ended_by_itself_is_told__H01(begin):
    assert await begin("exit").ended.when_fired() == "it ended with exit code 7"


@pytest_twisted.ensureDeferred
async def test_a_replacement_is_ended_with_what_it_started__H03(begin):
    replacement = begin("brood")
    (child,) = (await replacement.talk.hear())["names"]
    await replacement.end()
    assert replacement.ended.has_fired
    assert not os.path.exists(f"/proc/{replacement.pid}")
    assert not alive(child)


@pytest.mark.parametrize(
    ("argv", "cwd"), [(("/nowhere/python",), "/"), ((sys.executable,), None), (("a\0b",), "/")]
)
def test_what_cannot_be_started_is_said_and_leaves_no_descriptor__H01(reactor, argv, cwd):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ReplacementNotStarted):
        start_replacement(
            reactor, SystemProcesses(reactor), OwnStart(argv, cwd, {}), Heirlooms(NONE, NONE, NONE)
        )
    assert len(os.listdir("/proc/self/fd")) == before
