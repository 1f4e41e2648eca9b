"""`hapi runner stop`: stop the runner and wait until it has exited."""

from __future__ import annotations

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.errors import exit_codes_epilog
from hapi.cli.base.output import echo, print_json
from hapi.cli.base.run import run_once
from hapi.home import Home
from hapi.startup import block_tls_imports


@click.command("stop", epilog=exit_codes_epilog(), short_help="Stop the runner.")
@json_flag
def command(as_json: bool) -> None:
    """Stop the runner and wait until it has exited. Its sessions keep running."""
    from hapi.cli.runner.running import CONTROL_URL, stop_runner

    home = Home.find().check()
    block_tls_imports(CONTROL_URL)
    pid = run_once(lambda reactor: stop_runner(reactor, home))
    if as_json:
        print_json({"stopped": pid is not None, "pid": pid})
    else:
        echo("The runner was not running" if pid is None else f"Runner stopped (pid {pid})")
