"""Live text: what a session sends of blocks that grow, and what a receiver makes of it."""

from __future__ import annotations

import json
from random import Random

import pytest

from hapi.protocol.json import Malformed, from_json, to_json
from hapi.protocol.live import (
    MAX_BLOCKS,
    MAX_SESSION_TEXT,
    MAX_TEXT,
    MESSAGE,
    REASONING,
    TOOL_OUTPUT,
    BlockChange,
    LiveBlock,
    LiveSender,
    LiveState,
    LiveUpdate,
    Missed,
    TooLarge,
    block_of_record,
    read_live_update,
)
from hapi.protocol.records import agent_record, message, reasoning, tool_result


def said(text: str, name: str = "t", kind: str = MESSAGE) -> LiveBlock:
    return LiveBlock(name, kind, text)


def over_the_wire(update: LiveUpdate) -> LiveUpdate:
    return read_live_update(from_json(to_json(update.wire(sid="s"))))


def texts(state: LiveState) -> dict[str, str]:
    return {block.id: block.text for block in state.whole().blocks}


def test_a_growing_text_is_sent_once_piece_by_piece():
    sender = LiveSender("e")
    first, second = sender.update([said("Hel")]), sender.update([said("Hello")])
    assert first == LiveUpdate("e", 1, (BlockChange("t", MESSAGE, "Hel"),), whole=True)
    assert second == LiveUpdate("e", 2, (BlockChange("t", MESSAGE, "lo", append=True),))
    assert sender.update([said("Hello")]) is None


def test_a_block_that_is_gone_has_ended_and_the_next_one_after_a_pause_is_whole():
    sender = LiveSender("e")
    sender.update([said("one", "a")])
    assert sender.update([said("two", "b")]) == LiveUpdate(
        "e", 2, (BlockChange("b", MESSAGE, "two"),), ("a",)
    )
    assert sender.update([]) == LiveUpdate("e", 3, (), ("b",))
    assert sender.update([]) is None
    assert sender.update([said("three", "c")]).whole


def test_spaces_alone_are_not_sent_because_no_record_comes_of_them():
    sender = LiveSender("e")
    assert sender.update([said("\n ")]) is None
    assert sender.update([said("\n so")]).blocks == (BlockChange("t", MESSAGE, "\n so"),)


def test_an_emoji_that_came_in_two_halves_is_sent_as_one_character():
    sender, state = LiveSender("e"), LiveState()
    for text in ("a\ud83d", "a\ud83d\ude00", "a\ud83d\ude00b"):
        if (update := sender.update([said(text)])) is not None:
            state.apply(over_the_wire(update))
    assert texts(state) == {"t": "a😀b"}


def test_the_output_of_a_tool_is_replaced_when_it_becomes_another_one():
    sender, state = LiveSender("e"), LiveState()
    for output in ("10 %", "10 %\n20 %", "done"):
        state.apply(over_the_wire(sender.update([said(output, "c", TOOL_OUTPUT)])))
        assert texts(state) == {"c": output}


def test_of_a_long_output_the_end_is_kept_and_the_amount_sent_grows_with_its_length_only():
    sender, state, output, sent = LiveSender("e"), LiveState(), "", 0
    for number in range(1000):
        output += f"{number:04} " + "x" * 995
        update = sender.update([said(output, "c", TOOL_OUTPUT)])
        sent += len(to_json(update.wire(sid="s")))
        state.apply(over_the_wire(update))
        assert output.endswith(texts(state)["c"])
        assert len(texts(state)["c"]) <= MAX_TEXT
    assert len(texts(state)["c"]) >= MAX_TEXT // 2
    assert sent < 3 * len(output)


def test_a_message_that_is_too_long_stops_growing():
    sender, state = LiveSender("e"), LiveState()
    for length in (10, MAX_TEXT - 1, MAX_TEXT + 5, MAX_TEXT + 9):
        if (update := sender.update([said("x" * length)])) is not None:
            state.apply(update)
    assert len(texts(state)["t"]) == MAX_TEXT


