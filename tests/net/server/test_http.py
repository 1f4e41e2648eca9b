"""HTTP for both servers: typed bodies, JSON replies, limits on size and time, the clock."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.test.requesthelper import DummyRequest

from hapi.net.server.http import (
    STATUSES,
    BodyTooLarge,
    InvalidBody,
    json_reply,
    read_body,
    read_json,
    status_of,
)
from hapi.net.server.site import MAX_HEAD_SIZE, LimitedSite
from hapi.startup import use_monotonic_time


class Spawn(msgspec.Struct, rename="camel"):
    directory: str
    session_id: str | None = None


def request(body=b""):
    from io import BytesIO

    made = DummyRequest([b"x"])
    made.content = BytesIO(body)
    return made


# --- bodies


def test_a_body_becomes_a_struct():
    body = b'{"directory":"/w","sessionId":"s","more":1}'
    assert read_json(request(body), 100, Spawn) == Spawn("/w", "s")
    assert read_json(request(), 100, dict) == {}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{}", 400, "directory"),
        (b'{"directory":7}', 400, "$.directory"),
        (b"[]", 400, "object"),
        (b"{", 400, "not JSON"),
        (b'{"directory":NaN}', 400, "not JSON"),
        (b'{"directory":"\xff"}', 400, "not JSON"),
        (b'{"x":' + b"[" * 100_000, 400, "JSON"),
        (b'{"directory":"' + b"x" * 200 + b'"}', 413, "100 bytes"),
    ],
)
def test_a_bad_body_is_an_error_with_its_status__X11(body, status, words):
    kind = BodyTooLarge if status == 413 else InvalidBody
    with pytest.raises(kind, match=words.replace("$", r"\$")) as refused:
        read_json(request(body), 100_010 if len(body) > 1000 else 100, Spawn)
    assert status_of(refused.value, STATUSES) == status


def test_half_an_emoji_in_a_body_is_read_as_a_replacement_character():
    body = rb'{"directory":"half \ud83d, whole \ud83d\ude00, \\ud83d, nul \u0000, \r\n"}'
    found = read_json(request(body), 100, Spawn)
    assert found.directory == "half \ufffd, whole 😀, \\ud83d, nul \0, \r\n"
    with pytest.raises(InvalidBody, match="not JSON"):
        read_json(request(body[:-1]), 100, Spawn)


def test_a_body_of_just_the_limit_passes():
    assert read_body(request(b"x" * 100), 100) == b"x" * 100


def test_replies_are_json_with_their_status():
    made = request()
    assert json_reply(made, 201, Spawn("/w")) == b'{"directory":"/w","sessionId":null}'
    assert made.responseCode == 201
    assert made.responseHeaders.getRawHeaders("content-type") == ["application/json"]
    assert made.responseHeaders.getRawHeaders("content-length") == ["35"]


def test_a_reply_may_contain_text_that_is_not_unicode():
    assert json.loads(json_reply(request(), 200, {"a": ["b\udcff"]})) == {"a": ["b\\udcff"]}


def test_the_most_specific_class_of_an_error_decides_its_status():
    statuses = {Exception: 500, ValueError: 400, BodyTooLarge: 413}
    assert [status_of(error(), statuses) for error in (KeyError, UnicodeError)] == [500, 400]
    assert status_of(BodyTooLarge(1), statuses) == 413
    assert status_of(KeyError(), STATUSES) is None


# --- the site


class Echo(Resource):
    isLeaf = True

    def render(self, request):
        if request.path == b"/slow":
            return NOT_DONE_YET
        return b"%d" % len(request.content.read())


class Caller:
    """A connection to a LimitedSite in memory."""

    def __init__(self, clock, site):
        self.clock, self.site, self.transport = clock, site, StringTransport()
        self.channel = site.buildProtocol(None)
        if self.channel is not None:
            self.channel.makeConnection(self.transport)

    def say(self, data):
        self.channel.dataReceived(data)
        return self.heard

    @property
    def heard(self):
        return self.transport.value()

    @property
    def status(self):
        return int(self.heard.split()[1]) if self.heard else None

    def gone(self):
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        self.channel.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def caller(clock):
    made = Caller(clock, LimitedSite(Echo(), clock, max_body_size=1000))
    yield made
    made.gone()
    assert not clock.getDelayedCalls()


def test_a_request_within_bounds_is_answered_and_the_connection_kept(caller):
    caller.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
    assert caller.heard.endswith(b"1000\r\n0\r\n\r\n") or caller.heard.endswith(b"1000")
    caller.transport.clear()
    caller.clock.advance(30)
    caller.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert caller.status == 200


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes__X06(caller):
    caller.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
    assert caller.status == 413
    assert b"connection: close" in caller.heard
    body = json.loads(caller.heard.partition(b"\r\n\r\n")[2])
    assert body["error"] == "the body is over 1000 bytes"
    assert caller.transport.disconnecting


def test_a_chunked_body_is_counted_as_it_comes__X06(caller):
    caller.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    caller.say(b"1f4\r\n" + b"x" * 500 + b"\r\n1f4\r\n" + b"x" * 500 + b"\r\n")
    assert caller.status is None
    caller.say(b"1\r\nx\r\n0\r\n\r\n")
    assert caller.status == 413
    assert caller.heard.count(b"HTTP/1.1") == 1


def test_a_head_of_one_byte_a_second_ends_at_five__X07(caller):
    for byte in b"GET /":
        assert caller.status is None
        caller.say(bytes([byte]))
        caller.clock.advance(1)
    assert caller.status == 408
    assert caller.transport.disconnecting


def test_a_body_of_one_byte_a_second_ends_at_ten__X07(caller):
    caller.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    for _ in range(10):
        assert caller.status is None
        caller.say(b"x")
        caller.clock.advance(1)
    assert caller.status == 408


def test_the_second_head_on_a_connection_has_its_time_too__X07(caller):
    caller.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    caller.transport.clear()
    caller.say(b"GET ")
    caller.clock.advance(5)
    assert caller.status == 408


def test_a_slow_answer_is_waited_for(caller):
    caller.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    caller.clock.advance(3600)
    assert caller.status is None
    assert not caller.transport.disconnecting


def test_a_head_too_long_is_refused(caller):
    caller.say(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * MAX_HEAD_SIZE + b"\r\n\r\n")
    assert caller.status == 431
    assert caller.transport.disconnecting


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nhello"
        ),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\nGET / HTTP/1.1\r\n",
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n"
        ),
        b"garbage\r\n\r\n",
    ],
)
def test_smuggling_is_refused__X10(caller, head):
    caller.say(head)
    assert caller.status == 400
    assert caller.transport.disconnecting


@pytest.mark.parametrize("header", [b"Host: \xff", b"Host: x\r\nAuthorization: Bearer \xe9"])
def test_a_header_that_is_not_utf8_is_refused(caller, header):
    caller.say(b"GET / HTTP/1.1\r\n" + header + b"\r\n\r\n")
    assert caller.status == 400
    assert b"not valid UTF-8" in caller.heard


def test_connections_beyond_the_limit_are_not_taken__X08(clock):
    site = LimitedSite(Echo(), clock, max_connections=3)
    callers = [Caller(clock, site) for _ in range(4)]
    assert [caller.channel is None for caller in callers] == [False, False, False, True]
    callers[0].gone()
    callers[0].channel.transport = None
    late = Caller(clock, site)
    assert late.channel is not None
    for caller in (*callers[1:3], late):
        caller.gone()
    assert not clock.getDelayedCalls()


# --- the clock


class WallReactor:
    """As much of a reactor as counts time."""

    def __init__(self):
        self.seconds = time.time
        self.calls = [
            DelayedCall(time.time() + 5, print, (), {}, lambda _: None, lambda _: None, time.time)
        ]

    def getDelayedCalls(self):
        return self.calls


def test_a_program_can_wait_on_the_monotonic_clock__N17():
    reactor = WallReactor()
    use_monotonic_time(reactor)
    use_monotonic_time(reactor)
    assert reactor.seconds is time.monotonic
    assert abs(reactor.calls[0].getTime() - time.monotonic() - 5) < 1
    reactor.calls[0].reset(7)
    assert abs(reactor.calls[0].getTime() - time.monotonic() - 7) < 1


def test_another_clock_is_left_alone():
    clock = Clock()
    use_monotonic_time(clock)
    assert clock.seconds() == 0.0
    assert isinstance(Deferred(), Deferred)


def test_the_body_of_a_client_that_has_left_is_refused() -> None:
    left = request(b"{}")
    left.content.close()  # as twisted.web does when the connection is lost
    with pytest.raises(InvalidBody):
        read_body(left, 100)
