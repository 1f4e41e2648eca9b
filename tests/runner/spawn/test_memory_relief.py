"""A start that lacks memory gets that of idle agents, the longest idle first."""

import pytest

from hapi.attempts import REST
from hapi.protocol.attempt import AttemptReport
from hapi.protocol.spawn import Spawned
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.spawn.memory_relief import MIN_IDLE_TIME, REST_TIME, RETRY_INTERVAL, MemoryRelief
from tests.support.runner_stage import Stage, assert_waiting, result_of


@pytest.fixture
def stage(home):
    stage = Stage(home, limits=AdmissionLimits(free_memory=2 << 30))
    stage.free = 4 << 30
    stage.started("long"), stage.started("short"), stage.started("works"), stage.started("rests")
    relief = MemoryRelief(stage.clock, stage.children.live, stage.now)
    stage.relieve = relief.ask
    return stage


def child(stage, name):
    return stage.children.find_live(name)


def report(stage, name, idle=None, resting=None):
    """The report of a session whose agent has been idle, or has rested, for so many seconds."""
    now = stage.now()
    child(stage, name).report = AttemptReport(
        at=now,
        ready=True,
        idle_since=None if idle is None else now - idle,
        resting_since=None if resting is None else now - resting,
    )


def report_all(stage):
    report(stage, "long", idle=900)
    report(stage, "short", idle=100)
    report(stage, "works")
    report(stage, "rests", idle=5000, resting=4000)


def is_asked(stage, name):
    return (child(stage, name).folder.path / REST).exists()


def test_the_agent_that_has_idled_longest_is_asked_first(stage):
    report_all(stage)
    stage.free = 1 << 30
    start = stage.spawn()
    assert [is_asked(stage, name) for name in ("long", "short", "works", "rests")] == [
        True,
        False,
        False,
        False,
    ]
    assert_waiting(start)
    assert child(stage, "long").folder.take_rest_request()
    stage.free = 3 << 30
    stage.pass_time(2)
    stage.announce(stage.pid, "new")
    assert result_of(start) == Spawned("new")
    assert not is_asked(stage, "short")


def test_the_next_one_is_asked_when_that_was_not_enough(stage):
    report_all(stage)
    stage.free = 1 << 30
    start = stage.spawn()
    report(stage, "long", idle=900, resting=0)
    stage.pass_time(REST_TIME - 1)
    assert not is_asked(stage, "short")
    stage.pass_time(2)
    assert is_asked(stage, "short")
    stage.pass_time(30)
    refused = result_of(start)
    assert refused.code == "memory_limit"
    assert "less than the required 2G" in refused.message


def test_a_start_is_refused_at_once_when_no_agent_idles(stage):
    report(stage, "works")
    report(stage, "short", idle=MIN_IDLE_TIME - 1)
    stage.free = 1 << 30
    assert result_of(stage.spawn()).code == "memory_limit"
    assert not is_asked(stage, "short")


def test_nobody_is_asked_while_there_is_enough_memory_or_sessions_are_too_many(stage):
    report_all(stage)
    start = stage.spawn()
    stage.announce(stage.pid, "new")
    assert result_of(start) == Spawned("new")
    assert not is_asked(stage, "long")


def test_an_agent_that_does_not_rest_is_asked_again_much_later(stage):
    report(stage, "long", idle=900)
    assert stage.relieve()
    stage.clock.advance(REST_TIME)
    assert not stage.relieve()
    stage.clock.advance(RETRY_INTERVAL)
    assert stage.relieve()
