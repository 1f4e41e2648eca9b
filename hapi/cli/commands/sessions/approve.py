"""`hapi sessions approve`: approve a permission request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.commands.sessions.ask import (
    EPILOG,
    active_session_argument,
    answer_request,
    find_option,
)

if TYPE_CHECKING:
    from hapi.client import ApiClient


@click.command("approve", epilog=EPILOG, short_help="Approve a permission request.")
@active_session_argument
@click.argument("request_id", metavar="[REQUEST]", required=False)
@click.option("--for-session", is_flag=True, help="Allow the same for the rest of the session.")
@click.option("--option", metavar="OPTION", help="Choose this option, by its id or name.")
@json_flag
def command(
    session_id: str, request_id: str | None, for_session: bool, option: str | None, as_json: bool
) -> None:
    """Approve the permission request REQUEST of the session ID.

    REQUEST may be omitted if only one is open; `hapi sessions show ID` lists them with their
    options.
    """

    async def approve(client: ApiClient, found: str, request: str) -> None:
        decision = "approved_for_session" if for_session else "approved"
        chosen = None if option is None else await find_option(client, found, request, option)
        await client.approve(found, request, decision, chosen)  # type: ignore[arg-type]

    answer_request(session_id, request_id, approve, True, as_json)
