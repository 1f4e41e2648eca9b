"""`hapi hub migrate`: the hub's data from SQLite to PostgreSQL, and back."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.completion import complete_file
from hapi.cli.base.errors import HELD, CommandError, exit_codes_epilog
from hapi.cli.base.output import echo, plural, print_json, warn
from hapi.home import Home
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from hapi.hub.store.database_url import DatabaseUrl
    from hapi.hub.store.transfer.ends import Source, Target
    from hapi.hub.store.transfer.transfer import Report, Transferred

REPORT_INTERVAL = 0.2  # seconds between two changes of the line on a terminal


@click.command(
    "migrate",
    epilog=exit_codes_epilog(HELD),
    short_help="Copy the data to PostgreSQL or back (hub stopped).",
)
@click.option(
    "--from",
    "source",
    metavar="FILE|URL",
    required=True,
    shell_complete=complete_file,
    help="Database to read: a file of SQLite, or postgresql://USER@HOST/DATABASE.",
)
@click.option(
    "--to",
    "target",
    metavar="URL|FILE",
    required=True,
    shell_complete=complete_file,
    help="Database to fill, of the other kind. One in PostgreSQL has to exist and be empty; a "
    "file must not exist.",
)
@click.option("--force", is_flag=True, help="Delete what the database to fill already has.")
@home_option
@json_flag
@click.pass_obj
def command(before: str | None, /, source: str, target: str, force: bool, as_json: bool) -> None:
    """Copy all data of a hub from a file of SQLite to a database in PostgreSQL, or back.

    All hubs of both databases must be stopped. Everything is written in one transaction, read back
    and compared; only then does it count. The database that is read is never changed, and an
    interrupted migration leaves the other one as it was: run the command again.

    Keep a password in ~/.pgpass, PGPASSWORD or settings.json rather than in the URL. Afterwards,
    start the hub with --database and the new database.
    """
    if before is not None:
        raise click.UsageError("`hapi hub migrate` takes --from and --to instead of --database")
    from hapi.hub.lock import HubLock

    home = Home.find().prepare()
    ends = _database(source, "--from"), _database(target, "--to")
    if isinstance(ends[0], Path) == isinstance(ends[1], Path):
        raise CommandError(
            "one of --from and --to must be a file and the other one a postgresql:// URL; use "
            "`hapi hub backup` to copy a file, and pg_dump to copy a database in PostgreSQL"
        )
    file = next(end for end in ends if isinstance(end, Path))
    if not file.parent.is_dir():
        name = "--from" if file is ends[0] else "--to"
        raise CommandError(f"the directory {file.parent} of {name} does not exist")
    lock = HubLock(home, file)
    lock.acquire()
    previous = signal.signal(signal.SIGTERM, _interrupt)
    begun = time.monotonic()
    try:
        moved = _move(*ends, force)
    finally:
        signal.signal(signal.SIGTERM, previous)
        lock.release()
    seconds = time.monotonic() - begun
    if moved.replaced:
        warn(
            f"{plural(moved.replaced, 'row')} had a NUL character, which PostgreSQL cannot store: "
            "it became U+FFFD"
        )
    if as_json:
        facts = {"from": str(ends[0]), "to": str(ends[1]), "rows": moved.counts}
        print_json({**facts, "replaced": moved.replaced, "seconds": round(seconds, 1)})
        return
    from hapi.hub.store.transfer.ends import rows_sentence

    echo(f"Copied {escape_control(ends[0])} to {escape_control(ends[1])} in {seconds:.1f} s:")
    echo(f"  {rows_sentence(moved.counts) or 'no rows'}; read back and compared.")
    echo(f"{escape_control(ends[0])} was not changed. Start the hub with the new database:")
    echo(f"  hapi hub --database '{escape_control(ends[1])}'")


def _database(text: str, name: str) -> Path | DatabaseUrl:
    """The database of the option `name`. Raises ConfigurationError."""
    from hapi.hub.options import read_database

    database = read_database(text, name)
    if database is None:
        raise click.UsageError(f"{name} must name a database")
    return database.absolute() if isinstance(database, Path) else database


def _move(source: Path | DatabaseUrl, target: Path | DatabaseUrl, force: bool) -> Transferred:
    from hapi.hub.store.transfer.transfer import Transfer

    progress = _Progress()
    try:
        with _source(source) as read, _target(target, force) as filled:
            return Transfer(read, filled, progress.show).run()
    finally:
        progress.clear()


def _source(database: Path | DatabaseUrl) -> AbstractContextManager[Source]:
    if isinstance(database, Path):
        from hapi.hub.store.transfer.sqlite_end import sqlite_source

        return sqlite_source(database)
    _require_psycopg(database)
    from hapi.hub.store.transfer.postgres_end import postgres_source

    return postgres_source(database.with_password, str(database))


def _target(database: Path | DatabaseUrl, force: bool) -> AbstractContextManager[Target]:
    if isinstance(database, Path):
        from hapi.hub.store.transfer.sqlite_end import sqlite_target

        return sqlite_target(database, force)
    _require_psycopg(database)
    from hapi.hub.store.transfer.postgres_end import postgres_target

    return postgres_target(database.with_password, str(database), force)


def _require_psycopg(database: DatabaseUrl) -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise CommandError(
            f"{database} cannot be used without psycopg, which pip install "
            f"'hapi-runner[postgres]' installs ({error})"
        ) from error


class _Progress:
    """A line on a terminal that says how far the transfer is."""

    def __init__(self) -> None:
        self._is_shown, self._next = sys.stderr.isatty(), 0.0
        self._length = 0

    def show(self, report: Report) -> None:
        if not self._is_shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REPORT_INTERVAL
        name = report.table.replace("_", " ")
        self._write(f"{report.step} {name}: {report.done:,} of {report.total:,}")

    def clear(self) -> None:
        if self._length:
            self._write("")
            sys.stderr.write("\r")
            sys.stderr.flush()

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text.ljust(self._length)}")
        sys.stderr.flush()
        self._length = len(text)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
