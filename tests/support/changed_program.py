"""`hapi` as it is on another machine, or of another version:

    python -m tests.support.changed_program [--clock SECONDS] [--next | --destructive] hub …

`--clock`: its wall clock is ahead by so much, or behind if it is negative. (With libfaketime 0.9.10
of Debian 12, `time.sleep` and waits of threads fail in Python 3.11.)

`--next`: a hub of a next version, which adds a table and columns to those in PostgreSQL; the hub of
today works with them. `--destructive`: it removes a column as well, so that the hub of today does
not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

TABLE = "next_things"
ADDED = (
    f"CREATE TABLE {TABLE} (id TEXT PRIMARY KEY, value TEXT)",
    "ALTER TABLE sessions ADD COLUMN next_value TEXT",
    "ALTER TABLE messages ADD COLUMN next_value TEXT",
    "ALTER TABLE hubs ADD COLUMN next_value TEXT",
)
REMOVED = ("ALTER TABLE sessions DROP COLUMN service_tier",)


def change_clock(seconds: float) -> None:
    """To be called before anything of Twisted or HAPI is imported."""
    real = time.time
    time.time = lambda: real() + seconds


def become_next(destructive: bool) -> None:
    """To be called before anything else of the store is imported."""
    from hapi.hub.store.postgres import schema
    from hapi.hub.store.postgres.schema import Migration

    known = len(schema.MIGRATIONS)
    added = [Migration(schema.MIGRATIONS[-1].compat, ADDED)]
    if destructive:
        added.append(Migration(known + 2, REMOVED))
    schema.MIGRATIONS = (*schema.MIGRATIONS, *added)
    schema.VERSION = len(schema.MIGRATIONS)
    schema.TABLES |= {TABLE}


def main(given: Sequence[str]) -> int:
    words = list(given)
    if words[0] == "--clock":
        change_clock(float(words[1]))
        del words[:2]
    if words[0] in ("--next", "--destructive"):
        become_next(words.pop(0) == "--destructive")
    from hapi.__main__ import main as hapi_main

    return hapi_main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
