"""How a hub follows the journal."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.cluster.journal import READ_INTERVAL
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
