"""A launch whose holder's word comes late or not at all: no session is ended because the runner was stopped itself."""

import os
import select
import signal
import time

import pytest
import pytest_twisted
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.attempts import AttemptFolder
from hapi.process import LaunchPlan, system
from hapi.process.launch import Report
from hapi.process.system import SystemProcesses
from hapi.protocol.attempt import AttemptRequest

CHECK = SynchronousTestCase()


class Reactor(Clock):
    """One that finds out what is due before it finds out what has come."""

    def addReader(self, reader): ...

    def removeReader(self, reader): ...


@pytest.fixture
def clock():
    return Reactor()


@pytest.fixture
def pipe():
    reading, writing = os.pipe2(os.O_NONBLOCK)
    yield reading, writing
    os.close(writing)


def test_a_report_that_came_while_the_runner_was_stopped_counts__P05(clock, pipe):
    report = Report(clock, pipe[0])
    os.write(pipe[1], b"held\n")
    clock.advance(26.0)
    assert CHECK.successResultOf(report.done) == b"held\n"
    assert clock.getDelayedCalls() == []


def test_a_holder_that_was_stopped_together_with_the_runner_gets_its_time_again__P05(clock, pipe):
    report = Report(clock, pipe[0])
    clock.advance(600.0)
    clock.advance(9.5)
    CHECK.assertNoResult(report.done)
    os.write(pipe[1], b"held\n")
    clock.advance(0.5)
    assert CHECK.successResultOf(report.done) == b"held\n"


def test_a_holder_that_is_silent_while_the_runner_runs_is_late(clock, pipe):
    report = Report(clock, pipe[0])
    clock.pump([0.5] * 20)
    CHECK.failureResultOf(report.done, TimeoutError)
    assert clock.getDelayedCalls() == []


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


@pytest_twisted.ensureDeferred
async def test_a_session_that_came_up_while_the_runner_was_stopped_runs_on__P05(
    reactor, sleeper, monkeypatch
):
    def stopped_meanwhile(plan, before):
        pid, reading = start_holder(plan, before)
        select.select([reading], [], [])
        return pid, reading

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
    def wordless(plan, before):
        pid, reading = start_holder(plan, before)
        select.select([reading], [], [])
        os.close(reading)
        if holder == "killed":
            os.kill(pid, signal.SIGKILL)
        unspoken, kept = os.pipe2(os.O_NONBLOCK)
        writing.append(kept)
        if holder == "killed":
            os.close(writing.pop())
        return pid, unspoken

    writing = []
    start_holder = system.start_holder
    monkeypatch.setattr(system, "start_holder", wordless)
    monkeypatch.setattr(system, "REPORT_TIMEOUT", 0.0)
    processes = SystemProcesses(reactor)
    await end(processes, await processes.launch(sleeper), sleeper)
    for descriptor in writing:
        os.close(descriptor)
