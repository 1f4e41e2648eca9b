"""`hapi sessions show`: one session with its open requests and newest messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import (
    EPILOG,
    as_entry,
    ask_hub,
    find_session,
    session_argument,
    state,
)
from hapi.cli.commands.sessions.notes import note
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient, Message, Session

DEFAULT_MESSAGES = 10
MAX_RECORDS = 200  # a hub gives no more at once
MAX_ARGUMENTS = 500  # characters of the arguments of a request


@click.command("show", epilog=EPILOG, short_help="Show a session and its newest messages.")
@session_argument
@click.option(
    "--messages",
    type=click.IntRange(0, MAX_RECORDS),
    default=DEFAULT_MESSAGES,
    show_default=True,
    help="How many of the newest prompts and answers.",
)
@json_flag
def command(session_id: str, messages: int, as_json: bool) -> None:
    """Show the session ID, what it waits for, and its newest prompts and answers, with the notes
    between them, such as that a prompt failed.

    With --json, the messages are all records from the first of these on, tool calls among them.
    """

    async def read(client: ApiClient) -> tuple[Session, list[Message]]:
        found = await find_session(client, session_id)
        records = await client.messages(found, MAX_RECORDS) if messages else []
        return await client.session(found), _newest(records, messages)

    session, newest = ask_hub(read)
    if as_json:
        print_json(_as_report(session, newest))
        return
    echo(f"Session:   {escape_control(session.id)}")
    for label, value in (
        ("Name", session.title),
        ("Agent", session.agent),
        ("Directory", session.directory),
        ("State", _state(session)),
    ):
        echo(f"{label + ':':10} {escape_control(value or '-')}")
    for request in session.requests:
        arguments = json.dumps(request.arguments, ensure_ascii=False)[:MAX_ARGUMENTS]
        echo(
            f"Request {escape_control(request.id)}: {escape_control(request.tool)} "
            f"{escape_control(arguments)}"
        )
        for option in request.options:
            name = escape_control(option.get("name") or "-")
            echo(f"  Option {escape_control(option.get('id'))}: {name}")
    for message in newest:
        if message.text is not None:
            echo()
            who = "You" if message.role == "user" else "Agent"
            lines = (escape_control(line) for line in message.text.splitlines())
            echo(f"{who}: " + "\n".join(lines))
        elif (status := message.status) is not None:
            echo()
            echo(note(status))


def _newest(records: list[Message], count: int) -> list[Message]:
    """The records from the one on with which the last `count` prompts and answers begin."""
    spoken = [index for index, record in enumerate(records) if record.text is not None]
    return records[spoken[-count] :] if 0 < count <= len(spoken) else records


def _state(session: Session) -> str:
    word = state(session, bool(session.requests))
    return "waiting for an answer" if word == "waiting" else word


def _as_report(session: Session, newest: list[Message]) -> dict[str, Any]:
    return {
        **as_entry(session, len(session.requests)),
        "permissionMode": session.permission_mode,
        "requests": [
            {
                "id": each.id,
                "tool": each.tool,
                "arguments": each.arguments,
                "options": each.options,
            }
            for each in session.requests
        ],
        "messages": [
            {
                "id": each.id,
                "role": each.role,
                "text": each.text,
                "content": each.content,
                "createdAt": each.created_at,
                "invokedAt": each.invoked_at,
            }
            for each in newest
        ],
    }
