"""JSON-RPC on lines: what arrives in pieces is put together, what makes no sense is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi.protocol.json import Malformed
from hapi.protocol.jsonrpc import (
    LineBuffer,
    LineTooLong,
    Notification,
    Problem,
    Request,
    Result,
    notification,
    problem,
    read_message,
    request,
    result,
)


def test_lines_come_out_whole_however_they_arrive():
    buffer = LineBuffer()
    assert buffer.feed(b'{"a"') == []
    assert buffer.feed(b":1}\n\n{") == [b'{"a":1}']
    assert buffer.feed(b"}\r\n x \n") == [b"{}", b"x"]


@given(
    st.lists(
        st.binary(min_size=1, max_size=20).filter(
            lambda line: b"\n" not in line and line.strip() == line
        )
    ),
    st.data(),
)
def test_no_cut_of_the_stream_changes_the_lines(lines, data):
    stream, buffer, seen = b"".join(line + b"\n" for line in lines), LineBuffer(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        seen += buffer.feed(stream[:size])
        stream = stream[size:]
    assert seen == lines


def test_a_line_without_end_is_refused_and_forgotten():
    buffer = LineBuffer(limit=10)
    with pytest.raises(LineTooLong):
        buffer.feed(b"x" * 11)
    assert buffer.feed(b"{}\n") == [b"{}"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (request(3, "session/prompt", {"a": 1}), Request(3, "session/prompt", {"a": 1})),
        (notification("session/update", {}), Notification("session/update", {})),
        (result("x", None), Result("x", None)),
        (problem(4, -32601, "no"), Problem(4, -32601, "no")),
        (
            b'{"id":null,"error":{"code":-32700,"message":"Parse error"}}',
            Problem(None, -32700, "Parse error"),
        ),
        (b'{"id":1,"method":"m","params":[1]}', Request(1, "m", {})),
        (b'{"id":1,"error":{}}', Problem(1, -32603, "unknown error")),
    ],
)
def test_messages_are_read(line, message):
    assert read_message(line) == message


def test_an_error_without_words_gets_its_detail():
    line = json.dumps(
        {
            "id": 1,
            "error": {"code": -32603, "message": "Internal error", "data": {"details": "no key"}},
        }
    ).encode()
    assert read_message(line).message == "Internal error: no key"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xef\xbb\xbf", b""),
        (b"\x1b]0;{title}\x07\x1b[?25l", b""),
        (b"> ", b"\x1b[0m"),
    ],
    ids=["byte order mark", "control sequences", "prompt"],
)
def test_what_stands_around_a_message_on_its_line_is_skipped(before, after):
    line = notification("session/update", {"a": {}}).strip()
    assert read_message(before + line + after) == Notification("session/update", {"a": {}})


def test_bytes_that_are_not_utf_8_cost_no_message():
    line = notification("m", {"text": "?"}).replace(b"?", b"\xe4")
    assert read_message(line) == Notification("m", {"text": "\ufffd"})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b'{"level":"info","id":0,"msg":"log"}',
        b'log: {"id":"x"} {"id":"y"}',
        b"[]",
        b"3",
        b"{",
        b'{"id":true,"result":1}',
        b'{"id":1}',
        b'{"result":1}',
        b'{"id":{}}',
    ],
)
def test_what_is_no_message_is_malformed(line):
    with pytest.raises(Malformed):
        read_message(line)


@given(st.binary(max_size=200))
def test_garbage_is_read_or_malformed_and_nothing_else(line):
    try:
        read_message(line)
    except Malformed:
        pass
