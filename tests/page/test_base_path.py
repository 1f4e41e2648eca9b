"""The page below a path of a host: every request that it makes stays below that path."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.programs import CANARY, Stage
from tests.support.proxies_in_front import HAPI, hub_to_be_fronted, nginx

pytestmark = [
    pytest.mark.peer("chromium"),
    pytest.mark.peer("nginx"),
    pytest.mark.program,
]


@pytest.mark.parametrize(
    ("keeps_path", "options"),
    [
        pytest.param(False, (), id="removed-by-nginx-and-unknown-to-the-hub"),
        pytest.param(False, ("--base-path", "/hapi"), id="removed-by-nginx"),
        pytest.param(True, ("--base-path", "/hapi/"), id="removed-by-the-hub"),
    ],
)
def test_the_page_works_below_a_path(
    stage: Stage, browser: Browser, keeps_path: bool, options: tuple[str, ...]
) -> None:
    with hub_to_be_fronted(stage, *options) as front:
        proxy = nginx(stage, front.port, front.hub_port, front.files, keeps_path=keeps_path)
        proxy.ready(lambda: front.is_served)
        printed = f"{front.url}{'/hapi' if options else ''}/#token="
        front.hub.ready(lambda: printed in front.hub.output or "Page:" in front.hub.output)
        runner = stage.start(
            "runner",
            [*HAPI, "runner", "start"],
            {
                "HAPI_HOME": str(stage.directory("elsewhere")),
                "HAPI_API_URL": f"http://127.0.0.1:{front.hub_port}",
            },
        )
        assert runner.exit_code(120) == 0, runner.output
        context = browser.new_context(ignore_https_errors=True, locale="en-US")
        context.set_default_timeout(90_000)
        page = context.new_page()
        requested: set[str] = set()
        page.on("request", lambda request: requested.add(urlsplit(request.url).path))
        page.goto(f"{front.url}/hapi/#token={CANARY}")
        page.get_by_role("main").get_by_role("button", name="New session").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Directory", exact=True).fill(str(stage.directory("work")))
        dialog.get_by_role("button", name="Start session").click()
        expect(page).to_have_url(re.compile(r"/hapi/sessions/[0-9a-f-]+$"))
        box = page.get_by_role("textbox", name="Message")
        expect(box).to_be_enabled()
        box.fill("run: echo through-the-path")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Allow", exact=True).click()
        expect(page.locator(".tool.completed")).to_contain_text("through-the-path")
        page.reload()  # a place deeper than the page's root
        expect(page.locator(".tool.completed")).to_contain_text("through-the-path")
        row = page.locator(".row[data-session]")
        expect(row).to_have_attribute("href", re.compile("^/hapi/sessions/"))
        page.locator("a.brand").click()
        expect(page).to_have_url(f"{front.url}/hapi/")
        page.go_back()
        expect(page.locator(".tool.completed")).to_contain_text("through-the-path")
        visit_all_views(page, f"{front.url}/hapi", urlsplit(page.url).path.split("/")[-1])
        outside = {path for path in requested if not path.startswith("/hapi/")}
        assert not outside
        assert "/hapi/api/events" in requested
        context.close()


def visit_all_views(page: Page, url: str, session: str) -> None:
    """Open each view by its address, and the conversation as somebody who has a link to it."""
    for place, shown in {
        "search?q=path": "through-the-path",
        "usage": "Usage",
        "waiting": "Nothing is waiting for you.",
        "settings": "Pair a device",
        "settings/notifications": "This device",
        f"sessions/{session}/changes": "This directory is not in a git repository.",
        f"sessions/{session}/files": "This directory is empty.",
        f"sessions/{session}/history": "This directory is not in a git repository.",
    }.items():
        page.goto(f"{url}/{place}")
        expect(page.get_by_role("main")).to_contain_text(shown)
    page.get_by_role("link", name="Chat", exact=True).click()
    page.get_by_role("button", name="Session settings").click()
    page.get_by_role("button", name="Share…").click()
    page.get_by_role("button", name="Make a link").click()
    field = page.get_by_label("Whoever has this link can read the conversation")
    address = field.input_value()
    assert address.startswith(f"{url}/share/")
    page.goto(address)
    expect(page.get_by_role("main")).to_contain_text("through-the-path")
    page.goto(f"{url}/sessions/{session}")
