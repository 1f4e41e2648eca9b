"""The Telegram bot: notifications with Allow and Deny, and prompts as replies.

A person is known by the binding that the Mini App has made (`POST /api/bind`). Only private chats
of bound people get and do anything beyond `/start`.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import DomainError
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.notifications import Notice, NoticeKind, session_label
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.notify.answers import request_digest
from hapi.hub.notify.bot_api import BotApi, BotApiError, read_id
from hapi.hub.notify.contents import escape_lines, has_plain_answer, request_text, text_of
from hapi.hub.notify.recipients import Recipient, Recipients
from hapi.hub.notify.request_answers import RequestAnswers
from hapi.hub.notify.vapid import base64url
from hapi.hub.store.rows import TELEGRAM
from hapi.net.common.errors import AckTimeout, PeerGone
from hapi.protocol.agents import agent_named
from hapi.protocol.rest.bodies import PostMessage
from hapi.protocol.token import Scope

POLL_SECONDS = 30  # Telegram holds getUpdates open for so long
POLL_TIMEOUT = 50.0  # seconds for that request
# Updates in one answer, of up to 100 kB each: a text of 4,096 characters as ASCII JSON, with
# the text to which it replies.
MAX_UPDATES = 40
MIN_DELAY, MAX_DELAY = 1.0, 60.0  # seconds between attempts while Telegram cannot be reached
REFUSED_DELAY = 600.0  # seconds, after it has refused the token
CONFLICT = 409  # another program reads the updates of this bot
MAX_ATTEMPTS = 4  # of one message
MAX_WAITING = 50  # messages to one person
MAX_KEPT = 2000  # messages whose session is remembered
MAX_TEXT = 4000  # characters; Telegram takes 4096
MAX_LISTED = 20  # sessions
ALLOW, DENY = "a:", "d:"  # begin the data of a button
KEY_LENGTH = 18  # bytes of the rest of it; Telegram takes 64 characters in all

WELCOME = "Welcome to HAPI. Open the app to see and steer your sessions."
BIND_FIRST = (
    "This Telegram account does not know your hub yet. Open the app and enter your access token "
    "there; do not send the token as a message."
)
WITHOUT_APP = (
    "The hub needs a public address with HTTPS (--public-url) before Telegram can open the app."
)
HELP = "/sessions lists your sessions. Reply to a message about a session to send it a prompt."
NO_SESSIONS = "No session is active."
NOT_ALLOWED = "Your access token does not allow that."
NO_SUCH_REQUEST = "Request not found or already processed"


@define(eq=False, repr=False)
class _Person:
    """What is known of one chat: the messages that wait, one after another."""

    lock: DeferredLock = field(factory=DeferredLock)
    waiting: int = 0


@define(eq=False, repr=False)
class TelegramBot:
    """`app_url`: the https address of the page for the Mini App, None if there is none. `secret`
    makes the data of buttons.
    """

    _clock: Any
    _api: BotApi
    _registry: HubRegistry
    _recipients: Recipients
    _answers: RequestAnswers
    _messages: Messages
    _now: Callable[[], int]
    _secret: bytes = field(repr=False)
    _app_url: str | None = None
    _notifies: bool = True
    _people: dict[int, _Person] = field(factory=dict)
    _about: dict[tuple[int, int], str] = field(factory=dict)  # (chat, message) -> session id
    # (session id, request id) -> the messages that ask: (chat, message, text)
    _asking: dict[tuple[str, str], list[tuple[int, int, str]]] = field(factory=dict)
    _polling: Deferred[Any] | None = None
    _offset: int = 0

    log = Logger()

    # --- polling ----------------------------------------------------------------------------------

    def start(self) -> None:
        if self._polling is not None:
            return
        self._polling = run_in_background(self._run(), self.log, "The Telegram bot has stopped")

    def stop(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None

    async def _run(self) -> None:
        delay, problem, is_ready = MIN_DELAY, "", False
        while True:
            try:
                if not is_ready:
                    await self._introduce()
                    is_ready = True
                await self._poll()
                if problem:
                    self.log.info("Telegram can be reached again")
                delay, problem = MIN_DELAY, ""
            except CancelledError:
                return
            except BotApiError as error:
                if str(error) != problem:
                    self.log.warn("The Telegram bot: {reason}", reason=str(error))
                problem = str(error)
                named = min(error.retry_after, REFUSED_DELAY)
                wait = max(named, delay * random.uniform(0.5, 1))
                if error.code in (401, 404):
                    wait = REFUSED_DELAY
                delay = min(delay * 2, MAX_DELAY)
                try:
                    await deferLater(self._clock, wait)
                except CancelledError:
                    return

    async def _introduce(self) -> None:
        me = await self._api.call("getMe", {})
        await self._api.call("deleteWebhook", {})
        commands = [
            {"command": "sessions", "description": "List your sessions"},
            {"command": "app", "description": "Open the app"},
            {"command": "help", "description": "What this bot does"},
        ]
        await self._api.call("setMyCommands", {"commands": commands})
        name = me.get("username", "") if isinstance(me, dict) else ""
        self.log.info("The Telegram bot @{name} is connected", name=name)

    async def _poll(self) -> None:
        parameters: dict[str, Any] = {
            "timeout": POLL_SECONDS,
            "limit": MAX_UPDATES,
            "allowed_updates": ["message", "callback_query"],
        }
        if self._offset:
            parameters["offset"] = self._offset
        updates = await self._api.call("getUpdates", parameters, POLL_TIMEOUT)
        for update in updates if isinstance(updates, list) else []:
            number = read_id(update.get("update_id")) if isinstance(update, dict) else None
            if number is None:
                continue
            self._offset = max(self._offset, number + 1)
            run_in_background(
                self._receive(update), self.log, "A message from Telegram could not be handled"
            )

    async def _receive(self, update: dict[str, Any]) -> None:
        try:
            if isinstance(callback := update.get("callback_query"), dict):
                await self._press(callback)
            elif isinstance(message := update.get("message"), dict):
                await self._read(message)
        except BotApiError as error:
            self.log.warn("Telegram refused an answer: {reason}", reason=str(error))

    # --- what people write ------------------------------------------------------------------------

    def _recipient(self, sender: Any) -> Recipient | None:
        number = read_id(sender.get("id")) if isinstance(sender, dict) else None
        return None if number is None else self._recipients.at(TELEGRAM, str(number))

    async def _read(self, message: dict[str, Any]) -> None:
        chat, text = message.get("chat"), message.get("text")
        if not isinstance(chat, dict) or chat.get("type") != "private":
            return
        chat_id = read_id(chat.get("id"))
        if chat_id is None or not isinstance(text, str):
            return
        recipient = self._recipient(message.get("from"))
        command = text.split()[0].partition("@")[0] if text.startswith("/") else ""
        if recipient is None or command in ("/start", "/app"):
            await self._greet(chat_id, recipient)
        elif command in ("/sessions", "/list"):
            await self._list(chat_id, recipient)
        elif command == "/help":
            await self._say(chat_id, HELP)
        else:
            await self._prompt(chat_id, recipient, message, text)

    async def _greet(self, chat_id: int, recipient: Recipient | None) -> None:
        text = f"{WELCOME}\n\n{HELP if recipient else BIND_FIRST}"
        if self._app_url is None:
            text += f"\n\n{WITHOUT_APP}"
        await self._say(chat_id, text, self._app_button("Open App", "/"))

    async def _list(self, chat_id: int, recipient: Recipient) -> None:
        if Scope.READ not in self._recipients.scopes(recipient):
            await self._say(chat_id, NOT_ALLOWED)
            return
        sessions = [
            session for session in self._registry.sessions_of(recipient.namespace) if session.active
        ]
        sessions.sort(key=lambda session: (not session.requests, -session.row.updated_at))
        if not sessions:
            await self._say(chat_id, NO_SESSIONS, self._app_button("Open App", "/"))
        for session in sessions[:MAX_LISTED]:
            state = (
                "waits for you"
                if session.requests
                else "is working"
                if session.thinking
                else "is ready"
            )
            label = agent_named(session.flavor).label
            text = f"{escape_lines(session_label(session))}\n{label} {state}."
            await self._say_about(chat_id, session, text)

    async def _prompt(
        self, chat_id: int, recipient: Recipient, message: dict[str, Any], text: str
    ) -> None:
        answered = message.get("reply_to_message")
        session = self._session_of(chat_id, answered, recipient)
        if session is None:
            await self._say(chat_id, HELP)
            return
        if Scope.CHAT not in self._recipients.scopes(recipient):
            await self._say(chat_id, NOT_ALLOWED)
            return
        number = read_id(message.get("message_id"))
        if number is None:
            return
        try:
            local_id = f"telegram-{chat_id}-{number}"  # an update that comes again sends it once
            await self._messages.post(session, PostMessage(text=text, local_id=local_id))
        except DomainError as error:
            await self._say(chat_id, str(error))
            return
        sent = {"chat_id": chat_id, "message_id": number}
        await self._call("setMessageReaction", {**sent, "reaction": [_EYES]})

    def _session_of(self, chat_id: int, message: Any, recipient: Recipient) -> HubSession | None:
        """The session that a message of the bot is about: known, or named by its buttons."""
        if not isinstance(message, dict):
            return None
        session_id = self._about.get((chat_id, read_id(message.get("message_id")) or 0), "")
        if not session_id and self._app_url is not None:
            prefix = f"{self._app_url}/sessions/"
            for url in _addresses(message.get("reply_markup")):
                session_id = url.removeprefix(prefix) if url.startswith(prefix) else session_id
        session = self._registry.sessions.get(session_id)
        return session if session and session.namespace == recipient.namespace else None

    # --- notices ----------------------------------------------------------------------------------

    def notify(self, notice: Notice) -> None:
        """Tell the bound people of the session's namespace."""
        if not self._notifies:
            return
        session, now = notice.session, self._now()
        is_visible = self._registry.events.is_watched(session.namespace)
        for recipient in self._recipients.of(session.namespace):
            if recipient.row.kind != TELEGRAM:
                continue
            may_read = Scope.READ in self._recipients.scopes(recipient)
            if may_read and recipient.settings.wants(notice.kind, session.id, now, is_visible):
                run_in_background(
                    self._tell(recipient, notice), self.log, "A Telegram message was not sent"
                )

    async def _tell(self, recipient: Recipient, notice: Notice) -> None:
        chat_id, session = int(recipient.row.address), notice.session
        text = self._text(notice, recipient)
        buttons: list[list[dict[str, Any]]] = []
        is_asking = notice.kind is NoticeKind.PERMISSION and notice.request_id is not None
        may_answer = Scope.APPROVE in self._recipients.scopes(recipient)
        if is_asking and may_answer and has_plain_answer(notice.request):
            key = self._key(recipient, session.id, str(notice.request_id), notice.request)
            buttons.append(
                [
                    {"text": "Allow", "callback_data": ALLOW + key},
                    {"text": "Deny", "callback_data": DENY + key},
                ]
            )
        message_id = await self._say_about(chat_id, session, text, buttons)
        if message_id is not None and notice.request_id is not None:
            request = session.id, notice.request_id
            self._asking.setdefault(request, []).append((chat_id, message_id, text))
            _shorten(self._asking)
            if notice.request_id not in session.requests:  # answered while this was on its way
                self.settled(session, frozenset({notice.request_id}))

    def _text(self, notice: Notice, recipient: Recipient) -> str:
        detail = recipient.settings.detail
        if notice.kind is not NoticeKind.PERMISSION or detail == "minimal":
            return "\n".join(text_of(notice, detail))
        session, request = notice.session, notice.request
        metadata = session.public_metadata
        lines = [
            f"{agent_named(session.flavor).label} asks for permission",
            f"Session: {session_label(session)}",
        ]
        if detail == "command" and isinstance(metadata.get("path"), str):
            lines.append(f"Path: {metadata['path']}")
        if isinstance(request.get("tool"), str):
            lines.append(f"Tool: {request['tool']}")
        if detail == "command" and (command := request_text(request)):
            lines.append(f"Command: {command}")
        return escape_lines("\n".join(lines))

    def settled(self, session: HubSession, request_ids: frozenset[str]) -> None:
        """Permission requests were answered or withdrawn: take the buttons from their messages."""
        for request_id in request_ids:
            for chat_id, message_id, text in self._asking.pop((session.id, request_id), []):
                edited = {
                    "chat_id": chat_id,
                    "message_id": message_id,
                    "text": f"{text}\n\nAnswered.",
                    "reply_markup": {"inline_keyboard": self._session_buttons(session)},
                }
                run_in_background(
                    self._call("editMessageText", edited),
                    self.log,
                    "A Telegram message was not changed",
                )

    # --- buttons ----------------------------------------------------------------------------------

    def _key(self, recipient: Recipient, session_id: str, request_id: str, request: Any) -> str:
        """What a button carries. It stands for one request of one session and one person, and
        needs no memory: what it means is found among the requests that wait.
        """
        parts = (recipient.row.address, session_id, request_id, request_digest(request))
        content = "\0".join(parts).encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(content, key=self._secret[:64], digest_size=KEY_LENGTH)
        return base64url(key.digest())

    async def _press(self, callback: dict[str, Any]) -> None:
        data, recipient = callback.get("data"), self._recipient(callback.get("from"))
        said = NO_SUCH_REQUEST
        if recipient is not None and isinstance(data, str) and data[:2] in (ALLOW, DENY):
            said = await self._answer(recipient, data[2:], data[:2] == ALLOW)
        await self._call(
            "answerCallbackQuery", {"callback_query_id": callback.get("id"), "text": said}
        )

    async def _answer(self, recipient: Recipient, key: str, is_allowed: bool) -> str:
        """What the person is told."""
        if Scope.APPROVE not in self._recipients.scopes(recipient):
            return NOT_ALLOWED
        for session in self._registry.sessions_of(recipient.namespace):
            for request_id, request in session.requests.items():
                expected = self._key(recipient, session.id, request_id, request)
                if not hmac.compare_digest(expected.encode(), key.encode("utf-8", "replace")):
                    continue
                try:
                    await self._answers.give(
                        recipient, session, request_id, request, is_allowed, "Telegram"
                    )
                except (DomainError, AckTimeout, PeerGone) as error:
                    return str(error)[:190]  # Telegram takes 200 characters
                return "Approved!" if is_allowed else "Denied"
        return NO_SUCH_REQUEST

    def _app_button(self, text: str, path: str) -> list[list[dict[str, Any]]]:
        if self._app_url is None:
            return []
        return [[{"text": text, "web_app": {"url": f"{self._app_url}{path}"}}]]

    def _session_buttons(self, session: HubSession) -> list[list[dict[str, Any]]]:
        return self._app_button("Open Session", f"/sessions/{session.id}")

    # --- sending ----------------------------------------------------------------------------------

    async def _say_about(
        self,
        chat_id: int,
        session: HubSession,
        text: str,
        buttons: list[list[dict[str, Any]]] | None = None,
    ) -> int | None:
        rows = [*(buttons or []), *self._session_buttons(session)]
        message_id = await self._say(chat_id, text, rows)
        if message_id is not None:
            self._about[chat_id, message_id] = session.id
            _shorten(self._about)
        return message_id

    async def _say(
        self, chat_id: int, text: str, buttons: list[list[dict[str, Any]]] | None = None
    ) -> int | None:
        """Send a message; its id, None if it was not sent."""
        message: dict[str, Any] = {"chat_id": chat_id, "text": text[:MAX_TEXT]}
        if buttons:
            message["reply_markup"] = {"inline_keyboard": buttons}
        sent = await self._call("sendMessage", message)
        return read_id(sent.get("message_id")) if isinstance(sent, dict) else None

    async def _call(self, method: str, parameters: dict[str, Any]) -> Any:
        """Call a method in the order of a chat, again while Telegram is busy. None if it failed,
        which is logged.
        """
        chat = parameters.get("chat_id", 0)
        person = self._people.setdefault(chat, _Person())
        if person.waiting >= MAX_WAITING:
            self.log.warn("A Telegram message was dropped: too many wait")
            return None
        person.waiting += 1
        await person.lock.acquire()
        try:
            return await self._attempt(method, parameters)
        finally:
            person.waiting -= 1
            person.lock.release()
            if not person.waiting:
                self._people.pop(chat, None)

    async def _attempt(self, method: str, parameters: dict[str, Any]) -> Any:
        delay = MIN_DELAY
        for attempt in range(MAX_ATTEMPTS):
            try:
                return await self._api.call(method, parameters)
            except BotApiError as error:
                is_temporary = error.code in (0, 429) or error.code >= 500
                if not is_temporary or attempt == MAX_ATTEMPTS - 1:
                    self.log.warn(
                        "Telegram refused {method}: {reason}", method=method, reason=str(error)
                    )
                    return None
                await deferLater(self._clock, min(max(error.retry_after, delay), MAX_DELAY))
                delay *= 4
        return None


_EYES = {"type": "emoji", "emoji": "👀"}


def _addresses(markup: Any) -> list[str]:
    """The addresses of the buttons of a message."""
    rows = markup.get("inline_keyboard") if isinstance(markup, dict) else None
    found = []
    for row in rows if isinstance(rows, list) else []:
        for button in row if isinstance(row, list) else []:
            app = button.get("web_app") if isinstance(button, dict) else None
            url = app.get("url") if isinstance(app, dict) else None
            if isinstance(url, str):
                found.append(url)
    return found


def _shorten(table: dict[Any, Any]) -> None:
    while len(table) > MAX_KEPT:
        del table[next(iter(table))]
