"""`hapi sessions send`: send a prompt."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.errors import USAGE, CommandError
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import EPILOG, active_session_argument, ask_hub, find_session

if TYPE_CHECKING:
    from hapi.client import ApiClient


@click.command("send", epilog=EPILOG, short_help="Send a prompt to a session.")
@active_session_argument
@click.argument("text")
@json_flag
def command(session_id: str, text: str, as_json: bool) -> None:
    """Send TEXT as a prompt to the session ID. `-` reads the prompt from standard input."""
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace").strip("\n")
    if not text.strip():
        raise CommandError("the prompt is empty", USAGE)

    async def send(client: ApiClient) -> tuple[str, str]:
        found = await find_session(client, session_id)
        return found, await client.send(found, text)

    found, local_id = ask_hub(send)
    if as_json:
        print_json({"sessionId": found, "localId": local_id})
    else:
        echo("Prompt sent")
