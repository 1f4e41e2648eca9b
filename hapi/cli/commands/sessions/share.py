"""`hapi sessions share`: links under which anybody may read a conversation."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json, table
from hapi.cli.commands.sessions.ask import EPILOG, ask_hub, find_session, session_argument
from hapi.redaction import escape_control
from hapi.units import parse_duration

if TYPE_CHECKING:
    from hapi.client import ApiClient


def _lifetime(context: click.Context, parameter: click.Parameter, text: str) -> int:
    try:
        return int(parse_duration(text) * 1000)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("share", epilog=EPILOG, short_help="Share a conversation by a read-only link.")
@session_argument
@click.option(
    "--expires",
    metavar="DURATION",
    default="7d",
    show_default=True,
    callback=_lifetime,
    help="When the link ends, at most 90d.",
)
@click.option("--later", is_flag=True, help="Also show what is said from now on.")
@click.option("--tools", is_flag=True, help="Also show tool calls and their outputs.")
@click.option("--thoughts", is_flag=True, help="Also show the agent's thoughts.")
@click.option("--list", "is_list", is_flag=True, help="List the links instead of making one.")
@click.option("--revoke", metavar="LINK", help="Revoke the link with this id instead.")
@json_flag
def command(
    session_id: str,
    expires: int,
    later: bool,
    tools: bool,
    thoughts: bool,
    is_list: bool,
    revoke: str | None,
    as_json: bool,
) -> None:
    """Make a link under which anybody can read the conversation of the session ID, without a token.

    Prompts and answers are shown, and no pictures and files. The link is printed this once.
    """

    async def act(client: ApiClient) -> Any:
        found = await find_session(client, session_id)
        if revoke is not None:
            await client.revoke_share_link(found, revoke)
            return {"id": revoke, "revoked": True}
        if is_list:
            return await client.share_links(found)
        return await client.share(found, expires, later, tools, thoughts)

    reply = ask_hub(act)
    if as_json:
        print_json(reply)
    elif revoke is not None:
        echo("Link revoked")
    elif is_list:
        _print_links(reply)
    else:
        echo(escape_control(reply["url"]))


def _print_links(links: list[dict[str, Any]]) -> None:
    if not links:
        echo("No share links")
        return
    names = {"includesLater": "later", "includesTools": "tools", "includesThoughts": "thoughts"}
    rows = [
        (
            link["id"],
            f"{datetime.fromtimestamp(link['expiresAt'] / 1000).astimezone():%Y-%m-%d %H:%M}",
            ", ".join(word for name, word in names.items() if link[name]) or "-",
        )
        for link in links
    ]
    table(("ID", "ENDS", "ALSO SHOWS"), rows)
