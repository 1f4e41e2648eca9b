"""The full-text index of SQLite: what is left in it, and how that of an older database is made."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from hapi.hub.store import message_index
from hapi.hub.store.columns import as_json
from hapi.hub.store.database import Database
from hapi.hub.store.rows import MessageRow
from hapi.hub.store.schema import MIGRATIONS
from hapi.hub.store.sqlite import SqliteStore, memory_store
from tests.support.hub_stage import EPOCH
from tests.support.records_stage import add_message, add_session, found, prompt, run


@pytest.fixture
def store() -> Any:
    store = memory_store(Clock())
    add_session(store)
    yield store
    store.close()


def index_all(store: Any) -> None:
    while run(store.index_older()):
        pass


def words_left(store: Any) -> int:
    """How many entries the index still has."""
    (count,) = store.database.read_now(
        "SELECT count(*) FROM search_index WHERE search_index MATCH 'needle'"
    )[0]
    return int(count)


def test_what_was_discarded_leaves_nothing_in_the_index(store: Any) -> None:
    for number in range(100):
        add_message(store, prompt(f"needle {number}"), name=f"n{number}")
    run(store.discard_session("s1"))
    for _ in range(1000):
        if not run(store.purge()):
            break
    assert words_left(store) == 0
    run(store.purge())
    (count,) = store.database.read_now("SELECT count(*) FROM search_index_data WHERE id > 10")[0]
    assert count <= 1  # nothing is left of the words themselves


def test_a_change_that_fails_leaves_nothing_in_the_index(store: Any) -> None:
    def change(turn: Any) -> None:
        turn.add_message(MessageRow("m", "s1", 0, prompt("needle"), EPOCH), None)
        raise ValueError

    with pytest.raises(ValueError):
        run(store.turn("s1", change))
    assert words_left(store) == 0


def test_deleted_messages_leave_nothing_in_the_index(store: Any) -> None:
    add_message(store, prompt("needle"), name="waiting", local_id="L", invoked_at=None)
    add_session(store, "s2")
    for number in range(3):
        add_message(store, prompt("needle"), "s2", name=f"n{number}")
    assert words_left(store) == 4
    run(store.delete_message("waiting"))
    assert found(store, "needle") == ["n2", "n1", "n0"]
    run(store.delete_session("s2"))
    assert words_left(store) == 0


def old_database(path: Path, count: int) -> None:
    """A database of the version before the index."""
    database = Database(path, Clock(), MIGRATIONS[:3])
    run(_wrap(database.open()))
    connection = database.connection
    connection.execute(
        "INSERT INTO sessions (id, namespace, tag, created_at, updated_at)"
        " VALUES ('s1', 'default', 't', 0, 0)"
    )
    for number in range(count):
        content = as_json(prompt(f"needle {number}"))
        connection.execute(
            "INSERT INTO messages (id, session_id, seq, content, created_at, invoked_at)"
            " VALUES (?, 's1', ?, ?, ?, ?)",
            (f"old{number}", number + 1, content, number, number),
        )
    connection.execute("UPDATE sessions SET last_seq = ?, last_time = ?", (count, count))
    run(_wrap(database.close()))


async def _wrap(deferred: Any) -> Any:
    return await deferred


def open_store(path: Path) -> SqliteStore:
    store = SqliteStore(path, Clock())
    run(_wrap(store.open()))
    return store


def test_an_older_database_is_indexed_in_portions_the_newest_first(tmp_path: Path) -> None:
    old_database(tmp_path / "hub.db", 300)
    store = open_store(tmp_path / "hub.db")
    assert run(store.index_older())
    before = store.index_progress()
    assert (before.is_complete, before.total) == (False, 300)
    assert 0 < before.done <= 300
    first = found(store, "needle")
    assert first[0] == "old299"
    add_message(store, prompt("needle new"), name="new")
    index_all(store)
    assert store.index_progress().is_complete
    assert found(store, "needle", limit=1000) == ["new", *(f"old{n}" for n in range(299, -1, -1))]
    store.close()


def test_indexing_goes_on_after_a_restart(tmp_path: Path) -> None:
    old_database(tmp_path / "hub.db", 300)
    store = open_store(tmp_path / "hub.db")
    run(store.index_older())
    store.close()
    store = open_store(tmp_path / "hub.db")
    index_all(store)
    assert sorted(found(store, "needle", limit=1000)) == sorted(f"old{n}" for n in range(300))
    store.close()
    store = open_store(tmp_path / "hub.db")
    assert store.index_progress().is_complete
    assert store.index_progress().total == 0
    store.close()


def test_a_build_without_fts5_says_so_and_stores_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hub.db"
    store = open_store(path)
    add_session(store)
    add_message(store, prompt("needle"), name="a")
    add_message(store, prompt("needle"), name="b", local_id="L", invoked_at=None)
    store.close()
    with monkeypatch.context() as patched:
        patched.setattr(message_index, "has_fts5", lambda connection: False)
        store = open_store(path)
        assert "FTS5" in store.index_progress().problem
        assert found(store, "needle") == []
        run(store.delete_message("b"))
        add_message(store, prompt("needle"), name="c")
        index_all(store)
        store.close()
    store = open_store(path)
    assert store.index_progress().problem == ""
    index_all(store)
    assert sorted(found(store, "needle")) == ["a", "c"]
    assert words_left(store) == 2
    store.close()


def test_another_cut_of_words_indexes_everything_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hub.db"
    store = open_store(path)
    add_session(store)
    for number in range(5):
        add_message(store, prompt("needle"), name=f"m{number}")
    store.close()
    monkeypatch.setattr(message_index, "FORMAT", message_index.FORMAT + 1)
    store = open_store(path)
    assert found(store, "needle") == []
    index_all(store)
    assert found(store, "needle") == [f"m{number}" for number in range(4, -1, -1)]
    store.close()


def test_a_portion_that_is_not_stored_is_indexed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_database(tmp_path / "hub.db", 30)
    store = open_store(tmp_path / "hub.db")
    index = store.searches.index

    def fails() -> bool:
        message_index.MessageIndex.advance(index)
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr(store.searches, "index", _Failing(index, fails))
        with pytest.raises(ValueError):
            run(store.index_older())
    index_all(store)
    assert len(found(store, "needle")) == 30
    store.close()


class _Failing:
    def __init__(self, index: Any, advance: Any) -> None:
        self._index, self.advance = index, advance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


def test_other_programs_can_change_the_database_without_the_index(tmp_path: Path) -> None:
    store = open_store(tmp_path / "hub.db")
    add_session(store)
    add_message(store, prompt("needle"), name="a")
    store.close()
    with sqlite3.connect(tmp_path / "hub.db") as connection:
        connection.execute("DELETE FROM messages")
    connection.close()
    store = open_store(tmp_path / "hub.db")
    assert found(store, "needle") == []
    store.close()


def test_a_message_whose_words_cannot_be_found_is_stored_and_logged(
    store: Any, monkeypatch: pytest.MonkeyPatch, logged_failures: Any
) -> None:
    def fail(content: str) -> Any:
        raise RecursionError

    monkeypatch.setattr(message_index, "passages", fail)
    add_message(store, prompt("needle"), name="m1")
    assert [row.id for row in run(store.latest("s1", 9))] == ["m1"]
    assert len(logged_failures.take(RecursionError)) == 1
