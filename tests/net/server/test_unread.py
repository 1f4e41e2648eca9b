"""Answers that are read slowly or never: what they may hold, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource

from hapi.net.server.site import LimitedSite
from hapi.net.server.unread import PIECE_SIZE, PIECE_TIMEOUT, UnreadLimit

SIZE = 10 * PIECE_SIZE + 7  # bytes of the answer
ADDRESS = IPv4Address("TCP", "127.0.0.1", 1)


class Large(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"content-length", b"%d" % SIZE)
        return b"x" * SIZE

    render_HEAD = render_GET


class Wire(StringTransport):
    """A client's end: `room` bytes may be written until its producer is paused."""

    aborted = False
    room = PIECE_SIZE

    def write(self, data: bytes) -> None:
        super().write(data)
        self.room -= len(data)
        if self.room <= 0 and self.producer is not None:
            self.producer.pauseProducing()

    def read(self, size: int) -> None:
        """The client reads: there is room again."""
        self.room = size
        if self.producer is not None:
            self.producer.resumeProducing()

    def abortConnection(self) -> None:
        self.aborted = True


@define
class Reader:
    wire: Wire
    channel: Any

    @classmethod
    def of(cls, site: LimitedSite, method: bytes = b"GET") -> Reader:
        wire = Wire(peerAddress=ADDRESS, hostAddress=ADDRESS)
        channel = site.buildProtocol(ADDRESS)
        assert channel is not None
        channel.makeConnection(wire)
        channel.dataReceived(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        return cls(wire, channel)

    @property
    def body(self) -> bytes:
        return self.wire.value().partition(b"\r\n\r\n")[2]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> LimitedSite:
    return LimitedSite(Large(), clock)


def test_an_answer_is_handed_to_the_transport_as_fast_as_it_is_read(site: LimitedSite) -> None:
    reader = Reader.of(site)
    assert len(reader.body) <= 2 * PIECE_SIZE
    assert site.unread.size == SIZE - len(reader.body)
    for _ in range(12):
        reader.wire.read(PIECE_SIZE)
    assert reader.body == b"x" * SIZE
    assert site.unread.size == 0


def test_the_next_request_is_answered_after_an_answer_in_pieces(site: LimitedSite) -> None:
    reader = Reader.of(site)
    reader.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in range(30):
        reader.wire.read(PIECE_SIZE)
    assert reader.wire.value().count(b"200 OK") == 2
    assert site.unread.size == 0


def test_a_client_that_reads_nothing_is_disconnected(site: LimitedSite, clock: Clock) -> None:
    reader = Reader.of(site)
    clock.advance(PIECE_TIMEOUT - 1)
    reader.wire.read(PIECE_SIZE)  # one piece is progress
    clock.advance(PIECE_TIMEOUT - 1)
    assert not reader.wire.aborted
    clock.advance(1)
    assert reader.wire.aborted
    assert site.unread.size == 0


def test_a_client_that_leaves_ends_its_answer(site: LimitedSite, clock: Clock) -> None:
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    reader = Reader.of(site)
    reader.channel.connectionLost(Failure(ConnectionDone()))
    assert site.unread.size == 0
    assert not clock.getDelayedCalls()


def test_all_answers_together_have_a_limit_and_the_slowest_is_cut(site: LimitedSite) -> None:
    site.unread.max_size = 3 * SIZE
    readers = [Reader.of(site) for _ in range(3)]
    readers[0].wire.read(PIECE_SIZE)
    more = [Reader.of(site) for _ in range(2)]
    assert [reader.wire.aborted for reader in (*readers, *more)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert site.unread.size <= 3 * SIZE


def test_a_head_request_gets_no_body(site: LimitedSite) -> None:
    reader = Reader.of(site, b"HEAD")
    assert reader.body == b""
    assert site.unread.size == 0


def test_the_reader_with_most_unread_is_cut_of_equals_the_oldest() -> None:
    @define(eq=False)
    class Client:
        cuts: int = 0

        def cut(self) -> None:
            self.cuts += 1

    limit, (old, new, small) = UnreadLimit(100), (Client(), Client(), Client())
    limit.hold(small, 10)
    limit.hold(old, 40)
    limit.hold(new, 40)
    limit.hold(small, 21)
    assert (old.cuts, new.cuts, small.cuts) == (1, 0, 0)
    assert limit.size == 61
