"""The Socket.IO codec against recordings, another implementation, and garbage."""

import json
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, example, given, seed, settings
from hypothesis import strategies as st

from hapi.protocol.engineio import MESSAGE, Handshake
from hapi.protocol.json import Malformed, from_json, to_json
from hapi.protocol.socketio import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Packet,
    decode,
    encode,
)
from tests.support.paths import FIXTURES

QUICK = (Phase.explicit, Phase.generate)


def recorded_frames():
    """Every text message of every recording: [(file, line, text)]."""
    for path in sorted(FIXTURES.glob("*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            frame = json.loads(line).get("frame")
            if isinstance(frame, str):
                yield path.name, number, frame


FRAMES = list(recorded_frames())

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
names = st.text(min_size=1, max_size=12).filter(
    lambda name: (
        name
        not in {
            "connect",
            "connect_error",
            "disconnect",
            "disconnecting",
            "newListener",
            "removeListener",
            "__proto__",
        }
    )
)
namespaces = st.sampled_from(["/", "/cli", "/terminal", "/a-b"])
acks = st.integers(0, 10**9)
packets = st.one_of(
    st.builds(
        Packet,
        st.just(CONNECT),
        namespaces,
        st.none(),
        st.none() | st.dictionaries(st.text(), json_values, max_size=3),
    ),
    st.builds(Packet, st.just(DISCONNECT), namespaces),
    st.builds(
        lambda space, ack, name, rest: Packet(EVENT, space, ack, [name, *rest]),
        namespaces,
        st.none() | acks,
        names,
        st.lists(json_values, max_size=3),
    ),
    st.builds(Packet, st.just(ACK), namespaces, acks, st.lists(json_values, max_size=3)),
    st.builds(
        Packet,
        st.just(CONNECT_ERROR),
        namespaces,
        st.none(),
        st.fixed_dictionaries({"message": st.text()}),
    ),
)


def test_there_are_recordings():
    assert len(FRAMES) > 1000


def test_every_recorded_message_is_read_and_written_again_with_the_same_content():
    for name, number, frame in FRAMES:
        where = f"{name}:{number} {frame[:60]}"
        if frame[:1] == "0":
            assert Handshake.parse(frame[1:]).sid, where
        elif frame[:1] == MESSAGE and not refused_on_purpose(frame):
            packet = decode(frame[1:])
            assert decode(encode(packet)) == packet, where
            assert json_part(encode(packet)) == json_part(frame[1:]), where
        else:
            assert frame in {"1", "2", "3"} or refused_on_purpose(frame), where


def refused_on_purpose(frame):
    """Messages that a client sent by hand to see them refused."""
    try:
        if frame[:1] == MESSAGE:
            decode(frame[1:])
            return False
    except Malformed:
        return True
    return frame[:1] not in set("0123")


def json_part(text):
    starts = [place for place in (text.find("["), text.find("{")) if place >= 0]
    return json.loads(text[min(starts) :]) if starts else None


@given(packets)
@settings(max_examples=300, deadline=None)
def test_a_packet_survives_the_wire(packet):
    assert decode(encode(packet)) == packet


@given(packets)
@settings(max_examples=300, deadline=None)
def test_python_socketio_reads_what_we_write_and_we_read_what_it_writes(packet):
    from socketio.packet import Packet as Theirs

    theirs = Theirs(encoded_packet=encode(packet))
    assert (theirs.packet_type, theirs.namespace or "/", theirs.id, theirs.data) == (
        packet.kind,
        packet.namespace,
        packet.ack,
        packet.data,
    )
    written = Theirs(
        packet_type=packet.kind, data=packet.data, namespace=packet.namespace, id=packet.ack
    ).encode()
    assert decode(written) == packet


PIECES = [
    *'0123456789-,/[]{}":cli\\u\0 e',
    "\ud83d",
    "é",
    "😀",
    "__proto__",
    "null",
    "NaN",
    "[[[[",
    '2/cli,["a"',
    "3/cli,7[",
]


def garbage(numbers: bytes) -> str:
    return "".join(PIECES[number % len(PIECES)] for number in numbers)


def refused_or_a_packet(text):
    try:
        packet = decode(text)
    except Malformed:
        return
    assert decode(encode(packet)) == packet


@seed(20260730)
@given(st.binary(max_size=24).map(garbage))
@example("2[" + "[" * 100_000)
@example("2" + "9" * 4000 + '["a"]')
@settings(
    max_examples=20_000,
    deadline=None,
    database=None,
    phases=QUICK,
    suppress_health_check=list(HealthCheck),
)
def test_garbage_is_refused_as_malformed_or_is_a_packet__N11(text):
    refused_or_a_packet(text)


def test_recorded_messages_with_broken_characters_are_refused_or_are_packets__N11():
    random = Random(20260730)
    for _ in range(20_000):
        text = list(random.choice(FRAMES)[2][1:400])
        for _ in range(random.randint(1, 6)):
            place = random.randrange(len(text) + 1)
            text[place : place + random.randint(0, 3)] = random.choice(PIECES)
        refused_or_a_packet("".join(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "/cli,",
        "2/cli,",  # an event without a list
        "2/cli,{}",
        "2/cli,[]",
        '2/cli,[{"toString":"x"}]',  # CVE-2023-32695: the name is not a string
        "2/cli,[1]",
        "2/cli,[null]",
        '2/cli,["__proto__"]',
        '2/cli,["connect"]',  # a name of the library, CVE-2024-38355
        '2/cli,["newListener"]',
        '51-/cli,["a",{"_placeholder":true,"num":0}]',  # binary event
        '61-/cli,3[{"_placeholder":true,"num":9}]',  # binary ack, CVE-2022-2421
        '2/cli,["a"',
        '2/cli,["a"]]',
        '2/cli,["a",NaN]',
        '2/cli,["a",Infinity]',
        '2/cli,["a",1e999]',
        '2/cli,["\\ud83d",NaN]',
        '2/cli,["a"]\0',
        "3/cli,[1]",  # an answer to nothing
        "3/cli,1{}",
        "3/cli,1",
        '0/cli,["token"]',
        '0/cli,"token"',
        "0/cli,7{}",
        "1/cli,{}",
        "1/cli,[]",
        "4/cli,",
        "4/cli,7",
        "2/cli,-1[]",
        "2/cli,12345678901234567890[]",
    ],
)
def test_known_bad_packets_are_malformed__N12(text):
    with pytest.raises(Malformed):
        decode(text)


def test_a_placeholder_in_a_plain_event_is_data_like_any_other__N12():
    assert decode('2/cli,["a",{"_placeholder":true,"num":0}]').data[1] == {
        "_placeholder": True,
        "num": 0,
    }


def test_deep_nesting_is_malformed_and_not_a_crash():
    with pytest.raises(Malformed):
        decode('2["a",' + "[" * 200_000 + "]" * 200_000 + "]")


def test_a_cut_emoji_is_read_as_a_replacement_character():
    assert from_json(r'["half \ud83d", "whole 😀", "\\ud83d"]') == [
        "half \ufffd",
        "whole 😀",
        r"\ud83d",
    ]


def test_text_with_a_lone_surrogate_goes_out_as_json():
    assert json.loads(to_json({"text": "half \ud83d"})) == {"text": "half \ud83d"}


@pytest.mark.parametrize("number", [1795173033250.0022, 0.1, 1e21, 2**53, -0.5, 1795175850041])
def test_numbers_keep_every_digit(number):
    assert from_json(to_json(number)) == number
