"""The page: code in colours, with its lines wrapped and numbered, copied, and never in the way."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.programs import until

pytestmark = pytest.mark.peer("chromium")

PYTHON = 'def greet(name):\n    """Say hello."""\n    return f"hello {name}"  # loud'
LONG = f"x = '{'y' * 200}'\nprint(x)"
PHONE = {"width": 390, "height": 844}


def fence(code: str, language: str = "python") -> str:
    return f"Look:\n\n```{language}\n{code}\n```\n\nThat is all."


def test_code_is_coloured_and_keeps_its_text(place):
    session = place.session()
    session.record(type="message", message=fence(PYTHON))
    page = place.open(session)
    code = page.locator(".code code")
    expect(code.locator(".hl-keyword").first).to_have_text("def")
    expect(code.locator(".hl-comment")).to_have_text("# loud")
    assert code.evaluate("code => code.textContent") == PYTHON
    plain, coloured = (
        code.locator(kind).first.evaluate("node => getComputedStyle(node).color")
        for kind in (".line", ".hl-keyword")
    )
    assert plain != coloured


def test_lines_are_wrapped_and_numbered_when_a_person_wants_that_and_stay_so(place):
    session = place.session()
    session.record(type="message", message=fence(LONG))
    page = place.open(session, viewport=PHONE)
    pre = page.locator(".code pre")
    is_wide = "pre => pre.scrollWidth > pre.clientWidth"
    assert pre.evaluate(is_wide)
    page.get_by_role("button", name="Wrap long lines").click()
    assert not pre.evaluate(is_wide)
    page.get_by_role("button", name="Show line numbers").click()
    numbers = "line => getComputedStyle(line, '::before').content"
    expect(page.locator(".code .line")).to_have_count(2)
    until(lambda: "counter" in page.locator(".code .line").last.evaluate(numbers))
    assert page.locator(".code code").evaluate("code => code.textContent") == LONG
    page.reload()
    for name in ("Wrap long lines", "Show line numbers"):
        expect(page.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
    assert not pre.evaluate(is_wide)


def test_code_is_copied_as_it_was_written(place):
    session = place.session()
    session.record(type="message", message=fence(PYTHON))
    page = place.open(session, permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator(".hl-keyword").first).to_be_visible()
    page.get_by_role("button", name="Copy code").click()
    expect(page.locator(".code .copy path")).to_have_attribute(
        "d", "M5 12.500l4.500 4.500L19 7.500"
    )
    assert page.evaluate("navigator.clipboard.readText()") == PYTHON


def test_a_diff_has_its_added_and_removed_lines_in_colours(place):
    session = place.session()
    session.record(type="message", message=fence("-old\n+new\n same", "diff"))
    page = place.open(session)
    for kind, sign, text in (("minus", "-", "old"), ("plus", "+", "new")):
        row = page.locator(f".diff-row.{kind}")
        expect(row.locator(".diff-sign")).to_have_text(sign)
        expect(row.locator(".diff-text")).to_contain_text(text)
        colour = "node => getComputedStyle(node).backgroundColor"
        assert row.evaluate(colour) != page.locator(".diff-row.same").evaluate(colour)


def test_code_that_takes_too_long_stays_plain_and_the_next_one_is_coloured(place):
    session = place.session()
    page = place.visit()
    endless = """
      const RealWorker = Worker;
      let isFirst = true;
      globalThis.Worker = class {
        constructor(address, options) {
          if (!isFirst) return new RealWorker(address, options);
          isFirst = false;
        }
        addEventListener(kind, listener) {
          if (kind === "message") this.listener = listener;
        }
        postMessage({ id }) {
          setTimeout(() => this.listener({ data: { id, started: true } }));
        }
        terminate() {}
      };
    """
    page.add_init_script(endless)
    page.goto(f"{place.url}/sessions/{session.id}")
    expect(page.get_by_role("textbox", name="Message")).to_be_enabled()
    session.record(type="message", message=fence(PYTHON))
    expect(page.locator(".code code")).to_have_text(PYTHON)
    session.record(type="message", message=fence("let a = 1;", "js"))
    expect(page.locator(".code .hl-keyword")).to_have_text("let")
    expect(page.locator(".code").first.locator(".line")).to_have_count(0)


def test_a_text_that_is_still_being_written_gets_its_colours_with_its_record(place):
    session = place.session()
    session.record(type="reasoning", id="r", message=fence("let a = 1;", "js"), live=True)
    page = place.open(session)
    page.locator(".thought summary").click()
    expect(page.locator(".thought code")).to_have_text("let a = 1;")
    session.record(type="reasoning", id="r", message=fence("let ab = 1;", "js"), live=False)
    expect(page.locator(".thought .hl-keyword")).to_have_text("let")
    expect(page.locator(".thought code")).to_have_text("let ab = 1;")
