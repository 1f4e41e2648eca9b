"""The page: what waits for a person over all sessions, as a queue and as notices with answers; on a
phone's screen."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.page_sessions import ScriptedSession

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def asking(place: Any, name: str, *commands: str) -> ScriptedSession:
    session: ScriptedSession = place.session(name=name, homeDir="/home/dev")
    session.serve("permission")
    session.answers["permission"] = {"ok": True}
    for number, command in enumerate(commands):
        session.ask(f"{name}-{number}", command, {"command": command}, kind="execute")
    return session


def decided(session: ScriptedSession) -> Any:
    calls = [params for method, params in session.calls if method.endswith("permission")]
    return calls[-1] if calls else None


def log_in(place: Any, path: str, **context: Any) -> Page:
    page: Page = place.visit(path, **context)
    return page


def test_requests_of_all_sessions_are_answered_one_after_the_other(place):
    first = asking(place, "Shop", "make build", "make test")
    second = asking(place, "Blog", "rm -r drafts")
    page = log_in(place, "/", **PHONE)
    page.get_by_role("link", name="2 sessions are waiting for you").click()
    head = page.locator(".waiting-view .main-head")
    expect(head).to_contain_text("1 of 3")
    expect(page.locator(".waiting-session")).to_contain_text("Shop")
    directory = page.locator(".waiting-session .path-label")
    expect(directory).to_have_text("~/shop")
    expect(directory).to_have_attribute("title", "/home/dev/shop")
    expect(page.locator(".tool")).to_contain_text("make build")
    page.get_by_role("button", name="Next request").click()
    expect(page.locator(".tool")).to_contain_text("make test")
    page.get_by_role("button", name="Previous request").click()
    expect(head).to_contain_text("1 of 3")
    page.get_by_role("button", name="Allow", exact=True).click()
    answer = first.until(lambda: decided(first), "the first answer")
    assert (answer["id"], answer["approved"]) == ("Shop-0", True)
    first.answered("Shop-0")
    expect(head).to_contain_text("1 of 2")
    expect(page.locator(".tool")).to_contain_text("make test")
    assert page.evaluate(f"() => {FITS}")
    first.answered("Shop-1")
    expect(page.locator(".waiting-session")).to_contain_text("Blog")
    page.wait_for_timeout(600)  # a request that has come by itself cannot be answered at once
    page.keyboard.press("d")
    answer = second.until(lambda: decided(second), "the second answer")
    assert (answer["id"], answer["approved"]) == ("Blog-0", False)
    second.answered("Blog-0", status="denied")
    expect(page.locator(".waiting-none")).to_contain_text("Nothing is waiting for you.")


def test_a_press_that_was_meant_for_the_request_before_answers_nothing(place):
    session = asking(place, "Shop", "ls", "rm -rf .")
    page = log_in(place, "/waiting", **PHONE)
    expect(page.locator(".tool")).to_contain_text("ls")
    allow = page.get_by_role("button", name="Allow", exact=True)
    page.wait_for_timeout(600)
    allow.click()
    session.until(lambda: decided(session), "the answer")
    page.evaluate(
        """() => {
            const seen = () => document.querySelector(".tool")?.textContent.includes("rm -rf");
            const press = () => document.querySelector(".permission-buttons .primary").click();
            const watcher = new MutationObserver(() => {
                if (!seen()) return;
                watcher.disconnect();
                press();
                window.pressed = true;
            });
            watcher.observe(document.querySelector(".waiting-log"), { childList: true });
        }"""
    )
    session.answered("Shop-0")
    page.wait_for_function("window.pressed === true")
    page.wait_for_timeout(300)
    assert decided(session)["id"] == "Shop-0"
    expect(allow).to_be_enabled()


def test_a_notice_says_what_a_session_asks_and_takes_the_answer(place):
    other = place.session(name="Reading")
    page = place.open(other, **PHONE)
    session = asking(place, "A shop with a very long name that takes more than a line of a phone")
    session.ask("r", "pytest", {"command": "pytest -x " + "tests/a.py " * 60}, kind="execute")
    expect(page.locator(".main-head").get_by_role("link")).to_have_text("1 waiting")
    notice = page.locator(".toast")
    expect(notice).to_contain_text("A shop with a very long name")
    expect(notice).to_contain_text("pytest -x")
    box = notice.bounding_box()
    assert box is not None
    assert box["height"] < 130, box
    notice.get_by_role("button", name="Allow").click()
    answer = session.until(lambda: decided(session), "the answer")
    assert (answer["id"], answer["approved"]) == ("r", True)
    expect(notice).to_have_count(0)


def test_no_notice_covers_the_requests_on_the_list_or_among_those_that_wait(place):
    page = log_in(place, "/", **PHONE)
    asking(place, "Shop", "ls -a")
    asking(place, "Blog", "ls -l")
    notices = page.locator(".toast")
    expect(notices).to_have_count(2)
    rows = page.get_by_role("complementary").locator(".row")
    link = page.get_by_role("link", name="2 sessions are waiting for you")
    boxes = [each.bounding_box() for each in (*rows.all()[:2], notices.first, notices.last, link)]
    tops = [box["y"] for box in boxes]
    ends = [box["y"] + box["height"] for box in boxes]
    assert all(end <= top for end, top in zip(ends[1:], tops[2:], strict=False)), boxes
    link.click()
    expect(page.locator(".tool")).to_contain_text("ls")
    expect(notices).to_have_count(0)
    third = asking(place, "Third", "ls -d")
    expect(page.locator(".waiting-view .main-head")).to_contain_text("of 3")
    page.go_back()
    third.ask("again", "Run", {"command": "ls -R"}, kind="execute")
    expect(notices).to_contain_text(["ls -R"])
    expect(notices).to_have_count(1)


def test_a_notice_goes_when_its_request_is_answered_elsewhere(place):
    page = place.open(place.session(name="Reading"), **PHONE)
    session = asking(place, "Shop", "make")
    expect(page.locator(".toast")).to_contain_text("make")
    session.answered("Shop-0")
    expect(page.locator(".toast")).to_have_count(0)


def test_a_session_that_cannot_be_read_is_named_and_does_not_hide_the_others(place):
    broken = asking(place, "Broken", "make")
    asking(place, "Shop", "ls")
    page = log_in(place, "/", **PHONE)
    page.get_by_role("link", name="2 sessions are waiting for you").wait_for()
    asked: list[str] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503, json={"error": "The database is busy"})

    page.route(f"**/api/sessions/{broken.id}", refuse)
    page.get_by_role("link", name="2 sessions are waiting for you").click()
    failure = page.get_by_role("alert").filter(has_text="could not be read")
    expect(failure).to_contain_text("Broken")
    expect(page.locator(".waiting-session")).to_contain_text("Shop")
    assert page.evaluate(f"() => {FITS}")
    count = len(asked)
    page.wait_for_timeout(7500)  # asked again after 3 s and then after 6 s more
    assert len(asked) <= count + 2, asked
    page.unroute(f"**/api/sessions/{broken.id}")
    failure.get_by_role("button", name="Try again").click()
    expect(failure).to_have_count(0)
    expect(page.locator(".main-head").get_by_role("status")).to_have_text("2 of 2")
