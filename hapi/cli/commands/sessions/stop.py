"""`hapi sessions stop`: stop the turn of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import EPILOG, active_session_argument, ask_hub, find_session

if TYPE_CHECKING:
    from hapi.client import ApiClient


@click.command("stop", epilog=EPILOG, short_help="Stop the turn of a session.")
@active_session_argument
@json_flag
def command(session_id: str, as_json: bool) -> None:
    """Stop the turn of the session ID; the session goes on. Without a turn, nothing is done."""

    async def act(client: ApiClient) -> tuple[str, bool]:
        found = await find_session(client, session_id)
        runs = await _has_turn(client, found)
        if runs:
            await client.stop(found)
        return found, runs

    found, stopped = ask_hub(act)
    if as_json:
        print_json({"sessionId": found, "stopped": stopped})
    else:
        echo("Turn stopped" if stopped else "No turn is running")


async def _has_turn(client: ApiClient, session_id: str) -> bool:
    """Whether there may be a turn to stop. It is left to the hub to refuse an inactive session."""
    session = await client.session(session_id)
    if session.thinking or session.requests or not session.active:
        return True
    # A hub may learn a moment after a prompt that the session works on it.
    newest = await client.messages(session_id, 1)
    return any(message.role == "user" and message.scheduled_at is None for message in newest)
