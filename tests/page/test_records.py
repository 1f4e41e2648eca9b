"""The page: search over all conversations, and the usage of tokens."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.paths import ROOT

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
both_sizes = pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])


def make_screenshots() -> Any:
    """The script that makes the pictures of the documentation; it starts `hapi up`."""
    spec = importlib.util.spec_from_file_location("tour", ROOT / "docs/make_screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@both_sizes
def test_what_was_said_is_found_in_all_conversations(place, size):
    for name in ("One", "Two"):
        session = place.session(name=name)
        session.record(type="message", message=f"The fibonacci numbers of {name}: 数据库")
    page = place.visit("/search", **size)
    field = page.get_by_role("searchbox", name="Search all conversations")
    field.fill("fibo")
    results = page.locator("a.result")
    expect(results).to_have_count(2)
    expect(results.first.locator("mark")).to_have_text("fibonacci")
    expect(page.locator(".found-session a")).to_have_text(["Two", "One"])
    expect(page).to_have_url(re.compile(r"/search\?q=fibo$"))
    field.fill("数据")
    expect(results.first.locator("mark")).to_have_text("数据")
    field.fill("nowhere")
    expect(page.get_by_text("Nothing found. Try other words")).to_be_visible()
    assert place.complaints == []


def test_a_search_has_an_address_of_its_own(place):
    session = place.session(name="One")
    session.record(type="message", message="a needle")
    page = place.visit("/search?q=needle")
    expect(page.locator("a.result")).to_have_count(1)
    expect(page).to_have_title("Search: needle · HAPI")
    page.locator("a.result").click()
    expect(page).to_have_url(re.compile(rf"/sessions/{session.id}\?message="))
    page.go_back()
    expect(page.locator("a.result")).to_have_count(1)


@both_sizes
def test_a_session_is_found_by_its_title_and_its_directory(place, size):
    fix = place.session(name="Fix the invoices", path="/home/dev/blog")
    place.session(name="Other", path="/home/dev/invoices")
    place.session(name="Third", path="/home/dev/blog")
    page = place.visit("/search?q=invo", **size)
    found = page.get_by_role("region", name="Sessions").locator("a.result")
    expect(found).to_have_count(2)
    titled = found.filter(has_text="Title")
    expect(titled.locator("mark")).to_have_text("invo")
    expect(titled).to_contain_text("Fix the invoices")
    expect(found.filter(has_text="Directory")).to_contain_text("Other")
    expect(page.get_by_text("No message was found.")).to_be_visible()
    fix.record(type="message", message="an invoice")
    titled.click()
    expect(page).to_have_url(f"{place.url}/sessions/{fix.id}")


def test_results_are_reached_by_the_keyboard(place):
    place.session(name="One").record(type="message", message="a needle")
    page = place.visit("/search?q=needle")
    expect(page.locator("a.result")).to_have_count(1)
    page.get_by_role("searchbox", name="Search all conversations").press("ArrowDown")
    expect(page.locator("a.result")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("searchbox", name="Search all conversations")).to_be_focused()


@both_sizes
def test_usage_is_shown_by_day_agent_and_model(place, size):
    session = place.session(name="One", flavor="opencode")
    for tokens in (1_000, 2_000):
        total = {"inputTokens": tokens, "outputTokens": 500}
        session.record(type="token_count", model="big-model", info={"total": total})
    page = place.visit("/usage", **size)
    expect(page.locator(".figure", has_text="requests")).to_contain_text("2")
    expect(page.get_by_role("row", name=re.compile("OpenCode"))).to_contain_text("4K")
    expect(page.get_by_role("row", name=re.compile("big-model"))).to_contain_text("4K")
    expect(page.get_by_text("The hub’s database takes")).to_be_visible()
    page.get_by_role("button", name="30 days").click()
    expect(page.get_by_role("button", name="30 days")).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile(r"/usage\?range=30d$"))
    assert place.complaints == []


def shared_address(place, session, page, *options):
    """The address of a new share link, made in the settings of the session."""
    page.get_by_role("button", name="Session settings").click()
    page.get_by_role("button", name="Share…").click()
    for option in options:
        page.get_by_label(option).check()
    page.get_by_role("button", name="Make a link").click()
    sheet = page.get_by_role("dialog").last
    expect(sheet).to_contain_text("start HAPI with --tunnel, --public-url or --host 0.0.0.0")
    expect(sheet).to_contain_text(re.compile(r"Created today at .+\. Expires on .+\."))
    return page.get_by_label("Whoever has this link can read the conversation").input_value()


@both_sizes
def test_a_shared_conversation_is_read_without_a_token(place, size, tmp_path):
    session = place.session(name="My talk", path="/home/me/private")
    session.record(type="message", message="Here is **the answer** to `it`")
    call = {"command": "cat secret-file"}
    session.record(type="tool-call", callId="c", name="Bash", input=call, status="completed")
    session.record(type="message", message="```mermaid\nflowchart LR\n  Drawn --> Here\n```")
    page = place.open(session, **size)
    address = shared_address(place, session, page)
    reader = place.browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **size})
    place.contexts.append(reader)
    asked: list[tuple[str, str | None]] = []
    shown = reader.new_page()
    shown.on(
        "request",
        lambda request: asked.append((request.url, request.headers.get("authorization"))),
    )
    complaints = []
    shown.on("console", lambda message: complaints.append(message.text))
    reply = shown.goto(address)
    assert reply.headers["x-robots-tag"] == "noindex, nofollow"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    expect(shown.get_by_role("heading", name="My talk")).to_be_visible()
    expect(shown.locator(".blocks strong")).to_have_text("the answer")
    expect(shown.get_by_text("secret-file")).to_have_count(0)
    assert "/home/me/private" not in shown.content()
    drawing = shown.get_by_role("img", name="Diagram: flowchart")
    expect(drawing).to_be_visible(timeout=30_000)  # ms; Mermaid is large
    assert drawing.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert {token for _, token in asked} == {None}
    assert [url for url, _ in asked if "/api/" in url] == [
        address.replace("/share/", "/api/share/")
    ]
    assert shown.evaluate("Object.keys(localStorage).length") == 0
    assert complaints == []
    page.get_by_role("button", name="Revoke the link of").click()
    page.get_by_role("dialog").last.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_role("button", name="Revoke the link of")).to_have_count(0)
    shown.reload()
    expect(shown.get_by_role("alert")).to_contain_text("expired or was revoked")


def test_a_conversation_is_saved_as_a_file(place):
    session = place.session(name="My talk: one/two")
    session.record(type="message", message="Here is the answer")
    page = place.open(session)
    page.get_by_role("button", name="Session settings").click()
    for label, name in (("Markdown", "My talk one two.md"), ("JSON", "My talk one two.json")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Export {label}").click()
        assert download.value.suggested_filename == name
        assert "Here is the answer" in download.value.path().read_text()


@pytest.mark.program
def test_a_fork_of_a_conversation_remembers_it(browser, tmp_path):
    tour = make_screenshots()
    with tour.hapi_up(tmp_path / "walk") as address:
        page = tour.open_page(browser, address, **tour.DESKTOP)
        page.get_by_role("main").get_by_role("button", name="New session").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Directory", exact=True).fill("~/work")
        dialog.get_by_role("button", name="Start session").click()
        box = page.get_by_role("textbox", name="Message")
        expect(box).to_be_enabled()
        box.fill("the colour is magenta")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Allow", exact=True).click()
        expect(page.locator(".block.turn")).to_be_visible(timeout=90_000)
        expect(page.locator(".working")).to_be_hidden()
        first = page.url
        page.get_by_role("button", name="Session settings").click()
        page.get_by_role("button", name="Fork").click()
        expect(page).not_to_have_url(first, timeout=90_000)
        expect(page.get_by_text("the colour is magenta").first).to_be_visible()
        expect(box).to_be_enabled()
        box.fill("what did I say?")
        page.keyboard.press("Enter")
        expect(page.locator('[data-kind="text"]').last).to_contain_text("magenta")


@both_sizes
def test_a_result_leads_to_its_place_in_a_long_conversation(place, size):
    session = place.session(name="Long")
    call = {"command": "grep -rn needle src"}
    session.record(type="tool-call", callId="c", name="Bash", input=call, status="in_progress")
    session.record(type="tool-call-result", callId="c", output="nothing")
    session.record(type="message", message="an early haystack")
    for number in range(450):
        session.record(type="message", message=f"text {number}")
    page = place.visit("/search?q=needle", **size)
    page.locator("a.result").click()
    expect(page.locator(".is-shown")).to_contain_text("needle")
    expect(page.locator(".is-shown")).to_be_in_viewport()
    page.go_back()
    page.get_by_role("searchbox", name="Search all conversations").fill("haystack")
    expect(page.locator("a.result mark")).to_have_text("haystack")
    page.locator("a.result").click()
    expect(page.locator(".is-shown")).to_contain_text("haystack")
    expect(page.locator(".is-shown")).to_be_in_viewport()
    page.goto(f"{place.url}/sessions/{session.id}?message=gone")
    expect(page.get_by_text("This message is not in the conversation any more.")).to_be_visible()
