"""The page in another language: chosen in the settings, spoken in every view, also offline."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.peers import OURS
from tests.support.work_repository import WorkRepository

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PATIENCE = 60.0  # seconds for the worker to be installed
GIT_TIMEOUT = 120_000.0  # ms; several git processes answer, on a machine that may be busy

TEXTS = """() => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement: parent, data } = walker.currentNode;
    if (parent.checkVisibility() && !parent.closest("noscript, script, .path-line"))
      texts.push(data.trim());
  }
  for (const node of document.querySelectorAll("[aria-label], [title], [placeholder], [alt]"))
    for (const name of ["aria-label", "title", "placeholder", "alt"])
      if (node.checkVisibility() && node.getAttribute(name)) texts.push(node.getAttribute(name));
  return texts.filter((text) => /[A-Za-z]{2}/.test(text));
}"""
TOO_WIDE = """() => [...document.querySelectorAll("body *")]
  .filter((node) => node.checkVisibility({ visibilityProperty: true }))
  .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
  .filter((node) => {  // what scrolls by itself, or is cut, may hold more than its width
    for (let up = node.parentElement; up && up !== document.body; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== "visible") return false;
    return true;
  })
  .map((node) => node.outerHTML.slice(0, 200))"""

IS_KEPT = """async () => {
  if (!navigator.serviceWorker.controller) return false;
  for (const name of await caches.keys())
    for (const request of await (await caches.open(name)).keys())
      if (request.url.endsWith("/languages/zh.json")) return true;
  return false;
}"""

NAMES = re.compile(
    r"HAPI( for Twisted)?|Hub|English|Shop|--(?:host|public-url|tunnel)\b"
    r"|OpenCode|Demo|devbox|Bash|Telegram|Markdown|QR|CPU|API|URL"
    r"|PID|ID|Git|git|Enter|Ctrl|Shift|Alt|Esc|Tab|[Tt]oken|MIT|Twisted|JSON|CSV|src|poem|notes"
    r"|main|md|txt|localhost|Chromium|Chrome|Linux|http|MiB|KiB|GiB|kB|MB|GB"
)
CODE = re.compile(r"[~./][\w~./-]*/[\w./-]+|https?://\S+|\d+(\.\d+)+\S*")


def choose(page: Page, language: str) -> None:
    with page.expect_navigation():
        page.locator("#language").select_option(language)
    expect(page.locator(".settings-part").first).to_be_visible()


def is_chinese_and_fits(page: Page, own: tuple[str, ...] = ()) -> None:
    """`own` are names, commands and texts of agents, which no language of the page changes."""
    left = []
    for text in page.evaluate(TEXTS):
        rest = text
        for each in own:
            rest = rest.replace(each, "")
        rest = NAMES.sub("", CODE.sub("", rest))
        if re.search(r"[A-Za-z]{2}", rest):
            left.append(text)
    assert left == []
    assert page.evaluate(TOO_WIDE) == []


def test_the_page_speaks_chinese_on_a_phone_and_english_again(place: Any, tmp_path: Any) -> None:
    session = place.session(name="Shop")
    session.record(type="message", message="The prices are right.\n\n- [x] one\n- [ ] two")
    session.record(
        type="tool-call", callId="c", name="Bash", input={"command": "make test"}, status="pending"
    )
    session.ask("c", "Bash", {"command": "make test"})
    own = ("The prices are right.", "make test", "one", "two", "shop", "OC", "hapi runner start")
    page = place.visit("/settings", **PHONE)
    expect(page.get_by_role("heading", name="Appearance")).to_be_visible()
    choose(page, "简体中文")
    expect(page.get_by_role("heading", name="外观")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.screenshot(path=str(tmp_path / "settings.png"), full_page=True)
    is_chinese_and_fits(page, own)
    page.goto(place.url)
    expect(page.locator(f"[data-session='{session.id}']")).to_be_visible()
    page.screenshot(path=str(tmp_path / "list.png"))
    is_chinese_and_fits(page, own)
    page.locator(f"[data-session='{session.id}']").click()
    expect(page.get_by_role("button", name="允许", exact=True)).to_be_visible()
    expect(page.get_by_role("checkbox", name="已完成")).to_be_visible()
    expect(page.get_by_role("checkbox", name="未完成")).to_be_visible()
    page.screenshot(path=str(tmp_path / "conversation.png"))
    is_chinese_and_fits(page, own)
    page.goto(f"{place.url}/settings")
    choose(page, "English")
    expect(page.get_by_role("heading", name="Appearance")).to_be_visible()
    assert page.evaluate("document.documentElement.lang").startswith("en")


def test_changes_and_the_settings_of_a_session_are_chinese_on_a_phone(
    place: Any, tmp_path: Any
) -> None:
    repository = WorkRepository.make(place.cast.directory("project"))
    repository.write("src/poem.txt", "one\ntwo\n")
    repository.commit("Begin")
    repository.write("src/poem.txt", "one\nzwei\n")
    repository.write("notes.md", "# Notes\n")
    runner = place.cast.runner(OURS, place.user)
    session = place.user.started(runner.machine_id, repository.root, "demo")
    page = place.visit(f"/sessions/{session}/changes", **PHONE, locale="zh-CN")
    body = page.locator(".work-body")
    expect(body).to_contain_text("poem.txt", timeout=GIT_TIMEOUT)
    page.screenshot(path=str(tmp_path / "changes.png"))
    is_chinese_and_fits(
        page, (str(repository.root), "project", "Begin", "one", "two", "zwei", "Notes")
    )


def test_a_page_that_opens_without_the_hub_speaks_the_chosen_language(place: Any) -> None:
    page = place.visit("/settings", **PHONE, service_workers="allow")
    choose(page, "简体中文")
    deadline = time.monotonic() + PATIENCE
    while not page.evaluate(IS_KEPT):
        assert time.monotonic() < deadline, "the worker does not keep the texts"
        page.wait_for_timeout(50)
    place.running.program.end()
    cdp = page.context.new_cdp_session(page)
    cdp.send("Network.clearBrowserCache")  # what is shown comes from the worker
    page.goto(place.url + "/")
    expect(page.locator(".shell")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    place.running, place.user = place.cast.hub(OURS, int(place.url.rpartition(":")[2]))
