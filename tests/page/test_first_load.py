"""The page: what a browser transfers at the first visit, at the next one, and after an upgrade."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, expect

from hapi.hub.http.static import PAGES
from tests.support.programs import CANARY

pytestmark = pytest.mark.peer("chromium")
FIRST_LOAD_LIMIT = 60_000  # bytes

SERVE = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.web.server import Site
from hapi.hub.http.static import OwnPage, PageResource
site = Site(PageResource(OwnPage(Path(sys.argv[1]))))
print(reactor.listenTCP(0, site, interface="127.0.0.1").getHost().port, flush=True)
reactor.run()
"""


class Wire:
    """Counts the bytes that `page` receives, with headers and without what a cache had."""

    def __init__(self, page: Page) -> None:
        self._received: dict[str, int] = {}
        self._cached: set[str] = set()
        session: CDPSession = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on(
            "Network.requestServedFromCache", lambda event: self._cached.add(event["requestId"])
        )
        session.on("Network.responseReceived", self._responded)
        session.on("Network.loadingFinished", self._finished)

    def _responded(self, event: dict[str, Any]) -> None:
        if event["response"]["fromDiskCache"]:
            self._cached.add(event["requestId"])
        self._received[event["requestId"]] = event["response"]["encodedDataLength"]

    def _finished(self, event: dict[str, Any]) -> None:
        self._received[event["requestId"]] = event["encodedDataLength"]

    def take(self) -> tuple[int, int]:
        """Bytes and requests since the last call."""
        sizes = [size for key, size in self._received.items() if key not in self._cached]
        self._received.clear()
        return int(sum(sizes)), len(sizes)


def test_log_in_and_list_take_less_than_60_kb_and_the_next_visit_a_fraction(place):
    for number in range(5):
        place.session(name=f"Session {number}")
    page = place.browser.new_context(locale="en-US").new_page()
    wire = Wire(page)
    page.goto(place.url)
    page.get_by_label("Access token").fill(CANARY)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".row-title")).to_have_count(5)
    page.wait_for_load_state()
    size, requests = wire.take()
    print(f"first load: {size} bytes in {requests} requests")
    assert 20_000 < size < FIRST_LOAD_LIMIT
    page.reload()
    expect(page.locator(".row-title")).to_have_count(5)
    size, requests = wire.take()
    print(f"next load: {size} bytes in {requests} requests")
    assert 0 < size < FIRST_LOAD_LIMIT / 5
    page.context.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A copy of the page's files and the address where they are served."""
    root = tmp_path / "pages"
    shutil.copytree(PAGES, root)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield root, f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()


def test_after_an_upgrade_the_browser_takes_every_module_of_the_new_build(served, browser):
    root, url = served
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    login = root / "views/shell/login.js"
    login.write_text(login.read_text().replace('"Log in"', '"Enter the new build"'))
    fetched: list[str] = []
    page.on("response", lambda response: fetched.append(response.url))
    page.reload()
    expect(page.get_by_role("button", name="Enter the new build")).to_be_visible()
    builds = {address.split("/assets/")[1][:16] for address in fetched if "/assets/" in address}
    assert len(builds) == 1, "modules of two builds on one page"
    context.close()
