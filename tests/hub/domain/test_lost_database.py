"""A database that is deleted or moved under a running hub: what sessions send is kept and confirmed
to nobody, and people are refused in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hapi.hub.store.backup import back_up
from tests.support.hub_on_file import HubOnFile, stored_texts


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubOnFile]:
    (tmp_path / "home").mkdir()
    made = HubOnFile.open(tmp_path / "home/hub.db")
    yield made
    made.close()


def test_what_a_session_sends_is_kept_and_arrives_when_the_database_is_moved_back(
    hub: HubOnFile,
) -> None:
    hub.send("before")
    assert hub.ping() == [1]
    hub.path.rename(hub.path.with_name("moved.db"))
    hub.send("during")
    hub.send("later")
    answers = hub.ping()
    hub.stage.clock.advance(3.0)
    assert answers == []
    assert hub.errors() == ["store-failed"]
    hub.path.with_name("moved.db").rename(hub.path)
    hub.stage.clock.advance(1.0)
    hub.stage.clock.advance(1.0)
    assert answers == [1]
    assert stored_texts(hub.path) == ["before", "during", "later"]


def test_a_rescued_database_has_all_that_was_confirmed_and_nothing_else(
    hub: HubOnFile, tmp_path: Path
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
    assert stored_texts(tmp_path / "rescued.db") == [f"confirmed {number}" for number in range(20)]


def test_people_can_read_and_are_refused_in_words(hub: HubOnFile) -> None:
    hub.send("before")
    hub.path.unlink()
    shown = hub.stage.get(f"/api/sessions/{hub.session}/messages")
    assert len(shown["messages"]) == 1
    answer = hub.stage.rest("POST", f"/api/sessions/{hub.session}/messages", {"text": "hello"})
    assert answer.status == 503
    assert "was deleted, replaced or moved" in answer.body["error"]
    answer = hub.stage.rest("PATCH", f"/api/sessions/{hub.session}", {"name": "new"})
    assert answer.status == 503
