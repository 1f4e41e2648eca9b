"""`hapi runner stop-session`: end one session."""

from __future__ import annotations

from typing import Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.completion import session_completer
from hapi.cli.base.errors import NOT_RUNNING, USAGE, CommandError, exit_codes_epilog
from hapi.cli.base.output import echo, print_json
from hapi.cli.runner.running import call_runner
from hapi.cli.runner.session_ids import id_named
from hapi.home import Home
from hapi.redaction import escape_control

ENDED = ("stopped", "already_gone")


@click.command("stop-session", epilog=exit_codes_epilog(NOT_RUNNING), short_help="End a session.")
@click.argument("session_id", required=False, shell_complete=session_completer("live"))
@json_flag
def command(session_id: str | None, as_json: bool) -> None:
    """End the session SESSION_ID and every process it started.

    SESSION_ID is the id shown by `hapi runner list`, which may be shortened as long as it names one
    session, or PID-<n> for the session with the process id n.
    """
    if not session_id:
        raise CommandError("which session? `hapi runner list` shows the ids", USAGE)
    end_session(Home.find().check(), session_id, as_json)


def end_session(home: Home, session_id: str, as_json: bool) -> None:
    """End the session with every process it started. Raises CommandError if that fails."""

    async def end(client: Any) -> tuple[str, str, bool]:
        ids = [session.get("happySessionId") for session in await client.list()]
        whole_id = id_named(session_id, ids) or session_id
        result = await client.stop_session(whole_id)
        return (
            whole_id,
            result,
            result in ENDED
            or any(
                whole_id in (session.get("happySessionId"), f"PID-{session.get('pid')}")
                for session in await client.list()
            ),
        )

    whole_id, result, is_known = call_runner(home, end, None)
    if as_json:
        print_json({"sessionId": whole_id, "status": result})
    elif result == "stopped":
        echo("Session stopped")
    elif result == "already_gone":
        echo("Session was already stopped")
    if not is_known:
        raise CommandError(
            f"no session {escape_control(session_id)} is known to this runner; "
            "`hapi runner list` shows the live sessions"
        )
    if result not in ENDED:
        raise CommandError(
            f"the session {escape_control(whole_id)} is still running: "
            "it ignored the request to exit and could not be killed"
        )
