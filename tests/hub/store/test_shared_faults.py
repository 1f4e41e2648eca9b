"""Three hubs write to one PostgreSQL, and everything between them and it breaks: connections
before, in and after a COMMIT, all of them at once, the server itself; somebody holds its locks. A
hub that follows the journal gets everything once, in order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed
from hapi.hub.store.postgres.locks import ORDER
from hapi.hub.store.shared import HOME_CHANGED, Moved
from tests.support.cutting_proxy import AFTER, BEFORE, LATE, CuttingProxy, cutting_proxy
from tests.support.postgres import PostgresServer
from tests.support.programs import level
from tests.support.store_stage import message, open_postgres, session, wait

pytestmark = pytest.mark.postgres
DATABASE = "faults"
HUBS = 3
IN_FLIGHT = 8  # turns of one hub that have begun
CONTESTED = "contested"  # the session that all hubs claim from each other


@define(eq=False)
class Writer:
    """One hub, which writes to a session of its own and to the contested one."""

    name: str
    store: Any
    reactor: Any
    random: random.Random
    stored: set[str] = field(factory=set)
    refused: set[str] = field(factory=set)  # nothing of it was stored
    unknown: set[str] = field(factory=set)
    errors: list[Exception] = field(factory=list)
    is_stopped: bool = False
    count: int = 0

    async def run(self) -> None:
        """Until it is stopped, with one turn of several begun at the same time."""
        running = [Deferred.fromCoroutine(self._write_on()) for _ in range(IN_FLIGHT)]
        for each in running:
            await each

    async def _write_on(self) -> None:
        while not self.is_stopped:
            self.count += 1
            name, owner = f"{self.name}-{self.count}", self.name
            if self.random.random() < 0.2:
                owner = CONTESTED
            try:
                if owner == CONTESTED and self.random.random() < 0.3:
                    await self.store.claim(owner)
                await self.store.turn(owner, change(name, owner))
            except Moved:
                self.refused.add(name)
            except StoreAway as error:
                (self.unknown if error.unknown else self.refused).add(name)
                await deferLater(self.reactor, 0.05)
            except Exception as error:
                self.errors.append(error)
                self.refused.add(name)
                self.is_stopped = True
            else:
                self.stored.add(name)


def change(name: str, owner: str) -> Callable[[Any], None]:
    """A turn that would fail if it were stored twice: the id of its message is `name`."""

    def add(transaction: Any) -> None:
        seq = transaction.add_message(message(name, owner), None).message.seq
        transaction.publish("default", "message", sessionId=owner, name=name, seq=seq)

    return add


@define(eq=False)
class Follower:
    """Follows the journal as a hub does, through whatever happens."""

    store: Any
    reactor: Any
    seen: list[Any] = field(factory=list)
    is_stopped: bool = False

    async def run(self) -> None:
        while not await self._read():
            await deferLater(self.reactor, 0.01)

    async def _read(self) -> bool:
        """Whether everything has been read, and nothing more will come."""
        last = self.is_stopped
        try:
            found = await self.store.entries_after(self.seen[-1].id if self.seen else 0, 100)
        except (StoreFailed, StoreBusy):
            return False
        assert found is not None
        self.seen += found
        return last and not found


@define(eq=False)
class Faults:
    """What breaks, one at a time. Each blocks, in a thread."""

    server: PostgresServer
    proxies: list[CuttingProxy]
    random: random.Random

    def cut_before_commit(self) -> None:
        self.random.choice(self.proxies).cut = BEFORE

    def cut_in_commit(self) -> None:
        self.random.choice(self.proxies).cut = LATE

    def cut_after_commit(self) -> None:
        self.random.choice(self.proxies).cut = AFTER

    def cut_after_commit_and_stay_away(self) -> None:
        proxy = self.random.choice(self.proxies)
        proxy.refuses, proxy.cut = True, AFTER
        self._hold(0.3)
        proxy.refuses = False

    def cut_all(self) -> None:
        for proxy in self.proxies:
            proxy.cut_all()

    def end_all_backends(self) -> None:
        self.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{DATABASE}' AND pid <> pg_backend_pid()"
        )

    def crash(self) -> None:
        self.server.restart(after=self.random.choice([0.0, 0.5]))

    def hold_the_order(self) -> None:
        """Somebody else holds the lock that each transaction takes at its end."""
        with psycopg.connect(self.server.url(DATABASE)) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (ORDER,))
            self._hold(0.3)

    def stand_still(self) -> None:
        self.server.suspend()
        self._hold(0.3)
        self.server.resume()

    @staticmethod
    def _hold(seconds: float) -> None:
        import time

        time.sleep(seconds)  # how long it lasts, not something that is waited for


KINDS = [
    *(Faults.cut_before_commit, Faults.cut_in_commit, Faults.cut_after_commit),
    *(Faults.cut_after_commit_and_stay_away, Faults.cut_all, Faults.end_all_backends),
    *(Faults.crash, Faults.hold_the_order, Faults.stand_still),
]


@pytest.fixture
def place(
    postgres_servers: Callable[..., PostgresServer], reactor: Any
) -> Iterator[tuple[PostgresServer, list[CuttingProxy], list[Any], Any]]:
    """A server, a proxy and a store for each hub, and a store that follows."""
    server = postgres_servers()
    server.create_database(DATABASE)
    with ExitStack() as stack:
        proxies = [stack.enter_context(cutting_proxy(server)) for _ in range(HUBS)]
        stores = [open_postgres(proxy.url(DATABASE), reactor, True) for proxy in proxies]
        follower = open_postgres(server.url(DATABASE), reactor, True)
        yield server, proxies, stores, follower
        for store in (*stores, follower):
            wait(store.close())


async def provoke(faults: Faults, writers: list[Writer], reactor: Any, count: int) -> list[str]:
    """Let `count` faults happen. Between two of them each hub stores something."""
    happened = [kind for _ in range(-(-count // len(KINDS))) for kind in KINDS][:count]
    faults.random.shuffle(happened)
    for kind in happened:
        await progress(writers, reactor)
        await deferToThread(kind, faults)
    await progress(writers, reactor)
    return [kind.__name__ for kind in happened]


async def progress(writers: list[Writer], reactor: Any) -> None:
    before = [len(writer.stored) for writer in writers]
    while any(
        len(writer.stored) < count + 5 for writer, count in zip(writers, before, strict=True)
    ):
        assert [writer.errors for writer in writers] == [[], [], []]
        await deferLater(reactor, 0.01)


@pytest.mark.leaves_failures("the hubs say that the database is away")
def test_nothing_is_lost_doubled_or_out_of_order_whatever_breaks(place: Any, reactor: Any) -> None:
    server, proxies, stores, follower_store = place
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    choices = random.Random(seed)
    writers = [Writer(f"hub{n}", store, reactor, choices) for n, store in enumerate(stores)]
    for owner in (*(writer.name for writer in writers), CONTESTED):
        wait(stores[0].create_session(session(owner)))
    for writer in writers:
        wait(writer.store.claim(writer.name))
    follower = Follower(follower_store, reactor)

    async def run() -> None:
        following = Deferred.fromCoroutine(follower.run())
        running = [Deferred.fromCoroutine(writer.run()) for writer in writers]
        faults = Faults(server, proxies, choices)
        happened = await provoke(faults, writers, reactor, level(len(KINDS), 300))
        print(f"faults: {happened}")
        for writer in writers:
            writer.is_stopped = True
        for each in running:
            await each
        follower.is_stopped = True
        await following

    wait(run())
    rows = {owner: wait(follower_store.latest(owner, 10**6)) for owner in owners(writers)}
    for owner, found in rows.items():
        assert [row.seq for row in found] == list(range(1, len(found) + 1)), owner
    there = {row.id for found in rows.values() for row in found}
    for writer in writers:
        assert writer.errors == []
        assert writer.stored <= there
        assert not writer.refused & there
    assert there <= {name for each in writers for name in each.stored | each.unknown}
    numbers = [entry.id for entry in follower.seen]
    assert numbers == sorted(set(numbers))
    told = [entry for entry in follower.seen if entry.kind != HOME_CHANGED]
    assert len(told) == len(there)
    for owner, found in rows.items():
        assert [
            (entry.fields["name"], entry.fields["seq"])
            for entry in told
            if entry.fields["sessionId"] == owner
        ] == [(row.id, row.seq) for row in found]
    assert sum(proxy.cuts for proxy in proxies) >= 4
    assert {row.id.partition("-")[0] for row in rows[CONTESTED]} == {w.name for w in writers}
    print(f"{len(there)} messages, {sum(len(w.refused) for w in writers)} refused")


def owners(writers: list[Writer]) -> list[str]:
    return [*(writer.name for writer in writers), CONTESTED]
