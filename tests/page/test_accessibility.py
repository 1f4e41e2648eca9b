"""The page: axe-core finds nothing serious on its screens, in light and dark, at both sizes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.peers import OURS
from tests.support.work_repository import WorkRepository

pytestmark = pytest.mark.peer("chromium", "axe-core")
AXE = Path(os.environ["HAPI_PAGE_TOOLS"]) / "axe-core/axe.min.js"
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
GIT_TIMEOUT = 120_000.0  # ms; several git processes answer, on a machine that may be busy
SERIOUS = {"serious", "critical"}


def findings(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{violation['id']}: {node['target']} {node['html'][:120]}"
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_on_the_screens(place, size, scheme):
    machine = place.machine()
    session = place.session(name="Shop", machineId=machine.machine_id)
    session.record(type="message", message="# Done\n\nSee `src/app.py`.\n\n```python\nx = 1\n```")
    session.ask("c", "Run", {"command": "ls"})
    for number in range(7):
        other = place.session(name=f"Other {number}", machineId=machine.machine_id)
        other.record(type="message", message="x")
    page = place.visit(viewport=SIZES[size], color_scheme=scheme)
    expect(page.locator("[data-session]")).to_have_count(8)
    screens = {"list": findings(page)}
    page.get_by_role("button", name="Filter sessions").click()
    expect(page.get_by_label("State")).to_be_visible()
    screens["filters"] = findings(page)
    page.locator("[data-session]").last.click(button="right")
    expect(page.get_by_role("menu")).to_be_visible()
    screens["menu"] = findings(page)
    page.get_by_role("menuitem", name="Select").click()
    expect(page.get_by_text("1 session selected")).to_be_visible()
    screens["selection"] = findings(page)
    for path, ready in (
        (f"/sessions/{session.id}", "Allow this?"),
        (f"/machines/{machine.machine_id}", "Agents"),
        ("/waiting", "Allow"),
        ("/settings", "Font size"),
        ("/usage", "Usage"),
        ("/search?q=x", "Search"),
    ):
        page.goto(place.url + path)
        expect(page.get_by_text(ready).first).to_be_attached()
        screens[path.split("/")[1]] = findings(page)
    page.goto(place.url)
    page.get_by_role("button", name="New session").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    screens["new session"] = findings(page)
    assert not {name: found for name, found in screens.items() if found}


@pytest.mark.program
@pytest.mark.parametrize("size", SIZES)
def test_nothing_serious_is_found_on_the_views_of_files(place, size):
    repository = WorkRepository.make(place.cast.directory("project"))
    repository.write("app.py", "one = 1\ntwo = 2\n")
    repository.commit("Begin")
    repository.write("app.py", "one = 1\ntwo = 3  # more\n")
    runner = place.cast.runner(OURS, place.user)
    session = place.user.started(runner.machine_id, repository.root, "demo")
    page = place.visit(viewport=SIZES[size])
    screens = {}
    for path, ready in (
        ("changes", page.get_by_role("link", name="modified")),
        ("changes?path=app.py", page.locator(".diff-row.plus")),
        ("files", page.get_by_role("link", name="app.py")),
        ("files?path=app.py", page.get_by_text("two = 3")),
        ("history", page.get_by_text("Begin")),
    ):
        page.goto(f"{place.url}/sessions/{session}/{path}")
        expect(ready.first).to_be_visible(timeout=GIT_TIMEOUT)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            screens[path, scheme] = findings(page)
    assert not {name: found for name, found in screens.items() if found}
