"""Two hubs below two paths of one host, in one browser: what the browser keeps for the one is never
used by the other."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import define, field
from playwright.sync_api import Browser, Page, Request, expect

from tests.support.page_sessions import ScriptedSession
from tests.support.paths import ROOT
from tests.support.programs import Program, Stage, free_port
from tests.support.proxies_in_front import HAPI

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]


@define(eq=False)
class Host:
    """A host with two hubs below `/one/` and `/two/`, and a proxy in front of them."""

    stage: Stage
    port: int = field(factory=free_port)
    proxy: Program | None = None
    ports: dict[str, int] = field(factory=dict)
    sessions: dict[str, ScriptedSession] = field(factory=dict)

    def start_hub(self, name: str) -> None:
        port = self.ports[name] = free_port()
        home, token = self.stage.directory(f"home-{name}"), self.token(name)
        where = {"HAPI_HOME": str(home), "CLI_API_TOKEN": token}
        hub = self.stage.start(f"hub-{name}", [*HAPI, "hub", "--port", str(port)], where)
        hub.ready(lambda: "Hub listens on" in hub.output)
        self.sessions[name] = ScriptedSession(f"http://127.0.0.1:{port}", token, name=name)

    def start_proxy(self) -> None:
        hubs = [f"{name}={port}" for name, port in self.ports.items()]
        argv = [sys.executable, str(ROOT / "tests/support/path_proxy.py"), str(self.port), *hubs]
        self.proxy = proxy = self.stage.start("proxy", argv)
        proxy.ready(lambda: "listens" in proxy.output)

    def end_proxy(self) -> None:
        assert self.proxy is not None
        self.proxy.end()

    def token(self, name: str) -> str:
        return f"access-token-of-hub-{name}"

    def url(self, name: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{name}/{path}"


@pytest.fixture
def host(stage: Stage) -> Iterator[Host]:
    made = Host(stage)
    for name in ("one", "two"):
        made.start_hub(name)
    made.start_proxy()
    yield made
    for session in made.sessions.values():
        session.close()


class Tab:
    """The page of one hub, and what it has asked for."""

    def __init__(self, host: Host, context: Any, name: str) -> None:
        self.host, self.name = host, name
        self.requests: list[Request] = []
        self.page: Page = context.new_page()
        self.page.on("request", self._requested)
        session = host.sessions[name]
        self.page.goto(host.url(name, f"sessions/{session.id}#token={host.token(name)}"))

    def _requested(self, request: Request) -> None:
        self.requests.append(request)

    def expect_own(self) -> None:
        """It is logged in, and shows its own hub's session alone."""
        expect(self.page.locator(".row[data-session]")).to_have_count(1)
        expect(self.page.locator(".row[data-session]")).to_contain_text(self.name)

    def expect_worker(self) -> None:
        own = urlsplit(self.host.url(self.name, "service-worker.js")).path
        script = "own => navigator.serviceWorker.controller?.scriptURL.endsWith(own)"
        self.page.wait_for_function(script, arg=own)

    def write(self, text: str) -> None:
        self.page.get_by_role("textbox", name="Message").fill(text)
        self.page.keyboard.press("Enter")

    def sent(self) -> str:
        """Everything that it has sent, save what the proxy did not take."""
        parts = [(each.url, each.post_data, each.headers) for each in self.requests]
        return json.dumps(parts)


def texts(session: ScriptedSession) -> list[str]:
    return [prompt["content"]["content"]["text"] for prompt in session.prompts]


def test_nothing_that_the_browser_keeps_for_one_hub_is_used_by_the_other(
    host: Host, browser: Browser
) -> None:
    context = browser.new_context(locale="en-US", service_workers="allow")
    context.set_default_timeout(90_000)
    tabs = [Tab(host, context, name) for name in ("one", "two")]
    for tab in tabs:
        tab.expect_own()
        tab.expect_worker()
        tab.write(f"{tab.name} online")
    for tab in tabs:
        expect(tab.page.locator(".user.sent")).to_contain_text(f"{tab.name} online")

    host.end_proxy()
    for tab in tabs:
        tab.write(f"{tab.name} offline")
        expect(tab.page.locator(".user.waiting")).to_contain_text(f"{tab.name} offline")
    for tab in tabs:  # each begins anew with what is kept: its build, log-in and messages
        tab.page.reload()
        expect(tab.page.locator(".banner")).to_contain_text("The hub can't be reached")
    host.start_proxy()
    for tab in tabs:
        tab.page.reload()
        tab.expect_own()
        expect(tab.page.locator(".user.sent").last).to_contain_text(f"{tab.name} offline")
        assert texts(host.sessions[tab.name]) == [f"{tab.name} online", f"{tab.name} offline"]

    kept = tabs[0].page.evaluate(
        """async () => Object.fromEntries(await Promise.all((await caches.keys()).map(
            async (name) => [name, (await (await caches.open(name)).keys()).map(({url}) => url)])))
        """
    )
    assert sorted(name.split("-")[0] for name in kept) == ["/one hapi", "/two hapi"]
    for name, urls in kept.items():
        path = name.split()[0].strip("/")
        assert urls
        assert all(url.startswith(host.url(path)) for url in urls)
    keys = tabs[0].page.evaluate("() => [...Object.keys(localStorage)]")
    assert all(key.startswith(("/one hapi.", "/two hapi.")) for key in keys)

    for tab, other in (tabs, tabs[::-1]):
        assert not [each.url for each in tab.requests if f"/{other.name}/" in each.url]
        for secret in (host.token(other.name), f"{other.name} o", host.sessions[other.name].id):
            assert secret not in tab.sent()

    tabs[0].page.goto(host.url("one", "settings"))
    tabs[0].page.get_by_role("button", name="Log out").click()
    expect(tabs[0].page.get_by_label("Access token")).to_be_visible()
    tabs[1].page.reload()
    tabs[1].expect_own()
    context.close()
