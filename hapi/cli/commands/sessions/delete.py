"""`hapi sessions delete`: delete a session."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import EPILOG, ask_hub, find_session, session_argument
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient


@click.command("delete", epilog=EPILOG, short_help="Delete a session with its messages.")
@session_argument
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_flag
def command(session_id: str, yes: bool, as_json: bool) -> None:
    """Delete the session ID with its messages.

    On a terminal, the command asks for confirmation first. A session whose process runs has to be
    archived before.
    """
    if not yes and sys.stdin.isatty():
        shown = escape_control(session_id)
        click.confirm(f"Delete the session {shown} with its messages?", abort=True, err=True)

    async def act(client: ApiClient) -> str:
        found = await find_session(client, session_id)
        await client.delete(found)
        return found

    found = ask_hub(act)
    if as_json:
        print_json({"sessionId": found, "deleted": True})
    else:
        echo("Session deleted")
