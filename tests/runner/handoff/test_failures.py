"""What goes wrong around a hand-off on the runner's own side, and who is told of it."""

import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import hapi.runner.handoff.channel as talking
from hapi.process import MemoryProcesses
from hapi.process.launch import ChildProtocol
from hapi.runner.control.client import RunnerNotRunning
from hapi.runner.handoff import factories
from hapi.runner.handoff.coordinator import HandoffCoordinator
from hapi.runner.handoff.descriptors import (
    InheritedDescriptors,
    StartCommand,
    valid_ages,
    verify_inherited,
)
from hapi.runner.handoff.factories import embedded_coordinator, program_coordinator
from hapi.runner.handoff.program import ProgramNotStarted
from hapi.runner.handoff.replacement import Replacement
from hapi.runner.handoff.upgrade import BuildWatch
from hapi.runner.supervision import supervisor
from hapi.runner.supervision.supervisor import Supervision
from tests.support.coordinator_stage import OTHER, Reactor, Scene
from tests.support.handoff_stage import NEW, Disk
from tests.support.outgoing_stage import Fake, Try
from tests.support.runner_stage import options_for, result_of

CASE = SynchronousTestCase()


# --- one try


def test_a_start_that_breaks_is_told_and_the_old_one_serves_on__H01(logged_failures):
    one = Try(start=lambda: (_ for _ in ()).throw(ValueError("what is this")))
    assert result_of(one.running).reason == "unexpected error: what is this"
    assert len(logged_failures.take(ValueError)) == 1


def test_a_step_that_breaks_ends_the_new_one_and_the_old_one_serves_on__H03(logged_failures):
    one = Try(quiet=fail(ValueError("what is this")))
    one.send("ready")
    assert one.failed() == "unexpected error: what is this"
    assert len(logged_failures.take(ValueError)) == 1


def test_a_new_one_that_cannot_be_ended_keeps_the_old_one_from_nothing__H03(
    logged_failures, monkeypatch
):
    one = Try()
    monkeypatch.setattr(Fake, "end", lambda _: fail(OSError("not permitted")))
    one.new.dies()
    one.wait(1)
    assert one.old.log[-1] == "again after 7"
    assert len(logged_failures.take(OSError)) == 1


# --- the runner around it


def test_a_replacement_that_cannot_be_started_is_a_try_that_failed__H01(home):
    scene = Scene(home)

    def make(descriptors):
        raise ProgramNotStarted("there is no memory")

    scene.coordinator._handoffs._make_replacement = make
    scene.upgrade()
    assert scene.handoff()["lastFailure"]["reason"] == "there is no memory"
    assert not scene.handoff()["underWay"]
    assert not scene.coordinator.is_peer(OTHER)
    scene.coordinator.stop_replacement()  # nobody is there whom it could reach
    scene.run.stop()


