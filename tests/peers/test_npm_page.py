"""The web page of the npm hub in a real browser: on the npm hub with our programs behind it, and pointed at our hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from programs import NPM, OURS, User
from support import until

pytestmark = pytest.mark.peer("hapi", "opencode", "chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
).split()
SERVED_BY_THE_HUB = ("/api", "/socket.io", "/health", "/cli")
PATIENCE = 20_000.0  # ms


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def picture(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a screenshot; KEEP_SCREENSHOTS names a directory to keep it in for longer than the test."""

    def take(page: Page, name: str) -> None:
        directory = Path(os.environ.get("KEEP_SCREENSHOTS") or tmp_path) / request.node.callspec.id
        page.screenshot(path=directory / f"{name}.png")

    return take


def open_page(browser: Browser, hub: User, served_from: User) -> Page:
    """The npm page on `hub`; its static files come from the npm hub `served_from` at this moment."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US", service_workers="block")
    context.set_default_timeout(PATIENCE)

    def static(route: Route) -> None:
        path = urlsplit(route.request.url).path
        route.fulfill(response=route.fetch(url=served_from.url + path))

    if hub is not served_from:
        context.route(lambda url: not urlsplit(url).path.startswith(SERVED_BY_THE_HUB), static)
    page = context.new_page()
    page.goto(hub.url)
    return page


@pytest.mark.parametrize(
    ("hub", "runner", "session"),
    [(NPM, NPM, NPM), (NPM, OURS, OURS), (OURS, OURS, OURS), (OURS, NPM, NPM)],
    ids=lambda make: make,
)
def test_a_person_works_with_a_session_on_the_npm_page(cast, model, browser, picture, hub, runner, session):
    _, user = cast.hub(hub)
    static = user if hub == NPM else cast.hub(NPM)[1]
    running = cast.runner(runner, user, session)
    directory = cast.directory("project")
    expect.set_options(timeout=PATIENCE)

    page = open_page(browser, user, static)
    page.get_by_placeholder("Access token").fill(cast.token)
    page.get_by_role("button", name="Sign In").click()
    expect(page.get_by_text("No sessions yet")).to_be_visible()
    picture(page, "signed-in")

    page.get_by_role("button", name="New Session").first.click()
    expect(page.get_by_role("combobox").first).to_contain_text("(linux)")
    assert "UPDATE REQUIRED" not in page.get_by_role("combobox").first.inner_text()
    assert not page.get_by_text("out of date").count()
    page.get_by_placeholder("/path/to/project").fill(str(directory))
    page.get_by_text("OpenCode", exact=True).click()
    picture(page, "new-session")
    page.get_by_role("button", name="Create", exact=True).click()

    composer = page.get_by_role("textbox", name="Type what you want the agent to do")
    expect(composer).to_be_visible()
    sid = until(lambda: next(iter(row["id"] for row in user.sessions()), None))
    page.get_by_role("button", name="Got it").click()  # of an explainer that would cover the composer

    composer.fill("Please run: touch made && echo so-$((20+1))")
    composer.press("Enter")
    expect(page.get_by_text("Waiting for approval")).to_be_visible()
    expect(page.get_by_text("I will run it.")).to_be_visible()
    picture(page, "permission")
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_text("Output: so-21")).to_be_visible()
    expect(page.get_by_text("Waiting for approval")).to_have_count(0)
    picture(page, "answered")
    assert (directory / "made").exists()
    until(lambda: user.records(sid)[-1].get("event") == {"type": "ready"})

    composer.fill("hold on a moment")
    composer.press("Enter")
    assert model.holding.wait(20)
    expect(page.get_by_role("button", name="Abort")).to_be_enabled()  # the sign that the agent is at work
    picture(page, "thinking")
    model.release()
    expect(page.get_by_text("Holding and released.")).to_be_visible()

    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("Named on the page")
    page.get_by_role("dialog").get_by_role("textbox").press("Enter")
    expect(page.get_by_text("Named on the page").first).to_be_visible()
    assert user.session(sid)["metadata"]["name"] == "Named on the page"

    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Archive").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive").click()
    archived = until(lambda: (seen := user.session(sid)["metadata"])["lifecycleState"] == "archived" and seen)
    assert (archived["name"], archived["archiveReason"]) == ("Named on the page", "User terminated")
    expect(page.get_by_text("This session is inactive")).to_be_visible()
    picture(page, "archived")

    composer.fill("Wake up")  # a message to an archived session resumes it, with the agent's own memory
    composer.press("Enter")
    expect(page.get_by_text("You said: Wake up")).to_be_visible()
    picture(page, "resumed")
    resumed = until(lambda: next((row for row in user.sessions() if row["active"]), None))
    assert resumed["metadata"]["name"] == "Named on the page"
    assert running.program.running
