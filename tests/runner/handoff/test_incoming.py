"""Both ends of a hand-off's channel: the new runner that waits to be given the home, and the
program that the old one starts.
"""

import json
import os
import signal
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
from hapi.runner.handoff.channel import ChannelClosed, HandoffChannel
from hapi.runner.handoff.descriptors import (
    DESCRIPTORS,
    FROM_PID,
    NONE,
    HandoverDescriptors,
    InheritedDescriptors,
    StartCommand,
)
from hapi.runner.handoff.incoming import IncomingHandoff, OutgoingRunnerStays
from hapi.runner.handoff.program import ProgramNotStarted
from hapi.runner.handoff.replacement import start_replacement
from tests.support.programs import alive
from tests.support.runner_stage import assert_waiting, result_of

case = SynchronousTestCase()


class Lock:
    """Remembers what was done with it."""

    def __init__(self):
        self.done = []

    def adopt(self, descriptor):
        self.done.append(f"inherited {descriptor}")

    def replace_owner(self):
        self.done.append("taken over")


class Scene:
    """A new runner, and what the old one says to it."""

    def __init__(self, monkeypatch, parent=True):
        self.clock, self.processes, self.lock, self.forsaken, self.left = (
            Clock(),
            MemoryProcesses(),
            Lock(),
            [],
            [],
        )
        self.old = self.processes.add(
            "hapi", "runner", "start-sync", pid=os.getppid() if parent else 4711
        )
        self.channel, self.wire = HandoffChannel(), StringTransport()
        self.channel.makeConnection(self.wire)
        monkeypatch.setattr(talking, "open_channel", lambda reactor, descriptor: self.channel)
        inherited = InheritedDescriptors(self.old.pid, 5, 6, 7, 8)
        self.incoming = IncomingHandoff(
            self.clock,
            self.processes,
            inherited,
            lambda: self.forsaken.append(True),
            lambda: self.left.append(True),
        )
        self.inherited = Deferred.fromCoroutine(self.incoming.take_over(self.lock))

    def says(self, word, **more):
        self.channel.lineReceived(json.dumps({"word": word, **more}).encode())

    def closes(self):
        self.channel.connectionLost(Failure(ConnectionDone()))

    def heard(self):
        return [json.loads(line) for line in self.wire.value().splitlines()]


def test_a_new_runner_says_that_it_is_ready_and_waits_for_its_turn(monkeypatch):
    scene = Scene(monkeypatch)
    assert scene.heard() == [{"word": "ready"}]
    assert_waiting(scene.inherited)
    assert scene.lock.done == ["inherited 5"]
    scene.says("yours", token="secret", ages=[3.0, 0.0])
    assert result_of(scene.inherited) == [3.0, 0.0]
    assert scene.lock.done == ["inherited 5", "taken over"]
    assert not scene.incoming.confirmed
    scene.says("keep")
    assert scene.incoming.confirmed
    assert scene.heard()[-1] == {"word": "mine"}


@pytest.mark.parametrize("token", [None, "", 5, ["x"]])
def test_a_turn_without_a_token_that_makes_sense_is_taken_all_the_same(monkeypatch, token):
    scene = Scene(monkeypatch)
    scene.says("yours", token=token, ages="many")
    assert result_of(scene.inherited) == []
    assert scene.incoming._inherited.token is None


def test_an_old_runner_that_is_gone_before_it_said_a_word_has_left_us_the_home__P04(monkeypatch):
    scene = Scene(monkeypatch, parent=False)
    scene.closes()
    assert result_of(scene.inherited) == []
    assert scene.incoming.confirmed


def test_an_old_runner_that_dies_within_a_second_has_left_us_the_home__P04(monkeypatch):
    scene = Scene(monkeypatch)
    scene.closes()
    assert_waiting(scene.inherited)
    scene.processes.exit(scene.old, signal="SIGKILL")
    assert result_of(scene.inherited) == []
    assert scene.incoming.confirmed
    assert scene.lock.done[-1] == "taken over"


