"""When event streams write: the first frame at once, what follows soon after together."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field

from hapi.hub.access.auth import Principal
from hapi.hub.domain.events import Subscription
from hapi.hub.http.sse import (
    MAX_INTERVAL,
    MAX_UNREAD,
    MAX_WAITING,
    MIN_INTERVAL,
    EventStream,
    WritePace,
    next_interval,
)
from tests.support.hub_stage import Stage


@define(eq=False)
class Wire:
    """The request of a stream."""

    writes: list[bytes] = field(factory=list)
    was_cut: bool = False

    @property
    def channel(self) -> Any:
        return self

    def setHeader(self, name: str, value: str) -> None: ...
    def notifyFinish(self) -> Any:
        return self

    def addBoth(self, call: Any) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def finish(self) -> None: ...
    def loseConnection(self) -> None: ...
    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def forceAbortClient(self) -> None:
        self.was_cut = True

    @property
    def numbers(self) -> list[int]:
        """The numbers of all events, in the order in which they were written."""
        lines = b"".join(self.writes).split(b"\n")
        return [int(line.split(b":")[2]) for line in lines if line.startswith(b"id: ")]


@define(eq=False)
class Pages:
    """A hub with pages that read its events."""

    stage: Stage = field(factory=Stage)
    pace: WritePace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pace = WritePace(self.stage.clock)

    def open(self) -> tuple[EventStream, Wire]:
        wire = Wire()
        wanted = Subscription("default", everything=True)
        registry = self.stage.registry
        stream = EventStream(wire, Principal("default"), wanted, True, registry, self.pace)
        stream.start(None)
        self.pass_time(1.0)
        wire.writes.clear()
        return stream, wire

    def pass_time(self, seconds: float) -> None:
        self.stage.clock.advance(seconds)

    def publish(self, count: int = 1, text: str = "x") -> None:
        for _ in range(count):
            self.stage.registry.events.publish("default", "session-ended", reason=text)


def test_the_first_frame_is_written_at_once_and_those_that_follow_together() -> None:
    pages = Pages()
    _, wire = pages.open()
    pages.publish(10)
    assert len(wire.writes) == 1
    pages.pass_time(MIN_INTERVAL)
    assert len(wire.writes) == 2
    assert wire.numbers == list(range(1, 11))


def test_frames_that_come_five_milliseconds_apart_are_written_at_once() -> None:
    pages = Pages()
    _, wire = pages.open()
    for number in range(100):
        pages.publish()
        assert len(wire.writes) == number + 1
        pages.pass_time(0.005)


def test_no_frame_waits_longer_than_the_longest_interval_and_bursts_take_few_writes() -> None:
    pages = Pages()
    opened = [pages.open()[1] for _ in range(3)]
    published = 0
    for step in range(400):  # 4,000 a second
        pages.publish(4)
        published += 4
        pages.pass_time(0.001)
        late = int(MAX_INTERVAL * 1000) + 1
        for wire in opened if step % 20 == 0 else ():
            assert len(wire.numbers) >= published - 4 * late
    assert pages.pace.interval == MAX_INTERVAL
    pages.pass_time(MAX_INTERVAL)
    for wire in opened:
        assert wire.numbers == list(range(1, published + 1))
        assert len(wire.writes) < 40


def test_the_interval_shrinks_again_when_little_happens() -> None:
    pages = Pages()
    _, wire = pages.open()
    pages.pace.interval = MAX_INTERVAL
    for _ in range(10):
        pages.publish(2)
        pages.pass_time(1.0)
    assert pages.pace.interval == MIN_INTERVAL
    assert wire.numbers == list(range(1, 21))


@pytest.mark.parametrize(
    ("interval", "frames", "expected"),
    [
        (0.002, 8, 0.004),
        (0.04, 1000, MAX_INTERVAL),
        (0.01, 4, 0.01),
        (0.01, 1, 0.005),
        (MIN_INTERVAL, 0, MIN_INTERVAL),
    ],
)
def test_next_interval(interval: float, frames: int, expected: float) -> None:
    assert next_interval(interval, frames) == expected


def test_large_frames_do_not_wait() -> None:
    pages = Pages()
    _, wire = pages.open()
    pages.publish(3, "x" * MAX_WAITING)
    assert wire.numbers == [1, 2, 3]
    assert not wire.was_cut


def test_a_page_that_does_not_read_may_leave_so_much_unread_and_no_more__R10() -> None:
    pages = Pages()
    stream, wire = pages.open()
    stream.pauseProducing()
    pages.publish(10, "x" * (MAX_UNREAD // 11))
    pages.pass_time(1.0)
    assert (wire.writes, wire.was_cut) == ([], False)
    pages.publish(2, "x" * (MAX_UNREAD // 11))
    assert (wire.writes, wire.was_cut) == ([], True)


def test_what_waits_is_written_when_the_page_reads_again_and_before_the_stream_ends() -> None:
    pages = Pages()
    stream, wire = pages.open()
    stream.pauseProducing()
    pages.publish(3)
    stream.resumeProducing()
    assert wire.numbers == [1, 2, 3]
    pages.publish(2)
    stream.finish()
    assert wire.numbers == [1, 2, 3, 4, 5]


def test_a_stream_that_has_ended_leaves_no_timer() -> None:
    pages = Pages()
    stream, wire = pages.open()
    before = len(pages.stage.clock.getDelayedCalls())
    pages.publish(5)
    assert len(pages.stage.clock.getDelayedCalls()) == before + 1
    stream.stopProducing()
    pages.pass_time(1.0)
    assert wire.numbers == [1]
    assert len(pages.stage.clock.getDelayedCalls()) <= before
