"""What monitors read of a hub: alive, ready, and figures, which only its owner gets."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.domain.errors import RpcError
from hapi.hub.store.interface import StoreFull
from hapi.hub.store.sqlite import SqliteStore
from tests.support.hub_stage import TOKEN, result_of
from tests.support.hub_wire import HubWire
from tests.support.metrics_text import figures
from tests.support.request_wire import parse_answer


def scrape(wire: HubWire) -> dict[str, float]:
    answer = wire.ask("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    return figures(answer.body)


@pytest.fixture
def wire():
    return HubWire()


# --- who may read it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "status"), [(None, 401), (f"Bearer {TOKEN}:work", 403), ("Bearer wrong", 401)]
)
def test_metrics_are_for_the_owner_alone(wire, token, status):
    headers = {"Authorization": token} if token else {}
    answer = wire.ask("GET", "/metrics", headers=headers, token=False)
    assert answer.status == status
    assert "hapi_hub" not in str(answer.body)


# --- figures --------------------------------------------------------------------------------------


def test_sessions_and_machines_are_counted_by_state(wire):
    stage = wire.stage
    stage.session(tag="inactive")
    stage.live(tag="idle")
    working, peer = stage.live(tag="working")
    stage.alive(peer, working, thinking=True)
    waiting, peer = stage.live(tag="waiting")
    stage.machine()
    state = {"requests": {"r": {"tool": "Bash", "arguments": {}, "createdAt": 1}}}
    peer.ask("update-state", {"sid": waiting, "expectedVersion": 1, "agentState": state})
    found = scrape(wire)
    assert {
        state: found[f'hapi_hub_sessions{{state="{state}"}}']
        for state in ("working", "waiting", "idle", "inactive")
    } == {"working": 1, "waiting": 1, "idle": 1, "inactive": 1}
    assert found['hapi_hub_machines{state="online"}'] == 1
    assert found["hapi_hub_sockets"] == 4


def test_requests_are_counted_by_route_not_by_path(wire):
    for name in ("one", "two", "%2e%2e", "three"):
        wire.ask("GET", f"/api/sessions/{name}")
    for path in ("/api/nothing", "/api/else", "/some/page", "/ready"):
        wire.ask("GET", path)
    wire.ask("BREW", "/api/sessions")
    found = {key: value for key, value in scrape(wire).items() if "hapi_hub_requests" in key}
    assert found == {
        'hapi_hub_requests_total{method="GET",route="/api/sessions/<session_id>",status="404"}': 4,
        'hapi_hub_requests_total{method="GET",route="unmatched",status="404"}': 2,
        'hapi_hub_requests_total{method="GET",route="the page",status="200"}': 1,
        'hapi_hub_requests_total{method="GET",route="/ready",status="200"}': 1,
        'hapi_hub_requests_total{method="other",route="unmatched",status="404"}': 1,
    }


def test_the_first_scrape_has_the_figures_of_everything_before_it(wire):
    stage = wire.stage
    session, peer = stage.live()
    wire.ask("POST", f"/api/sessions/{session}/messages", {"text": "hello", "localId": "1"})
    stage.clock.advance(90)
    stage.alive(peer, session, thinking=True)
    stage.clock.advance(30)
    stage.alive(peer, session, thinking=False)
    found = scrape(wire)
    assert found['hapi_hub_messages_total{sender="person"}'] == 1
    assert found["hapi_hub_turn_seconds_count"] == 1
    assert found["hapi_hub_turn_seconds_sum"] == 120.0
    assert found['hapi_hub_turn_seconds_bucket{le="60.0"}'] == 0
    assert found['hapi_hub_turn_seconds_bucket{le="300.0"}'] == 1
    assert found["hapi_hub_store_seconds_count"] > 0
    assert found["hapi_hub_store_queue_length"] == 0
    assert found['hapi_hub_database_bytes{kind="used"}'] > 0
    assert found["hapi_hub_uptime_seconds"] == 120.0
    assert found["process_open_fds"] > 2


def test_calls_are_counted_by_method_and_result(wire):
    stage, rpc = wire.stage, wire.stage.registry.rpc
    peer = stage.connect()
    rpc.register(peer, "m1:path-exists")

    def call(name: str) -> None:
        Deferred.fromCoroutine(rpc.call("m1", name)).addErrback(
            lambda failure: failure.trap(RpcError)
        )

    call("path-exists"), call("path-exists"), call("path-exists")
    assert scrape(wire)["hapi_hub_rpc_open_calls"] == 3
    peer.answer({"exists": {}})
    peer.answer({"error": "no"})
    call("nothing"), call("path-exists")
    stage.clock.advance(31)
    found = scrape(wire)
    calls = {key: value for key, value in found.items() if "hapi_hub_rpc_calls_total" in key}
    assert calls == {
        'hapi_hub_rpc_calls_total{method="path-exists",result="ok"}': 1,
        'hapi_hub_rpc_calls_total{method="path-exists",result="error"}': 1,
        'hapi_hub_rpc_calls_total{method="path-exists",result="timeout"}': 2,
        'hapi_hub_rpc_calls_total{method="nothing",result="missing"}': 1,
    }
    assert found["hapi_hub_rpc_open_calls"] == 0


def test_a_timer_that_comes_late_is_the_reactors_lag(wire):
    scrape(wire)
    wire.stage.clock.advance(8.0)
    wire.stage.clock.advance(5.0)
    found = scrape(wire)
    assert found["hapi_hub_reactor_lag_seconds"] == 0.0
    assert found["hapi_hub_reactor_lag_worst_seconds"] == 3.0


def test_a_hub_that_nobody_scrapes_does_not_import_prometheus():
    program = (
        "import sys, hapi.hub.service; "
        "print([name for name in sys.modules if name.startswith('prometheus')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


# --- ready ----------------------------------------------------------------------------------------


class Failing:
    """Lets the store fail until it is told otherwise."""

    def __init__(self, wire, monkeypatch):
        self.fails, self.writes = True, 0
        database = wire.stage.store.database
        write = database.write

        async def failing(*given):
            self.writes += 1
            if self.fails:
                raise StoreFull("no space left for the database")
            return await write(*given)

        monkeypatch.setattr(type(database), "write", lambda _, *given: failing(*given))


def test_a_hub_whose_last_write_failed_is_alive_and_not_ready(wire, monkeypatch):
    assert wire.ask("GET", "/ready", token=False).body == {"status": "ready"}
    failing = Failing(wire, monkeypatch)
    change = Deferred.fromCoroutine(wire.stage.store.set_delivery("m", "queued"))
    with pytest.raises(StoreFull):
        result_of(change)
    answer = wire.ask("GET", "/ready", token=False)
    assert answer.status == 503
    assert answer.body["error"] == "No space left for the database"
    assert wire.ask("GET", "/health", token=False).status == 200
    found = scrape(wire)
    assert (found["hapi_hub_ready"], found['hapi_hub_store_failures_total{error="StoreFull"}']) == (
        0,
        2,
    )
    failing.fails = False
    assert wire.ask("GET", "/ready", token=False).status == 503  # asked again within a second
    wire.stage.clock.advance(1.0)
    assert wire.ask("GET", "/ready", token=False).status == 200  # although nobody has written
    assert scrape(wire)["hapi_hub_ready"] == 1


def test_many_questions_do_not_write_more_than_once_a_second(wire, monkeypatch):
    failing = Failing(wire, monkeypatch)
    with pytest.raises(StoreFull):
        result_of(Deferred.fromCoroutine(wire.stage.store.set_delivery("m", "queued")))
    for _ in range(20):
        assert wire.ask("GET", "/ready", token=False).status == 503
    assert failing.writes == 2


@pytest.fixture
def filed(tmp_path):
    """A hub whose database is the file hub.db."""

    def opened(clock):
        store = SqliteStore(tmp_path / "hub.db", clock)
        store.open()
        return store

    wire = HubWire(store=opened)
    wire.stage.session(tag="kept")
    yield wire
    wire.stage.store.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("moved.db")),
        lambda path: path.with_name("hub.db-wal").unlink(),
        lambda path: shutil.copy(path, path.with_name("copy.db")).rename(path),
    ],
    ids=["deleted", "moved", "log deleted", "replaced"],
)
def test_a_hub_whose_database_is_gone_is_not_ready_although_nobody_writes(filed, tmp_path, change):
    assert filed.ask("GET", "/ready", token=False).status == 200
    change(tmp_path / "hub.db")
    answer = filed.ask("GET", "/ready", token=False)
    assert answer.status == 503
    assert answer.body["error"].startswith("The hub's database was deleted, replaced or moved")
    assert scrape(filed)["hapi_hub_ready"] == 0


def test_a_hub_whose_database_is_back_is_ready_again(filed, tmp_path):
    (tmp_path / "hub.db").rename(tmp_path / "moved.db")
    assert filed.ask("GET", "/ready", token=False).status == 503
    (tmp_path / "moved.db").rename(tmp_path / "hub.db")
    assert filed.ask("GET", "/ready", token=False).status == 200


def locked(tmp_path):
    """A connection of another program that holds the lock until it is closed."""
    holder = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    return holder


def test_a_hub_whose_database_is_locked_is_not_ready_although_nobody_writes(filed, tmp_path):
    with closing(locked(tmp_path)):
        asked = filed.begin("GET", "/ready", token=False)
        filed.stage.clock.pump([0.1] * 6)
        answer = parse_answer(asked.transport.value())
        assert (answer.status, answer.body["error"]) == (503, "The database is busy, try again")
    assert filed.ask("GET", "/ready", token=False).status == 200


def test_a_hub_whose_own_write_waits_for_a_lock_is_not_ready(filed, tmp_path):
    with closing(locked(tmp_path)):
        written = Deferred.fromCoroutine(filed.stage.store.set_delivery("m", "queued"))
        asked = filed.begin("GET", "/ready", token=False)
        filed.stage.clock.pump([0.1] * 6)
        assert parse_answer(asked.transport.value()).status == 503
    filed.stage.clock.pump([0.1] * 2)
    assert result_of(written) is False
    assert filed.ask("GET", "/ready", token=False).status == 200


def test_a_lock_of_a_moment_leaves_the_hub_ready(filed, tmp_path):
    with closing(locked(tmp_path)):
        asked = filed.begin("GET", "/ready", token=False)
        filed.stage.clock.pump([0.1] * 3)
    filed.stage.clock.pump([0.1] * 2)
    assert parse_answer(asked.transport.value()).status == 200


def test_a_hub_that_stops_is_not_ready(wire):
    wire.stage.hub.streams.stop()
    answer = wire.ask("GET", "/ready", token=False)
    assert (answer.status, answer.body["error"]) == (503, "The hub is stopping")


def test_a_token_that_can_only_read_is_enough_for_metrics(wire):
    made = wire.ask("POST", "/api/tokens", {"name": "prometheus", "scopes": ["read"]})
    token = f"Bearer {made.body['token']}"
    assert wire.ask("GET", "/metrics", headers={"Authorization": token}).status == 200
