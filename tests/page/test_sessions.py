"""The page: the list of sessions and machines, and what one can do with a session."""

from __future__ import annotations

import re
import threading

import pytest
from playwright.sync_api import expect

from tests.support.page_sessions import now
from tests.support.peers import NPM, OURS, Refused

pytestmark = pytest.mark.peer("chromium")
both_hubs = pytest.mark.parametrize(
    "place", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))], indirect=True
)


def settings(page):
    page.get_by_role("button", name="Session settings").click()
    return page.get_by_role("dialog")


def titles(page):
    return page.locator(".virtual-list > li:not(.list-earlier) :is(h2, .row-title)")


@both_hubs
def test_sessions_stand_by_project_and_first_those_that_need_somebody(place):
    quiet = place.session(name="Quiet")
    asking = place.session(name="Asking")
    ended = place.session(name="Ended", opencodeSessionId="oc")
    quiet.record(type="message", message="hello")
    asking.ask("c", "Run", {"command": "ls"})
    ended.record(type="message", message="bye")
    ended.end()
    page = place.visit()
    shop = re.compile("^shop")
    expect(titles(page)).to_have_text(["Needs attention", "Asking", shop, "Quiet", "Ended"])
    head = page.get_by_role("button", name="shop 2 of 3 sessions running")
    expect(head).to_have_attribute("aria-expanded", "true")
    fresh = place.session(name="Fresh")
    fresh.record(type="message", message="hello")
    expect(titles(page)).to_have_text(
        ["Needs attention", "Asking", shop, "Fresh", "Quiet", "Ended"]
    )
    page.get_by_role("button", name=shop).click()
    expect(titles(page)).to_have_text(["Needs attention", "Asking", shop])
    page.reload()
    expect(titles(page)).to_have_text(["Needs attention", "Asking", shop])


@both_hubs
def test_a_session_shows_that_it_works_and_that_it_has_news(place):
    one, other = place.session(name="One"), place.session(name="Other")
    page = place.open(one)
    row = page.locator(f"[data-session='{other.id}']")
    expect(row.get_by_role("img", name="ready")).to_be_visible()
    other.think(True)
    expect(row.get_by_role("img", name="working")).to_be_visible()
    other.record(type="message", message="news")
    expect(row.get_by_role("img", name="unread")).to_be_visible()
    row.click()
    expect(row.get_by_role("img", name="unread")).to_be_hidden()


def test_sessions_are_found_by_a_word_of_their_title(place):
    for name in ("Apple", "Banana", "Cherry", "Date", "Elder", "Fig", "Grape", "Apple pie"):
        place.session(name=name).record(type="message", message="x")
    page = place.visit()
    page.get_by_role("searchbox").fill("apple")
    expect(page.locator(".row-title").filter(visible=True)).to_have_text(["Apple pie", "Apple"])
    page.get_by_role("searchbox").fill("zzz")
    expect(page.get_by_text("No matching sessions.")).to_be_visible()


@both_hubs
def test_a_session_gets_another_name(place):
    session = place.session(name="Old")
    page = place.open(session)
    dialog = settings(page)
    dialog.get_by_label("Name").fill("New <b>name</b>")
    dialog.get_by_label("Name").press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator(".head-main .title")).to_have_text("New <b>name</b>")
    expect(page.locator(".row-title").first).to_have_text("New <b>name</b>")
    expect(page).to_have_title("New <b>name</b> · HAPI")


def test_a_name_of_blanks_is_refused_in_words(place):
    page = place.open(place.session())
    dialog = settings(page)
    dialog.get_by_label("Name").fill("   ")
    dialog.get_by_label("Name").press("Enter")
    expect(dialog.get_by_text("The name can't be blank.")).to_be_visible()


@both_hubs
def test_permission_mode_and_model_are_changed_in_the_settings(place):
    session = place.session()
    page = place.open(session)
    dialog = settings(page)
    dialog.get_by_label("Permissions").select_option("yolo")
    assert session.wait_for_call("set-session-config")["permissionMode"] == "yolo"
    expect(dialog.get_by_text("acts without asking")).to_be_visible()
    dialog.get_by_label("Model").fill("big-one")
    dialog.get_by_label("Name").focus()  # what was written applies when the field is left
    session.until(lambda: session.calls[-1][1].get("model") == "big-one", "the model")
    page.keyboard.press("Escape")
    expect(page.locator(".head-main .tag")).to_have_text("Allow everything")


