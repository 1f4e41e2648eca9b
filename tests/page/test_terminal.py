"""The page: shells of the session's machine."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.peers import OURS

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
INTERRUPTED = re.compile(r"\^C.*[#$]")  # and the next prompt
ANSWER_TIMEOUT = 120_000.0  # ms; on a machine that may be busy


@pytest.fixture
def session(place: Any) -> str:
    directory = place.cast.directory("project")
    runner = place.cast.runner(OURS, place.user)
    started: str = place.user.started(runner.machine_id, directory, "demo")
    return started


def rows(page: Any) -> Any:
    return page.locator(".terminal-pane:not([hidden]) .xterm-rows")


def test_a_shell_is_typed_into_on_a_phone_survives_a_reload_and_says_how_it_ended(
    place, session, tmp_path
):
    page = place.visit(f"/sessions/{session}/terminal", **PHONE)
    expect(rows(page)).to_contain_text("project", timeout=ANSWER_TIMEOUT)
    page.keyboard.type("echo $((6*7))-$(stty size | tr ' ' x)\n")
    expect(rows(page)).to_contain_text("42-", timeout=ANSWER_TIMEOUT)
    expect(rows(page)).not_to_contain_text("24x80")
    page.keyboard.type("printf '\\e[38;2;255;100;0morange\\e[0m'; cat\n")
    orange = rows(page).locator("span", has_text="orange").last
    expect(orange).to_have_css("color", "rgb(255, 100, 0)", timeout=ANSWER_TIMEOUT)
    page.screenshot(path=tmp_path / "phone.png")
    page.get_by_role("button", name="Ctrl", exact=True).click()
    page.keyboard.type("c")
    # What is typed before the shell has its terminal back is thrown away with the interrupted line.
    expect(rows(page)).to_contain_text(INTERRUPTED, timeout=ANSWER_TIMEOUT)
    page.keyboard.type("echo af''ter\n")
    expect(rows(page)).to_contain_text("after", timeout=ANSWER_TIMEOUT)
    page.reload()
    expect(rows(page)).to_contain_text("42-", timeout=ANSWER_TIMEOUT)
    page.keyboard.type("exit 3\n")
    expect(page.get_by_text("The shell has ended with code 3.")).to_be_visible(
        timeout=ANSWER_TIMEOUT
    )
    page.get_by_role("button", name="New terminal").click()
    expect(page.get_by_role("tab")).to_have_count(2)
    expect(rows(page)).to_contain_text("project", timeout=ANSWER_TIMEOUT)
    page.get_by_role("button", name="End this terminal").click()
    expect(page.get_by_role("tab")).to_have_count(1)


def test_another_page_takes_a_terminal_over(place, session):
    first = place.visit(f"/sessions/{session}/terminal")
    expect(rows(first)).to_contain_text("project", timeout=ANSWER_TIMEOUT)
    first.keyboard.type("echo $((6*7))\n")
    expect(rows(first)).to_contain_text("42", timeout=ANSWER_TIMEOUT)
    second = place.visit(f"/sessions/{session}/terminal", **PHONE)
    second.get_by_role("button", name="Show it here").click(timeout=ANSWER_TIMEOUT)
    expect(rows(second)).to_contain_text("42", timeout=ANSWER_TIMEOUT)
    expect(first.get_by_text("This terminal is open on another page.")).to_be_visible()


def test_a_program_writes_neither_to_the_clipboard_nor_to_the_title(place, session):
    page = place.visit(f"/sessions/{session}/terminal")
    expect(rows(page)).to_contain_text("project", timeout=ANSWER_TIMEOUT)
    title = page.title()
    page.keyboard.type(
        "printf '\\e]0;stolen\\a\\e]2;stolen\\a\\e]52;c;c3RvbGVu\\a\\e[21t\\e[8;1;1t'; "
        "echo do''ne\n"
    )
    expect(rows(page)).to_contain_text("done", timeout=ANSWER_TIMEOUT)
    assert page.title() == title
    page.keyboard.type("echo [$((6*7))]\n")
    expect(rows(page)).to_contain_text("[42]", timeout=ANSWER_TIMEOUT)
    # A program asks what terminal this is, and reads the answer; after a reload nobody is asked.
    page.keyboard.type("printf '\\e[c'; read -r -s -d c; echo ${#REPLY}-$((6*8))\n")
    expect(rows(page)).to_contain_text("6-48", timeout=ANSWER_TIMEOUT)
    page.reload()
    expect(rows(page)).to_contain_text("6-48", timeout=ANSWER_TIMEOUT)
    page.keyboard.type("echo [$((6*9))]\n")
    expect(rows(page)).to_contain_text("[54]", timeout=ANSWER_TIMEOUT)
    assert "2c" not in rows(page).inner_text().rpartition("6-48")[2]


def test_the_page_says_why_there_is_no_terminal(place):
    off = place.session(capabilities={})
    page = place.visit(f"/sessions/{off.id}/terminal", **PHONE)
    expect(page.get_by_text("Terminals are turned off on this session's machine.")).to_be_visible(
        timeout=ANSWER_TIMEOUT
    )
