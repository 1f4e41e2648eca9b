"""`hapi sessions wait`: wait for the turn that runs in a session, and print its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.commands.sessions.ask import TIMEOUT, active_session_argument, ask_hub, find_session
from hapi.cli.commands.sessions.waiting import (
    WAIT_EPILOG,
    WaitOptions,
    report_turn,
    wait_for_turn,
    wait_options,
)

if TYPE_CHECKING:
    from hapi.client import ApiClient
    from hapi.client.turn import Outcome


@click.command("wait", epilog=WAIT_EPILOG, short_help="Wait for a turn and print its answer.")
@active_session_argument
@click.option(
    "--prompt", metavar="LOCAL_ID", help="The prompt, by the localId that `send --json` prints."
)
@wait_options
@json_flag
@click.pass_context
def command(
    context: click.Context,
    session_id: str,
    prompt: str | None,
    timeout: float,
    on_request: str,
    as_json: bool,
) -> None:
    """Wait until the turn of the newest prompt in the session ID has ended, and print its answer.

    A turn that has ended already is not waited for.
    """
    options = WaitOptions(timeout, on_request == "wait")

    async def wait(client: ApiClient) -> tuple[str, Outcome | None]:
        found = await find_session(client, session_id)
        return found, await wait_for_turn(client, found, prompt, options)

    found, outcome = ask_hub(wait, timeout + TIMEOUT)
    context.exit(report_turn(found, outcome, as_json))