def test_the_settings_of_a_session_show_no_ids_and_copy_its_reference(place):
    session = place.session(name="Shop", opencodeSessionId="ses_12345678")
    permissions = ["clipboard-read", "clipboard-write"]
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = place.open(session, **phone, permissions=permissions)
    dialog = settings(page)
    expect(dialog.get_by_label("Name")).to_have_value("Shop")
    expect(dialog).not_to_contain_text(session.id)
    expect(dialog).not_to_contain_text("ses_12345678")
    for name in ("Set", "Save"):
        expect(dialog.get_by_role("button", name=name, exact=True)).to_have_count(0)
    dialog.get_by_role("button", name="Copy reference").click()
    expect(page.get_by_text("Reference copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"[Shop](/sessions/{session.id})"
    assert page.evaluate("document.documentElement.scrollWidth") == 390


QWEN_OFFER = {
    "modes": [
        {"id": "default", "name": "Ask before acting"},
        {"id": "yolo", "name": "YOLO", "unrestricted": True},
        {"id": "acceptEdits", "name": "Auto Edit", "description": "Edits files without asking"},
    ],
    "mode": "default",
    "models": [{"id": "small", "name": "Small One"}, {"id": "big", "name": "Big One"}],
    "model": "small",
    "efforts": [{"id": "low", "name": "Low"}, {"id": "high", "name": "High"}],
    "effort": "low",
    "effortSetting": "effort",
    "options": [
        {
            "id": "tone",
            "name": "Tone",
            "choices": [{"id": "dry", "name": "Dry"}, {"id": "warm", "name": "Warm"}],
            "current": "dry",
        }
    ],
    "commands": [
        {"name": "init", "description": "Set up the project"},
        {"name": "compact", "description": "Compact the conversation"},
    ],
}


def test_the_settings_are_those_that_the_session_offers(place):
    session = place.session(flavor="qwen", offer=QWEN_OFFER)
    page = place.open(session)
    dialog = settings(page)
    modes = dialog.get_by_label("Permissions").get_by_role("option")
    expect(modes).to_have_text(["Ask before acting", "YOLO", "Auto Edit"])
    dialog.get_by_label("Permissions").select_option("acceptEdits")
    assert session.wait_for_call("set-session-config")["permissionMode"] == "acceptEdits"
    expect(dialog.get_by_text("Edits files without asking")).to_be_visible()
    for label, option, sent in (
        ("Model", "Big One", {"model": "big"}),
        ("Reasoning effort", "High", {"effort": "high"}),
        ("Tone", "Warm", {"option": {"id": "tone", "value": "warm"}}),
    ):
        dialog.get_by_label(label).select_option(label=option)
        session.until(lambda sent=sent: session.calls[-1][1] == sent, label)


def test_a_mode_that_the_agent_changed_itself_is_shown(place):
    session = place.session(flavor="qwen", offer=QWEN_OFFER)
    page = place.open(session)
    expect(page.locator(".head-main .tag")).to_have_count(0)
    session.describe(offer={**QWEN_OFFER, "mode": "acceptEdits"})
    expect(page.locator(".head-main .tag")).to_have_text("Auto Edit")


def test_a_slash_offers_the_commands_of_the_agent(place):
    session = place.session(flavor="qwen", offer=QWEN_OFFER)
    page = place.open(session)
    box = page.get_by_role("textbox", name="Message")
    box.press_sequentially("/")
    options = page.get_by_role("listbox").get_by_role("option")
    expect(options).to_contain_text(["/init", "/compact"])
    box.press_sequentially("com")
    expect(options).to_have_count(1)
    box.press("Tab")
    expect(box).to_have_value("/compact ")
    expect(page.get_by_role("listbox")).to_be_hidden()


def test_an_agent_that_began_anew_is_told_in_words(place):
    machine = place.machine()
    session = place.session(opencodeSessionId="oc", machineId=machine.machine_id)
    session.record(type="message", message="before")
    session.end()

    def resumed(params):
        memory = {"state": "new", "since": 1}
        place.session(
            session=session.id,
            opencodeSessionId="oc",
            machineId=machine.machine_id,
            agentMemory=memory,
        ).describe(agentMemory=memory)
        return {"type": "success", "sessionId": session.id}

    machine.answers["spawn-happy-session"] = resumed
    page = place.visit(f"/sessions/{session.id}")
    page.locator(".notice").get_by_role("button", name="Resume").click()
    expect(page.get_by_text("OpenCode began anew: it does not remember")).to_be_visible(
        timeout=90_000
    )


def test_a_setting_that_the_agent_refuses_is_reported(place):
    session = place.session()
    session.answers["set-session-config"] = {"error": "this model does not exist"}
    page = place.open(session)
    dialog = settings(page)
    dialog.get_by_label("Model").fill("nonsense")
    dialog.get_by_label("Model").press("Enter")
    expect(dialog.get_by_role("alert").filter(visible=True)).to_have_text(
        "this model does not exist"
    )


@both_hubs
def test_a_session_is_archived_after_a_question(place):
    session = place.session(opencodeSessionId="oc")
    session.answers["killSession"] = {"success": True}
    page = place.open(session)
    settings(page).get_by_role("button", name="Archive").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive", exact=True).click()
    session.wait_for_call("killSession")
    session.end()
    expect(page.locator(".notice")).to_contain_text("This session was ended.")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Message")).to_have_attribute(
        "placeholder", "Message to resume"
    )


@pytest.mark.parametrize("can_end", [True, False])
def test_archiving_a_session_that_hangs_says_who_ended_it_or_what_to_do(place, can_end):
    machine = place.machine()
    if not can_end:
        machine.answers["stop-session"] = {"status": "still_alive", "known": True}
    session = place.session(machineId=machine.machine_id, hostPid=4711)
    is_over = threading.Event()
    session.answers["killSession"] = lambda params: is_over.wait(60)
    if can_end:

        def end_process(params):
            session.close()
            return {"status": "stopped"}

        machine.answers["stop-session"] = end_process
    page = place.open(session)
    settings(page).get_by_role("button", name="Archive").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive", exact=True).click()
    if can_end:
        expect(page.locator(".toast")).to_contain_text("The runner of its machine has ended it.")
        expect(page.locator(".notice")).to_contain_text("so the runner of its machine ended it")
    else:
        problem = page.get_by_role("alert").filter(visible=True)
        expect(problem).to_contain_text("its runner could not end it")
        expect(problem).to_contain_text("end process 4711 there")
    is_over.set()


@both_hubs
def test_a_session_is_deleted_after_a_question_and_the_page_goes_home(place):
    session = place.session(name="Away with it")
    session.record(type="message", message="x")
    page = place.open(session)
    session.end()
    expect(page.locator(".notice")).to_contain_text("can't be resumed")
    settings(page).get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    settings(page).get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="What do you want to work on?")).to_be_visible()
    expect(page.get_by_text("Away with it")).to_have_count(0)
    with pytest.raises(Refused, match="404"):
        place.user.session(session.id)


