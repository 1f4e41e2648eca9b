"""Options of notifications: from flags, the environment, `settings.json`, and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from hapi.hub.notify.proxy_address import ProxyAddress
from hapi.settings import ConfigurationError
from hapi.switches import parse_switch

TELEGRAM_API = "https://api.telegram.org"
DEFAULT_SUBJECT = "mailto:hub@hapi.invalid"


@frozen
class NotifyOptions:
    vapid_subject: str = ""  # "": the hub's public URL
    allows_private: bool = False  # push services at private addresses
    proxy: ProxyAddress | None = None  # for push services and Telegram
    telegram_token: str = field(default="", repr=False)  # "": there is no bot
    telegram_api: str = TELEGRAM_API
    telegram_notifies: bool = True

    @classmethod
    def read(
        cls, flags: Mapping[str, Any], environ: Mapping[str, str], settings: Mapping[str, Any]
    ) -> NotifyOptions:
        """Raises ConfigurationError."""

        def given(flag: str, variable: str, key: str) -> Any:
            found = flags.get(flag), environ.get(variable), settings.get(key)
            return next((value for value in found if value is not None and value != ""), None)

        proxy = _text(given("notify_proxy", "HAPI_NOTIFY_PROXY", "notifyProxy"), "notifyProxy")
        api = _text(given("telegram_api", "HAPI_TELEGRAM_API", "telegramApi"), "telegramApi")
        token = _text(given("", "TELEGRAM_BOT_TOKEN", "telegramBotToken"), "telegramBotToken")
        private = given(
            "push_private_addresses", "HAPI_PUSH_PRIVATE_ADDRESSES", "pushPrivateAddresses"
        )
        notifies = given("telegram_notification", "TELEGRAM_NOTIFICATION", "telegramNotification")
        return cls(
            _subject(given("vapid_subject", "VAPID_SUBJECT", "vapidSubject")),
            read_switch(private, "pushPrivateAddresses", False),
            ProxyAddress.parse(proxy) if proxy else None,
            _bot_token(token),
            _api(api) if api else TELEGRAM_API,
            read_switch(notifies, "telegramNotification", True),
        )


def read_switch(value: object, name: str, default: bool) -> bool:
    """The value of a setting that is on or off. Raises ConfigurationError."""
    if value is None:
        return default
    if (found := parse_switch(value)) is None:
        raise ConfigurationError(f"{name} {value!r} must be yes or no (true or false)")
    return found


def _text(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} in settings.json must be a string")
    return value.strip()


def _subject(value: object) -> str:
    text = _text(value, "vapidSubject")
    is_mail = text.startswith("mailto:") and "@" in text
    if (text and not (is_mail or text.startswith("https://"))) or not text.isprintable():
        raise ConfigurationError(
            f"vapidSubject {text!r} (--vapid-subject, VAPID_SUBJECT) must be a mailto: or https: "
            "URL"
        )
    return text


def _bot_token(text: str) -> str:
    number, colon, secret = text.partition(":")
    is_plausible = number.isdigit() and colon and secret.replace("-", "").replace("_", "").isalnum()
    if text and not (is_plausible and text.isascii()):
        raise ConfigurationError(
            "telegramBotToken (TELEGRAM_BOT_TOKEN) is not the token of a bot, such as 123456:ABC…"
        )
    return text


def _api(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query
        _ = parts.port
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(
            f"telegramApi {text!r} (--telegram-api, HAPI_TELEGRAM_API) must be an http or https URL"
        )
    return text.rstrip("/")
