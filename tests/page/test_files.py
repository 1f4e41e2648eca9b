"""The page: the files of a session's directory, found, read and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.peers import OURS
from tests.support.pictures import png

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ANSWER_TIMEOUT = 120_000.0  # ms; the session's process answers, on a machine that may be busy


@pytest.fixture
def project(place: Any) -> Path:
    root: Path = place.cast.directory("project")
    (root / "src").mkdir(parents=True)
    lines = [f"line {number}" for number in range(1, 301)]
    lines[199] = "needle = here  # two hundred"
    (root / "src/app.py").write_text("\n".join(lines) + "\n")
    (root / "README.md").write_text("# Title\n\nSome *words*.\n")
    (root / "src/guide.md").write_text(
        "![logo](../dot%2Epng) ![gone](none.png) ![drawing](/a.svg)\n\n"
        "See [the code](app.py#L3), [the project](../README.md), [me](javascript:alert(1)).\n"
    )
    (root / 'odd "name" #1?.txt').write_text("odd\n")
    (root / "blob.bin").write_bytes(b"\0\1\2")
    (root / "dot.png").write_bytes(png(4, 4, b"\xff\0\0"))
    (root / "empty.txt").write_text("")
    (root / "out").symlink_to("/etc/hostname")
    return root


@pytest.fixture
def session(place: Any, project: Path) -> str:
    runner = place.cast.runner(OURS, place.user)
    started: str = place.user.started(runner.machine_id, project, "demo")
    return started


def test_files_are_browsed_read_and_saved_on_a_phone(place, session, project, tmp_path):
    page = place.visit(f"/sessions/{session}/files", **PHONE)
    body = page.locator(".work-body")
    expect(body).to_contain_text("README.md", timeout=ANSWER_TIMEOUT)
    page.screenshot(path=tmp_path / "directory.png")
    page.get_by_role("link", name="README.md").click()
    expect(body.get_by_role("heading", name="Title")).to_be_visible(timeout=ANSWER_TIMEOUT)
    page.get_by_role("button", name="Source").click()
    expect(page.locator(".file-line").first).to_contain_text("# Title", timeout=ANSWER_TIMEOUT)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == (project / "README.md").read_bytes()
    assert download.value.suggested_filename == "README.md"
    page.get_by_role("link", name="Files", exact=True).first.click()
    page.get_by_role("link", name="src").click(timeout=ANSWER_TIMEOUT)
    page.get_by_role("link", name="guide.md").click(timeout=ANSWER_TIMEOUT)
    expect(body.get_by_role("img", name="dot.png")).to_be_visible(timeout=ANSWER_TIMEOUT)
    expect(body).to_contain_text("This could not be loaded: ", timeout=ANSWER_TIMEOUT)
    expect(body.get_by_role("link", name="drawing")).to_have_attribute(
        "href", f"/sessions/{session}/files?path=a.svg"
    )
    expect(body).to_contain_text("[me](javascript:alert(1))")
    tools = page.locator(".work-tools").bounding_box()
    assert tools is not None
    assert tools["height"] < 50, "the tools of a file stand in one row"
    page.screenshot(path=tmp_path / "guide.png")
    body.get_by_role("link", name="the code").click()
    expect(page.locator(".file-line")).to_have_count(300, timeout=ANSWER_TIMEOUT)
    page.screenshot(path=tmp_path / "file.png")
    for _ in range(3):
        page.go_back()
    page.get_by_role("link", name='odd "name" #1?.txt').click(timeout=ANSWER_TIMEOUT)
    expect(page.locator(".file-line")).to_have_text(["1odd"], timeout=ANSWER_TIMEOUT)


def test_pictures_are_drawn_and_what_cannot_be_shown_is_said(place, session):
    def open_file(path: str) -> Any:
        page.goto(f"{place.url}/sessions/{session}/files?path={path}")
        return page.locator(".work-body")

    page = place.visit(f"/sessions/{session}/files")
    open_file("dot.png")
    expect(page.locator(".file-picture canvas")).to_be_visible(timeout=ANSWER_TIMEOUT)
    for path, said in (
        ("blob.bin", "A binary file: it can only be downloaded."),
        ("empty.txt", "This file is empty."),
        ("out", "is outside the working directory"),
        ("gone.txt", "No such file or directory"),
        ("../../etc/passwd", "is outside the working directory"),
    ):
        expect(open_file(path)).to_contain_text(said, timeout=ANSWER_TIMEOUT)


def test_files_are_found_by_name_and_by_content(place, session, tmp_path):
    page = place.visit(f"/sessions/{session}/files", **PHONE)
    field = page.get_by_role("searchbox", name="Search files")
    field.fill("app")
    field.press("Enter")
    found = page.get_by_role("link", name="app.py")
    expect(found).to_be_visible(timeout=ANSWER_TIMEOUT)
    field.fill("NEEDLE")
    page.get_by_label("Search in").select_option("content")
    page.get_by_role("button", name="Search").click()
    line = page.get_by_role("link", name="needle = here")
    expect(line).to_be_visible(timeout=ANSWER_TIMEOUT)
    expect(page.locator(".found-text mark")).to_have_text("needle")
    page.screenshot(path=tmp_path / "found.png")
    line.click()
    expect(page.locator(".file-line.chosen")).to_contain_text(
        "needle = here", timeout=ANSWER_TIMEOUT
    )
    expect(page.locator(".file-line.chosen")).to_be_in_viewport()
    field = page.get_by_role("searchbox", name="Search files")
    page.go_back()
    field.fill("nothing of the kind")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".work-body")).to_contain_text(
        "Nothing found in 5 files.", timeout=ANSWER_TIMEOUT
    )


def test_a_file_that_an_answer_names_opens_at_its_line(place, project):
    session = place.session(path=str(project))
    session.record(type="message", message="Look at `src/app.py:200`, or docs/x.md:3.")
    page = place.open(session)
    link = page.get_by_role("link", name="src/app.py:200")
    expect(link).to_have_attribute(
        "href", f"/sessions/{session.id}/files?path=src%2Fapp.py&line=200"
    )
    expect(page.get_by_role("link", name="docs/x.md:3")).to_be_visible()
    link.click()
    expect(page.get_by_role("link", name="Files", exact=True).first).to_have_attribute(
        "aria-current", "page"
    )
