"""The arguments of a session, as runners write them and as people do."""

import json

import pytest

from hapi.configured_agents import BUILT_IN
from hapi.protocol.spawn import parse_spawn, session_arguments
from hapi.session.startup.command_line import (
    Arguments,
    WrongUsage,
    initial_mode,
    read_arguments,
    usage_text,
)
from tests.support.paths import FIXTURES

FIXTURE = FIXTURES / "spawn-argv.jsonl"


def read(*words):
    return read_arguments(words, {**BUILT_IN, "agy": None}, "demo")


def recorded():
    for line in FIXTURE.read_text().splitlines():
        found = json.loads(line)
        argv = found.get("argv")
        if isinstance(argv, list):
            yield argv


def test_every_recorded_command_line_of_a_runner_is_understood():
    seen = 0
    for argv in recorded():
        words = argv[next(index for index, word in enumerate(argv) if word in (*BUILT_IN, "agy")) :]
        if "pty" in words:
            continue
        assert read(*words).by_runner
        seen += 1
    assert seen > 20


def test_what_our_runner_writes_comes_back():
    request = parse_spawn(
        {
            "directory": "/w",
            "agent": "opencode",
            "resumeSessionId": "s",
            "existingSessionId": "row",
            "model": "m",
            "modelReasoningEffort": "high",
            "permissionMode": "plan",
        }
    )
    assert read(*session_arguments(request)) == Arguments(
        "opencode",
        resume="s",
        existing_session_id="row",
        started_by="runner",
        starting_mode="remote",
        model="m",
        model_reasoning_effort="high",
        permission_mode="plan",
    )


def test_how_a_terminal_session_begins():
    assert read("claude").starting_mode is None
    assert read("claude", "--local").starting_mode == "local"
    assert read("claude", "--remote").starting_mode == "remote"
    assert read("claude", "--hapi-starting-mode", "local").starting_mode == "local"


def test_words_for_the_agents_program_are_left_alone():
    found = read("claude", "--model", "opus", "--", "--add-dir", "/x", "--", "-h")
    assert found.model == "opus"
    assert found.words == ("--add-dir", "/x", "--", "-h")
    assert not found.help


def test_codex_resumes_with_a_word_and_pi_with_its_own_flag():
    assert read("codex", "resume", "abc", "--started-by", "runner").resume == "abc"
    assert read("pi", "--session-id", "abc").resume == "abc"
    assert read("claude", "--resume=abc").resume == "abc"


def test_plain_hapi_starts_the_default_agent():
    assert read() == Arguments("demo")
    assert read("--model", "m").agent == "demo"


def test_empty_values_count_as_absent():
    assert read("demo", "--model", "", "--permission-mode=") == Arguments("demo")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "no command or agent named 'nobody'"),
        (["demo", "--frobnicate"], "unknown option '--frobnicate'"),
        (["demo", "hello"], "unknown argument 'hello'"),
        (["demo", "--model"], "--model needs a value"),
        (["codex", "resume"], "needs the id"),
        (["demo", "--started-by", "cron"], "'cron' is not one of runner, terminal"),
        (["demo", "--hapi-starting-mode", "pty"], "'pty' is not one of"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(words, said):
    with pytest.raises(WrongUsage, match=said.replace("(", "\\(")):
        read(*words)


def mode(*words):
    arguments = read(*words)
    return initial_mode(arguments, BUILT_IN[arguments.agent].unrestricted_mode)


def test_the_permission_mode_is_the_one_that_was_asked_for():
    assert mode("opencode") is None
    assert mode("opencode", "--permission-mode", "plan") == "plan"
    assert mode("opencode", "--yolo") == "yolo"
    assert mode("claude", "--yolo") == "bypassPermissions"
    assert mode("opencode", "--yolo", "--permission-mode", "plan") == "plan"
    assert mode("dsh") is None
    with pytest.raises(WrongUsage, match="no mode that allows everything"):
        mode("dsh", "--yolo")


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_help_of_every_agent_fits_80_columns(name):
    text = usage_text(BUILT_IN, BUILT_IN[name].permission_modes)
    assert max(map(len, text.splitlines())) <= 80
