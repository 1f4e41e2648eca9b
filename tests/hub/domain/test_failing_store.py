"""The hub while its database is full or locked: what session processes send is kept in order and
not confirmed, and what people ask for is refused in words.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hapi.hub.domain import event_queue
from tests.support.hub_on_file import HubOnFile, stored_texts


class Hub(HubOnFile):
    def texts(self) -> list[str]:
        """The conversation in the order of the page."""
        return stored_texts(self.path, "coalesce(invoked_at, created_at), seq")


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    made = Hub.open(tmp_path / "hub.db")
    yield made
    made.close()


def test_a_disk_that_is_full_for_a_while_costs_no_record_and_no_order__R02(hub: Hub) -> None:
    expected = [f"record {number} " + "x" * 300 for number in range(400)]
    page = hub.stage.listen()
    for number, text in enumerate(expected):
        if number == 100:
            hub.fill()
        if number == 300:
            hub.make_room()
        hub.send(text)
        if number % 50 == 0:
            hub.stage.tick(0.5)
    hub.stage.tick(2.0)
    assert hub.texts() == expected
    shown = [
        event["message"]["content"]["content"]["data"]["message"]
        for event in page.of("message-received")
    ]
    assert shown == expected
    assert hub.errors() == ["store-full"]


def test_a_database_that_another_program_locks_for_8_s_costs_no_record__R03(hub: Hub) -> None:
    holder = sqlite3.connect(hub.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    expected = [f"record {number}" for number in range(20)]
    for text in expected:
        hub.send(text)
        hub.stage.tick(0.4)
    answers = hub.ping()
    hub.stage.alive(hub.peer, hub.session)
    assert hub.stage.registry.sessions[hub.session].active
    assert (hub.texts(), answers) == ([], [])
    holder.execute("COMMIT")
    holder.close()
    hub.stage.tick(2.0)
    assert (hub.texts(), answers) == (expected, [1])
    assert hub.errors() == ["store-busy"]


def test_nothing_is_confirmed_while_it_is_not_stored__R02(hub: Hub) -> None:
    hub.send("one")
    assert hub.ping() == [1]
    hub.fill()
    hub.send("x" * 10_000)
    answers = hub.ping()
    hub.stage.tick(30.0)
    assert answers == []
    other = hub.stage.connect(sessionId=hub.session)
    assert hub.ping(other) == [1]  # it has sent nothing
    hub.make_room()
    hub.stage.tick(1.0)
    assert answers == [1]
    assert len(hub.texts()) == 2


def test_ends_and_taken_prompts_wait_in_their_turn__R02(hub: Hub) -> None:
    for name in ("L1", "L2"):
        hub.stage.rest(
            "POST", f"/api/sessions/{hub.session}/messages", {"text": "x", "localId": name}
        )
    page = hub.stage.listen()
    hub.fill()
    hub.send("x" * 10_000)
    hub.peer.send("messages-consumed", {"sid": hub.session, "localIds": ["L1"]})
    hub.peer.send("messages-indeterminate", {"sid": hub.session, "localIds": ["L2"]})
    hub.send("last")
    heard = len(hub.peer.events())
    hub.stage.alive(hub.peer, hub.session)
    again = [update["body"]["message"]["localId"] for update in hub.peer.events()[heard:]]
    assert again == ["L2"]  # what was taken is not delivered again
    hub.peer.send(
        "session-end", {"sid": hub.session, "time": hub.stage.now(), "reason": "completed"}
    )
    hub.stage.tick(700.0)  # longer than the age up to which the time of an end counted
    assert not page.of("session-ended")
    hub.make_room()
    hub.stage.tick(1.0)
    kinds = [event["type"] for event in page.events]
    order = ("messages-consumed", "messages-indeterminate", "message-received", "session-ended")
    places = [len(kinds) - 1 - kinds[::-1].index(kind) for kind in order]
    assert places == sorted(places)
    assert hub.stage.registry.sessions[hub.session].active is False


def test_a_process_that_comes_back_is_not_told_that_what_is_held_is_missing__R02(hub: Hub) -> None:
    """It compares the rows with what it has sent, and would send again what is held here."""
    hub.fill()
    hub.send("x" * 10_000)
    hub.peer.drop()
    hub.stage.connect(sessionId=hub.session)
    path = f"/cli/sessions/{hub.session}/messages?afterSeq=0"
    answer = hub.stage.rest("GET", path)
    assert answer.status == 507
    assert "space" in answer.body["error"]
    hub.make_room()
    hub.stage.tick(1.0)
    assert len(hub.stage.rest("GET", path).body["messages"]) == 1


def test_what_people_send_while_the_disk_is_full_is_refused_and_not_half_stored__R02(
    hub: Hub,
) -> None:
    hub.fill()
    page = hub.stage.listen()
    big = {"text": "x" * 10_000, "localId": "L1"}
    answer = hub.stage.rest("POST", f"/api/sessions/{hub.session}/messages", big)
    assert (answer.status, answer.body["error"]) == (507, "No space left for the database")
    assert not page.events
    assert (hub.texts(), hub.peer.events()) == ([], [])
    hub.make_room()
    assert hub.stage.rest("POST", f"/api/sessions/{hub.session}/messages", big).status == 200


@pytest.mark.parametrize("name", ["metadata", "agentState"])
def test_a_document_that_cannot_be_stored_is_answered_with_the_reason__R02(
    hub: Hub, name: str
) -> None:
    hub.fill()
    event = "update-metadata" if name == "metadata" else "update-state"
    update = {"sid": hub.session, "expectedVersion": 1, name: {"large": "x" * 20_000}}
    assert hub.peer.ask(event, update) == {"result": "error", "reason": "store-full"}
    hub.make_room()
    assert hub.peer.ask(event, update)["result"] == "success"


@pytest.mark.parametrize(
    ("limit", "send"),
    [
        ("MAX_EVENTS", lambda hub: [hub.send("x" * 10_000)] + [hub.send("y") for _ in range(7)]),
        ("MAX_SIZE", lambda hub: [hub.send("x" * 3000) for _ in range(7)]),
    ],
)
def test_a_session_without_room_is_cut_off_and_comes_back_when_there_is_room__R02(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, limit: str, send: Callable[[Hub], Any]
) -> None:
    monkeypatch.setattr(event_queue, limit, {"MAX_EVENTS": 4, "MAX_SIZE": 10_000}[limit])
    monkeypatch.setattr(event_queue, "UNMEASURED", 0)
    hub.fill()
    send(hub)
    assert hub.peer.hung_up
    hub.peer.drop()
    token = "t" * 40
    assert hub.stage.refused(token=token, sessionId=hub.session) == "hung up"
    hub.make_room()
    hub.stage.tick(2.0)
    stored = len(hub.texts())
    assert 0 < stored < 7
    again = hub.stage.connect(sessionId=hub.session)
    hub.send("more", again)
    assert hub.ping(again) == [1]


def test_a_hub_that_ends_confirms_nothing_of_what_it_holds__R02(hub: Hub) -> None:
    hub.send("one")
    hub.fill()
    hub.send("x" * 10_000)
    answers = hub.ping()
    hub.stage.registry.queues.stop()
    hub.stage.store.close()
    hub.stage.clock.advance(5.0)
    assert answers == []
    again = Hub.open(hub.path)
    rows = again.stage.rest("GET", f"/cli/sessions/{hub.session}/messages?afterSeq=0")
    assert len(rows.body["messages"]) == 1
    again.stage.store.close()


def test_a_removed_session_holds_nothing_back__R02(hub: Hub) -> None:
    hub.fill()
    hub.send("x" * 10_000)
    answers = hub.ping()
    hub.stage.registry.sessions[hub.session].deactivate(hub.stage.now())
    assert hub.stage.rest("DELETE", f"/api/sessions/{hub.session}").status == 200
    hub.stage.tick(2.0)
    assert hub.stage.registry.queues.find(hub.session) is None
    assert answers == [1]
