"""`hapi mcp`: the MCP server that sessions offer to their agents."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from hapi import mcp_relay
from hapi.cli.base.errors import USAGE, CommandError, exit_codes_epilog


@click.command(
    "mcp", epilog=exit_codes_epilog(), short_help="Serve HAPI's tools to an agent (for agents)."
)
@click.option(
    "--url",
    metavar="URL",
    envvar="HAPI_HTTP_MCP_URL",
    help="Pass messages on to the HTTP MCP server of a session, as npm's sessions have one. "
    "[env: HAPI_HTTP_MCP_URL; default: the session that started this program]",
)
@click.option(
    "--tools", metavar="NAME,…", help="With --url: offer only these tools. [default: all]"
)
@click.pass_context
def command(context: click.Context, url: str | None, tools: str | None) -> None:
    """Serve the Model Context Protocol on standard input and output.

    Sessions offer this to their coding agents, which start it themselves: with its tools an agent
    sets the title of its session, shows pictures and files in the conversation, and lists, reads
    and messages the person's other sessions. Started by hand it has no session to serve. To keep it
    from agents, write "mcp": false into settings.json.
    """
    given = context.get_parameter_source("url") is click.core.ParameterSource.COMMANDLINE
    if not url or (mcp_relay.has_session() and not given):
        context.exit(mcp_relay.run())
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise CommandError(f"{url} is no address of an MCP server (http://127.0.0.1:PORT/)", USAGE)
    from hapi.cli.commands.mcp_bridge import run

    names = frozenset(name.strip() for name in (tools or "").split(",") if name.strip())
    context.exit(run(url, names or None))
