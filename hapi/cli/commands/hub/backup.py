"""`hapi hub backup`: a verified copy of the hub's database, also while the hub runs."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import click

from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.completion import complete_file
from hapi.cli.base.errors import exit_codes_epilog
from hapi.cli.base.hub_database import used_file
from hapi.cli.base.hub_options import database_option
from hapi.cli.base.output import echo, plural, print_json, warn
from hapi.home import Home, write_atomically
from hapi.redaction import escape_control

PG_DUMP = "back it up with `pg_dump --format=custom --file=FILE '{url}'`, also while hubs run"


@click.command(
    "backup",
    epilog=exit_codes_epilog(),
    short_help="Back up the database, also while the hub runs.",
)
@click.argument("file", metavar="FILE", shell_complete=complete_file)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@database_option
@home_option
@json_flag
@click.pass_obj
def command(
    before: str | None, /, file: str, force: bool, database: str | None, as_json: bool
) -> None:
    """Write a verified copy of the hub's database to FILE.

    The hub may run meanwhile and is not held up. Without --database, the database of the hub that
    runs in this home is used, else hub.db. If that file was deleted or replaced while the hub runs,
    the copy is made from the hub's open file.

    FILE can be read by its owner only. It is never overwritten without --force, and never left
    incomplete. To restore it, stop the hub, remove hub.db-wal and hub.db-shm, copy FILE to hub.db,
    and start the hub. A database in PostgreSQL is backed up with pg_dump instead.
    """
    from hapi.hub.store.backup import back_up

    path, hub = used_file(database or before, PG_DUMP)
    previous = signal.signal(signal.SIGTERM, _interrupt)  # so that nothing is left behind
    try:
        made = back_up(path, Path(file), force=force, hub=hub)
    finally:
        signal.signal(signal.SIGTERM, previous)
    record_backup(Home.find(), made.path, made.size)
    if made.rescued_from is not None:
        warn(
            f"{path} was deleted or replaced while the hub runs: the backup is a copy of the file "
            f"that process {made.rescued_from} still has open"
        )
    if as_json:
        facts = {"file": str(made.path), "database": str(path), "bytes": made.size}
        print_json({**facts, **made.counts, "rescuedFrom": made.rescued_from})
        return
    rows = ", ".join(plural(count, name.removesuffix("s")) for name, count in made.counts.items())
    echo(f"Backed up {escape_control(path)} to {escape_control(made.path)}:")
    echo(f"  {rows}, {made.size / 1e6:.1f} MB; opened and verified.")


def record_backup(home: Home, path: Path, size: int) -> None:
    """Keep for `hapi hub status` where and when the last backup was made."""
    facts = {"file": str(path), "bytes": size, "at": int(time.time() * 1000)}
    try:
        write_atomically(home.hub_backup, json.dumps(facts).encode())
    except OSError as error:
        warn(f"the time of this backup cannot be kept for `hapi hub status`: {error.strerror}")


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
