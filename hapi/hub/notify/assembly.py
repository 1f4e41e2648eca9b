"""The parts of notifications of a hub, put together."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hapi.hub.access.tokens import DeviceTokens
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.notifications import Notifications
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.notify.answers import AnswerTokens
from hapi.hub.notify.delivery import Delivery
from hapi.hub.notify.notifier import Notifier
from hapi.hub.notify.options import DEFAULT_SUBJECT, TELEGRAM_API
from hapi.hub.notify.recipients import Recipients
from hapi.hub.notify.request_answers import RequestAnswers
from hapi.hub.notify.vapid import VapidKey
from hapi.hub.store.audit_log import AuditLog

if TYPE_CHECKING:
    from hapi.hub.notify.bot import TelegramBot


@frozen
class NotifyParts:
    """What the notifications of devices need: the key for push services, the secret of answer
    tokens, and HTTP clients, which are made when they are first needed.
    """

    vapid: VapidKey = field(factory=lambda: VapidKey(None, DEFAULT_SUBJECT))
    answer_secret: bytes = field(factory=lambda: os.urandom(32), repr=False)
    make_http: Callable[[], Any] = lambda: None
    allows_private: bool = False
    telegram_token: str = field(default="", repr=False)  # "": there is no bot
    telegram_api: str = TELEGRAM_API
    telegram_notifies: bool = True
    make_telegram_http: Callable[[], Any] = lambda: None
    app_url: str | None = None  # where Telegram opens the page: an https address


class DeviceNotifications:
    """Notifications of devices and of people at Telegram."""

    def __init__(
        self,
        parts: NotifyParts,
        registry: HubRegistry,
        documents: Documents,
        messages: Messages,
        notifications: Notifications,
        devices: DeviceTokens,
        audit: AuditLog,
    ) -> None:
        clock, now, store = registry.clock, registry.now, registry.store
        hub_token_id = hmac.digest(parts.answer_secret, b"recipients", "sha256").hex()[:32]
        self.recipients = recipients = Recipients(store, devices, now, f"hub-{hub_token_id}")
        self.answers = RequestAnswers(documents, recipients, audit)
        delivery = Delivery(clock, now, parts.vapid, parts.make_http, recipients.gone)
        recipients.on_removed.append(delivery.forget)
        self.notifier = Notifier(
            registry,
            recipients,
            delivery,
            AnswerTokens(parts.answer_secret),
            parts.vapid,
            now,
            parts.allows_private,
        )
        notifications.on_notice.append(self.notifier.notify)
        notifications.on_settled.append(self.notifier.settled)
        self.telegram_token = parts.telegram_token
        self.telegram = self._telegram(parts, registry, messages)
        if self.telegram is not None:
            notifications.on_notice.append(self.telegram.notify)
            notifications.on_settled.append(self.telegram.settled)

    def _telegram(
        self, parts: NotifyParts, registry: HubRegistry, messages: Messages
    ) -> TelegramBot | None:
        """The bot, if one is configured; its modules are loaded only then."""
        if not parts.telegram_token:
            return None
        from hapi.hub.notify.bot import TelegramBot
        from hapi.hub.notify.bot_api import BotApi

        api = BotApi(
            registry.clock, parts.telegram_api, parts.telegram_token, parts.make_telegram_http
        )
        return TelegramBot(
            registry.clock,
            api,
            registry,
            self.recipients,
            self.answers,
            messages,
            registry.now,
            parts.answer_secret,
            parts.app_url,
            parts.telegram_notifies,
        )

    def start(self) -> None:
        """Begin to read what people write to the bot."""
        if self.telegram is not None:
            self.telegram.start()

    def stop(self) -> None:
        self.notifier.stop()
        if self.telegram is not None:
            self.telegram.stop()
