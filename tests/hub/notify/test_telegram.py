"""The Telegram bot and the Mini App: who is known, what they are told, what they may do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, succeed

from hapi.hub.notify.assembly import NotifyParts
from hapi.hub.notify.bot_api import BotApiError
from hapi.hub.notify.vapid import VapidKey
from tests.support.access_tokens import create_token
from tests.support.hub_stage import TOKEN, Stage
from tests.support.notify_http import ScriptedReply
from tests.support.notify_telegram import BOT_TOKEN, init_data

REQUEST = {"tool": "Bash", "arguments": {"command": "rm -rf build"}, "createdAt": 1}
APP = "https://hub.example.com"


class Bot:
    """An HTTP client that answers as the Bot API does."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failures: list[tuple[int, float]] = []  # code and retry_after of the next calls
        self.polls: list[Deferred[Any]] = []
        self._number = 0

    def request(self, method: str, url: str, **given: Any) -> Deferred[Any]:
        prefix, _, name = url.rpartition("/")
        assert prefix == f"https://api.telegram.org/bot{BOT_TOKEN}"
        parameters = msgspec.json.decode(given["data"])
        if name == "getUpdates":
            poll: Deferred[Any] = Deferred()
            self.polls.append(poll)
            self.offset = parameters.get("offset")
            return poll
        self.calls.append((name, parameters))
        if self.failures:
            code, seconds = self.failures.pop(0)
            error = {"ok": False, "error_code": code, "description": "no"}
            return succeed(reply({**error, "parameters": {"retry_after": seconds}}))
        self._number += 1
        return succeed(reply({"ok": True, "result": {"message_id": self._number}}))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [given for method, given in self.calls if method == name]


def reply(body: Any) -> ScriptedReply:
    return ScriptedReply(200, content=json.dumps(body).encode())


class Chat(Stage):
    """A hub with a bot, and one session that is active."""

    def __init__(self, **more: Any) -> None:
        self.bot, self.number = Bot(), 0
        super().__init__(
            notify=NotifyParts(
                VapidKey(None, "mailto:me@example.com"),
                b"a" * 32,
                lambda: None,
                telegram_token=BOT_TOKEN,
                make_telegram_http=lambda: self.bot,
                app_url=APP,
            ),
            **more,
        )
        self.sid, self.peer = self.live(name="Shop")
        self.peer.serve(self.sid, "permission")
        self.version = 0
        assert self.hub.devices.telegram is not None
        self.hub.devices.telegram.start()

    def bind(self, token: str = TOKEN, user_id: int = 42) -> Any:
        data = init_data(self.now() / 1000, user_id)
        return self.rest("POST", "/api/bind", {"initData": data, "accessToken": token}, None)

    def log_in(self, data: str | None = None) -> Any:
        data = init_data(self.now() / 1000) if data is None else data
        return self.rest("POST", "/api/auth", {"initData": data}, None)

    def update(self, **content: Any) -> None:
        self.number += 1
        poll = self.bot.polls.pop(0)
        poll.callback(reply({"ok": True, "result": [{"update_id": self.number, **content}]}))

    def say(self, text: str, user_id: int = 42, chat: str = "private", **more: Any) -> None:
        message = {
            "message_id": 500 + self.number,
            "from": {"id": user_id},
            "chat": {"id": user_id, "type": chat},
            "text": text,
            **more,
        }
        self.update(message=message)

    def press(self, data: str, user_id: int = 42) -> None:
        self.update(callback_query={"id": "c1", "from": {"id": user_id}, "data": data})

    def show(self, **requests: Any) -> None:
        self.version += 1
        state = {"requests": requests}
        given = {"sid": self.sid, "expectedVersion": self.version, "agentState": state}
        assert self.peer.ask("update-state", given)["result"] == "success"
        self.tick(1)

    def buttons(self, number: int = -1) -> dict[str, str]:
        """What the buttons of a message carry, by their text."""
        rows = self.bot.of("sendMessage")[number]["reply_markup"]["inline_keyboard"]
        found = [button for row in rows for button in row]
        return {each["text"]: each.get("callback_data") or each["web_app"]["url"] for each in found}

    def prompts(self) -> list[str]:
        messages = self.get(f"/api/sessions/{self.sid}/messages")["messages"]
        return [message["content"]["content"]["text"] for message in messages]


@pytest.fixture
def chat() -> Iterator[Chat]:
    made = Chat()
    yield made
    assert made.hub.devices.telegram is not None
    made.hub.devices.telegram.stop()


# --- the Mini App ---------------------------------------------------------------------------------


