"""How a hub follows the journal."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.cluster.journal import READ_INTERVAL
from hapi.hub.store.interface import StoreAway
from tests.support.cluster_stage import ClusterStage


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub that is at rest, and how often it has read the journal since."""
    hubs = ClusterStage("a")
    a = hubs.hubs[0]
    hubs.tick(1.1)
    read: list[int] = []
    read_really = a.memory.entries_after

    def entries_after(number: int, limit: int) -> Any:
        read.append(number)
        return read_really(number, limit)

    monkeypatch.setattr(a.memory, "entries_after", entries_after)
    return hubs, a, read


def test_what_comes_within_a_moment_is_read_together(reads: Any) -> None:
    hubs, a, read = reads
    for _ in range(10):
        a.memory.publish("default", "session-updated", {"sessionId": "s1"})
    assert len(read) == 1
    hubs.clock.advance(READ_INTERVAL)
    assert len(read) == 2
    assert a.cluster.journal.position == a.memory.shared.newest
    hubs.clock.advance(READ_INTERVAL)
    assert len(read) == 2


def test_what_somebody_waits_for_is_read_at_once(reads: Any) -> None:
    _, a, read = reads
    for _ in range(2):
        a.memory.publish("default", "session-updated", {"sessionId": "s1"})
    newest = a.memory.shared.newest
    reached = Deferred.fromCoroutine(a.cluster.journal.reached(newest, 5.0))
    assert reached.result is True
    assert len(read) == 2


@pytest.mark.parametrize("is_away", [False, True])
def test_no_entry_comes_twice_while_the_follower_begins_anew(
    reads: Any, monkeypatch: pytest.MonkeyPatch, is_away: bool
) -> None:
    """A replica has taken over: what is new is looked for meanwhile, too."""
    hubs, a, read = reads
    for _ in range(3):
        a.memory.publish("default", "session-updated", {"sessionId": "s1"})
    hubs.tick(1)
    follower, newest = a.cluster.journal, a.memory.shared.newest
    delivered: list[int] = []
    monkeypatch.setattr(follower, "_deliver", lambda entry: delivered.append(entry.id))
    answer: Deferred[int] = Deferred()
    monkeypatch.setattr(a.memory, "newest_entry", lambda: answer)
    restarting = Deferred.fromCoroutine(follower.restart())
    hubs.tick(1)
    if is_away:
        answer.errback(StoreAway("the database is away"))
        restarting.addErrback(lambda failure: failure.trap(StoreAway))
    else:
        answer.callback(newest)
    hubs.tick(1)
    assert len(read) > 2
    assert delivered == []
    assert follower.position == newest


def test_what_was_read_before_the_follower_began_anew_is_not_delivered(
    reads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replica that has taken over lacks an entry that this hub is just reading."""
    hubs, a, _ = reads
    for _ in range(2):
        a.memory.publish("default", "session-updated", {"sessionId": "s1"})
    hubs.tick(1)
    follower, shared = a.cluster.journal, a.memory.shared
    delivered: list[int] = []
    monkeypatch.setattr(follower, "_deliver", lambda entry: delivered.append(entry.id))
    read_really = a.memory.entries_after
    late: Deferred[Any] = Deferred()
    monkeypatch.setattr(a.memory, "entries_after", lambda number, limit: late)
    a.memory.publish("default", "session-updated", {"sessionId": "lost"})
    hubs.tick(READ_INTERVAL)
    lost = list(shared.entries[-2:])
    del shared.entries[-2:]
    Deferred.fromCoroutine(follower.restart())
    monkeypatch.setattr(a.memory, "entries_after", read_really)
    late.callback(lost)
    hubs.tick(1)
    assert delivered == []
    a.memory.publish("default", "session-updated", {"sessionId": "s2"})
    hubs.tick(1)
    assert delivered == [shared.newest]
