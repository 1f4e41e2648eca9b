"""The page over TLS: by the hub itself, and through the nginx and Caddy of the manual."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.support.programs import CANARY, Program, Stage
from tests.support.proxies_in_front import HAPI, Front, caddy, hub_to_be_fronted, nginx

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]


def lead_a_session(browser: Browser, front: Front, shot: str) -> None:
    """Log in, start the demo agent, allow a command, and see its output come in."""
    runner = front.run("runner", *HAPI, "runner", "start")
    assert runner.exit_code(120) == 0, runner.output
    context = browser.new_context(ignore_https_errors=True, locale="en-US")
    context.set_default_timeout(90_000)
    page = context.new_page()
    page.goto(f"{front.url}/#token={CANARY}")
    page.get_by_role("main").get_by_role("button", name="New session").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Directory", exact=True).fill(str(front.stage.directory("work")))
    dialog.get_by_role("button", name="Start session").click()
    box = page.get_by_role("textbox", name="Message")
    expect(box).to_be_enabled()
    box.fill("run: echo through-the-front")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.locator(".tool.completed")).to_contain_text("through-the-front")
    page.screenshot(path=str(front.stage.path / f"{shot}.png"))
    context.close()


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(nginx, marks=pytest.mark.peer("nginx"), id="nginx"),
        pytest.param(caddy, marks=pytest.mark.peer("caddy"), id="caddy"),
    ],
)
def test_the_page_works_through_the_proxy(
    stage: Stage, browser: Browser, proxy: Callable[..., Program]
) -> None:
    with hub_to_be_fronted(stage) as front:
        proxy(stage, front.port, front.hub_port, front.files).ready(lambda: front.is_served)
        lead_a_session(browser, front, "proxy")


def test_the_page_works_on_a_hub_with_a_certificate_of_its_own(
    stage: Stage, browser: Browser
) -> None:
    with hub_to_be_fronted(stage) as front:
        front.hub.end()
        certificate, key = map(str, front.files)
        words = ["--port", str(front.port), "--tls-cert", certificate, "--tls-key", key]
        hub = stage.start("hub", [*HAPI, "hub", *words], {"HAPI_HOME": str(stage.path / "home")})
        hub.ready(lambda: front.is_served)
        lead_a_session(browser, front, "own")
