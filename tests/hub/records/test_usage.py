"""The use of tokens by day, agent and model, and the size of the database."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.hub_stage import EPOCH, Stage
from tests.support.records_stage import add_message, add_session, prompt, record, run

DAY = 24 * 3600 * 1000  # ms
ZERO = dict.fromkeys(
    (
        *("inputTokens", "outputTokens", "cacheReadTokens", "cacheCreationTokens"),
        *("totalTokens", "uncachedTokens", "requests"),
    ),
    0,
)


def counted(**total: int) -> dict[str, Any]:
    """A `token_count` record, whose input includes what came from a cache."""
    return record(
        type="token_count",
        model="kimi-k2",
        inputTokenSemantics="includes-cache",
        info={"total": total},
    )


def claude(name: str, output: int, model: str = "claude-opus-4-8") -> dict[str, Any]:
    usage = {
        "input_tokens": 10,
        "output_tokens": output,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 7,
    }
    message = {"id": name, "model": model, "usage": usage, "content": []}
    return {
        "role": "agent",
        "content": {"type": "output", "data": {"type": "assistant", "message": message}},
    }


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    for name, flavor in (("s1", "kimi"), ("s2", "claude")):
        add_session(stage.store, name, flavor=flavor)
    add_session(stage.store, "foreign", namespace="other", flavor="kimi")
    run(stage.registry.load())
    return stage


def summary(stage: Stage, query: str = "", **options: Any) -> Any:
    answer = stage.rest("GET", f"/api/usage/summary{query}", **options)
    assert answer.status == 200, answer
    return answer.body


def amounts(groups: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(group["key"], group["totalTokens"]) for group in groups]


def test_nothing_used_is_zero(stage: Stage) -> None:
    body = summary(stage)
    assert body == {
        "range": {"from": EPOCH - 7 * DAY, "to": EPOCH},
        "totals": {**ZERO, "sessions": 0},
        "daily": [],
        "byAgent": [],
        "byModel": [],
        "updatedAt": EPOCH,
    }


def test_tokens_are_added_up_by_day_agent_and_model(stage: Stage) -> None:
    add_message(stage.store, counted(inputTokens=110, outputTokens=20, cachedInputTokens=10), "s1")
    add_message(stage.store, claude("a", 5), "s2")
    add_message(stage.store, claude("b", 6, "claude-haiku"), "s2")
    body = summary(stage)
    assert body["totals"] == {
        "inputTokens": 120,
        "outputTokens": 31,
        "cacheReadTokens": 210,
        "cacheCreationTokens": 14,
        "totalTokens": 375,
        "uncachedTokens": 151,
        "requests": 3,
        "sessions": 2,
    }
    assert amounts(body["byAgent"]) == [("claude", 245), ("kimi", 130)]
    assert amounts(body["byModel"]) == [
        ("kimi-k2", 130),
        ("claude-haiku", 123),
        ("claude-opus-4-8", 122),
    ]
    assert amounts(body["daily"]) == [("2026-11-18", 375)]


def test_the_records_of_one_answer_count_once_with_its_last_figures(stage: Stage) -> None:
    for output in (1, 1, 40):
        add_message(stage.store, claude("a", output), "s2")
    totals = summary(stage)["totals"]
    assert (totals["requests"], totals["outputTokens"]) == (1, 40)


def test_days_are_those_of_the_time_zone(stage: Stage) -> None:
    late = EPOCH - EPOCH % DAY - 20 * 60_000  # 23:40 in UTC
    content = counted(inputTokens=1, outputTokens=1)
    add_message(stage.store, content, "s1", created_at=late)
    (utc,) = summary(stage)["daily"]
    (berlin,) = summary(stage, "?timeZone=Europe/Berlin")["daily"]
    (kathmandu,) = summary(stage, "?timeZone=Asia/Kathmandu")["daily"]
    assert utc["key"] < berlin["key"] == kathmandu["key"]


@pytest.mark.parametrize(
    ("name", "count"), [("7d", 1), ("30d", 2), ("all", 3), ("1d", 1), ("nonsense", 1)]
)
def test_a_range_begins_so_many_days_ago(stage: Stage, name: str, count: int) -> None:
    for days in (400, 20, 3):
        content = counted(inputTokens=1, outputTokens=1)
        add_message(stage.store, content, "s1", created_at=EPOCH - days * DAY)
        stage.store.database.connection.execute("UPDATE sessions SET last_time = 0")
    assert summary(stage, f"?range={name}")["totals"]["requests"] == count


@pytest.mark.parametrize("zone", ["Nope/Zone", "../../etc/passwd", "Europe", "/etc/localtime"])
def test_an_unknown_time_zone_is_refused(stage: Stage, zone: str) -> None:
    answer = stage.rest("GET", f"/api/usage/summary?timeZone={zone}")
    assert (answer.status, answer.body["error"]) == (400, "Invalid timeZone")


def test_each_namespace_has_its_own_figures(stage: Stage) -> None:
    add_message(stage.store, counted(inputTokens=5, outputTokens=5), "foreign")
    assert summary(stage)["totals"]["requests"] == 0
    assert summary(stage, namespace="other")["totals"]["requests"] == 1


def test_tokens_stay_spent_when_their_session_is_deleted(stage: Stage) -> None:
    add_message(stage.store, counted(inputTokens=5, outputTokens=5), "s1")
    run(stage.store.delete_session("s1"))
    assert summary(stage)["totals"]["totalTokens"] == 10


@pytest.mark.parametrize(
    "content",
    [
        prompt('{"type": "token_count"} "usage"'),
        record(type="token_count"),
        record(type="token_count", info=None),
        record(type="token_count", info={"total": []}),
        counted(inputTokens=0, outputTokens=0),
        record(type="token_count", info={"total": {"inputTokens": "many", "outputTokens": True}}),
        record(type="token_count", info={"total": {"inputTokens": -5, "outputTokens": 1e300}}),
        claude("x", 0) | {"content": {"type": "output", "data": {"message": {"usage": 5}}}},
    ],
)
def test_odd_records_count_for_nothing(stage: Stage, content: Any) -> None:
    add_message(stage.store, content, "s1")
    assert summary(stage)["totals"]["requests"] == 0


def test_the_owner_alone_sees_how_large_the_database_is(stage: Stage) -> None:
    answer = stage.rest("GET", "/api/storage/sqlite")
    assert answer.status == 200
    body = answer.body
    assert body["totalBytes"] == body["databaseBytes"] + body["walBytes"] + body["shmBytes"]
    assert stage.rest("GET", "/api/storage/sqlite", namespace="other").status == 403


def test_an_export_has_the_session_and_all_its_messages(stage: Stage) -> None:
    for number in range(250):
        add_message(stage.store, prompt(f"n{number}"), "s1", name=f"n{number}")
    pending = stage.begin("GET", "/api/sessions/s1/export")
    for _ in range(5):  # it is read in pieces, between which the hub serves others
        stage.clock.advance(0.01)
    answer = stage.finish(pending)
    assert answer.status == 200
    assert sorted(answer.body) == [
        *("exportedAt", "messages", "schemaVersion", "scratchlist", "session")
    ]
    assert [message["id"] for message in answer.body["messages"]] == [f"n{n}" for n in range(250)]
    assert answer.body["session"]["id"] == "s1"
    assert json.loads(json.dumps(answer.body["messages"][0]["content"])) == prompt("n0")


def test_a_very_long_conversation_is_exported_when_that_is_asked_for(stage: Stage) -> None:
    stage.store.database.connection.execute("UPDATE sessions SET last_seq = 30000")
    run(stage.registry.load())
    answer = stage.rest("GET", "/api/sessions/s1/export")
    assert (answer.status, answer.body["code"]) == (413, "session_export_too_large")
    assert (answer.body["count"], answer.body["limit"]) == (30000, 20000)
    assert stage.rest("GET", "/api/sessions/s1/export?force=true").status == 200


def test_a_conversation_is_exported_as_markdown(stage: Stage) -> None:
    texts = [
        prompt("Do `this`"),
        record(type="tool-call", name="Bash", callId="c", input={"command": "echo ```"}),
        record(type="tool-call-result", callId="c", output="```\nout"),
        record(type="reasoning", id="r", message="hm"),
        record(type="plan", entries=[{"content": "one"}, {"content": "two"}]),
        record(type="message", message="Done.\n\n- a\n- b"),
    ]
    for number, content in enumerate(texts):
        add_message(stage.store, content, "s1", name=f"n{number}")
    answer = stage.rest("GET", "/api/sessions/s1/export/markdown")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert (
        answer.body
        == """# s1

- Agent: Kimi
- Directory: /
- Begun: 2026-11-18 11:06 UTC
- Exported: 2026-11-18 11:06 UTC

## Prompt, 2026-11-18 11:06 UTC

Do `this`

### Tool: Bash

````
echo ```
````

````
```
out
````

## Thought, 2026-11-18 11:06 UTC

> hm

## Plan, 2026-11-18 11:06 UTC

- one
- two

## Answer, 2026-11-18 11:06 UTC

Done.

- a
- b
"""
    )
