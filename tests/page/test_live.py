"""The page: what the agent says appears while it says it, also after a reload and for others."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from playwright.sync_api import Page, expect

from tests.support.paths import SUPPORT
from tests.support.peers import OURS

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]


@define
class LiveSession:
    """A real session whose agent says what the test has it say."""

    place: Any
    directory: Path
    id: str

    @classmethod
    def start(cls, place: Any, tmp_path: Path) -> LiveSession:
        agent = tmp_path / "live-agent"
        agent.write_text(f"#!/bin/sh\nexec {sys.executable} {SUPPORT / 'live_agent.py'}\n")
        agent.chmod(0o755)
        place.cast.environment["HAPI_DSH_ACP_COMMAND"] = str(agent)
        runner = place.cast.runner(OURS, place.user)
        directory = place.cast.directory("project")
        session = place.user.started(runner.machine_id, directory, "dsh")
        place.user.say(session, "go")
        return cls(place, directory, session)

    def open(self) -> Page:
        page: Page = self.place.visit(f"/sessions/{self.id}")
        expect(page.locator(".user.sent")).to_have_count(1)
        return page

    def send(self, **update: Any) -> None:
        with (self.directory / "say").open("a") as file:
            file.write(json.dumps(update) + "\n")

    def say(self, text: str, kind: str = "agent_message_chunk") -> None:
        self.send(sessionUpdate=kind, content={"type": "text", "text": text})

    def think(self, text: str) -> None:
        self.say(text, "agent_thought_chunk")

    def call(self, status: str, output: str | None = None) -> None:
        content = [{"type": "content", "content": {"type": "text", "text": output}}]
        more = {} if output is None else {"content": content}
        self.send(sessionUpdate="tool_call_update", toolCallId="c", status=status, **more)

    def end(self) -> None:
        self.send(end="end_turn")

    def records(self) -> list[Any]:
        found: list[Any] = self.place.user.records(self.id)
        return found


@pytest.fixture
def live(place, tmp_path):
    return LiveSession.start(place, tmp_path)


def test_text_appears_before_it_ends_and_becomes_its_record_in_the_same_place(live):
    page = live.open()
    live.say("The answer is **forty")
    text = page.locator(".block.text")
    expect(text).to_have_text("The answer is **forty")
    page.evaluate("document.querySelector('.block.text').dataset.seen = 'yes'")
    live.say("-two**.\n\nAnd more")
    expect(text.locator("strong")).to_have_text("forty-two")
    expect(text).to_have_attribute("aria-busy", "true")
    assert [record for record in live.records() if record["type"] == "message"] == []
    live.say(".")
    live.end()
    expect(page.locator(".working")).to_be_hidden()
    expect(text).not_to_have_attribute("aria-busy", "true")
    expect(text).to_have_text("The answer is forty-two.And more.")
    assert text.get_attribute("data-seen") == "yes"  # never drawn anew
    page.reload()
    expect(text).to_have_text("The answer is forty-two.And more.")


def test_a_reload_in_the_middle_and_a_second_reader_show_the_same(live):
    page = live.open()
    live.think("Let me think. ")
    live.think("Yes.")
    live.say("First ")
    live.say("and second")
    expect(page.locator(".block.text")).to_have_text("First and second")
    other = live.open()
    page.reload()
    for reader in (page, other):
        expect(reader.locator(".block.text")).to_have_text("First and second")
        expect(reader.locator(".thought .excerpt")).to_have_text("Let me think. Yes.")
    live.say(" and third")
    for reader in (page, other):
        expect(reader.locator(".block.text")).to_have_text("First and second and third")
    live.end()
    for reader in (page, other):
        expect(reader.locator(".working")).to_be_hidden()
        assert reader.locator(".block.text").all_inner_texts() == ["First and second and third"]
        kinds = [block.get_attribute("data-kind") for block in reader.locator(".block").all()]
        assert kinds == ["user", "thought", "text", "turn"]
    thoughts = [record for record in live.records() if record["type"] == "reasoning"]
    assert [thought["message"] for thought in thoughts] == ["Let me think. Yes."]


def test_thoughts_and_the_output_of_tools_appear_while_they_come(live):
    page = live.open()
    live.think("Hm, ")
    expect(page.locator(".thought")).to_contain_text("Thinking…")
    live.think("let me see")
    expect(page.locator(".thought .excerpt")).to_have_text("Hm, let me see")
    live.send(sessionUpdate="tool_call", toolCallId="c", title="make", kind="execute")
    expect(page.locator(".thought")).not_to_contain_text("Thinking…")
    live.call("in_progress", "compiling one\n")
    card = page.locator(".tool")
    expect(card).to_contain_text("compiling one")
    expect(card).to_contain_text("Running")
    lines = "".join(f"compiling {number}\n" for number in range(50))
    live.call("in_progress", lines)
    expect(card).to_contain_text("compiling 49")
    page.reload()
    expect(card).to_contain_text("compiling 49")
    live.call("completed", lines + "done\n")
    expect(card).to_contain_text("Done")
    expect(card).to_have_count(1)
    live.end()


def test_a_page_that_goes_to_another_session_takes_its_live_text_with_it(live):
    quiet = live.place.session()
    page = live.open()
    live.say("said at first")
    expect(page.locator(".block.text")).to_have_text("said at first")
    page.evaluate(f"history.pushState(null, '', '/sessions/{quiet.id}')")
    page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.locator(".block.text")).to_have_count(0)
    live.say(", said meanwhile")
    page.go_back()
    expect(page.locator(".block.text")).to_have_text("said at first, said meanwhile")
    live.end()


def test_live_text_goes_on_after_the_hub_was_restarted(live):
    page = live.open()
    live.say("before ")
    expect(page.locator(".block.text")).to_have_text("before")
    live.place.restart_hub()
    live.say("and after")
    expect(page.locator(".block.text")).to_have_text("before and after", timeout=90_000)
    live.say(", to the end")
    live.end()
    expect(page.locator(".working")).to_be_hidden(timeout=90_000)
    expect(page.locator(".block.text")).to_have_text("before and after, to the end")


def test_the_end_of_a_growing_answer_stays_in_view_and_a_reader_further_up_is_left_alone(live):
    page = live.open()
    log = page.locator(".log")
    from_end = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    for number in range(60):
        live.say(f"Paragraph {number}.\n\n")
    expect(page.locator(".block.text")).to_contain_text("Paragraph 59.")
    assert log.evaluate(from_end) < 80
    log.evaluate("log => { log.scrollTop = 300; }")
    expect(page.locator(".jump")).to_be_visible()
    for number in range(60, 120):
        live.say(f"Paragraph {number}.\n\n")
    expect(page.locator(".block.text")).to_contain_text("Paragraph 119.")
    assert log.evaluate("log => log.scrollTop") == 300
    live.end()
    expect(page.locator(".working")).to_be_hidden()
    assert log.evaluate("log => log.scrollTop") == 300