def test_an_old_runner_that_closed_and_lives_on_keeps_its_home__H02(monkeypatch):
    scene = Scene(monkeypatch)
    scene.closes()
    scene.clock.advance(1.0)
    case.failureResultOf(scene.inherited, OutgoingRunnerStays)
    assert not scene.incoming.confirmed
    assert scene.lock.done == ["inherited 5"]
    assert scene.clock.getDelayedCalls() == []


def test_one_that_closes_after_the_turn_and_lives_on_makes_us_leave__H02(monkeypatch):
    scene = Scene(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.closes()
    scene.clock.advance(1.0)
    assert scene.forsaken == [True]
    assert not scene.incoming.confirmed


def test_one_that_dies_after_the_turn_has_left_us_the_home__P04(monkeypatch):
    scene = Scene(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.closes()
    scene.processes.exit(scene.old, signal="SIGKILL")
    assert scene.incoming.confirmed
    assert scene.forsaken == []


def test_a_new_runner_is_told_when_the_old_one_has_left__H11(monkeypatch):
    scene = Scene(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.says("keep")
    assert scene.left == []
    scene.processes.exit(scene.old, 0)
    assert scene.left == [True]
    assert scene.clock.getDelayedCalls() == []


def test_a_new_runner_does_not_wait_for_ever_for_the_old_one_to_leave__H11(monkeypatch):
    scene = Scene(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.says("keep")
    scene.clock.advance(60.0)
    assert scene.left == [True]


def test_a_new_runner_that_cannot_come_up_says_why__H01(monkeypatch):
    scene = Scene(monkeypatch)
    scene.incoming.startup_failed(Failure(OSError("no " + "x" * 900)))
    last = scene.heard()[-1]
    assert (last["word"], len(last["reason"])) == ("failed", 500)


@pytest.mark.parametrize(
    ("source", "said"), [("os-signal", ["ready", "leaving"]), ("exception", ["ready"])]
)
def test_a_new_runner_that_is_stopped_meanwhile_says_so_and_closes__H13(monkeypatch, source, said):
    scene = Scene(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.incoming.leave(source)
    assert [message["word"] for message in scene.heard()] == said
    assert scene.wire.disconnecting
    scene.clock.advance(5.0)
    assert scene.forsaken == []


def test_once_the_home_is_ours_the_old_one_hears_no_more(monkeypatch):
    scene = Scene(monkeypatch)
    scene.says("yours", token="t", ages=[])
    scene.says("keep")
    before = scene.heard()
    scene.incoming.startup_failed(Failure(OSError("late")))
    scene.incoming.leave("os-signal")
    assert scene.heard() == before


def test_one_who_was_never_spoken_to_leaves_in_silence(monkeypatch):
    incoming = IncomingHandoff(
        Clock(), MemoryProcesses(), InheritedDescriptors(1, 5, 6, 7, 8), lambda: None, lambda: None
    )
    incoming.startup_failed(Failure(OSError("x")))
    incoming.leave("os-signal")
    assert not incoming.confirmed


# --- the channel


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"word":5}', b"\xff", b"[" * 5000])
def test_words_that_make_no_sense_end_the_talk__H04(line):
    channel, wire = HandoffChannel(), StringTransport()
    channel.makeConnection(wire)
    waiting = channel.receive()
    channel.dataReceived(line + b"\n")
    case.failureResultOf(waiting, ChannelClosed)
    assert wire.disconnecting
    case.failureResultOf(channel.receive(), ChannelClosed)
    channel.send("nobody hears this")
    assert wire.value() == b""


def test_a_line_without_end_ends_the_talk__H04():
    channel, wire = HandoffChannel(), StringTransport()
    channel.makeConnection(wire)
    channel.dataReceived(b"x" * 70_000)
    case.failureResultOf(channel.receive(), ChannelClosed)
    assert wire.disconnecting


def test_whoever_gives_up_waiting_takes_no_word_from_the_next():
    channel = HandoffChannel()
    first = channel.receive()
    first.addErrback(lambda _: None).cancel()
    second = channel.receive()
    channel.lineReceived(b'{"word":"yours"}')
    assert result_of(second) == {"word": "yours"}


# --- the program that is started

PROGRAM = f"""
import json, os, signal, socket, subprocess, sys, time
names = [name for name in os.environ if name.startswith(("LISTEN_", "WATCHDOG_PID"))]
given = os.environ[{DESCRIPTORS!r}]
channel = socket.socket(fileno=int(given.split(",")[-1]))
if sys.argv[1] == "brood":
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleep, start_new_session=True)
    names.append(child.pid)
if sys.argv[1] == "facts":
    place = "/proc/self/fd"
    descriptors = [name for name in os.listdir(place) if os.path.exists(f"{{place}}/{{name}}")]
    mask = [*signal.pthread_sigmask(0, ())]
    names = [os.getsid(0) == os.getpid(), os.getcwd(), mask, descriptors]
message = {{"word": "here", "from": os.environ[{FROM_PID!r}], "names": names}}
channel.sendall(json.dumps(message).encode() + b"\\n")
if sys.argv[1] == "exit":
    sys.exit(7)
time.sleep(600)
"""


@pytest.fixture
def begin(reactor):
    """Starts a replacement that does what its argument says; the lock it inherits is any file."""
    started = []

    def start(what, **environment):
        descriptors = HandoverDescriptors(os.open(os.devnull, os.O_RDONLY), NONE, NONE)
        own = StartCommand(
            (sys.executable, "-c", PROGRAM, what), "/", {**os.environ, **environment}
        )
        started.append(
            (
                start_replacement(reactor, SystemProcesses(reactor), own, descriptors),
                descriptors.lock,
            )
        )
        return started[-1][0]

    yield start
    for replacement, lock in started:
        pytest_twisted.blockon(replacement.end())
        os.close(lock)


@pytest_twisted.ensureDeferred
async def test_a_replacement_speaks_to_us_and_gets_no_word_that_names_our_pid__C18(begin):
    replacement = begin("wait", LISTEN_FDS="2", LISTEN_PID="1", WATCHDOG_PID="1")
    message = await replacement.channel.receive()
    assert (message["from"], message["names"]) == (str(os.getpid()), [])
    replacement.terminate()
    assert await replacement.ended.when_fired() == "the replacement was ended by SIGTERM"
    replacement.terminate()  # nothing is there any more


@pytest_twisted.ensureDeferred
async def test_how_a_replacement_ended_by_itself_is_told__H01(begin):
    assert await begin("exit").ended.when_fired() == "the replacement exited with code 7"


@pytest_twisted.ensureDeferred
async def test_a_replacement_is_ended_with_what_it_started__H03(begin):
    replacement = begin("brood")
    (child,) = (await replacement.channel.receive())["names"]
    await replacement.end()
    assert replacement.ended.has_fired
    assert not os.path.exists(f"/proc/{replacement.pid}")
    assert not alive(child)


@pytest_twisted.ensureDeferred
async def test_a_replacement_leads_a_session_with_default_signals_and_only_its_descriptors__C18(
    begin, reactor
):
    """Nothing that reaches the old runner's process group reaches it, and it holds nothing of ours
    open.
    """
    leaked = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        facts = (await begin("facts").channel.receive())["names"]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(leaked)
    session, directory, blocked, descriptors = facts
    assert (session, directory, blocked) == (True, "/", [])
    assert len(descriptors) == 5  # standard ones, the lock and the socket to talk on


@pytest.mark.parametrize(
    ("argv", "cwd"), [(("/nowhere/python",), "/"), ((sys.executable,), None), (("a\0b",), "/")]
)
def test_what_cannot_be_started_is_said_and_leaves_no_descriptor__H01(reactor, argv, cwd):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ProgramNotStarted):
        start_replacement(
            reactor,
            SystemProcesses(reactor),
            StartCommand(argv, cwd, {}),
            HandoverDescriptors(NONE, NONE, NONE),
        )
    assert len(os.listdir("/proc/self/fd")) == before
