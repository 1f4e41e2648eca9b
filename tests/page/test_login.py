"""The page: who may look, and that the token stays out of the address."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.support.peers import NPM, OURS
from tests.support.programs import CANARY

pytestmark = pytest.mark.peer("chromium")
both_hubs = pytest.mark.parametrize(
    "place", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))], indirect=True
)


def until_paused(page, check, seconds=30.0):
    """Wait until `check` holds, while the browser goes on."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        page.wait_for_timeout(50)


@both_hubs
def test_a_typed_token_logs_in_and_survives_a_reload(place):
    page = place.visit(logged_in=False)
    page.get_by_label("Access token").fill(CANARY)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="New session").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="New session").first).to_be_visible()


@both_hubs
def test_a_wrong_token_is_reported_and_can_be_corrected(place):
    page = place.visit(logged_in=False)
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("rejected this token")
    expect(page.get_by_label("Access token")).to_be_focused()
    page.get_by_label("Access token").fill(CANARY)
    page.keyboard.press("Enter")
    expect(page.locator(".shell")).to_be_visible()


def test_the_token_of_a_link_is_taken_out_of_the_address_and_the_history(place):
    page = place.visit("/sessions/none")
    assert page.url == f"{place.url}/sessions/none"
    assert "token" not in page.evaluate("location.href + JSON.stringify(history.state)")


def test_a_link_with_a_wrong_token_says_so(place):
    page = place.visit("/#token=wrong", logged_in=False)
    expect(page.get_by_role("alert")).to_contain_text("rejected this token")
    assert page.url == f"{place.url}/"


def test_no_request_carries_the_token_or_the_jwt_in_its_address__U06(place):
    session = place.session()
    addresses: list[str] = []
    page = place.visit()
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(f"{place.url}/sessions/{session.id}")
    expect(page.get_by_role("textbox", name="Message")).to_be_enabled()
    jwt = page.evaluate("JSON.parse(localStorage.getItem('hapi.jwt')).jwt")
    assert any("/api/events" in address for address in addresses)
    assert not [address for address in addresses if CANARY in address or jwt in address]


def test_an_expired_jwt_is_renewed_without_the_person(place):
    session = place.session()
    page = place.open(session)
    page.evaluate(
        "localStorage.setItem('hapi.jwt', JSON.stringify({jwt: 'a.b.c', until: Date.now() + 1e7}))"
    )
    page.get_by_role("textbox", name="Message").fill("still here")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent")).to_contain_text("still here")


def test_a_token_that_is_no_longer_valid_leads_back_to_the_log_in(place):
    page = place.visit()
    page.goto(f"{place.url}/health")  # the page itself would meet the refusal before the reload
    page.evaluate(
        "localStorage.setItem('hapi.accessToken', 'revoked'); localStorage.removeItem('hapi.jwt')"
    )
    page.goto(f"{place.url}/")
    expect(page.get_by_role("alert")).to_contain_text("no longer valid")
    assert page.evaluate("localStorage.getItem('hapi.accessToken')") is None


def test_logging_out_forgets_everything(place):
    page = place.visit()
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Access token")).to_be_visible()
    assert page.evaluate(
        "[localStorage.getItem('hapi.accessToken'), localStorage.getItem('hapi.jwt')]"
    ) == [None, None]


def test_without_staying_logged_in_the_token_ends_with_the_tab(place):
    page = place.visit(logged_in=False)
    page.get_by_label("Access token").fill(CANARY)
    page.get_by_label("Stay logged in").uncheck()
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".shell")).to_be_visible()
    other = page.context.new_page()
    other.goto(place.url)
    expect(other.get_by_label("Access token")).to_be_visible()


def test_the_jwt_of_the_event_stream_is_renewed_before_it_expires_without_a_visible_gap(place):
    session = place.session()
    page = place.open(session)
    session.record(type="message", message="before")
    expect(page.locator(".block.text")).to_have_text(["before"])
    streams = []
    page.on(
        "request",
        lambda request: streams.append(request) if "/api/events" in request.url else None,
    )
    page.evaluate(
        """() => {
          const grant = JSON.parse(localStorage.getItem('hapi.jwt'));
          grant.until = Date.now() + 62_000; // the page renews a minute before
          localStorage.setItem('hapi.jwt', JSON.stringify(grant));
        }"""
    )
    old = page.evaluate("localStorage.getItem('hapi.jwt')")
    page.reload()
    page.evaluate(
        """() => {
          window.alarms = [];
          const banner = document.querySelector('.banner');
          const note = () => banner.hidden || window.alarms.push(banner.textContent);
          new MutationObserver(note).observe(banner, { attributes: true, childList: true });
        }"""
    )
    until_paused(page, lambda: len(streams) == 2)
    session.record(type="message", message="after")
    expect(page.locator(".block.text")).to_have_text(["before", "after"])
    first, second = (request.all_headers() for request in streams)
    assert first["authorization"] != second["authorization"]
    assert page.evaluate("localStorage.getItem('hapi.jwt')") != old
    assert page.evaluate("window.alarms") == []


def test_a_changed_access_token_leads_to_the_log_in_and_back_to_the_same_place(place):
    session = place.session()
    page = place.open(session)
    page.context.set_offline(True)
    page.get_by_role("textbox", name="Message").fill("written before")
    page.keyboard.press("Enter")
    expect(page.locator(".user.waiting")).to_contain_text("written before")
    page.evaluate(
        "localStorage.setItem('hapi.accessToken', 'old'); localStorage.removeItem('hapi.jwt')"
    )
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_contain_text("no longer valid")
    page.get_by_label("Access token").fill(CANARY)
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent")).to_contain_text("written before")
    assert page.url == f"{place.url}/sessions/{session.id}"


def test_a_hub_that_refuses_the_event_stream_is_quoted(place):
    page = place.visit()
    words = "Too many event streams of this login are open at once: try again in 5 s"
    page.route(
        "**/api/events**",
        lambda route: route.fulfill(
            status=429,
            headers={"Retry-After": "5"},
            json={"error": words, "code": "too_many_at_once"},
        ),
    )
    page.reload()
    expect(page.locator(".banner")).to_contain_text(words)
