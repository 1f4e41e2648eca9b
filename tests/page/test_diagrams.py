"""The page: Mermaid diagrams are drawn in a sandboxed frame and shown as pictures."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.peer("chromium")

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
FLOW = "flowchart LR\n  accTitle: How an order is paid\n  A[Cart] --> B{Paid?} --> C[Ship]"
SEQUENCE = "sequenceDiagram\n  Browser->>Hub: prompt\n  Hub-->>Browser: answer"
LOAD_TIMEOUT = 30_000  # ms; Mermaid is 3.5 MB of script


def fence(source: str) -> str:
    return f"```mermaid\n{source}\n```"


def show(session: object, source: str) -> None:
    session.record(type="message", message=f"Here it is:\n\n{fence(source)}\n\nThat is all.")


def pictures(page: Page):
    return page.locator(".drawing img")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_diagram_is_drawn_and_its_source_is_a_tap_away(place, viewport, tmp_path):
    session = place.session()
    page = place.open(session, viewport=viewport)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    session.record(type="message", message="```python\nprint(1)\n```\n\nNothing to draw.")
    expect(page.get_by_text("Nothing to draw")).to_be_visible()
    assert not [url for url in fetched if "mermaid" in url or "diagram" in url]
    show(session, FLOW)
    show(session, SEQUENCE)
    expect(pictures(page)).to_have_count(2, timeout=LOAD_TIMEOUT)
    drawing = page.get_by_role("img", name="How an order is paid")
    expect(drawing).to_be_visible()
    assert drawing.evaluate("image => image.decode().then(() => image.naturalWidth)") > 200
    assert drawing.get_attribute("src").startswith("blob:")
    assert drawing.evaluate("image => image.clientWidth") <= viewport["width"]
    expect(page.get_by_role("img", name="Diagram: sequenceDiagram")).to_be_visible()
    code = page.locator(".code", has_text="Paid?")
    expect(code.locator("pre")).to_be_hidden()
    code.get_by_role("button", name="Source").click()
    expect(code.locator("pre")).to_contain_text("B{Paid?}")
    expect(drawing).to_be_hidden()
    code.get_by_role("button", name="Source").click()
    expect(drawing).to_be_visible()
    assert len([url for url in fetched if "mermaid.min.js" in url]) == 1
    page.screenshot(path=tmp_path / "diagram.png")


def test_a_drawing_follows_the_colours_of_the_page(place, tmp_path):
    session = place.session()
    page = place.open(session, color_scheme="dark")
    show(session, FLOW)
    expect(pictures(page)).to_have_count(1, timeout=LOAD_TIMEOUT)
    dark = pictures(page).get_attribute("src")
    page.screenshot(path=tmp_path / "dark.png")
    page.emulate_media(color_scheme="light")
    page.wait_for_function("dark => document.querySelector('.drawing img')?.src !== dark", arg=dark)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("dark => document.querySelector('.drawing img')?.src === dark", arg=dark)


def test_a_diagram_with_a_mistake_shows_its_source_and_one_sentence(place):
    session = place.session()
    page = place.open(session)
    show(session, "flowchart LR\n  A --> --> [")
    note = page.locator(".diagram-problem")
    expect(note).to_contain_text("Mermaid does not understand its line 2.", timeout=LOAD_TIMEOUT)
    expect(page.locator(".code pre")).to_contain_text("A --> --> [")
    assert pictures(page).count() == 0
    show(session, FLOW)
    expect(pictures(page)).to_have_count(1)


def test_a_diagram_of_too_many_characters_stays_text(place):
    session = place.session()
    page = place.open(session)
    show(session, "flowchart LR\n" + "  A --> B\n" * 2500)
    expect(page.locator(".diagram-problem")).to_contain_text("more than 20,000 characters")
    assert page.locator(".diagram-frame").count() == 0


def test_a_diagram_of_many_arrows_is_drawn_and_one_of_too_many_is_not(place):
    session = place.session()
    page = place.open(session)
    show(session, FLOW)
    expect(pictures(page)).to_have_count(1, timeout=LOAD_TIMEOUT)
    arrows = [f"  n{i % 40} --> n{i * 7 % 41}" for i in range(290)]
    show(session, "flowchart TD\n" + "\n".join(arrows))
    shown = page.locator(".code", has_text="n39").locator(".drawing img, .diagram-problem")
    expect(shown).to_have_count(1, timeout=LOAD_TIMEOUT)
    show(session, "flowchart TD\n" + "\n".join(f"  a{i} --> b{i}" for i in range(400)))
    expect(page.locator(".code", has_text="b399").locator(".diagram-problem")).to_have_count(
        1, timeout=LOAD_TIMEOUT
    )


HOSTILE_HTML = "<iframe src=https://a.example></iframe><b onclick=alert(1)>x</b>"
HOSTILE_STYLE = "@import url(https://a.example/x.css); * { fill: url(https://a.example/y) }"
LOOSE = '%%{init: {"securityLevel": "loose", "htmlLabels": true}}%%'
HOSTILE = [
    'flowchart LR\n  A[Cart] --> B\n  click A href "javascript:parent.postMessage(1)"',
    'flowchart LR\n  A[Cart] --> B\n  click A call alert("harm")',
    'flowchart LR\n  A["<img src=x onerror=alert(1)><script>alert(2)</script>"] --> B',
    f'{LOOSE}\nflowchart LR\n  A["{HOSTILE_HTML}"] --> B',
    f'%%{{init: {{"themeCSS": "{HOSTILE_STYLE}"}}}}%%\nflowchart LR\n  A --> B',
    'flowchart LR\n  A@{ img: "https://a.example/x.png", label: "x" } --> B',
]


def test_hostile_diagrams_run_nothing_and_fetch_nothing(place):
    session = place.session()
    page = place.open(session)
    asked: list[str] = []
    refused: list[str] = []  # by the frame's policy, before anything is sent
    dialogs: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on(
        "requestfailed",
        lambda request: refused.append(request.url) if request.failure == "csp" else None,
    )
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.evaluate(
        "() => { const { createObjectURL } = URL; window.made = [];"
        " URL.createObjectURL = (blob) => (made.push(blob), createObjectURL(blob)); }"
    )
    for number, source in enumerate(HOSTILE, 1):  # one that is far from the screen is not drawn
        show(session, source)
        code = page.locator(".code").nth(number - 1)
        shown = code.locator(".drawing img, .diagram-problem")
        expect(shown).to_have_count(1, timeout=LOAD_TIMEOUT)
    for drawing in page.locator(".drawing img").all():
        drawing.evaluate("image => image.decode()")
        drawing.click()
    texts = page.evaluate("Promise.all(made.map((blob) => blob.text()))")
    assert len(texts) >= 4
    for text in texts:
        for harm in ("<script", "javascript:", " onerror=", " onclick=", "a.example", "<iframe"):
            assert harm not in text, text
    assert not [url for url in asked if "a.example" in url and url not in refused]
    assert not dialogs
    place.complaints.clear()  # the frame's policy names what it forbade


def test_the_frame_of_the_drawings_reaches_neither_the_page_nor_the_network(place):
    session = place.session()
    page = place.open(session)
    show(session, FLOW)
    expect(pictures(page)).to_have_count(1, timeout=LOAD_TIMEOUT)
    frame = next(frame for frame in page.frames if frame.url.endswith("/diagram.html"))
    assert frame.evaluate("self.origin") == "null"
    assert (
        frame.evaluate("fetch('/api/sessions').then(() => 'reached', () => 'refused')") == "refused"
    )
    assert (
        frame.evaluate(
            "(() => { try { return parent.document.title } catch { return 'refused' } })()"
        )
        == "refused"
    )
    assert (
        frame.evaluate(
            "(() => { try { return localStorage.length } catch { return 'refused' } })()"
        )
        == "refused"
    )
    place.complaints.clear()


def test_a_diagram_that_never_ends_is_given_up_and_the_next_one_is_drawn(place):
    session = place.session()
    page = place.open(session)
    show(session, FLOW)
    expect(pictures(page)).to_have_count(1, timeout=LOAD_TIMEOUT)
    frame = next(frame for frame in page.frames if frame.url.endswith("/diagram.html"))
    frame.evaluate("() => void (mermaid.render = () => { for (;;); })")
    began = time.monotonic()
    show(session, SEQUENCE)
    expect(page.locator(".diagram-problem")).to_contain_text("takes too long")
    assert time.monotonic() - began < 20
    show(session, "flowchart LR\n  X --> Y")
    expect(pictures(page)).to_have_count(2, timeout=LOAD_TIMEOUT)


def test_a_diagram_is_drawn_from_its_source_and_not_from_what_marks_invisible_characters(place):
    session = place.session()
    page = place.open(session)
    show(session, "flowchart LR\n  accTitle: Two boxes\n  A[Cart]\ufeff --> B[Ship]")
    expect(page.get_by_role("img", name="Two boxes")).to_be_visible(timeout=LOAD_TIMEOUT)
    page.get_by_role("button", name="Source").click()
    expect(page.locator(".code pre")).to_contain_text("A[Cart]<U+FEFF> --> B[Ship]")
