"""Presence with several hubs: judged once, by the home or by the hub of the singleton tasks."""

from __future__ import annotations

import pytest

from tests.support.cluster_stage import ClusterStage


@pytest.fixture
def hubs():
    return ClusterStage()


def arrive(hub, session_id):
    """The process of a session connects to a hub, which becomes its home."""
    assert hub.claim(session_id)
    peer = hub.connect(sessionId=session_id)
    hub.alive(peer, session_id)
    return peer


def active(hubs, session_id):
    return [hub.registry.sessions[session_id].active for hub in hubs.hubs]


def test_all_hubs_show_that_a_session_is_active_and_that_it_has_ended(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    peer = arrive(b, session_id)
    hubs.settle()
    assert active(hubs, session_id) == [True, True, True]
    peer.send("session-end", {"sid": session_id, "time": b.now()})
    hubs.settle()
    assert active(hubs, session_id) == [False, False, False]


def test_the_silence_of_a_session_is_told_once(hubs):
    a, b, c = hubs.hubs
    session_id = a.session()
    arrive(b, session_id)
    hubs.settle()
    page = c.listen()
    hubs.tick(60)
    assert active(hubs, session_id) == [False, False, False]
    ends = [event for event in page.of("session-updated") if event["data"].get("active") is False]
    assert len(ends) == 1


def test_the_death_of_a_hub_is_not_that_of_its_sessions(hubs):
    a, b, c = hubs.hubs
    session_id = a.session()
    arrive(b, session_id)
    hubs.settle()
    b.kill()
    hubs.hubs.remove(b)
    hubs.tick(15)
    assert c.cluster.homes.find(session_id) is None
    assert active(hubs, session_id) == [True, True]
    peer = arrive(c, session_id)
    for _ in range(10):
        hubs.tick(5)
        c.alive(peer, session_id)
    assert active(hubs, session_id) == [True, True]


def test_a_session_of_a_dead_hub_that_does_not_come_back_ends_once(hubs):
    a, b, c = hubs.hubs
    session_id = a.session()
    arrive(b, session_id)
    hubs.settle()
    page = c.listen()
    b.kill()
    hubs.hubs.remove(b)
    hubs.tick(35)
    assert active(hubs, session_id) == [True, True]
    hubs.tick(20)
    assert active(hubs, session_id) == [False, False]
    ends = [event for event in page.of("session-updated") if event["data"].get("active") is False]
    assert len(ends) == 1


def test_another_hub_takes_the_singleton_tasks_over(hubs):
    a, b, c = hubs.hubs
    assert [hub.cluster.runs_singleton_tasks for hub in (a, b, c)] == [True, False, False]
    a.kill()
    hubs.hubs.remove(a)
    hubs.tick(3)
    assert sum(hub.cluster.runs_singleton_tasks for hub in (b, c)) == 1


def test_a_hub_that_starts_shows_what_the_others_show(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    machine_id, _ = a.machine()
    arrive(b, session_id)
    hubs.settle()
    d = hubs.start("d")
    assert d.registry.sessions[session_id].active
    assert d.registry.machines[machine_id].active
    assert d.cluster.elsewhere(session_id).id == "b"
    assert d.get("/api/sessions") == a.get("/api/sessions")


def test_a_stopped_hub_finds_what_moved_and_drops_its_sockets(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    arrive(a, session_id)
    hubs.settle()
    lost = []
    a.cluster.on_lost.append(lost.append)
    a.memory.stop_hub()
    hubs.tick(12)
    peer = arrive(b, session_id)
    hubs.tick(8)
    b.alive(peer, session_id)
    a.memory.resume_hub()
    hubs.tick(1)
    assert lost == [session_id]
    assert a.cluster.elsewhere(session_id).id == "b"
    assert active(hubs, session_id) == [True, True, True]


def test_a_hub_that_cannot_reach_the_database_judges_nothing(hubs):
    a, _, _ = hubs.hubs
    session_id = a.session()
    arrive(a, session_id)
    hubs.settle()
    a.memory.cut()
    hubs.tick(9)
    assert a.cluster.problem is not None
    assert not a.cluster.judges(session_id)
    assert not a.cluster.runs_singleton_tasks
    a.memory.reconnect()
    hubs.tick(3)
    assert a.cluster.problem is None


def test_all_hubs_wait_for_a_session_that_is_about_to_start(hubs):
    a, _, c = hubs.hubs
    session_id = a.session(hostPid=1)
    hubs.settle()
    there = c.registry.sessions[session_id]
    assert there.is_starting(c.clock.seconds())
    arrive(a, session_id)
    hubs.settle()
    assert there.active
    assert not there.is_starting(c.clock.seconds())
