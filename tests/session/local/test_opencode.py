"""How OpenCode's own program is started, and its server's stream of events."""

import json
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from hapi.session.local.interface import LocalStart
from hapi.session.local.opencode import own_program
from hapi.session.local.opencode_api import MAX_EVENT, EventLines
from tests.support.recording_mirror import RecordingMirror

SERVERS = (
    {
        "name": "hapi",
        "command": "/usr/bin/hapi",
        "args": ["mcp-relay"],
        "env": [{"name": "A", "value": "1"}],
    },
    {
        "name": "far",
        "type": "http",
        "url": "http://127.0.0.1:1/",
        "headers": [{"name": "X-Key", "value": "k"}],
    },
)


def launch(**more):
    given = {"environ": {"HOME": "/home/ann"}, "files": Path("/nowhere"), **more}
    start = LocalStart("/usr/bin/opencode", "row", "/home/ann/shop", **given)
    return own_program(Clock(), start, RecordingMirror()).prepare()


def test_the_program_serves_on_loopback_with_a_password_of_its_own():
    first, second = launch(), launch()
    assert first.argv[0] == "/usr/bin/opencode"
    assert first.argv[3:] == ("--hostname", "127.0.0.1")
    assert first.environ["OPENCODE_SERVER_PASSWORD"] not in " ".join(first.argv)
    assert first.environ != second.environ
    assert first.environ["HOME"] == "/home/ann"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agent_session": "ses_1"}, ("--session", "ses_1")),
        ({"model": "scripted/other"}, ("--model", "scripted/other")),
        ({"permission_mode": "plan"}, ("--agent", "plan")),
        ({"permission_mode": "yolo"}, ("--auto",)),
        ({"permission_mode": "default", "model": "other"}, ()),
        ({"words": ("--prompt", "Go")}, ("--prompt", "Go")),
    ],
)
def test_what_the_session_knows_becomes_words_of_the_program(given, words):
    assert launch(**given).argv[5:] == words


def test_our_tools_are_added_to_the_settings_of_the_person():
    mine = {"model": "a/b", "mcp": {"far": {"type": "local", "command": ["mine"]}}}
    environ = {"OPENCODE_CONFIG_CONTENT": json.dumps(mine)}
    config = json.loads(
        launch(environ=environ, mcp_servers=SERVERS).environ["OPENCODE_CONFIG_CONTENT"]
    )
    assert config == {
        "model": "a/b",
        "mcp": {
            "hapi": {
                "type": "local",
                "command": ["/usr/bin/hapi", "mcp-relay"],
                "environment": {"A": "1"},
            },
            "far": {"type": "local", "command": ["mine"]},
        },
    }


def test_settings_that_cannot_be_read_are_left_as_they_are():
    environ = {"OPENCODE_CONFIG_CONTENT": "{ // mine\n}"}
    found = launch(environ=environ, mcp_servers=SERVERS).environ
    assert found["OPENCODE_CONFIG_CONTENT"] == "{ // mine\n}"


# --- server-sent events
def test_events_arrive_in_pieces_of_any_size():
    stream = b'data: {"a": "\xc3\xa4"}\n\n: a comment\nevent: x\ndata: {"b": 2}\r\n\n'
    for size in (1, 2, 7, len(stream)):
        lines = EventLines()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [event for piece in pieces for event in lines.feed(piece)] == [{"a": "ä"}, {"b": 2}]


def test_rubbish_between_events_is_left_out():
    lines = EventLines()
    stream = b'data: {"a"\ndata: [1]\ndata:\n\xff\xfe\0\ndata: {"b": 2}\n'
    assert lines.feed(stream) == [{"b": 2}]


def test_an_event_that_is_too_long_is_left_out_and_needs_no_memory():
    lines = EventLines()
    assert lines.feed(b"data: ") == []
    for _ in range(MAX_EVENT // (1 << 20) + 2):
        assert lines.feed(b"x" * (1 << 20)) == []
    assert len(lines._rest) <= MAX_EVENT
    assert lines.feed(b'"}\ndata: {"b": 2}\n') == [{"b": 2}]
