"""The page: its settings, pairing another device, and what a phone needs of forms."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from hapi import __version__

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_theme_and_font_size_apply_at_once_and_are_kept(place):
    page = place.visit("/settings", color_scheme="light")
    page.get_by_label("Font size").select_option("Large")
    size = "getComputedStyle(document.documentElement).fontSize"
    assert page.evaluate(size) == "17.25px"
    page.reload()
    expect(page.get_by_label("Font size")).to_have_value("115")
    assert page.evaluate(size) == "17.25px"


def test_the_version_of_the_hub_is_shown(place):
    page = place.visit("/settings")
    expect(page.locator("dt:text-is('Hub') + dd")).to_have_text(__version__)


def test_another_device_is_paired_by_a_code_with_a_token_of_its_own_that_can_be_revoked(place):
    page = place.visit("/settings", **PHONE, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Show QR code").click()
    dialog = page.get_by_role("dialog", name="Pair a device")
    expect(dialog.get_by_role("img", name="QR code that opens this page")).to_be_visible()
    expect(dialog.get_by_text(UNREACHABLE)).to_be_visible()
    dialog.get_by_role("button", name="Copy link").click()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{place.url}/#token=")
    other = place.visit("/" + link.removeprefix(f"{place.url}/"), logged_in=False)
    expect(other.locator(".shell")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_role("button", name="Revoke Device paired").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No device has a token of its own.")).to_be_visible()


UNREACHABLE = "start HAPI with --tunnel, --public-url or --host 0.0.0.0"
OFFER = """() => dispatchEvent(Object.assign(new Event("beforeinstallprompt"), {
  prompt: async () => { window.asked = true; },
  userChoice: Promise.resolve({ outcome: "accepted" }),
}))"""
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"


def test_the_start_screen_offers_to_install_the_page_and_to_open_it_on_another_device(place):
    page = place.visit(**PHONE)
    hints = page.get_by_role("region", name="Hints")
    expect(hints).to_contain_text(UNREACHABLE)  # the hub of the test listens on 127.0.0.1
    expect(hints.get_by_role("button", name="Install")).to_have_count(0)
    page.evaluate(OFFER)
    hints.get_by_role("button", name="Install").click()
    page.wait_for_function("window.asked === true")
    expect(hints.get_by_role("button", name="Install")).to_have_count(0)
    hints.get_by_role("button", name="Show QR code").click()
    dialog = page.get_by_role("dialog", name="Pair a device")
    expect(dialog.get_by_role("img", name="QR code that opens this page")).to_be_visible()
    page.keyboard.press("Escape")
    hints.get_by_role("button", name="Dismiss the hints").click()
    expect(hints).to_have_count(0)
    page.reload()
    page.wait_for_timeout(3000)  # more than it takes the hints to appear
    expect(hints).to_have_count(0)


def test_an_iphone_is_told_how_to_install_the_page(place):
    page = place.visit(**PHONE, user_agent=IPHONE)
    hints = page.get_by_role("region", name="Hints")
    expect(hints).to_contain_text("choose Add to Home Screen")


def test_a_phone_shows_no_keyboard_when_a_dialog_opens_and_keeps_its_button_in_sight(place):
    place.machine()
    page = place.visit(**PHONE)
    page.get_by_role("button", name="New session").first.click()
    dialog = page.get_by_role("dialog")
    directory = dialog.get_by_label("Directory", exact=True)
    expect(directory).to_be_visible()
    expect(directory).not_to_be_focused()
    assert (
        page.evaluate(
            "(node) => parseFloat(getComputedStyle(node).fontSize)", directory.element_handle()
        )
        >= 16
    )
    dialog.get_by_text("More options").click()
    expect(dialog.get_by_role("button", name="Start session")).to_be_in_viewport(ratio=1)
    foot, whole = dialog.locator(".spawn-foot").bounding_box(), dialog.bounding_box()
    below = whole["y"] + whole["height"] - foot["y"] - foot["height"]
    assert -1 <= below <= 1, below  # no line of the form is seen below the button
    assert foot["width"] >= whole["width"] - 2


def test_a_session_that_does_not_exist_is_named_so_and_takes_no_messages(place):
    page = place.visit("/sessions/unknown")
    expect(page.get_by_role("heading", name="Session not found")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).to_be_hidden()
