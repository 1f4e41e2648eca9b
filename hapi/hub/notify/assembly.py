"""The parts of notifications of a hub, put together."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from hapi.hub.access.audit_log import AuditLog
from hapi.hub.access.tokens import DeviceTokens
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.notifications import Notice, NoticeKind, Notifications
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.notify.answers import AnswerTokens
from hapi.hub.notify.delivery import Delivery
from hapi.hub.notify.notifier import Notifier
from hapi.hub.notify.options import DEFAULT_SUBJECT, TELEGRAM_API
from hapi.hub.notify.recipients import Recipients
from hapi.hub.notify.request_answers import RequestAnswers
from hapi.hub.notify.vapid import VapidKey
from hapi.hub.store.shared import INTERNAL, JournalEntry

if TYPE_CHECKING:
    from hapi.hub.notify.bot import TelegramBot

# Kinds of journal entries with which the home of a session tells the hub that has the bot.
NOTICE = INTERNAL + "notice"  # fields: sessionId, kind, title, body, requestId, request
SETTLED = INTERNAL + "settled"  # fields: sessionId, requestIds


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
        self._registry, self._is_started = registry, False
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
            notifications.on_notice.append(self._notify_telegram)
            notifications.on_settled.append(self._settle_telegram)

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
        """Begin to read what people write to the bot, at the hub that runs the singleton tasks."""
        self._is_started = True
        self.singleton_tasks_changed()

    def stop(self) -> None:
        self._is_started = False
        self.notifier.stop()
        self.singleton_tasks_changed()

    # --- the hub that runs the singleton tasks ---------------------------------------------------

    def singleton_tasks_changed(self) -> None:
        """The one hub that reads what people write also sends them the messages to which they
        reply.
        """
        if self.telegram is not None:
            if self._is_started and self._registry.runs_singleton_tasks:
                self.telegram.start()
            else:
                self.telegram.stop()

    def _notify_telegram(self, notice: Notice) -> None:
        assert self.telegram is not None
        if self._registry.cluster is None:
            self.telegram.notify(notice)
            return
        fields = {
            "sessionId": notice.session.id,
            "kind": notice.kind.value,
            "title": notice.title,
            "body": notice.body,
            "requestId": notice.request_id,
            "request": notice.request,
        }
        self._registry.cluster.publish("", NOTICE, fields)

    def _settle_telegram(self, session: HubSession, request_ids: frozenset[str]) -> None:
        assert self.telegram is not None
        if self._registry.cluster is None:
            self.telegram.settled(session, request_ids)
            return
        fields = {"sessionId": session.id, "requestIds": sorted(request_ids)}
        self._registry.cluster.publish("", SETTLED, fields)

    def apply(self, entry: JournalEntry) -> None:
        """An entry of the journal of a kind of this module, or of any other."""
        if self.telegram is None or entry.kind not in (NOTICE, SETTLED):
            return
        fields = entry.fields
        session = self._registry.sessions.get(fields["sessionId"])
        if session is None or not self._registry.runs_singleton_tasks:
            return
        if entry.kind == SETTLED:
            self.telegram.settled(session, frozenset(fields["requestIds"]))
        else:
            self.telegram.notify(
                Notice(
                    NoticeKind(fields["kind"]),
                    session,
                    fields["title"],
                    fields["body"],
                    fields["requestId"],
                    fields["request"],
                )
            )
