"""The store in a PostgreSQL database. It is not finished: no hub uses it yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hapi.hub.store.shared import Member


class PostgresStore:
    """IStore, and later ISharedStore, in the database of `url` (`postgresql://…`).

    `open` connects and migrates only; another hub may be active meanwhile. Whoever wants to write
    has to `acquire` the database. `on_lost_lock` is called, in the reactor's thread, if the
    connection was lost and another hub has acquired the database since: every turn fails with
    StoreAway from then on.
    """

    def __init__(self, url: str, reactor: Any, hub_id: str | None = None) -> None:
        self.url, self.hub_id = url, hub_id
        self.on_lost_lock: list[Callable[[], object]] = []
        raise NotImplementedError("hubs on PostgreSQL are not finished")

    async def open(self) -> None:
        """Raises StoreRefused: an unreachable server, a wrong password, a missing database or
        right, a server older than 13, a database of something else, a newer version of the tables.
        """
        raise NotImplementedError

    async def acquire(self, shared: bool) -> bool:
        """Try once to become a hub that writes; False if another hub excludes it. `shared`: beside
        others that share it.
        """
        raise NotImplementedError

    async def active_hub(self) -> Member | None:
        """The hub that has acquired the database; of several the one that was seen last."""
        raise NotImplementedError

    async def end_stale_holder(self) -> bool:
        """End the connections of hubs that hold the database and have given no sign of life for
        DEAD_AFTER seconds; whether there were any.
        """
        raise NotImplementedError
