"""Delivery of push messages (RFC 8030): one queue for each subscription, so that a service that is
slow, full or gone delays no other.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.notify.encryption import encrypted
from hapi.hub.notify.services import PushService
from hapi.hub.notify.vapid import VapidKey
from hapi.net.common.errors import describe_connection_error

MAX_QUEUED = 20  # messages of one subscription; the oldest is dropped
EXCHANGE_TIMEOUT = 15.0  # seconds for a request and its reply
MAX_REPLY_SIZE = 65536  # bytes
RETRY_DELAYS = (2.0, 10.0, 60.0, 300.0)  # seconds
MAX_RETRY_AFTER = 3600.0  # seconds
MAX_REFUSALS = 3  # messages that a service refuses one after another
GONE = frozenset({404, 410})  # the subscription does not exist any more (RFC 8030 7.3)
BUSY = frozenset({408, 425, 429})
TOO_LARGE = 413


@frozen
class PushMessage:
    """`ttl`: seconds that a push service keeps it. A message replaces those before it with the same
    `topic`, which has at most 32 characters of base64url (RFC 8030 5.4).
    """

    content: bytes
    ttl: int
    topic: str
    urgency: str = "normal"  # very-low, low, normal or high (RFC 8030 5.3)


@frozen
class Subscription:
    """A browser's push subscription."""

    id: str
    service: PushService
    point: bytes = field(repr=False)
    secret: bytes = field(repr=False)


@frozen
class _Outcome:
    """`retry_after`: seconds until the message may be sent again, None: it will not be."""

    status: int
    problem: str = ""
    retry_after: float | None = None


@define(eq=False, repr=False)
class _Lane:
    """The messages of one subscription, sent one after another."""

    subscription: Subscription
    waiting: deque[tuple[PushMessage, float]] = field(factory=deque)  # and when each expires
    is_running: bool = False
    running: Deferred[None] | None = None
    refusals: int = 0


