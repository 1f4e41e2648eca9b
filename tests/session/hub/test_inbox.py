"""Prompts arrive once, wait, can be taken back, and go to the agent together
unless they are commands."""

import pytest

from hapi.protocol.acp.prompts import Attachment
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
    assert inbox.take() == Batch(("hello",), ("l1",))
    assert inbox.offer(row()) is None
    assert inbox.take() is None


def test_texts_that_wait_go_together_with_empty_lines_between_them():
    inbox = Inbox()
    inbox.offer(row("one", "m1", "l1", 1))
    inbox.offer(row("two\nlines", "m2", None, 2))
    inbox.offer(row("three", "m3", "l3", 3))
    batch = inbox.take()
    assert batch == Batch(("one", "two\nlines", "three"), ("l1", "l3"))
    assert batch.text == "one\n\ntwo\nlines\n\nthree"
    assert inbox.highest == 3


def test_prompts_go_in_the_order_in_which_they_were_written_however_they_come():
    inbox = Inbox()
    for seq in (7, 1, 2, 9, 3):
        inbox.offer(row(f"text {seq}", f"m{seq}", f"l{seq}", seq))
    batch = inbox.take()
    assert batch is not None
    assert batch.local_ids == ("l1", "l2", "l3", "l7", "l9")
    inbox.offer(row("late", "m4", "l4", 4))
    inbox.put(UserMessage("from the terminal"))
    inbox.offer(row("next", "m10", "l10", 10))
    batch = inbox.take()
    assert batch is not None
    assert batch.text == "late\n\nfrom the terminal\n\nnext"


def test_a_command_is_a_prompt_of_its_own_and_all_keep_their_order():
    inbox = Inbox()
    texts = ["one", "two", "/compact", "  /model opus", "three", "four", "/clear"]
    for number, text in enumerate(texts):
        inbox.offer(row(text, f"m{number}", f"l{number}", number))
    taken = []
    while (batch := inbox.take()) is not None:
        taken.append(batch.parts)
    assert taken == [
        ("one", "two"),
        ("/compact",),
        ("  /model opus",),
        ("three", "four"),
        ("/clear",),
    ]


A_PNG = {"path": "/up/1-a.png", "filename": "a.png", "mimeType": "image/png", "size": 3}


def test_attachments_stand_before_their_text():
    inbox = Inbox()
    inbox.offer(row("before", "m1", "l1"))
    inbox.offer(row("look", "m2", "l2", attachments=[A_PNG, {"path": "/b.txt"}, {"name": "no"}]))
    assert inbox.take() == Batch(
        (
            "before",
            Attachment("/up/1-a.png", "a.png", "image/png"),
            Attachment("/b.txt", "b.txt"),
            "look",
        ),
        ("l1", "l2"),
    )


def test_a_command_stays_at_the_beginning_of_a_prompt_with_attachments():
    inbox = Inbox()
    inbox.offer(row("before", "m1", "l1"))
    inbox.offer(row("/review", "m2", "l2", attachments=[A_PNG]))
    assert inbox.take().parts == ("before",)
    assert inbox.take().parts == ("/review", Attachment("/up/1-a.png", "a.png", "image/png"))


def test_attachments_alone_are_a_prompt_that_has_their_names():
    inbox = Inbox()
    assert inbox.offer(row("", attachments=[A_PNG])).summary == "(attached: a.png)"
    batch = inbox.take()
    assert batch.parts == (Attachment("/up/1-a.png", "a.png", "image/png"),)
    assert batch.text == "a.png"


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
    assert inbox.take() == Batch(("hello",), ("l1",))


def test_a_retry_may_bring_the_content_alone():
    inbox = Inbox()
    assert inbox.retry({"messageId": "m1", "localId": "l1", "message": row()["content"]})[
        "accepted"
    ]
    assert inbox.take() == Batch(("hello",), ("l1",))
    assert inbox.retry({"messageId": "m1", "message": None}) == {
        "removed": False,
        "accepted": False,
    }


def test_text_alone_as_content_is_understood():
    assert read_message({"id": "m", "content": {"role": "user", "content": "hi"}}) == UserMessage(
        "hi", "m"
    )
