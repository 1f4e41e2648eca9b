"""`hapi runner resume`: the end of draining."""

from __future__ import annotations

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.errors import NOT_RUNNING, exit_codes_epilog
from hapi.cli.base.output import echo, print_json
from hapi.cli.commands.runner.drain import raise_if_not_saved
from hapi.cli.runner.running import call_runner
from hapi.home import Home


@click.command(
    "resume", epilog=exit_codes_epilog(NOT_RUNNING), short_help="Accept new sessions again."
)
@json_flag
def command(as_json: bool) -> None:
    """Make a drained runner accept new sessions again."""
    work = call_runner(Home.find().check(), lambda client: client.resume())
    if as_json:
        print_json(work)
    else:
        echo("The runner accepts new sessions again")
    raise_if_not_saved(work)
