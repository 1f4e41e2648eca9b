"""The page: formulas of an answer become MathML, and the library comes with the first one."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.peer("chromium")

PHONE = {"width": 390, "height": 844}
TEXT = (
    "Euler wrote $e^{i\\pi} + 1 = 0$, which costs $5.\n\n$$\n\\frac{a_1}{b^2}\n$$\n\n"
    "Not TeX: $\\nosuchcommand{$."
)


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, PHONE])
def test_formulas_are_drawn_and_what_is_none_stays_as_it_was_written(place, viewport):
    session = place.session()
    page = place.open(session, viewport=viewport)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    session.record(type="message", message="No formula, but $5.")
    expect(page.get_by_text("No formula")).to_be_visible()
    assert not [url for url in fetched if "temml" in url]
    session.record(type="message", message=TEXT)
    expect(page.locator(".math math")).to_have_count(2)
    expect(page.locator(".math.display mfrac")).to_have_count(1)
    expect(page.get_by_text("$\\nosuchcommand{$.")).to_be_visible()
    assert [url for url in fetched if "temml.mjs" in url]


def test_a_formula_makes_no_link_and_loads_nothing(place):
    session = place.session()
    page = place.open(session)
    hostile = "$\\href{javascript:alert(1)}{x}$ $\\includegraphics{https://a.example/x.png}$"
    session.record(type="message", message=f"{hostile} and $y^2$")
    expect(page.locator(".math msup")).to_have_count(1)
    assert page.locator(".block.text a, .block.text img").count() == 0
