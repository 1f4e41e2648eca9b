"""Contract of a store: conversations, their order, and prompts that wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hapi.hub.store.rows import INDETERMINATE, QUEUED, MessageRow
from tests.support.store_stage import EPOCH, message, prompt, session, wait


def ids(rows: list[MessageRow]) -> list[str]:
    return [row.id for row in rows]


@pytest.fixture
def filled(store: Any) -> Any:
    """A store with two sessions."""
    wait(store.create_session(session()))
    wait(store.create_session(session("s2")))
    return store


def add(store: Any, *rows: MessageRow) -> list[MessageRow]:
    return [wait(store.add_message(row, None)).message for row in rows]


def test_a_message_needs_its_session(filled: Any) -> None:
    with pytest.raises(KeyError):
        add(filled, message("m", "nobody"))


def test_what_a_message_changes_in_its_session_is_returned(filled: Any) -> None:
    event = {"role": "agent", "content": {"type": "event", "data": {"type": "ready"}}}
    added = wait(filled.add_message(message("e", content=event), EPOCH + 5))
    assert added.session == {"updated_at": EPOCH + 5, "has_content": False, "epoch": 0}
    assert not added.first
    added = wait(filled.add_message(message("m", created_at=EPOCH + 9), EPOCH + 1))
    assert added.session == {"updated_at": EPOCH + 5, "has_content": True, "epoch": 0}
    assert added.first
    assert not wait(filled.add_message(message("m2"), None)).first
    row = next(row for row in wait(filled.sessions()) if row.id == "s1")
    assert (row.updated_at, row.has_content, row.last_seq, row.last_time) == (
        *(EPOCH + 5, True, 3, EPOCH + 9),
    )


def test_a_local_id_is_stored_once__R11(filled: Any) -> None:
    first = wait(filled.add_message(message("m1", local_id="L"), None))
    again = wait(filled.add_message(message("m2", local_id="L"), None))
    assert (first.new, again.new) == (True, False)
    assert again.message == first.message
    assert len(wait(filled.latest("s1", 10))) == 1
    assert wait(filled.add_message(message("m3", "s2", local_id="L"), None)).new


def test_a_message_is_found_by_its_id_and_its_local_id(filled: Any) -> None:
    rows = add(filled, message("m1", local_id="m2"), message("m2", local_id="L"))
    add(filled, message("m3", "s2"))
    assert wait(filled.message("s1", "m1")) == rows[0]
    assert wait(filled.message("s1", "m2")) == rows[0]  # the local id comes first
    assert wait(filled.message("s1", "L")) == rows[1]
    assert wait(filled.message("s1", "m3")) is None
    assert ids(wait(filled.local_messages("s1", ["L", "no", "m2"]))) == ["m1", "m2"]
    many = [f"no{number}" for number in range(1200)]
    assert ids(wait(filled.local_messages("s1", [*many, "L"]))) == ["m2"]
    assert wait(filled.local_messages("s1", [])) == []


def test_a_live_snapshot_goes_when_a_newer_one_comes(filled: Any) -> None:
    def thought(name: str, live: bool, stream: str = "r") -> MessageRow:
        data = {"type": "reasoning", "id": stream, "message": name, "live": live}
        content = {"role": "agent", "content": {"type": "codex", "data": data}}
        return message(name, content=content, stream=stream)

    add(filled, thought("a", True), thought("x", True, "other"), thought("b", True))
    assert ids(wait(filled.latest("s1", 9))) == ["x", "b"]
    add(filled, thought("c", False), thought("d", True))
    assert ids(wait(filled.latest("s1", 9))) == ["x", "c", "d"]


# --- the order is that of the numbers -------------------------------------------------------------


def test_a_number_is_never_given_twice(filled: Any) -> None:
    add(filled, message("m1", local_id="L1"))
    assert wait(filled.delete_message("m1")) is not None
    assert add(filled, message("m2"))[0].seq == 2


def test_a_clock_that_jumps_reorders_nothing(filled: Any) -> None:
    day, hour = 86_400_000, 3_600_000
    add(filled, message("prompt", local_id="L1"))
    for number, now in enumerate([EPOCH, EPOCH + day, EPOCH - hour, EPOCH + 1, EPOCH - day]):
        row = message(f"m{number}", created_at=now, invoked_at=now)
        wait(filled.add_message(row, now))
    taken = wait(filled.consume("s1", ["L1"], EPOCH - hour, True))
    add(filled, message("last", created_at=EPOCH, invoked_at=EPOCH))
    rows = wait(filled.latest("s1", 100))
    assert [row.id for row in rows] == ["m0", "m1", "m2", "m3", "m4", "prompt", "last"]
    assert taken.at == rows[-2].invoked_at == EPOCH + day + 1
    times = [row.position[0] for row in rows]
    assert times == sorted(times)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(times=st.lists(st.integers(0, 9), max_size=12), limit=st.integers(1, 5))
def test_pages_one_after_the_other_are_the_whole_conversation(
    store: Any, times: list[int], limit: int
) -> None:
    wait(store.delete_session("s1"))
    wait(store.create_session(session()))
    for number, time in enumerate(times):
        at = EPOCH + time
        add(store, message(f"m{number}", created_at=at, invoked_at=at))
    whole = wait(store.latest("s1", 100))
    assert [row.position for row in whole] == sorted(row.position for row in whole)
    forwards, at_position = [], (0, 0)
    while page := wait(store.after("s1", at_position, None, limit)):
        forwards += page
        at_position = page[-1].position
    assert forwards == whole
    backwards: list[MessageRow] = []
    at_position = (EPOCH * 2, 0)
    while page := wait(store.before("s1", at_position, limit)):
        backwards = page + backwards
        at_position = page[0].position
    assert backwards == whole
    if len(whole) > 2:
        until = whole[-2].position
        assert wait(store.after("s1", whole[0].position, until, 100)) == whole[1:-1]


def test_a_merge_puts_the_older_history_first_and_out_of_a_process_s_way(store: Any) -> None:
    for name in ("old", "new"):
        wait(store.create_session(session(name)))
        for number in range(3):
            at = EPOCH + (10 if name == "new" else 0) + number
            add(store, message(f"{name}{number}", name, created_at=at, invoked_at=at))
    merged = wait(store.merge_session("old", "new", session("new", epoch=1)))
    assert merged == wait(store.sessions())[0]
    rows = wait(store.latest("new", 10))
    assert [(row.id, row.seq) for row in rows] == [
        ("old0", 1),
        ("old1", 2),
        ("old2", 3),
        ("new0", 4),
        ("new1", 5),
        ("new2", 6),
    ]
    assert ids(wait(store.after_seq("new", 0, 100, EPOCH))) == ["new0", "new1", "new2"]
    assert [row.id for row in wait(store.sessions())] == ["new"]
    with pytest.raises(KeyError):
        wait(store.merge_session("old", "new", session("new")))


def test_a_merge_puts_the_older_history_first_whatever_its_clock_said(store: Any) -> None:
    for name, at in (("old", EPOCH + 1000), ("new", EPOCH)):
        wait(store.create_session(session(name)))
        for number in range(2):
            add(store, message(f"{name}{number}", name, created_at=at, invoked_at=at))
    wait(store.merge_session("old", "new", session("new", epoch=1)))
    assert ids(wait(store.latest("new", 10))) == ["old0", "old1", "new0", "new1"]
    assert add(store, message("next", "new"))[0].position == (EPOCH + 1000, 5)


def test_a_merge_keeps_one_of_two_prompts_with_the_same_local_id_waiting(filled: Any) -> None:
    add(filled, message("a", local_id="L"), message("b", local_id="only"))
    add(filled, message("c", "s2", local_id="L"))
    wait(filled.merge_session("s1", "s2", session("s2")))
    rows = {row.id: (row.local_id, row.invoked_at) for row in wait(filled.latest("s2", 9))}
    assert rows == {"a": (None, EPOCH), "b": ("only", None), "c": ("L", None)}


def test_a_conversation_is_copied_in_portions_as_history(filled: Any) -> None:
    rows = [message(f"m{n}", created_at=EPOCH + n, invoked_at=EPOCH + n) for n in range(230)]
    add(filled, *rows[:120], prompt("waiting", created_at=EPOCH), *rows[120:])
    last: int | None = 0
    steps = 0
    while (following := wait(filled.copy_messages("s1", "s2", last))) is not None:
        assert following > last
        last, steps = following, steps + 1
    assert steps > 1
    source = [row for row in wait(filled.latest("s1", 999)) if row.invoked_at is not None]
    copied = wait(filled.latest("s2", 999))
    assert [(row.seq, row.content, row.created_at, row.invoked_at) for row in copied] == [
        (row.seq, row.content, row.created_at, row.invoked_at) for row in source
    ]
    assert len({*ids(copied), *ids(source)}) == 460
    assert wait(filled.after_seq("s2", 0, 10, EPOCH)) == []


# --- prompts that wait ----------------------------------------------------------------------------


def test_prompts_are_taken_once_at_a_time_after_all_that_was_said(filled: Any) -> None:
    add(filled, prompt("p1"), prompt("p2"), message("m", created_at=EPOCH + 50, invoked_at=EPOCH))
    assert ids(wait(filled.queued("s1", EPOCH))) == ids(wait(filled.waiting("s1"))) == ["p1", "p2"]
    taken = wait(filled.consume("s1", ["p2", "no", "p2"], EPOCH + 9, True))
    assert (taken.local_ids, taken.at) == (["p2"], EPOCH + 9)
    assert wait(filled.consume("s1", ["p2"], EPOCH + 10, True)).local_ids == []
    row = next(row for row in wait(filled.sessions()) if row.id == "s1")
    assert (row.updated_at, row.last_time) == (EPOCH + 9, EPOCH + 9)
    taken = wait(filled.consume("s1", ["p1"], EPOCH + 99, False))
    row = next(row for row in wait(filled.sessions()) if row.id == "s1")
    assert (row.updated_at, row.last_time) == (EPOCH + 9, EPOCH + 99)
    assert ids(wait(filled.latest("s1", 9))) == ["m", "p2", "p1"]
    assert wait(filled.waiting("s1")) == []


def test_a_prompt_that_may_have_been_delivered_is_not_delivered_again(filled: Any) -> None:
    add(filled, prompt("p1", delivery=QUEUED), prompt("p2"), prompt("p3"))
    assert wait(filled.set_delivery("p2", INDETERMINATE)) is True
    assert wait(filled.set_delivery("no", INDETERMINATE)) is False
    assert ids(wait(filled.queued("s1", EPOCH))) == ["p1", "p3"]
    taken = wait(filled.consume_all("s1", EPOCH + 1))
    assert sorted(taken.local_ids) == ["p1", "p3"]
    assert [(row.id, row.delivery) for row in wait(filled.waiting("s1"))] == [("p2", INDETERMINATE)]
    assert wait(filled.consume("s1", ["p2"], EPOCH + 2, False)).local_ids == ["p2"]
    assert {row.delivery for row in wait(filled.latest("s1", 9))} == {None}
    assert wait(filled.set_delivery("p2", QUEUED)) is False


def test_scheduled_prompts_wait_for_their_time(filled: Any) -> None:
    add(filled, prompt("late", scheduled_at=EPOCH + 300), prompt("soon", scheduled_at=EPOCH + 100))
    add(filled, prompt("other", "s2", scheduled_at=EPOCH + 100), prompt("now"))
    assert ids(wait(filled.queued("s1", EPOCH))) == ["now"]
    assert ids(wait(filled.queued("s1", EPOCH + 100))) == ["soon", "now"]
    assert sorted(ids(wait(filled.due(EPOCH, EPOCH + 100)))) == ["other", "soon"]
    assert ids(wait(filled.due(EPOCH + 100, EPOCH + 300))) == ["late"]
    assert wait(filled.scheduled("default", EPOCH + 100)) == {"s1": (1, EPOCH + 300)}
    assert wait(filled.scheduled("default", EPOCH)) == {
        "s1": (2, EPOCH + 100),
        "s2": (1, EPOCH + 100),
    }
    assert wait(filled.scheduled("team", 0)) == {}
    assert ids(wait(filled.after_seq("s1", 0, 9, EPOCH))) == ["now"]
    assert ids(wait(filled.after_seq("s1", 0, 9, EPOCH + 100))) == ["soon", "now"]
    assert wait(filled.consume_all("s1", EPOCH)).local_ids == ["now"]
    assert wait(filled.set_delivery("soon", INDETERMINATE)) is True
    assert ids(wait(filled.due(EPOCH, EPOCH + 300))) == ["other", "late"]


def test_a_prompt_that_is_consumed_cannot_be_deleted(filled: Any) -> None:
    wait(filled.add_message(prompt("p1"), None))
    wait(filled.add_message(prompt("p2"), None))
    wait(filled.consume("s1", ["p1"], EPOCH, False))
    assert wait(filled.delete_message("p1")) is None
    assert wait(filled.delete_message("no")) is None
    row = wait(filled.delete_message("p2"))
    assert (row.id, row.epoch, row.has_content) == ("s1", 1, True)
    wait(filled.add_message(prompt("p3", "s2"), None))
    row = wait(filled.delete_message("p3"))
    assert (row.id, row.epoch, row.has_content) == ("s2", 1, False)
