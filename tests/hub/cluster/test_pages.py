"""Pages of several hubs: the same events everywhere, and resume at any hub."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.cluster.journal import READ_INTERVAL
from hapi.hub.domain import events as hub_events
from tests.support.access_tokens import create_token, log_in
from tests.support.cluster_stage import ClusterStage, PageReader
from tests.support.hub_stage import result_of


@pytest.fixture
def hubs():
    return ClusterStage()


def receive(hub, session_id, number):
    message = {"sid": session_id, "message": {"role": "agent", "content": {"n": number}}}
    receiving = hub.hub.messages.receive(hub.registry.sessions[session_id], message, None)
    result_of(Deferred.fromCoroutine(receiving))


def say(hubs, hub, session_id, count, first=0):
    for number in range(first, first + count):
        receive(hub, session_id, number)
    hubs.settle()


def numbers(page):
    return [message["content"]["content"]["n"] for message in page.messages()]


def started(hubs):
    session_id = hubs.hubs[0].session()
    hubs.hubs[0].claim(session_id)
    hubs.settle()
    return session_id


def test_a_page_resumes_at_another_hub(hubs):
    a, b, _ = hubs.hubs
    session_id, page = started(hubs), PageReader()
    page.open(a)
    say(hubs, a, session_id, 2)
    page.close()
    say(hubs, a, session_id, 3, first=2)
    page.open(b)
    say(hubs, a, session_id, 1, first=5)
    assert numbers(page) == [0, 1, 2, 3, 4, 5]
    assert page.resumes == ["gap", "ok"]


def test_a_page_resumes_from_the_journal_when_the_hub_keeps_too_little(hubs, monkeypatch):
    a, b, _ = hubs.hubs
    monkeypatch.setattr(hub_events, "MAX_KEPT_OF_JOURNAL", 3)
    session_id, page = started(hubs), PageReader()
    page.open(a)
    say(hubs, a, session_id, 1)
    page.close()
    say(hubs, a, session_id, 600, first=1)
    page.open(b)
    hubs.settle()
    assert numbers(page) == list(range(601))
    assert page.resumes == ["gap", "ok"]


def test_a_page_resumes_at_a_hub_that_has_started_since(hubs):
    a, _, _ = hubs.hubs
    session_id, page = started(hubs), PageReader()
    page.open(a)
    say(hubs, a, session_id, 1)
    page.close()
    say(hubs, a, session_id, 2, first=1)
    d = hubs.start("d")
    page.open(d)
    assert numbers(page) == [0, 1, 2]
    assert page.resumes == ["gap", "ok"]


def test_a_page_that_is_ahead_of_a_hub_waits_for_it():
    hubs = ClusterStage(delay=None)  # a hub hears of the others only when it polls
    a, b, _ = hubs.hubs
    session_id = a.session()
    a.claim(session_id)
    hubs.tick(1)
    page = PageReader()
    page.open(a)
    receive(a, session_id, 0)
    hubs.tick(READ_INTERVAL)
    assert numbers(page) == [0]
    page.open(b)
    hubs.tick(1)
    assert numbers(page) == [0]
    assert page.resumes == ["gap", "ok"]


def test_a_page_is_told_of_a_gap_when_the_journal_is_trimmed(hubs, monkeypatch):
    a, b, _ = hubs.hubs
    monkeypatch.setattr(hub_events, "MAX_KEPT_OF_JOURNAL", 3)
    session_id, page = started(hubs), PageReader()
    page.open(a)
    say(hubs, a, session_id, 1)
    page.close()
    say(hubs, a, session_id, 10, first=1)
    hubs.shared.trim(keep=5)
    page.open(b)
    assert page.messages()
    assert page.resumes == ["gap", "gap"]


def test_pages_connect_again_after_a_hub_has_missed_entries(hubs):
    a, b, _ = hubs.hubs
    session_id, page = started(hubs), PageReader()
    page.open(b)
    b.memory.stop_hub()
    say(hubs, a, session_id, 10)
    hubs.shared.trim(keep=2)
    b.memory.resume_hub()
    hubs.tick(1)
    assert not page.is_open
    page.open(b)
    page.read()
    assert page.resumes == ["gap", "gap"]


def test_pages_connect_again_after_a_failover_that_may_have_lost_entries(hubs):
    a, b, _ = hubs.hubs
    session_id, page = started(hubs), PageReader()
    page.open(b)
    say(hubs, a, session_id, 3)
    hubs.shared.timeline = "memory:2"
    lost = hubs.shared.entries.pop()
    hubs.tick(3)
    assert not page.is_open
    page.open(b)
    say(hubs, a, session_id, 1, first=9)
    assert hubs.shared.entries[-1].id >= lost.id
    assert numbers(page)[-1] == 9
    assert page.resumes == ["gap", "gap"]


def test_internal_entries_reach_no_page(hubs):
    a, b, _ = hubs.hubs
    page = PageReader()
    page.open(b)
    started(hubs)
    create_token(a, "read")
    hubs.settle()
    assert {event["type"].partition(":")[0] for event in page.read()} <= {
        "session-added",
        "session-updated",
    }


def test_a_notification_reaches_the_pages_of_all_hubs_once(hubs):
    a, b, c = hubs.hubs
    pages = [hub.listen() for hub in (a, b, c)]
    session_id = started(hubs)
    a.hub.notifications.session_ready(a.registry.sessions[session_id])
    hubs.settle()
    assert [len(page.of("toast")) for page in pages] == [1, 1, 1]


def test_a_hub_knows_that_a_page_at_another_one_shows_the_namespace(hubs):
    a, b, _ = hubs.hubs
    assert not a.registry.events.is_watched("default")
    page = b.listen()
    hubs.tick(3)
    assert a.registry.events.is_watched("default")
    assert not a.registry.events.is_watched("other")
    page.visible = False
    hubs.tick(3)
    assert not a.registry.events.is_watched("default")


def test_a_token_is_known_and_revoked_at_all_hubs(hubs):
    a, b, c = hubs.hubs
    made = create_token(a, "read")
    hubs.settle()
    assert log_in(b, made["token"]).status == 200
    assert c.rest("DELETE", f"/api/tokens/{made['id']}").status == 200
    hubs.settle()
    assert [log_in(hub, made["token"]).status for hub in (a, b, c)] == [401, 401, 401]
