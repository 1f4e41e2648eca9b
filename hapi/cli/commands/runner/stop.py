"""`hapi runner stop`: stop the runner and wait until it has exited."""

from __future__ import annotations

from typing import Any

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
    """Stop the runner and wait until it has exited. Its sessions keep running.

    If `hapi up` runs, all of it is stopped: the runner, and the hub with its page.
    """
    from hapi.cli.runner.running import CONTROL_URL, is_part_of_up, query_runner, stop_runner

    home = Home.find().check()
    block_tls_imports(CONTROL_URL)

    async def stop(reactor: Any) -> tuple[int | None, bool]:
        found = await query_runner(reactor, home)
        return await stop_runner(reactor, home), is_part_of_up(found.status)

    pid, is_up = run_once(stop)
    if as_json:
        print_json(
            {"stopped": pid is not None, "pid": pid, "hubStopped": pid is not None and is_up}
        )
    elif pid is None:
        echo("The runner was not running")
    else:
        echo(f"Runner stopped (pid {pid})")
        if is_up:
            echo("It was part of `hapi up`: the hub and its page are stopped as well")
