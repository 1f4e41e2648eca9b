"""`hapi runner list`: the live sessions."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.errors import NOT_RUNNING, exit_codes_epilog
from hapi.cli.base.output import echo, print_json, table
from hapi.cli.runner.running import call_runner
from hapi.home import Home
from hapi.redaction import escape_control

COLUMNS = {  # field of a session → heading of its column
    "happySessionId": "SESSION",
    "agent": "AGENT",
    "directory": "DIRECTORY",
    "state": "STATE",
    "mode": "MODE",
    "pid": "PID",
    "startedBy": "STARTED BY",
}


@click.command("list", epilog=exit_codes_epilog(NOT_RUNNING), short_help="List the live sessions.")
@click.option("--table", "as_table", is_flag=True, help="Print a table even without a terminal.")
@json_flag
def command(as_table: bool, as_json: bool) -> None:
    """List the live sessions of this runner.

    On a terminal the sessions are shown as a table, otherwise as JSON below a heading. Scripts
    should use --json.
    """
    show_sessions(Home.find().check(), as_table, as_json)


def show_sessions(home: Home, as_table: bool, as_json: bool) -> None:
    """Print the live sessions of the runner. Raises CommandError when no runner runs."""
    sessions = call_runner(home, lambda client: client.list(), [] if as_json else None)
    if as_json:
        print_json(sessions)
    elif not sessions:
        echo("No active sessions this runner is aware of.")
    elif as_table or sys.stdout.isatty():
        rows = [[shown(session).get(key) or "-" for key in COLUMNS] for session in sessions]
        table(tuple(COLUMNS.values()), rows)
        for note in notes(sessions):
            echo(note)
    else:
        echo("Active sessions:")
        print_json(sessions)


def shown(session: Mapping[str, Any]) -> Mapping[str, Any]:
    """The session as the table shows it: with its permission mode, and the state of one whose
    agent rests is `resting`."""
    activity = session.get("activity") or {}
    resting = {"state": "resting"} if activity.get("doing") == "resting" else {}
    return {**session, "mode": activity.get("mode"), **resting}


def notes(sessions: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each session whose records do not reach the hub."""
    found = []
    for session in sessions:
        activity, name = session.get("activity") or {}, session.get("happySessionId")
        if reason := activity.get("hub"):
            found.append(
                f"Session {name} is {reason}. It follows the runner's hub and token; see "
                "`hapi runner status`."
            )
        elif problem := activity.get("problem"):
            found.append(f"Session {name}: {problem}.")
    return list(map(escape_control, found))
