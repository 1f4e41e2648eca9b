"""Codex's transcript as it was recorded (0.166.0, a scripted model), older ones, damaged ones."""

import json
from pathlib import Path

import pytest

from hapi.protocol.acp.prompts import Usage
from hapi.session.local.codex_transcript import RolloutReader
from tests.support.recording_mirror import RecordingMirror

SAMPLE = Path(__file__).parent / "samples/codex-0.166.0.jsonl"
LINES = SAMPLE.read_bytes().splitlines()


def read(lines, ask_after=None):
    """The mirror after `lines`; what has no result yet is told of after the line `ask_after`."""
    mirror = RecordingMirror()
    reader = RolloutReader(mirror, "thread")
    for line in lines:
        reader.line(line)
        if ask_after is not None and ask_after in line:
            reader.ask()
    return mirror, reader


def lines_of(*payloads, kind="event_msg"):
    return [
        json.dumps(
            {
                "timestamp": f"2026-03-01T10:00:{number:02}.000Z",
                "type": payload.pop("line", kind),
                "payload": payload,
            }
        ).encode()
        for number, payload in enumerate(payloads)
    ]


def test_turns_are_reported_in_the_order_in_which_they_happened():
    mirror, _ = read(LINES, ask_after=b'"function_call"')
    assert mirror.story() == [
        "begins",
        "> run: echo one > one.txt",
        "reasoning: A tool is wanted.",
        "message: I will run it.",
        "echo one > one.txt: in_progress",
        "asks echo one > one.txt",
        "allowed",
        "result",
        (
            "message: Output: Chunk ID: 84b380\nWall time: 0.0000 seconds\n"
            "Process exited with code 0\nOriginal token count: 0\nOutput:"
        ),
        "ends",
        "begins",
        "> please hold",
        "message: Holding ",
        "- Session aborted",
        "ends",
        "begins",
        "> write: d.txt some words",
        "reasoning: A tool is wanted.",
        "Edit files: in_progress",
        "Edit /home/ann/shop/d.txt: completed",
        "result",
        (
            "message: Output: Exit code: 0\nWall time: 0.1 seconds\nOutput:\n"
            "Success. Updated the following files:\nA d.txt"
        ),
        "ends",
        "begins",
        "> please fail",
        (
            '- Codex prompt failed: {"type": "error", "error": {"type": "invalid_request_error", '
            '"message": "the model is out of order", "code": 400}}'
        ),
        "ends",
        "begins",
        "> run: echo two > two.txt",
        "reasoning: A tool is wanted.",
        "message: I will run it.",
        "echo two > two.txt: in_progress",
        "asks echo two > two.txt",
        "refused",
        "failed",
        "- Session aborted",
        "ends",
    ]


def test_what_each_turn_used_is_told_once():
    mirror, _ = read(LINES)
    used = [call[1:] for call in mirror.calls if call[0] == "usage"]
    assert used == [
        (Usage(200, 40), "gpt-5.5", (120, 258400)),
        (Usage(200, 40), "gpt-5.5", (120, 258400)),
        (Usage(100, 20), "gpt-5.5", (120, 258400)),
    ]


def test_times_never_go_back_and_keys_are_the_same_each_time():
    first, second = read(LINES)[0], read(LINES)[0]
    assert first.times == sorted(first.times)
    assert first.keys == second.keys
    assert len(set(first.keys)) == len(first.keys)


def test_a_page_cannot_answer_what_codex_asks():
    mirror, _ = read(LINES, ask_after=b'"function_call"')
    assert set(mirror.answers.values()) == {None}


@pytest.mark.parametrize(
    "context",
    [
        {"approval_policy": "never"},
        {"approval_policy": "on-request", "approvals_reviewer": "auto_review"},
    ],
)
def test_nothing_is_asked_where_codex_does_not_ask_the_person(context):
    call = {
        "line": "response_item",
        "type": "function_call",
        "name": "exec_command",
        "call_id": "c1",
        "arguments": '{"cmd": "ls", "sandbox_permissions": "require_escalated"}',
    }
    mirror, reader = read(lines_of({"line": "turn_context", **context}, call))
    reader.ask()
    assert "request" not in mirror.names()


def test_transcripts_of_older_versions_are_read():
    mirror, _ = read(
        lines_of(
            {"type": "task_started", "model_context_window": 1000},
            {"type": "user_message", "message": "Hello"},
            {"type": "agent_reasoning", "text": "Hm."},
            {
                "line": "response_item",
                "type": "function_call",
                "name": "shell",
                "call_id": "c1",
                "arguments": '{"command": ["bash", "-lc", "ls nowhere"]}',
            },
            {
                "type": "exec_command_end",
                "call_id": "c1",
                "command": ["bash", "-lc", "ls nowhere"],
                "exit_code": 2,
                "aggregated_output": "not found",
            },
            {
                "line": "response_item",
                "type": "function_call_output",
                "call_id": "c1",
                "output": "not found",
            },
            {"type": "agent_message", "message": "There is none."},
            {"type": "task_complete", "last_agent_message": "There is none."},
        )
    )
    assert mirror.story() == [
        "begins",
        "> Hello",
        "reasoning: Hm.",
        "ls nowhere: in_progress",
        "failed",
        "message: There is none.",
        "ends",
    ]


def test_a_plan_is_a_plan_and_an_edit_shows_its_lines():
    plan = {"plan": [{"step": "Look", "status": "completed"}, {"step": "Mend"}]}
    mirror, _ = read(
        lines_of(
            {
                "line": "response_item",
                "type": "function_call",
                "name": "update_plan",
                "call_id": "p",
                "arguments": json.dumps(plan),
            },
            {
                "type": "item_completed",
                "item": {
                    "type": "FileChange",
                    "id": "e",
                    "status": "completed",
                    "changes": {
                        "/a.txt": {"type": "update", "unified_diff": "@@ -1 +1 @@\n-old\n+new\n"}
                    },
                },
            },
        )
    )
    entries, card, _ = mirror.of("record")
    assert [entry["status"] for entry in entries["entries"]] == ["completed", "pending"]
    assert "-old\n+new" in card["changes"][0]["diff"]


def test_a_program_that_ends_in_the_middle_of_a_turn_leaves_nothing_open():
    at = next(number for number, line in enumerate(LINES) if b'"function_call"' in line)
    mirror, reader = read(LINES[: at + 1], ask_after=b'"function_call"')
    reader.finish()
    assert mirror.story()[-3:] == ["failed", "over", "ends"]


RUBBISH = [None, 7, "x", [], {}, [None], {"type": 5}, -1, True, 1e300, "2026-13-99"]


@pytest.mark.parametrize("value", RUBBISH, ids=repr)
def test_nothing_in_a_line_breaks_the_reader(value):
    for line in LINES[:30]:
        for damaged in _damaged(json.loads(line), value):
            _, reader = read([LINES[0], json.dumps(damaged).encode(), line])
            reader.ask()
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
