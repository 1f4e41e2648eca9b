"""`hapi runner events` and `hapi runner logs`: read from the files themselves, whether a runner runs or not."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from hapi.attempts import AttemptFolder, attempts
from hapi.cli.base.errors import Stop
from hapi.cli.base.tail import follow, last_lines
from hapi.home import Home
from hapi.redaction import escape_control

FIRST = ("time", "event", "session", "attempt", "pid", "reason", "actor")


def show_events(home: Home, lines: int | None, following: bool, as_json: bool) -> None:
    """Print the last `lines` events and, if `following`, those to come until Ctrl+C."""
    path = home.events
    for line in last_lines([path.with_name(f"{path.name}.1"), path], lines):
        _event(line, as_json)
    if not following:
        return
    rest = b""
    for piece in follow(path):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            _event(line, as_json)


def _event(line: bytes, as_json: bool) -> None:
    try:
        event = json.loads(line)
    except ValueError:
        return  # half a line, from a power cut
    if isinstance(event, dict):
        print(json.dumps(event, ensure_ascii=True) if as_json else event_line(event), flush=True)


def event_line(event: dict[str, Any]) -> str:
    """An event for a person, on one line."""
    at = event.get("time")
    when = (
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
        if isinstance(at, int | float)
        else "?"
    )
    words = [
        when,
        f"{escape_control(event.get('event')):<20}",
        escape_control(event.get("session") or event.get("attempt") or "-"),
    ]
    words += [f"pid {event['pid']}"] if event.get("pid") else []
    words += [escape_control(event["reason"])] if event.get("reason") else []
    words += [f"(by {escape_control(event['actor'])})"] if event.get("actor") else []
    words += [
        f"{escape_control(key)}={escape_control(value)}"
        for key, value in event.items()
        if key not in FIRST
    ]
    return "  ".join(words)


def find_attempt(home: Home, name: str) -> AttemptFolder:
    """The newest attempt called `name`: its own name, the session's id, or PID-<n>. Raises Stop."""
    pid = int(name[4:]) if re.fullmatch(r"PID-\d{1,10}", name, re.ASCII) else None
    for folder in reversed(attempts(home)):
        if folder.id == name:
            return folder
        session, process, request = folder.session, folder.process, folder.request
        if session is not None and (
            session.session_id == name or (pid is not None and session.host_pid == pid)
        ):
            return folder
        if request is not None and request.existing_session_id == name:
            return folder
        if pid is not None and process is not None and process.child.pid == pid:
            return folder
    raise Stop(
        f"there is no session {escape_control(name)} in {home.attempts}: `hapi runner list` names those that live"
    )


def show_output(folder: AttemptFolder, lines: int | None, following: bool) -> None:
    """Print what the session wrote and, if `following`, what it writes until it ends."""
    for line in last_lines([folder.earlier_output, folder.output], lines):
        _raw(line)
    if following:
        for piece in follow(
            folder.output, lambda: folder.end is not None or not folder.path.is_dir()
        ):
            _raw(piece)


def why_silent(folder: AttemptFolder) -> str | None:
    """Why there is no output to show, as a sentence; None when there is some."""
    if any(
        path.exists() and path.stat().st_size for path in (folder.earlier_output, folder.output)
    ):
        return None
    request, session = folder.request, folder.session
    name = session.session_id if session is not None else folder.id
    if request is not None and (
        request.asked_by == "terminal" or not request.argv
    ):  # nobody holds its output
        return f"what the session {name} writes goes to the terminal it was started in; its conversation is on the page"
    return f"the session {name} wrote nothing; its conversation is on the page"


def show_log(path: Path, lines: int | None, following: bool) -> None:
    for line in last_lines([path], lines):
        _raw(line)
    if following:
        for piece in follow(path):
            _raw(piece)


def _raw(data: bytes) -> None:
    """The session's own bytes; on a terminal without what steers it."""
    if sys.stdout.isatty():
        lines = data.decode(errors="replace").split("\n")
        sys.stdout.write(
            "\n".join(escape_control(line.rstrip("\r")).replace("\\t", "\t") for line in lines)
        )
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    sys.stdout.flush()
