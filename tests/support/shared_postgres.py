"""A PostgreSQL database that several hubs of one test share, each on a clock that the test moves.

What a hub asks is answered before it goes on, since its reactor does not run. The time of the
database is that of the clock.
"""

from __future__ import annotations

from typing import Any

import psycopg
from attrs import define, field
from twisted.internet.task import Clock

from hapi.hub.store.postgres.store import PostgresStore
from tests.support.shared_memory import DATABASE_START, HubClock
from tests.support.store_stage import wait

NOWHERE = "postgresql:///nowhere?host=/nonexistent"


class DatabaseClock(Clock):
    """The clock of all hubs, and of the database."""

    database: SharedPostgres | None = None

    def advance(self, amount: float) -> None:
        super().advance(amount)
        if self.database is not None:
            self.database.set_time()


class RestingClock(HubClock):
    running = False  # as a reactor


class NoListener:
    """In the place of LISTEN: the test tells the hubs of new entries."""

    def stop(self) -> None: ...


@define(eq=False)
class SharedPostgres:
    """The database of `url`, which is empty."""

    clock: DatabaseClock
    url: str
    hubs: list[PostgresHub] = field(factory=list)
    _connection: Any = None

    def __attrs_post_init__(self) -> None:
        first = PostgresStore(self.url, RestingClock(self.clock), "first")
        wait(first.open())
        wait(first.close())
        self._connection = psycopg.connect(self.url, autocommit=True)
        execute = self._connection.execute
        execute("CREATE TABLE IF NOT EXISTS test_time (at bigint)")
        execute("DELETE FROM test_time")
        execute("INSERT INTO test_time VALUES (0)")
        execute(
            "CREATE OR REPLACE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS"
            " 'SELECT at FROM test_time'"
        )
        self.set_time()
        self.clock.database = self

    def set_time(self) -> None:
        now = DATABASE_START + int(self.clock.seconds() * 1000)
        self._connection.execute("UPDATE test_time SET at = %s", (now,))

    def hub(self, hub_id: str) -> PostgresHub:
        made = PostgresHub(self, hub_id)
        self.hubs.append(made)
        return made

    def tell(self) -> None:
        for hub in list(self.hubs):
            hub.bell()

    def rows(self, session_id: str) -> list[Any]:
        """Number and content of the messages of a session, in order."""
        query = "SELECT seq, content FROM messages WHERE session_id = %s ORDER BY seq"
        return list(self._connection.execute(query, (session_id,)).fetchall())

    def close(self) -> None:
        self.clock.database = None
        for hub in list(self.hubs):
            hub.kill()
        self._connection.close()


class PostgresHub(PostgresStore):
    """What one hub has of the database, with the faults of SharedMemoryStore."""

    def __init__(self, shared: SharedPostgres, hub_id: str) -> None:
        self.shared, self.clock = shared, RestingClock(shared.clock)
        super().__init__(shared.url, self.clock, hub_id)
        self.is_cut, self.is_dead, self.lost_answers = False, False, 0
        self.loses_events = False
        wait(self.open())
        self._listener: Any = NoListener()
        assert wait(self.acquire(shared=True))
        self.journal.is_active = True
        self.database.writer.committed.append(shared.tell)

    def bell(self) -> None:
        if not (self.is_cut or self.clock.is_stopped):
            self._ring()

    def publish(self, *event: Any) -> None:
        if not self.loses_events:
            super().publish(*event)

    def stop_hub(self) -> None:
        self.clock.is_stopped = True

    def resume_hub(self) -> None:
        self.clock.resume()

    def cut(self) -> None:
        self._reach(NOWHERE)
        self.is_cut = True

    def reconnect(self) -> None:
        self._reach(self.shared.url)
        self.is_cut = False

    def kill(self) -> None:
        self.cut()
        self.clock.is_stopped = self.is_dead = True
        self.shared.hubs.remove(self)

    def _reach(self, url: str) -> None:
        database: Any = self.database
        database._writer.session.url = database.readers._url = url
        if url == NOWHERE:
            database._writer.session.drop()
            while database.readers._idle:
                database.readers._idle.pop().close()
