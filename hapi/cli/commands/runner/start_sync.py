"""`hapi runner start-sync`: the runner in the foreground."""

from __future__ import annotations

import sys

import click

from hapi.cli.base.common_options import log_format_option
from hapi.cli.base.errors import HELD, RESTART, SUPERSEDED, exit_codes_epilog
from hapi.cli.base.runner_options import runner_flags, runner_options


@click.command(
    "start-sync",
    epilog=exit_codes_epilog(HELD, SUPERSEDED, RESTART, serves=True),
    short_help="Run the runner in the foreground.",
)
@runner_options
@log_format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    roots: tuple[str, ...],
    session_command: str | None,
    **more: str | None,
) -> None:
    """Run the runner in the foreground.

    Ctrl+C or SIGTERM shuts the runner down cleanly; its sessions keep running. Without a
    terminal, SIGHUP makes the runner reload settings.json and reopen its log file.

    Under systemd the runner reports readiness and feeds the watchdog (NOTIFY_SOCKET,
    WATCHDOG_USEC). `hapi runner install-service` creates the unit.
    """
    from hapi.cli.runner.foreground import run_runner

    sys.exit(run_runner(runner_flags(roots, session_command, more, context.obj)))
