"""The page: the list of sessions by touch, mouse and keyboard, its filters, and bulk actions."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.page_sessions import ScriptedSession

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def filled(
    place, *names: str, path: str = "/home/dev/shop", **more: object
) -> list[ScriptedSession]:
    made = [place.session(name=name, path=path, **more) for name in names]
    for session in made:
        session.record(type="message", message="x")
    return made


def row(page: Page, session: ScriptedSession):
    return page.locator(f"[data-session='{session.id}']")


def long_press(page: Page, target) -> None:
    """A finger that stays on the target, as Chromium reports it."""
    box = target.bounding_box()
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    expect(page.get_by_role("menu")).to_be_visible()
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_long_press_opens_the_menu_of_a_session_and_does_not_open_the_session(place):
    (session,) = filled(place, "Old")
    page = place.visit(**PHONE)
    long_press(page, row(page, session))
    menu = page.get_by_role("menu", name="Old")
    expect(menu).to_be_visible()
    assert page.url.endswith("/")
    menu.get_by_role("menuitem", name="Rename…").click()
    page.get_by_role("dialog").get_by_label("Name").fill("New")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(row(page, session)).to_contain_text("New")
    row(page, session).tap()
    expect(page).to_have_url(re.compile(f"/sessions/{session.id}$"))


def test_the_context_menu_pins_and_marks_a_session(place):
    one, other = filled(place, "One", "Other")
    page = place.visit()
    expect(page.locator(".row-title").first).to_have_text("Other")
    row(page, one).click(button="right")
    page.get_by_role("menuitem", name="Pin to the top").click()
    expect(page.locator(".virtual-list h2").first).to_have_text("Pinned")
    expect(page.locator(".row-title").first).to_have_text("One")
    expect(row(page, one).get_by_role("img", name="pinned")).to_be_visible()
    row(page, other).click(button="right")
    page.get_by_role("menuitem", name="Mark as unread").click()
    expect(row(page, other).get_by_role("img", name="unread")).to_be_visible()
    page.reload()
    expect(row(page, other).get_by_role("img", name="unread")).to_be_visible()
    row(page, other).click()
    expect(row(page, other).get_by_role("img", name="unread")).to_be_hidden()


def test_the_menu_copies_what_names_a_session_to_programs(place):
    (session,) = filled(place, "One")
    page = place.visit(**PHONE, permissions=["clipboard-read", "clipboard-write"])
    long_press(page, row(page, session))
    page.get_by_role("menuitem", name="Copy reference").click()
    expect(page.get_by_text("Reference copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"[One](/sessions/{session.id})"


def test_the_keyboard_alone_goes_through_the_list_and_its_menus(place):
    one, two = filled(place, "One", "Two")
    filled(place, "Blog", path="/home/dev/blog")
    page = place.visit()
    expect(page.locator(".row-title")).to_have_count(3)
    head = page.get_by_role("button", name="shop 2 of 2 sessions running")
    page.get_by_role("button", name="blog 1 of 1 session running").focus()
    expect(page.locator("[data-key][tabindex='-1']").first).to_be_attached()
    for key in ("ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    expect(head).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(head).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(row(page, two)).to_be_focused()
    page.keyboard.press("End")
    expect(row(page, one)).to_be_focused()
    page.keyboard.press("F2")
    expect(page.get_by_role("dialog", name="Rename session")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+F10")
    expect(page.get_by_role("menu", name="One")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Pin to the top")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    expect(row(page, one)).to_be_focused()
    page.keyboard.press("Delete")
    expect(page.get_by_role("dialog", name="Archive this session?")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/sessions/{one.id}$"))


def test_ended_sessions_are_deleted_together(place):
    ended = filled(place, *"ABCDEF", opencodeSessionId="oc")
    for session in ended:
        session.end()
    (kept,) = filled(place, "Kept")
    page = place.visit()
    page.get_by_role("button", name="6 earlier sessions").click()
    expect(page.locator("[data-session]")).to_have_count(7)
    row(page, ended[0]).click(button="right")
    page.get_by_role("menuitem", name="Select").click()
    row(page, ended[1]).click()
    expect(page.get_by_text("2 sessions selected")).to_be_visible()
    expect(row(page, ended[1])).to_be_checked()
    row(page, ended[4]).click(modifiers=["Shift"])
    expect(page.get_by_text("5 sessions selected")).to_be_visible()
    page.get_by_role("button", name="Delete the selected sessions").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("5 sessions selected")).to_be_visible()
    page.get_by_role("button", name="Delete the selected sessions").click()
    dialog = page.get_by_role("dialog", name="Delete 5 sessions?")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("5 sessions deleted.")).to_be_visible()
    expect(page.locator("[data-session]")).to_have_count(2)
    expect(row(page, kept)).to_be_visible()


def test_filters_narrow_the_list_and_are_cleared(place):
    filled(place, *"ABCDEF", flavor="codex")
    (claude,) = filled(place, "Claude's", flavor="claude")
    page = place.visit()
    expect(page.locator("[data-session]")).to_have_count(7)
    page.get_by_role("button", name="Filter sessions").click()
    page.get_by_label("Agent").select_option("claude")
    expect(page.locator("[data-session]")).to_have_count(1)
    expect(row(page, claude)).to_be_visible()
    expect(page.get_by_role("button", name="Filter sessions (1 set)")).to_be_visible()
    page.get_by_label("State").select_option("ended")
    expect(page.get_by_text("No matching sessions.")).to_be_visible()
    page.get_by_role("button", name="Clear filters").first.click()
    expect(page.locator("[data-session]")).to_have_count(7)


def test_a_phone_leaves_filters_that_hide_everything_and_searches_conversations(place):
    filled(place, *"ABCDEF", "Zebra", flavor="codex")
    page = place.visit(**PHONE)
    page.get_by_role("button", name="Filter sessions").click()
    page.get_by_label("State").select_option("ended")
    page.get_by_role("button", name="Filter sessions (1 set)").click()
    expect(page.get_by_text("No matching sessions.")).to_be_visible()
    expect(page.get_by_role("link", name="Search all conversations")).to_be_visible()
    page.get_by_role("searchbox").fill("zebra")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("[data-session]")).to_have_count(1)
    expect(page.get_by_role("button", name="Filter sessions", exact=True)).to_be_visible()
    page.get_by_role("link", name="Search all conversations for “zebra”").click()
    expect(page).to_have_url(re.compile("/search[?]q=zebra$"))


def test_the_menu_of_a_project_is_for_as_many_sessions_as_its_head_counts(place):
    filled(place, "One")
    (asking,) = filled(place, "Asking")
    asking.ask("r", "make", {"command": "make"}, kind="execute")
    page = place.visit()
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
    head = page.get_by_role("button", name="2 of 2 sessions running")
    head.click(button="right")
    expect(page.get_by_role("menuitem", name="Archive 2 running sessions…")).to_be_visible()
    page.get_by_role("menuitem", name="Select all").click()
    expect(page.get_by_text("2 sessions selected")).to_be_visible()


def test_the_menu_of_a_project_deletes_no_pinned_session(place):
    kept, other = filled(place, "Kept", "Other", opencodeSessionId="oc")
    for session in (kept, other):
        session.end()
    page = place.visit()
    head = page.get_by_role("button", name="2 sessions")
    head.click()  # to see those that have ended
    row(page, kept).click(button="right")
    page.get_by_role("menuitem", name="Pin in its project").click()
    expect(row(page, kept).get_by_role("img", name="pinned")).to_be_visible()
    head.click(button="right")
    page.get_by_role("menuitem", name="Delete 1 ended session…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, other)).to_have_count(0)
    expect(row(page, kept)).to_be_visible()


def test_a_project_starts_a_session_in_its_directory(place):
    machine = place.machine()
    filled(place, "One", machineId=machine.machine_id)
    page = place.visit()
    page.get_by_role("button", name="New session in shop").click()
    field = page.get_by_role("dialog").get_by_label("Directory", exact=True)
    expect(field).to_have_value("~/shop")
