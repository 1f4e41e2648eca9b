"""What a hub that was killed has stored and not told of: pages of other hubs show it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.domain.merge import Merging
from hapi.hub.store.interface import StoreBusy
from tests.support.cluster_stage import ClusterStage, PageReader
from tests.support.hub_stage import result_of

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


def kill(hubs: ClusterStage, hub: Any) -> None:
    hub.kill()
    hubs.hubs.remove(hub)


def rename(hub: Any, session_id: str, name: str) -> None:
    answer = hub.rest("PATCH", f"/api/sessions/{session_id}", {"name": name})
    assert answer.status == 200, answer.body


def test_pages_of_other_hubs_read_again_what_a_killed_hub_did_not_tell_of(
    hubs: ClusterStage,
) -> None:
    a, b, c = hubs.hubs
    at_home, homeless = a.session(tag="home"), a.session(tag="nowhere")
    deleted = a.session(tag="gone", lifecycleState="archived")
    a.claim(at_home)
    hubs.tick(7)
    pages = [PageReader(), PageReader()]
    for hub, page in zip((b, c), pages, strict=True):
        page.open(hub)
    a.memory.loses_events = True
    rename(a, at_home, "New title")
    rename(a, homeless, "Another title")
    new = a.session(tag="new", name="Brand new")
    assert a.rest("DELETE", f"/api/sessions/{deleted}").status == 200
    kill(hubs, a)
    hubs.tick(TAKEN_FOR_DEAD)
    for hub, page in zip((b, c), pages, strict=True):
        assert not page.is_open
        sessions = hub.registry.sessions
        assert sessions[at_home].metadata["name"] == "New title"
        assert sessions[homeless].metadata["name"] == "Another title"
        assert new in sessions
        assert deleted not in sessions
        page.open(hub)
        page.read()
        assert page.resumes[-1] == "gap"


def test_a_page_of_the_killed_hub_does_not_resume_from_before_at_another_one(
    hubs: ClusterStage,
) -> None:
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
    page.open(b)
    page.read()
    assert page.resumes == ["gap", "ok"]  # nobody knows yet
    hubs.tick(TAKEN_FOR_DEAD)
    page.open(b)
    page.read()
    assert page.resumes == ["gap", "ok", "gap"]
    rename(b, session_id, "Newer")
    hubs.settle()
    page.open(b)
    page.read()
    assert page.resumes[-1] == "ok"


def test_a_page_does_not_resume_at_a_hub_that_was_started_after_the_death(
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
    hubs.clock.advance(TAKEN_FOR_DEAD)
    d = hubs.start("d")
    hubs.hubs.append(d)
    page.open(d)
    page.read()
    assert page.resumes == ["gap", "gap"]


def test_only_the_rows_that_differ_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hubs = ClusterStage("ab")
    a, b = hubs.hubs
    ids = [a.session(tag=f"s{number}") for number in range(60)]
    hubs.tick(7)
    read: list[str] = []
    row = b.memory.session_row
    monkeypatch.setattr(b.memory, "session_row", lambda name: read.append(name) or row(name))
    a.memory.loses_events = True
    for session_id in ids[:25]:
        rename(a, session_id, "New")
    kill(hubs, a)
    hubs.tick(TAKEN_FOR_DEAD)
    assert sorted(read) == sorted(ids[:25])


def test_rows_that_cannot_be_read_are_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    hubs = ClusterStage("ab")
    a, b = hubs.hubs
    session_id = a.session()
    hubs.tick(7)
    a.memory.loses_events = True
    rename(a, session_id, "New title")
    sessions = b.memory.sessions

    async def fail() -> Any:
        raise StoreBusy("the database is too slow")

    monkeypatch.setattr(b.memory, "sessions", fail)
    kill(hubs, a)
    hubs.tick(TAKEN_FOR_DEAD)
    assert "name" not in b.registry.sessions[session_id].metadata
    monkeypatch.setattr(b.memory, "sessions", sessions)
    hubs.tick(2)
    assert b.registry.sessions[session_id].metadata["name"] == "New title"


def test_a_hub_that_stops_while_it_reads_again_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hubs = ClusterStage("ab")
    a, b = hubs.hubs
    hubs.tick(7)

    async def fail() -> Any:
        raise StoreBusy("the database is too slow")

    monkeypatch.setattr(b.memory, "sessions", fail)
    kill(hubs, a)
    hubs.tick(TAKEN_FOR_DEAD)
    b.cluster.refresh.stop()
    assert not b.cluster.refresh._is_running


def test_a_cancelled_prompt_and_a_merged_session_are_published_in_the_transaction_that_stores_them(
    hubs: ClusterStage,
) -> None:
    a, b, _ = hubs.hubs
    old, new = a.session(tag="old", lifecycleState="archived"), a.session(tag="new")
    a.claim(new)
    a.alive(a.connect(sessionId=new), new)
    later = {"text": "later", "localId": "l1", "scheduledAt": a.now() + 60_000}
    assert a.rest("POST", f"/api/sessions/{new}/messages", later).status == 200
    hubs.tick(7)
    page = b.listen()
    a.memory.loses_events = True
    assert a.rest("DELETE", f"/api/sessions/{new}/messages/l1").status == 200
    sessions = a.registry.sessions
    merge = Merging(a.registry).merge_here(sessions[old], sessions[new])
    result_of(Deferred.fromCoroutine(merge))
    kill(hubs, a)
    hubs.settle()
    assert [event["localId"] for event in page.of("message-cancelled")] == ["l1"]
    assert [event["sessionId"] for event in page.of("messages-invalidated")] == [new]
    assert [event["sessionId"] for event in page.of("session-removed")] == [old]
    assert old not in b.registry.sessions


def test_pages_read_once_when_a_hub_has_stood_still_and_comes_back() -> None:
    hubs = ClusterStage("ab")
    a, b = hubs.hubs
    hubs.tick(7)
    page = PageReader()
    page.open(b)
    a.memory.stop_hub()
    hubs.tick(TAKEN_FOR_DEAD)
    page.open(b)
    page.read()
    assert page.resumes == ["gap", "gap"]
    a.memory.resume_hub()
    hubs.tick(7)
    assert page.is_open


def test_what_an_entry_tells_while_everything_is_read_again_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hubs = ClusterStage("abc")
    a, b, c = hubs.hubs
    session_id = b.session()
    b.claim(session_id)
    peer = b.connect(sessionId=session_id)
    b.alive(peer, session_id, thinking=True)
    hubs.tick(7)
    states: Deferred[Any] = Deferred()
    monkeypatch.setattr(c.memory, "live_states", lambda: states)
    kill(hubs, a)
    hubs.tick(TAKEN_FOR_DEAD)
    assert c.registry.sessions[session_id].thinking
    before = deepcopy(hubs.shared.live)
    b.alive(peer, session_id, thinking=False)
    hubs.settle()
    states.callback(before)
    hubs.settle()
    assert not c.cluster.refresh._is_running
    assert not c.registry.sessions[session_id].thinking
