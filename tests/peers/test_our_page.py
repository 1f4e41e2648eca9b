"""Our web page on our hub, used on a phone with a session of the npm programs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.peers import NPM, OURS
from tests.support.programs import CANARY

pytestmark = pytest.mark.peer("hapi", "claude", "chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
TIMEOUT = 120_000.0  # ms; the npm programs alone take half a minute under load
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def page() -> Iterator[Page]:
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        context = started.new_context(**PHONE, locale="en-US", service_workers="block")
        context.set_default_timeout(TIMEOUT)
        yield context.new_page()
        started.close()


def test_a_session_of_npm_is_steered_and_its_work_read_on_a_phone(cast, page):
    _, user = cast.hub(OURS)
    running = cast.runner(NPM, user)
    directory = cast.directory("project")
    subprocess.run(["git", "init", "-q", directory], check=True)
    (directory / "notes.txt").write_text("first line\n")
    id = user.started(running.machine_id, directory, "claude")

    page.goto(f"{user.url}/sessions/{id}#token={CANARY}")
    field = page.get_by_role("textbox", name="Message")
    field.fill("Please run: touch approved && echo so-$((21+1))")
    page.get_by_role("button", name="Send").tap()
    page.get_by_role("button", name="Allow", exact=True).tap()
    expect(page.locator(".block.text").filter(has_text="Output: so-22")).to_be_visible()
    expect(page.locator(".tool").first).to_have_attribute("data-status", "completed")
    assert (directory / "approved").exists()

    field.fill("/")
    expect(page.get_by_role("option").first).to_be_visible()
    field.fill("@not")
    expect(page.get_by_role("option").filter(has_text="notes.txt")).to_be_visible()
    field.fill("")

    page.get_by_role("button", name="Changes and files").tap()
    expect(page.get_by_text("notes.txt").first).to_be_visible()
    page.get_by_role("link", name=re.compile("^Files")).tap()
    page.get_by_role("link", name=re.compile("notes.txt")).tap()
    expect(page.get_by_text("first line")).to_be_visible()


def test_a_session_of_npm_has_a_shell_on_our_page(cast, page):
    _, user = cast.hub(OURS)
    running = cast.runner(NPM, user)
    id = user.started(running.machine_id, cast.directory("project"), "claude")

    page.goto(f"{user.url}/sessions/{id}/terminal#token={CANARY}")
    rows = page.locator(".terminal-pane:not([hidden]) .xterm-rows")
    expect(rows).to_contain_text("project")
    page.keyboard.type("echo $((6*7))-$(stty size | tr ' ' x)-\n")
    expect(rows).to_contain_text(re.compile(r"42-\d+x\d+-"))
    page.reload()
    expect(rows).to_contain_text(re.compile(r"42-\d+x\d+-"))  # the hub remembers it
    page.keyboard.type("exit 3\n")
    expect(page.get_by_text("The shell has ended with code 3.")).to_be_visible()
