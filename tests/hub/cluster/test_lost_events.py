"""What a hub that was killed has stored and not published: pages of other hubs get it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.cluster import lost_events
from tests.support.cluster_stage import ClusterStage, PageReader
from tests.support.hub_stage import result_of
from tests.support.store_stage import message

TAKEN_FOR_DEAD = 13.0  # seconds after which other hubs know of it


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def hubs(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        yield ClusterStage("abc")
        return
    url = request.getfixturevalue("database_url")
    from tests.support.shared_postgres import DatabaseClock, SharedPostgres

    shared = SharedPostgres(DatabaseClock(), url)
    yield ClusterStage("abc", shared=shared)
    shared.close()


def run(coroutine: Any) -> Any:
    return result_of(Deferred.fromCoroutine(coroutine))


def kill(hubs: ClusterStage, hub: Any) -> None:
    hub.kill()
    hubs.hubs.remove(hub)


def rename(hub: Any, session_id: str, name: str) -> None:
    answer = hub.rest("PATCH", f"/api/sessions/{session_id}", {"name": name})
    assert answer.status == 200, answer.body


def titles(page: Any, session_id: str) -> list[Any]:
    """The names of the session in the events of a page, in order."""
    found = [*page.of("session-updated"), *page.of("session-added")]
    return [
        event["data"]["metadata"].get("name")
        for event in found
        if event["sessionId"] == session_id and "name" in (event["data"].get("metadata") or {})
    ]


def removed(page: Any) -> list[str]:
    return [event["sessionId"] for event in page.of("session-removed")]


def test_what_a_killed_hub_did_not_publish_is_published_once(hubs: ClusterStage) -> None:
    a, b, c = hubs.hubs
    at_home, homeless = a.session(tag="home"), a.session(tag="nowhere")
    deleted = a.session(tag="gone", lifecycleState="archived")
    a.claim(at_home)
    hubs.tick(7)
    pages = [hub.listen() for hub in (b, c)]
    a.memory.loses_events = True
    rename(a, at_home, "New title")
    rename(a, homeless, "Another title")
    new = a.session(tag="new", name="Brand new")
    assert a.rest("DELETE", f"/api/sessions/{deleted}").status == 200
    kill(hubs, a)
    hubs.tick(TAKEN_FOR_DEAD + 3 * lost_events.OTHERS_DELAY + 1)
    for hub, page in zip((b, c), pages, strict=True):
        sessions = hub.registry.sessions
        assert sessions[at_home].metadata["name"] == "New title"
        assert sessions[homeless].metadata["name"] == "Another title"
        assert new in sessions
        assert deleted not in sessions
        assert titles(page, at_home) == ["New title"]
        assert titles(page, homeless) == ["Another title"]
        assert titles(page, new) == ["Brand new"]
        assert [event["sessionId"] for event in page.of("session-added")] == [new]
        assert removed(page) == [deleted]


def test_the_hub_that_takes_over_a_session_publishes_what_is_missing_of_it_at_once(
    hubs: ClusterStage,
) -> None:
    a, b, c = hubs.hubs
    session_id = a.session()
    a.claim(session_id)
    hubs.tick(7)
    page = c.listen()
    a.memory.loses_events = True
    rename(a, session_id, "New title")
    kill(hubs, a)
    b.claim(session_id)
    hubs.settle()
    assert titles(page, session_id) == ["New title"]
    assert c.registry.sessions[session_id].metadata["name"] == "New title"
    hubs.tick(TAKEN_FOR_DEAD + 3 * lost_events.OTHERS_DELAY + 1)
    assert titles(page, session_id) == ["New title"]


def test_nothing_is_published_again_when_nothing_was_lost(hubs: ClusterStage) -> None:
    a, b, c = hubs.hubs
    session_id = a.session()
    a.machine()
    a.claim(session_id)
    peer = a.connect(sessionId=session_id)
    a.alive(peer, session_id)
    hubs.tick(7)
    page = c.listen()
    rename(a, session_id, "Title")
    metadata = {**a.registry.sessions[session_id].metadata, "summary": {"text": "s"}}
    version = a.registry.sessions[session_id].row.metadata_version
    peer.ask(
        "update-metadata", {"sid": session_id, "expectedVersion": version, "metadata": metadata}
    )
    state = {"requests": {"r1": {"tool": "Bash", "arguments": {}, "createdAt": a.now()}}}
    peer.ask("update-state", {"sid": session_id, "expectedVersion": 1, "agentState": state})
    for number in range(3):
        peer.send("message", {"sid": session_id, "message": {"role": "agent", "n": number}})
    a.rest("POST", f"/api/sessions/{session_id}/messages", {"text": "prompt"})
    hubs.settle()
    before = len(page.events)
    kill(hubs, a)
    b.claim(session_id)
    hubs.settle()
    assert [event["type"] for event in page.events[before:]] == []
    hubs.tick(TAKEN_FOR_DEAD + 3 * lost_events.OTHERS_DELAY + 1)
    later = [event for event in page.events[before:] if "metadata" in (event.get("data") or {})]
    assert later == []


def test_rows_are_read_in_portions_and_only_what_differs_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hubs = ClusterStage("ab")
    a, b = hubs.hubs
    monkeypatch.setattr(lost_events, "PORTION", 10)
    ids = [a.session(tag=f"s{number}") for number in range(60)]
    for session_id in ids:
        a.claim(session_id)
    hubs.tick(7)
    for session_id in ids[25:]:  # changes the row, but nothing that is lost
        run(a.memory.add_message(message(f"m-{session_id}", session_id), None))
        run(a.memory.change_session(session_id, {"has_content": False}))
    page, read = b.listen(), []
    portion, row = b.memory.session_rows, b.memory.session_row
    monkeypatch.setattr(
        b.memory, "session_rows", lambda after, limit: read.append(limit) or portion(after, limit)
    )
    monkeypatch.setattr(b.memory, "session_row", lambda name: read.append(name) or row(name))
    a.memory.loses_events = True
    for session_id in ids[:25]:
        rename(a, session_id, "New")
    kill(hubs, a)
    hubs.tick(TAKEN_FOR_DEAD + 5)
    rows = [each for each in read if isinstance(each, str)]
    assert set(rows) == set(ids[:25])
    assert len(rows) <= 50  # before and after it was published
    assert [each for each in read if each == 10] == [10] * 7
    assert [len(titles(page, session_id)) for session_id in ids] == [1] * 25 + [0] * 35


def test_pages_read_everything_again_when_no_hub_knows_what_they_have_missed(
    hubs: ClusterStage,
) -> None:
    a, *others = hubs.hubs
    session_id = a.session()
    hubs.tick(7)
    page = PageReader()
    page.open(a)
    rename(a, session_id, "Title")
    hubs.settle()
    assert len(page.read()) == 1
    a.memory.loses_events = True
    rename(a, session_id, "New title")
    for hub in (a, *others):
        kill(hubs, hub)
    d = hubs.start("d")
    hubs.hubs.append(d)
    page.open(d)
    hubs.tick(TAKEN_FOR_DEAD)
    assert not page.is_open
    page.open(d)
    page.read()
    assert page.resumes == ["gap", "ok", "gap"]
    rename(d, session_id, "Newer")
    hubs.settle()
    page.open(d)
    page.read()
    assert page.resumes[-1] == "ok"


def test_pages_go_on_at_a_hub_that_was_started_while_others_stayed(hubs: ClusterStage) -> None:
    a, b, _ = hubs.hubs
    session_id = a.session()
    hubs.tick(7)
    page = PageReader()
    page.open(a)
    rename(b, session_id, "Title")
    hubs.settle()
    page.read()
    a.memory.loses_events = True
    rename(a, session_id, "New title")
    kill(hubs, a)
    d = hubs.start("d")
    hubs.hubs.append(d)
    page.open(d)
    hubs.tick(TAKEN_FOR_DEAD + 3 * lost_events.OTHERS_DELAY + 1)
    page.read()
    assert page.resumes[-1] == "ok"
    assert page.is_open
    names = [event["data"]["metadata"]["name"] for event in page.read() if "data" in event]
    assert names == ["Title", "New title"]


def test_a_hub_that_stops_while_it_looks_for_lost_events_leaves_nothing_behind() -> None:
    hubs = ClusterStage("abc")
    a, b, c = hubs.hubs
    a.session()
    hubs.tick(7)
    kill(hubs, a)
    for hub in (b, c):
        hub.cluster.lost_events.check()
    run(b.cluster.stop())
    c.memory.cut()
    hubs.clock.advance(2)
    c.cluster.lost_events.stop()
    hubs.clock.advance(0)
    assert not b.cluster.lost_events._is_checking
    assert not c.cluster.lost_events._is_checking
