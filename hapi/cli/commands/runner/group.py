"""`hapi runner`: start, stop and query the runner of this machine."""

from __future__ import annotations

import click

from hapi.cli.base.command_group import CommandGroup
from hapi.cli.base.common_options import home_option
from hapi.cli.base.runner_options import runner_flags, runner_options

_MODULES = {
    name: f"hapi.cli.commands.runner.{name.replace('-', '_')}"
    for name in (
        "start",
        "stop",
        "restart",
        "status",
        "list",
        "stop-session",
        "revive",
        "drain",
        "resume",
        "logs",
        "events",
        "start-sync",
        "install-service",
    )
}


@click.group(
    "runner", cls=CommandGroup, modules=_MODULES, short_help="Start, stop and query the runner."
)
@runner_options
@home_option
@click.pass_context
def command(
    context: click.Context,
    /,
    roots: tuple[str, ...],
    session_command: str | None,
    **more: str | None,
) -> None:
    """Start, stop and query the runner of this machine.

    The runner starts sessions when the hub asks for them, keeps track of them and ends them. The
    options that configure a runner (those below except --home) apply to `start`, `start-sync` and
    `install-service`, and may also follow the command.
    """
    context.obj = runner_flags(roots, session_command, more)
