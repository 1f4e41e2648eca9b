"""Changes that share a COMMIT: their order, what fails alone, what fails together, and that nothing
waits for the disk in the reactor's thread.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import Logger, formatEvent
from twisted.python.failure import Failure

from hapi.hub.store.disk_thread import DiskThread
from hapi.hub.store.group_commit import LOCK_TIMEOUT, MAX_BATCH, GroupCommit
from hapi.hub.store.interface import IdTaken, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.rows import MessageRow, SessionRow
from hapi.hub.store.sqlite import SqliteStore
from tests.support.hub_stage import EPOCH, result_of, waits


class StoppedWorker:
    """Keeps the work until the test lets it go on."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.is_stopped = True

    def run(self, work: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((work, done))
        if not self.is_stopped:
            self.go_on()
        return done

    def go_on(self) -> None:
        """Do the oldest work."""
        work, done = self.waiting.pop(0)
        try:
            result = work()
        except Exception:
            done.errback(Failure())
        else:
            done.callback(result)

    def stop(self) -> None:
        """There is nothing to stop."""


def message(name: str, session_id: str = "s1") -> MessageRow:
    return MessageRow(name, session_id, 0, {"text": name}, EPOCH, invoked_at=EPOCH)


@pytest.fixture
def worker() -> StoppedWorker:
    return StoppedWorker()


@pytest.fixture
def store(tmp_path: Path, worker: StoppedWorker) -> Any:
    made = SqliteStore(tmp_path / "hub.db", Clock(), worker)
    worker.is_stopped = False
    made.open()
    Deferred.fromCoroutine(made.create_session(SessionRow("s1", "default", "t", EPOCH, EPOCH)))
    worker.is_stopped = True
    yield made
    worker.is_stopped = False
    while worker.waiting:
        worker.go_on()
    made.close()


def add(store: SqliteStore, name: str, session_id: str = "s1") -> Deferred[Any]:
    return Deferred.fromCoroutine(store.add_message(message(name, session_id), None))


def names(store: SqliteStore) -> list[str]:
    rows = result_of(Deferred.fromCoroutine(store.after_seq("s1", 0, 10_000, EPOCH)))
    return [row.id for row in rows]


def test_nothing_is_answered_or_read_before_it_is_committed(
    store: SqliteStore, worker: StoppedWorker
) -> None:
    added = add(store, "m1")
    assert waits(added)
    assert names(store) == []
    worker.go_on()
    assert result_of(added).message.seq == 1
    assert names(store) == ["m1"]


def test_what_arrives_during_a_commit_shares_the_next_one(
    store: SqliteStore, worker: StoppedWorker
) -> None:
    answered: list[int] = []
    for number in range(10):
        add(store, f"m{number}").addCallback(lambda added: answered.append(added.message.seq))
    assert len(worker.waiting) == 1
    worker.go_on()
    assert answered == [1]
    worker.go_on()
    assert answered == list(range(1, 11))
    assert not worker.waiting


def test_a_transaction_has_a_limit_so_that_the_reactor_goes_on(
    store: SqliteStore, worker: StoppedWorker
) -> None:
    for number in range(MAX_BATCH + 2):
        add(store, f"m{number}")
    worker.go_on()
    worker.go_on()
    assert len(names(store)) == MAX_BATCH + 1
    worker.go_on()
    assert len(names(store)) == MAX_BATCH + 2


def test_a_change_that_is_refused_undoes_nothing_else(
    store: SqliteStore, worker: StoppedWorker
) -> None:
    def half(turn: Any) -> None:
        turn.add_message(message("half"), None)
        raise IdTaken("half")

    first, refused, missing, broken, last = (
        add(store, "m1"),
        Deferred.fromCoroutine(store.turn("s1", half)),
        add(store, "m2", "nobody"),
        add(store, "m1"),  # its id is taken: a constraint of the database
        add(store, "m3"),
    )
    worker.go_on()
    worker.go_on()
    assert result_of(first).message.seq == 1
    for failed, kind in ((refused, IdTaken), (missing, KeyError), (broken, StoreFailed)):
        with pytest.raises(kind):
            result_of(failed)
    assert result_of(last).message.seq == 2
    assert names(store) == ["m1", "m3"]


def test_events_come_out_after_the_commit_in_its_order(
    store: SqliteStore, worker: StoppedWorker
) -> None:
    published: list[Any] = []
    store.follow(lambda event: published.append((event.namespace, event.kind, event.fields)))

    def turn(name: str) -> Callable[[Any], str]:
        def change(transaction: Any) -> str:
            transaction.add_message(message(name), None)
            transaction.publish("default", "kind", name=name)
            if name == "m1":
                raise IdTaken(name)
            return name

        return change

    turns = [Deferred.fromCoroutine(store.turn("s1", turn(f"m{number}"))) for number in range(3)]
    for done in turns:
        done.addCallbacks(published.append, lambda failure: None)
    assert not published
    worker.go_on()
    worker.go_on()
    assert published == [
        ("default", "kind", {"name": "m0"}),
        "m0",
        ("default", "kind", {"name": "m2"}),
        "m2",
    ]


@pytest.mark.parametrize("moment", ["statement", "commit"])
def test_a_full_disk_fails_all_that_waits_and_stores_none_of_it(
    store: SqliteStore, worker: StoppedWorker, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was begun before the failure fails, so that no later change overtakes it."""
    logged: list[str] = []
    monkeypatch.setattr(
        GroupCommit,
        "log",
        Logger(observer=lambda event: logged.append(formatEvent(event))),
    )
    connection = store.database.connection
    done = [add(store, "m0"), add(store, "m1")]
    worker.go_on()
    if moment == "statement":
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        big = MessageRow("big", "s1", 0, "x" * 1_000_000, EPOCH)
        done += [Deferred.fromCoroutine(store.add_message(big, None)), add(store, "m2")]
        worker.go_on()
        kept = ["m0", "m1"]
    else:
        kept = ["m0"]
        _, commit = worker.waiting.pop()
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        done.append(add(store, "m2"))
        commit.errback(full)
    for failed in done[len(kept) :]:
        with pytest.raises(StoreFull):
            result_of(failed)
    assert names(store) == kept
    connection.execute("PRAGMA max_page_count = 1000000")
    again = add(store, "again")
    worker.go_on()
    assert result_of(again).message.seq == len(kept) + 1
    assert logged == [
        "The database cannot be written: no space left for the database",
        "The database can be written again",
    ]


def test_a_locked_database_fails_all_that_waits_after_a_time(
    tmp_path: Path, store: SqliteStore, worker: StoppedWorker
) -> None:
    holder = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    done = [add(store, f"m{number}") for number in range(3)]
    store.database._clock.pump([0.1] * int(LOCK_TIMEOUT / 0.1 + 2))
    for failed in done:
        with pytest.raises(StoreBusy):
            result_of(failed)
    holder.close()
    add(store, "m3")
    worker.go_on()
    assert names(store) == ["m3"]


def test_closing_waits_for_what_was_begun(
    tmp_path: Path, store: SqliteStore, worker: StoppedWorker
) -> None:
    first, second = add(store, "m1"), add(store, "m2")
    closed = store.close()
    with pytest.raises(StoreFailed, match="closed"):
        result_of(add(store, "late"))
    assert waits(closed)
    worker.is_stopped = False
    worker.go_on()
    assert (result_of(first).message.seq, result_of(second).message.seq) == (1, 2)
    assert not waits(closed)
    assert not (tmp_path / "hub.db-wal").exists()
    with closing(sqlite3.connect(tmp_path / "hub.db")) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (2,)


@pytest_twisted.ensureDeferred
async def test_the_reactor_goes_on_while_the_disk_is_slow(reactor: Any, tmp_path: Path) -> None:
    release, threads = threading.Event(), []

    class SlowDisk(DiskThread):
        def run(self, work: Callable[[], Any]) -> Deferred[Any]:
            def slowly() -> Any:
                threads.append(threading.current_thread())
                assert release.wait(30)
                return work()

            return super().run(slowly)

    store = SqliteStore(tmp_path / "hub.db", reactor, SlowDisk(reactor))
    opened = store.open()
    release.set()
    await opened
    await store.create_session(SessionRow("s1", "default", "t", EPOCH, EPOCH))
    release.clear()
    added = add(store, "m1")
    await deferLater(reactor, 0.05)
    assert await store.sessions()  # reading goes on as well
    assert waits(added)
    release.set()
    assert (await added).message.seq == 1
    await store.close()
    assert threading.current_thread() not in threads


def test_what_is_committed_is_on_the_disk(store: SqliteStore) -> None:
    for pragma, value in (("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1)):
        assert store.database.connection.execute(f"PRAGMA {pragma}").fetchone()[0] == value
