"""`hapi sessions watch`: what happens in the sessions of the hub, as it happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.completion import complete_hub_session
from hapi.cli.base.output import echo
from hapi.cli.commands.sessions.ask import EPILOG, ask_hub, find_session
from hapi.protocol import events
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient, Event

FOREVER = 10 * 365 * 86400.0  # seconds


@click.command("watch", epilog=EPILOG, short_help="Print what happens in sessions.")
@click.argument("session_id", metavar="[ID]", required=False, shell_complete=complete_hub_session)
@json_flag
def command(session_id: str | None, as_json: bool) -> None:
    """Print what happens in the session ID, or in all sessions, until Ctrl+C.

    With --json, each line is one event of the hub. Lost connections are made again, and the events
    that were missed meanwhile follow if the hub still has them.
    """

    async def watch(client: ApiClient) -> None:
        found = None if session_id is None else await find_session(client, session_id)
        async for event in client.events(found):
            if as_json:
                echo(json.dumps(event.body, ensure_ascii=True))
            elif (line := _sentence(event)) is not None:
                echo(escape_control(line))

    ask_hub(watch, FOREVER)


def _sentence(event: Event) -> str | None:
    """What happened, on one line; None for what a person need not see."""
    where = event.session_id or ""
    data = event.body.get("data")
    match event.type:
        case events.CONNECTION_CHANGED:
            return "Connected"
        case events.MESSAGE_RECEIVED:
            return _message(where, event.body.get("message"))
        case events.SESSION_ADDED:
            return f"{where} was added"
        case events.SESSION_REMOVED:
            return f"{where} was deleted"
        case events.SESSION_UPDATED if isinstance(data, dict):
            return _change(where, data)
    return None


def _message(where: str, value: Any) -> str | None:
    from hapi.client import Message

    try:
        message = msgspec.convert(value, Message)
    except msgspec.ValidationError:
        return None
    if message.text is None:
        return None
    who = "you" if message.role == "user" else "agent"
    return f"{where} {who}: {' '.join(message.text.split())}"


def _change(where: str, data: dict[str, Any]) -> str | None:
    state = data.get("agentState")
    requests = state.get("requests") if isinstance(state, dict) else None
    if isinstance(requests, dict) and requests:
        return f"{where} waits for an answer: {', '.join(map(str, requests))}"
    if data.get("active") is False:
        return f"{where} is inactive"
    return None