@both_hubs
def test_writing_to_an_ended_session_resumes_it_and_then_sends(place):
    machine = place.machine()
    session = place.session(opencodeSessionId="oc", machineId=machine.machine_id)
    session.record(type="message", message="before")
    session.end()

    def resumed(params):
        place.session(session=session.id, opencodeSessionId="oc", machineId=machine.machine_id)
        return {"type": "success", "sessionId": session.id}

    machine.answers["spawn-happy-session"] = resumed
    page = place.visit(f"/sessions/{session.id}")
    expect(page.locator(".notice")).to_contain_text("Send a message to resume the session.")
    page.get_by_role("textbox", name="Message").fill("go on")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent")).to_contain_text("go on", timeout=90_000)
    expect(page.locator(".block.text")).to_have_text("before")
    assert machine.wait_for_call("spawn-happy-session")["resumeSessionId"] == "oc"


@both_hubs
def test_a_resume_that_fails_keeps_the_message_and_says_why(place):
    session = place.session(opencodeSessionId="oc")
    session.record(type="message", message="before")
    session.end()
    page = place.visit(f"/sessions/{session.id}")
    page.get_by_role("textbox", name="Message").fill("go on")
    page.keyboard.press("Enter")
    expect(page.locator(".user.failed")).to_contain_text("machine of this session is offline")
    page.locator(".user.failed").get_by_role("button", name="Try again").click()
    expect(page.locator(".user.failed")).to_contain_text("machine of this session is offline")
    page.locator(".user.failed").get_by_role("button", name="Discard").click()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("go on")


@both_hubs
def test_a_resume_under_another_id_is_followed(place):
    machine = place.machine()
    session = place.session(flavor="kimi", kimiSessionId="k", machineId=machine.machine_id)
    session.record(type="message", message="before")
    session.end()
    made = []

    def resumed(params):
        made.append(place.session(flavor="kimi", kimiSessionId="k", machineId=machine.machine_id))
        return {"type": "success", "sessionId": made[0].id}

    machine.answers["spawn-happy-session"] = resumed
    page = place.visit(f"/sessions/{session.id}")
    page.locator(".notice").get_by_role("button", name="Resume").click()
    page.wait_for_url(lambda url: made and url.endswith(f"/sessions/{made[0].id}"), timeout=90_000)
    expect(page.locator(".block.text")).to_have_text("before")


