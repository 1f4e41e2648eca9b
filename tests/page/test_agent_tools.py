"""The page: what an agent does with the tools that its session offers it."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import expect

from tests.support.peers import NPM, OURS, Cast
from tests.support.pictures import png
from tests.support.programs import CANARY
from tests.support.tool_sessions import ToolSessions

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]


@pytest.mark.parametrize("make", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))])
def test_the_page_shows_the_title_and_the_picture_of_an_agent(on_stage, tmp_path, browser, make):
    tools = ToolSessions(on_stage(Cast(tmp_path / "stage", token=CANARY)), make)
    session = tools.session()
    (tools.project / "red.png").write_bytes(png(300, 200, b"\xff\0\0"))
    context = browser.new_context(viewport={"width": 1280, "height": 800}, service_workers="block")
    page = context.new_page()
    page.goto(f"{tools.user.url}/sessions/{session}#token={CANARY}")
    if make == NPM:
        page.get_by_placeholder("Access token").fill(CANARY)
        page.get_by_role("button", name="Sign In").click()
        page.goto(f"{tools.user.url}/sessions/{session}")
    tools.call(session, "change_title", title="Red squares")
    tools.call(session, "display_image", path="red.png")
    expect(page.get_by_text("Red squares").first).to_be_visible()
    shown = page.get_by_role("img", name="red.png")
    expect(shown).to_be_visible()
    expect(page.get_by_text("red.png is shown in the conversation").first).to_be_visible()
    if directory := os.environ.get("KEEP_SCREENSHOTS"):
        page.screenshot(path=f"{directory}/agent-tools-{make}.png")
    context.close()
