"""The page: what a message is made of, and what the agent works with."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import Page, expect

from tests.support.page_sessions import ScriptedSession
from tests.support.pictures import png

pytestmark = pytest.mark.peer("chromium")
PNG = png(64, 48, bytes((200, 30, 30)))
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DROP = """([type, name, data]) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
  document.querySelector(".log").dispatchEvent(
    new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
}"""
PASTE_ELSEWHERE = """(data) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], "image.png", { type: "image/png" }));
  document.body.dispatchEvent(
    new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""
MODES = [
    {"id": "default", "name": "Always ask"},
    {"id": "yolo", "name": "Allow everything", "unrestricted": True},
]
MODELS = [{"id": f"lab/model-{number}", "name": f"Model {number}"} for number in range(40)]
EFFORTS = [{"id": "low", "name": "Low"}, {"id": "high", "name": "High"}]
OFFER = {"modes": MODES, "mode": "default", "models": MODELS, "model": "lab/model-3"}
OFFER |= {"efforts": EFFORTS, "effort": "low", "effortSetting": "modelReasoningEffort"}


def taking_uploads(session: ScriptedSession) -> None:
    session.answers["uploadFile"] = lambda params: {
        "success": True,
        "path": f"/up/{params['filename']}",
    }
    session.answers["deleteUpload"] = {"success": True}
    session.serve("uploadFile", "deleteUpload")


def box(page: Page):
    return page.get_by_role("textbox", name="Message")


def attached(page: Page):
    return page.get_by_role("list", name="Attached files")


def test_a_dropped_file_is_attached_and_the_place_to_drop_it_is_shown(place):
    session = place.session()
    taking_uploads(session)
    page = place.open(session)
    data = base64.b64encode(PNG).decode()
    page.evaluate(DROP, ["dragover", "shot.png", data])
    expect(page.get_by_text("Drop files here to attach them")).to_be_visible()
    page.evaluate(DROP, ["drop", "shot.png", data])
    expect(page.get_by_text("Drop files here to attach them")).to_be_hidden()
    expect(attached(page).get_by_role("listitem")).to_contain_text("shot.png")
    expect(attached(page).locator("canvas")).to_be_visible()


def test_a_picture_is_pasted_wherever_the_focus_is_and_an_ended_session_says_why_not(place):
    session = place.session()
    taking_uploads(session)
    page = place.open(session)
    data = base64.b64encode(PNG).decode()
    page.evaluate(PASTE_ELSEWHERE, data)
    expect(attached(page)).to_contain_text("image.png")
    ended = place.session(lifecycleState="archived", agentSessionId="a", connect=False)
    page = place.visit(f"/sessions/{ended.id}")
    expect(box(page)).to_be_enabled()
    page.evaluate(PASTE_ELSEWHERE, data)
    expect(page.get_by_text("Files can be attached while the session runs.")).to_be_visible()


def test_an_upload_shows_its_progress_and_one_that_failed_can_be_tried_again(place):
    session = place.session()
    taking_uploads(session)
    page = place.open(session)
    page.route("**/upload", lambda route: route.abort())
    page.evaluate(PASTE_ELSEWHERE, base64.b64encode(PNG).decode())
    expect(attached(page)).to_contain_text("Not uploaded")
    box(page).fill("look")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.unroute("**/upload")
    waiting = []

    def keep(route):
        waiting.append(route)

    page.route("**/upload", keep)
    attached(page).get_by_role("button", name="Try again").click()
    expect(page.get_by_role("progressbar", name="Upload of image.png")).to_be_visible()
    waiting[0].continue_()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".user.sent .files")).to_have_text("image.png")