def test_any_receiver_that_asks_for_the_whole_at_any_moment_has_what_the_sender_has():
    random = Random(7)
    sender, state, blocks, number = LiveSender("e"), LiveState(), {}, 0
    for _ in range(2000):
        match random.randrange(6):
            case 0:
                number += 1
                kind = random.choice((MESSAGE, REASONING, TOOL_OUTPUT))
                blocks[f"b{number}"] = said(f"start {number}", f"b{number}", kind)
            case 1 if blocks:
                del blocks[random.choice(list(blocks))]
            case _ if blocks:
                name = random.choice(list(blocks))
                more = random.choice(("x", "né", "\ud83d\ude00"))
                blocks[name] = said(blocks[name].text + more, name, blocks[name].kind)
        if random.random() < 0.1:  # an update is lost
            sender.update(list(blocks.values()))
        update = sender.update(list(blocks.values()))
        if update is not None:
            try:
                state.apply(over_the_wire(update))
            except Missed:
                state.apply(over_the_wire(sender.whole(blocks.values())))
            shown = list(blocks.values())[:MAX_BLOCKS]
            if len(blocks) < MAX_BLOCKS:
                plain = {block.id: from_json(to_json(block.text)) for block in shown}
                assert texts(state) == plain
                assert state.size == sum(map(len, plain.values()))


def test_an_update_that_does_not_follow_is_refused_and_empties_the_state():
    state = LiveState()
    state.apply(LiveUpdate("e", 1, (BlockChange("t", MESSAGE, "a"),), whole=True))
    for update in (LiveUpdate("e", 3, ()), LiveUpdate("other", 2, ())):
        with pytest.raises(Missed):
            state.apply(update)
        assert state.is_empty


def test_a_record_takes_its_block_away_and_what_comes_late_does_not_bring_it_back():
    state = LiveState()
    state.apply(LiveUpdate("e", 1, (BlockChange("t", MESSAGE, "a"),), whole=True))
    state.drop("t")
    state.apply(LiveUpdate("e", 2, (BlockChange("t", MESSAGE, "b", append=True),)))
    assert state.is_empty
    assert state.size == 0


def test_blocks_stay_while_their_records_cannot_be_stored():
    state = LiveState()
    state.apply(LiveUpdate("e", 1, (BlockChange("a", MESSAGE, "one"),), whole=True))
    state.apply(LiveUpdate("e", 2, (BlockChange("b", MESSAGE, "two"),), ("a",)), keeps_ended=True)
    assert texts(state) == {"a": "one", "b": "two"}


def test_a_session_that_sends_too_much_has_nothing_shown():
    state = LiveState()
    many = tuple(BlockChange(f"b{n}", MESSAGE, "x" * MAX_TEXT) for n in range(5))
    assert 5 * MAX_TEXT > MAX_SESSION_TEXT
    with pytest.raises(TooLarge):
        state.apply(LiveUpdate("e", 1, many, whole=True))
    assert state.is_empty
    for number in range(20):  # one block that grows without end
        try:
            text = "x" * (MAX_TEXT // 4)
            change = BlockChange("t", MESSAGE, text, append=number > 0)
            state.apply(LiveUpdate("e", number + 1, (change,), whole=number == 0))
        except (TooLarge, Missed):
            break
    assert state.size == 0


GOOD = {"epoch": "e", "number": 1, "blocks": [{"id": "t", "type": "message", "text": "a"}]}


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 1},
        {"epoch": ""},
        {"epoch": "e" * 65},
        {"number": "1"},
        {"number": True},
        {"number": -1},
        {"blocks": None},
        {"blocks": [None]},
        {"blocks": [{"id": "t", "type": "other", "text": "a"}]},
        {"blocks": [{"id": "t", "type": [], "text": "a"}]},
        {"blocks": [{"id": 5, "type": "message", "text": "a"}]},
        {"blocks": [{"id": "t", "type": "message"}]},
        {"blocks": [{"id": "t" * 513, "type": "message", "text": "a"}]},
        {"blocks": [GOOD["blocks"][0]] * 65},
        {"ended": "t"},
        {"ended": [5]},
    ],
    ids=json.dumps,
)
def test_an_update_of_the_wrong_shape_is_refused(change):
    read_live_update(GOOD)
    with pytest.raises(Malformed):
        read_live_update({**GOOD, **change})


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (message("a", "t"), "t"),
        (reasoning("a", "r", live=False), "r"),
        (reasoning("a", "r", live=True), None),
        (tool_result("c", "out", failed=False), "c"),
        ({"type": "tool-call", "callId": "c"}, None),
        ({"type": "message", "id": 5}, None),
    ],
)
def test_which_block_a_record_replaces(record, name):
    assert block_of_record(agent_record(record)) == name
    assert block_of_record(record) is None
