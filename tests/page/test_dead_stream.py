"""The page: the event stream dies without an end, and somebody comes back to the tab."""

import time
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.support.dead_path import path_to

pytestmark = pytest.mark.peer("chromium")
COME_BACK = "() => document.dispatchEvent(new Event('visibilitychange'))"


def test_whoever_comes_back_to_a_tab_whose_stream_has_died_is_live_again_within_seconds(place):
    session = place.session()
    with path_to(urlsplit(place.url).port) as path:
        page = place.visit(logged_in=False)
        page.goto(f"http://127.0.0.1:{path.port}/sessions/{session.id}#token={place.user.token}")
        expect(page.get_by_role("textbox", name="Message")).to_be_enabled()
        session.claude(type="assistant", message={"role": "assistant", "content": "before"})
        expect(page.locator(".log")).to_contain_text("before")
        path.die()
        session.claude(type="assistant", message={"role": "assistant", "content": "while dead"})
        page.wait_for_timeout(1000)  # in which nothing may arrive
        assert "while dead" not in page.inner_text(".log")
        begun = time.monotonic()
        page.evaluate(COME_BACK)
        expect(page.locator(".log")).to_contain_text("while dead", timeout=90_000)
        # 4 to 7 seconds; without the check 45, since a hub that says nothing is waited for so long.
        assert time.monotonic() - begun < 30


def test_a_stream_that_lives_is_not_made_again_by_looking_at_it(place):
    session = place.session()
    page = place.open(session)
    streams = []
    page.on("request", lambda request: "/api/events" in request.url and streams.append(request))
    with page.expect_response("**/api/visibility") as answered:
        page.evaluate(COME_BACK)
    assert answered.value.status == 200
    page.wait_for_timeout(6000)  # longer than the hub has for a sign of life
    assert streams == []
