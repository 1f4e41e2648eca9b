"""The page: stage, discard and commit, where hub and machine allow it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.peers import OURS
from tests.support.work_repository import WorkRepository

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ANSWER_TIMEOUT = 120_000.0  # ms; several git processes answer, on a machine that may be busy


@pytest.fixture
def repository(place: Any) -> WorkRepository:
    made = WorkRepository.make(place.cast.directory("project"))
    made.write("a.txt", "one\n")
    made.commit("Begin")
    made.git("config", "user.name", "Ada")
    made.git("config", "user.email", "ada@example.org")
    made.write("a.txt", "two\n")
    made.write("new.txt", "new\n")
    return made


def start(place: Any, repository: WorkRepository) -> str:
    runner = place.cast.runner(OURS, place.user)
    started: str = place.user.started(runner.machine_id, repository.root, "demo")
    return started


def allow_actions(place: Any) -> None:
    """Restart the hub with git actions, and have the runner start with them."""
    place.cast.environment["HAPI_GIT_ACTIONS"] = "yes"
    place.running.program.end()
    place.running, place.user = place.cast.hub(OURS, HAPI_GIT_ACTIONS="yes")


def test_changes_are_staged_committed_and_discarded_on_a_phone(place, repository, tmp_path):
    allow_actions(place)
    session = start(place, repository)
    page = place.visit(f"/sessions/{session}/changes", **PHONE)
    more = page.get_by_role("button", name="Actions for a.txt")
    more.click(timeout=ANSWER_TIMEOUT)
    page.screenshot(path=tmp_path / "file.png")
    page.get_by_role("button", name="Stage", exact=True).click()
    staged = page.get_by_role("heading", name="Staged (1)", exact=True)
    expect(staged).to_be_visible(timeout=ANSWER_TIMEOUT)
    page.screenshot(path=tmp_path / "staged.png")
    page.get_by_role("button", name="Commit…").click(timeout=ANSWER_TIMEOUT)
    page.get_by_label("Message").fill("Say two")
    page.screenshot(path=tmp_path / "commit.png")
    page.get_by_role("button", name="Commit 1 file").click()
    expect(staged).to_be_hidden(timeout=ANSWER_TIMEOUT)
    assert repository.git("log", "-1", "--format=%s") == "Say two\n"
    page.get_by_role("button", name="Actions for new.txt").click(timeout=ANSWER_TIMEOUT)
    page.get_by_role("button", name="Discard…").click()
    expect(page.get_by_role("dialog")).to_contain_text("will be deleted for good")
    page.get_by_role("button", name="Delete the file").click()
    expect(page.locator(".work-body")).to_contain_text(
        "There are no changes.", timeout=ANSWER_TIMEOUT
    )
    assert not (repository.root / "new.txt").exists()


def test_without_the_setting_there_are_no_buttons(place, repository):
    session = start(place, repository)
    page = place.visit(f"/sessions/{session}/changes")
    expect(page.locator(".work-body")).to_contain_text("+1 −1", timeout=ANSWER_TIMEOUT)
    expect(page.get_by_role("button", name="Commit…")).to_have_count(0)
    expect(page.get_by_role("button", name="Actions for a.txt")).to_have_count(0)
