"""`hapi sessions archive`: end the process of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import EPILOG, active_session_argument, ask_hub, find_session

if TYPE_CHECKING:
    from hapi.client import ApiClient


@click.command("archive", epilog=EPILOG, short_help="End the process of a session.")
@active_session_argument
@json_flag
def command(session_id: str, as_json: bool) -> None:
    """End the process of the session ID. Its messages are kept, and it can be reopened."""

    async def act(client: ApiClient) -> str:
        found = await find_session(client, session_id)
        await client.archive(found)
        return found

    found = ask_hub(act)
    if as_json:
        print_json({"sessionId": found, "archived": True})
    else:
        echo("Session archived")
