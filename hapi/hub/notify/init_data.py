"""What Telegram tells a Mini App about its user, signed with the bot's token
(https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app).
"""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl

import msgspec

from hapi.hub.notify.bot_api import read_id

MAX_AGE = 24 * 3600  # seconds
MAX_AHEAD = 600  # seconds that Telegram's clock may be ahead
MAX_LENGTH = 16384  # characters


class InvalidInitData(ValueError):
    """The data is not from Telegram, or too old; the text says which."""


class TelegramUser(msgspec.Struct, frozen=True):
    id: int
    first_name: str = ""
    username: str = ""
    is_bot: bool = False

    @property
    def name(self) -> str:
        return self.username or self.first_name or str(self.id)


def read_init_data(text: str, token: str, now: float) -> TelegramUser:
    """The user whom `text` is about; `now`: seconds since the epoch. Raises InvalidInitData."""
    if len(text) > MAX_LENGTH:
        raise InvalidInitData("Invalid initData signature")
    pairs = parse_qsl(text, keep_blank_values=True)
    values = dict(pairs)
    signature = values.pop("hash", "")
    if not signature:
        raise InvalidInitData("Missing hash")
    if len(values) + 1 != len(pairs):  # a key that is there twice
        raise InvalidInitData("Invalid initData signature")
    lines = "\n".join(f"{name}={value}" for name, value in sorted(values.items()))
    key = hmac.digest(b"WebAppData", token.encode(), "sha256")
    expected = hmac.digest(key, lines.encode("utf-8", "replace"), "sha256").hex()
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise InvalidInitData("Invalid initData signature")
    made = values.get("auth_date", "")
    if not (made.isascii() and made.isdigit() and len(made) < 16):
        raise InvalidInitData("Invalid auth_date")
    if not -MAX_AHEAD <= now - int(made) <= MAX_AGE:
        raise InvalidInitData("initData is too old")
    try:
        user = msgspec.json.decode(values.get("user", ""), type=TelegramUser)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidInitData("Invalid user schema") from error
    if read_id(user.id) is None or user.is_bot:
        raise InvalidInitData("Invalid user schema")
    return user
