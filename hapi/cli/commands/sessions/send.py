"""`hapi sessions send`: send a prompt to a session, and wait for the answer if that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import TIMEOUT, active_session_argument, ask_hub, find_session
from hapi.cli.commands.sessions.waiting import (
    WAIT_EPILOG,
    WaitOptions,
    read_prompt,
    report_turn,
    wait_for_turn,
    wait_options,
)

if TYPE_CHECKING:
    from hapi.client import ApiClient
    from hapi.client.turn import Outcome


@click.command("send", epilog=WAIT_EPILOG, short_help="Send a prompt to a session.")
@active_session_argument
@click.argument("text")
@click.option("--wait", is_flag=True, help="Wait for the end of the turn and print the answer.")
@wait_options
@json_flag
@click.pass_context
def command(
    context: click.Context,
    session_id: str,
    text: str,
    wait: bool,
    timeout: float,
    on_request: str,
    as_json: bool,
) -> None:
    """Send TEXT as a prompt to the session ID. `-` reads the prompt from standard input.

    With --wait, the answer is all that is printed on standard output: what the agent said after its
    last tool call, or the last that it said before. A prompt that has to wait for an earlier turn
    is waited for as well.
    """
    prompt = read_prompt(text)
    options = WaitOptions(timeout, on_request == "wait")

    async def send(client: ApiClient) -> tuple[str, str, Outcome | None]:
        found = await find_session(client, session_id)
        local_id = await client.send(found, prompt)
        outcome = await wait_for_turn(client, found, local_id, options) if wait else None
        return found, local_id, outcome

    found, local_id, outcome = ask_hub(send, timeout + TIMEOUT if wait else TIMEOUT)
    if wait:
        context.exit(report_turn(found, outcome, as_json, localId=local_id))
    if as_json:
        print_json({"sessionId": found, "localId": local_id})
    else:
        echo("Prompt sent")
