"""The page: conversations of thousands of messages stay small in the document and hold still."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.long_conversation import answers, say_many

pytestmark = pytest.mark.peer("chromium")

PHONE = {"width": 390, "height": 844}
SIZES = [{"width": 1280, "height": 800}, PHONE]
MAX_BLOCKS = 120  # in the document
TOP = """(name) => {
  const block = [...document.querySelectorAll(".block.text")].find((node) =>
    node.textContent.startsWith(name));
  return block ? Math.round(block.getBoundingClientRect().top) : null;
}"""
FIRST_ON_SCREEN = """() => {
  const edge = document.querySelector(".log").getBoundingClientRect().top;
  const first = [...document.querySelectorAll(".block.text")].find((node) =>
    node.getBoundingClientRect().top >= edge);
  return first.textContent.match(/Answer \\d+\\./)[0];
}"""
SHOW = """async (id) => (await import(
  document.querySelector('link[href$="views/chat/chat.js"]').href)).openConversation().show(id)"""


def count(page: Page) -> int:
    return page.locator(".blocks > *").count()


def from_end(page: Page) -> int:
    log = page.get_by_role("log")
    return int(log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight"))


@pytest.mark.parametrize("viewport", SIZES, ids=["desktop", "phone"])
def test_reading_up_through_all_messages_is_without_jumps_and_gaps(place, viewport):
    session = place.session()
    say_many(session, answers(700))
    page = place.open(session, viewport=viewport)
    expect(page.get_by_text("Answer 699.")).to_be_visible()
    assert from_end(page) < 5
    log = page.get_by_role("log")
    box = log.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 200)
    seen = set()
    for _ in range(400):
        name = page.evaluate(FIRST_ON_SCREEN)
        seen.add(int(re.sub(r"\D", "", name)))
        before = page.evaluate(TOP, name)
        page.mouse.wheel(0, -600)
        page.wait_for_timeout(60)  # for the scrolling, and for what it loads
        after = page.evaluate(TOP, name)
        assert count(page) < MAX_BLOCKS
        if after is not None and log.evaluate("log => log.scrollTop") > 0:
            assert after >= before - 1, f"{name} moved from {before} to {after} while scrolling up"
            assert after - before < 1300, f"{name} jumped from {before} to {after}"
        if name == "Answer 0.":
            break
    assert 0 in seen
    assert max(b - a for a, b in zip(sorted(seen), sorted(seen)[1:], strict=False)) < 40


def test_older_messages_and_changed_heights_above_do_not_move_what_is_read(place):
    session = place.session()
    say_many(session, answers(300))
    page = place.open(session)
    log = page.get_by_role("log")
    log.evaluate("log => { log.scrollTop = 900; }")
    page.wait_for_timeout(300)  # for what the scrolling loads
    name = page.evaluate(FIRST_ON_SCREEN)
    before = page.evaluate(TOP, name)
    grow = """() => {
      const edge = document.querySelector(".log").getBoundingClientRect().top;
      const above = [...document.querySelectorAll(".block.text")].findLast((node) =>
        node.getBoundingClientRect().bottom < edge);
      above.querySelector("p").append("\\nmore".repeat(40));
      above.style.paddingBottom = "333px";
    }"""
    page.evaluate(grow)
    page.wait_for_timeout(300)  # for the observer of sizes
    assert abs(page.evaluate(TOP, name) - before) <= 2
    session.record(type="message", message="News at the end.")
    page.wait_for_timeout(300)  # for the redraw
    assert abs(page.evaluate(TOP, name) - before) <= 2


@pytest.mark.parametrize("viewport", SIZES, ids=["desktop", "phone"])
def test_a_message_is_brought_on_screen_also_one_that_has_not_been_read(place, viewport):
    session = place.session()
    say_many(session, answers(900))
    page = place.open(session, viewport=viewport)
    expect(page.get_by_text("Answer 899.")).to_be_visible()
    for number in (450, 3, 890, 200):
        assert page.evaluate(SHOW, f"text:a{number}") is True
        shown = page.locator(".block.is-shown").filter(has_text=f"Answer {number}.")
        expect(shown).to_be_in_viewport()
        expect(shown).to_be_focused()
        assert count(page) < MAX_BLOCKS
        page.wait_for_timeout(200)  # for late changes of heights
        expect(shown).to_be_in_viewport()
    assert page.evaluate(SHOW, "text:nowhere") is False
    page.get_by_role("button", name="Jump to latest").click()
    expect(page.get_by_text("Answer 899.")).to_be_in_viewport()
    assert from_end(page) < 5


def test_what_a_person_writes_into_a_request_is_there_after_reading_elsewhere(place):
    session = place.session()
    say_many(session, answers(200))
    session.ask("r", "Bash", {"command": "ls"})
    page = place.open(session)
    page.get_by_role("button", name="Deny with a reason").click()
    page.get_by_placeholder("What should the agent do instead?").fill("because")
    assert page.evaluate(SHOW, "text:a10") is True
    expect(page.get_by_text("Answer 10.")).to_be_in_viewport()
    page.get_by_role("button", name="Jump to latest").click()
    expect(page.get_by_placeholder("What should the agent do")).to_have_value("because")


def test_a_conversation_that_goes_on_for_long_forgets_its_oldest_messages(place):
    session = place.session()
    page = place.open(session)
    say_many(session, answers(3300))
    expect(page.get_by_text("Answer 3299.")).to_be_visible(timeout=90_000)
    assert count(page) < MAX_BLOCKS
    known = """async () => (await import(
      document.querySelector('link[href$="views/chat/chat.js"]').href)).openConversation()
      .blocks().length"""
    assert page.evaluate(known) <= 3100
    assert page.evaluate(SHOW, "text:a20") is True
    expect(page.get_by_text("Answer 20.")).to_be_in_viewport()


MESSAGE_ID = """async (text) => {
  const chat = (await import(
    document.querySelector('link[href$="views/chat/chat.js"]').href)).openConversation();
  const { results } = await chat._options.api.request("GET", "/api/search?q=" + text);
  return results.at(-1).messageId;
}"""
READ = """async () => (await import(
  document.querySelector('link[href$="views/chat/chat.js"]').href)).openConversation().blocks()
  .map((block) => /Answer (\\d+)\\./.exec(block.text ?? "")?.[1]).filter(Boolean).map(Number)"""


@pytest.mark.parametrize("viewport", SIZES, ids=["desktop", "phone"])
def test_a_place_thousands_of_messages_back_takes_one_request_and_reading_goes_on_from_it(
    place, viewport
):
    session = place.session()
    count_said = 10_000 if viewport is PHONE else 3_000
    say_many(session, answers(count_said))
    page = place.open(session, viewport=viewport)
    target = count_said // 2
    message = page.evaluate(MESSAGE_ID, f"Answer+{target}")
    asked: list[str] = []
    page.on(
        "request",
        lambda request: asked.append(request.url) if "/messages?" in request.url else None,
    )
    assert page.evaluate(SHOW, message) is True
    shown = page.locator(".block.is-shown").filter(has_text=f"Answer {target}.")
    expect(shown).to_be_in_viewport()
    assert len([url for url in asked if "around=" in url]) == 1
    assert len(asked) <= 3, asked  # with those that scrolling causes
    assert count(page) < MAX_BLOCKS
    session.record(type="message", id="news", message=f"Answer {count_said}. It is new.")
    log = page.get_by_role("log")
    for _ in range(60):  # towards the end of what has been read, and beyond
        log.evaluate("log => { log.scrollTop += 3000; }")
        page.wait_for_timeout(40)  # for what it loads
        if max(page.evaluate(READ)) > target + 500:
            break
    read = page.evaluate(READ)
    assert read == [*range(min(read), max(read) + 1)], "a message is missing, or there twice"
    assert max(read) > target + 500
    assert count_said not in read
    page.get_by_role("button", name="Jump to latest").click()
    expect(page.get_by_text("It is new.")).to_be_in_viewport()
    session.record(type="message", id="more", message=f"Answer {count_said + 1}. It is newer.")
    expect(page.get_by_text("It is newer.")).to_be_in_viewport()
    read = page.evaluate(READ)
    assert read == [*range(min(read), count_said + 2)]


MAX_NODES = 2000


def test_ten_thousand_messages_that_were_read_stay_few_nodes(place):
    """`benchmarks/conversations.py` measures how long a frame takes then."""
    session = place.session()
    say_many(session, answers(10_000))
    page = place.open(session)
    for name in ("text:a9900", "text:a5000", "text:a0"):
        assert page.evaluate(SHOW, name) is True
        assert page.locator("*").count() < MAX_NODES


@pytest.mark.parametrize("viewport", SIZES, ids=["desktop", "phone"])
def test_the_way_back_from_the_changes_leads_to_what_was_read(place, viewport):
    session = place.session()
    say_many(session, answers(400))
    page = place.open(session, viewport=viewport)
    expect(page.get_by_text("Answer 399.")).to_be_visible()
    log = page.get_by_role("log")
    log.evaluate("log => { log.scrollTop = log.scrollHeight / 2; }")
    page.wait_for_timeout(300)  # for what the scrolling draws
    name = page.evaluate(FIRST_ON_SCREEN)
    before = page.evaluate(TOP, name)
    page.get_by_role("button", name="Changes and files").click()
    expect(page.locator(".work-tabs")).to_be_visible()
    session.record(type="message", message="News that came meanwhile.")
    page.get_by_role("button", name="Back to the conversation").click()
    expect(page.get_by_text(name, exact=False).first).to_be_in_viewport()
    page.wait_for_function(
        f"([name, top]) => Math.abs(({TOP})(name) - top) < 5", arg=[name, before]
    )
    page.get_by_role("button", name="Jump to latest").click()
    expect(page.get_by_text("News that came meanwhile.")).to_be_in_viewport()
    page.get_by_role("button", name="Changes and files").click()
    page.get_by_role("button", name="Back to the conversation").click()
    expect(page.get_by_text("News that came meanwhile.")).to_be_in_viewport()
