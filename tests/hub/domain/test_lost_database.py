"""A database that is deleted or moved under a running hub: what sessions send is kept and confirmed
to nobody, and people are refused in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest
from attrs import define

from hapi.hub.store.backup import back_up
from hapi.hub.store.sqlite import SqliteStore
from tests.support.hub_stage import MemoryPeer, Stage


@define
class Hub:
    """A hub on a file, and one session of it."""

    stage: Stage
    path: Path
    session: str
    peer: MemoryPeer

    def send(self, text: str) -> None:
        data = {"type": "message", "message": text}
        message = {"role": "agent", "content": {"type": "codex", "data": data}}
        self.peer.send("message", {"sid": self.session, "message": message})

    def ping(self) -> list[Any]:
        """What the socket is answered, now or later."""
        answers: list[Any] = []
        self.stage.sockets.cli.event(self.peer, "ping", [], lambda *_: answers.append(1))
        return answers


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "home").mkdir()
    path = tmp_path / "home/hub.db"

    def make(clock: Any) -> SqliteStore:
        store = SqliteStore(path, clock)
        store.open()
        return store

    stage = Stage(make)
    yield Hub(stage, path, *stage.live())
    stage.registry.queues.stop()
    stage.store.close()


def texts(path: Path) -> list[str]:
    query = "SELECT json_extract(content, '$.content.data.message') FROM messages ORDER BY seq"
    with closing(connect(path)) as connection:
        return [row[0] for row in connection.execute(query)]


def test_what_a_session_sends_is_kept_and_arrives_when_the_database_is_moved_back(hub: Hub) -> None:
    hub.send("before")
    assert hub.ping() == [1]
    hub.path.rename(hub.path.with_name("moved.db"))
    hub.send("during")
    hub.send("later")
    answers = hub.ping()
    hub.stage.clock.advance(3.0)
    assert answers == []
    assert [given["code"] for given in hub.peer.events("error")] == ["store-failed"]
    hub.path.with_name("moved.db").rename(hub.path)
    hub.stage.clock.advance(1.0)
    hub.stage.clock.advance(1.0)
    assert answers == [1]
    assert texts(hub.path) == ["before", "during", "later"]


def test_a_rescued_database_has_all_that_was_confirmed_and_nothing_else(
    hub: Hub, tmp_path: Path
) -> None:
    for number in range(20):
        hub.send(f"confirmed {number}")
    assert hub.ping() == [1]
    hub.path.unlink()
    hub.send("refused")
    answers = hub.ping()
    hub.stage.clock.advance(5.0)
    assert answers == []
    back_up(hub.path, tmp_path / "rescued.db")
    assert texts(tmp_path / "rescued.db") == [f"confirmed {number}" for number in range(20)]


def test_people_can_read_and_are_refused_in_words(hub: Hub) -> None:
    hub.send("before")
    hub.path.unlink()
    shown = hub.stage.get(f"/api/sessions/{hub.session}/messages")
    assert len(shown["messages"]) == 1
    answer = hub.stage.rest("POST", f"/api/sessions/{hub.session}/messages", {"text": "hello"})
    assert answer.status == 503
    assert "was deleted, replaced or moved" in answer.body["error"]
    answer = hub.stage.rest("PATCH", f"/api/sessions/{hub.session}", {"name": "new"})
    assert answer.status == 503
