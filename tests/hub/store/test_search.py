"""Contract of a store: what is searched, and what follows deletions and merges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hapi.hub.store.message_text import passages
from hapi.hub.store.rows import MessageRow, SearchTerm
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
def store(store: Any) -> Any:
    add_session(store)
    return store


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


def test_a_large_session_that_is_discarded_is_not_found_any_more(store: Any) -> None:
    for number in range(100):
        add_message(store, prompt(f"needle {number}"), name=f"n{number}")
    run(store.discard_session("s1"))
    assert found(store, "needle") == []
    for _ in range(1000):
        if not run(store.purge()):
            break
    assert found(store, "needle") == []


def test_a_deleted_message_is_not_found_any_more(store: Any) -> None:
    add_message(store, prompt("needle"), name="waiting", local_id="L", invoked_at=None)
    add_session(store, "s2")
    add_message(store, prompt("needle"), "s2", name="other")
    assert found(store, "needle") == ["other", "waiting"]
    run(store.delete_message("waiting"))
    assert found(store, "needle") == ["other"]
    run(store.delete_session("s2"))
    assert found(store, "needle") == []


def test_a_prompt_is_found_from_the_same_place_when_it_has_been_taken(store: Any) -> None:
    add_message(store, prompt("needle"), name="first", local_id="L", invoked_at=None)
    add_message(store, prompt("needle"), name="second")
    run(store.consume("s1", ["L"], EPOCH + 5, True))
    assert found(store, "needle") == ["second", "first"]


def test_copies_are_not_found(store: Any) -> None:
    add_session(store, "s2")
    add_message(store, prompt("needle"), name="a")
    run(store.copy_messages("s1", "s2", 0))
    assert found(store, "needle") == ["a"]


def test_a_new_store_has_an_index_of_all_that_is_in_it(store: Any) -> None:
    progress = store.index_progress()
    assert (progress.problem, progress.is_complete) == ("", True)
    assert run(store.index_older()) is False


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
    assert found(store, "needle") == []


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=60))
def test_any_text_is_found_by_its_own_words(store: Any, text: str) -> None:
    run(store.delete_session("s1"))
    add_session(store)
    add_message(store, prompt(text), name="a")
    there = words(text)
    expected = ["a"] if there else []
    page = run(store.search("default", [SearchTerm(tuple(there))] if there else [], 5))
    assert [row.id for row in page.messages] == expected


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
