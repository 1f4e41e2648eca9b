"""The page: texts that are kept, suggested, dictated and read aloud."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SPEECH = """
Object.defineProperty(window, "speechSynthesis", { value: {
  cancel() {},
  speak({ text }) { document.body.dataset.spoken = text; },
}});
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
window.SpeechRecognition = class {
  constructor() { window.recognition = this; }
  start() {}
  stop() { this.onend(); }
};
"""
HEAR = """(texts) => window.recognition.onresult({
  results: texts.map((transcript) => [{ transcript }]),
})"""


def box(page: Page):
    return page.get_by_role("textbox", name="Message")


def more(page: Page, entry: str):
    page.get_by_role("button", name="More for this message").click()
    page.get_by_role("dialog").get_by_role("button", name=entry).click()
    return page.get_by_role("dialog")


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_a_prompt_is_saved_and_found_on_another_device(place, size, tmp_path):
    session = place.session()
    page = place.open(session, **size)
    box(page).fill("Run all tests and tell me what fails.")
    dialog = more(page, "Saved prompts")
    expect(dialog.get_by_text("A saved prompt is found here")).to_be_visible()
    dialog.get_by_role("button", name="Save a prompt").click()
    dialog = page.get_by_role("dialog", name="Save a prompt")
    dialog.get_by_label("Name (optional)").fill("tests")
    dialog.get_by_role("button", name="Save").last.click()
    dialog = page.get_by_role("dialog", name="Saved prompts")
    expect(dialog.get_by_text("Run all tests")).to_be_visible()
    page.screenshot(path=tmp_path / "prompts.png")
    other = place.open(session)
    box(other).press_sequentially("/te")
    other.get_by_role("option").filter(has_text="tests").click()
    expect(box(other)).to_have_value("Run all tests and tell me what fails. ")
    dialog.get_by_role("button", name="Edit tests").click()
    dialog = page.get_by_role("dialog", name="Edit the prompt")
    dialog.get_by_label("Text").fill("Run them twice.")
    dialog.get_by_role("button", name="Save").last.click()
    dialog = page.get_by_role("dialog", name="Saved prompts")
    expect(dialog.get_by_text("Run them twice.")).to_be_visible()
    dialog.get_by_role("button", name="Delete tests").click()
    expect(dialog.get_by_text("A saved prompt is found here")).to_be_visible()


def test_a_text_is_parked_beside_the_conversation_and_taken_up_again(place):
    session = place.session()
    page = place.open(session)
    box(page).fill("and then deploy")
    dialog = more(page, "Parked texts")
    dialog.get_by_role("button", name="Park what is written").click()
    expect(box(page)).to_have_value("")
    other = place.open(session)
    more(other, "Parked texts").get_by_role("button", name="and then deploy").first.click()
    expect(box(other)).to_have_value("and then deploy")
    dialog = more(page, "Parked texts")
    expect(dialog.get_by_text("Nothing is parked here.")).to_be_visible()


def test_a_new_conversation_suggests_examples_and_later_the_last_prompts(place):
    first, second = place.session(), place.session()
    page = place.open(first)
    suggestions = page.get_by_role("group", name="Suggestions for a first message")
    suggestions.get_by_role("button", name="Run the tests").click()
    expect(box(page)).to_have_value("Run the tests and tell me what fails.")
    box(page).fill("Mend the login.")
    page.get_by_role("button", name="Send").click()
    expect(suggestions).to_be_hidden()
    page.locator(f"[data-session='{second.id}']").click()
    expect(suggestions.get_by_role("button", name="Mend the login.")).to_be_visible()
    suggestions.get_by_role("button", name="Commands").click()
    expect(box(page)).to_have_value("/")
    expect(page.get_by_text("The agent has told no commands yet.")).to_be_visible()


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_a_long_message_is_written_on_the_whole_screen(place, size):
    session = place.session()
    for number in range(40):
        session.record(type="message", message=f"Answer {number}", id=f"a{number}")
    page = place.open(session, **size)
    more(page, "Write on the whole screen")
    expect(box(page)).to_be_focused()
    expect(page.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    assert box(page).bounding_box()["height"] > 500
    box(page).fill("one\ntwo")
    page.get_by_role("button", name="Show the conversation").click()
    expect(box(page)).to_have_value("one\ntwo")
    assert box(page).bounding_box()["height"] < 200
    expect(page.get_by_text("Answer 39", exact=True)).to_be_in_viewport()
    more(page, "Write on the whole screen")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".block.user").last).to_be_in_viewport()
    assert box(page).bounding_box()["height"] < 200


def test_what_is_dictated_is_written_behind_what_is_there(place):
    session = place.session()
    context = place.visit()
    page = context.context.new_page()
    page.add_init_script(SPEECH)
    page.goto(f"{place.url}/sessions/{session.id}")
    box(page).fill("Please")
    button = page.get_by_role("button", name="Dictate")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.evaluate(HEAR, ["look at"])
    page.evaluate(HEAR, ["look at", " the tests"])
    expect(box(page)).to_have_value("Please look at the tests")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    page.evaluate("() => { recognition.onerror({ error: 'not-allowed' }); recognition.onend(); }")
    expect(page.locator(".toast")).to_contain_text("may not use the microphone")


def test_answers_are_read_aloud_when_the_person_wants_it(place):
    session = place.session()
    context = place.visit()
    page = context.context.new_page()
    page.add_init_script(SPEECH)
    page.goto(f"{place.url}/sessions/{session.id}")
    box(page).fill("hello")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".user.sent")).to_be_visible()
    session.record(type="message", id="a", message="It *works*.\n\n```\ncode\n```")
    session.event(type="ready")
    page.get_by_role("button", name="Read aloud").click()
    expect(page.locator("body")).to_have_attribute("data-spoken", "It works.\nCode.")
    page.get_by_role("button", name="Stop reading").click()
    page.get_by_role("button", name="More for this message").click()
    page.get_by_label("Read answers aloud").check()
    page.keyboard.press("Escape")
    box(page).fill("again")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".user.sent")).to_have_count(2)
    session.record(type="message", id="b", message="Twice.")
    session.event(type="ready")
    expect(page.locator("body")).to_have_attribute("data-spoken", "Twice.")
