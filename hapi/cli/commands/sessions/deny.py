"""`hapi sessions deny`: deny a permission request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.commands.sessions.ask import (
    EPILOG,
    active_session_argument,
    answer_request,
)

if TYPE_CHECKING:
    from hapi.client import ApiClient


@click.command("deny", epilog=EPILOG, short_help="Deny a permission request.")
@active_session_argument
@click.argument("request_id", metavar="[REQUEST]", required=False)
@click.option("--abort", is_flag=True, help="Stop the turn as well.")
@click.option("--reason", metavar="TEXT", help="What the agent gets as its next prompt.")
@json_flag
def command(
    session_id: str, request_id: str | None, abort: bool, reason: str | None, as_json: bool
) -> None:
    """Deny the permission request REQUEST of the session ID.

    REQUEST may be omitted if only one is open; `hapi sessions show ID` lists them.
    """

    async def deny(client: ApiClient, found: str, request: str) -> None:
        await client.deny(found, request, "abort" if abort else "denied", reason)

    answer_request(session_id, request_id, deny, False, as_json)
