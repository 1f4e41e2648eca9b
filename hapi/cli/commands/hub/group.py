"""`hapi hub`: the hub in the foreground, and the commands for its database."""

from __future__ import annotations

import sys
from typing import Any

import click

from hapi.cli.base.command_group import CommandGroup
from hapi.cli.base.common_options import home_option, json_flag, log_format_option
from hapi.cli.base.errors import HELD, exit_codes_epilog
from hapi.cli.base.hub_options import hub_flags, hub_options
from hapi.cli.hub.foreground import serve_hub


@click.group(
    "hub",
    cls=CommandGroup,
    modules={
        name: f"hapi.cli.commands.hub.{name.replace('-', '_')}"
        for name in ("status", "audit", "backup", "compact", "migrate", "install-service")
    },
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    epilog=exit_codes_epilog(HELD, serves=True),
    short_help="Run the hub: API, database and web page.",
)
@hub_options
@log_format_option
@home_option
@click.option(
    "--relay/--no-relay",
    default=False,
    hidden=True,
    help="Accepted for compatibility with the npm CLI; there is no relay.",
)
@click.option(
    "--qr/--no-qr",
    default=False,
    show_default=True,
    help="Show the address of the page as a QR code, on a terminal.",
)
@json_flag
@click.pass_context
def command(context: click.Context, /, relay: bool, qr: bool, as_json: bool, **values: Any) -> None:
    """Run the hub: API, database and web page. The commands below administer it.

    Runners of the same home find the hub on any port, unless settings.json names another hub
    (apiUrl). Ctrl+C or SIGTERM shuts the hub down cleanly. Without a terminal, SIGHUP makes it
    reopen its log file and read the TLS certificate again; changed settings take effect after a
    restart.
    """
    flags = hub_flags(values)
    if context.invoked_subcommand is None:
        sys.exit(serve_hub(flags, as_json, qr))
    context.obj = flags.pop("database", None)
    if flags or as_json:
        raise click.UsageError("Only --home and --database may precede a command of `hapi hub`")
