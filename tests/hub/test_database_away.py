"""A database in PostgreSQL that is away: its store logs that once, and nobody else does."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent

from hapi.hub.cluster.cluster import UNREACHABLE
from hapi.hub.cluster.members import Members
from hapi.hub.cluster.singleton_tasks import SingletonTasks
from hapi.hub.domain.presence import Presence
from hapi.hub.http.responses import error_response
from hapi.hub.hub_server import HubServer
from hapi.hub.store.interface import StoreAway, StoreBusy
from hapi.hub.store.postgres.publisher import RETRY_INTERVAL, Publisher
from tests.support.cluster_stage import ClusterStage
from tests.support.hub_stage import Stage


@pytest.fixture
def alarms() -> Iterator[list[LogEvent]]:
    """What is logged as a warning or worse."""

    class Alarms(list[LogEvent]):
        def __iter__(self) -> Iterator[LogEvent]:
            return (event for event in logged if event["log_level"] >= LogLevel.warn)

    with capturedLogs() as logged:
        yield Alarms()


class AwayStore:
    """Fails as a store whose database is away."""

    error: Exception = StoreAway("connection refused")
    confirmed_at = float("-inf")

    async def fail(self, *given: Any) -> Any:
        raise self.error

    beat = runs_singleton_tasks = trim_journal = fail


def run(coroutine: Any) -> None:
    Deferred.fromCoroutine(coroutine).addErrback(lambda failure: pytest.fail(str(failure)))


def guarded(run_task: Any) -> None:
    run(HubServer._guarded(SimpleNamespace(log=HubServer.log), run_task))  # type: ignore[arg-type]


def test_periodic_tasks_run_again_without_an_alarm(alarms: list[LogEvent]) -> None:
    guarded(AwayStore().fail)
    assert list(alarms) == []


def test_signs_of_life_and_singleton_tasks_wait_without_an_alarm(alarms: list[LogEvent]) -> None:
    clock = Clock()
    members = Members(AwayStore(), clock, lambda: None, lambda: None)
    members._alive_at = clock.seconds()
    tasks = SingletonTasks(AwayStore(), clock, members)
    tasks._holds = True
    run(members._guarded())
    run(tasks._trim())
    assert list(alarms) == []


def test_what_is_published_is_kept_without_an_alarm(alarms: list[LogEvent]) -> None:
    clock, store = Clock(), AwayStore()
    publisher = Publisher(clock, store.fail)
    for _ in range(3):
        publisher.publish(lambda connection: None)
        clock.advance(RETRY_INTERVAL)
    assert list(alarms) == []


def test_sweeps_check_sessions_again_without_an_alarm(
    alarms: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage()
    stage.session()
    monkeypatch.setattr(Presence, "_check_session", AwayStore().fail)
    run(stage.hub.presence.sweep())
    assert list(alarms) == []


def test_requests_are_answered_without_an_alarm(alarms: list[LogEvent]) -> None:
    assert error_response(StoreAway("connection refused"), "GET /api/sessions").status == 503
    assert list(alarms) == []


def test_a_hub_does_not_promise_that_others_reach_the_database() -> None:
    assert UNREACHABLE.endswith("hubs that reach it take over its sessions")


def test_a_hub_that_stops_without_its_database_warns_and_says_what_follows() -> None:
    hubs = ClusterStage("ab")
    a = hubs.hubs[0]
    hubs.tick(3)
    a.memory.cut()
    with capturedLogs() as logged:
        a.cluster.drain()
        run(a.cluster.stop())
    told = [(event["log_level"], formatEvent(event)) for event in logged]
    assert [level for level, _ in told if level > LogLevel.warn] == []
    assert "notice that within 12 s" in told[-1][1]


def test_a_database_that_is_locked_while_a_hub_looks_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hubs = ClusterStage("ab")
    a = hubs.hubs[0]
    hubs.tick(3)

    async def fail() -> Any:
        raise StoreBusy("the database is locked")

    monkeypatch.setattr(a.memory, "journal_epoch", fail)
    with capturedLogs() as logged:
        hubs.tick(5)
        guarded(fail)
    assert [event for event in logged if event["log_level"] > LogLevel.warn] == []
