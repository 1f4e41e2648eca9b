"""The lines of Claude Code's transcript, as version 2.1.197 writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapi.protocol.acp.prompts import Usage
from hapi.session.local.claude_transcript import (
    Interrupted,
    Line,
    Printed,
    Titled,
    TurnDuration,
    Typed,
    read_entry,
    transcript_path,
    usage_of,
)

COMMON = {"uuid": "u1", "timestamp": "2026-11-27T13:34:01.203Z", "isSidechain": False}


def entry(**line):
    return read_entry(json.dumps({**COMMON, **line}).encode())


def user(content, **more):
    return entry(type="user", message={"role": "user", "content": content}, **more)


def test_a_prompt_has_the_time_at_which_it_was_typed():
    found = user("hello there", origin={"kind": "human"})
    assert (found.key, found.at, found.parts) == (
        "u1",
        1795786441203,
        (Typed("hello there"),),
    )


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], Typed("a\nb")),
        ([{"type": "image", "source": {}}], Typed("(with a picture)")),
        ([{"type": "text", "text": "[Request interrupted by user]"}], Interrupted()),
        ([{"type": "text", "text": "[Request interrupted by user for tool use]"}], Interrupted()),
        ("<bash-input> ls -l</bash-input>", Typed("!ls -l")),
        ("<bash-stdout>a.txt\n</bash-stdout><bash-stderr></bash-stderr>", Printed("a.txt")),
        (
            (
                "<command-name>/model</command-name>\n<command-message>model</command-message>\n"
                "<command-args>opus</command-args>"
            ),
            Typed("/model opus"),
        ),
        (
            "<local-command-stdout>Set model to \x1b[1mopus\x1b[22m</local-command-stdout>",
            Printed("Set model to opus"),
        ),
    ],
)
def test_what_a_person_did(content, part):
    assert user(content).parts == (part,)


def test_results_and_answers_are_shown_as_they_are():
    result = user([{"type": "tool_result", "tool_use_id": "t", "content": "x", "is_error": False}])
    assert isinstance(result.parts[0], Line)
    answer = entry(type="assistant", message={"role": "assistant", "content": []})
    assert isinstance(answer.parts[0], Line)


def test_prompt_that_was_typed_while_a_turn_ran():
    found = entry(type="attachment", attachment={"type": "queued_command", "prompt": "and then"})
    assert found.parts == (Typed("and then"),)


def test_the_end_of_a_long_turn_is_shown_and_that_of_a_short_one_is_not():
    end = {"type": "system", "subtype": "turn_duration", "isMeta": False}
    assert entry(**end, durationMs=180).parts == (TurnDuration(None),)
    assert entry(**end, durationMs=60_000).parts[0].data["durationMs"] == 60_000


@pytest.mark.parametrize(
    "line",
    [
        {"type": "mode", "mode": "normal"},
        {"type": "file-history-snapshot", "messageId": "m", "snapshot": {}},
        {"type": "system", "subtype": "stop_hook_summary"},
        {"type": "attachment", "attachment": {"type": "skill_listing", "content": "x"}},
        {"type": "user", "isMeta": True, "message": {"content": "Caveat: …"}},
        {"type": "user", "isCompactSummary": True, "message": {"content": "This session …"}},
        {"type": "user", "isSidechain": True, "message": {"content": "the task of a sub-agent"}},
        {"type": "user", "message": None},
        {"type": "assistant"},
        {"type": "user", "message": {"content": "x"}, "timestamp": "yesterday"},
        {"type": "user", "message": {"content": "x"}, "uuid": 7},
    ],
)
def test_lines_that_are_not_of_the_conversation(line):
    assert entry(**line) is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_rubbish_tells_nothing(line):
    assert read_entry(line) is None


def test_a_title_of_the_agents_own():
    line = json.dumps({"type": "ai-title", "aiTitle": "Fix the build", "sessionId": "s"})
    assert read_entry(line.encode()).parts == (Titled("Fix the build"),)


def test_usage_counts_what_came_from_the_cache():
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
    }
    line = {"type": "assistant", "message": {"id": "m1", "usage": usage}}
    assert usage_of(line) == ("m1", Usage(130, 5), 135)
    assert usage_of({"type": "assistant", "message": {"id": "m1"}}) is None


def test_where_a_transcript_is():
    assert transcript_path(Path("/h/.claude/projects"), "/tmp/w.x/my work", "s1") == Path(
        "/h/.claude/projects/-tmp-w-x-my-work/s1.jsonl"
    )
