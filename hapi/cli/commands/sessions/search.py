"""`hapi sessions search`: full-text search over the conversations of the hub."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.sessions.ask import EPILOG, ask_hub, find_session
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient

DEFAULT_RESULTS, MAX_RESULTS = 20, 50


@click.command("search", epilog=EPILOG, short_help="Search all conversations.")
@click.argument("query", nargs=-1, required=True)
@click.option("--session", "session_id", metavar="ID", help="Search in this session only.")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_RESULTS),
    default=DEFAULT_RESULTS,
    show_default=True,
    help="How many results.",
)
@json_flag
def command(query: tuple[str, ...], session_id: str | None, limit: int, as_json: bool) -> None:
    """Search prompts, answers, tool calls and outputs of all sessions, the newest first.

    QUERY is made of words that all occur in a message, of "several words" side by side, and of
    beginnings of words (`migr*`).
    """

    async def search(client: ApiClient) -> dict[str, Any]:
        found = None if session_id is None else await find_session(client, session_id)
        return await client.search(" ".join(query), limit, found)

    reply = ask_hub(search)
    if as_json:
        print_json(reply)
        return
    for result in reply["results"]:
        at = datetime.fromtimestamp(result["time"] / 1000).astimezone()
        title = escape_control(result["sessionTitle"])
        session = escape_control(result["sessionId"])
        echo(f"{session}  {at:%Y-%m-%d %H:%M}  {title} ({escape_control(result['kind'])})")
        for line in marked(result["snippet"]).splitlines():
            echo(f"    {escape_control(line)}")
    if not reply["results"]:
        echo("Nothing found")
    if (progress := reply.get("indexing")) is not None:
        echo(f"Older messages are still being indexed: {progress['done']} of {progress['total']}")


def marked(snippet: dict[str, Any]) -> str:
    """The text of a snippet, what was found in brackets: its places count in UTF-16 code units."""
    units = snippet["text"].encode("utf-16-le", "surrogatepass")
    parts, at = [], 0
    for start, end in snippet["marks"]:
        if start >= at:
            parts += [units[2 * at : 2 * start], "[".encode("utf-16-le")]
            parts += [units[2 * start : 2 * end], "]".encode("utf-16-le")]
            at = end
    parts.append(units[2 * at :])
    return b"".join(parts).decode("utf-16-le", "replace")
