"""Engine.IO's open packet and the refusals before an upgrade."""

import json

import pytest

from hapi.protocol.engineio import MAX_PACKETS, Handshake, Refusal, refusal, split_payload
from hapi.protocol.json import Malformed


def test_the_recorded_open_packet_is_read_in_seconds():
    text = (
        '{"sid":"XhBl6qlfYcI-KiLNkg5L","upgrades":[],"pingInterval":25000,"pingTimeout":20000,'
        '"maxPayload":50331648}'
    )
    assert Handshake.parse(text) == Handshake("XhBl6qlfYcI-KiLNkg5L", 25.0, 20.0, 50_331_648)


def test_what_we_open_with_has_the_recorded_keys():
    packet = Handshake("abc").packet()
    assert packet[0] == "0"
    assert json.loads(packet[1:]) == {
        "sid": "abc",
        "upgrades": [],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": 50331648,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"sid":7,"pingInterval":25000,"pingTimeout":20000}',
        '{"sid":"a","pingInterval":"25000","pingTimeout":20000}',
        '{"sid":"a","pingInterval":0,"pingTimeout":20000}',
        '{"sid":"a","pingInterval":-1,"pingTimeout":20000}',
        '{"sid":"a","pingInterval":1e300,"pingTimeout":20000}',
        '{"sid":"a","pingInterval":25000}',
        "[" * 100_000,
    ],
)
def test_an_open_packet_that_makes_no_sense_is_malformed(text):
    with pytest.raises(Malformed):
        Handshake.parse(text)


GOOD = {"EIO": ["4"], "transport": ["websocket"]}
POLLING = {"EIO": ["4"], "transport": ["polling"]}
SIDS = {"open": "websocket", "polled": "polling"}


@pytest.mark.parametrize(
    ("method", "query", "origin_allowed", "expected"),
    [
        ("GET", GOOD, True, None),
        ("GET", GOOD | {"t": ["x7"]}, True, None),
        ("GET", {"EIO": ["4"]}, True, Refusal(400, 0, "Transport unknown")),
        (
            "GET",
            GOOD | {"transport": ["carrier-pigeon"]},
            True,
            Refusal(400, 0, "Transport unknown"),
        ),
        ("GET", POLLING, True, None),
        ("POST", POLLING, True, Refusal(400, 2, "Bad handshake method")),
        ("POST", POLLING | {"sid": ["polled"]}, True, None),
        ("GET", GOOD | {"sid": ["polled"]}, True, None),
        ("POST", GOOD | {"sid": ["polled"]}, True, Refusal(400, 2, "Bad handshake method")),
        ("PUT", POLLING | {"sid": ["polled"]}, True, Refusal(400, 2, "Bad handshake method")),
        ("GET", POLLING | {"sid": ["open"]}, True, Refusal(400, 3, "Bad request")),
        ("POST", POLLING | {"sid": ["stranger"]}, True, Refusal(400, 1, "Session ID unknown")),
        ("GET", POLLING, False, Refusal(403, 4, "Origin not allowed")),
        ("GET", GOOD | {"sid": ["stranger"]}, True, Refusal(400, 1, "Session ID unknown")),
        ("POST", GOOD, True, Refusal(400, 2, "Bad handshake method")),
        ("GET", GOOD | {"sid": ["open"]}, True, Refusal(400, 3, "Bad request")),
        ("GET", GOOD, False, Refusal(403, 4, "Origin not allowed")),
        ("GET", GOOD | {"EIO": ["3"]}, True, Refusal(400, 5, "Unsupported protocol version")),
        (
            "GET",
            {"transport": ["websocket"]},
            True,
            Refusal(400, 5, "Unsupported protocol version"),
        ),
    ],
)
def test_requests_are_refused_with_the_recorded_codes(method, query, origin_allowed, expected):
    assert refusal(method, query, origin_allowed, SIDS) == expected


def test_a_refusal_is_json():
    assert json.loads(Refusal(403, 4, "Origin not allowed").body()) == {
        "code": 4,
        "message": "Origin not allowed",
    }


@pytest.mark.parametrize(
    ("content", "packets"),
    [
        (b"3", ["3"]),
        ('40/terminal,{}\x1e42/terminal,["é"]'.encode(), ["40/terminal,{}", '42/terminal,["é"]']),
        (b"", None),
        (b"3\x1e", None),
        (b"\x1e3", None),
        (b"4\xff", None),
        (b"\x1e".join([b"3"] * MAX_PACKETS), ["3"] * MAX_PACKETS),
        (b"\x1e".join([b"3"] * (MAX_PACKETS + 1)), None),
    ],
)
def test_a_payload_of_long_polling_is_split_into_packets(content, packets):
    assert split_payload(content) == packets
