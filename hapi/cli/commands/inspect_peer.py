"""`hapi inspect-peer`: what another session is about, and its newest texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.completion import complete_hub_session
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.peers import epilog, fail, find_peer, flag, json_peer, run, title
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.client import ApiClient, Message, Session

NAME = "inspect-peer"
DEFAULT_LIMIT, MAX_LIMIT = 30, 200  # messages; a hub gives no more at once
MAX_SNIPPET = 500  # characters of a message


@click.command(
    NAME,
    epilog=epilog(
        "the session cannot be read, whatever the reason, or a usage error", "an unexpected error"
    ),
    short_help="Read another session (for agents).",
)
@home_option
@click.argument("prefix", metavar="[ID]", required=False, shell_complete=complete_hub_session)
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="How many of the newest messages, tool calls among them, are read for texts; at most 200.",
)
@json_flag
def command(prefix: str | None, limit: int, as_json: bool) -> None:
    """Print what the session ID, which may be shortened, is about, and its newest texts.

    An agent may use this to read the person's other sessions. Nothing is changed: a session that
    has ended stays so. The exit codes are those of npm's command of this name.
    """
    if not prefix:
        fail(NAME, "missing session id; usage: hapi inspect-peer <session-id>")

    async def read(client: ApiClient) -> tuple[Session, list[Message]]:
        peer = await find_peer(client, prefix)
        session = await client.session(peer.id)
        return session, await client.messages(peer.id, min(max(limit, 1), MAX_LIMIT))

    session, messages = run(NAME, read)
    texts = [(each.role, each.text) for each in messages if each.text and each.text.strip()]
    if as_json:
        said = [{"role": role, "text": text} for role, text in texts]
        print_json(json_peer(session) | {"messages": said})
        return
    for line in _facts(session):
        echo(line)
    echo(f"messages (text snippets, newest page): {len(texts)}")
    if not texts:
        echo("(no extractable user/assistant text in this page)")
    for role, text in texts:
        plain = escape_control(" ".join(str(text).split()))
        echo(f"[{role}] {plain if len(plain) <= MAX_SNIPPET else plain[:MAX_SNIPPET] + '…'}")


def _facts(session: Session) -> list[str]:
    lifecycle = (session.metadata or {}).get("lifecycleState")
    facts = {
        "sessionId": session.id,
        "path": f"/sessions/{session.id}",
        "name": title(session),
        "flavor": session.agent,
        "active": flag(session.active),
        "thinking": flag(session.thinking),
        "lifecycle": lifecycle if isinstance(lifecycle, str) else None,
        "cwd": session.directory,
        "updatedAt": session.updated_at,
    }
    return [
        f"{name}: {escape_control(value)}" for name, value in facts.items() if value is not None
    ]
