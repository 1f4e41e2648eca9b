"""The page as Mini App in Chromium, and the bot of a running hub at a scripted Bot API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect

from tests.support.notify_telegram import BOT_TOKEN, BotServer, init_data
from tests.support.peers import OURS
from tests.support.programs import CANARY

pytestmark = pytest.mark.peer("chromium")
PHONE = {"width": 390, "height": 844}
THEME = {"bg_color": "#17212b", "secondary_bg_color": "#232e3c", "text_color": "#f5f5f5"}
# What Telegram's client on a phone puts into its web view.
CLIENT = """
window.events = [];
window.TelegramWebviewProxy = { postEvent: (type, data) => events.push([type, JSON.parse(data)]) };
"""


@pytest.fixture
def bot() -> Iterator[BotServer]:
    made = BotServer()
    yield made
    made.close()


def with_bot(place: Any, bot: BotServer) -> None:
    place.running.program.end()
    place.running, place.user = place.cast.hub(
        OURS, TELEGRAM_BOT_TOKEN=BOT_TOKEN, HAPI_TELEGRAM_API=bot.url
    )


def open_in_telegram(place: Any, path: str = "/") -> Page:
    page = place.visit("/", logged_in=False, viewport=PHONE)
    page.goto("about:blank")
    page.add_init_script(CLIENT)
    data, theme = quote(init_data(time.time())), quote(json.dumps(THEME))
    page.goto(f"{place.url}{path}#tgWebAppData={data}&tgWebAppThemeParams={theme}")
    return page


def events(page: Page, name: str) -> list[Any]:
    found = page.evaluate("() => window.events")
    return [data for kind, data in found if kind == name]


def test_a_person_enters_their_token_once_and_then_is_known(place, bot):
    with_bot(place, bot)
    page = open_in_telegram(place)
    expect(page.get_by_text("does not know your Telegram account yet")).to_be_visible()
    page.get_by_label("Access token").fill(CANARY)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".shell")).to_be_visible()
    page.context.close()
    place.contexts.clear()
    again = open_in_telegram(place)
    expect(again.locator(".shell")).to_be_visible()
    assert (
        again.evaluate("() => JSON.stringify({...localStorage, ...sessionStorage})").count(CANARY)
        == 0
    )  # the access token itself stays nowhere


def test_the_page_has_telegram_s_colours_and_its_back_button(place, bot):
    with_bot(place, bot)
    session = place.session(name="Shop")
    data = {"initData": init_data(time.time()), "accessToken": CANARY}
    place.user.post("/api/bind", data)
    page = open_in_telegram(place, f"/sessions/{session.id}")
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    shown = page.evaluate(
        "() => getComputedStyle(document.documentElement).getPropertyValue('--surface')"
    )
    assert shown == "#17212b"
    assert events(page, "web_app_ready") == [{}]
    assert events(page, "web_app_setup_back_button") == [{"is_visible": True}]
    page.evaluate("() => window.Telegram.WebView.receiveEvent('back_button_pressed', null)")
    expect(page).to_have_url(f"{place.url}/")
    assert events(page, "web_app_setup_back_button")[-1] == {"is_visible": False}
    page.reload()
    expect(page.locator(".shell")).to_be_visible()


def test_only_a_hub_with_a_bot_may_be_shown_inside_telegram(place, bot):
    def policy() -> str:
        with urlopen(place.url) as reply:
            return str(reply.headers["Content-Security-Policy"])

    assert "frame-ancestors 'none'" in policy()
    with_bot(place, bot)
    assert "frame-ancestors https://web.telegram.org" in policy()


def test_a_request_is_answered_by_the_buttons_of_the_bot(place, bot):
    with_bot(place, bot)
    data = {"initData": init_data(time.time()), "accessToken": CANARY}
    place.user.post("/api/bind", data)
    session = place.session(name="Shop")
    session.serve("permission")
    session.answers["permission"] = {}
    session.ask("r1", "Bash", {"command": "rm -rf build"})
    message = bot.sent("sendMessage")
    assert "Session: Shop" in message["text"]
    assert "rm -rf" not in message["text"]
    allow, _deny = message["reply_markup"]["inline_keyboard"][0]
    bot.press(allow["callback_data"])
    assert bot.sent("answerCallbackQuery")["text"] == "Approved!"
    assert session.calls[0][1]["approved"] is True
    session.answered("r1")
    assert bot.sent("editMessageText")["text"].endswith("Answered.")


def test_a_reply_is_a_prompt(place, bot):
    with_bot(place, bot)
    data = {"initData": init_data(time.time()), "accessToken": CANARY}
    place.user.post("/api/bind", data)
    session = place.session(name="Shop")
    bot.say("/sessions")
    assert bot.sent("sendMessage")["text"].startswith("Shop\n")
    assert bot.sent("sendMessage")["chat_id"] == 42
    number = bot.message_id
    # The hub writes the next message of a chat once it knows the number of the one before. A person
    # who answers is slower than that.
    bot.say("/help")
    bot.sent("sendMessage", 1)
    bot.say("go on", reply_to_message={"message_id": number})
    session.until(lambda: bool(session.prompts), "the prompt")
    assert "go on" in json.dumps(session.prompts)
