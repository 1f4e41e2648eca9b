"""The page: what a person reads when the model's provider refuses or fails."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
RAW = '{"type": "error", "error": {"type": "rate_limit_error", "message": "Rate limit reached"}}'


def test_an_error_of_the_provider_says_what_to_do_and_its_own_words_unfold(place):
    session = place.session()
    page = place.open(session, **PHONE)
    session.raw({"role": "user", "content": {"type": "text", "text": "go on"}})
    session.record(type="message", message=f"{RAW}\n\n", id="one")
    session.raw(
        {
            "role": "agent",
            "content": {
                "type": "event",
                "data": {"type": "message", "message": f"Codex prompt failed: {RAW}"},
            },
        }
    )
    error = page.get_by_role("group", name="Error")
    expect(error).to_have_count(1)
    expect(error).to_contain_text("Wait a little, then send the prompt again.")
    expect(error.get_by_text("rate_limit_error")).to_be_hidden()
    error.get_by_text("What the agent said").click()
    expect(error.get_by_text("rate_limit_error")).to_be_visible()
    box = error.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
