"""Which database of a hub a command means."""

from __future__ import annotations

import os
from pathlib import Path

from hapi.home import Home


def used_database(given: str | None) -> tuple[Path, int | None]:
    """The database, and the pid of the hub that uses it (None if none does, or if it is unknown).

    `given` is the value of --database. Without it and DB_PATH, it is the database of the hub that
    runs in this home, else the default. Raises ConfigurationError, InvalidSettings, HomeUnusable.
    """
    from hapi.hub.lock import running_hub
    from hapi.hub.options import HubOptions

    home = Home.find().check()
    path = HubOptions.from_environment(os.environ, home=home, database=given).database
    if path is None:
        owner = running_hub(home, None)
        used = owner.facts.get("database") if owner is not None else None
        path = Path(used) if isinstance(used, str) else HubOptions(home).database_path
    owner = running_hub(home, path)
    return path, None if owner is None else owner.pid