def test_a_person_is_unknown_until_they_show_an_access_token_once(chat: Chat) -> None:
    assert (chat.log_in().status, chat.log_in().body["error"]) == (401, "not_bound")
    bound = chat.bind()
    assert (bound.status, bound.body["user"]) == (200, {"id": 1, "firstName": "Ada"})
    assert chat.bind().status == 200
    entered = chat.log_in()
    assert entered.status == 200
    page = {"Authorization": f"Bearer {entered.body['token']}"}
    assert chat.rest("GET", "/api/sessions", None, "default", **page).status == 200


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [(-86_000, None), (-86_500, "initData is too old"), (500, None), (700, "initData is too old")],
)
def test_data_of_telegram_is_good_for_a_day(chat: Chat, seconds: int, problem: str | None) -> None:
    chat.bind()
    answer = chat.log_in(init_data(chat.now() / 1000 + seconds))
    assert answer.body.get("error") == problem


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data.replace("Ada", "Eve"), "Invalid initData signature"),
        (lambda data: data + "&user=x", "Invalid initData signature"),
        (lambda data: data[: data.index("hash=")] + "hash=", "Missing hash"),
        (lambda data: "", "Missing hash"),
        (lambda data: "&".join(reversed(data.split("&"))), None),  # their order is free
    ],
)
def test_data_that_telegram_has_not_signed_is_refused(
    chat: Chat, change: Any, problem: str | None
) -> None:
    chat.bind()
    answer = chat.log_in(change(init_data(chat.now() / 1000)))
    assert answer.body.get("error") == problem


def test_data_for_another_bot_or_without_a_user_is_refused(chat: Chat) -> None:
    now = chat.now() / 1000
    other = chat.log_in(init_data(now, token="1:other"))
    assert (other.status, other.body["error"]) == (401, "Invalid initData signature")
    for user in ("", "{}", "null", '{"id": "42"}', '{"id": -1}', '{"id": 42, "is_bot": true}'):
        nobody = chat.log_in(init_data(now, user=user))
        assert (nobody.status, nobody.body["error"]) == (401, "Invalid user schema")


ODD_IDS = ["0", "-42", str(1 << 52), "9" * 400, "42.0", "4.2e1", "1e999", "true", '"42"', "[42]"]


@pytest.mark.parametrize("number", ODD_IDS)
def test_an_id_that_telegram_gives_to_nobody_is_refused(chat: Chat, number: str) -> None:
    now = chat.now() / 1000
    data = init_data(now, user=f'{{"id": {number}}}')
    answer = chat.log_in(data)
    assert (answer.status, answer.body["error"]) == (401, "Invalid user schema")
    given = {"initData": data, "accessToken": TOKEN}
    assert chat.rest("POST", "/api/bind", given, None).status == 401
    assert chat.get("/api/notifications/devices")["devices"] == []
    assert chat.bind(user_id=(1 << 52) - 1).status == 200


def test_a_wrong_access_token_binds_nobody(chat: Chat) -> None:
    assert chat.bind("wrong").status == 401
    assert chat.log_in().status == 401


def test_an_account_belongs_to_one_namespace_at_a_time(chat: Chat) -> None:
    chat.bind()
    answer = chat.bind(f"{TOKEN}:team")
    assert (answer.status, answer.body["code"]) == (409, "already_bound")
    (device,) = chat.get("/api/notifications/devices")["devices"]
    assert (device["kind"], device["label"]) == ("telegram", "@ada")
    assert chat.rest("DELETE", f"/api/notifications/devices/{device['id']}").status == 200
    assert chat.bind(f"{TOKEN}:team").status == 200


def test_a_binding_ends_with_its_access_token() -> None:
    chat = Chat()
    made = create_token(chat, "approve")
    assert chat.bind(made["token"]).status == 200
    assert chat.log_in().body["access"]["scopes"] == ["read", "approve"]
    chat.rest("DELETE", f"/api/tokens/{made['id']}")
    assert chat.log_in().body["error"] == "not_bound"
    assert chat.hub.devices.telegram is not None
    chat.hub.devices.telegram.stop()


def test_a_hub_without_a_bot_says_so() -> None:
    stage = Stage()
    data = init_data(stage.now() / 1000)
    for path, body in (("auth", {}), ("bind", {"accessToken": TOKEN})):
        answer = stage.rest("POST", f"/api/{path}", {"initData": data, **body}, None)
        assert answer.status == 503
        assert "TELEGRAM_BOT_TOKEN" in answer.body["error"]


# --- notifications --------------------------------------------------------------------------------


