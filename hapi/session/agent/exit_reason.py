"""The line in an agent's output that says why it ended. Pure.

Agents end with a stack trace, a hint at the help, or a line of their telemetry. The line that a
person needs comes before these, or is not there at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hapi.protocol.json import Malformed, from_json
from hapi.redaction import CONTROL
from hapi.session.agent.noise import ESCAPES

MAX_LENGTH = 500  # characters of the line
# Stack traces of Rust, Node.js and Python, and what these write around them.
_TRACE = re.compile(
    r"""\s+at\s | \s*\d+:\s+(?:0x[0-9a-f]+\s+-\s+)?(?:<unknown>|\S+::) | \s*stack\ backtrace:
    | note:\ (?:run\ with|some\ details) | \s+File\ ".*",\ line\ \d+ | \s*[\^~]+[\s\^~]*$
    | traceback\ \(most | during\ handling\ of | the\ above\ exception\ was | require\ stack:
    | \s*-\ /\S+$ | node\.js\ v\d | (?:node:|file://)\S+:\d+$ | /\S+:\d+$ | \s*throw\ (?:err|new)\b
    | \s+\w+:\ .*,?$ | [\s{}\[\](),;]*$""",
    re.VERBOSE | re.IGNORECASE,
)
# Progress, telemetry, and warnings that are no reason to end.
_NOISE = re.compile(
    r"""\[[\w./-]+\](?!.*(?:error|fail)) | \(node:\d+\) | \(use\ `node\ | debugger\s
    | npm\ (?:notice|warn) | (?:\S+\s+){0,2}(?:trace|debug|info|notice|warn(?:ing)?)\b
    | warning: | usage: | for\ more\ information | try\ '.*--help | .*deprecat""",
    re.VERBOSE | re.IGNORECASE,
)
# What stands before the words of a line of a log: a time, a level, the name of a module.
_LOG_PREFIX = re.compile(
    r"""\[?\d{4}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d[\d.,]*(?:Z|[+-]\d\d:?\d\d)?\]?\s*
    (?:[-|]\s*)?(?:\[?(?:ERROR|FATAL|CRITICAL|PANIC)\]?:?\s+)?""",
    re.VERBOSE,
)
_ERROR = re.compile(
    r"""(?:[\w./:@-]+:\s*)?(?:uncaught\s+)?(?:\w+\.)*\w*(?:error|exception|fatal|panic(?:ked)?)\b
    | .*\b(?:error|fatal|failed|failure|cannot|can't|could\ not|unable\ to|not\ found|denied
    | refused|invalid|missing|expired|unauthori[sz]ed|not\ logged\ in|no\ longer|unsupported
    | required|out\ of\ memory|killed)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_LOGIN = re.compile(
    r".*(?:https?://|\blog ?in\b|\bsign ?in\b|\bcode:|\bauthenticat|\bauthoriz)", re.IGNORECASE
)
_RUST_PANIC = re.compile(r"thread '.*' .*panicked at [^\n]*:$")
_INDENTED = re.compile(r"\s")


def exit_reason(stderr: str, stdout: str, exit_code: int | None) -> str | None:
    """The line that tells why an agent ended, from the end of its output; None if none does.

    `stdout`: what it wrote there besides messages. `exit_code` is None after a signal: then only a
    line that names an error counts, for the agent did not choose to end.
    """
    candidates = [list(_lines(stderr)), list(_lines(stdout))]
    for lines in candidates:
        for index in range(len(lines) - 1, -1, -1):
            if _ERROR.match(lines[index]):
                return _short(_with_next(lines, index))
    if exit_code is None:
        return None
    for lines in candidates:
        if lines:
            return _short(lines[-1])
    return None


def last_words(stderr: str, stdout: str) -> str | None:
    """The line that a silent agent wrote last; one about a login comes first, then an error."""
    lines = [*_lines(stdout), *_lines(stderr)]
    for pattern in (_LOGIN, _ERROR):
        for line in reversed(lines):
            if pattern.match(line):
                return _short(line)
    return _short(lines[-1]) if lines else None


def without_stack_trace(text: str) -> str:
    """An error message of an agent, without the stack trace that it contains."""
    kept: list[str] = []
    for line in ESCAPES.sub("", text).splitlines():
        if _TRACE.match(line) and kept:
            break
        kept.append(line)
    return "\n".join(kept).strip() or text


def _lines(text: str) -> Iterator[str]:
    """The lines that say something, without times, colours and levels."""
    rows = [ESCAPES.sub("", row).rstrip() for row in text.splitlines()]
    for index, row in enumerate(rows):
        if _RUST_PANIC.match(row):  # Rust: the message is on the next line
            continue
        if _is_source(rows, index) or _TRACE.match(row) or _NOISE.match(row.strip()):
            continue
        said = _LOG_PREFIX.sub("", _of_json(row.strip()), count=1)
        said = CONTROL.sub(" ", said).strip()
        if said:
            yield said


def _is_source(rows: Sequence[str], index: int) -> bool:
    """The line of source below the place in a Python traceback."""
    before = rows[index - 1] if index else ""
    return before.lstrip().startswith('File "') and _INDENTED.match(rows[index]) is not None


def _of_json(row: str) -> str:
    """A line of a log in JSON as text: empty unless it is an error."""
    if not row.startswith("{"):
        return row
    try:
        found = from_json(row)
    except Malformed:
        return row
    if not isinstance(found, dict):
        return row
    level = str(found.get("level", "")).lower()
    words = next(
        (found[name] for name in ("message", "msg", "error") if isinstance(found.get(name), str)),
        "",
    )
    return words if level in ("error", "fatal", "critical", "50", "60", "") else ""


def _with_next(lines: Sequence[str], index: int) -> str:
    """The line; a heading ("Model Configuration Error:") with the line that it announces."""
    if lines[index].endswith(":") and index + 1 < len(lines):
        return f"{lines[index]} {lines[index + 1]}"
    return lines[index]


def _short(line: str) -> str:
    return line if len(line) <= MAX_LENGTH else f"{line[:MAX_LENGTH]}…"
