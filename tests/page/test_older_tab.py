"""The page in a tab that is older than its hub: parts that it has not loaded yet are gone."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.peer("chromium")
UPDATED = "The hub was updated. Reload the page to go on."


def replace_build(page: Page, missing: str, **how: Any) -> None:
    """From now on the hub serves another build, without the files `missing` of this one."""
    page.route(
        lambda url: urlsplit(url).path == "/",
        lambda route: (
            route.fulfill(body='<script src="assets/0123456789abcdef/app.js"></script>')
            if route.request.resource_type == "fetch"
            else route.continue_()
        ),
    )
    page.route(f"**/assets/*/{missing}", lambda route: route.fulfill(status=404), **how)


def test_a_view_that_the_hub_no_longer_has_is_shown_by_its_new_build(place: Any) -> None:
    page = place.visit("/")
    page.evaluate("() => { window.isOld = true; }")
    replace_build(page, "views/usage/**", times=1)
    page.evaluate("() => history.pushState(null, '', '/usage')")
    page.evaluate("() => dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_role("main")).to_contain_text("Usage")
    assert page.evaluate("() => window.isOld") is None
    expect(page).to_have_url(re.compile("/usage$"))
    expect(page.get_by_text(UPDATED)).to_have_count(0)
    # Loaded anew once for a build, and never while something is unsent.
    replace_build(page, "views/search/**")
    page.evaluate("() => { window.isOld = true; }")
    page.evaluate("() => history.pushState(null, '', '/search')")
    page.evaluate("() => dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_text(UPDATED)).to_be_visible()
    assert page.evaluate("() => window.isOld") is True
    page.unroute("**/assets/*/views/search/**")
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("searchbox").first).to_be_visible()


def test_what_is_unsent_is_not_lost_and_a_dialog_that_is_gone_is_told_of(place: Any) -> None:
    session = place.session(consume=False)
    page = place.open(session)
    page.route("**/messages", lambda route: route.abort())
    page.get_by_role("textbox", name="Message").fill("keep me")
    page.keyboard.press("Enter")
    expect(page.locator(".user")).to_contain_text("keep me")
    replace_build(page, "views/**")
    page.evaluate("() => { window.isOld = true; }")
    page.evaluate("() => history.pushState(null, '', '/usage')")
    page.evaluate("() => dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_text(UPDATED)).to_be_visible()
    page.get_by_role("button", name="Dismiss").click()
    page.evaluate("() => void import('/assets/0/views/gone.js')")  # of a view, which awaits it
    expect(page.get_by_text(UPDATED)).to_be_visible()
    assert page.evaluate("() => window.isOld") is True
    page.unroute("**/assets/*/views/**")
    page.unroute("**/messages")
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("main")).to_contain_text("Usage")
    page.goto(f"{place.url}/sessions/{session.id}")
    expect(page.locator(".user")).to_contain_text("keep me")
