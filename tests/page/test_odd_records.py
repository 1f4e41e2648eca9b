"""The page: records, requests and rows that are not what they should be hurt only themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.peer("chromium")


def agent(content: Any) -> dict[str, Any]:
    return {"role": "agent", "content": content}


def deep(levels: int) -> Any:
    made: Any = "end"
    for _ in range(levels):
        made = {"a": made}
    return made


ODD: list[Any] = [
    *(agent(content) for content in (None, 7, "text", [], [None], {})),
    *(agent({"type": kind, "data": None}) for kind in ("codex", "event", "output")),
    *(agent({"type": kind, "data": ["x"]}) for kind in ("codex", "event", "output")),
    agent({"type": "codex", "data": {"type": {}}}),
    *({"role": role, "content": {"type": "text"}} for role in (None, 7, {}, "user")),
    *({"role": "user", "content": content} for content in (None, 7, [])),
    {"content": {"type": "text", "text": "no role"}},
    {"strange": deep(60)},
    [1, 2],
    "just text",
    7,
    True,
]
# Those that have a shape, and something odd inside: shown as far as possible, or not at all.
ODD_INSIDE: list[Any] = [
    agent({"type": "output", "data": {"type": "assistant", "message": {"content": [None]}}}),
    agent({"type": "codex", "data": {"type": "plan", "entries": [None, 7, {"content": {}}]}}),
    agent({"type": "codex", "data": {"type": "tool-call", "name": {}, "input": 7}}),
    agent({"type": "codex", "data": {"type": "tool-call-result", "callId": [], "output": [None]}}),
    {"role": "user", "content": {"type": "text", "text": "files", "attachments": [None, 7]}},
]


def test_a_chat_with_odd_records_shows_all_others_and_each_odd_one_as_a_block(place):
    session = place.session()
    page = place.open(session)
    session.record(type="message", message="before")
    for odd in [*ODD, *ODD_INSIDE]:
        session.raw(odd)
    session.record(type="message", message="after")
    for _ in range(2):
        expect(page.locator(".block.text").last).to_have_text("after")
        expect(page.locator(".block.text").first).to_have_text("before")
        expect(page.locator(".block.odd")).to_have_count(len(ODD))
        page.reload()
    first = page.locator(".block.odd").first
    expect(first.locator("pre")).to_be_hidden()
    first.get_by_text("This record cannot be shown.").click()
    expect(first.locator("pre")).to_be_visible()
    assert json.loads(first.locator("pre").inner_text()) == ODD[0]
    page.get_by_role("textbox", name="Message").fill("Still here?")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent").last).to_contain_text("Still here?")


def test_a_session_with_an_odd_request_is_listed_marked_and_can_be_answered(place):
    good, bad = place.session(name="Good one"), place.session(name="Odd one")
    page = place.open(bad)
    bad.ask("r1", {}, {"command": "ls"}, toolCallId=[])  # type: ignore[arg-type]
    card = page.locator(".block", has_text="Allow this?")
    expect(card).to_be_visible()
    page.reload()
    expect(page.locator(".row", has_text="Odd one")).to_contain_text("damaged")
    expect(page.locator(".row", has_text="Good one")).not_to_contain_text("damaged")
    bad.answers["permission"] = None
    card.get_by_role("button", name="Deny", exact=True).click()
    assert bad.wait_for_call("permission")["id"] == "r1"
    assert good.id


def test_a_thousand_odd_records_leave_the_others_to_be_read_and_the_chat_quick(place):
    session = place.session()
    session.record(type="message", message="before")
    kinds = ("message", "reasoning", "tool-call", "tool-call-result", "plan", "token_count")
    values = (
        None,
        7,
        True,
        [],
        [None],
        {},
        {"a": None},
        deep(40),
        "x" * 20_000,
        {"toString": None},
    )
    fields = ("message", "id", "callId", "name", "input", "output", "entries", "info")
    for number in range(1000):
        kind = kinds[number % len(kinds)]
        record = {"type": kind, "callId": f"c{number}", "message": f"text {number}", "name": "Run"}
        record[fields[number % len(fields)]] = values[number % len(values)]
        session.raw(agent({"type": "codex", "data": record}))
        if number % 100 == 50:
            session.record(type="message", message=f"still fine {number}")
    session.record(type="message", message="after")
    page = place.open(session)
    expect(page.locator(".block.text").last).to_have_text("after")
    page.get_by_role("textbox", name="Message").fill("Still here?")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent").last).to_contain_text("Still here?")