def test_a_request_comes_with_buttons_and_is_answered_by_them(chat: Chat) -> None:
    chat.bind()
    chat.show(r1=REQUEST)
    (message,) = chat.bot.of("sendMessage")
    assert message["chat_id"] == 42
    assert message["text"] == "OpenCode asks for permission\nSession: Shop\nTool: Bash"
    buttons = chat.buttons()
    assert list(buttons) == ["Allow", "Deny", "Open Session"]
    assert buttons["Open Session"] == f"{APP}/sessions/{chat.sid}"
    chat.press(buttons["Allow"])
    assert json.loads(chat.peer.calls[0][2]["params"]) == {"id": "r1", "approved": True}
    chat.peer.answer("{}")
    assert chat.bot.of("answerCallbackQuery") == [{"callback_query_id": "c1", "text": "Approved!"}]
    chat.show()
    (edited,) = chat.bot.of("editMessageText")
    assert edited["text"].endswith("Answered.")
    assert "Allow" not in json.dumps(edited)


def test_requests_whose_ids_begin_alike_are_told_apart(chat: Chat) -> None:
    chat.bind()
    chat.show(toolu_170001=REQUEST)
    first = chat.buttons()["Deny"]
    later = {**REQUEST, "createdAt": 2}
    chat.show(toolu_170001=REQUEST, toolu_170002=later)
    second = chat.buttons()["Deny"]
    assert first != second
    assert len(first) <= 64
    chat.press(second)
    assert json.loads(chat.peer.calls[0][2]["params"]) == {"id": "toolu_170002", "approved": False}


def test_a_button_is_worth_nothing_for_others_and_after_the_answer(chat: Chat) -> None:
    chat.bind()
    chat.bind(user_id=43)
    chat.show(r1=REQUEST)
    allow = chat.buttons(0)["Allow"]
    for data, user in ((allow, 43), (allow, 99), ("a:", 42), ("x" * 64, 42)):
        chat.press(data, user)
    chat.show()
    chat.press(allow)
    texts = [given["text"] for given in chat.bot.of("answerCallbackQuery")]
    assert texts == ["Request not found or already processed"] * 5
    assert chat.peer.calls == []


def test_a_button_still_works_when_the_hub_has_forgotten_all_messages(chat: Chat) -> None:
    chat.bind()
    chat.show(r1=REQUEST)
    allow = chat.buttons()["Allow"]
    bot = chat.hub.devices.telegram
    assert bot is not None
    bot._asking.clear()
    bot._about.clear()
    chat.press(allow)
    assert len(chat.peer.calls) == 1


def test_a_person_chooses_how_much_telegram_is_told(chat: Chat) -> None:
    chat.bind()
    (device,) = chat.get("/api/notifications/devices")["devices"]
    path = f"/api/notifications/devices/{device['id']}"
    for detail, shown in (("minimal", False), ("title", False), ("command", True)):
        chat.rest("PATCH", path, {"detail": detail})
        chat.show()
        chat.show(r1=REQUEST)
        assert ("rm -rf" in chat.bot.of("sendMessage")[-1]["text"]) is shown


def test_telegram_is_asked_again_when_it_is_busy(chat: Chat) -> None:
    chat.bind()
    chat.bot.failures = [(429, 7)]
    chat.show(r1=REQUEST)
    chat.tick(4)
    assert len(chat.bot.of("sendMessage")) == 1
    chat.tick(4)
    assert len(chat.bot.of("sendMessage")) == 2


# --- what people write ----------------------------------------------------------------------------


def test_anybody_is_greeted_and_told_nothing_else(chat: Chat) -> None:
    for text in ("/start", "/sessions", "/help", "hello"):
        chat.say(text, 7)
    texts = {message["text"] for message in chat.bot.of("sendMessage")}
    assert len(texts) == 1
    assert "Shop" not in texts.pop()
    assert chat.buttons() == {"Open App": f"{APP}/"}


def test_the_sessions_are_listed_those_that_wait_first(chat: Chat) -> None:
    chat.bind()
    chat.live(tag="other", name="Attic")
    chat.show(r1={**REQUEST, "tool": "AskUserQuestion"})
    chat.bot.calls.clear()
    chat.say("/sessions@hapi_bot")
    texts = [message["text"] for message in chat.bot.of("sendMessage")]
    assert texts == ["Shop\nOpenCode waits for you.", "Attic\nOpenCode is ready."]


@pytest.mark.parametrize("forgets", [False, True])
def test_a_reply_is_a_prompt_to_the_session_of_the_message(chat: Chat, forgets: bool) -> None:
    chat.bind()
    chat.say("/sessions")
    sent = chat.bot.of("sendMessage")[-1]
    answered = {"message_id": 1, "reply_markup": sent["reply_markup"]}
    bot = chat.hub.devices.telegram
    assert bot is not None
    (answered["message_id"],) = (number for _, number in bot._about)
    if forgets:  # after the hub has started again, the buttons tell
        bot._about.clear()
    chat.say("go on, please", reply_to_message=answered)
    assert chat.prompts() == ["go on, please"]