def test_a_draft_and_its_files_outlive_the_tab(place):
    session = place.session()
    taking_uploads(session)
    page = place.open(session)
    page.evaluate(PASTE_ELSEWHERE, base64.b64encode(PNG).decode())
    expect(page.get_by_text("Uploading…")).to_have_count(0)
    box(page).fill("half a thought")
    other = page.context.new_page()
    page.close()
    other.goto(f"{place.url}/sessions/{session.id}")
    expect(box(other)).to_have_value("half a thought")
    expect(attached(other)).to_contain_text("image.png")
    other.get_by_role("button", name="Send").click()
    expect(other.locator(".user.sent .files")).to_have_text("image.png")
    other.reload()
    expect(other.locator(".user.sent")).to_be_visible()
    expect(box(other)).to_have_value("")
    expect(attached(other)).to_be_hidden()


def test_two_tabs_show_one_draft(place):
    session = place.session()
    page = place.open(session)
    second = page.context.new_page()
    second.goto(f"{place.url}/sessions/{session.id}")
    expect(box(second)).to_be_enabled()
    box(page).fill("one text")
    expect(box(second)).to_have_value("one text")
    page.get_by_role("button", name="Send").click()
    expect(box(second)).to_have_value("")


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_commands_and_skills_are_found_after_a_slash(place, size):
    commands = [{"name": "compact", "description": "Clear the history, keep a summary"}]
    session = place.session(offer={"commands": commands})
    session.answers["listSlashCommands"] = {
        "success": True,
        "commands": [{"name": "compact", "source": "builtin"}, {"name": "cost"}],
    }
    session.answers["listSkills"] = {
        "success": True,
        "skills": [{"name": "review-pr", "description": "Review a pull request"}],
    }
    session.serve("listSlashCommands", "listSkills")
    page = place.open(session, **size)
    box(page).press_sequentially("/")
    options = page.get_by_role("option")
    expect(options).to_have_count(3)
    expect(options.nth(0)).to_contain_text("/compact")
    expect(options.nth(2)).to_contain_text("skill")
    box(page).press_sequentially("pull")  # found by its description
    expect(options).to_have_count(1)
    options.first.click()
    expect(box(page)).to_have_value("/review-pr ")
    expect(page.get_by_role("listbox")).to_be_hidden()
    box(page).fill("")
    box(page).press_sequentially("/c")
    expect(options).to_have_count(2)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(box(page)).to_have_value("/cost ")


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_files_and_sessions_are_found_after_an_at_sign(place, size):
    other = place.session(name="Fix the login")
    session = place.session()
    session.answers["ripgrep"] = {"success": True, "stdout": "src/app.py\nsrc/my app.py\n"}
    session.serve("ripgrep")
    page = place.open(session, **size)
    box(page).press_sequentially("look at @ap")
    options = page.get_by_role("option")
    expect(options).to_have_count(2)
    expect(options.first).to_contain_text("src")
    options.first.click()
    expect(box(page)).to_have_value("look at @src/app.py ")
    box(page).press_sequentially("and @login")
    expect(options.filter(has_text="Fix the login")).to_be_visible()
    page.keyboard.press("Enter")
    text = f"look at @src/app.py and [Fix the login](/sessions/{other.id}) "
    expect(box(page)).to_have_value(text)
    page.keyboard.press("Escape")
    box(page).press_sequentially("a@b")
    expect(page.get_by_role("listbox")).to_be_hidden()


def test_mode_model_and_effort_are_set_in_the_composer(place):
    session = place.session(offer=OFFER)
    session.answers["set-session-config"] = lambda params: {"applied": params}
    session.serve("set-session-config")
    page = place.open(session)
    page.get_by_role("button", name="Model: Model 3").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("searchbox").fill("model-17")
    dialog.get_by_role("button", name="Model 17").click()
    expect(dialog).to_have_count(0)
    assert session.wait_for_call("set-session-config") == {"model": "lab/model-17"}
    session.calls.clear()
    page.get_by_role("button", name="Reasoning effort: Low").click()
    page.get_by_role("dialog").get_by_role("button", name="High").click()
    assert session.wait_for_call("set-session-config") == {"modelReasoningEffort": "high"}
    page.get_by_role("button", name="Permissions: Always ask").click()
    expect(page.get_by_text("The agent acts without asking for permission.")).to_be_visible()