def test_a_resumed_session_stays_on_screen_until_the_one_it_goes_on_as_is_shown(place):
    """The hub removes the ended session as soon as the new one is there, and answers when that one
    has told what its agent remembers."""
    machine = place.machine()
    session = place.session(opencodeSessionId="oc", machineId=machine.machine_id)
    session.record(type="message", message="before")
    session.end()
    made = []

    def resumed(params):
        opening = {"state": "opening", "since": 1}
        known = {"opencodeSessionId": "oc", "machineId": machine.machine_id}
        made.append(place.session(agentMemory=opening, **known))
        return {"type": "success", "sessionId": made[0].id}

    machine.answers["spawn-happy-session"] = resumed
    page = place.visit(f"/sessions/{session.id}")
    expect(page.locator(".block.text")).to_have_text("before")
    page.evaluate(WATCH_MAIN_PANE)
    page.locator(".notice").get_by_role("button", name="Resume").click()
    page.get_by_role("textbox", name="Message").fill("a draft")
    expect(page.locator(".notice")).to_have_text("Resuming the session…")
    session.until(lambda: removed(place, session), "the end of the old row")
    page.wait_for_timeout(1500)  # longer than the page waits before it leaves a removed session
    expect(page.locator(".notice")).to_have_text("Resuming the session…")
    made[0].describe(agentMemory={"state": "kept", "since": 2})
    page.wait_for_url(f"**/sessions/{made[0].id}", timeout=90_000)
    expect(page.locator(".notice")).to_be_hidden()
    expect(page.locator(".block.text")).to_have_text("before")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("a draft")
    assert page.evaluate("missing") == []


# Collects what the main pane shows in frames in which it does not show the conversation.
WATCH_MAIN_PANE = """() => {
  window.missing = [];
  const look = () => {
    const main = document.querySelector("main");
    if (!main?.querySelector(".block.text")) window.missing.push(main?.textContent);
    requestAnimationFrame(look);
  };
  look();
}"""


def removed(place, session):
    try:
        place.user.session(session.id)
    except Refused:
        return True
    return False


@both_hubs
def test_a_machine_shows_its_health_its_agents_and_why_some_are_missing(place):
    machine = place.machine(host="devbox", displayName="Dev box")
    machine.answers["agent-availability"] = {
        "agents": [
            {"agent": "demo", "available": True},
            {"agent": "codex", "available": False, "reason": "not_found"},
        ]
        if place.make == OURS
        else [
            {"agent": "opencode", "available": True},
            {"agent": "codex", "available": False, "reason": "not_found"},
        ]
    }
    page = place.visit()
    page.get_by_role("complementary").get_by_role("link", name="Dev box").click()
    main = page.get_by_role("main")
    expect(main.get_by_role("heading", name="Dev box")).to_be_visible()
    expect(main).to_contain_text("12 %")
    expect(main.get_by_role("listitem").filter(has_text="Codex")).to_contain_text(
        "not installed on this machine"
    )
    expect(main.get_by_role("listitem").filter(has_text="ready")).to_have_count(1)


def test_a_machine_gets_another_name(place):
    machine = place.machine(host="devbox")
    page = place.visit(f"/machines/{machine.machine_id}")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("Under the desk")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("main").get_by_role("heading", name="Under the desk")).to_be_visible()


def test_without_a_machine_the_page_says_how_to_get_one(place):
    page = place.visit()
    expect(page.get_by_role("main")).to_contain_text("hapi runner start")
    place.machine(host="devbox")
    expect(page.get_by_role("main").get_by_role("link", name="devbox")).to_be_visible()


def test_a_young_session_that_ends_is_not_called_starting(place):
    session = place.session(opencodeSessionId="oc", lifecycleStateSince=now())
    page = place.open(session)
    session.end(archived=False)
    expect(page.locator(".notice")).to_contain_text("Not connected")


def test_a_row_whose_process_has_not_come_yet_is_called_starting(place):
    session = place.session(opencodeSessionId="oc", lifecycleStateSince=now(), connect=False)
    page = place.visit(f"/sessions/{session.id}")
    expect(page.locator(".notice")).to_contain_text("Starting the agent")
    page.get_by_role("textbox", name="Message").fill("early")
    page.keyboard.press("Enter")
    expect(page.locator(".user.held")).to_contain_text("Waiting for the session to start")
    place.session(session=session.id, opencodeSessionId="oc")
    expect(page.locator(".user.sent")).to_contain_text("early")


def test_a_session_whose_agent_rests_is_shown_as_resting(place):
    session = place.session()
    page = place.open(session)
    session.describe(agentRest={"since": 1_700_000_000_000})
    expect(page.locator(".main-head").get_by_text("resting")).to_be_visible()
    expect(
        page.locator(f"[data-session='{session.id}']").get_by_role("img", name="resting")
    ).to_be_visible()
    session.describe(agentRest=None)
    expect(page.locator(".main-head").get_by_text("resting")).to_be_hidden()
