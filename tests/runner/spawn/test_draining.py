"""Draining: no more sessions, those there are go on, and what still works is told by the
sessions themselves."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.cli.base.errors import CommandError
from hapi.cli.base.progress import Progress
from hapi.cli.commands.runner.drain import wait_until_idle
from hapi.protocol.attempt import AttemptReport
from hapi.runner.attempts.activity import summarize_activity
from tests.support.runner_stage import Stage, result_of


@pytest.fixture
def stage(home):
    return Stage(home)


def work(stage):
    stage.clock.advance(1)
    stage.reports.refresh(stage.children.live())
    return summarize_activity(stage.children.live(), 0, True)


def test_a_running_turn_is_known_from_the_sessions_report(stage):
    stage.started("busy").folder.report = AttemptReport(at=1.0, ready=True, turn_since=1.0)
    idle = stage.started("idle")
    idle.folder.report = AttemptReport(at=1.0, ready=True)
    stage.started("npm")
    assert work(stage) == {
        "accepting": True,
        "starting": 0,
        "turns": ["busy"],
        "waiting": [],
        "unknown": ["npm"],
    }
    idle.folder.report = AttemptReport(at=2.0, ready=True, turn_since=2.0)
    assert work(stage)["turns"] == ["busy", "idle"]


def test_the_turn_of_a_session_that_ended_is_not_waited_for(stage):
    busy = stage.started("busy")
    busy.folder.report = AttemptReport(at=1.0, ready=True, turn_since=1.0)
    stage.processes.exit(busy.identity, 1)
    assert work(stage)["turns"] == []


class Client:
    """A runner that tells of its work step by step."""

    def __init__(self, *steps):
        self.steps = list(steps)

    async def drain(self, keep=True, lease=None):
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


def test_waiting_ends_with_the_last_turn_and_the_last_start():
    clock = Clock()
    busy, starting, calm = (
        {"turns": ["s1"]},
        {"turns": [], "starting": 1},
        {"turns": [], "starting": 0, "unknown": ["n"]},
    )
    waiting = Deferred.fromCoroutine(wait_until_idle(clock, Client(busy, starting, calm), 60))
    clock.pump([0.5] * 3)
    assert result_of(waiting) == calm


@pytest.mark.parametrize(("keep", "is_over"), [(False, True), (True, False)])
def test_a_restart_does_not_wait_for_a_turn_that_waits_for_a_person(stage, keep, is_over):
    asking = AttemptReport(at=1.0, ready=True, turn_since=1.0, waiting_since=1.0)
    stage.started("asks").folder.report = asking
    clock, told = Clock(), []
    waiting = Deferred.fromCoroutine(
        wait_until_idle(clock, Client(work(stage)), 60, keep, told.append)
    )
    assert bool(waiting.called) is is_over
    assert told == ([] if is_over else ["asks"])
    waiting.addErrback(lambda _: None).cancel()


def test_waiting_has_an_end_that_names_who_works():
    clock = Clock()
    waiting = Deferred.fromCoroutine(wait_until_idle(clock, Client({"turns": ["s1"]}), 5))
    failures = []
    waiting.addErrback(failures.append)
    clock.pump([0.5] * 11)
    assert failures[0].check(CommandError)
    assert "s1" in failures[0].getErrorMessage()


def test_a_wait_says_who_is_waited_for_every_five_seconds():
    clock, lines = Clock(), []
    progress = Progress(clock, lines.append)

    async def wait():
        with progress.shown():
            client = Client(*[{"turns": ["s1", "s2"]}] * 24, {"turns": []})
            await wait_until_idle(clock, client, 60, False, progress.busy)

    waiting = Deferred.fromCoroutine(wait())
    clock.pump([0.5] * 60)
    result_of(waiting)
    assert lines == [
        "Waiting for running turns to end: s1, s2 (5 s so far)",
        "Waiting for running turns to end: s1, s2 (10 s so far)",
    ]
    assert clock.getDelayedCalls() == []
