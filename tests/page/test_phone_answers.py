"""The page on a phone: what is seen and where the focus is after an answer to the agent."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PROMPT = "Please apply this:\n```diff\n-old\n+new\n```\nThank you."


def test_an_allowed_command_runs_in_sight_and_no_keyboard_rises_over_it(place):
    session = place.session(flavor="claude")
    page = place.open(session, **PHONE)
    call = {"callId": "c", "name": "Bash", "input": {"command": "ls"}, "status": "pending"}
    session.record(type="tool-call", **call)
    session.ask("c", "Bash", {"command": "ls"})
    card = page.locator(".tool")
    card.get_by_role("button", name="Allow", exact=True).tap()
    session.wait_for_call("permission")
    session.answered("c", "approved")
    expect(card.get_by_role("button", name="Deny")).to_have_count(0)
    expect(card.locator(".tool-status")).to_have_text("Running")
    expect(card).to_be_in_viewport()
    assert page.evaluate("document.activeElement.tagName") != "TEXTAREA"


def test_fenced_code_in_an_own_prompt_is_a_code_block(place):
    session = place.session()
    page = place.open(session, **PHONE)
    page.get_by_role("textbox", name="Message").fill(PROMPT)
    page.get_by_role("button", name="Send").tap()
    bubble = page.locator(".user.sent .bubble")
    expect(bubble.locator(".diff-row.plus")).to_contain_text("new")
    expect(bubble).not_to_contain_text("```")
    expect(bubble).to_contain_text("Thank you.")
