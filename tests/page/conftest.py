"""Fixtures of the page's tests: a hub of either kind, our page, a browser, scripted sessions."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
from attrs import define, field
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

import hapi.hub.pages
from hapi.protocol.agents import agent_catalog
from tests.support.page_sessions import ScriptedMachine, ScriptedSession
from tests.support.peers import NPM, OURS, Cast, Running, User
from tests.support.programs import CANARY

Scripted = TypeVar("Scripted", bound=ScriptedSession)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
BROWSER_TIMEOUT = 90_000.0  # ms; bounds a failure, and no test that passes waits for it
PAGES = Path(hapi.hub.pages.__file__).parent
CONTENT_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
HUB_PATHS = ("/api/", "/cli/", "/socket.io", "/health")


@define(eq=False)
class Place:
    """A hub with our page on it, and what the browser complained of."""

    make: str
    cast: Cast
    running: Running
    user: User
    browser: Browser
    complaints: list[str] = field(factory=list)
    contexts: list[BrowserContext] = field(factory=list)
    sessions: list[ScriptedSession] = field(factory=list)

    @property
    def url(self) -> str:
        return self.user.url

    def restart_hub(self) -> None:
        port = urlsplit(self.url).port
        self.running.program.end()
        self.running, self.user = self.cast.hub(self.make, port)

    def session(self, **how: object) -> ScriptedSession:
        made = ScriptedSession(self.url, CANARY, **how)  # type: ignore[arg-type]
        return self._kept(made)

    def machine(self, **how: object) -> ScriptedMachine:
        made = ScriptedMachine(self.url, CANARY, **how)  # type: ignore[arg-type]
        return self._kept(made)

    def _kept(self, made: Scripted) -> Scripted:
        made.pause = self._let_browsers_go_on
        self.sessions.append(made)
        return made

    def _let_browsers_go_on(self) -> None:
        """Playwright asks this thread about each request that it routes."""
        pages = [page for context in self.contexts for page in context.pages]
        if pages and threading.current_thread() is threading.main_thread():
            pages[-1].wait_for_timeout(20)
        else:
            time.sleep(0.02)  # between two looks

    def visit(self, path: str = "/", logged_in: bool = True, **context: object) -> Page:
        """Our page in a browser of its own; `context` as for Playwright, e.g. viewport."""
        made = self.browser.new_context(
            **{
                "viewport": {"width": 1280, "height": 800},
                "locale": "en-US",
                "service_workers": "block",  # what it serves, Playwright does not route
                **context,
            }
        )
        made.set_default_timeout(BROWSER_TIMEOUT)
        self.contexts.append(made)
        if self.make == NPM:
            made.route(lambda url: not urlsplit(url).path.startswith(HUB_PATHS), serve_from_disk)
            made.route("**/api/agents", lambda route: route.fulfill(json=agent_catalog()))
        page = made.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text)
                if "Content Security Policy" in message.text
                else None
            ),
        )
        page.goto(self.url + path + (f"#token={CANARY}" if logged_in else ""))
        if logged_in:
            expect(page.locator(".shell")).to_be_visible()
        return page

    def open(self, session: ScriptedSession, **context: object) -> Page:
        page = self.visit(f"/sessions/{session.id}", **context)
        expect(page.get_by_role("textbox", name="Message")).to_be_enabled()
        return page


def serve_from_disk(route: Route) -> None:
    """Serve the page beside npm's hub: a path that names no file of the page gets `index.html`."""
    wanted = PAGES / urlsplit(route.request.url).path.lstrip("/")
    path = wanted if wanted.is_file() else PAGES / "index.html"
    headers = {
        "content-type": CONTENT_TYPES[path.suffix],
        "content-security-policy": "default-src 'self'",
    }
    route.fulfill(body=path.read_bytes(), headers=headers)


@pytest.fixture(scope="module")
def browsers() -> Iterator[Callable[[], Browser]]:
    """Gives the browser of one module's tests, and a new one when that has crashed.

    Playwright keeps an event loop running in this thread, which other modules must not meet.
    """
    expect.set_options(timeout=BROWSER_TIMEOUT)
    with sync_playwright() as playwright:
        started: list[Browser] = []

        def connected() -> Browser:
            if not started or not started[-1].is_connected():
                chromium = shutil.which("chromium")
                started.append(playwright.chromium.launch(executable_path=chromium, args=FLAGS))
            return started[-1]

        yield connected
        for each in started:
            each.close()


@pytest.fixture
def browser(browsers: Callable[[], Browser]) -> Browser:
    return browsers()


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    on_stage: Callable[[Cast], Cast],
    tmp_path: Path,
    browser: Browser,
) -> Iterator[Place]:
    """Our page on our hub; parametrize indirectly with OURS or NPM for a choice."""
    make = getattr(request, "param", OURS)
    cast = on_stage(Cast(tmp_path / "stage", token=CANARY))
    made = Place(make, cast, *cast.hub(make), browser)
    yield made
    for session in made.sessions:
        session.close()
    for context in made.contexts:
        context.close()
    assert not made.complaints, made.complaints
