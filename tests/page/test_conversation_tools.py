"""The page: what a turn took, copying what was said, finding a place in the conversation; on a
phone's screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.support.page_sessions import ScriptedSession

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def turn(session: ScriptedSession, number: int, answer: str) -> None:
    text = {"type": "text", "text": f"Question {number}"}
    session.raw({"role": "user", "content": text, "meta": {"sentFrom": "cli"}})
    session.record(type="message", id=f"a{number}", message=answer)
    total = {"inputTokens": 12_300, "outputTokens": 45}
    context = {"contextTokens": 500_000, "modelContextWindow": 1_000_000}
    cost = {"amount": 0.0123, "currency": "USD"}
    session.record(type="token_count", model="opus", cost=cost, info={"total": total, **context})
    session.event(type="ready")


def fits(page: Page) -> bool:
    return bool(page.evaluate(f"() => {FITS}"))


def test_a_turn_tells_what_it_took_and_its_answer_and_prompt_can_be_copied(place):
    session = place.session()
    page = place.open(session, **PHONE)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    turn(session, 1, "It is **42**.")
    line = page.get_by_role("group", name="End of the turn")
    expect(line).to_contain_text("12.3K tokens in, 45 out")
    expect(line).to_contain_text("0.0123 USD")
    expect(line).to_contain_text("opus")
    for name, copied in (("Copy answer", "It is **42**."), ("Copy message", "Question 1")):
        page.get_by_role("button", name=name).click()
        page.wait_for_timeout(100)
        assert page.evaluate("() => navigator.clipboard.readText()") == copied
    meter = page.get_by_role("button", name="Context: 50% · 500K of 1M tokens")
    expect(meter).to_be_in_viewport()
    meter.click()
    expect(page.get_by_role("dialog", name="Usage")).to_contain_text("500,000 tokens")
    assert fits(page)


def test_a_long_text_on_a_phone_has_one_copy_button_also_at_the_end_of_a_turn(place):
    session = place.session()
    page = place.open(session, **PHONE)
    session.record(type="message", id="a0", message="First. " * 100)
    expect(page.get_by_role("button", name="Copy text")).to_be_visible()
    turn(session, 1, "Second. " * 100)
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    expect(page.get_by_role("button", name="Copy text")).to_have_count(1)


def test_a_text_is_copied_also_where_the_browser_has_no_clipboard_for_the_page(place):
    session = place.session()
    page = place.open(session, **PHONE)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """() => {
            const read = navigator.clipboard.readText.bind(navigator.clipboard);
            window.copied = read;
            Object.defineProperty(navigator, "clipboard", { value: undefined });
        }"""
    )
    turn(session, 1, "Without TLS")
    page.get_by_role("button", name="Copy answer").click()
    page.wait_for_timeout(100)
    assert page.evaluate("() => window.copied()") == "Without TLS"


def test_the_outline_and_the_search_lead_to_a_place_in_the_conversation(place):
    session = place.session()
    page = place.open(session, **PHONE)
    for number in range(12):
        needle = "the needle" if number in (3, 8) else "hay"
        turn(session, number, f"{needle} {number} " + "and more words. " * 40)
    expect(page.get_by_role("group", name="End of the turn").last).to_be_visible()
    page.get_by_role("button", name="Find in this conversation").click()
    found = page.get_by_role("list", name="Found")
    expect(found.get_by_role("button")).to_have_count(12)
    found.get_by_role("button", name="Question 5").click()
    log = page.get_by_role("log")
    expect(log.get_by_text("Question 5", exact=True)).to_be_in_viewport()
    box = page.get_by_role("searchbox", name="Find in this conversation")
    box.fill("needle")
    expect(found.get_by_role("button")).to_have_count(2)
    box.press("Enter")
    expect(log.get_by_text("the needle 8")).to_be_in_viewport()
    expect(page.locator(".find-count")).to_have_text("2 of 2")
    page.get_by_role("button", name="Previous").click()
    expect(log.get_by_text("the needle 3")).to_be_in_viewport()
    assert page.evaluate("() => CSS.highlights.get('found').size") == 1
    assert fits(page)
    box.press("Escape")
    expect(box).to_have_count(0)
    page.keyboard.press("Control+f")
    expect(box).to_be_focused()


def test_a_plan_of_opencode_is_one_list_that_is_not_shown_twice(place):
    session = place.session()
    page = place.open(session, **PHONE)
    todos = [
        {"content": "Read the test", "status": "in_progress", "priority": "high"},
        {"content": "Fix the parser", "status": "pending", "priority": "high"},
    ]
    call = {"type": "tool-call", "callId": "c", "name": "todowrite"}
    session.record(**call, input={})
    session.record(**call, input={"todos": todos}, status="in_progress")
    session.record(type="tool-call-result", callId="c", output=str(todos))
    strip = page.locator(".plan-strip")
    expect(strip).to_contain_text("Plan · 0 of 2 done")
    expect(page.locator(".block")).to_have_count(0)
    assert page.get_by_text("Read the test").count() == 2  # the line, and the list that it opens
    done = [{**todo, "status": "completed"} for todo in todos]
    session.record(**{**call, "callId": "d"}, input={"todos": done})
    expect(strip).to_be_hidden()
    expect(page.locator(".block.plan")).to_contain_text("Plan · 2 of 2 done")
