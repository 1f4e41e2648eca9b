"""The page: what changed in a session's directory, each file's diff, and comments on its lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.peers import OURS
from tests.support.work_repository import WorkRepository

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
GIT_TIMEOUT = 120_000.0  # ms; several git processes answer, on a machine that may be busy
POEM = "one\ntwo\nthree\nfour\nfive\n"


@pytest.fixture
def repository(place: Any) -> WorkRepository:
    made = WorkRepository.make(place.cast.directory("project"))
    made.write("src/poem.txt", POEM)
    made.write("old name.txt", "a line\n" * 20)
    made.commit("Begin")
    return made


@pytest.fixture
def session(place: Any, repository: WorkRepository) -> str:
    """A session of the demo agent in the repository."""
    runner = place.cast.runner(OURS, place.user)
    started: str = place.user.started(runner.machine_id, repository.root, "demo")
    return started


def open_changes(place: Any, session: str, **context: object) -> Page:
    page: Page = place.visit(f"/sessions/{session}", **context)
    page.get_by_role("button", name="Changes and files").click()
    expect(page.get_by_role("link", name="Changes", exact=True)).to_have_attribute(
        "aria-current", "page"
    )
    return page


def shot(page: Page, tmp_path: Path, name: str) -> None:
    page.screenshot(path=tmp_path / f"{name}.png")


def test_changed_files_are_listed_and_a_diff_is_read_on_a_phone(
    place, session, repository, tmp_path
):
    repository.write("src/poem.txt", POEM.replace("two", "zwei") + "six\n")
    repository.git("mv", "old name.txt", "new name.txt")
    repository.write("notes.md", "# Notes\n")
    page = open_changes(place, session, **PHONE)
    body = page.locator(".work-body")
    expect(body).to_contain_text("main", timeout=GIT_TIMEOUT)
    expect(body).to_contain_text("3 changed files")
    expect(page.get_by_role("heading", name="Staged (1)", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="renamed")).to_contain_text("from old name.txt")
    expect(page.get_by_role("link", name="untracked")).to_contain_text("notes.md")
    modified = page.get_by_role("link", name="modified")
    expect(modified).to_contain_text("+2 −1", timeout=GIT_TIMEOUT)
    shot(page, tmp_path, "list")
    modified.click()
    expect(page).to_have_url(f"{place.url}/sessions/{session}/changes?path=src%2Fpoem.txt")
    expect(page.locator(".diff-row.minus")).to_have_text(["2-removed: two"], timeout=GIT_TIMEOUT)
    expect(page.locator(".diff-row.plus")).to_have_text(["2+added: zwei", "6+added: six"])
    shot(page, tmp_path, "diff")
    page.go_back()
    page.get_by_role("link", name="untracked").click(timeout=GIT_TIMEOUT)
    notes = page.locator(".diff-row.plus")
    expect(notes).to_have_text(["1+added: # Notes"], timeout=GIT_TIMEOUT)
    page.get_by_role("button", name="Back to the conversation").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def test_long_lines_are_wrapped_and_a_half_written_comment_outlives_a_reload(
    place, session, repository, tmp_path
):
    repository.write("src/poem.txt", POEM.replace("two", "zwei " * 60))
    page = open_changes(place, session, **PHONE)
    page.get_by_role("link", name="modified").click(timeout=GIT_TIMEOUT)
    box = page.locator(".diff-box")
    wide = "node => node.scrollWidth > node.clientWidth"
    expect(box).to_be_visible(timeout=GIT_TIMEOUT)
    assert box.evaluate(wide)
    page.get_by_role("button", name="Wrap lines").click()
    assert not box.evaluate(wide)
    page.get_by_role("button", name="Comment on line 2", exact=True).click()
    foot = page.locator(".diff-form .buttons").bounding_box()
    assert foot is not None
    assert foot["y"] + foot["height"] <= PHONE["viewport"]["height"]
    page.get_by_label("Comment", exact=True).fill("Half a")
    shot(page, tmp_path, "wrapped")
    page.reload()
    field = page.get_by_label("Comment", exact=True)
    expect(field).to_have_value("Half a", timeout=GIT_TIMEOUT)
    page.get_by_role("button", name="Cancel").click()
    page.reload()
    expect(page.get_by_role("button", name="Comment on line 2", exact=True)).to_be_visible(
        timeout=GIT_TIMEOUT
    )
    expect(field).to_have_count(0)


def test_the_counts_of_a_session_in_a_subdirectory_are_those_of_its_files(place, repository):
    repository.write("src/poem.txt", POEM.replace("two", "zwei"))
    runner = place.cast.runner(OURS, place.user)
    started = place.user.started(runner.machine_id, repository.root / "src", "demo")
    page = open_changes(place, started, **PHONE)
    modified = page.get_by_role("link", name="modified")
    expect(modified).to_contain_text("poem.txt", timeout=GIT_TIMEOUT)
    expect(modified).to_contain_text("+1 −1", timeout=GIT_TIMEOUT)


def test_comments_on_lines_are_sent_as_one_prompt(place, session, repository, tmp_path):
    repository.write("src/poem.txt", POEM.replace("two", "zwei").replace("three", "drei"))
    page = open_changes(place, session, **PHONE)
    page.get_by_role("link", name="modified").click(timeout=GIT_TIMEOUT)
    page.get_by_role("button", name="Comment on line 2", exact=True).click(timeout=GIT_TIMEOUT)
    page.get_by_role("button", name="Comment on line 3", exact=True).click()
    expect(page.locator(".diff-form .diff-place")).to_have_text("src/poem.txt:2-3")
    page.get_by_label("Comment", exact=True).fill("Please keep the English words.")
    shot(page, tmp_path, "form")
    page.get_by_role("button", name="Keep comment").click()
    page.reload()
    kept = page.locator(".diff-comment")
    expect(kept).to_contain_text("Please keep the English words.", timeout=GIT_TIMEOUT)
    page.get_by_role("button", name="Comment on line 5", exact=True).click()
    page.get_by_label("Comment", exact=True).fill("Why five?")
    page.get_by_role("button", name="Keep comment").click()
    expect(page.locator(".work-foot")).to_contain_text("2 comments")
    page.get_by_role("button", name="Review and send").click()
    shot(page, tmp_path, "review")
    page.get_by_role("button", name="Send to the agent").click()
    sent = page.locator(".user.sent")
    expect(sent).to_contain_text("src/poem.txt:2-3")
    expect(sent).to_contain_text("Please keep the English words.")
    expect(sent).to_contain_text("src/poem.txt:5")
    expect(sent).to_contain_text("Why five?")
    expect(sent.locator(".diff-row.plus")).to_have_text(["+added: zwei", "+added: drei"])
