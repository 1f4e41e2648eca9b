"""`hapi sessions list`: the sessions of the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.output import echo, print_json, table
from hapi.cli.commands.sessions.ask import EPILOG, as_entry, ask_hub, state

if TYPE_CHECKING:
    from hapi.client import SessionSummary


@click.command("list", epilog=EPILOG, short_help="List the sessions of the hub.")
@click.option("--active", is_flag=True, help="Only sessions whose process runs.")
@click.option("--limit", type=click.IntRange(1, 500), help="How many at most. [default: all]")
@json_flag
def command(active: bool, limit: int | None, as_json: bool) -> None:
    """List the sessions of the hub, those that wait for an answer first."""
    found = ask_hub(lambda client: client.sessions())
    shown = [each for each in found if each.active or not active][:limit]
    if as_json:
        print_json([as_entry(each, each.pending_requests_count) for each in shown])
    elif shown:
        heads = ("ID", "STATE", "AGENT", "NAME", "DIRECTORY")
        rows = [
            (each.id, _state(each), each.agent, each.title or "", each.directory or "")
            for each in shown
        ]
        table(heads, rows)
    else:
        echo("No sessions")


def _state(session: SessionSummary) -> str:
    return state(session, session.pending_requests_count > 0)