def test_a_phone_has_the_settings_of_the_agent_in_a_sheet(place):
    session = place.session(offer=OFFER)
    session.answers["set-session-config"] = lambda params: {"applied": params}
    session.serve("set-session-config")
    page = place.open(session, **PHONE)
    page.get_by_role("button", name="Agent's settings").click()
    sheet = page.get_by_role("dialog", name="What the agent works with")
    sheet.get_by_role("button", name="Reasoning effort Low").click()
    page.get_by_role("dialog", name="Reasoning effort").get_by_role("button", name="High").click()
    assert session.wait_for_call("set-session-config") == {"modelReasoningEffort": "high"}


def test_a_session_without_an_offer_is_asked_for_its_models(place):
    session = place.session(flavor="opencode")
    session.answers["listOpencodeModels"] = {
        "success": True,
        "availableModels": [{"modelId": "lab/small", "name": "Small"}],
        "currentModelId": "lab/small",
    }
    session.answers["listOpencodeReasoningEffortOptions"] = {
        "success": True,
        "options": [{"value": "high", "name": "High"}],
        "currentValue": "high",
    }
    session.serve("listOpencodeModels", "listOpencodeReasoningEffortOptions")
    page = place.open(session)
    expect(page.get_by_role("button", name="Model: Small")).to_be_visible()
    expect(page.get_by_role("button", name="Reasoning effort: High")).to_be_visible()


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_the_composer_fits_and_its_buttons_are_large_enough(place, size, tmp_path):
    session = place.session(offer=OFFER)
    taking_uploads(session)
    session.think(True)
    page = place.open(session, **size)
    page.evaluate(PASTE_ELSEWHERE, base64.b64encode(PNG).decode())
    box(page).fill("Please look at this picture and say what is wrong with the layout of the page.")
    expect(page.get_by_role("button", name="Stop the agent")).to_be_visible()
    composer = page.locator(".composer").bounding_box()
    for button in page.locator(".composer button:visible").all():
        at = button.bounding_box()
        assert min(at["height"], at["width"]) >= 36, button.get_attribute("aria-label")
        assert at["x"] + at["width"] <= composer["x"] + composer["width"]
    page.screenshot(path=tmp_path / "composer.png")


def write(page: Page, text: str) -> None:
    box(page).fill(text)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".user.queued").filter(has_text=text)).to_be_visible()


def queued(page: Page):
    return page.locator(".user.queued .bubble")


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_messages_that_wait_are_moved_edited_and_cancelled(place, size):
    session = place.session(consume=False)
    page = place.open(session, **size)
    for text in ("first", "second", "third"):
        write(page, text)
    third = page.locator(".user.queued").filter(has_text="third")
    for button in third.get_by_role("button").all():
        at = button.bounding_box()
        assert min(at["height"], at["width"]) >= 40
    third.get_by_role("button", name="Move up").click()
    expect(queued(page)).to_have_text(["first", "third", "second"])
    session.until(lambda: len(session.prompts) == 4, "the message that was sent again")
    page.reload()
    expect(queued(page)).to_have_text(["first", "third", "second"])
    first = page.locator(".user.queued").filter(has_text="first")
    first.get_by_role("button", name="Edit").click()
    expect(box(page)).to_have_value("first")
    expect(queued(page)).to_have_text(["third", "second"])
    third.get_by_role("button", name="Cancel").click()
    expect(queued(page)).to_have_text(["second"])
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(queued(page)).to_have_text(["third", "second"])
    page.reload()  # the draft is still the message that was ahead of these
    expect(box(page)).to_have_value("first")
    box(page).fill("first of all")
    page.get_by_role("button", name="Send").click()
    expect(queued(page)).to_have_text(["first of all", "third", "second"])
    page.reload()
    expect(queued(page)).to_have_text(["first of all", "third", "second"])


