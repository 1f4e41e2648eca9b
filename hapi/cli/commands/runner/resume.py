"""`hapi runner resume`: the end of draining."""

from __future__ import annotations

from typing import Any

import click

from hapi.cli.base.errors import NOT_RUNNING, exit_codes_epilog
from hapi.cli.base.output import echo, json_flag, print_json
from hapi.cli.base.run import run_once
from hapi.home import Home


@click.command(
    "resume", epilog=exit_codes_epilog(NOT_RUNNING), short_help="Accept new sessions again."
)
@json_flag
def command(as_json: bool) -> None:
    """Make a drained runner accept new sessions again."""
    home = Home.find().check()

    async def resume(reactor: Any) -> dict[str, Any]:
        from hapi.runner.control.client import ControlClient

        return await ControlClient(reactor, home).resume()

    work = run_once(resume)
    if as_json:
        print_json(work)
    else:
        echo("The runner accepts new sessions again")