@pytest.mark.parametrize("there", [True, False])
def test_systemd_is_told_who_the_main_process_is_now__H07(home, tmp_path, there):
    scene = Scene(home, Supervision("notify", "systemd (Type=notify)"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        if there:
            systemd.bind(str(tmp_path / "notify"))
            scene.service.options.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        scene.upgrade()
        assert scene.coordinator.is_peer(OTHER)
        scene.will_answer()
        scene.send("ready")
        scene.advance(0.1)
        scene.send("mine")
        scene.advance(3)
        heard = set()
        systemd.setblocking(False)
        while there and (word := _one(systemd)):
            heard.add(word)
    assert (b"MAINPID=7" in heard) is there
    assert (scene.run.retired, scene.coordinator.handed_over_to) == ([0], OTHER)


def _one(receiver):
    try:
        return receiver.recv(1000)
    except BlockingIOError:
        return None


class Runner:
    """As much of a runner as a coordinator needs that hands nothing over."""

    def __init__(self, home):
        self.options, self.left = options_for(home, handoff_disabled=True), []
        self.lock, self.endpoints = None, SimpleNamespace(listeners=None)
        self.claimed = []
        self.hub = SimpleNamespace(resume=lambda: self.claimed.append("machine"))

    def retire(self, source, exit_code):
        self.left.append((source, exit_code))


def coordinator_of(home, clock=None, **more):
    clock = clock or Clock()
    return HandoffCoordinator(clock, MemoryProcesses((), clock), Runner(home), **more)


def test_a_runner_whose_port_is_closed_starts_nobody__H01(home):
    old = coordinator_of(home, start=StartCommand(("runner",), "/", {}))
    with pytest.raises(ProgramNotStarted, match="the control port is closed"):
        old._handoffs._start_replacement(StartCommand(("runner",), "/", {}), moves_output=True)


@pytest_twisted.ensureDeferred
async def test_a_control_socket_where_nobody_listens_is_nobody(home, reactor):
    with pytest.raises(RunnerNotRunning):
        await coordinator_of(home, reactor)._handoffs._query_control_port()


def test_a_runner_told_never_to_hand_over_says_so__H08(home):
    disk = Disk()
    clock = Clock()
    handoff = coordinator_of(
        home, clock, start=StartCommand((), "/", {}), watch=BuildWatch(clock, disk)
    )
    disk.now = NEW
    for _ in range(3):
        handoff.check_for_upgrade()
        clock.advance(60)
    told = handoff.status()["handoff"]
    assert (told["mode"], told["waitsFor"]) == ("disabled", "HAPI_DISABLE_VERSION_HANDOFF=1")
    assert not handoff.in_progress


def test_a_build_that_is_being_copied_tells_nothing_of_itself(home):
    class Copied(Disk):
        def running(self):
            raise FileNotFoundError("gone")

    clock = Clock()
    handoff = coordinator_of(home, clock, watch=BuildWatch(clock, Copied(broken=True)))
    status = handoff.status()
    assert (status["build"], status["current"]) == (None, None)


# --- the runner that came up as a replacement


@pytest.fixture
def incoming(home, monkeypatch):
    clock = Clock()
    channel, wire = talking.HandoffChannel(), StringTransport()
    channel.makeConnection(wire)
    monkeypatch.setattr(talking, "open_channel", lambda reactor, descriptor: channel)
    handoff = coordinator_of(home, clock, inherited=InheritedDescriptors(4711, 5, 6, 7, 8))
    lock = SimpleNamespace(adopt=lambda descriptor: None, replace_owner=lambda: None)
    return SimpleNamespace(
        handoff=handoff, runner=handoff._runner, channel=channel, wire=wire, lock=lock, clock=clock
    )


def test_a_runner_on_probation_leaves_without_a_word_until_the_home_is_its_own__H02(incoming):
    assert incoming.handoff.is_peer(4711)
    assert incoming.handoff.leaves_silently
    inherited = Deferred.fromCoroutine(incoming.handoff.take_over(incoming.lock))
    incoming.channel.lineReceived(b'{"word":"go","ages":[10,20]}')
    result_of(inherited)
    assert incoming.handoff.leaves_silently
    incoming.channel.lineReceived(b'{"word":"yours"}')
    assert not incoming.handoff.leaves_silently
    assert incoming.handoff.throttle.success_ages() == [10.0, 20.0, 0.0]
    assert incoming.runner.claimed == ["machine"]  # the other one is gone


def test_a_runner_on_probation_says_why_it_cannot_come_up_and_that_it_leaves__H01_H13(incoming):
    inherited = Deferred.fromCoroutine(incoming.handoff.take_over(incoming.lock))
    incoming.handoff.startup_failed(Failure(OSError("no port")))
    result_of(Deferred.fromCoroutine(incoming.handoff.leave("hapi-cli")))
    assert incoming.wire.value().splitlines() == [
        b'{"word":"ready"}',
        b'{"word":"failed","reason":"no port"}',
        b'{"word":"leaving","reason":"hapi-cli"}',
    ]
    CASE.successResultOf(inherited)


def test_a_runner_on_probation_whose_old_one_goes_on_ends__H02(incoming):
    incoming.handoff._abandoned()
    assert incoming.runner.left == [("exception", 1)]


def test_a_runner_that_inherits_nothing_comes_up_by_itself(home):
    handoff = coordinator_of(home)
    result_of(Deferred.fromCoroutine(handoff.take_over(None)))
    handoff.startup_failed(Failure(OSError("no port")))
    result_of(Deferred.fromCoroutine(handoff.leave("hapi-cli")))
    assert not handoff.leaves_silently
    handoff.stop_replacement()
    assert handoff.handed_over_to is None


# --- whose business restarts are


@pytest.mark.parametrize(
    ("environ", "mode", "by"),
    [
        (None, "none", "somebody's program"),
        ({}, "none", "somebody's program"),
        ({"NOTIFY_SOCKET": "/n"}, "restart", "systemd (Type=notify)"),
        ({"SUPERVISOR_ENABLED": "1"}, "restart", "supervisord"),
    ],
)
def test_a_part_of_a_program_is_restarted_with_it_or_by_its_supervisor__H07(
    environ, mode, by, monkeypatch
):
    monkeypatch.setattr(os, "getppid", lambda: 400)
    handoff = embedded_coordinator(Reactor(), "somebody's program", environ)(None)
    assert (handoff.supervision.mode, handoff.supervision.by) == (mode, by)
    assert handoff.restarted_by_supervisor is (mode == "restart")


@pytest.mark.parametrize(
    ("foreground", "detached", "mode"),
    [(True, False, "none"), (True, True, "self"), (False, False, "self")],
)
def test_a_runner_watched_in_a_terminal_is_that_terminals_business__H07(
    monkeypatch, foreground, detached, mode
):
    monkeypatch.setattr(os, "getppid", lambda: 400)
    monkeypatch.setattr(factories, "in_foreground", lambda: foreground)
    start = StartCommand(("runner",), "/", {})
    handoff = program_coordinator(Reactor(), {}, start, None, detached)(None)
    assert handoff.supervision.mode == mode


def test_the_foreground_of_a_terminal_is_known_and_a_file_is_none(tmp_path):
    ours, terminal = os.openpty()
    script = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    script += "from hapi.runner.supervision.supervisor import in_foreground; print(in_foreground())"
    with open(tmp_path / "said", "wb") as said:
        subprocess.run(
            [sys.executable, "-c", script],
            stdin=terminal,
            stdout=said,
            start_new_session=True,
            check=True,
        )
    assert (tmp_path / "said").read_text() == "True\n"
    assert supervisor.in_foreground(terminal) is False  # a terminal, and another's
    os.close(ours)
    os.close(terminal)
    assert supervisor.in_foreground(1 << 20) is False


def test_a_process_has_a_name_and_one_that_is_gone_has_none():
    assert supervisor.name_of(os.getpid())
    assert supervisor.name_of((1 << 22) + 1) == ""


# --- the process that was started


class Transport:
    """Stands in for the transport of a child process."""

    pid = (1 << 22) + 1

    def __init__(self):
        self.signals = []

    def signalProcess(self, name):
        if self.pid is None:
            raise ProcessExitedAlready
        self.signals.append(name)


def replacement_of(clock, processes):
    child = ChildProtocol()
    child.makeConnection(Transport())
    return child, Replacement(clock, processes, child, "mark", channel=talking.HandoffChannel())


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (signal.SIGKILL, "the replacement was ended by SIGKILL"),
        (7 << 8, "the replacement exited with code 7"),
        (None, "the replacement exited (exit status unknown)"),
    ],
)
def test_a_replacement_that_ended_before_anybody_looked_has_ended__H01(status, words, monkeypatch):
    monkeypatch.setattr("hapi.runner.handoff.program.reactor_reaps_children", lambda: True)
    child, replacement = replacement_of(clock := Clock(), MemoryProcesses((), clock))
    assert not replacement.ended.has_fired  # gone, and not waited for yet
    child.exited.fire(status)
    assert result_of(replacement.ended.when_fired()) == words
    child.transport.pid = None
    replacement.terminate()
    result_of(replacement.end())
    assert child.transport.signals == []


def test_a_replacement_whose_exit_status_does_not_come_is_not_waited_for__H03(monkeypatch):
    monkeypatch.setattr("hapi.runner.handoff.program.reactor_reaps_children", lambda: True)
    clock = Clock()
    processes = MemoryProcesses((), clock)
    processes.add("runner", pid=Transport.pid)
    child, replacement = replacement_of(clock, processes)
    ending = replacement.end()
    clock.pump([0.5] * 4)
    result_of(ending)  # it waits a second for the exit status and no longer
    assert child.transport.signals == ["KILL"]


# --- what was inherited, and what was said


def test_ages_that_are_none_are_left_out():
    assert valid_ages([1, "2", None, 2.5]) == [1.0, 2.5]
    assert valid_ages("10") == []


def test_a_start_that_no_runner_made_inherits_nothing__H12(home):
    assert verify_inherited(None, home) is None


def test_whoever_gave_up_waiting_may_do_so_after_the_end():
    channel = talking.HandoffChannel()
    waiting = channel.receive()
    waiting.addErrback(lambda _: waiting.cancel())
    channel.close()
    channel.connectionLost()
    channel.close()
    CASE.failureResultOf(channel.receive(), talking.ChannelClosed)
    assert CASE.successResultOf(waiting) is None
