"""Contract of a store: sessions, machines, tokens, and what a turn is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from hapi.hub.store.interface import IdTaken, IStore, NameTaken, TagTaken
from hapi.hub.store.rows import (
    MachineRow,
    MessageRow,
    SessionRow,
    TurnEvent,
    VersionMismatch,
    Written,
)
from tests.support.store_stage import (
    EPOCH,
    machine,
    message,
    prompt,
    recipient,
    session,
    token,
    wait,
)


def test_it_is_what_the_hub_asks_for(store: Any) -> None:
    verifyObject(IStore, store)
    wait(store.check())
    wait(store.probe())
    size = wait(store.size())
    assert 0 < size.used <= size.total


# --- sessions -------------------------------------------------------------------------------------


def test_a_tag_brings_back_the_same_session(store: Any) -> None:
    assert wait(store.create_session(session())) == (session(), True)
    assert wait(store.create_session(session(model="x"))) == (session(), False)
    with pytest.raises(TagTaken):
        wait(store.create_session(SessionRow("s2", "default", "tag-s1", EPOCH, EPOCH)))
    other = evolve(session("s2"), tag="tag-s1")
    assert wait(store.create_session(other, any_id=True)) == (session(), False)
    with pytest.raises(IdTaken):
        wait(store.create_session(SessionRow("s1", "other", "tag-s1", EPOCH, EPOCH)))


@pytest.mark.parametrize("name", ["metadata", "agent_state"])
def test_a_versioned_write_needs_the_version_of_now(store: Any, name: str) -> None:
    wait(store.create_session(session()))
    write = getattr(store, f"write_{name}")
    written = wait(write("s1", 1, {"a": 1}, {"seq": 7}))
    assert isinstance(written, Written)
    row = written.row
    assert (getattr(row, name), getattr(row, f"{name}_version"), row.seq) == ({"a": 1}, 2, 7)
    stale = wait(write("s1", 1, {"b": 1}, {}))
    assert isinstance(stale, VersionMismatch)
    assert stale.row == row == wait(store.sessions())[0]
    with pytest.raises(KeyError):
        wait(write("nobody", 1, {}, {}))


def test_every_column_of_a_session_can_be_set(store: Any) -> None:
    wait(store.create_session(session()))
    changes = {
        "updated_at": EPOCH + 1,
        "model": {"id": "m", "n": [1, None]},
        **dict.fromkeys(("model_reasoning_effort", "effort", "service_tier"), "high"),
        **dict.fromkeys(("permission_mode", "collaboration_mode", "copilot_agent_mode"), "plan"),
        "todos": [{"content": "x"}],
        "todos_updated_at": 5,
        "team_state": {"a": {}},
        "team_state_updated_at": 6,
        "pinned": True,
        "global_pinned": True,
        "active_at": EPOCH + 2,
        "seq": 2**40,
        "epoch": 3,
        "has_content": True,
    }
    expected = evolve(session(), **changes)
    assert wait(store.change_session("s1", changes)) == expected
    assert wait(store.sessions()) == [expected]
    assert wait(store.change_session("s1", {"effort": None})).effort is None
    with pytest.raises(KeyError):
        wait(store.change_session("nobody", {"effort": None}))


def test_deleting_a_session_takes_its_messages_along(store: Any) -> None:
    wait(store.create_session(session()))
    wait(store.add_message(message("m1"), None))
    assert wait(store.delete_session("s1")) is True
    assert wait(store.delete_session("s1")) is False
    assert wait(store.latest("s1", 1)) == []


@pytest.mark.parametrize("count", [0, 3, 200])
def test_a_session_that_is_discarded_is_gone_at_once_and_purged_in_portions(
    store: Any, count: int
) -> None:
    wait(store.create_session(session()))
    wait(store.create_session(session("s2")))
    adding = [
        Deferred.fromCoroutine(store.add_message(message(f"m{n}"), None)) for n in range(count)
    ]
    wait(gatherResults(adding))
    wait(store.add_message(message("kept", "s2"), None))
    assert wait(store.discard_session("s1")) == count
    assert [row.id for row in wait(store.sessions())] == ["s2"]
    assert wait(store.discard_session("s1")) is None
    again, is_new = wait(store.create_session(session("s3"), any_id=True))
    assert (again.id, is_new) == ("s3", True)
    taken, is_new = wait(store.create_session(evolve(session("s4"), tag="tag-s1")))
    assert (taken.id, is_new) == ("s4", True)  # the tag is free again
    for _ in range(10_000):
        if not wait(store.purge()):
            break
    assert wait(store.latest("s1", 10)) == []
    assert wait(store.delete_session("s1")) is False
    assert [row.id for row in wait(store.latest("s2", 10))] == ["kept"]
    while wait(store.reclaim(0)):
        pass


# --- what a turn is -------------------------------------------------------------------------------


def test_what_a_turn_raises_undoes_it_alone(store: Any) -> None:
    wait(store.create_session(session()))

    def change(turn: Any) -> None:
        turn.add_message(message("bad"), None)
        turn.change_session("s1", {"effort": "high"})
        turn.publish("default", "session-updated", sessionId="s1")
        raise ValueError("no")

    heard: list[TurnEvent] = []
    store.follow(heard.append)
    turns = [
        store.add_message(message("before"), None),
        store.turn("s1", change),
        store.add_message(message("after"), None),
    ]
    begun = [Deferred.fromCoroutine(turn) for turn in turns]
    assert wait(begun[0]).message.seq == 1
    with pytest.raises(ValueError, match="no"):
        wait(begun[1])
    assert wait(begun[2]).message.seq == 2
    assert [row.id for row in wait(store.latest("s1", 9))] == ["before", "after"]
    assert wait(store.sessions())[0].effort is None
    assert heard == []


def test_a_turn_reads_what_it_and_those_before_have_changed(store: Any) -> None:
    wait(store.create_session(session()))

    def change(turn: Any) -> tuple[Any, ...]:
        added = turn.add_message(prompt("p"), None)
        found = turn.local_messages("s1", ["p"])
        gone = turn.delete_message("p")
        return added.message.seq, found[0].seq, turn.session("s1") == gone, turn.session("no")

    first = Deferred.fromCoroutine(store.add_message(message("m"), None))
    second = Deferred.fromCoroutine(store.turn("s1", change))
    assert wait(second) == (2, 2, True, None)
    wait(first)


def test_events_are_told_after_the_commit_in_its_order_and_before_their_callers_go_on(
    store: Any,
) -> None:
    wait(store.create_session(session()))
    order: list[Any] = []
    store.follow(lambda event: order.append(event.fields["number"]))

    def turn(number: int) -> Deferred[Any]:
        def change(transaction: Any) -> None:
            transaction.add_message(message(f"m{number}"), None)
            transaction.publish("default", "x", number=number, text="\u20ac")

        done = Deferred.fromCoroutine(store.turn("s1", change))
        return done.addCallback(lambda _: order.append(f"returned {number}"))

    wait(gatherResults([turn(number) for number in range(20)]))
    numbers = [word for word in order if isinstance(word, int)]
    returned = [word for word in order if isinstance(word, str)]
    assert numbers == list(range(20))
    assert returned == [f"returned {number}" for number in range(20)]
    assert all(order.index(number) < order.index(f"returned {number}") for number in range(20))


# --- machines, tokens, recipients -----------------------------------------------------------------


def test_a_machine_is_written_if_nobody_else_has_written_it(store: Any) -> None:
    assert wait(store.create_machine(machine())) == machine()
    with pytest.raises(IdTaken):
        wait(store.create_machine(machine(active_at=1)))
    changed = machine(runner_state={"status": "up"}, runner_state_version=2, active_at=EPOCH, seq=1)
    assert wait(store.write_machine(changed, machine())) == Written(changed)
    late = wait(store.write_machine(evolve(changed, active_at=0), machine()))
    assert late == VersionMismatch(changed)
    assert wait(store.machines()) == [changed]
    with pytest.raises(KeyError):
        wait(store.write_machine(machine("m2"), machine("m2")))


def test_tokens_are_kept_and_their_names_are_unique_in_a_namespace(store: Any) -> None:
    first = token("t2")
    second = token("t1", namespace="team", name=first.name, created_at=EPOCH + 1, expires_at=9)
    wait(store.create_token(second))
    assert wait(store.create_token(first)) == first
    with pytest.raises(NameTaken):
        wait(store.create_token(token("t3", name=first.name)))
    assert wait(store.tokens()) == [first, second]
    used = evolve(first, machine_id="m1", last_used_at=5)
    assert wait(store.change_token("t2", {"machine_id": "m1", "last_used_at": 5})) == used
    with pytest.raises(KeyError):
        wait(store.change_token("t9", {"last_used_at": 5}))
    assert wait(store.delete_token("t2")) is True
    assert wait(store.delete_token("t2")) is False
    assert wait(store.tokens()) == [second]


def test_a_recipient_takes_the_place_of_one_with_its_id_or_its_address(store: Any) -> None:
    first, second = recipient("r1"), recipient("r2", created_at=EPOCH + 1, keys=None, settings=None)
    assert wait(store.write_recipient(first)) == first
    wait(store.write_recipient(second))
    assert wait(store.recipients()) == [first, second]
    other_kind = recipient("r3", kind="telegram", address=first.address, created_at=EPOCH + 2)
    wait(store.write_recipient(other_kind))
    same_id = evolve(first, label="renamed")
    wait(store.write_recipient(same_id))
    assert wait(store.recipients()) == [same_id, second, other_kind]
    same_address = recipient("r4", address=first.address)
    wait(store.write_recipient(same_address))
    assert wait(store.recipients()) == [same_address, second, other_kind]
    both = recipient(
        "r4", address=second.address, created_at=EPOCH + 3
    )  # id of one, address of two
    wait(store.write_recipient(both))
    assert wait(store.recipients()) == [other_kind, both]
    assert wait(store.delete_recipient("r3")) is True
    assert wait(store.delete_recipient("r3")) is False


# --- texts ----------------------------------------------------------------------------------------


def test_what_is_stored_comes_back_as_it_was(store: Any) -> None:
    odd = {
        "text": "\ud800 \x00 😀 \u2028",
        "deep": [[[{"a": None}]]],
        "number": 1e300,
        "big": 2**70,
    }
    wait(store.create_session(session()))
    wait(store.write_metadata("s1", 1, odd, {}))
    wait(store.add_message(MessageRow("m", "s1", 0, odd, EPOCH), None))
    assert wait(store.sessions())[0].metadata == odd
    assert wait(store.latest("s1", 1))[0].content == odd


# SQL is never put together from what people say.
NASTY = [
    "'",
    '"',
    "';--",
    "' OR '1'='1",
    "x'); DROP TABLE sessions;--",
    "%",
    "%s",
    "%(a)s",
    "%%",
    "_",
    "\\",
    "\\\\000",
    "\x01\x1f\x7f",
    "a" * 5000,
    "🦑",
    "${1}",
    "$1",
    "?",
    ":a",
]


@pytest.mark.parametrize("text", NASTY)
def test_texts_are_values_not_statements__U01(store: Any, text: str) -> None:
    texts_survive(store, text, text)


def test_a_character_that_a_database_may_not_take_becomes_one_that_stands_for_it(
    store: Any,
) -> None:
    """PostgreSQL has no NUL in a text; SQLite has."""
    stored = wait(store.create_session(session(effort="a\x00b")))[0].effort
    assert stored in ("a\x00b", "a\ufffdb")
    assert wait(store.sessions())[0].effort in ("a\x00b", "a\ufffdb")
    wait(store.create_session(session("s2")))
    wait(store.add_message(message("m", content="x\x00y"), None))
    found = wait(store.latest("s1", 1))[0].content
    assert json.loads(bytes(found)) == "x\x00y"  # JSON has an escape sequence for it


def texts_survive(store: Any, given: str, text: str) -> None:
    """`given` is stored everywhere where people give a text, and comes back as `text`."""
    row = SessionRow(
        given,
        given,
        given,
        EPOCH,
        EPOCH,
        metadata={"path": given, "host": given},
        model=given,
        effort=given,
    )
    shown = evolve(row, id=text, namespace=text, tag=text, effort=text)
    wait(store.create_session(row))
    wait(store.create_machine(MachineRow(given, given, EPOCH, EPOCH, metadata={given: given})))
    wait(store.add_message(MessageRow("m", given, 0, given, EPOCH, local_id=given), None))
    assert wait(store.sessions()) == [evolve(shown, last_seq=1, last_time=EPOCH)]
    assert [one.local_id for one in wait(store.local_messages(given, [given, "no"]))] == [text]
    found = wait(store.message(given, given))
    assert found is not None
    assert json.loads(bytes(found.content)) == given
    assert wait(store.consume(given, [given], EPOCH, True)).local_ids == [text]
    assert wait(store.scheduled(given, 0)) == {}
    assert wait(store.delete_session("nobody" + given)) is False
    assert len(wait(store.machines())) == 1
