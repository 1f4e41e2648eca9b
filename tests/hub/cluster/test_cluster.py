"""Several hubs in one process: what they know of each other."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from hapi.hub.store.shared import ISharedStore, Moved
from tests.support.cluster_stage import ClusterStage
from tests.support.hub_stage import result_of


@pytest.fixture
def hubs():
    return ClusterStage()


def test_the_double_is_a_shared_store(hubs):
    verifyObject(ISharedStore, hubs.hubs[0].memory)


def test_a_session_that_one_hub_stores_is_known_to_all(hubs):
    a, b, c = hubs.hubs
    session_id = a.session()
    hubs.settle()
    assert [hub.registry.sessions[session_id].metadata["host"] for hub in (a, b, c)] == [
        "devbox"
    ] * 3


def test_a_hub_that_joins_does_not_take_the_database_for_another_one():
    lines = []

    def watch(event):
        lines.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(watch)
    try:
        ClusterStage().settle()
    finally:
        globalLogPublisher.removeObserver(watch)
    assert not [line for line in lines if "replica" in line]


def test_a_hub_whose_signs_of_life_wait_behind_many_changes_is_alive(hubs):
    """Each change that is committed is a sign of life."""
    a = hubs.hubs[0]
    a.memory.beat = lambda is_draining=False: Deferred()
    hubs.tick(20.0)
    assert a.cluster.problem is not None
    a.memory.confirmed_at = a.memory.clock.seconds() - 1.0
    assert a.cluster.problem is None


def test_a_claim_tells_the_other_hubs_where_a_session_is_at_home(hubs):
    a, b, c = hubs.hubs
    session_id = a.session()
    assert b.claim(session_id)
    hubs.settle()
    assert a.cluster.elsewhere(session_id).id == "b"
    assert c.cluster.elsewhere(session_id).id == "b"
    assert b.cluster.elsewhere(session_id) is None


def test_the_hub_before_cannot_write_after_a_claim(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    a.claim(session_id)
    b.claim(session_id)
    with pytest.raises(Moved):
        result_of(Deferred.fromCoroutine(a.memory.change_session(session_id, {"pinned": True})))


def test_all_pages_get_the_same_frames_in_the_same_order(hubs):
    a, b, c = hubs.hubs
    session_id = a.session()
    hubs.settle()
    pages = [hub.listen() for hub in (a, b, c)]
    b.claim(session_id)
    peer = b.connect(sessionId=session_id)
    b.alive(peer, session_id)
    for number in range(5):
        peer.send("message", {"sid": session_id, "message": {"role": "agent", "n": number}})
    hubs.settle()
    assert len(pages[0].of("message-received")) == 5
    assert pages[0].frames == pages[1].frames == pages[2].frames
