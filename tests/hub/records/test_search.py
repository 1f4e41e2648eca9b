"""Search as people see it: the query, the snippet, the route."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi.hub.records.query import parse_query
from hapi.hub.records.snippets import snippet_of
from tests.support.access_tokens import create_token, request, web_token
from tests.support.hub_stage import Stage
from tests.support.records_stage import add_message, add_session, answer, prompt, record, run


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("  \t ", []),
        ("one two", ["one", "two"]),
        ('"one two" three', ["one two", "three"]),
        ("“one two” three", ["one two", "three"]),
        ('"one', ["one"]),
        ("fib*", ["fib*"]),
        ("chat.js*", ["chat js*"]),
        ('one AND NOT "two OR" NEAR(a b)', ["one", "and", "not", "two or", "near a", "b"]),
        ("'; DROP TABLE messages; --", ["drop", "table", "messages"]),
        ('a" OR "b', ["a", " or ", "b"]),
        ("* ^ ( ) : {", []),
        ("数据库", ["数 据 库"]),
        ("one one ONE", ["one"]),
    ],
)
def test_a_query_is_words_phrases_and_beginnings(text: str, terms: list[str]) -> None:
    shown = [" ".join(t.words) + "*" * t.is_prefix for t in parse_query(text)]
    assert shown == [term.strip() for term in terms]


def marked(snippet: Any) -> list[str]:
    """The texts of the marks, cut as JavaScript cuts."""
    units = snippet.text.encode("utf-16-le")
    return [units[2 * start : 2 * end].decode("utf-16-le") for start, end in snippet.marks]


@pytest.mark.parametrize(
    ("text", "query", "marks"),
    [
        ("Compute the Fibonacci numbers", "fibonacci", ["Fibonacci"]),
        ("one two one", "one", ["one", "one"]),
        ("Fibonacci", "fib*", ["Fibonacci"]),
        ("😀 😀 cafe\u0301 au lait", "cafe lait", ["café", "lait"]),
        ("请检查数据库的连接", "数据库", ["数据库"]),
        ("a/b chat.js", "chat.js", ["chat.js"]),
    ],
)
def test_a_snippet_marks_what_was_found(text: str, query: str, marks: list[str]) -> None:
    assert marked(snippet_of(prompt(text), parse_query(query))) == marks


def test_a_snippet_is_cut_around_the_first_word_that_was_found() -> None:
    text = "before " * 2000 + "the needle here" + " after" * 2000
    snippet = snippet_of(answer(text), parse_query("needle"))
    assert len(snippet.text) <= 180
    assert marked(snippet) == ["needle"]
    assert (snippet.has_more_before, snippet.has_more_after) == (True, True)


def test_the_passage_with_most_words_is_shown() -> None:
    call = record(type="tool-call", name="Bash", input={"command": "grep -r needle hay"})
    snippet = snippet_of(call, parse_query("needle hay bash"))
    assert (snippet.kind, marked(snippet)) == ("tool", ["Bash", "needle", "hay"])


@given(st.text(max_size=300), st.text(max_size=30))
def test_no_text_and_no_query_make_a_snippet_fail(text: str, query: str) -> None:
    snippet = snippet_of(answer(text), parse_query(query))
    for start, end in snippet.marks:
        assert 0 <= start < end <= len(snippet.text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    add_session(stage.store, "s1")
    add_session(stage.store, "s2", name="Two")
    add_session(stage.store, "foreign", namespace="other")
    for number in range(3):
        add_message(stage.store, prompt(f"needle {number}"), "s1", name=f"m{number}")
    add_message(stage.store, answer("a needle in hay"), "s2", name="two")
    add_message(stage.store, answer("a foreign needle"), "foreign", name="foreign")
    run(stage.registry.load())
    return stage


def search(stage: Stage, query: str, more: str = "", **options: Any) -> Any:
    return stage.rest("GET", f"/api/search?q={quote(query)}{more}", **options)


def test_results_name_the_session_the_message_and_its_place(stage: Stage) -> None:
    body = search(stage, "hay needle").body
    assert body["results"] == [
        {
            "sessionId": "s2",
            "sessionTitle": "Two",
            "messageId": "two",
            "seq": 1,
            "time": body["results"][0]["time"],
            "kind": "answer",
            "snippet": {
                "text": "a needle in hay",
                "marks": [[2, 8], [12, 15]],
                "hasMoreBefore": False,
                "hasMoreAfter": False,
            },
        }
    ]
    assert (body["nextCursor"], body["isPartial"], body["indexing"]) == (None, False, None)


def test_pages_of_results_follow_each_other(stage: Stage) -> None:
    first = search(stage, "needle", "&limit=3").body
    assert [result["messageId"] for result in first["results"]] == ["two", "m2", "m1"]
    second = search(stage, "needle", f"&limit=3&cursor={first['nextCursor']}").body
    assert [result["messageId"] for result in second["results"]] == ["m0"]
    assert second["nextCursor"] is None


def test_a_search_stays_in_its_namespace_and_session(stage: Stage) -> None:
    assert len(search(stage, "needle").body["results"]) == 4
    assert len(search(stage, "needle", "&sessionId=s1").body["results"]) == 3
    assert len(search(stage, "needle", namespace="other").body["results"]) == 1
    assert search(stage, "needle", "&sessionId=foreign").status == 403
    assert search(stage, "needle", "&sessionId=none").status == 404


def test_a_search_needs_a_token_that_may_read(stage: Stage) -> None:
    assert search(stage, "needle", namespace=None).status == 401
    token = web_token(stage, create_token(stage, "machine")["token"])
    assert request(stage, token, "GET", "/api/search?q=needle").status == 403


@pytest.mark.parametrize("query", ["?q=", "", f"?q={'x' * 501}", "?q=a&limit=0", "?q=a&cursor=x"])
def test_a_malformed_search_is_refused(stage: Stage, query: str) -> None:
    assert stage.rest("GET", f"/api/search{query}").status == 400


@pytest.mark.parametrize(
    "query", ["*", '""', "; DROP TABLE messages", '" OR 1=1 --', "\x00", "NOT"]
)
def test_any_text_is_a_valid_query(stage: Stage, query: str) -> None:
    reply = search(stage, query)
    assert (reply.status, reply.body["results"]) == (200, [])


def test_a_hub_without_full_text_search_says_so(stage: Stage) -> None:
    stage.store.searches.index.problem = "SQLite was built without FTS5, its full-text search"
    reply = search(stage, "needle")
    assert (reply.status, reply.body["code"]) == (503, "no_search")
    assert "FTS5" in reply.body["error"]