@define(eq=False, repr=False)
class Delivery:
    """`make_http` makes the HTTP client at the first message. `now` is wall time in ms.

    `on_gone` is called with the id of a subscription to which nothing can be sent any more.
    """

    _clock: IReactorTime
    _now: Callable[[], int]
    _vapid: VapidKey
    _make_http: Callable[[], Any]
    on_gone: Callable[[str], object] = lambda subscription_id: None
    counts: Counter[str] = field(factory=Counter)  # delivered, failed, dropped
    _lanes: dict[str, _Lane] = field(factory=dict)
    _http: Any = None

    log = Logger()

    def send(self, subscription: Subscription, message: PushMessage) -> None:
        """Queue a message. It is given up when its time to live has passed."""
        lane = self._lanes.get(subscription.id)
        if lane is None or lane.subscription != subscription:
            self.forget(subscription.id)
            lane = self._lanes[subscription.id] = _Lane(subscription)
        kept = [entry for entry in lane.waiting if entry[0].topic != message.topic]
        lane.waiting = deque(kept)
        lane.waiting.append((message, self._clock.seconds() + message.ttl))
        if len(lane.waiting) > MAX_QUEUED:
            lane.waiting.popleft()
            self.counts["dropped"] += 1
        if not lane.is_running:
            lane.is_running = True
            lane.running = run_in_background(
                self._drain(lane), self.log, "A push message could not be sent"
            )

    def forget(self, subscription_id: str) -> None:
        """Send nothing more to a subscription."""
        lane = self._lanes.pop(subscription_id, None)
        if lane is not None and lane.running is not None:
            lane.waiting.clear()
            lane.running.cancel()

    def stop(self) -> None:
        for subscription_id in list(self._lanes):
            self.forget(subscription_id)

    async def _drain(self, lane: _Lane) -> None:
        try:
            while lane.waiting:
                message, expires_at = lane.waiting[0]
                await self._deliver(lane, message, expires_at)
                if lane.waiting and lane.waiting[0][0] is message:
                    lane.waiting.popleft()
        except CancelledError:
            pass  # forgotten
        finally:
            lane.is_running = False
            is_done = not lane.waiting and not lane.refusals
            if is_done and self._lanes.get(lane.subscription.id) is lane:
                del self._lanes[lane.subscription.id]

    async def _deliver(self, lane: _Lane, message: PushMessage, expires_at: float) -> None:
        """Send one message, again while the service is busy and the message is of use."""
        name = lane.subscription.service.origin
        for attempt in range(len(RETRY_DELAYS) + 1):
            if self._clock.seconds() >= expires_at:
                break
            outcome = await self._exchange(lane.subscription, message)
            if 200 <= outcome.status < 300:
                lane.refusals = 0
                self.counts["delivered"] += 1
                return
            if outcome.status in GONE or (
                lane.refusals + 1 >= MAX_REFUSALS and outcome.retry_after is None
            ):
                self._give_up(lane, outcome)
                return
            if outcome.retry_after is None:
                lane.refusals += outcome.status != TOO_LARGE
                self.log.warn(
                    "The push service {service} refused a message: {problem}",
                    service=name,
                    problem=outcome.problem,
                )
                break
            if attempt < len(RETRY_DELAYS):
                delay = max(RETRY_DELAYS[attempt], outcome.retry_after)
                await deferLater(self._clock, delay)
                if lane.waiting and lane.waiting[0][0] is not message:
                    break  # a newer message has replaced it
        else:
            self.log.warn(
                "A message for the push service {service} was given up: {problem}",
                service=name,
                problem=outcome.problem,
            )
        self.counts["failed"] += 1

    def _give_up(self, lane: _Lane, outcome: _Outcome) -> None:
        self.counts["failed"] += 1
        lane.waiting.clear()
        self.log.info(
            "A subscription at {service} has ended: {problem}",
            service=lane.subscription.service.origin,
            problem=outcome.problem,
        )
        self.on_gone(lane.subscription.id)

    async def _exchange(self, subscription: Subscription, message: PushMessage) -> _Outcome:
        service = subscription.service
        if self._http is None:
            self._http = self._make_http()
        headers = {
            "TTL": str(message.ttl),
            "Urgency": message.urgency,
            "Topic": message.topic,
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "Authorization": self._vapid.authorization(service.origin, self._now() / 1000),
        }
        body = encrypted(message.content, subscription.point, subscription.secret)
        exchange = Deferred.fromCoroutine(self._request(service.url, headers, body))
        try:
            response = await exchange.addTimeout(EXCHANGE_TIMEOUT, self._clock)
        except CancelledError:
            raise
        except Exception as error:  # DNS, TLS, time-outs: many unrelated classes
            return _Outcome(0, describe_connection_error(error, service.origin), 0.0)
        status = response.code
        problem = f"HTTP {status}"
        if status in BUSY or status >= 500:
            return _Outcome(status, problem, self._retry_after(response))
        return _Outcome(status, problem)

    async def _request(self, url: str, headers: dict[str, str], body: bytes) -> Any:
        response = await self._http.request(
            "POST", url, headers=headers, data=body, allow_redirects=False, unbuffered=True
        )
        size = 0

        def count(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > MAX_REPLY_SIZE:
                raise ValueError("its reply is too long")

        from treq import collect

        await collect(response, count)
        return response

    def _retry_after(self, response: Any) -> float:
        """The seconds that a service asks to wait (RFC 9110 10.2.3), 0 if it names none."""
        text = (response.headers.getRawHeaders("retry-after") or [""])[0].strip()
        if text.isascii() and text.isdigit():
            return min(float(text[:9]), MAX_RETRY_AFTER)
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        now = datetime.fromtimestamp(self._now() / 1000, UTC)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return min(max((at - now).total_seconds(), 0.0), MAX_RETRY_AFTER)
