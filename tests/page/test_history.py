"""The page: the history of the branch that a session is on."""

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
def session(place: Any) -> str:
    repository = WorkRepository.make(place.cast.directory("project"))
    for number in range(60):
        repository.write("poem.txt", f"line {number}\n")
        repository.commit(f"Write line {number}\n\nThe body of {number}.")
    runner = place.cast.runner(OURS, place.user)
    started: str = place.user.started(runner.machine_id, repository.root, "demo")
    return started


def test_commits_their_files_and_differences_are_read_on_a_phone(place, session, tmp_path):
    page = place.visit(f"/sessions/{session}/history", **PHONE)
    rows = page.locator(".commit-row")
    expect(rows).to_have_count(50, timeout=ANSWER_TIMEOUT)
    expect(rows.first).to_contain_text("Write line 59")
    expect(rows.first).to_contain_text("HEAD -> main")
    page.screenshot(path=tmp_path / "log.png")
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(60, timeout=ANSWER_TIMEOUT)
    rows.first.click()
    expect(page.locator(".commit-message")).to_contain_text(
        "The body of 59.", timeout=ANSWER_TIMEOUT
    )
    expect(page.locator(".commit-author")).to_contain_text("Ada · Today, ")
    page.screenshot(path=tmp_path / "commit.png")
    page.get_by_role("link", name="poem.txt").click()
    expect(page.locator(".diff-row.plus")).to_have_text(
        ["1+added: line 59"], timeout=ANSWER_TIMEOUT
    )
    page.get_by_role("link", name="All commits").click()
    expect(rows).to_have_count(50, timeout=ANSWER_TIMEOUT)
