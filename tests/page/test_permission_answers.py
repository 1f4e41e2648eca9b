"""The page with a real session: requests shown whole, answered by name, remembered, denied."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.paths import SUPPORT
from tests.support.peers import NPM, OURS
from tests.support.programs import until

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]
both_hubs = pytest.mark.parametrize(
    "place", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))], indirect=True
)

ONCE = [
    {"optionId": "once", "kind": "allow_once", "name": "Yes"},
    {"optionId": "no", "kind": "reject_once", "name": "No"},
]
PLAN = [
    {"optionId": "auto", "kind": "allow_always", "name": "Yes, and use auto mode"},
    {"optionId": "bypass", "kind": "allow_always", "name": "Yes, and bypass permissions"},
    {"optionId": "default", "kind": "allow_once", "name": "Yes, manually approve edits"},
    {"optionId": "plan", "kind": "reject_once", "name": "No, keep planning"},
]


class Asked:
    """A session whose agent asks what the test says."""

    def __init__(self, place: Any, tmp_path: Path) -> None:
        agent = tmp_path / "asking-agent"
        agent.write_text(f"#!/bin/sh\nexec {sys.executable} {SUPPORT / 'permission_agent.py'}\n")
        agent.chmod(0o755)
        place.cast.environment["HAPI_DSH_ACP_COMMAND"] = str(agent)
        runner = place.cast.runner(OURS, place.user)
        self.user = place.user
        self.id = self.user.started(runner.machine_id, place.cast.directory("project"), "dsh")
        self.page: Page = place.visit(f"/sessions/{self.id}")
        expect(self.page.get_by_role("textbox", name="Message")).to_be_enabled()

    def ask(self, call_id: str, options: Any = ONCE, before: Any = None, **call: Any) -> Any:
        """The card that asks."""
        given = {"toolCallId": call_id, "title": "Shell", "kind": "execute", **call}
        question = {"call": given, "options": options} | ({"before": before} if before else {})
        self.user.say(self.id, json.dumps(question))
        card = self.page.locator(".tool.asks")
        expect(card).to_have_count(1)
        return card

    def expect_said(self, text: str, count: int = 1) -> None:
        expect(self.page.locator(".block.text").filter(has_text=text)).to_have_count(count)


@pytest.fixture
def asked(place: Any, tmp_path: Path) -> Asked:
    return Asked(place, tmp_path)


@both_hubs
def test_a_request_whose_id_has_slashes_is_answered(asked: Asked) -> None:
    card = asked.ask("turn 1/call #2?", rawInput={"command": "ls"})
    card.get_by_role("button", name="Allow", exact=True).click()
    asked.expect_said("chosen: once")


def test_a_plan_is_approved_by_the_name_of_an_option(asked: Asked) -> None:
    content = [{"type": "content", "content": {"type": "text", "text": "# Plan\n\n1. **Test** it"}}]
    card = asked.ask("p1", PLAN, title="Approve plan", kind="switch_mode", content=content)
    expect(card.get_by_role("heading", name="Plan")).to_be_visible()
    expect(card.locator("strong")).to_have_text("Test")
    expect(card.get_by_role("button", name="Allow for session")).to_have_count(0)
    card.get_by_role("button", name="Yes, and bypass permissions").click()
    asked.expect_said("chosen: bypass")
    expect(asked.page.locator(".tool").last).to_contain_text("Yes, and bypass permissions")


def test_a_change_that_came_before_the_request_is_shown_with_it(asked: Asked) -> None:
    changes = [
        {"type": "diff", "path": "/w/a.txt", "oldText": "one\n", "newText": "two\n"},
        {"type": "diff", "path": "/w/b.txt", "oldText": None, "newText": "new\n"},
    ]
    before = {"sessionUpdate": "tool_call", "toolCallId": "e1", "title": "Edit files"}
    before |= {"kind": "edit", "status": "pending", "content": changes}
    card = asked.ask("e1", before=before, title="Edit files", kind="edit")
    for kind, text in (("minus", "one"), ("plus", "two"), ("plus", "new")):
        expect(card.locator(f".diff-row.{kind}").filter(has_text=text)).to_be_visible()
    expect(card).to_contain_text("/w/b.txt")
    card.get_by_role("button", name="Deny", exact=True).click()
    asked.expect_said("chosen: ")


def test_what_was_allowed_for_the_session_is_listed_and_can_be_taken_back(asked: Asked) -> None:
    command = {"command": "touch x && echo y"}
    asked.ask("c1", rawInput=command).get_by_role("button", name="Allow for session").click()
    asked.expect_said("chosen: once")
    question = {"toolCallId": "c2", "title": "Shell", "kind": "execute", "rawInput": command}
    asked.user.say(asked.id, json.dumps({"call": question, "options": ONCE}))
    asked.expect_said("chosen: once", 2)
    expect(asked.page.locator(".tool").last).to_contain_text("Allowed for session")
    asked.page.get_by_role("button", name="Session settings").click()
    dialog = asked.page.get_by_role("dialog")
    expect(dialog.get_by_role("list", name="Allowed for this session")).to_contain_text(
        "touch x && echo y"
    )
    dialog.get_by_role("button", name="Remove: Run this command touch x && echo y").click()
    expect(dialog.locator(".rules li")).to_have_count(0)
    asked.page.keyboard.press("Escape")
    expect(asked.ask("c3", rawInput=command)).to_contain_text("Allow this?")


def test_what_was_allowed_holds_in_the_resumed_session(asked: Asked) -> None:
    command = {"command": "touch x && echo y"}
    asked.ask("c1", rawInput=command).get_by_role("button", name="Allow for session").click()
    asked.expect_said("chosen: once")
    asked.user.post(f"/api/sessions/{asked.id}/archive")
    assert asked.user.post(f"/api/sessions/{asked.id}/reopen")["sessionId"] == asked.id
    until(lambda: asked.user.session(asked.id)["active"], what="the resumed session")
    question = {"toolCallId": "c2", "title": "Shell", "kind": "execute", "rawInput": command}
    asked.user.say(asked.id, json.dumps({"call": question, "options": ONCE}))
    asked.expect_said("chosen: once", 2)


def test_a_denial_with_a_reason_is_the_agents_next_prompt(asked: Asked) -> None:
    card = asked.ask("c1", rawInput={"command": "rm -rf build"})
    card.get_by_role("button", name="Deny with a reason").click()
    reason = card.get_by_role("textbox", name="What the agent should do instead")
    expect(reason).to_be_focused()
    reason.fill("Use `make clean`.")
    card.get_by_role("button", name="Deny with this reason").click()
    asked.expect_said("heard: Use make clean.")
    expect(asked.page.locator(".tool").last).to_contain_text("Reason: Use `make clean`.")
    expect(asked.page.locator(".user")).to_have_count(2)


def test_an_answer_that_the_session_refuses_is_seen(asked: Asked) -> None:
    choices = [
        {"optionId": "a", "kind": "allow_once", "name": "Red"},
        {"optionId": "b", "kind": "allow_once", "name": "Blue"},
    ]
    card = asked.ask("c1", choices, kind="other", title="Colour?")
    asked.page.route(
        "**/permissions/**", lambda route: route.continue_(post_data='{"decision": "approved"}')
    )
    card.get_by_role("button", name="Red").click()
    expect(card.get_by_role("alert")).to_contain_text("Choose one of its options: Red, Blue")
    asked.page.unroute("**/permissions/**")
    card.get_by_role("button", name="Blue").click()
    asked.expect_said("chosen: b")
