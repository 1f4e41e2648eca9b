"""Push messages get to their services: again when these are busy, and each by itself."""

import pytest
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from hapi.hub.notify.delivery import (
    EXCHANGE_TIMEOUT,
    MAX_QUEUED,
    MAX_REFUSALS,
    Delivery,
    PushMessage,
    Subscription,
)
from hapi.hub.notify.services import read_endpoint
from hapi.hub.notify.vapid import VapidKey
from tests.support.notify_devices import Device
from tests.support.notify_http import ScriptedHttp, busy

EPOCH = 1_795_000_000_000  # ms
GOOD, BAD = "https://good.example.com/1", "https://bad.example.com/1"


class Post:
    """A delivery on a clock, with scripted services."""

    def __init__(self) -> None:
        self.clock, self.http, self.gone = Clock(), ScriptedHttp(), []
        self.delivery = Delivery(
            self.clock,
            lambda: EPOCH + int(self.clock.seconds() * 1000),
            VapidKey(None, "mailto:me@example.com"),
            lambda: self.http,
            self.gone.append,
        )
        self.device = Device()

    def send(self, url: str = GOOD, content: bytes = b"hello", topic: str = "t", ttl: int = 3600):
        service = read_endpoint(url)
        to = Subscription(url, service, self.device.point, self.device.secret)
        self.delivery.send(to, PushMessage(content, ttl, topic, "high"))

    def contents(self, url: str = GOOD) -> list[bytes]:
        return [self.device.decrypt(request.body) for request in self.http.to(url)]


def test_a_message_carries_what_the_service_needs_and_nothing_it_could_read() -> None:
    post = Post()
    post.send(content=b'{"body":"secret"}')
    (request,) = post.http.sent
    assert (request.method, request.url) == ("POST", GOOD)
    assert b"secret" not in request.body
    authorization = request.headers.pop("Authorization")
    assert authorization.startswith("vapid t=ey")
    assert request.headers == {
        "TTL": "3600",
        "Urgency": "high",
        "Topic": "t",
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
    }
    assert post.contents() == [b'{"body":"secret"}']
    assert post.delivery.counts["delivered"] == 1


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_the_service_does_not_know_is_dropped(status: int) -> None:
    post = Post()
    post.http.replies[GOOD] = [busy(status)]
    post.send()
    assert post.gone == [GOOD]


def test_a_subscription_whose_messages_are_always_refused_is_dropped() -> None:
    post = Post()
    post.http.replies[GOOD] = [busy(403)] * MAX_REFUSALS
    for number in range(MAX_REFUSALS):
        assert post.gone == []
        post.send(topic=str(number))
    assert post.gone == [GOOD]


def test_a_message_that_is_too_large_costs_no_subscription() -> None:
    post = Post()
    post.http.replies[GOOD] = [busy(413)] * 10
    for number in range(10):
        post.send(topic=str(number))
    assert post.gone == []


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("30", 30), (None, 2), ("Wed, 18 Nov 2026 11:06:50 GMT", 10), ("nonsense", 2), ("1", 2)],
)
def test_a_busy_service_is_asked_again_when_it_says(retry_after: str | None, seconds: int) -> None:
    post = Post()
    post.http.replies[GOOD] = [busy(429, retry_after)]
    post.send()
    post.clock.advance(seconds - 0.5)
    assert len(post.http.sent) == 1
    post.clock.advance(0.5)
    assert len(post.http.sent) == 2
    assert post.delivery.counts["delivered"] == 1


def test_a_service_that_never_answers_is_given_up_after_its_time_and_delays_no_other() -> None:
    post = Post()
    post.http.replies[BAD] = [None] * 10
    for number in range(5):
        post.send(BAD, topic=str(number))
        post.send(GOOD, topic=str(number))
    assert len(post.contents(GOOD)) == 5
    assert len(post.http.to(BAD)) == 1
    post.clock.pump([EXCHANGE_TIMEOUT, 2.0])
    assert len(post.http.to(BAD)) == 2


def test_a_message_is_given_up_when_its_time_has_passed() -> None:
    post = Post()
    post.http.replies[GOOD] = [ConnectionRefusedError()] * 10
    post.send(ttl=5, topic="old")
    post.send(ttl=3600, topic="new")
    for _ in range(30):
        post.clock.advance(1)
    assert post.contents()[:2] == [b"hello"] * 2
    assert post.delivery.counts["failed"] == 1


def test_a_newer_message_of_the_same_topic_takes_the_place_of_one_that_waits() -> None:
    post = Post()
    post.http.replies[GOOD] = [busy(503)]
    post.send(content=b"first", topic="a")
    post.send(content=b"second", topic="b")
    post.send(content=b"third", topic="b")
    post.send(content=b"fourth", topic="a")
    post.clock.advance(2)
    assert post.contents() == [b"first", b"third", b"fourth"]


def test_only_so_many_messages_wait() -> None:
    post = Post()
    post.http.replies[GOOD] = [busy(503)]
    for number in range(MAX_QUEUED * 3):
        post.send(content=b"%d" % number, topic=str(number))
    post.clock.advance(2)
    assert len(post.http.sent) <= MAX_QUEUED + 2
    assert post.contents()[-1] == b"%d" % (MAX_QUEUED * 3 - 1)


def test_nothing_is_sent_after_a_stop() -> None:
    post = Post()
    post.http.replies[GOOD] = [busy(503)]
    post.send()
    post.delivery.stop()
    post.clock.advance(100)
    assert len(post.http.sent) == 1
    assert post.clock.getDelayedCalls() == []
