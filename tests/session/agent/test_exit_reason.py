"""The line of an agent's output that says why it ended. The outputs are those of real agents."""

import pytest

from hapi.session.agent.exit_reason import exit_reason, last_words, without_stack_trace

CODEX = """\
WARNING: proceeding, even though we could not create PATH aliases: No such file (os error 2)
Error: failed to initialize sqlite state runtime under /home/me/.codex: no such directory

Stack backtrace:
   0: <unknown>
   1: <unknown>
   2: <unknown>
"""
CODEX_LOG = (
    "\x1b[2m2026-11-26T10:59:47.722553Z\x1b[0m \x1b[31mERROR\x1b[0m \x1b[2mcodex_app_server\x1b[0m"
    "\x1b[2m:\x1b[0m Invalid configuration. /home/me/.codex/config.toml: unclosed array\n"
)
CLAUDE = """\
Error: the session file is damaged
[idle-compaction] skip: cache TTL is unknown, not 1h
"""
GEMINI = """\
\x1b[31mError in /home/me/.gemini/settings.json: Expected property name or '}' in JSON
Please fix the configuration file(s) and try again.\x1b[0m
"""
NODE = """\
node:internal/modules/cjs/loader:1210
  throw err;
  ^

Error: Cannot find module 'nothere'
Require stack:
- /opt/agent/cli.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15)
    at Module._load (node:internal/modules/cjs/loader:1038:27)
    at [eval]:1:1
    at evalScript (node:internal/process/execution:133:3) {
  code: 'MODULE_NOT_FOUND',
  requireStack: [ '/opt/agent/cli.js' ]
}

Node.js v20.20.2
"""
COPILOT = """\
error: unexpected argument '--nope' found

Usage: copilot --acp

For more information, try '--help'.
"""
VIBE = """\
Traceback (most recent call last):
  File "/opt/vibe/bin/vibe-acp", line 8, in <module>
    sys.exit(main())
             ~~~~^^
  File "/opt/vibe/lib/python3.13/site-packages/vibe/acp/entrypoint.py", line 98, in main
    raise ValueError("Pipe transport is only for "
                     "pipes, sockets and character devices")
ValueError: Pipe transport is only for pipes, sockets and character devices
"""
PANIC = """\
thread 'main' panicked at src/main.rs:12:5:
called `Result::unwrap()` on an `Err` value: the file could not be opened
stack backtrace:
   0: 0x55d0c0a1b2c3 - <unknown>
   1: core::panicking::panic_fmt
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"""
TOMBSTONE = "kimi-cli is no longer maintained. Please use kimi-code instead.\n"


FAST_AGENT = """
Model Configuration Error:
No model configured

Details:
Set an agent model, --model, FAST_AGENT_MODEL, or default_model in
fast-agent.yaml.
"""


@pytest.mark.parametrize(
    ("stderr", "stdout", "exit_code", "expected"),
    [
        (
            FAST_AGENT,
            "",
            1,
            "Model Configuration Error: No model configured",
        ),
        (
            CODEX,
            "",
            1,
            CODEX.splitlines()[1],
        ),
        (
            CODEX_LOG,
            "",
            1,
            "codex_app_server: Invalid configuration. /home/me/.codex/config.toml: unclosed array",
        ),
        (CLAUDE, "", 1, "Error: the session file is damaged"),
        (
            GEMINI,
            "",
            52,
            "Error in /home/me/.gemini/settings.json: Expected property name or '}' in JSON",
        ),
        (NODE, "", 1, "Error: Cannot find module 'nothere'"),
        (COPILOT, "", 2, "error: unexpected argument '--nope' found"),
        (
            VIBE,
            "",
            1,
            "ValueError: Pipe transport is only for pipes, sockets and character devices",
        ),
        (
            PANIC,
            "",
            101,
            "called `Result::unwrap()` on an `Err` value: the file could not be opened",
        ),
        ("", TOMBSTONE, 0, TOMBSTONE.strip()),
        ("npm notice new version\n", TOMBSTONE, 0, TOMBSTONE.strip()),
        ("Segmentation of input\n", "", 3, "Segmentation of input"),
        ('{"level":"info","msg":"bye"}\n{"level":"error","msg":"no model"}\n', "", 1, "no model"),
    ],
    ids=[
        "fast-agent",
        "codex",
        "codex's log",
        "claude",
        "gemini",
        "node",
        "copilot",
        "vibe",
        "panic",
        "kimi",
        "npm",
        "plain",
        "json",
    ],
)
def test_the_telling_line_is_found(stderr, stdout, exit_code, expected):
    assert exit_reason(stderr, stdout, exit_code) == expected


def test_telemetry_is_no_reason():
    telemetry = "[idle-compaction] skip: cache TTL is unknown, not 1h\n"
    assert exit_reason(telemetry, "", None) is None
    assert exit_reason(telemetry, "", 1) is None


def test_after_a_signal_only_an_error_is_a_reason():
    assert exit_reason("Loaded 12 tools\n", "", None) is None
    assert exit_reason("FATAL ERROR: heap out of memory\n", "", None) is not None


def test_nothing_but_a_stack_trace_is_no_reason():
    assert exit_reason("Stack backtrace:\n   0: <unknown>\n   1: <unknown>\n", "", 1) is None


def test_a_long_line_is_cut():
    assert len(exit_reason(f"Error: {'x' * 9000}", "", 1)) <= 501


def test_the_message_of_an_error_loses_its_stack_trace():
    assert without_stack_trace(CODEX.split("\n", 1)[1]) == CODEX.splitlines()[1]
    assert without_stack_trace("one\ntwo") == "one\ntwo"
    assert without_stack_trace("    at only.frames (x.js:1:1)") == "at only.frames (x.js:1:1)"


def test_a_login_is_what_a_silent_agent_wrote_last():
    said = "Starting\nTo sign in, open https://example.org/device\nWaiting\n[otel] no exporter\n"
    assert last_words(said, "") == "To sign in, open https://example.org/device"
    assert last_words("", "Loading models\n") == "Loading models"
    assert last_words("[otel] no exporter\n", "") is None
