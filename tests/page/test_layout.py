"""The page: on a phone and on a desktop, with the keyboard, for screen readers."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SMALL = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
LONG = "an_identifier_that_does_not_end_" * 8
TOO_WIDE = """() => [document.documentElement,
    ...document.querySelectorAll('.side, .main, .dialog, .log, .dialog-body')]
  .filter(node => node.scrollWidth > node.clientWidth + 1)
  .map(node => node.className || node.tagName)"""
UNNAMED = """() => [...document.querySelectorAll('button, a, input, select, textarea')]
  .filter(node => node.checkVisibility())
  .filter(node => !node.ariaLabel && !node.textContent.trim() && !node.labels?.length)
  .map(node => node.outerHTML)"""
SMALL_TARGETS = """() => [
    ...document.querySelectorAll('button:not(.link), a.row, select, textarea')]
  .filter(node => node.checkVisibility() && node.getBoundingClientRect().height < 30)
  .map(node => node.outerHTML)"""


def full_of_everything(place):
    machine = place.machine(host=f"host-{LONG}")
    session = place.session(
        name=f"Title {LONG}", path=f"/home/dev/{LONG}", machineId=machine.machine_id
    )
    session.record(
        type="message",
        message=f"{LONG}\n\n```\n{LONG}\n```\n\n"
        f"| {LONG} | b |\n|---|---|\n| `{LONG}` | {LONG} |\n\n- {LONG}\n\n# {LONG}",
    )
    session.record(type="reasoning", id="r", message=LONG)
    session.record(
        type="plan", entries=[{"content": LONG, "priority": "high", "status": "in_progress"}]
    )
    session.record(
        type="tool-call", callId="c", name=LONG, input={"command": LONG}, status="pending"
    )
    session.record(type="error", message=LONG)
    session.ask("c", LONG, {"command": LONG})
    return session


def fits(page: Page) -> None:
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(SMALL_TARGETS) == []


OVERLAPS = """() => {
  const shown = [...document.querySelectorAll(
    '.main-head > button, .head-main .tag, .head-main .usage-meter, .subline, .path-line')]
    .filter(node => node.checkVisibility()).map(node => [node, node.getBoundingClientRect()]);
  return shown.flatMap(([one, a], index) => shown.slice(index + 1)
    .filter(([, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
      Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
    .map(([other]) => `${one.className} / ${other.className}`));
}"""


def test_the_head_of_a_session_holds_mode_waiting_sessions_and_usage_on_a_phone(place):
    session = place.session(
        path="/home/dev/projects/customers/acme/webshop-of-2026",
        usage={"inputTokens": 100_000, "outputTokens": 20_000},
        offer={
            "modes": [{"id": "yolo", "name": "Allow everything", "unrestricted": True}],
            "mode": "yolo",
        },
    )
    for _ in range(2):
        place.session().ask("r1", "Run", {"command": "ls"})
    page = place.open(session, **PHONE)
    expect(page.locator(".waiting-tag")).to_have_text("2 waiting")
    expect(page.locator(".usage-meter")).to_be_visible()
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate("document.querySelector('.main-head').scrollWidth") <= 390
    assert page.locator(".main-head").bounding_box()["height"] < 90  # two lines
    name = page.locator(".path-line bdi", has_text="webshop-of-2026")
    expect(name).to_be_in_viewport(ratio=1)
    assert name.evaluate("({ parentNode: line }) => line.scrollWidth <= line.clientWidth")


@pytest.mark.parametrize("width", [320, 360, 390])
def test_the_head_of_a_session_overlaps_nothing_at_any_width_and_size_of_text(place, width):
    session = place.session(
        path="/home/dev/a-directory-with-a-long-name",
        usage={"inputTokens": 100_000, "outputTokens": 20_000},
        offer={
            "modes": [{"id": "yolo", "name": "Allow everything", "unrestricted": True}],
            "mode": "yolo",
        },
    )
    page = place.open(session, **{**PHONE, "viewport": {"width": width, "height": 780}})
    expect(page.locator(".usage-meter")).to_be_visible()
    for is_waiting in (False, True):
        if is_waiting:
            place.session().ask("r1", "Run", {"command": "ls"})
            expect(page.locator(".waiting-tag")).to_be_visible()
        for size in ("15px", "22.5px"):  # the standard size and the largest one
            page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", size)
            assert page.evaluate(OVERLAPS) == [], size
            assert page.evaluate("document.querySelector('.main-head').scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 390])
def test_the_largest_text_keeps_the_list_and_the_parts_of_a_session_on_the_screen(place, width):
    session = place.session(name="Shop")
    phone = {**PHONE, "viewport": {"width": width, "height": 844}}
    page = place.visit("/", **phone)
    size = "document.documentElement.style.fontSize = '22.5px'"
    page.evaluate(size)
    new = page.locator(".side-head").get_by_role("button", name="New session").bounding_box()
    assert new["x"] + new["width"] <= width
    assert page.evaluate(TOO_WIDE) == []
    page.locator(f"[data-session='{session.id}']").click()
    field = page.get_by_role("textbox", name="Message")
    expect(field).to_be_visible()
    assert field.evaluate("node => getComputedStyle(node).fontSize") == "22.5px"
    page.goto(f"{place.url}/sessions/{session.id}/changes")
    expect(page.locator(".work-tab")).to_have_count(5)
    page.evaluate(size)
    assert all(part["fits"] for part in page.evaluate(PARTS))


PARTS = """() => [...document.querySelectorAll('.work-tab')].map(tab => {
  const {left, right, top} = tab.getBoundingClientRect();
  return {top, fits: left >= 0 && right <= innerWidth};
})"""


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_parts_of_a_session_stand_in_one_row_on_small_phones(place, language):
    session = place.session()
    page = place.visit(f"/sessions/{session.id}/changes", **PHONE, locale=language)
    for width in (390, 360):
        page.set_viewport_size({"width": width, "height": 780})
        expect(page.locator(".work-tab")).to_have_count(5)
        parts = page.evaluate(PARTS)
        assert len({part["top"] for part in parts}) == 1
        assert all(part["fits"] for part in parts)


def test_the_buttons_of_a_selection_have_words_and_fit_a_small_phone(place):
    session = place.session()
    page = place.visit(**{**SMALL, "viewport": {"width": 320, "height": 640}})
    page.locator(f"[data-session='{session.id}']").click(button="right")
    page.get_by_role("menuitem", name="Select").click()
    bar = page.locator(".selection")
    for word in ("Pin", "Archive", "Delete"):
        expect(bar.get_by_text(word, exact=True)).to_be_visible()
    assert bar.evaluate("(bar) => bar.scrollWidth - bar.clientWidth") <= 0
    for button in bar.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 36, box


def test_everything_fits_a_small_phone(place):
    session = full_of_everything(place)
    page = place.visit(**SMALL)
    expect(page.locator(".row").first).to_be_visible()
    fits(page)
    page.locator(f"[data-session='{session.id}']").click()
    expect(page.locator(".tool.asks")).to_be_visible()
    page.get_by_role("textbox", name="Message").fill(LONG * 4)
    fits(page)
    page.get_by_role("button", name="Session settings").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    fits(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Back to sessions").click()
    page.get_by_role("button", name="New session").click()
    page.get_by_role("button", name="Browse").click()
    expect(page.get_by_role("button", name="shop")).to_be_visible()
    fits(page)


def test_a_desktop_shows_list_and_conversation_side_by_side(place):
    session = full_of_everything(place)
    page = place.open(session)
    expect(page.get_by_role("complementary")).to_be_visible()
    expect(page.get_by_role("main")).to_be_visible()
    expect(page.get_by_role("button", name="Back to sessions")).to_be_hidden()
    fits(page)


def test_a_phone_shows_one_pane_at_a_time_and_goes_back(place):
    session = place.session(name="Shop")
    page = place.visit(**PHONE)
    page.get_by_role("link", name="Shop").click()
    expect(page.get_by_role("main")).to_be_visible()
    expect(page.get_by_role("complementary")).to_be_hidden()
    page.get_by_role("button", name="Back to sessions").click()
    expect(page.get_by_role("complementary")).to_be_visible()
    expect(page.get_by_role("main")).to_be_hidden()
    page.go_back()
    expect(page.get_by_role("main")).to_be_visible()
    assert page.url.endswith(session.id)


def test_enter_begins_a_line_on_a_phone_and_the_button_sends(place):
    session = place.session()
    page = place.open(session, **PHONE)
    page.emulate_media()
    box = page.get_by_role("textbox", name="Message")
    box.fill("hello")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".user.sent")).to_contain_text("hello")


def test_the_whole_way_is_walked_with_the_keyboard(place):
    session = place.session(name="Shop")
    session.ask("c", "Run", {"command": "ls"})
    page = place.visit()
    page.get_by_role("link", name="Shop").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    page.keyboard.type("hi")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent")).to_contain_text("hi")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()


def test_screen_readers_hear_what_waits_for_the_person(place):
    session = place.session()
    page = place.open(session)
    session.ask("c", "Run the tests", {"command": "ls"})
    expect(page.locator("#announcer")).to_have_text("OpenCode asks for permission: Run the tests")
    session.answered("c")
    session.think(True)
    expect(page.locator("#announcer")).to_have_text("OpenCode is working")
    session.think(False)
    expect(page.locator("#announcer")).to_have_text("OpenCode is ready")


GROUNDS = {
    "surface": ("text", "muted", "accent", "good", "bad"),
    "page": ("text", "muted"),
    "sunken": ("text", "muted"),
    "accent-soft": ("text", "muted", "accent"),
    "accent-fill": ("on-accent",),
    "warn-soft": ("warn",),
    "bad-soft": ("bad",),
}
PAIRS = [(f"--{text}", f"--{ground}") for ground, texts in GROUNDS.items() for text in texts]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(place, scheme):
    page = place.visit(logged_in=False, color_scheme=scheme)
    contrasts = """() => {
      const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
      const probe = document.body.appendChild(document.createElement('div'));
      const luminance = name => {
        probe.style.color = `var(${name})`;
        canvas.fillStyle = getComputedStyle(probe).color;
        canvas.fillRect(0, 0, 1, 1);
        const linear = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        const pixel = [...canvas.getImageData(0, 0, 1, 1).data];
        const [r, g, b] = pixel.map(value => linear(value / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      return PAIRS.map(([one, other]) => {
        const [a, b] = [luminance(one), luminance(other)];
        return [one, other, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
      });
    }"""
    weak = [
        pair
        for pair in page.evaluate(contrasts.replace("PAIRS", json.dumps(PAIRS)))
        if pair[2] < 4.5
    ]  # WCAG 2.2, 1.4.3
    assert weak == []


def test_the_appearance_can_be_chosen_and_is_kept(place):
    page = place.visit(color_scheme="light")
    ground = "getComputedStyle(document.documentElement).colorScheme"
    page.get_by_role("button", name="Settings", exact=True).click()
    page.get_by_label("Theme").select_option("dark")
    assert page.evaluate(ground) == "dark"
    page.reload()
    assert page.evaluate(ground) == "dark"


def test_a_rotated_phone_shows_the_whole_head_of_the_list(place):
    place.machine()
    page = place.visit(viewport={"width": 844, "height": 390})
    button = page.locator(".side-head").get_by_role("button", name="New session")
    box, side = button.bounding_box(), page.get_by_role("complementary").bounding_box()
    assert box["x"] + box["width"] <= side["x"] + side["width"] - 4


def test_back_closes_a_sheet_and_does_not_leave_the_view_below_it(place):
    session = place.session(name="Shop")
    session.record(type="message", message="hello")
    page = place.visit(**PHONE)
    page.locator(f"[data-session='{session.id}']").click()
    page.get_by_role("button", name="Session settings").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).to_have_url(f"{place.url}/sessions/{session.id}")
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(f"{place.url}/")


def test_notices_of_one_session_take_each_others_place_and_leave_the_screen_free(place):
    sessions = [place.session(name=name) for name in ("One", "Two", "Three")]
    page = place.open(place.session(name="Reading"), **PHONE)
    notices = page.locator(".toast-text")
    for number in range(3):
        sessions[0].ask(f"r{number}", "Run", {"command": f"make {number}"}, kind="execute")
        expect(notices).to_contain_text([f"make {number}"])
        expect(notices).to_have_count(1)
    for session in sessions[1:]:
        session.ask("r", "Run", {"command": "ls"}, kind="execute")
        expect(notices.last).to_contain_text(str(session.metadata["name"]))
    expect(notices).to_have_count(2)
    page.goto(place.url + "/")  # the list, in which a session is opened
    sessions[0].ask("again", "Run", {"command": "make again"}, kind="execute")
    expect(notices).to_contain_text(["make again"])
    page.locator(f"[data-session='{sessions[0].id}']").focus()
    page.keyboard.press("Enter")  # the notice may lie above the row
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    assert page.locator(".toast", has_text="make again").count() == 0


SHOW_NOTICE = """async (text) => (await import(
  document.querySelector('link[href$="lib/bundle.js"]').href)).toast(text)"""
COVERED = """() => {
  const boxOf = (node) => node.getBoundingClientRect();
  const notices = [...document.querySelectorAll(".toast")].map(boxOf);
  return [...document.querySelectorAll(
      ".main-head, .dialog-head, .dialog-body, .tool, .composer, .side .row, .waiting-link")]
    .filter((node) => node.checkVisibility() && (node.closest("dialog") !== null) ===
      (document.querySelector("dialog") !== null))
    .filter((node) => notices.some((notice) =>
      Math.min(notice.right, boxOf(node).right) - Math.max(notice.left, boxOf(node).left) > 1 &&
      Math.min(notice.bottom, boxOf(node).bottom) - Math.max(notice.top, boxOf(node).top) > 1))
    .map((node) => node.className);
}"""


@pytest.mark.parametrize(
    ("size", "count"), [(PHONE, 0), (PHONE, 30), ({}, 0)], ids=["phone", "phone-long", "desktop"]
)
def test_notices_cover_nothing_and_move_no_question_of_an_agent(place, size, count):
    session = place.session(name="Shop")
    for number in range(count):
        session.record(type="message", message=f"Answer {number}", id=f"a{number}")
    session.ask("r", "Run", {"command": "ls"}, kind="execute")
    page = place.open(session, **size)
    deny = page.get_by_role("button", name="Deny", exact=True)
    expect(deny).to_be_in_viewport()
    before = deny.bounding_box()
    page.evaluate(SHOW_NOTICE, "Session renamed")
    expect(page.locator(".toast")).to_be_in_viewport(ratio=1)
    assert page.evaluate(COVERED) == []
    assert deny.bounding_box() == before
    page.get_by_role("button", name="Session settings").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate(SHOW_NOTICE, "Reference copied")
    expect(page.locator(".toast").last).to_be_in_viewport(ratio=1)
    assert page.evaluate(COVERED) == []
    page.keyboard.press("Escape")
    expect(page.locator(".toast").last).to_be_in_viewport(ratio=1)


def test_a_notice_stays_while_a_person_goes_to_another_view(place):
    session = place.session(name="Shop")
    page = place.visit(**PHONE)
    page.evaluate(SHOW_NOTICE, "Session renamed")
    page.locator(f"[data-session='{session.id}']").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_enabled()
    expect(page.locator(".toast")).to_be_in_viewport(ratio=1)
