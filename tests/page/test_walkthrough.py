"""The walk of docs/walkthrough.md: `hapi up`, the page, the demo agent, from login to archive."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.paths import ROOT
from tests.support.programs import until

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]


@pytest.fixture
def tour() -> Any:
    spec = importlib.util.spec_from_file_location(
        "make_screenshots", ROOT / "docs/make_screenshots.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_walk_through_the_page_goes_as_the_documentation_says(tour, browser, tmp_path):
    album = tour.Album(tmp_path / "images")
    with tour.hapi_up(tmp_path / "walk") as address:
        tour.walk(browser, address, album)
    text = (ROOT / "docs/walkthrough.md").read_text()
    assert sorted(path.stem for path in (tmp_path / "images").iterdir()) == sorted(
        name.split(".png")[0] for name in text.split("](images/")[1:]
    )


def test_an_archived_demo_session_remembers_when_it_is_resumed(tour, browser, tmp_path):
    with tour.hapi_up(tmp_path / "walk") as address:
        page = tour.open_page(browser, address, **tour.DESKTOP)
        page.get_by_role("main").get_by_role("button", name="New session").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Directory", exact=True).fill("~/not/there/yet")
        expect(dialog).to_contain_text("This directory will be created.")
        dialog.get_by_role("button", name="Start session").click()
        box = page.get_by_role("textbox", name="Message")
        expect(box).to_be_enabled()
        box.fill("run: pwd")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Allow for session").click()
        expect(page.locator(".tool.completed")).to_contain_text("not/there/yet")
        page.get_by_role("button", name="Session settings").click()
        page.get_by_role("button", name="Archive").click()
        page.get_by_role("dialog").get_by_role("button", name="Archive", exact=True).click()
        expect(page.locator(".notice")).to_contain_text("This session was ended.")
        ended = tmp_path / "walk/state/sessions"
        until(lambda: list(ended.glob("*/end.json")), what="the end of the session's process")
        box.fill("what did I say?")
        page.keyboard.press("Enter")
        expect(page.locator(".block.text").last).to_contain_text(
            "You said: “run: pwd”", timeout=90_000
        )
        expect(page.locator(".notice")).to_be_hidden()
        page.context.close()
