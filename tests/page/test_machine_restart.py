"""The page: restarting the runner of a machine."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.page_sessions import CAPABILITIES

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ANSWER_TIMEOUT = 60_000.0  # ms; the hub asks the runner again every half a second


def test_a_restart_tells_whether_the_new_runner_has_taken_over(place, tmp_path):
    machine = place.machine(host="devbox", capabilities=[*CAPABILITIES, "runner-handoff"])
    machine.answers["stop-runner"] = {"message": "The runner is being replaced", "replacement": 7}
    machine.answers["runner-handoff"] = {"pid": 1, "underWay": True}
    machine.serve("stop-runner", "runner-handoff")
    page = place.visit(f"/machines/{machine.machine_id}", **PHONE)
    restart = page.get_by_role("button", name="Restart runner")
    restart.click()
    outcome = page.get_by_role("main").get_by_role("status")
    expect(outcome).to_have_text("The runner is being restarted. Its sessions keep running.")
    expect(restart).to_be_disabled()
    machine.answers["runner-handoff"] = {"pid": 7, "underWay": False}
    expect(outcome).to_have_text("The runner has been restarted.", timeout=ANSWER_TIMEOUT)
    page.screenshot(path=tmp_path / "restarted.png")
    reason = "the installed version does not take over: SyntaxError: invalid syntax"
    machine.answers["runner-handoff"] = {"pid": 1, "underWay": False, "error": reason}
    restart.click()
    told = f"The runner keeps running, because {reason}"
    expect(outcome).to_contain_text(told, timeout=ANSWER_TIMEOUT)
    expect(restart).to_be_enabled()
    page.screenshot(path=tmp_path / "kept.png")


def test_a_runner_that_nothing_would_start_again_has_no_button(place):
    machine = place.machine(host="devbox")
    page = place.visit(f"/machines/{machine.machine_id}")
    expect(page.get_by_role("button", name="New session here")).to_be_visible()
    expect(page.get_by_role("button", name="Restart runner")).to_have_count(0)
