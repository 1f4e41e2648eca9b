"""Prompts arrive once, wait, can be taken back, and go to the agent together."""

import pytest

from hapi.session.hub.inbox import Batch, Inbox, UserMessage, read_message


def row(text="hello", row_id="m1", local_id="l1", seq=1, sent_from="webapp", **inner):
    content = {
        "role": "user",
        "content": {"type": "text", "text": text, **inner},
        "meta": {"sentFrom": sent_from},
    }
    return {"id": row_id, "seq": seq, "localId": local_id, "createdAt": 1, "content": content}


def test_a_prompt_is_queued_once_however_often_it_is_sent():
    inbox = Inbox()
    assert inbox.offer(row()) == UserMessage("hello", "m1", "l1")
    assert inbox.offer(row()) is None
    assert inbox.take() == Batch("hello", ("l1",))
    assert inbox.offer(row()) is None
    assert inbox.take() is None


def test_what_waits_goes_together():
    inbox = Inbox()
    inbox.offer(row("one", "m1", "l1", 1))
    inbox.offer(row("two", "m2", None, 2))
    inbox.offer(row("three", "m3", "l3", 3))
    assert inbox.take() == Batch("one\ntwo\nthree", ("l1", "l3"))
    assert inbox.highest == 3


def test_attachments_stand_before_the_text():
    inbox = Inbox()
    inbox.offer(
        row("look", attachments=[{"path": "/up/a.png"}, {"path": "/up/b.txt"}, {"name": "no path"}])
    )
    assert inbox.take() == Batch("@/up/a.png @/up/b.txt\n\nlook", ("l1",))


@pytest.mark.parametrize(
    "other",
    [
        None,
        {},
        row(sent_from="cli"),
        {**row(), "content": {"role": "agent", "content": {}}},
        {**row(), "content": {"role": "user", "content": {"type": "text"}}},
        row("   "),
    ],
)
def test_what_is_no_prompt_of_a_user_is_passed_over(other):
    inbox = Inbox()
    assert inbox.offer(other) is None
    assert inbox.take() is None


def test_the_place_in_the_conversation_moves_with_every_row():
    inbox = Inbox()
    inbox.offer({"id": "a", "seq": 9, "content": {"role": "agent", "content": {}}})
    inbox.offer(row(seq=4))
    assert inbox.highest == 9


@pytest.mark.parametrize(
    "names",
    [
        {"messageId": "m1"},
        {"messageId": "l1", "localId": "l1"},
        {"localId": "l1", "messageId": None},
    ],
)
def test_a_waiting_prompt_can_be_taken_back(names):
    inbox = Inbox()
    inbox.offer(row())
    assert inbox.cancel(names) == {
        "removed": True,
        "inFlight": False,
        "indeterminate": False,
        "consumed": False,
    }
    assert inbox.take() is None


def test_a_prompt_that_the_agent_has_cannot_be_taken_back():
    inbox = Inbox()
    inbox.offer(row())
    inbox.take()
    assert inbox.cancel({"messageId": "l1"})["consumed"]
    assert not inbox.cancel({"messageId": "l1"})["removed"]


def test_an_unknown_prompt_is_neither_removed_nor_consumed():
    assert not any(Inbox().cancel({"messageId": "x", "localId": 3}).values())


def test_a_retry_is_queued_again_though_it_was_seen():
    inbox = Inbox()
    inbox.offer(row())
    inbox.cancel({"messageId": "m1"})
    question = {"messageId": "m1", "localId": "l1", "message": row()}
    assert inbox.retry(question) == {"removed": False, "accepted": True}
    assert inbox.retry(question) == {"removed": False, "accepted": True}
    assert inbox.take() == Batch("hello", ("l1",))


def test_a_retry_may_bring_the_content_alone():
    inbox = Inbox()
    assert inbox.retry({"messageId": "m1", "localId": "l1", "message": row()["content"]})[
        "accepted"
    ]
    assert inbox.take() == Batch("hello", ("l1",))
    assert inbox.retry({"messageId": "m1", "message": None}) == {
        "removed": False,
        "accepted": False,
    }


def test_text_alone_as_content_is_understood():
    assert read_message({"id": "m", "content": {"role": "user", "content": "hi"}}) == UserMessage(
        "hi", "m"
    )