def test_a_message_that_is_edited_in_two_tabs_says_so(place):
    session = place.session(consume=False)
    first = place.open(session)
    write(first, "first")
    second = place.open(session)
    second.route("**/api/events**", lambda route: route.abort())  # this tab is behind
    second.reload()
    waiting = second.locator(".user.queued")
    expect(waiting).to_be_visible()
    first.locator(".user.queued").get_by_role("button", name="Edit").click()
    expect(box(first)).to_have_value("first")
    waiting.get_by_role("button", name="Edit").click()
    expect(second.locator(".toast").last).to_contain_text("had left the queue already")
    expect(box(second)).to_have_value("first")


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_a_message_is_sent_later(place, size):
    session = place.session(consume=False)
    page = place.open(session, **size)
    box(page).fill("good morning")
    page.get_by_role("button", name="More for this message").click()
    page.get_by_role("button", name="Send later").click()
    page.get_by_role("dialog").get_by_role("button", name="In 1 hour").click()
    expect(page.get_by_text("Will be sent")).to_be_visible()
    page.get_by_role("button", name="Schedule").click()
    scheduled = page.locator(".user.scheduled")
    expect(scheduled).to_contain_text("Scheduled for")
    expect(page.locator("[aria-label='1 scheduled message']")).to_have_count(1)
    expect(page.get_by_text("Will be sent")).to_be_hidden()
    assert session.prompts == []
    page.reload()
    scheduled.get_by_role("button", name="Edit").click()
    expect(page.get_by_text("Will be sent")).to_be_visible()
    expect(box(page)).to_have_value("good morning")
    page.get_by_role("button", name="Schedule").click()
    scheduled.get_by_role("button", name="Send now").click()
    expect(queued(page)).to_have_text(["good morning"])
    assert session.until(lambda: session.prompts, "the prompt")[0]["content"]["content"]["text"]


def test_a_time_that_has_passed_or_is_too_far_away_is_told_in_words(place):
    page = place.open(place.session())
    page.get_by_role("button", name="More for this message").click()
    page.get_by_role("button", name="Send later").click()
    dialog = page.get_by_role("dialog")
    for time, words in (("2020-01-01T10:00", "has passed"), ("2199-01-01T10:00", "7 days")):
        dialog.get_by_label("Date and time").evaluate(
            "(input, value) => { input.min = ''; input.value = value; }", time
        )
        dialog.get_by_role("button", name="Choose").click()
        expect(dialog.get_by_role("alert")).to_contain_text(words)


def test_the_enter_key_does_what_the_person_has_chosen(place):
    session = place.session()
    page = place.open(session)
    page.get_by_role("button", name="More for this message").click()
    page.get_by_label("The Enter key").select_option("newline")
    page.keyboard.press("Escape")
    box(page).fill("one")
    page.keyboard.press("Enter")
    expect(box(page)).to_have_value("one\n")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".user.sent")).to_be_visible()
    assert len(session.prompts) == 1


def test_what_one_tab_cannot_send_is_not_lost_by_another_and_not_sent_twice(place):
    session = place.session()
    page = place.open(session)
    second = page.context.new_page()
    second.goto(f"{place.url}/sessions/{session.id}")
    expect(box(second)).to_be_enabled()
    page.context.route("**/messages", lambda route: route.abort())
    for number, tab in enumerate((page, second)):
        box(tab).fill(f"from tab {number}")
        tab.get_by_role("button", name="Send").click()
        expect(tab.locator(".user.waiting")).to_have_count(number + 1)
    expect(page.locator(".user.waiting")).to_have_count(2)
    page.close()
    second.reload()
    expect(second.locator(".user.waiting")).to_have_count(2)
    second.context.unroute("**/messages")
    expect(second.locator(".user.sent")).to_have_count(2)
    assert sorted(prompt["content"]["content"]["text"] for prompt in session.prompts) == [
        "from tab 0",
        "from tab 1",
    ]
