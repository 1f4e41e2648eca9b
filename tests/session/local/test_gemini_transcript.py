"""Gemini's record of a conversation as it was made (0.61.0, a scripted model), and damaged ones."""

import json
from pathlib import Path

import pytest

from hapi.protocol.acp.prompts import Usage
from hapi.session.local.gemini_transcript import ChatReader
from tests.support.recording_mirror import RecordingMirror

SAMPLE = Path(__file__).parent / "samples/gemini-0.61.0.jsonl"
LINES = SAMPLE.read_bytes().splitlines()


def read(lines):
    mirror = RecordingMirror()
    reader = ChatReader(mirror)
    for line in lines:
        reader.line(line)
    return mirror, reader


def test_turns_are_reported_in_the_order_in_which_they_happened():
    mirror, reader = read(LINES)
    reader.end_turn()
    assert mirror.story() == [
        "> Hello",
        "begins",
        "reasoning: Nothing to do but answer.",
        "message: You said: Hello",
        "> run: echo one > one.txt",
        "reasoning: A tool is wanted.",
        "message: I will run it.",
        "echo one > one.txt: completed",
        "result",
        (
            'message: Output: {"output": "<untrusted_context>\\nOutput: (empty)\\n'
            'Process Group PGID: 9047\\n</untrusted_context>"}'
        ),
        "> please hold",
        "- Session aborted",
        "ends",
        "> write: /home/ann/shop/h.txt some words",
        "begins",
        "reasoning: A tool is wanted.",
        "Writing to h.txt: completed",
        "result",
        (
            'message: Output: {"output": "Successfully created and wrote to new file: '
            '/home/ann/shop/h.txt. Here is the updated code:\\nsome words\\n"}'
        ),
        "> please fail",
        (
            '- Gemini prompt failed: [API Error: {"type":"error","error":{"type":'
            '"invalid_request_error","message":"the model is out of order","code":400}}]'
        ),
        "ends",
        "> run: rm -f zz",
        "begins",
        "reasoning: A tool is wanted.",
        "message: I will run it.",
        "rm -f zz: failed",
        "failed",
        "- Session aborted",
        "ends",
        "> Last one",
        "begins",
        "reasoning: Nothing to do but answer.",
        "message: You said: Last one",
        "ends",
    ]


def test_the_history_that_gemini_writes_again_is_not_reported_again():
    prompts = read(LINES)[0].of("prompt")
    assert sum(b"<session_context>" in line for line in LINES) > 4
    assert len(prompts) == len(set(prompts)) == 7


def test_a_prompt_that_is_given_twice_is_reported_twice():
    again = json.loads(LINES[-4])
    assert again["content"] == [{"text": "Last one"}]
    again["id"] = "another"
    mirror, _ = read([*LINES, json.dumps(again).encode()])
    assert mirror.of("prompt")[-2:] == ["Last one", "Last one"]


def test_what_each_turn_used_is_told_once():
    mirror, reader = read(LINES)
    reader.end_turn()
    used = [call[1] for call in mirror.calls if call[0] == "usage"]
    assert used == [Usage(300, 60), Usage(200, 40), Usage(100, 20), Usage(100, 20)]


def test_times_never_go_back_and_keys_are_the_same_each_time():
    first, second = read(LINES)[0], read(LINES)[0]
    assert first.times == sorted(first.times)
    assert first.keys == second.keys
    assert len(set(first.keys)) == len(first.keys)


def test_an_edit_shows_its_lines_and_a_command_its_output():
    records = read(LINES)[0].of("record")
    [edit] = [data for data in records if data.get("nativeKind") == "edit"]
    assert edit["changes"][0]["diff"].endswith("+some words")
    results = [data["output"] for data in records if data["type"] == "tool-call-result"]
    assert results[0] == "Output: (empty)\nProcess Group PGID: 9047"


def test_the_title_is_the_summary():
    assert read([b'{"$set":{"summary":"A short title"}}'])[0].calls == [("title", "A short title")]


def test_a_turn_that_ends_by_silence_goes_on_with_the_next_line():
    at = next(number for number, line in enumerate(LINES) if b'"toolCalls"' in line)
    mirror, reader = read(LINES[:at])
    reader.end_turn()
    for line in LINES[at:]:
        reader.line(line)
    assert mirror.of("thinking")[:3] == [True, False, True]


RUBBISH = [None, 7, "x", [], {}, [None], {"type": 5}, -1, True, 1e300, "2026-13-99"]


@pytest.mark.parametrize("value", RUBBISH, ids=repr)
def test_nothing_in_a_line_breaks_the_reader(value):
    for line in LINES:
        for damaged in _damaged(json.loads(line), value):
            _, reader = read([json.dumps(damaged).encode(), line])
            reader.finish()


@pytest.mark.parametrize("line", [b"", b"{", b"\xff\xfe\0", b"[" * 100_000, b'"' + b"x" * 100_000])
def test_lines_that_are_no_json_are_left_out(line):
    assert read([line])[0].calls == []


def _damaged(value, other):
    """Copies of `value` in each of which one part is replaced by `other`."""
    yield other
    if isinstance(value, dict):
        for name, item in value.items():
            for damaged in _damaged(item, other):
                yield {**value, name: damaged}
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for damaged in _damaged(item, other):
                yield [*value[:index], damaged, *value[index + 1 :]]
