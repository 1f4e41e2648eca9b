"""`hapi mcp`: the MCP server that sessions offer to their agents."""

from __future__ import annotations

import click

from hapi import mcp_relay
from hapi.cli.base.errors import exit_codes_epilog


@click.command(
    "mcp", epilog=exit_codes_epilog(), short_help="Serve HAPI's tools to an agent (for agents)."
)
@click.pass_context
def command(context: click.Context) -> None:
    """Serve the Model Context Protocol on standard input and output.

    Sessions offer this to their coding agents, which start it themselves: with its tools an agent
    sets the title of its session, shows pictures and files in the conversation, and lists, reads
    and messages the person's other sessions. Started by hand it has no session to serve. To keep it
    from agents, write "mcp": false into settings.json.
    """
    context.exit(mcp_relay.run())
