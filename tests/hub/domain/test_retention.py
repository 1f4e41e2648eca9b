"""Retention: what goes, in which order, in short portions, and that it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import formatEvent, globalLogPublisher

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.retention import FIRST_REMOVAL, SWEEP_INTERVAL
from hapi.hub.domain.retention_limits import RetentionLimits
from hapi.hub.store.interface import IdTaken, StoreFull
from hapi.hub.store.maintenance import DISCARDED, PURGE_BUDGET, WHOLE_LIMIT
from hapi.hub.store.rows import MessageRow, SessionRow
from hapi.hub.store.sqlite import SqliteStore
from hapi.settings import ConfigurationError, InvalidFlag
from tests.support.hub_stage import EPOCH, Stage, result_of, waits

DAY = 24 * 3600 * 1000  # ms
HOUR = 3600 * 1000  # ms


def run(coroutine: Any) -> Any:
    return result_of(Deferred.fromCoroutine(coroutine))


@define(eq=False)
class Kept:
    """A hub in memory with sessions of several ages, and what its retention logs."""

    stage: Stage
    lines: list[str] = field(factory=list)

    @property
    def retention(self) -> Any:
        return self.stage.hub.retention

    @property
    def store(self) -> SqliteStore:
        store: SqliteStore = self.stage.hub.registry.store
        return store

    def add(self, name: str, age: float, messages: int = 0, **more: Any) -> None:
        """A session that was used `age` days ago."""
        at = EPOCH - int(age * DAY)
        archived = {"lifecycleState": "archived"} if more.pop("archived", False) else {}
        metadata = {"path": f"/{name}", "host": "h", "name": f"{name}\n", **archived}
        row = SessionRow(name, "default", name, at, at, metadata=metadata, active_at=at, **more)
        run(self.store.create_session(row))
        for number in range(messages):
            content = {"role": "user", "content": {"type": "text", "text": "x" * 1000}}
            run(self.store.add_message(MessageRow(f"{name}{number}", name, 0, content, at), None))
        run(self.stage.hub.registry.load())

    def sweep(self, after: float = FIRST_REMOVAL) -> None:
        self.stage.clock.advance(after)
        swept = Deferred.fromCoroutine(self.retention.sweep())
        for _ in range(10_000):
            if not waits(swept):
                break
            self.stage.clock.advance(0.02)
        result_of(swept)

    @property
    def left(self) -> set[str]:
        stored = {row.id for row in run(self.store.sessions())}
        assert stored == set(self.stage.hub.registry.sessions)
        return stored


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept(Stage())
    watch = lambda event: made.lines.append(str(formatEvent(event)))  # noqa: E731
    globalLogPublisher.addObserver(watch)
    yield made
    globalLogPublisher.removeObserver(watch)


def test_everything_is_kept_by_default(kept: Kept) -> None:
    kept.add("old", 4000, archived=True)
    kept.sweep()
    assert kept.left == {"old"}


def test_sessions_beyond_the_age_go_and_the_log_and_the_page_are_told(kept: Kept) -> None:
    kept.add("new", 0)
    kept.add("young", 89)
    kept.add("old", 91, messages=3)
    kept.add("older", 400, messages=WHOLE_LIMIT + 50, archived=True)
    kept.add("pinned", 400, pinned=True)
    kept.add("everywhere", 400, global_pinned=True)
    page = kept.stage.listen()
    kept.retention.limits = RetentionLimits(keep_sessions=90 * DAY / 1000)
    kept.sweep()
    assert kept.left == {"new", "young", "pinned", "everywhere"}
    removed = [event for event in page.events if event["type"] == "session-removed"]
    assert [event["sessionId"] for event in removed] == ["older", "old"]
    (line,) = [line for line in kept.lines if "Retention removed" in line]
    assert line == (
        f"Retention removed 2 sessions with {WHOLE_LIMIT + 53} messages, because they were not "
        f"used for 90d (--keep-sessions): 'older\\\\n' (older, {WHOLE_LIMIT + 50} messages), "
        "'old\\\\n' (old, 3 messages)"
    )
    connection = kept.store.database.connection
    assert connection.execute("SELECT count(*) FROM messages").fetchone()[0] == 0
    assert connection.execute("SELECT count(*) FROM sessions").fetchone()[0] == 4


def test_an_active_or_starting_session_is_never_removed(kept: Kept) -> None:
    kept.add("new", 0)
    kept.add("active", 100)
    kept.add("starting", 100)
    kept.add("resuming", 100)
    hub = kept.stage.hub
    hub.registry.sessions["active"].active = True
    hub.registry.sessions["starting"].expected_until = kept.stage.clock.seconds() + 10 * 3600
    hub.registry.resuming["resuming"] = None
    kept.retention.limits = RetentionLimits(keep_sessions=90 * DAY / 1000)
    kept.sweep()
    assert kept.left == {"new", "active", "starting", "resuming"}


def test_nothing_is_removed_soon_after_the_start(kept: Kept) -> None:
    kept.add("new", 0)
    kept.add("old", 100)
    kept.retention.limits = RetentionLimits(keep_sessions=90 * DAY / 1000)
    kept.sweep(SWEEP_INTERVAL)  # its process may be about to report
    assert kept.left == {"new", "old"}
    kept.sweep(FIRST_REMOVAL)
    assert kept.left == {"new"}


def test_a_clock_that_is_set_years_ahead_removes_nothing(kept: Kept) -> None:
    kept.add("new", 0)
    kept.add("young", 80)
    kept.retention.limits = RetentionLimits(keep_sessions=90 * DAY / 1000)
    now = kept.stage.hub.registry.now
    kept.stage.hub.registry.now = lambda: now() + 4000 * DAY
    for _ in range(3):
        kept.sweep()
    assert kept.left == {"new", "young"}


def test_a_database_that_is_too_large_loses_the_archived_and_oldest_first(kept: Kept) -> None:
    empty = run(kept.store.size()).used
    kept.add("today", 0.5, messages=300, archived=True)
    kept.add("old", 50, messages=300)
    kept.add("archived", 10, messages=300, archived=True)
    kept.add("older archived", 20, messages=300, archived=True)
    kept.add("pinned", 60, messages=300, archived=True, pinned=True)
    full = run(kept.store.size()).used

    def limited(left: int) -> set[str]:
        size = empty + (full - empty) * left / 5
        kept.retention.limits = RetentionLimits(database_size=int(size) + 50_000)
        kept.sweep()
        return kept.left

    assert limited(5) == {"today", "old", "archived", "older archived", "pinned"}
    assert limited(4) == {"today", "old", "archived", "pinned"}
    assert limited(3) == {"today", "old", "pinned"}
    assert limited(0) == {"today", "pinned"}
    limited(0)
    assert len([line for line in kept.lines if "no session can be removed" in line]) == 1
    assert len([line for line in kept.lines if "--max-database-size): " in line]) == 3


def test_a_large_session_disappears_at_once_and_its_messages_go_in_short_turns(kept: Kept) -> None:
    kept.add("large", 100, messages=3000)
    connection = kept.store.database.connection
    assert run(kept.store.discard_session("large")) == 3000
    assert run(kept.store.sessions()) == []
    with pytest.raises(IdTaken):
        run(kept.store.create_session(SessionRow("large", "default", "large", EPOCH, EPOCH)))
    turns, longest, more = 0, 0.0, True
    while more:
        begun = time.perf_counter()
        more = run(kept.store.purge())
        longest = max(longest, time.perf_counter() - begun)
        turns += 1
    assert turns > 1
    assert longest < PURGE_BUDGET * 50  # a busy machine; it is PURGE_BUDGET and one message
    assert connection.execute("SELECT count(*) FROM messages").fetchone()[0] == 0
    assert connection.execute("SELECT count(*) FROM sessions").fetchone()[0] == 0
    run(kept.store.create_session(SessionRow("large", "default", "large", EPOCH, EPOCH)))


def test_what_a_killed_hub_had_discarded_goes_with_the_next(kept: Kept) -> None:
    kept.add("large", 100, messages=WHOLE_LIMIT + 1)
    run(kept.store.discard_session("large"))
    assert kept.store.database.read_now("SELECT 1 FROM sessions WHERE namespace = ?", (DISCARDED,))
    kept.stage.hub.registry.sessions.clear()
    kept.sweep(0)
    assert not kept.store.database.read_now("SELECT 1 FROM sessions")
    assert not kept.store.database.read_now("SELECT 1 FROM messages")


def test_a_session_that_is_pinned_while_others_are_removed_stays(kept: Kept) -> None:
    for name in ("a", "b"):
        kept.add(name, 100, messages=WHOLE_LIMIT + 1)
    kept.add("new", 0)
    kept.retention.limits = RetentionLimits(keep_sessions=90 * DAY / 1000)
    kept.stage.clock.advance(FIRST_REMOVAL)
    swept = Deferred.fromCoroutine(kept.retention.sweep())
    assert waits(swept)
    session = kept.stage.hub.registry.sessions["b"]
    session.row = evolve(session.row, pinned=True)
    while waits(swept):
        kept.stage.clock.advance(0.02)
    assert kept.left == {"b", "new"}


def test_a_hub_that_stops_goes_no_further(kept: Kept) -> None:
    for name in ("a", "b", "c"):
        kept.add(name, 100, messages=WHOLE_LIMIT + 1)
    kept.add("new", 0)
    kept.retention.limits = RetentionLimits(keep_sessions=90 * DAY / 1000)
    kept.stage.clock.advance(FIRST_REMOVAL)
    swept = Deferred.fromCoroutine(kept.retention.sweep())
    kept.retention.stop()
    kept.stage.clock.advance(0.02)
    kept.stage.clock.advance(0.02)
    assert not waits(swept)
    assert kept.left == {"b", "c", "new"}


def test_free_space_is_given_back_while_the_hub_runs(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(path, Clock())
    store.open()
    run(store.create_session(SessionRow("s", "default", "s", EPOCH, EPOCH)))
    for number in range(800):
        content = {"role": "user", "content": {"type": "text", "text": "x" * 5000}}
        run(store.add_message(MessageRow(f"m{number}", "s", 0, content, EPOCH), None))
    full = run(store.size())
    assert full.shrinks
    assert full.used > 4_000_000
    run(store.discard_session("s"))
    while run(store.purge()):
        pass
    assert run(store.size()).free > 3_500_000
    turns = 0
    while run(store.reclaim(100_000)):
        turns += 1
    assert run(store.size()).total < 300_000
    assert turns > 1
    store.close()
    assert path.stat().st_size < 300_000
    store = SqliteStore(path, Clock())
    store.open()
    assert store.database.read_now("PRAGMA integrity_check")[0][0] == "ok"
    store.close()


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("keepSessions", "90", "must be a number followed by h"),
        ("keepSessions", "0d", "must be at least 1h"),
        ("keepSessions", "", "must be a number followed by h"),
        ("keepSessions", "99999999999d", "is too large"),
        ("maxDatabaseSize", "9" * 16, "is too large"),
        ("keepSessions", True, "must be a number followed by h"),
        ("keepSessions", "-5d", "must be a number followed by h"),
        ("keepSessions", ["90d"], "must be a number followed by h"),
        ("maxDatabaseSize", "much", "must be a number of bytes"),
        ("maxDatabaseSize", "1M", "must be at least 10M"),
        ("maxDatabaseSize", 1.5, "must be a number of bytes"),
    ],
)
def test_a_bad_value_is_one_sentence(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{key} in settings.json .*: it {sentence}"):
        RetentionLimits.read({}, {}, {key: value})


def test_flag_variable_and_setting_come_in_this_order() -> None:
    flags, environ = {"keep_sessions": "1d"}, {"HAPI_KEEP_SESSIONS": "2d"}
    settings = {"keepSessions": "3d", "maxDatabaseSize": "2G"}
    assert RetentionLimits.read(flags, environ, settings) == RetentionLimits(86400.0, 2 << 30)
    assert RetentionLimits.read({}, environ, settings).keep_sessions == 2 * 86400
    assert RetentionLimits.read({}, {"HAPI_KEEP_SESSIONS": ""}, settings).keep_sessions == 3 * 86400
    with pytest.raises(InvalidFlag, match=r"^--keep-sessions .x.: it must be"):
        RetentionLimits.read({"keep_sessions": "x"}, environ, settings)


def test_a_large_session_that_a_person_deletes_is_gone_at_once_and_purged_in_portions(
    kept: Kept,
) -> None:
    kept.add("large", 100, messages=3000)
    assert kept.stage.rest("DELETE", "/api/sessions/large").status == 200
    assert kept.left == set()
    rows = kept.store.database.read_now("SELECT count(*) FROM messages")[0][0]
    assert 0 < rows < 3000
    for _ in range(1000):
        kept.stage.clock.advance(0.02)
    assert kept.store.database.read_now("SELECT count(*) FROM messages")[0][0] == 0
    assert kept.store.database.read_now("SELECT count(*) FROM sessions")[0][0] == 0


@pytest_twisted.ensureDeferred
async def test_a_running_hub_sweeps_by_itself(
    reactor: Any, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hapi.hub import HubOptions, hub_server, hub_service
    from hapi.hub.domain import retention

    monkeypatch.setattr(hub_server, "RETENTION_INTERVAL", 0.05)
    monkeypatch.setattr(retention, "FIRST_REMOVAL", 0.0)
    environ = {"HAPI_HOME": str(home.path), "HAPI_KEEP_SESSIONS": "90d", "HAPI_LISTEN_PORT": "0"}
    hub = hub_service(reactor, HubOptions.from_environment(environ))
    hub.startService()
    await hub.when_listening
    try:
        registry = hub.hub.registry
        now = registry.now()
        for name, age in {"new": 0, "old": 100}.items():
            at = now - age * DAY
            row = SessionRow(name, "default", name, at, at, metadata={"path": "/", "host": "h"})
            await registry.store.create_session(row)
            registry.sessions[name] = HubSession(row, active_at=at)
        for _ in range(600):
            if "old" not in registry.sessions:
                break
            await deferLater(reactor, 0.05)
        assert set(registry.sessions) == {"new"}
        assert [row.id for row in await registry.store.sessions()] == ["new"]
    finally:
        await hub.stopService()


def test_a_store_that_cannot_write_is_one_line_and_tried_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: str) -> int:
        raise StoreFull("no space left for the database")

    kept.add("old", 100)
    kept.add("new", 0)
    kept.retention.limits = RetentionLimits(keep_sessions=90 * DAY / 1000)
    with monkeypatch.context() as patched:
        patched.setattr(kept.store, "discard_session", full)
        kept.sweep()
    assert [line for line in kept.lines if "no space left for the database" in line] == [
        "Retention goes on in a minute: no space left for the database"
    ]
    kept.sweep(SWEEP_INTERVAL)
    assert kept.left == {"new"}
