"""`hapi hub compact`: rewrite the database without its free space."""

from __future__ import annotations

from typing import Any

import click

from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.errors import HELD, exit_codes_epilog
from hapi.cli.base.hub_database import used_file
from hapi.cli.base.hub_options import database_option
from hapi.cli.base.output import echo, print_json
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.units import format_size

VACUUM = (
    "PostgreSQL uses free space again by itself, and gives it back with "
    "`psql -c 'VACUUM FULL' '{url}'` while no hub runs"
)


@click.command(
    "compact",
    epilog=exit_codes_epilog(HELD),
    short_help="Shrink the database (the hub must be stopped).",
)
@database_option
@home_option
@json_flag
@click.pass_obj
def command(before: str | None, /, database: str | None, as_json: bool) -> None:
    """Rewrite the database without its free space. The hub must be stopped.

    A database that was created by this version gives free space back while the hub runs, and never
    needs this command. An older one needs it once. For a moment the database takes twice its size
    on the disk. An interrupted rewrite changes nothing.
    """
    from hapi.hub.lock import HubLock
    from hapi.hub.store.maintenance import compact

    path, _ = used_file(database or before, VACUUM)
    lock = HubLock(Home.find().prepare(), path)
    lock.acquire()
    try:
        size_before, size = compact(path)
    finally:
        lock.release()
    if as_json:
        facts: dict[str, Any] = {"database": str(path), "bytesBefore": size_before, "bytes": size}
        print_json(facts)
    else:
        echo(
            f"Compacted {escape_control(path)}: {format_size(size_before)} before, "
            f"{format_size(size)} now."
        )
