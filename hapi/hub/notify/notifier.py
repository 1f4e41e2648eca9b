"""Notifications of devices: what is sent to whom, with Allow and Deny where they may answer."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import InvalidRequest, NotFound
from hapi.hub.domain.notifications import Notice, NoticeKind
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.notify.answers import MAX_REQUEST_ID_LENGTH, AnswerTokens, request_digest
from hapi.hub.notify.contents import has_plain_answer, text_of
from hapi.hub.notify.delivery import Delivery, PushMessage, Subscription
from hapi.hub.notify.encryption import MAX_PLAINTEXT, InvalidKeys, check_keys
from hapi.hub.notify.recipients import Recipient, Recipients
from hapi.hub.notify.services import EndpointRefused, read_endpoint
from hapi.hub.notify.settings import NotificationSettings
from hapi.hub.notify.vapid import VapidKey, base64url
from hapi.hub.store.rows import WEB_PUSH
from hapi.protocol.json import to_json
from hapi.protocol.token import Scope

# Seconds that a push service keeps a message for a device that is off.
TTL = {
    NoticeKind.PERMISSION: 24 * 3600,
    NoticeKind.READY: 12 * 3600,
    NoticeKind.ENDED: 12 * 3600,
    NoticeKind.STUCK: 12 * 3600,
}
CLOSE_TTL = 24 * 3600
TAGS = {
    NoticeKind.PERMISSION: "permission",
    NoticeKind.READY: "ready",
    NoticeKind.ENDED: "ended",
    NoticeKind.STUCK: "stuck",
}
MAX_SHOWN = 1000  # requests whose notifications can be closed
MAX_TITLE, MAX_BODY = 200, 1000  # characters


@frozen
class Answer:
    """What an answer token lets its holder do."""

    recipient: Recipient
    session: HubSession
    request_id: str
    request: Any


def tag_of(kind: NoticeKind, session_id: str) -> str:
    """The tag of a notification: a later one of the same tag replaces it."""
    return f"{TAGS[kind]}-{session_id}"


def topic_of(tag: str) -> str:
    """The topic at push services, which do not learn the id of the session from it."""
    return base64url(hashlib.blake2b(tag.encode("utf-8", "replace"), digest_size=18).digest())


@define(eq=False, repr=False)
class Notifier:
    """`now` is wall time in ms."""

    _registry: HubRegistry
    _recipients: Recipients
    _delivery: Delivery
    _answers: AnswerTokens
    _vapid: VapidKey
    _now: Callable[[], int]
    _allows_private: bool = False
    # (session id, request id) -> ids of the recipients that were notified
    _shown: dict[tuple[str, str], set[str]] = field(factory=dict)

    log = Logger()

    @property
    def recipients(self) -> Recipients:
        return self._recipients

    @property
    def public_key(self) -> str:
        """The key for subscriptions. Raises ConfigurationError."""
        return self._vapid.public_key

    async def subscribe(
        self,
        namespace: str,
        endpoint: str,
        keys: Any,
        label: str,
        token_id: str,
        settings: NotificationSettings | None,
    ) -> Recipient:
        """Keep a push subscription. Raises InvalidRequest, Conflict."""
        try:
            read_endpoint(endpoint, self._allows_private)
            check_keys(keys["p256dh"], keys["auth"])
        except EndpointRefused as error:
            raise InvalidRequest(str(error)) from error
        except InvalidKeys as error:
            raise InvalidRequest("The keys of the subscription are invalid") from error
        return await self._recipients.add(
            namespace, WEB_PUSH, endpoint, keys, label, token_id, settings
        )

    def subscribed(self, endpoint: str) -> Recipient | None:
        """The device with this push subscription, whatever its namespace."""
        return self._recipients.at(WEB_PUSH, endpoint)

    # --- notices ----------------------------------------------------------------------------------

    def notify(self, notice: Notice) -> None:
        """Send a notice to the devices that want it."""
        session, now = notice.session, self._now()
        is_visible = self._registry.events.is_watched(session.namespace)
        for recipient in self._recipients.of(session.namespace):
            if recipient.row.kind != WEB_PUSH or Scope.READ not in self._recipients.scopes(
                recipient
            ):
                continue
            if recipient.settings.wants(notice.kind, session.id, now, is_visible):
                self._push(recipient, notice, now)

    def _push(self, recipient: Recipient, notice: Notice, now: int) -> None:
        title, body = text_of(notice, recipient.settings.detail)
        session, tag = notice.session, tag_of(notice.kind, notice.session.id)
        data: dict[str, Any] = {
            "type": notice.kind.value,
            "sessionId": session.id,
            "url": f"/sessions/{session.id}",
        }
        if notice.request_id is not None:
            data["requestId"] = notice.request_id
            if self._may_answer(recipient, notice):
                data["answer"] = self._answers.issue(
                    recipient.id, session.id, notice.request_id, notice.request, now
                )
            self._remember((session.id, notice.request_id), recipient.id)
        payload = {
            "title": title[:MAX_TITLE],
            "body": body[:MAX_BODY],
            "tag": tag,
            "data": data,
        }
        urgency = "high" if notice.kind is NoticeKind.PERMISSION else "normal"
        self._send(recipient, payload, TTL[notice.kind], tag, urgency)

    def _may_answer(self, recipient: Recipient, notice: Notice) -> bool:
        return (
            Scope.APPROVE in self._recipients.scopes(recipient)
            and has_plain_answer(notice.request)
            and len(notice.request_id or "") <= MAX_REQUEST_ID_LENGTH
        )

    def _remember(self, request: tuple[str, str], recipient_id: str) -> None:
        self._shown.setdefault(request, set()).add(recipient_id)
        while len(self._shown) > MAX_SHOWN:
            del self._shown[next(iter(self._shown))]

    def settled(self, session: HubSession, request_ids: frozenset[str]) -> None:
        """Permission requests were answered or withdrawn: close their notifications, unless another
        request of the session has taken their place.
        """
        recipients: set[str] = set()
        for request_id in request_ids:
            recipients |= self._shown.pop((session.id, request_id), set())
        if session.requests:
            return
        tag = tag_of(NoticeKind.PERMISSION, session.id)
        payload = {
            "title": "Answered",
            "body": "The request has been answered.",
            "tag": tag,
            "data": {"type": "close", "sessionId": session.id, "url": f"/sessions/{session.id}"},
        }
        for recipient_id in sorted(recipients):
            found = self._recipients.get(recipient_id)
            if found is not None and found.row.kind == WEB_PUSH:
                self._send(found, payload, CLOSE_TTL, tag, "normal")

    def test(self, recipient: Recipient) -> None:
        """Send a notification that says nothing but that it has arrived."""
        payload = {
            "title": "HAPI",
            "body": "Notifications work on this device.",
            "tag": "test",
            "data": {"type": "test", "url": "/"},
        }
        self._send(recipient, payload, 300, f"test-{recipient.id}", "high")

    def _send(
        self, recipient: Recipient, payload: dict[str, Any], ttl: int, tag: str, urgency: str
    ) -> None:
        row = recipient.row
        try:
            service = read_endpoint(row.address, self._allows_private)
            point, secret = check_keys(row.keys["p256dh"], row.keys["auth"])
        except (EndpointRefused, InvalidKeys, KeyError, TypeError) as error:
            self.log.warn("A subscription cannot be used: {reason}", reason=str(error))
            return
        content = to_json(payload).encode("utf-8", "replace")
        if len(content) > MAX_PLAINTEXT:
            payload = {**payload, "body": payload["body"][:100], "title": payload["title"][:50]}
            content = to_json(payload).encode("utf-8", "replace")
        if len(content) > MAX_PLAINTEXT:
            return
        subscription = Subscription(recipient.id, service, point, secret)
        self._delivery.send(subscription, PushMessage(content, ttl, topic_of(tag), urgency))

    # --- answers ----------------------------------------------------------------------------------

    def read_answer(self, token: str) -> Answer:
        """What an answer token stands for. Raises NotFound when it is invalid, when the request has
        been answered, or when the device may not answer it any more.
        """
        claims = self._answers.read(token, self._now())
        refusal = NotFound("This request has been answered already", "answered")
        if claims is None:
            raise NotFound("This answer is not valid any more", "expired")
        recipient = self._recipients.get(claims.recipient_id)
        session = self._registry.sessions.get(claims.session_id)
        if recipient is None or Scope.APPROVE not in self._recipients.scopes(recipient):
            raise NotFound("This device may not answer any more", "expired")
        if session is None or session.namespace != recipient.namespace:
            raise refusal
        request = session.requests.get(claims.request_id)
        if request is None or not hmac.compare_digest(request_digest(request), claims.digest):
            raise refusal
        return Answer(recipient, session, claims.request_id, request)

    def stop(self) -> None:
        self._delivery.stop()
