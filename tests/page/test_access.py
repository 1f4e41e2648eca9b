"""The page of a person whose access token allows less than everything."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.peer("chromium")


def token_for(place, *scopes):
    body = {"name": "+".join(scopes), "scopes": list(scopes)}
    return place.user.call("POST", "/api/tokens", body)


def visit_with(place, token, path="/"):
    page = place.visit(path, logged_in=False)
    page.get_by_label("Access token").fill(token)
    page.keyboard.press("Enter")
    return page


def test_what_a_token_does_not_allow_is_disabled_and_the_page_says_why(place):
    session = place.session(flavor="opencode", name="Careful")
    session.record(
        type="tool-call", callId="c", name="Run", input={"command": "ls"}, status="pending"
    )
    session.ask("c", "Run", {"command": "ls"})
    page = visit_with(place, token_for(place, "chat")["token"], f"/sessions/{session.id}")
    card = page.locator(".tool")
    expect(card).to_have_attribute("data-status", "asks")
    expect(card.get_by_role("button", name="Allow", exact=True)).to_be_disabled()
    expect(card).to_contain_text("Your access token does not allow answering permission requests.")
    expect(page.get_by_role("textbox", name="Message")).to_be_enabled()
    expect(page.get_by_role("button", name="New session")).to_have_count(0)

    page = visit_with(place, token_for(place, "approve")["token"], f"/sessions/{session.id}")
    expect(page.get_by_role("button", name="Allow", exact=True)).to_be_enabled()
    write = page.get_by_role("textbox", name="Message")
    expect(write).to_be_disabled()
    expect(write).to_have_attribute(
        "placeholder", "Your access token does not allow sending messages."
    )


def test_a_revoked_token_shows_the_login_within_a_second(place):
    made = token_for(place, "read")
    page = visit_with(place, made["token"])
    expect(page.locator(".shell")).to_be_visible()
    place.user.call("DELETE", f"/api/tokens/{made['id']}")
    expect(page.get_by_role("alert")).to_contain_text("no longer valid", timeout=90_000)


def test_the_token_of_a_machine_does_not_open_the_page(place):
    page = visit_with(place, token_for(place, "machine")["token"])
    expect(page.get_by_role("alert")).to_contain_text("This access token is for a machine.")
