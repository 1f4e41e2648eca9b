"""Which database of a hub a command means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hapi.cli.base.errors import CommandError
from hapi.home import Home

if TYPE_CHECKING:
    from hapi.hub.store.database_url import DatabaseUrl


def used_database(given: str | None) -> tuple[Path | DatabaseUrl, int | None]:
    """The database, and the pid of the hub that uses it (None if none does, or if it is unknown).

    `given` is the value of --database. Without it, HAPI_DATABASE, DB_PATH and `database` in
    settings.json, it is the database of the hub that runs in this home, else the default. Raises
    ConfigurationError, InvalidSettings, HomeUnusable.
    """
    from hapi.hub.lock import named_database, running_hub
    from hapi.hub.options import HubOptions

    home = Home.find().check()
    database = HubOptions.from_environment(os.environ, home=home, database=given).database
    if database is None:
        owner = running_hub(home, None)
        used = owner.facts.get("database") if owner is not None else None
        database = named_database(used) if isinstance(used, str) else HubOptions(home).used_database
    owner = running_hub(home, database)
    return database, None if owner is None else owner.pid


def used_file(given: str | None, instead: str) -> tuple[Path, int | None]:
    """As `used_database`, for a command that works on a file. `instead`: what does the same for a
    database in PostgreSQL; {url} in it is its address. Raises CommandError for such a database.
    """
    database, hub = used_database(given)
    if not isinstance(database, Path):
        raise CommandError(f"{database} is not a file: {instead.format(url=database)}")
    return database, hub
