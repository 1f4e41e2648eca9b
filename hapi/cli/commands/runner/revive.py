"""`hapi runner revive`: list interrupted sessions and resume them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.completion import session_completer
from hapi.cli.base.errors import NOT_RUNNING, CommandError, exit_codes_epilog
from hapi.cli.base.output import echo, print_json, table
from hapi.cli.runner.running import call_runner
from hapi.cli.runner.session_ids import id_named
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.units import plural

REVIVE_TIMEOUT = 3600.0  # seconds for all sessions together


@click.command(
    "revive",
    epilog=exit_codes_epilog(NOT_RUNNING),
    short_help="List or resume interrupted sessions.",
)
@click.argument("session_id", required=False, shell_complete=session_completer("interrupted"))
@click.option("--all", "everything", is_flag=True, help="Resume all interrupted sessions in turn.")
@json_flag
def command(session_id: str | None, everything: bool, as_json: bool) -> None:
    """List the sessions that a reboot or a crash interrupted, or resume SESSION_ID.

    A session resumes in its directory and under its id. SESSION_ID may be shortened as long as it
    names one session.
    """
    home = Home.find().check()
    revive_sessions(home, session_id, everything, as_json)


def revive_sessions(home: Home, session_id: str | None, everything: bool, as_json: bool) -> None:
    """List the interrupted sessions, or resume one or all of them.

    Raises CommandError when a session was not resumed.
    """

    async def revive(client: Any) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        offered = await client.interrupted()
        names = [str(session["sessionId"]) for session in offered] if everything else []
        if session_id is not None:
            whole_id = id_named(session_id, (session["sessionId"] for session in offered))
            names = list(dict.fromkeys([*names, whole_id or session_id]))
        return offered, {name: await client.revive(name) for name in names}

    offered, answers = call_runner(home, revive, seconds=REVIVE_TIMEOUT)
    if session_id is None and not everything:
        show_interrupted(offered, as_json)
        return
    if as_json:
        print_json(answers)
    elif not answers:
        echo("No session was interrupted.")
    else:
        for name, answer in answers.items():
            result = "resumed" if answer.get("success") else _failure_reason(answer)
            echo(f"{escape_control(name)}: {escape_control(result)}")
    failed = [name for name, answer in answers.items() if not answer.get("success")]
    if failed and len(answers) == 1:
        raise CommandError("the session was not resumed")
    if failed:
        raise CommandError(f"not resumed: {len(failed)} of {plural(len(answers), 'session')}")


def show_interrupted(offered: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(offered)
    elif not offered:
        echo("No session was interrupted.")
    else:
        rows = [
            [
                session["sessionId"],
                session["agent"],
                session["directory"],
                _end_time(session),
                session["reason"],
            ]
            for session in offered
        ]
        table(("SESSION", "AGENT", "DIRECTORY", "ENDED", "REASON"), rows)


def _end_time(session: Mapping[str, Any]) -> str:
    at = session.get("endedAt")
    if not isinstance(at, int):
        return "?"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1000))


def _failure_reason(answer: Mapping[str, Any]) -> str:
    if answer.get("requiresUserApproval"):
        return f"not resumed: its directory {answer.get('directory')} no longer exists"
    return f"not resumed: {answer.get('error') or 'the runner gave no reason'}"
