"""`hapi ping-peer`: send a message to another session, which is resumed if it has ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.completion import complete_file, complete_hub_session
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.peers import (
    NoPeer,
    epilog,
    fail,
    find_peer,
    flag,
    json_peer,
    list_peers,
    run,
    title,
)
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient

NAME = "ping-peer"
MAX_LISTED = 30
ACTIVE_TIMEOUT, ACTIVE_POLL_INTERVAL = 60.0, 1.0  # seconds for a resumed session to be active
REQUEST_TIME = 180.0  # seconds for all requests besides


@click.command(
    NAME,
    epilog=epilog(
        "the message was not delivered, whatever the reason, or a usage error",
        "the file of the message cannot be read",
    ),
    short_help="Send a message to another session (for agents).",
)
@home_option
@click.argument("prefix", metavar="[ID]", required=False, shell_complete=complete_hub_session)
@click.argument("message", required=False)
@click.option("--list", "is_list", is_flag=True, help="List the sessions that changed last.")
@click.option(
    "--message-file",
    metavar="FILE",
    shell_complete=complete_file,
    help="Read the message from a file; - reads it from standard input.",
)
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=ACTIVE_TIMEOUT,
    show_default=True,
    envvar="HAPI_WAIT_ACTIVE_SECS",
    help="How long to wait until a session that had ended runs again.",
)
@json_flag
def command(
    prefix: str | None,
    message: str | None,
    is_list: bool,
    message_file: str | None,
    wait: float,
    as_json: bool,
) -> None:
    """Send MESSAGE to the session ID, which may be shortened, and resume the session before if its
    process has ended.

    An agent may use this to reach the person's other sessions; inside of a session it also has the
    tools list_peers, ping_peer and inspect_peer. To wait for the answer, use
    `hapi sessions send --wait`. The exit codes are those of npm's command of this name.
    """
    if is_list:
        _list(as_json)
        return
    if prefix is None:
        fail(NAME, "missing session id; usage: hapi ping-peer <session-id> <message>")
    text = message if message_file is None else _read(message_file)
    if not prefix or not text or not text.strip():
        fail(NAME, "missing message; provide as arg, --message-file PATH, or --message-file -")

    def say(words: str) -> None:
        if not as_json:
            echo(f"hapi {NAME}: {words}")

    async def ping(client: ApiClient) -> str:
        peer = await find_peer(client, prefix)
        say(f'resolved {peer.id}  active={flag(peer.active)}  name="{title(peer)}"')
        session_id = peer.id
        if not peer.active:
            say("requesting resume...")
            session_id = await client.resume(peer.id)
            say(f"waiting up to {wait:g}s for active state...")
            await _until_active(client, session_id, wait)
            say("session active")
        say(f"sending message ({len(text)} chars)...")
        await client.send(session_id, text)
        return session_id

    session_id = run(NAME, ping, wait + REQUEST_TIME)
    say(f"OK - delivered to {escape_control(session_id)}")
    if as_json:
        print_json({"sessionId": session_id, "delivered": True})


def _list(as_json: bool) -> None:
    found = run(NAME, lambda client: list_peers(client, MAX_LISTED))
    if as_json:
        print_json([json_peer(each) for each in found])
    elif not found:
        echo("No peer sessions found on this hub/namespace.")
    else:
        for each in found:
            facts = f"active={flag(each.active)}  flavor={escape_control(each.agent)}"
            echo(f"  {escape_control(each.id)}  {facts}  {title(each)}")


def _read(path: str) -> str:
    try:
        if path == "-":
            content = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                content = file.read()
    except OSError as error:
        fail(NAME, f"{path}: {error.strerror or error}", 1)
    return content.decode("utf-8", "replace").removesuffix("\n")


async def _until_active(client: ApiClient, session_id: str, seconds: float) -> None:
    """Raises NoPeer."""
    from twisted.internet.task import deferLater

    deadline = client.clock.seconds() + seconds
    while not (await client.session(session_id)).active:
        if client.clock.seconds() >= deadline:
            raise NoPeer(f"session {session_id} is not active after {seconds:g}s")
        await deferLater(client.clock, ACTIVE_POLL_INTERVAL)
