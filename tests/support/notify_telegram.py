"""Telegram for tests: users with their signed data, and a Bot API on loopback that is scripted."""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

from attrs import define, field

BOT_TOKEN = "123456:test-token_of-a-bot"
TIMEOUT = 120.0  # seconds for what the bot does


def init_data(seconds: float, user_id: int = 42, token: str = BOT_TOKEN, **more: Any) -> str:
    """What Telegram gives to a Mini App at this time (seconds since the epoch)."""
    user = json.dumps({"id": user_id, "first_name": "Ada", "username": "ada"})
    values = {"auth_date": str(int(seconds)), "query_id": "q", "user": user, **more}
    lines = "\n".join(f"{name}={value}" for name, value in sorted(values.items()))
    key = hmac.digest(b"WebAppData", token.encode(), "sha256")
    return urlencode({**values, "hash": hmac.digest(key, lines.encode(), "sha256").hex()})


@define(eq=False)
class BotServer:
    """The Bot API. `updates` are handed out by getUpdates, which otherwise answers at once with
    none; `failures`: HTTP statuses of the next calls.
    """

    updates: list[dict[str, Any]] = field(factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(factory=list)
    failures: list[int] = field(factory=list)
    pause: Callable[[], object] = lambda: time.sleep(0.05)  # between two looks
    message_id: int = 0  # of what the hub wrote last
    _server: Any = None
    _number: int = 0

    def __attrs_post_init__(self) -> None:
        bot = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = bot.answer(self.path, given)
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                self.wfile.flush()
                if (method := self.path.rpartition("/")[2]) != "getUpdates":
                    bot.calls.append((method, given))  # now that the hub has its answer

            def log_message(self, *arguments: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, path: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        prefix, _, method = path.rpartition("/")
        if prefix != f"/bot{BOT_TOKEN}":
            return 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        if method == "getUpdates":
            updates = [self.updates.pop(0) for _ in range(len(self.updates))]
            if not updates:
                time.sleep(0.1)  # a short poll
            return 200, {"ok": True, "result": updates}
        if self.failures:
            code = self.failures.pop(0)
            error = {"ok": False, "error_code": code, "description": "no"}
            return code, {**error, "parameters": {"retry_after": 1}}
        if method == "getMe":
            return 200, {"ok": True, "result": {"id": 1, "username": "hapi_test_bot"}}
        self._number += 1
        self.message_id = self._number
        return 200, {"ok": True, "result": {"message_id": self._number}}

    def say(self, text: str, user_id: int = 42, **more: Any) -> None:
        """A person writes to the bot."""
        message = {
            "message_id": 1000 + self._number,
            "from": {"id": user_id},
            "chat": {"id": user_id, "type": "private"},
            "text": text,
            **more,
        }
        self._update(message=message)

    def press(self, data: str, user_id: int = 42) -> None:
        """A person presses a button."""
        self._update(callback_query={"id": "c1", "from": {"id": user_id}, "data": data})

    def _update(self, **content: Any) -> None:
        self._number += 1
        self.updates.append({"update_id": self._number, **content})

    def sent(self, method: str, number: int = 0) -> dict[str, Any]:
        """The parameters of the call of this number of a method, once it has come."""
        end = time.monotonic() + TIMEOUT
        while True:
            found = [given for name, given in self.calls if name == method]
            if len(found) > number:
                return found[number]
            assert time.monotonic() < end, f"{method} was not called"
            self.pause()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
