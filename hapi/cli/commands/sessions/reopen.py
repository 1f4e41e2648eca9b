"""`hapi sessions reopen`: start a session again whose process has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import EPILOG, ask_hub, find_session, session_argument

if TYPE_CHECKING:
    from hapi.client import ApiClient


@click.command("reopen", epilog=EPILOG, short_help="Start an ended session again.")
@session_argument
@json_flag
def command(session_id: str, as_json: bool) -> None:
    """Start the session ID again on its machine, where it goes on with its conversation.

    The session may get another ID, which is printed. One that runs is left alone. To go on with a
    session in this terminal, use `hapi resume`.
    """

    async def act(client: ApiClient) -> tuple[str, bool]:
        found = await find_session(client, session_id)
        session = await client.session(found)
        if session.active:
            return found, False
        return await client.reopen(found), True

    found, was_started = ask_hub(act)
    if as_json:
        print_json({"sessionId": found, "reopened": was_started})
    else:
        echo(found if was_started else "The session is running")