def test_what_is_no_reply_and_what_comes_from_groups_goes_nowhere(chat: Chat) -> None:
    chat.bind()
    chat.say("delete everything")
    chat.say("/sessions", chat="group")
    chat.update(message={"chat": {"type": "private"}})
    chat.update(message={"chat": None, "text": 5})
    chat.update(callback_query={"data": None})
    assert chat.prompts() == []
    assert len(chat.bot.of("sendMessage")) == 1


def test_a_token_that_may_only_read_writes_and_answers_nothing() -> None:
    chat = Chat()
    chat.bind(create_token(chat, "read")["token"])
    chat.show(r1=REQUEST)
    assert list(chat.buttons()) == ["Open Session"]
    markup = chat.bot.of("sendMessage")[-1]["reply_markup"]
    chat.say("hi", reply_to_message={"message_id": 1, "reply_markup": markup})
    assert chat.prompts() == []
    assert "does not allow" in chat.bot.of("sendMessage")[-1]["text"]
    assert chat.hub.devices.telegram is not None
    chat.hub.devices.telegram.stop()


# --- polling --------------------------------------------------------------------------------------


def test_the_bot_asks_for_what_comes_after_the_last_update(chat: Chat) -> None:
    assert [name for name, _ in chat.bot.calls] == ["getMe", "deleteWebhook", "setMyCommands"]
    chat.say("/start")
    assert chat.bot.offset == 2


def test_half_a_surrogate_pair_in_an_update_keeps_no_later_update_away(chat: Chat) -> None:
    texts = [r"/start \ud83d\ude00 \uD83D!", r"\\ud83d \uDE00\ud83d"]
    updates = [
        f'{{"update_id":{number},"message":{{"message_id":{number},"from":{{"id":42}},'
        f'"chat":{{"id":42,"type":"private"}},"text":"{text}"}}}}'
        for number, text in enumerate(texts, 1)
    ]
    content = f'{{"ok":true,"result":[{",".join(updates)}]}}'.encode()
    chat.bot.polls.pop(0).callback(ScriptedReply(200, content=content))
    assert chat.bot.offset == 3
    assert len(chat.bot.of("sendMessage")) == 2


@pytest.mark.parametrize("number", [each for each in ODD_IDS if each != "1e999"])
def test_odd_ids_in_updates_are_nobodys_and_keep_no_update_away(chat: Chat, number: str) -> None:
    chat.bind()
    button = {"web_app": {"url": f"{APP}/sessions/{chat.sid}"}}
    answered = {"message_id": 1, "reply_markup": {"inline_keyboard": [[button]]}}

    def update(text: str, number: str, message: str, sender: str, place: str) -> str:
        return (
            f'{{"update_id":{number},"message":{{"message_id":{message},"from":{{"id":{sender}}},'
            f'"chat":{{"id":{place},"type":"private"}},"text":"{text}",'
            f'"reply_to_message":{json.dumps(answered)}}}}}'
        )

    updates = [
        update("odd", number, "8", "42", "42"),
        update("odd", "9", number, "42", "42"),
        update("odd", "9", "8", number, "42"),
        update("odd", "9", "8", "42", number),
        update("good", "9", "8", "42", "42"),
    ]
    content = f'{{"ok":true,"result":[{",".join(updates)}]}}'.encode()
    chat.bot.polls.pop(0).callback(ScriptedReply(200, content=content))
    assert chat.prompts() == ["good"]
    assert chat.bot.offset == 10


def test_the_hub_asks_again_within_minutes_whatever_wait_it_is_told(chat: Chat) -> None:
    told = {"ok": False, "error_code": 429, "parameters": {"retry_after": 1e9}}
    chat.bot.polls.pop(0).callback(reply(told))
    chat.tick(601)
    assert chat.bot.polls


def test_an_outage_is_waited_for_longer_and_longer(chat: Chat) -> None:
    polls = 0
    for _ in range(12):
        if chat.bot.polls:
            polls += 1
            chat.bot.polls.pop(0).errback(OSError("no route"))
        chat.tick(5)
    assert 4 <= polls <= 8
    while not chat.bot.polls:
        chat.tick(1)
    chat.say("/start")
    assert len(chat.bot.of("sendMessage")) == 1


def test_an_error_never_holds_the_token_of_the_bot(chat: Chat) -> None:
    api = chat.hub.devices.telegram._api  # type: ignore[union-attr]
    chat.bot.request = lambda *given, **more: (_ for _ in ()).throw(  # type: ignore[method-assign]
        ValueError(f"https://api.telegram.org/bot{BOT_TOKEN}/getMe")
    )
    failing = Deferred.fromCoroutine(api.call("getMe", {}))
    failure = failing.result if hasattr(failing, "result") else None
    failing.addErrback(lambda _: None)
    assert failure is not None
    assert isinstance(failure.value, BotApiError)
    assert BOT_TOKEN not in str(failure.value)
