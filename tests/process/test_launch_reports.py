"""Launches whose holder reports late or never, and runners that were suspended meanwhile."""

import os
import select
import signal
import time

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hapi.attempts import AttemptFolder
from hapi.process import LaunchPlan, system
from hapi.process.launch import REPORT_DESCRIPTOR, HolderProtocol
from hapi.process.system import SystemProcesses
from hapi.protocol.attempt import AttemptRequest

CHECK = SynchronousTestCase()


class Transport:
    pid = 7


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def holder(clock):
    """A holder that has just been started."""
    started = HolderProtocol(clock)
    started.makeConnection(Transport())
    return started


def test_a_report_is_the_line_that_comes_on_the_descriptor_in_whatever_parts(clock, holder):
    holder.childDataReceived(3, b"held 1 2")
    CHECK.assertNoResult(holder.report)
    holder.childDataReceived(3, b" 3 4 5 6\n")
    assert CHECK.successResultOf(holder.report) == b"held 1 2 3 4 5 6\n"
    assert clock.getDelayedCalls() == []


def test_a_holder_that_exits_without_a_report_is_known_by_its_exit(clock, holder):
    holder.childConnectionLost(3)
    holder.processExited(Failure(ProcessTerminated(1, None, 256)))
    CHECK.assertNoResult(holder.report)  # what it wrote may still be on its way
    holder.processEnded(Failure(ProcessTerminated(1, None, 256)))
    assert CHECK.successResultOf(holder.report) == b""
    assert CHECK.successResultOf(holder.exited.when_fired()) == 256
    assert clock.getDelayedCalls() == []


def test_a_report_without_an_end_is_cut_off(holder):
    holder.childDataReceived(3, b"x" * 4097)
    assert len(CHECK.successResultOf(holder.report)) == 4097


def test_a_report_that_came_while_the_runner_was_stopped_counts__P05(clock, holder):
    """After SIGCONT a reactor runs what is overdue before it reads what has arrived."""
    clock.rightNow += 26.0
    clock.advance(0)
    CHECK.assertNoResult(holder.report)
    holder.childDataReceived(3, b"held\n")
    clock.advance(0)
    assert CHECK.successResultOf(holder.report) == b"held\n"
    assert clock.getDelayedCalls() == []


def test_a_holder_that_was_stopped_together_with_the_runner_gets_its_time_again__P05(clock, holder):
    clock.advance(600.0)
    clock.advance(0)
    clock.advance(9.5)
    CHECK.assertNoResult(holder.report)
    holder.childDataReceived(3, b"held\n")
    clock.advance(0.5)
    assert CHECK.successResultOf(holder.report) == b"held\n"


def test_a_holder_that_is_silent_while_the_runner_runs_is_late(clock, holder):
    clock.pump([0.5] * 21)
    CHECK.failureResultOf(holder.report, TimeoutError)
    assert clock.getDelayedCalls() == []


def test_a_launch_that_is_cancelled_leaves_no_timer_and_a_late_report_is_ignored(clock, holder):
    holder.report.cancel()
    CHECK.failureResultOf(holder.report, CancelledError)
    assert clock.getDelayedCalls() == []
    holder.childDataReceived(3, b"held\n")


@pytest.fixture
def sleeper(home, tmp_path):
    argv = ("/bin/sleep", "60")
    folder = AttemptFolder.create(home, AttemptRequest(argv, str(tmp_path), time.time()))
    return LaunchPlan(argv, str(tmp_path), dict(os.environ), folder)


async def end(processes, launched, plan):
    assert processes.is_running(launched.child) is True
    assert (launched.holder, launched.child) == (
        plan.attempt.process.holder,
        plan.attempt.process.child,
    )
    ended = processes.when_exited(launched.child)
    await processes.end_tree(launched.child, plan.attempt.id, 0.0)
    await ended


def wait_readable(holder):
    """Block the reactor, as a suspended runner does, until the holder has reported."""
    select.select([holder.transport.pipes[REPORT_DESCRIPTOR].fileno()], [], [])


@pytest_twisted.ensureDeferred
async def test_a_session_that_came_up_while_the_runner_was_stopped_runs_on__P05(
    reactor, sleeper, monkeypatch
):
    def stopped_meanwhile(*arguments):
        holder = start_holder(*arguments)
        wait_readable(holder)
        return holder

    start_holder = system.start_holder
    monkeypatch.setattr(system, "start_holder", stopped_meanwhile)
    monkeypatch.setattr(system, "REPORT_TIMEOUT", 0.0)
    processes = SystemProcesses(reactor)
    await end(processes, await processes.launch(sleeper), sleeper)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("holder", ["killed", "unheard"])
async def test_a_session_that_is_written_down_runs_on_whatever_its_holder_said__P05_C15(
    reactor, sleeper, monkeypatch, holder
):
    def wordless(*arguments):
        started = start_holder(*arguments)
        wait_readable(started)
        started.childDataReceived = lambda *_: None
        if holder == "killed":
            os.kill(started.pid, signal.SIGKILL)
        return started

    start_holder = system.start_holder
    monkeypatch.setattr(system, "start_holder", wordless)
    monkeypatch.setattr(system, "REPORT_TIMEOUT", 0.2)
    processes = SystemProcesses(reactor)
    await end(processes, await processes.launch(sleeper), sleeper)
