"""Hubs that share a database: one in memory, or one in PostgreSQL."""

from __future__ import annotations

from typing import Any

import psycopg
from attrs import define, evolve, field
from twisted.internet.task import Clock

from hapi.hub.store.shared import DEAD_AFTER
from tests.support.shared_memory import SharedMemory
from tests.support.store_stage import open_postgres, wait


@define(eq=False)
class MemoryHubs:
    """Hubs of a database in memory."""

    shared: SharedMemory = field(factory=lambda: SharedMemory(Clock()))
    count: int = 0

    def hub(self) -> Any:
        self.count += 1
        return self.shared.hub(f"hub{self.count}")

    def silence(self, store: Any) -> None:
        """The hub has given no sign of life for longer than DEAD_AFTER."""
        members, past = self.shared.members, int(DEAD_AFTER * 1000) + 1
        own = members[store.hub_id]
        members[store.hub_id] = evolve(own, seen_at=own.seen_at - past)

    def end(self, store: Any) -> None:
        """The process of the hub is gone."""
        store.kill()

    def trim(self, keep: int) -> None:
        self.shared.trim(keep)

    def settle(self) -> None:
        self.shared.clock.advance(1)

    def close(self) -> None:
        """There is nothing to close."""


@define(eq=False)
class PostgresHubs:
    """Hubs of a database in PostgreSQL."""

    url: str
    reactor: Any
    stores: list[Any] = field(factory=list)

    def hub(self) -> Any:
        self.stores.append(open_postgres(self.url, self.reactor, shared=True))
        return self.stores[-1]

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement, values)  # type: ignore[call-overload]

    def silence(self, store: Any) -> None:
        past = int(DEAD_AFTER * 1000) + 1
        self.execute("UPDATE hubs SET seen_at = seen_at - %s WHERE id = %s", past, store.hub_id)

    def end(self, store: Any) -> None:
        self.stores.remove(store)
        wait(store.close())

    def trim(self, keep: int) -> None:
        newest = wait(self.stores[0].newest_entry())
        self.execute("UPDATE events SET at = 0 WHERE id <= %s", newest - keep)
        while wait(self.stores[0].trim_journal()):
            pass

    def settle(self) -> None:
        """Bells come by themselves."""

    def close(self) -> None:
        for store in self.stores:
            wait(store.close())
