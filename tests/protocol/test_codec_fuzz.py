"""10,000 changed inputs for each reader at every change; ten million frames for a release (G11).

A reader returns a value or raises Malformed; a channel returns steps. Nothing else leaves them, and
what was read can be written again.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hapi.protocol.channel import (
    AckReceived,
    ClientChannel,
    Close,
    EventReceived,
    Joined,
    JoinRefused,
    JoinRequested,
    PeerLeft,
    Send,
    ServerChannel,
)
from hapi.protocol.control import MalformedRequest as MalformedBody
from hapi.protocol.control import SessionStarted, read_object
from hapi.protocol.engineio import MESSAGE, Handshake, refusal
from hapi.protocol.json import Malformed, from_json, to_json
from hapi.protocol.rpc import read_answer, read_request
from hapi.protocol.socketio import decode, encode
from hapi.protocol.spawn import MalformedSpawn, parse_spawn, session_arguments
from hapi.protocol.token import AccessToken
from hapi.protocol.versioned import Mismatch, NotStored, Stored, read_update_answer
from tests.support.garbage import Garbage, inputs
from tests.support.paths import FIXTURES

RELEASE = 10_000_000
OPEN = Handshake("t1").packet()


def recorded() -> list[str]:
    """Every kind of text message recorded between npm's programs, without the long ones."""
    lines = [
        json.loads(line)
        for path in sorted(FIXTURES.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    frames = {
        line["frame"]
        for line in lines
        if isinstance(line.get("frame"), str) and len(line["frame"]) < 1500
    }
    return sorted(frames)


FRAMES = recorded()
PACKETS = [frame[1:] for frame in FRAMES if frame[:1] == MESSAGE]
SPAWNS = [
    json.loads(line)["params"]
    for line in (FIXTURES / "spawn-argv.jsonl").read_text().splitlines()
    if '"params"' in line
]


def test_a_changed_packet_is_read_or_malformed__N11_N12():
    garbage, seen = Garbage("packets"), Counter()
    for _ in inputs(RELEASE):
        text = garbage.mangled(garbage.pick(PACKETS))
        try:
            packet = decode(text)
        except Malformed:
            seen["malformed"] += 1
        else:
            assert decode(encode(packet)) == packet
            seen[f"kind {packet.kind}"] += 1
    assert len(seen) == 6, seen


def test_a_changed_conversation_gives_steps_to_a_client__N11():
    """Each conversation opens correctly or nearly so, then receives anything until it closes."""
    garbage, seen = Garbage("client"), Counter()
    channel = None
    for number in inputs(RELEASE, 20_000):  # enough for each kind of step
        now = number / 10
        if channel is None or channel.closed or garbage.random.random() < 0.02:
            channel = ClientChannel.start("/cli", {"token": "secret"}, now)
            greeting = (OPEN, '40/cli,{"sid":"s1"}')
            texts = [
                garbage.mangled(text) if garbage.random.random() < 0.1 else text
                for text in greeting
            ]
        else:
            texts = [said(garbage)]
        for text in texts:
            for step in channel.receive(text, now):
                assert isinstance(
                    step,
                    Send | Close | Joined | JoinRefused | PeerLeft | EventReceived | AckReceived,
                )
                seen[type(step).__name__] += 1
        assert channel.closed or channel.deadline > now
        assert "secret" not in repr(channel)
    assert set(seen) == {
        *("Send", "Close", "Joined", "JoinRefused", "PeerLeft", "EventReceived", "AckReceived")
    }, seen


def test_a_changed_conversation_gives_steps_to_a_server__N11():
    garbage, seen = Garbage("server"), Counter()
    channel = None
    for number in inputs(RELEASE):
        now = number / 10
        if channel is None or channel.closed or garbage.random.random() < 0.02:
            channel, _ = ServerChannel.start(Handshake("t1"), {"/cli", "/terminal"}, now)
            text = '40/cli,{"token":"good"}'
        else:
            text = said(garbage)
        for step in channel.receive(text, now) + channel.check_deadline(now):
            assert isinstance(
                step, Send | Close | PeerLeft | JoinRequested | EventReceived | AckReceived
            )
            seen[type(step).__name__] += 1
            if isinstance(step, JoinRequested):
                agreed = garbage.random.random() < 0.8
                channel.accept(step.namespace, "sid") if agreed else channel.refuse(
                    step.namespace, "no"
                )
        assert channel.joined <= {"/cli", "/terminal"}
    assert set(seen) == {
        *("Send", "Close", "PeerLeft", "JoinRequested", "EventReceived", "AckReceived")
    }, seen


def said(garbage: Garbage) -> str:
    """A recorded message, changed or not."""
    text = garbage.pick(FRAMES)
    return garbage.mangled(text) if garbage.random.random() < 0.7 else text


def test_a_changed_open_packet_has_sensible_times_or_is_malformed__N11():
    garbage, seen = Garbage("open"), Counter()
    sample = json.loads(OPEN[1:])
    for _ in inputs():
        text = garbage.json_bytes(sample).decode("utf-8", "replace")
        try:
            found = Handshake.parse(
                garbage.mangled(text) if garbage.random.random() < 0.2 else text
            )
        except Malformed:
            seen["malformed"] += 1
        else:
            assert 0 < found.ping_interval <= 86_400
            assert 0 < found.ping_timeout <= 86_400
            seen["read"] += 1
    assert min(seen.values()) > 50, seen


def test_changed_json_is_a_value_that_can_be_sent_again_or_malformed__N11():
    garbage, seen = Garbage("json"), Counter()
    samples = [
        packet.data for packet in map(decode, filter(readable, PACKETS)) if packet.data is not None
    ]
    for _ in inputs(RELEASE):
        try:
            value = from_json(
                garbage.json_bytes(garbage.pick(samples)).decode("utf-8", "surrogatepass")
            )
        except (Malformed, UnicodeDecodeError) as refused:
            seen[type(refused).__name__] += 1
        else:
            assert from_json(to_json(value)) == value
            seen["read"] += 1
    assert seen["read"] > 1000
    assert seen["Malformed"] > 1000


def readable(text: str) -> bool:
    try:
        decode(text)
    except Malformed:
        return False
    return True


def test_a_changed_call_or_answer_is_read_or_malformed__N20():
    garbage, seen = Garbage("rpc"), Counter()
    sample = {
        "method": "m1:spawn-happy-session",
        "params": json.dumps({"directory": "/tmp", "agent": "claude"}),
    }
    for _ in inputs():
        value = garbage.changed(sample)
        if isinstance(value, dict) and isinstance(value.get("params"), str):
            value["params"] = garbage.mangled(value["params"])
        for read in (read_request, read_answer):
            try:
                read(value)
                seen[read.__name__] += 1
            except Malformed:
                seen[f"{read.__name__} malformed"] += 1
        assert isinstance(
            read_update_answer(value, "metadata", None), Stored | Mismatch | NotStored
        )
        answer = garbage.changed(
            {
                "result": garbage.pick(["success", "version-mismatch", "error"]),
                "version": 3,
                "metadata": {},
            }
        )
        verdict = read_update_answer(answer, "metadata", None)
        assert isinstance(verdict, NotStored) or type(verdict.version) is int
    assert min(seen.values()) > 50, seen


def test_a_changed_body_of_a_control_request_is_an_object_or_malformed__X11():
    garbage, seen = Garbage("body"), Counter()
    samples: list[Any] = [
        {"sessionId": "s1", "metadata": {"hostPid": 5, "startedBy": "runner", "path": "/tmp"}},
        {},
        *SPAWNS,
    ]
    for _ in inputs():
        try:
            found = read_object(garbage.json_bytes(garbage.pick(samples), samples), True)
        except MalformedBody:
            seen["malformed"] += 1
            continue
        seen["object"] += 1
        metadata = found.get("metadata", garbage.changed(samples[0])) or {
            "hostPid": garbage.scalar()
        }
        try:
            pid = SessionStarted("s", metadata if isinstance(metadata, dict) else None).host_pid
            assert pid is None or 1 < pid <= 4_194_304
        except ValueError:
            seen["no pid"] += 1
    assert min(seen.values()) > 50, seen


def test_what_a_changed_spawn_request_asks_for_fits_a_command_line_or_is_malformed__X11_D05():
    garbage, seen = Garbage("spawn"), Counter()
    for _ in inputs():
        try:
            request = parse_spawn(garbage.changed(garbage.pick(SPAWNS), SPAWNS))
        except MalformedSpawn:
            seen["malformed"] += 1
        else:
            for word in session_arguments(request):
                assert b"\0" not in word.encode()
            seen["read"] += 1
    assert min(seen.values()) > 50, seen


def test_a_changed_access_token_is_two_texts_or_refused():
    garbage, seen = Garbage("token"), Counter()
    for _ in inputs():
        try:
            token = AccessToken.parse(garbage.mangled("abcdefghijklmnop:space"))
        except ValueError:
            seen["refused"] += 1
        else:
            assert token.base
            assert token.namespace
            seen["read"] += 1
    assert min(seen.values()) > 50, seen


def test_a_changed_query_lets_in_what_is_right_alone__N11():
    garbage, seen = Garbage("query"), Counter()
    for _ in inputs():
        query = garbage.changed({"EIO": ["4"], "transport": ["websocket"]})
        parts = query.items() if isinstance(query, dict) else ()
        usable = {
            name: [str(value) for value in values]
            for name, values in parts
            if isinstance(values, list)
        }
        found = refusal(
            garbage.pick(["GET", "POST", "get", ""]), usable, garbage.random.random() < 0.9
        )
        seen["in" if found is None else found.code] += 1
        if found is None:
            assert (usable["transport"][0], usable["EIO"][0]) == ("websocket", "4")
        else:
            json.loads(found.body())
    assert seen["in"] > 50, seen
