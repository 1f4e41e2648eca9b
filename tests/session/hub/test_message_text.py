"""What was said in a conversation, from the rows of the hub."""

import pytest

from hapi.protocol.records import agent_record, message, user_record
from hapi.session.hub.message_text import last_spoken, spoken_text


def row(content):
    return {"content": content}


def claude(*parts):
    data = {"type": "assistant", "message": {"content": list(parts)}}
    return row({"role": "agent", "content": {"type": "output", "data": data}})


def said(text):
    return row(agent_record(message(text, "m1")))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (row(user_record("hello")), ("user", "hello")),
        (row({"role": "user", "content": "plain"}), ("user", "plain")),
        (said("an answer"), ("agent", "an answer")),
        (claude({"text": "one"}, {"type": "tool_use"}, {"text": "two"}), ("agent", "one\ntwo")),
    ],
)
def test_prompts_and_answers_of_every_form_are_read(found, expected):
    assert spoken_text(found) == expected


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        row(None),
        row({"role": "user", "content": {"text": "  "}}),
        row({"role": "agent", "content": None}),
        row({"role": "agent", "content": {"type": "codex", "data": {"type": "tool-call"}}}),
        row({"role": "agent", "content": {"type": "output", "data": {"message": "text"}}}),
        claude({"type": "tool_use"}),
        row({"role": "system", "content": "x"}),
    ],
)
def test_what_is_no_text_is_left_out(found):
    assert spoken_text(found) is None


def test_the_end_of_a_conversation_begins_with_a_prompt():
    rows = [
        each
        for number in range(5)
        for each in (row(user_record(f"p{number}")), row({}), said(f"a{number}"))
    ]
    assert last_spoken(rows, 2) == [
        ("user", "p3"),
        ("agent", "a3"),
        ("user", "p4"),
        ("agent", "a4"),
    ]


def test_of_a_short_conversation_all_is_the_end():
    rows = [said("a1"), row(user_record("p2"))]
    assert last_spoken(rows, 2) == [("agent", "a1"), ("user", "p2")]
