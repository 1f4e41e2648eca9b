"""The web page of the npm hub in a real browser: on the npm hub with our programs behind it, and
pointed at our hub."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect, sync_playwright
from playwright.sync_api import TimeoutError as PageTimeout

from tests.support.peers import NPM, OURS, User
from tests.support.programs import level, until

pytestmark = pytest.mark.peer("hapi", "opencode", "chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
# Files that a test answers count as those of a public host, which may not reach this machine.
FLAGS += ["--disable-features=LocalNetworkAccessChecks"]
SERVED_BY_THE_HUB = ("/api", "/socket.io", "/health", "/cli")
# ms; the npm programs alone take half a minute where many programs share the processors
TIMEOUT = 120_000.0
MIXTURES = [(OURS, NPM, NPM), (NPM, OURS, OURS), (OURS, OURS, OURS), (NPM, NPM, NPM)]


@pytest.fixture
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def picture(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a screenshot; KEEP_SCREENSHOTS names a directory to keep it in for longer than the
    test."""

    def take(page: Page, name: str) -> None:
        directory = Path(os.environ.get("KEEP_SCREENSHOTS") or tmp_path) / request.node.callspec.id
        page.screenshot(path=directory / f"{name}.png")

    return take


def open_page(browser: Browser, hub: User, served_from: User) -> Page:
    """The npm page on `hub`; its static files come from the npm hub `served_from`."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-US", service_workers="block"
    )
    context.set_default_timeout(TIMEOUT)

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
    MIXTURES[: level(2, 4)],
    ids=lambda make: make,
)
def test_a_person_works_with_a_session_on_the_npm_page(
    cast, model, browser, picture, hub, runner, session
):
    _, user = cast.hub(hub)
    static = user if hub == NPM else cast.hub(NPM)[1]
    cast.runner(runner, user, session)
    directory = cast.directory("project")

    page = open_page(browser, user, static)
    sign_in(page, cast.token)
    picture(page, "signed-in")
    create_session(page, directory)
    sid = until(lambda: next(iter(row["id"] for row in user.sessions()), None))
    answer_permission(page, picture)
    assert (directory / "made").exists()
    user.idle(sid)

    say(page, "hold on a moment")
    assert model.holding.wait(60)
    expect(
        page.get_by_role("button", name="Abort")
    ).to_be_enabled()  # the sign that the agent is at work
    picture(page, "thinking")
    model.release()
    expect(page.get_by_text("Holding and released.")).to_be_visible()

    rename(page, "Named on the page")
    # the page shows the name before the hub has answered
    until(lambda: user.session(sid)["metadata"].get("name") == "Named on the page")
    archive(page)
    archived = user.archived(sid)
    assert (archived["name"], archived["archiveReason"]) == ("Named on the page", "User terminated")
    expect(page.get_by_text("This session is inactive")).to_be_visible()
    picture(page, "archived")

    say(page, "Wake up")  # a message to an archived session resumes it
    expect(page.get_by_text("You said: Wake up")).to_be_visible()
    picture(page, "resumed")
    resumed = until(lambda: next((row for row in user.sessions() if row["active"]), None))
    assert resumed["metadata"]["name"] == "Named on the page"


@pytest.mark.parametrize(
    ("session", "transport"), [(OURS, "websocket"), (NPM, "polling")], ids=lambda word: word
)
def test_npms_page_has_a_shell_on_our_hub(cast, browser, session, transport):
    _, user = cast.hub(OURS)
    _, static = cast.hub(NPM)
    running = cast.runner(session, user)
    id = user.started(running.machine_id, cast.directory("project"))

    page = open_page(browser, user, static)
    if transport == "polling":
        page.context.route_web_socket("**", lambda socket: socket.close())
    page.get_by_placeholder("Access token").fill(cast.token)
    page.get_by_role("button", name="Sign In").click()
    received: list[str] = []  # the page draws a shell on a canvas, which has no text

    def keep(text: str | bytes) -> None:
        received.append(str(text))

    page.on("websocket", lambda each: each.on("framereceived", keep))
    page.on("requestfinished", lambda request: received.append(polled(request)))
    page.goto(f"{user.url}/sessions/{id}/terminal")
    expect(page.get_by_role("status", name="Connected")).to_be_visible()

    def shows(pattern: str) -> str:
        """Wait for output: the group of `pattern` that was found in it last."""
        found = until(lambda: page.wait_for_timeout(50) or re.findall(pattern, "".join(received)))
        return str(found[-1])

    page.get_by_role("textbox", name="Terminal input").focus()
    page.keyboard.type("echo $((6*7))-$(stty size | tr ' ' x)-\n")
    size = shows(r"42-(\d+x\d+)-")
    page.set_viewport_size({"width": 800, "height": 500})
    waits = f"until [ $(stty size | tr ' ' x) != {size} ]; do :; done"
    page.keyboard.type(f"{waits}; echo $((6*8))-\n")
    shows("(48)-")
    page.keyboard.type("exit 3\n")
    shows('"terminal:exit",.*"code":(3)')
    composer = page.get_by_role("textbox", name="Type what you want the agent to do")
    expect(composer).to_be_visible()  # the page goes back to the conversation


def polled(request: Request) -> str:
    """What long-polling brought, "" if this is another request."""
    answer = request.response() if "transport=polling" in request.url else None
    return answer.text() if answer is not None else ""


def sign_in(page: Page, token: str) -> None:
    page.get_by_placeholder("Access token").fill(token)
    page.get_by_role("button", name="Sign In").click()
    expect(page.get_by_text("No sessions yet")).to_be_visible()


def create_session(page: Page, directory: Path) -> None:
    """Through the form for a new session, where the runner must stand as one that is up to date."""
    page.get_by_role("button", name="New Session").first.click()
    machines = page.get_by_role("combobox").first
    expect(machines).to_contain_text("(linux)")
    assert "UPDATE REQUIRED" not in machines.inner_text()
    assert not page.get_by_text("out of date").count()
    page.get_by_placeholder("/path/to/project").fill(str(directory))
    page.get_by_text("OpenCode", exact=True).click()
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role(
        "button", name="Got it"
    ).click()  # of an explainer that would cover the composer


def say(page: Page, text: str) -> None:
    composer = page.get_by_role("textbox", name="Type what you want the agent to do")
    composer.fill(text)
    composer.press("Enter")


def answer_permission(page: Page, picture: Callable[[Page, str], None]) -> None:
    say(page, "Please run: touch made && echo so-$((20+1))")
    expect(page.get_by_text("Waiting for approval")).to_be_visible()
    expect(page.get_by_text("I will run it.")).to_be_visible()
    expect(page.get_by_text("Reasoning", exact=True)).to_be_visible()
    picture(page, "permission")
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_text("Output: so-21")).to_be_visible()
    expect(page.get_by_text("Waiting for approval")).to_have_count(0)
    picture(page, "answered")


def rename(page: Page, name: str) -> None:
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Rename").click()
    field = page.get_by_role("dialog").get_by_role("textbox")
    field.fill(name)
    field.press("Enter")
    expect(page.get_by_text(name).first).to_be_visible()


def archive(page: Page) -> None:
    """Click Archive, again if no request was sent: the page redraws after a rename and may lose the
    click."""
    for _ in range(3):
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("button", name="More actions").click()
        page.get_by_role("menuitem", name="Archive").click()
        try:
            with page.expect_request(
                lambda request: request.url.endswith("/archive"), timeout=10_000
            ):
                page.get_by_role("dialog").get_by_role("button", name="Archive").click()
        except PageTimeout:
            page.keyboard.press("Escape")
        else:
            return
    raise AssertionError("the page asked for no archive")
