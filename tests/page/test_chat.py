"""The page: a conversation, as records of both kinds of sessions draw it, also after a reload."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.support.page_sessions import ScriptedSession, now
from tests.support.peers import NPM, OURS
from tests.support.programs import until

pytestmark = pytest.mark.peer("chromium")
both_hubs = pytest.mark.parametrize(
    "place", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))], indirect=True
)


def write(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


@both_hubs
def test_a_message_goes_to_the_agent_and_its_answer_comes_back(place):
    session = place.session()
    page = place.open(session)
    write(page, "What is 6 times 7?")
    expect(page.locator(".user.sent")).to_contain_text("What is 6 times 7?")
    session.think(True)
    expect(page.locator(".working")).to_contain_text("OpenCode is working")
    session.record(type="message", message="It is **42**.")
    expect(page.locator(".block.text strong")).to_have_text("42")
    session.think(False)
    expect(page.locator(".working")).to_be_hidden()
    assert [prompt["content"]["content"]["text"] for prompt in session.prompts] == [
        "What is 6 times 7?"
    ]
    page.reload()
    expect(page.locator(".block")).to_have_count(2)


@both_hubs
def test_text_and_thoughts_of_one_id_replace_one_another_in_place(place):
    session = place.session()
    page = place.open(session)
    session.record(type="reasoning", id="r", message="Let me", live=True)
    expect(page.locator(".thought")).to_contain_text("Thinking…")
    session.record(type="message", id="m", message="First")
    session.record(type="reasoning", id="r", message="Let me see", live=True)
    session.record(type="reasoning", id="r", message="Let me see it.")
    session.record(type="message", id="m", message="First and last")
    expect(page.locator(".thought .excerpt")).to_have_text("Let me see it.")
    expect(page.locator(".thought")).not_to_contain_text("Thinking…")
    expect(page.locator(".block.text")).to_have_text(["First and last"])
    assert [block.get_attribute("data-kind") for block in page.locator(".block").all()] == [
        "thought",
        "text",
    ]
    page.reload()
    expect(page.locator(".block.text")).to_have_text(["First and last"])
    expect(page.locator(".thought")).to_have_count(1)


def test_a_tool_card_follows_its_call_from_waiting_to_done_and_folds_what_is_long(place):
    session = place.session()
    page = place.open(session)
    session.record(
        type="tool-call", callId="c", name="Count", input={"command": "seq 40"}, status="pending"
    )
    card = page.locator(".tool")
    expect(card).to_contain_text("Waiting")
    session.record(
        type="tool-call",
        callId="c",
        name="Count",
        input={"command": "seq 40"},
        status="in_progress",
    )
    expect(card).to_contain_text("Running")
    session.record(
        type="tool-call-result",
        callId="c",
        output="\n".join(f"line {number}" for number in range(40)),
    )
    expect(card).to_contain_text("Done")
    expect(card).to_have_count(1)
    expect(card).not_to_contain_text("line 39")
    card.get_by_role("button", name="Show all (40 lines)").click()
    expect(card).to_contain_text("line 39")
    expect(card.get_by_role("button", name="Show less")).to_be_focused()
    session.record(type="tool-call", callId="d", name="Fail", input={}, status="in_progress")
    session.record(type="tool-call-result", callId="d", output="no such file", is_error=True)
    expect(card.nth(1)).to_have_attribute("data-status", "failed")
    expect(card.nth(1)).to_contain_text("no such file")


def test_a_plan_is_one_list_and_stays_above_the_place_to_write_until_it_is_done(place):
    session = place.session()
    page = place.open(session)
    first = [
        {"content": "Look", "priority": "high", "status": "in_progress"},
        {"content": "Leap", "priority": "low", "status": "pending"},
    ]
    session.record(type="plan", entries=first)
    expect(page.locator(".plan-strip")).to_contain_text("Plan · 0 of 2 done")
    session.record(
        type="plan",
        entries=[{**first[0], "status": "completed"}, {**first[1], "status": "in_progress"}],
    )
    expect(page.locator(".plan-strip")).to_contain_text("Plan · 1 of 2 done")
    expect(page.locator(".block.plan")).to_have_count(0)
    session.record(type="plan", entries=[{**entry, "status": "completed"} for entry in first])
    expect(page.locator(".plan-strip")).to_be_hidden()
    expect(page.locator(".block.plan")).to_contain_text("Plan · 2 of 2 done")


def test_events_and_errors_are_lines_and_ready_is_none(place):
    session = place.session()
    page = place.open(session)
    session.event(type="message", message="Session aborted")
    session.record(type="error", message="The model is overloaded")
    session.event(type="ready")
    session.record(type="token_count", info={"total": {"inputTokens": 1, "outputTokens": 2}})
    session.record(type="something-new", message="never shown")
    session.record(type="message", message="end")
    expect(page.locator(".block.text")).to_have_text("end")
    expect(page.locator(".block.event")).to_have_text(
        ["The agent was stopped.", "The model is overloaded"]
    )
    expect(page.locator(".block")).to_have_count(3)


@both_hubs
def test_claudes_own_records_draw_text_thoughts_tools_and_results(place):
    session = place.session(flavor="claude", claudeSessionId="c-1")
    page = place.open(session)
    content = [
        {"type": "thinking", "thinking": "Hmm."},
        {"type": "text", "text": "Looking."},
        {
            "type": "tool_use",
            "id": "t",
            "name": "Bash",
            "input": {"command": "ls", "description": "List files"},
        },
    ]
    session.claude(
        type="assistant", message={"id": "m", "role": "assistant", "model": "x", "content": content}
    )
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "a.txt"}],
        "is_error": False,
    }
    session.claude(type="user", message={"role": "user", "content": [result]})
    session.claude(type="system", subtype="turn_duration", durationMs=2500)
    session.claude(type="user", isMeta=True, message={"role": "user", "content": "hidden"})
    expect(page.locator(".block.turn")).to_have_text("2 s")
    assert [block.get_attribute("data-kind") for block in page.locator(".block").all()] == [
        "thought",
        "text",
        "tool",
        "turn",
    ]
    expect(page.locator(".tool")).to_contain_text("a.txt")
    expect(page.locator(".tool")).to_have_attribute("data-status", "completed")


def test_what_has_no_known_shape_is_shown_as_what_it_is(place):
    session = place.session()
    page = place.open(session)
    session.raw({"strange": ["shape"]})
    expect(page.locator(".block.odd pre")).to_contain_text('"strange"')


@both_hubs
def test_a_queued_message_shows_that_it_waits_and_turns_into_a_sent_one(place):
    session = place.session(consume=False)
    page = place.open(session)
    write(page, "later")
    expect(page.locator(".user.queued")).to_contain_text("Waiting for the agent")
    session.take(session.until(lambda: session.prompts, "the prompt")[0]["localId"])
    expect(page.locator(".user.sent")).to_contain_text("later")
    expect(page.locator(".user")).to_have_count(1)


@both_hubs
def test_a_queued_message_can_be_taken_back_into_the_editor(place):
    session = place.session(consume=False)
    page = place.open(session)
    write(page, "not this")
    page.locator(".user.queued").get_by_role("button", name="Edit").click()
    expect(page.locator(".user")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Message")).to_have_value("not this")


def test_a_message_that_the_agent_has_already_can_not_be_taken_back(place):
    session = place.session(consume=False)
    session.cancel_answer = {"consumed": True}
    page = place.open(session)
    write(page, "too late")
    page.locator(".user.queued").get_by_role("button", name="Cancel").click()
    expect(page.locator(".user.sent")).to_contain_text("too late")
    expect(page.locator(".toast")).to_contain_text("already received")


@both_hubs
def test_earlier_messages_come_page_by_page_without_a_jump(place):
    session = place.session()
    for number in range(120):
        session.record(type="message", message=f"answer {number}.")
    page = place.open(session)
    expect(page.locator(".block.text").last).to_have_text("answer 119.")
    expect(page.locator(".block.text")).to_have_count(50)
    log = page.get_by_role("log")
    assert log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight") < 5
    log.evaluate("log => { log.scrollTop = 150; }")
    until(lambda: log.evaluate("log => log.scrollTop > 500"))
    log.evaluate("log => { log.scrollTop = 0; }")
    expect(page.locator(".block.text").first).to_have_text("answer 0.")
    assert page.locator(".block.text").count() < 100, "what is far from the screen"
    expect(page.get_by_role("button", name="Earlier messages")).to_be_hidden()


def test_who_reads_further_up_is_not_pulled_down_by_new_messages(place):
    session = place.session()
    for number in range(40):
        session.record(type="message", message=f"answer {number}.")
    page = place.open(session)
    expect(page.locator(".block.text")).to_have_count(40)
    log = page.get_by_role("log")
    log.evaluate("log => { log.scrollTop = 300; }")
    jump = page.get_by_role("button", name="Jump to latest")
    expect(jump).to_be_visible()
    session.record(type="message", message="news.")
    expect(page.locator(".block.text")).to_have_count(41)
    assert log.evaluate("log => log.scrollTop") == 300
    jump.click()
    expect(jump).to_be_hidden()


GROW_TWICE = """() => {
  const blocks = document.querySelector(".blocks");
  const grow = (height) => {
    const part = document.createElement("div");
    part.style.height = `${height}px`;
    blocks.lastElementChild.append(part);
  };
  // The second time when the list has followed the first one, before it is told of the scrolling.
  const observer = new ResizeObserver(() => {
    if (blocks.querySelectorAll(":scope > :last-child > div[style]").length !== 1) return;
    observer.disconnect();
    grow(500);
    window.hasGrown = true;
  });
  grow(100);
  requestAnimationFrame(() => observer.observe(blocks));
}"""
FROM_END = """() => {
  const log = document.querySelector(".log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
}"""


def test_the_end_stays_in_view_while_its_pictures_and_diagrams_grow(place):
    session = place.session()
    for number in range(40):
        session.record(type="message", message=f"Answer {number}", id=f"a{number}")
    page = place.open(session, viewport={"width": 390, "height": 844})
    expect(page.get_by_text("Answer 39", exact=True)).to_be_in_viewport()
    page.evaluate(GROW_TWICE)
    page.wait_for_function("window.hasGrown === true")
    page.wait_for_function(FROM_END)


def test_stop_aborts_the_turn(place):
    session = place.session()
    page = place.open(session)
    session.think(True)
    page.get_by_role("button", name="Stop the agent").click()
    session.wait_for_call("abort")


def test_a_draft_stays_with_its_session(place):
    one, other = place.session(name="One"), place.session(name="Other")
    page = place.open(one)
    page.get_by_role("textbox", name="Message").fill("half a thou")
    page.locator(f"[data-session='{other.id}']").click()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("")
    page.locator(f"[data-session='{one.id}']").click()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("half a thou")


def test_a_message_keeps_the_spaces_and_lines_around_it_and_a_blank_one_is_not_sent(place):
    session = place.session()
    page = place.open(session)
    box = page.get_by_role("textbox", name="Message")
    box.fill(" \n ")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.keyboard.press("Enter")
    write(page, "    indented:\n  more\n\n")
    expect(page.locator(".user.sent")).to_have_count(1)
    assert [prompt["content"]["content"]["text"] for prompt in session.prompts] == [
        "    indented:\n  more\n\n"
    ]


def test_shift_enter_begins_a_new_line(place):
    session = place.session()
    page = place.open(session)
    box = page.get_by_role("textbox", name="Message")
    box.fill("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent .bubble")).to_have_text("one\ntwo", use_inner_text=True)


def test_a_session_that_is_only_a_row_says_so(place):
    page = place.visit("/sessions/00000000-0000-4000-8000-000000000000")
    expect(page.locator(".notice")).to_contain_text("does not exist")


def test_a_picture_of_the_agent_that_cannot_be_loaded_leaves_a_sentence(place):
    session: ScriptedSession = place.session()
    page = place.open(session)
    session.record(
        type="generated-image", imageId="i", fileName="cat.png", mimeType="image/png", id=str(now())
    )
    expect(page.locator(".image")).to_contain_text("could not be loaded: Image not found")


COMPOSITION_ENTER = """([keyCode, isComposing]) => {
  const box = document.querySelector("textarea");
  box.dispatchEvent(new CompositionEvent("compositionstart", { bubbles: true }));
  if (!isComposing) box.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true }));
  box.dispatchEvent(new KeyboardEvent("keydown",
    { key: "Enter", keyCode, isComposing, bubbles: true, cancelable: true }));
}"""


def test_the_enter_that_ends_a_composition_does_not_send(place):
    session = place.session()
    page = place.open(session)
    box = page.get_by_role("textbox", name="Message")
    box.fill("你好")
    for key_code, is_composing in ((229, False), (13, True), (229, True)):  # Safari, others
        page.evaluate(COMPOSITION_ENTER, [key_code, is_composing])
        expect(box).to_have_value("你好")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent")).to_contain_text("你好")
    assert len(session.prompts) == 1


def test_diffs_of_tools_are_drawn_with_file_names_and_counts(place):
    session = place.session()
    page = place.open(session)
    diff = "--- src/a.py\n+++ src/a.py\n@@ -1,2 +1,3 @@\n <b>one</b>\n-two\n+2\n+three"
    change = {"path": "src/a.py", "diff": diff, "added": 2, "removed": 1}
    session.record(
        type="tool-call", callId="c1", name="Edit", input={}, status="pending", changes=[change]
    )
    session.record(type="tool-call-result", callId="c1", output=diff)
    card = page.locator(".block.tool").first
    expect(card.locator(".diff-caption")).to_have_text(["src/a.py+2−1"])
    expect(card.locator(".tool-text")).to_have_count(1)  # the output repeats the change
    expect(card.locator(".tool-text .plus")).to_have_text(["2+added: 2", "3+added: three"])
    expect(card.locator(".tool-text .same .diff-text")).to_have_text("<b>one</b>")
    expect(card).not_to_contain_text("@@")
    sign, code = (
        card.locator(f".plus {part}").first.bounding_box() for part in (".diff-sign", ".diff-text")
    )
    assert sign["x"] + sign["width"] <= code["x"]  # a column of its own
    session.record(type="tool-call", callId="c2", name="git diff", input={}, status="pending")
    session.record(type="tool-call-result", callId="c2", output=diff)
    output = page.locator(".block.tool").nth(1).locator(".tool-output")
    expect(output.locator(".diff-caption")).to_have_text("src/a.py+2−1")
    expect(output.locator(".minus").last).to_have_text("2-removed: two")
    session.ask("r1", "Edit", {"file_path": "/home/dev/shop/src/a.py", "diff": diff})
    asked = page.locator(".block.asks, .block.request").last
    expect(asked.locator(".diff-row.minus")).to_have_text("2-removed: two")
    expect(asked.get_by_text("src/a.py")).to_have_count(1)  # told once
    expect(asked).not_to_contain_text("@@")


def test_the_head_of_a_session_shows_how_full_the_context_is(place):
    usage = {"contextTokens": 7400, "contextWindow": 8000, "turns": 1, "turnMs": 4000}
    session = place.session(usage=usage)
    page = place.open(session)
    meter = page.get_by_role("button", name="Context: 93% · 7.4K of 8K tokens")
    expect(meter).to_have_text("93%")
    meter.click()
    dialog = page.get_by_role("dialog", name="Usage")
    expect(dialog).to_contain_text("7,400 of 8,000 tokens")
    expect(dialog).to_contain_text("600 tokens")
