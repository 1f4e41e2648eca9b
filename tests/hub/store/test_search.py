"""Contract of a store: what is searched, and what follows deletions and merges."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from hapi.hub.store import message_index
from hapi.hub.store.columns import as_json
from hapi.hub.store.database import Database
from hapi.hub.store.message_text import passages
from hapi.hub.store.rows import MessageRow, SearchTerm
from hapi.hub.store.schema import MIGRATIONS
from hapi.hub.store.sqlite import SqliteStore, memory_store
from hapi.hub.store.words import normalized, spans, words
from tests.support.hub_stage import EPOCH
from tests.support.records_stage import (
    add_message,
    add_session,
    answer,
    found,
    prompt,
    record,
    run,
    terms,
)


@pytest.fixture
def store() -> Any:
    store = memory_store(Clock())
    add_session(store)
    yield store
    store.close()


def index_all(store: Any) -> None:
    while run(store.index_older()):
        pass


def test_messages_are_found_by_their_words_the_newest_first(store: Any) -> None:
    add_message(store, prompt("Compute the Fibonacci numbers"), name="a")
    add_message(store, answer("fibonacci: 1, 1, 2, 3"), name="b")
    add_message(store, answer("something else"), name="c")
    assert found(store, "FIBONACCI") == ["b", "a"]
    assert found(store, "fibonacci", "numbers") == ["a"]
    assert found(store, "fibo*") == ["b", "a"]
    assert found(store, "fibo") == []
    assert found(store, "the fibonacci") == ["a"]
    assert found(store, "fibonacci the") == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("数据库连接失败，请检查配置", "连接"),
        ("数据库连接失败，请检查配置", "数据库"),
        ("データベースに接続できません", "接続"),
        ("ฐานข้อมูลล้มเหลว", "ข้อมูล"),
        ("Die Größe der Änderung", "GRÖSSE"),
        ("un café très fort", "cafe"),
        ("un cafe\u0301 decomposed", "café"),
        ("Привет, мир", "привет"),
        ("edit hapi/hub/pages/views/chat.js now", "views/chat.js"),
        ("snake_case_name", "case_name"),
        ("हिन्दी में", "हिन्दी"),
    ],
)
def test_words_of_any_script_are_found(store: Any, text: str, query: str) -> None:
    add_message(store, prompt(text), name="a")
    assert found(store, query) == ["a"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (prompt("needle"), "needle"),
        ({"role": "user", "content": "needle"}, "needle"),
        (answer("needle"), "needle"),
        (record(type="reasoning", id="r", message="needle"), "needle"),
        (record(type="tool-call", name="Bash", input={"command": "grep needle"}), "needle"),
        (record(type="tool-call", name="needle", input={}), "needle"),
        (record(type="tool-call-result", output="a needle"), "needle"),
        (record(type="tool-call-result", output="x " * 9000 + "needle"), "needle"),
        (record(type="plan", entries=[{"content": "find the needle"}]), "needle"),
        (
            {
                "role": "agent",
                "content": {"type": "event", "data": {"type": "message", "message": "needle"}},
            },
            "needle",
        ),
        (
            {
                "role": "agent",
                "content": {
                    "type": "output",
                    "data": {
                        "type": "assistant",
                        "message": {"content": [{"type": "text", "text": "needle"}]},
                    },
                },
            },
            "needle",
        ),
        (
            {
                "role": "agent",
                "content": {
                    "type": "output",
                    "data": {
                        "type": "user",
                        "message": {
                            "content": [{"type": "tool_result", "content": [{"text": "needle"}]}]
                        },
                    },
                },
            },
            "needle",
        ),
    ],
)
def test_all_that_people_read_is_searched(store: Any, content: Any, word: str) -> None:
    add_message(store, content, name="a")
    assert found(store, word) == ["a"]


@pytest.mark.parametrize(
    "content",
    [
        record(type="reasoning", id="r", message="needle", live=True),
        record(type="token_count", model="needle"),
        record(type="tool-call-result", output="y " * 9000 + "needle " + "x " * 9000),
        {"role": "agent", "content": {"type": "event", "data": {"type": "ready", "x": "needle"}}},
        {
            "role": "agent",
            "content": {"type": "output", "data": {"type": "summary", "summary": "needle"}},
        },
        {"needle": "needle"},
        "needle",
        None,
        ["needle"],
    ],
)
def test_what_people_do_not_read_is_not_searched(store: Any, content: Any) -> None:
    add_message(store, content, name="a")
    assert found(store, "needle") == []


def test_only_the_namespace_and_the_session_asked_for_are_searched(store: Any) -> None:
    add_session(store, "s2")
    add_session(store, "other", namespace="other")
    for session in ("s1", "s2", "other"):
        add_message(store, prompt("needle"), session, name=f"in {session}")
    assert found(store, "needle") == ["in s2", "in s1"]
    assert found(store, "needle", namespace="other") == ["in other"]
    assert found(store, "needle", session_id="s1") == ["in s1"]
    assert found(store, "needle", session_id="other") == []


def test_pages_one_after_the_other_are_all_that_is_found(store: Any) -> None:
    names = [add_message(store, prompt(f"needle {number}")).id for number in range(25)]
    seen: list[str] = []
    before = None
    while True:
        page = run(store.search("default", terms("needle"), 10, before))
        seen += [row.id for row in page.messages]
        before = page.next
        if before is None:
            break
    assert seen == names[::-1]


def words_left(store: Any) -> int:
    """How many entries the index still has."""
    (count,) = store.database.read(
        "SELECT count(*) FROM search_index WHERE search_index MATCH 'needle'"
    )[0]
    return int(count)


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


def test_a_large_session_that_is_discarded_is_not_found_any_more(store: Any) -> None:
    for number in range(100):
        add_message(store, prompt(f"needle {number}"), name=f"n{number}")
    run(store.discard_session("s1"))
    assert found(store, "needle") == []
    for _ in range(1000):
        if not run(store.purge()):
            break
    assert words_left(store) == 0
    run(store.purge())
    (count,) = store.database.read("SELECT count(*) FROM search_index_data WHERE id > 10")[0]
    assert count <= 1  # nothing is left of the words themselves


def test_a_thought_is_found_once_when_it_is_complete(store: Any) -> None:
    for number, live in enumerate((True, True, False)):
        content = record(
            type="reasoning", id="r", message="needle", **({"live": True} if live else {})
        )
        add_message(store, content, name=f"t{number}", stream="r")
    assert found(store, "needle") == ["t2"]


def test_after_a_merge_messages_are_found_in_the_session_that_is_left(store: Any) -> None:
    add_session(store, "s2")
    add_message(store, prompt("needle one"), "s1", name="one")
    add_message(store, prompt("needle two"), "s2", name="two")
    row = next(row for row in run(store.sessions()) if row.id == "s2")
    run(store.merge_session("s1", "s2", row))
    page = run(store.search("default", terms("needle"), 10, None, "s2"))
    assert {(row.id, row.session_id) for row in page.messages} == {("one", "s2"), ("two", "s2")}


def test_a_change_that_fails_is_not_found(store: Any) -> None:
    def change(turn: Any) -> None:
        turn.add_message(MessageRow("m", "s1", 0, prompt("needle"), EPOCH), None)
        raise ValueError

    with pytest.raises(ValueError):
        run(store.turn("s1", change))
    assert (found(store, "needle"), words_left(store)) == ([], 0)


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


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=60))
def test_any_text_is_found_by_its_own_words(text: str) -> None:
    store = memory_store(Clock())
    add_session(store)
    add_message(store, prompt(text), name="a")
    there = words(text)
    expected = ["a"] if there else []
    page = run(store.search("default", [SearchTerm(tuple(there))] if there else [], 5))
    assert [row.id for row in page.messages] == expected
    store.close()


@given(st.text())
def test_the_places_of_words_are_those_that_are_indexed(text: str) -> None:
    assert [span.word for span in spans(normalized(text))] == words(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "data", "message", "text", "input", "output"]
            ),
            inner | st.sampled_from(["user", "agent", "codex", "output", "tool-call", "assistant"]),
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_content_makes_the_index_fail(content: Any) -> None:
    for passage in passages(content):
        assert isinstance(passage.searched, str)
