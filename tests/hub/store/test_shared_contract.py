"""Contract of a store that several hubs share: journal, homes, members, singleton tasks, secrets.

It holds for PostgreSQL, and for the memory that stands in for it in other tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from hapi.hub.store.shared import HOME_CHANGED, Home, ISharedStore, Moved
from tests.support.programs import until
from tests.support.shared_hubs import MemoryHubs, PostgresHubs
from tests.support.store_stage import POSTGRES, machine, message, session, wait

ALL = 10_000  # entries


@pytest.fixture(params=["memory", POSTGRES])
def hubs(request: pytest.FixtureRequest, reactor: Any) -> Iterator[Any]:
    made: Any
    if request.param == "memory":
        made = MemoryHubs()
    else:
        made = PostgresHubs(request.getfixturevalue("contract_database")(), reactor)
    yield made
    made.close()


@pytest.fixture
def pair(hubs: Any) -> tuple[Any, Any]:
    """Two hubs, and a session in their database."""
    first, second = hubs.hub(), hubs.hub()
    wait(first.create_session(session()))
    wait(first.create_session(session("s2")))
    return first, second


def entries(store: Any, after: int = 0) -> list[Any]:
    found = wait(store.entries_after(after, ALL))
    assert found is not None
    return list(found)


def kinds(store: Any) -> list[str]:
    return [entry.kind for entry in entries(store) if entry.kind != HOME_CHANGED]


def turn(store: Any, kind: str, owner: str = "s1", fails: bool = False) -> Deferred[Any]:
    """A turn of `owner` that adds a message and publishes an event."""

    def change(transaction: Any) -> int:
        added = transaction.add_message(message(kind, owner), None)
        transaction.publish("default", kind, sessionId=owner, seq=added.message.seq)
        if fails:
            raise ValueError
        return int(added.message.seq)

    return Deferred.fromCoroutine(store.turn(owner, change))


def ids(store: Any, session_id: str = "s1") -> list[str]:
    return [row.id for row in wait(store.latest(session_id, 999))]


def refused(deferred: Deferred[Any]) -> str | None:
    """The hub that serves the owner of a turn that was refused."""
    with pytest.raises(Moved) as caught:
        wait(deferred)
    return caught.value.hub


def test_it_is_what_several_hubs_ask_for(hubs: Any) -> None:
    first, second = hubs.hub(), hubs.hub()
    verifyObject(ISharedStore, first)
    assert first.hub_id != second.hub_id
    assert wait(first.journal_epoch()) == wait(second.journal_epoch()) != ""


# --- the journal ----------------------------------------------------------------------------------


def test_all_hubs_read_the_same_journal(pair: tuple[Any, Any]) -> None:
    first, second = pair
    heard: list[str] = []
    first.follow(lambda event: heard.append(event.kind))
    assert wait(first.newest_entry()) == 0
    wait(turn(first, "a"))
    wait(turn(second, "b", "s2"))
    wait(turn(first, "c"))
    found = entries(first)
    assert found == entries(second)
    assert [(entry.kind, entry.hub, entry.namespace, entry.fields) for entry in found] == [
        ("a", first.hub_id, "default", {"sessionId": "s1", "seq": 1}),
        ("b", second.hub_id, "default", {"sessionId": "s2", "seq": 1}),
        ("c", first.hub_id, "default", {"sessionId": "s1", "seq": 2}),
    ]
    assert [entry.id for entry in found] == sorted({entry.id for entry in found})
    assert wait(second.newest_entry()) == found[-1].id
    assert heard == ["a", "c"]


def test_what_is_published_between_two_turns_comes_between_them(pair: tuple[Any, Any]) -> None:
    first, second = pair
    begun = []
    for number in range(10):
        begun.append(turn(first, f"t{number}"))
        first.publish("team", f"p{number}", {"number": number})
    wait(gatherResults(begun))
    wait(turn(first, "last"))
    expected = [f"{letter}{number}" for number in range(10) for letter in "tp"]
    assert kinds(second) == [*expected, "last"]


def test_events_of_a_turn_that_fails_are_in_no_journal(pair: tuple[Any, Any]) -> None:
    first, second = pair
    begun = [turn(first, "a"), turn(first, "b", fails=True), turn(first, "c")]
    wait(begun[0])
    with pytest.raises(ValueError):
        wait(begun[1])
    wait(begun[2])
    assert kinds(second) == ["a", "c"]
    assert ids(second) == ["a", "c"]


def test_the_journal_is_read_in_portions_and_says_when_something_is_missing(
    hubs: Any, pair: tuple[Any, Any]
) -> None:
    first, second = pair
    for number in range(7):
        wait(turn(first, f"t{number}"))
    seen, last = [], 0
    while portion := wait(second.entries_after(last, 3)):
        assert len(portion) <= 3
        seen += [entry.kind for entry in portion]
        last = portion[-1].id
    assert seen == [f"t{number}" for number in range(7)]
    assert wait(second.entries_after(last, 3)) == []
    before = entries(first)
    hubs.trim(2)
    assert wait(second.entries_after(0, 3)) is None
    assert wait(second.entries_after(before[2].id, 3)) is None
    assert entries(second, before[4].id) == before[5:]
    hubs.trim(0)
    assert wait(second.newest_entry()) == last
    assert entries(second, last) == []
    wait(turn(first, "next"))
    assert [entry.kind for entry in entries(second, last)] == ["next"]


def test_all_hubs_are_told_of_new_entries(hubs: Any, pair: tuple[Any, Any]) -> None:
    first, second = pair
    heard: dict[str, Deferred[None]] = {"first": Deferred(), "second": Deferred()}

    def bell(name: str, store: Any) -> Callable[[], None]:
        def ring() -> None:
            if not heard[name].called:
                heard[name].callback(None)

        return ring

    first.on_journal(bell("first", first))
    second.on_journal(bell("second", second))
    wait(turn(first, "a"))
    hubs.settle()
    wait(gatherResults(list(heard.values())))


# --- homes ----------------------------------------------------------------------------------------


def test_each_claim_has_a_new_epoch_and_is_in_the_journal(pair: tuple[Any, Any]) -> None:
    first, second = pair
    assert wait(first.home("s1")) is None
    assert wait(first.claim("s1")) == Home("s1", first.hub_id, 1)
    assert wait(second.claim("s1")) == Home("s1", second.hub_id, 2)
    assert wait(second.claim("s1")) == Home("s1", second.hub_id, 3)
    assert wait(first.claim("m1")) == Home("m1", first.hub_id, 1)
    assert wait(first.home("s1")) == Home("s1", second.hub_id, 3)
    assert sorted(home.owner for home in wait(first.homes())) == ["m1", "s1"]
    assert [(entry.kind, entry.fields) for entry in entries(first)] == [
        (HOME_CHANGED, {"owner": "s1", "hub": first.hub_id, "epoch": 1}),
        (HOME_CHANGED, {"owner": "s1", "hub": second.hub_id, "epoch": 2}),
        (HOME_CHANGED, {"owner": "s1", "hub": second.hub_id, "epoch": 3}),
        (HOME_CHANGED, {"owner": "m1", "hub": first.hub_id, "epoch": 1}),
    ]


def test_only_the_home_changes_a_session(pair: tuple[Any, Any]) -> None:
    first, second = pair
    wait(turn(second, "before"))
    wait(first.claim("s1"))
    begun = [turn(second, "x", "s2"), turn(second, "refused"), turn(second, "y", "s2")]
    wait(begun[0])
    assert refused(begun[1]) == first.hub_id
    wait(begun[2])
    wait(turn(first, "own"))
    assert kinds(first) == ["before", "x", "y", "own"]
    assert ids(first) == ["before", "own"]
    with pytest.raises(Moved):
        wait(second.discard_session("s1"))
    with pytest.raises(Moved):
        wait(second.change_session("s1", {"effort": "high"}))
    with pytest.raises(Moved):
        wait(second.delete_session("s1"))
    assert [row.effort for row in wait(first.sessions())] == [None, None]


def test_a_hub_that_lost_a_home_writes_again_after_a_claim(pair: tuple[Any, Any]) -> None:
    first, second = pair
    wait(first.claim("s1"))
    wait(second.claim("s1"))
    assert refused(turn(first, "late")) == second.hub_id
    wait(turn(second, "a"))
    begun = [Deferred.fromCoroutine(first.claim("s1")), turn(first, "b"), turn(first, "c")]
    assert wait(begun[0]).epoch == 3
    wait(begun[1])
    wait(begun[2])
    assert refused(turn(second, "late")) == first.hub_id
    assert ids(first) == ["a", "b", "c"]


def test_a_home_that_is_given_up_is_nowhere_and_its_epoch_goes_on(pair: tuple[Any, Any]) -> None:
    first, second = pair
    wait(first.claim("s1"))
    wait(second.release("s1"))  # it is not that of this hub
    assert wait(second.home("s1")) == Home("s1", first.hub_id, 1)
    wait(first.release("s1"))
    wait(first.release("s1"))
    wait(first.release("nothing"))
    assert wait(second.home("s1")) is None
    assert wait(second.homes()) == []
    assert entries(second)[-1].fields == {"owner": "s1", "hub": None, "epoch": 1}
    assert len(entries(second)) == 2
    wait(turn(second, "anybody"))
    wait(turn(first, "may"))
    assert wait(second.claim("s1")).epoch == 2


def test_the_state_of_what_is_at_home_here_is_kept_and_no_other(pair: tuple[Any, Any]) -> None:
    first, second = pair
    wait(first.claim("s1", {"active": True}))
    assert wait(second.live_states()) == {"s1": {"active": True}}
    first.publish("default", "session-updated", {"sessionId": "s1"}, {"active": False, "n": 1})
    second.publish("default", "session-updated", {"sessionId": "s1"}, {"active": "wrong"})
    second.publish("default", "machine-updated", {"machineId": "m1"}, {"active": True})
    wait(turn(first, "a"))
    wait(turn(second, "b", "s2"))
    assert wait(first.live_states()) == {"s1": {"active": False, "n": 1}, "m1": {"active": True}}
    lives = [entry.live for entry in entries(first) if entry.kind == "session-updated"]
    assert {"active": False, "n": 1} in lives


# --- hubs -----------------------------------------------------------------------------------------


def test_hubs_know_each_other(pair: tuple[Any, Any]) -> None:
    first, second = pair
    wait(first.join("a", "http://a", "1.0"))
    wait(second.join("b", "http://b", "1.1"))
    wait(second.beat(True))
    found = {member.id: member for member in wait(first.beat())}
    assert {(each.name, each.url, each.version, each.is_up) for each in found.values()} == {
        ("a", "http://a", "1.0", True),
        ("b", "http://b", "1.1", True),
    }
    assert (found[second.hub_id].is_draining, found[first.hub_id].is_draining) == (True, False)
    wait(second.leave())
    wait(second.join("b", "http://b", "1.1"))
    assert [each.is_draining for each in wait(first.beat())] == [False, False]
    wait(first.claim("s1"))
    wait(first.leave())
    assert [each.name for each in wait(second.beat())] == ["b"]
    assert wait(second.home("s1")) is None
    assert entries(second)[-1].fields == {"owner": "s1", "hub": None, "epoch": 1}
    wait(turn(second, "anybody"))


def test_what_a_dead_hub_served_has_no_home_after_the_next_sign_of_life(
    hubs: Any, pair: tuple[Any, Any]
) -> None:
    first, second = pair
    wait(first.join("a", "http://a", "1.0"))
    wait(second.join("b", "http://b", "1.1"))
    wait(first.claim("s1"))
    wait(second.claim("s2"))
    wait(second.beat())
    assert wait(second.home("s1")) is not None
    hubs.silence(first)
    found = {member.name: member.is_up for member in wait(second.beat())}
    assert found == {"a": False, "b": True}
    assert wait(second.home("s1")) is None
    assert wait(second.home("s2")) is not None
    changes = [entry.fields for entry in entries(second) if entry.fields.get("hub") is None]
    assert changes == [{"owner": "s1", "hub": None, "epoch": 1}]
    wait(second.beat())
    assert len(entries(second)) == 3  # told once
    wait(second.claim("s1"))
    assert refused(turn(first, "of a hub that woke up")) == second.hub_id
    assert ids(second) == []


def test_one_hub_runs_the_singleton_tasks_until_it_is_gone(hubs: Any) -> None:
    first, second, third = hubs.hub(), hubs.hub(), hubs.hub()
    for number, each in enumerate((first, second, third)):
        wait(each.join(f"h{number}", "", ""))
    assert wait(first.runs_singleton_tasks())
    assert [wait(each.runs_singleton_tasks()) for each in (second, third, first)] == [
        False,
        False,
        True,
    ]
    hubs.end(first)
    until(lambda: wait(third.runs_singleton_tasks()), 30.0)  # its connection closes soon after
    assert [wait(each.runs_singleton_tasks()) for each in (second, third)] == [False, True]


def test_a_secret_is_the_first_that_was_made(pair: tuple[Any, Any]) -> None:
    first, second = pair
    assert wait(first.secret("key", "one")) == "one"
    assert wait(second.secret("key", "two")) == "one"
    assert wait(second.secret("other", "two")) == "two"


def test_one_row_is_read(pair: tuple[Any, Any]) -> None:
    first, second = pair
    wait(first.create_machine(machine()))
    assert wait(second.session_row("s1")) == session()
    assert wait(second.machine_row("m1")) == machine()
    assert wait(second.session_row("m1")) is None
    assert wait(second.machine_row("s1")) is None


# --- texts ----------------------------------------------------------------------------------------

ODD = ["\x00", "a\x00b", "%s", "?", "'", "\\", "{}", '{"a",NULL}', "NULL", "", "🦑", "\u2028"]


@pytest.mark.parametrize("text", ODD)
def test_any_text_can_be_published(pair: tuple[Any, Any], text: str) -> None:
    first, second = pair
    fields = {"sessionId": text, "machineId": text, "text": text, "odd": "\ud800"}
    first.publish(text, text, fields, {text: text})
    wait(turn(first, "next"))
    shown = text.replace("\x00", "\ufffd")
    found = entries(second)
    assert [entry.kind for entry in found] in ([text, "next"], [shown, "next"])
    assert found[0].namespace in (text, shown)
    assert found[0].fields == fields
    assert found[0].live == {text: text}


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_fails_alone(hubs: Any, pair: tuple[Any, Any], text: str) -> None:
    """A client chooses ids: none of them may undo what others have stored."""
    first, second = pair
    first.publish("default", "x", {"sessionId": text, "machineId": text}, {"a": 1})
    begun = [
        turn(first, "a"),
        turn(first, "b", text),
        Deferred.fromCoroutine(first.change_session("s2", {"effort": text})),
        turn(first, "c"),
    ]
    wait(begun[0])
    for failing in begun[1:3]:
        with pytest.raises((UnicodeEncodeError, KeyError)):
            wait(failing)
    wait(begun[3])
    assert [kind for kind in kinds(second) if kind != "x"] == ["a", "c"]
    wait(turn(first, "d"))
    assert ids(second) == ["a", "c", "d"]


def test_a_session_with_an_odd_id_is_fenced_as_any_other(pair: tuple[Any, Any]) -> None:
    first, second = pair
    wait(first.create_session(session("a\x00b")))
    wait(first.claim("a\x00b"))
    assert refused(turn(second, "refused", "a\x00b")) == first.hub_id
    wait(turn(first, "own", "a\x00b"))
    assert ids(second, "a\x00b") == ["own"]
