"""`hapi sessions`: the sessions of a hub, on all machines."""

from __future__ import annotations

import click

from hapi.cli.base.command_group import CommandGroup
from hapi.cli.base.common_options import home_option

_MODULES = {
    name: f"hapi.cli.commands.sessions.{name}"
    for name in (
        "list",
        "show",
        "search",
        "new",
        "send",
        "wait",
        "tail",
        "watch",
        "approve",
        "deny",
        "answer",
        "stop",
        "archive",
        "reopen",
        "delete",
        "export",
        "share",
    )
}


@click.group(
    "sessions",
    cls=CommandGroup,
    modules=_MODULES,
    short_help="List the hub's sessions and steer them.",
)
@home_option
def command() -> None:
    """List the sessions of the hub, on all machines, and steer them.

    Hub and access token are those of `hapi auth login`, or of HAPI_API_URL and CLI_API_TOKEN. An
    ID may be shortened as long as it names one session.
    """
