"""The event stream of the client: reading events, and connecting again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from hapi.client import ApiClient, HubAccess, HubUnreachable
from hapi.client.events import MAX_WAITING, EventParser
from tests.support.hub_stage import result_of, waits


def frame(number: int) -> bytes:
    return b'id: %d\ndata: {"type": "session-updated", "sessionId": "s%d"}\n\n' % (number, number)


def test_events_are_read_from_pieces_of_any_size():
    whole = b": a comment\r\n\r\n" + frame(1) + b"data: no JSON\n\n" + frame(2)
    parser = EventParser()
    events = [event for byte in whole for event in parser.feed(bytes([byte]))]
    assert [(event.session_id, event.id) for event in events] == [("s1", "1"), ("s2", "2")]
    assert parser.last_id == "2"


def test_a_line_without_end_is_refused():
    parser = EventParser()
    with pytest.raises(ValueError, match="endless line"):
        parser.feed(b"x" * (5 << 20))


def test_an_event_without_end_is_refused():
    parser = EventParser()
    with pytest.raises(ValueError, match="endless event"):
        parser.feed(b"data: x\n" * 2000)


@define
class Connection:
    """A response that the test writes. It stands in for its transport as well."""

    headers_sent: dict[str, str]
    code: int = 200
    headers: Headers = field(factory=Headers)
    reader: Any = None
    calls: list[str] = field(factory=list)

    def deliverBody(self, reader: Any) -> None:
        self.reader = reader
        reader.makeConnection(self)

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")
        self.lose()

    def lose(self) -> None:
        self.reader.connectionLost(Failure(ConnectionDone()))


@define
class Http:
    """A hub that accepts every login; `is_down` refuses event streams."""

    streams: list[Connection] = field(factory=list)
    is_down: bool = False

    async def request(self, method: str, url: str, **more: Any) -> Any:
        if self.is_down:
            raise OSError("refused")
        self.streams.append(Connection(more["headers"]))
        return self.streams[-1]


@pytest.fixture
def http() -> Http:
    return Http()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream(http, clock):
    client = ApiClient(clock, HubAccess("http://hub", "t"), http)
    client._transport._token = "web token"
    return client.events()


def following(stream: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(stream.__anext__())


def test_a_lost_connection_is_made_again_from_the_last_event(stream, http, clock):
    first = following(stream)
    http.streams[0].reader.dataReceived(frame(7))
    assert result_of(first).session_id == "s7"
    second = following(stream)
    http.is_down = True
    http.streams[0].lose()
    clock.advance(0.9)
    http.is_down = False
    assert waits(second)
    clock.advance(0.1)
    assert http.streams[1].headers_sent["Last-Event-ID"] == "7"
    http.streams[1].reader.dataReceived(frame(8))
    assert result_of(second).session_id == "s8"


def test_a_first_connection_that_fails_is_an_error(stream, http):
    http.is_down = True
    with pytest.raises(HubUnreachable):
        result_of(following(stream))


def test_a_closed_stream_ends_the_iteration(stream, http):
    waiting = following(stream)
    stream.close()
    with pytest.raises(StopAsyncIteration):
        result_of(waiting)
    assert http.streams[0].calls == ["stop"]


def test_a_slow_reader_makes_the_hub_wait(stream, http):
    first = following(stream)
    many = b"".join(frame(number) for number in range(MAX_WAITING + 2))
    http.streams[0].reader.dataReceived(many)
    result_of(first)
    assert http.streams[0].calls == ["pause"]
    for _ in range(MAX_WAITING + 1):
        result_of(following(stream))
    waiting = following(stream)
    assert waits(waiting)
    assert http.streams[0].calls == ["pause", "resume"]


def test_the_wire_form_of_an_event_is_kept(stream, http):
    first = following(stream)
    http.streams[0].reader.dataReceived(frame(1))
    assert json.dumps(result_of(first).body) == '{"type": "session-updated", "sessionId": "s1"}'
