"""Coroutines in the background, and steps with a deadline."""

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background, run_step


async def fails() -> None:
    raise ValueError("no")


def test_a_failure_in_the_background_is_logged_with_its_facts(logged_failures):
    events = []
    globalLogPublisher.addObserver(events.append)
    running = run_in_background(fails(), Logger(), "Work for {attempt} failed", attempt="a1")
    globalLogPublisher.removeObserver(events.append)
    assert running.result is None
    assert [event["attempt"] for event in events] == ["a1"]
    assert [str(error) for error in logged_failures.take(ValueError)] == ["no"]


def test_a_result_in_the_background_reaches_whoever_waits():
    async def works() -> int:
        return 7

    assert run_in_background(works(), Logger(), "never logged").result == 7


def test_a_late_step_is_left_behind_after_its_deadline():
    clock, cancelled = Clock(), []
    step = Deferred.fromCoroutine(
        run_step(clock, 2.0, "Closing", lambda: Deferred(cancelled.append), Logger())
    )
    clock.advance(1.9)
    assert not step.called
    clock.advance(0.2)
    assert step.called
    assert len(cancelled) == 1
    assert not isinstance(step.result, Failure)


@pytest_twisted.ensureDeferred
async def test_a_failing_step_does_not_stop_the_next_one(logged_failures):
    await run_step(Clock(), 2.0, "Closing", fails, Logger())
    assert len(logged_failures.take(ValueError)) == 1
