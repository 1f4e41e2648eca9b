"""Live text of a session: when it is sent, and what npm's hub gets instead."""

from __future__ import annotations

import pytest

from tests.support.session_stage import SID

ASK = {"sid": SID, "whole": True}


@pytest.fixture
def up(staged):
    """A session in a turn whose hub has asked for live text."""
    stage = staged().up()
    stage.link.deliver("session-live", ASK)
    stage.clock.advance(1)
    stage.link.message("go")
    stage.clock.advance(1)
    return stage


def live(stage):
    return stage.link.of("session-live")


def pieces(stage):
    return [block["text"] for update in live(stage) for block in update["blocks"]]


def test_text_is_sent_while_it_is_said_and_its_record_has_the_same_id(up):
    up.agent.say("Hel")
    up.clock.advance(0.03)
    up.agent.say("lo")
    up.clock.advance(0.2)
    first, second = live(up)[-2:]
    assert first["blocks"][0]["text"] == "Hel"
    assert second["blocks"] == [{**first["blocks"][0], "text": "lo", "append": True}]
    assert not [record for record in up.link.records if record.get("type") == "message"]
    up.agent.finish()
    record = next(record for record in up.link.records if record.get("type") == "message")
    assert (record["id"], record["message"]) == (first["blocks"][0]["id"], "Hello")
    up.clock.advance(0.1)
    assert live(up)[-1]["ended"] == [record["id"]]


def test_at_most_ten_updates_a_second_are_sent(up):
    before = len(live(up))
    for _ in range(300):
        up.agent.say("word ")
        up.clock.advance(0.01)
    up.clock.advance(0.1)
    assert 28 <= len(live(up)) - before <= 31
    assert "".join(pieces(up)) == "word " * 300


def test_an_answer_that_comes_at_once_is_sent_once(up):
    before = len(live(up))
    up.agent.say("All of it.")
    up.agent.finish()
    up.clock.advance(1)
    assert len(live(up)) == before


def test_thoughts_are_stored_once_at_a_hub_with_live_text(up):
    for _ in range(20):
        up.agent.update("agent_thought_chunk", content={"type": "text", "text": "hm "})
        up.clock.advance(0.1)
    up.agent.finish()
    thoughts = [record for record in up.link.records if record.get("type") == "reasoning"]
    assert [record["message"] for record in thoughts] == ["hm " * 20]
    assert "".join(pieces(up)) == "hm " * 20


def test_a_hub_that_does_not_ask_gets_snapshots_of_thoughts_and_no_live_text(staged):
    stage = staged().up()
    stage.link.message("go")
    for _ in range(20):
        stage.agent.update("agent_thought_chunk", content={"type": "text", "text": "hm "})
        stage.clock.advance(0.1)
    stage.agent.say("So.")
    stage.clock.advance(1)
    stage.agent.finish()
    assert not live(stage)
    thoughts = [record for record in stage.link.records if record.get("type") == "reasoning"]
    assert len(thoughts) > 3
    assert len({record["id"] for record in thoughts}) == 1


def test_the_output_of_a_tool_is_sent_while_it_runs(up):
    up.agent.update("tool_call", toolCallId="c", title="make", kind="execute", status="in_progress")
    for output in ("one\n", "one\ntwo\n"):
        content = [{"type": "content", "content": {"type": "text", "text": output}}]
        up.agent.update("tool_call_update", toolCallId="c", content=content)
        up.clock.advance(0.1)
    assert [block for update in live(up)[-2:] for block in update["blocks"]] == [
        {"id": "c", "type": "tool-output", "text": "one\n"},
        {"id": "c", "type": "tool-output", "text": "two\n", "append": True},
    ]


def test_after_a_lost_connection_the_hub_is_sent_all_there_is_when_it_asks(up):
    up.agent.say("before ")
    up.clock.advance(1)
    up.link.drop()
    up.agent.say("while away ")
    up.clock.advance(1)
    up.link.connect()
    up.agent.say("after")
    up.clock.advance(1)
    count = len(live(up))
    up.link.deliver("session-live", ASK)
    up.clock.advance(1)
    assert len(live(up)) == count + 1
    assert live(up)[-1]["whole"] is True
    assert [block["text"] for block in live(up)[-1]["blocks"]] == ["before while away after"]


def test_live_text_waits_for_older_records_that_the_link_has_not_sent(up):
    up.link.backlog = True
    up.agent.say("text")
    up.clock.advance(1)
    before = len(live(up))
    up.link.backlog = False
    up.clock.advance(1)
    assert len(live(up)) == before + 1


def test_nothing_is_sent_after_the_end(up):
    up.agent.say("text")
    up.session.hub.announce_end("completed")
    before = len(live(up))
    up.clock.advance(5)
    assert len(live(up)) == before


def test_a_session_knows_whether_a_page_shows_it(up):
    told = []
    live_text = up.session.hub.live
    live_text.on_watched = lambda: told.append(live_text.is_watched)
    sent = len(live(up))
    for is_watched in (True, True, False, True):
        up.link.deliver("session-live", {"sid": SID, "watched": is_watched})
        up.clock.advance(1)
    assert told == [True, False, True]
    assert len(live(up)) == sent  # nothing is sent for that
    up.link.connect()
    assert told[-1] is False
