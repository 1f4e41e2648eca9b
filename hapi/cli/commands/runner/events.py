"""`hapi runner events`: the journal, read from its files."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from hapi.cli.base.common_options import record_options
from hapi.cli.base.errors import exit_codes_epilog
from hapi.cli.base.tail import follow, last_lines
from hapi.home import Home
from hapi.redaction import escape_control

COLUMN_FIELDS = ("time", "event", "session", "attempt", "pid", "reason", "actor")


@click.command("events", epilog=exit_codes_epilog(), short_help="Show the journal of events.")
@record_options("events")
def command(following: bool, lines: int, as_json: bool) -> None:
    """Show what happened to the runner and its sessions, why, and on whose request.

    The journal is read from its files, so no runner needs to be running.
    """
    show_events(Home.find().check(), lines, following, as_json)


def show_events(home: Home, lines: int | None, following: bool, as_json: bool) -> None:
    """Print the last `lines` events and, if `following`, new ones until Ctrl+C."""
    path = home.events
    for line in last_lines([path.with_name(f"{path.name}.1"), path], lines):
        _print_event(line, as_json)
    if not following:
        return
    rest = b""
    for piece in follow(path):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            _print_event(line, as_json)


def _print_event(line: bytes, as_json: bool) -> None:
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
        if key not in COLUMN_FIELDS
    ]
    return "  ".join(words)
