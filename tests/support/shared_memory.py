"""A database in memory that several hubs share, and what can go wrong between them and it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer

from hapi.hub.store.columns import as_json
from hapi.hub.store.interface import BatchStatistics, StoreFailed, StoreStatistics
from hapi.hub.store.rows import MachineRow, SessionRow
from hapi.hub.store.shared import (
    DEAD_AFTER,
    HOME_CHANGED,
    Home,
    ISharedStore,
    JournalEntry,
    Member,
    Moved,
)
from hapi.hub.store.sql_transaction import SqlTransaction
from hapi.hub.store.sqlite import SqliteStore, memory_store

DATABASE_START = 1_795_000_000_000  # ms


@implementer(IDelayedCall)
@define(eq=False)
class HubCall:
    """A call of one hub, which waits while the hub is stopped."""

    clock: HubClock
    call: Callable[[], object]
    inner: Any = None
    is_waiting: bool = False  # its time came while the hub was stopped

    def due(self) -> None:
        if self.clock.is_stopped:
            self.is_waiting = True
            self.clock.waiting.append(self)
        else:
            self.call()

    def active(self) -> bool:
        return self.is_waiting or bool(self.inner.active())

    def cancel(self) -> None:
        if self.is_waiting:
            self.is_waiting = False
            self.clock.waiting.remove(self)
        else:
            self.inner.cancel()

    def getTime(self) -> float:
        return float(self.inner.getTime())

    def reset(self, seconds: float) -> None:
        self.inner.reset(seconds)

    def delay(self, seconds: float) -> None:
        self.inner.delay(seconds)


@implementer(IReactorTime)
@define(eq=False)
class HubClock:
    """The time of one hub: that of all, but nothing happens while the hub is stopped."""

    clock: Clock
    is_stopped: bool = False
    waiting: list[HubCall] = field(factory=list)

    def seconds(self) -> float:
        return float(self.clock.seconds())

    def callLater(
        self, delay: float, call: Callable[..., object], *args: Any, **kwargs: Any
    ) -> HubCall:
        made = HubCall(self, lambda: call(*args, **kwargs))
        made.inner = self.clock.callLater(delay, made.due)
        return made

    def getDelayedCalls(self) -> list[Any]:
        return [*self.waiting, *self.clock.getDelayedCalls()]

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def resume(self) -> None:
        self.is_stopped = False
        while self.waiting:
            call = self.waiting.pop(0)
            call.is_waiting = False
            call.call()


@define(eq=False)
class SharedMemory:
    """The database. Hubs hear of an own COMMIT at once, of that of others after `delay` seconds,
    None: when they poll.
    """

    clock: Clock
    delay: float | None = 0.0
    entries: list[JournalEntry] = field(factory=list)
    first_kept: int = 0  # the id after which entries are kept
    homes: dict[str, Home] = field(factory=dict)
    epochs: dict[str, int] = field(factory=dict)
    live: dict[str, dict[str, Any]] = field(factory=dict)
    members: dict[str, Member] = field(factory=dict)
    secrets: dict[str, str] = field(factory=dict)
    singleton_holder: str | None = None  # the id of the hub that holds them
    timeline: str = "memory:1"
    hubs: list[SharedMemoryStore] = field(factory=list)
    store: SqliteStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = memory_store(self.clock)

    def hub(self, hub_id: str) -> SharedMemoryStore:
        """The store as a new hub sees it, with a clock of its own."""
        made = SharedMemoryStore(self, hub_id)
        self.hubs.append(made)
        return made

    def now(self) -> int:
        return DATABASE_START + int(self.clock.seconds() * 1000)

    @property
    def newest(self) -> int:
        return self.entries[-1].id if self.entries else self.first_kept

    def append(
        self,
        hub: str,
        namespace: str,
        kind: str,
        fields: dict[str, Any],
        live: dict[str, Any] | None = None,
    ) -> None:
        owner = fields.get("sessionId") or fields.get("machineId")
        home = self.homes.get(owner or "")
        if live is not None and home is not None and home.hub != hub:
            return
        number = self.newest + (2 if self.newest % 5 == 4 else 1)  # ids have gaps
        ids = fields.get("sessionId"), fields.get("machineId")
        body = as_json(fields)
        self.entries.append(JournalEntry(number, hub, namespace, kind, body, *ids, live))
        if owner and live is not None:
            self.live[owner] = live

    def move(
        self, by: str, owner: str, hub: str | None, live: dict[str, Any] | None = None
    ) -> Home | None:
        """Change a home, in a transaction of its own."""
        epoch = self.epochs.get(owner, 0)
        if hub is None:
            self.homes.pop(owner, None)
        else:
            epoch = self.epochs[owner] = epoch + 1
            self.homes[owner] = Home(owner, hub, epoch)
        self.append(by, "", HOME_CHANGED, {"owner": owner, "hub": hub, "epoch": epoch}, live)
        if live is not None:
            self.live[owner] = live
        return self.homes.get(owner)

    def tell(self, by: SharedMemoryStore) -> None:
        """Tell the hubs of new entries."""
        for hub in list(self.hubs):
            if hub is by:
                hub.bell()
            elif self.delay is not None:
                self.clock.callLater(self.delay, hub.bell)

    def rows(self, session_id: str) -> list[Any]:
        """Number and content of the messages of a session, in order."""
        query = "SELECT seq, content FROM messages WHERE session_id = ? ORDER BY seq"
        found = self.store.database.connection.execute(query, (session_id,))
        return [tuple(row) for row in found.fetchall()]

    def close(self) -> None: ...

    def trim(self, keep: int) -> None:
        """Delete all entries but the newest ones."""
        for entry in self.entries[: max(0, len(self.entries) - keep)]:
            self.first_kept = entry.id
        self.entries = [entry for entry in self.entries if entry.id > self.first_kept]

    def is_up(self, member: Member) -> bool:
        return self.now() - member.seen_at <= DEAD_AFTER * 1000

    def give_up(self, hub_id: str, by: str) -> None:
        """Give up all homes of a hub."""
        for owner in [home.owner for home in self.homes.values() if home.hub == hub_id]:
            self.move(by, owner, None)
        if self.singleton_holder == hub_id:
            self.singleton_holder = None


@implementer(ISharedStore)
class SharedMemoryStore(SqliteStore):
    """What one hub has of the database.

    `is_cut`: it cannot reach it. `loses_events`: it is about to be killed, and no event that has
    no turn reaches the journal any more. `lost_answers`: so many of its next turns are stored, and
    fail.
    Each change runs twice, and what the first run has done is undone.
    """

    def __init__(self, shared: SharedMemory, hub_id: str) -> None:
        self.__dict__.update(shared.store.__dict__)
        self._listeners: list[Any] = []
        self.statistics = StoreStatistics(batches=BatchStatistics())
        self.shared, self.hub_id = shared, hub_id
        self.clock = HubClock(shared.clock)
        self.is_cut, self.lost_answers, self.is_dead, self.loses_events = False, 0, False, False
        self.claimed: dict[str, int] = {}  # owner -> epoch of the last claim of this hub
        self._bells: list[Callable[[], object]] = []
        self.confirmed_at = float("-inf")  # clock seconds; set by tests of what is busy

    # --- faults

    def stop_hub(self) -> None:
        """SIGSTOP: nothing of the hub happens until `resume_hub`."""
        self.clock.is_stopped = True

    def resume_hub(self) -> None:
        self.clock.resume()

    def kill(self) -> None:
        """kill -9: nothing of the hub happens any more, and its connections are gone."""
        self.clock.is_stopped = self.is_cut = self.is_dead = True
        if self.shared.singleton_holder == self.hub_id:
            self.shared.singleton_holder = None
        self.shared.hubs.remove(self)

    def cut(self) -> None:
        """The connections to the database are gone."""
        self.is_cut = True
        if self.shared.singleton_holder == self.hub_id:
            self.shared.singleton_holder = None

    def reconnect(self) -> None:
        self.is_cut = False

    def _reach(self) -> None:
        if self.is_cut:
            raise StoreFailed("the database cannot be reached")

    def bell(self) -> None:
        if not (self.is_cut or self.clock.is_stopped):
            for call in self._bells:
                call()

    # --- IStore

    def open(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    close = open

    async def turn(self, owner: str, change: Callable[[Any], Any]) -> Any:
        self._reach()
        transaction: SqlTransaction | None = None

        def apply(connection: Any) -> Any:
            nonlocal transaction
            home = self.shared.homes.get(owner)
            if home is not None and (home.hub, home.epoch) != (
                self.hub_id,
                self.claimed.get(owner),
            ):
                raise Moved(owner, home.hub)
            connection.execute("SAVEPOINT first_run")
            change(SqlTransaction(connection, self.searches.index))
            connection.execute("ROLLBACK TO first_run")
            connection.execute("RELEASE first_run")
            transaction = SqlTransaction(connection, self.searches.index)
            return change(transaction)

        def committed(result: Any) -> None:
            assert transaction is not None
            for event in transaction.events:
                self.shared.append(self.hub_id, event.namespace, event.kind, event.fields)
            if not self.lost_answers:
                for event in transaction.events:
                    for call in self._listeners:
                        call(event)
            if transaction.events:
                self.shared.tell(self)

        result = await self._counted(self.database.write(apply, committed))
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreFailed("the answer to a COMMIT was lost")
        return result

    async def discard_session(self, session_id: str) -> int | None:
        self._reach()
        home = self.shared.homes.get(session_id)
        if home is not None and home.hub != self.hub_id:
            raise Moved(session_id, home.hub)
        return await super().discard_session(session_id)

    # --- the journal

    def publish(
        self, namespace: str, kind: str, fields: dict[str, Any], live: dict[str, Any] | None = None
    ) -> None:
        if not (self.is_cut or self.loses_events):
            self.shared.append(self.hub_id, namespace, kind, fields, live)
            self.shared.tell(self)

    def on_journal(self, call: Callable[[], object]) -> None:
        self._bells.append(call)

    async def journal_epoch(self) -> str:
        self._reach()
        return self.shared.timeline

    async def newest_entry(self) -> int:
        self._reach()
        return self.shared.newest

    async def entries_after(self, entry_id: int, limit: int) -> list[JournalEntry] | None:
        self._reach()
        if entry_id < self.shared.first_kept:
            return None
        return [entry for entry in self.shared.entries if entry.id > entry_id][:limit]

    async def trim_journal(self) -> bool:
        self._reach()
        return False

    # --- homes

    async def claim(self, owner: str, live: dict[str, Any] | None = None) -> Home:
        self._reach()
        home = self.shared.move(self.hub_id, owner, self.hub_id, live)
        assert home is not None
        self.claimed[owner] = home.epoch
        self.shared.tell(self)
        return home

    async def release(self, owner: str) -> None:
        self._reach()
        home = self.shared.homes.get(owner)
        if home is not None and home.hub == self.hub_id:
            self.shared.move(self.hub_id, owner, None)
            self.shared.tell(self)

    async def home(self, owner: str) -> Home | None:
        self._reach()
        return self.shared.homes.get(owner)

    async def homes(self) -> list[Home]:
        self._reach()
        return list(self.shared.homes.values())

    # --- hubs

    async def join(self, name: str, url: str, version: str) -> None:
        self._reach()
        now = self.shared.now()
        self.shared.members[self.hub_id] = Member(self.hub_id, name, url, version, now, now, True)

    async def beat(self, is_draining: bool = False) -> list[Member]:
        self._reach()
        shared = self.shared
        own = shared.members[self.hub_id]
        shared.members[self.hub_id] = evolve(own, seen_at=shared.now(), is_draining=is_draining)
        for member in shared.members.values():
            if not shared.is_up(member):
                shared.give_up(member.id, self.hub_id)
        shared.tell(self)
        return [evolve(found, is_up=shared.is_up(found)) for found in shared.members.values()]

    async def leave(self) -> None:
        self._reach()
        self.shared.members.pop(self.hub_id, None)
        self.shared.give_up(self.hub_id, self.hub_id)
        self.shared.tell(self)

    async def end_stale_holder(self) -> bool:
        self._reach()
        return False

    async def runs_singleton_tasks(self) -> bool:
        self._reach()
        if self.shared.singleton_holder is None:
            self.shared.singleton_holder = self.hub_id
        return self.shared.singleton_holder == self.hub_id

    async def secret(self, name: str, made: str) -> str:
        self._reach()
        return self.shared.secrets.setdefault(name, made)

    # --- rows

    async def live_states(self) -> dict[str, dict[str, Any]]:
        self._reach()
        return dict(self.shared.live)

    async def session_row(self, session_id: str) -> SessionRow | None:
        self._reach()
        return next((row for row in await self.sessions() if row.id == session_id), None)

    async def machine_row(self, machine_id: str) -> MachineRow | None:
        self._reach()
        return next((row for row in await self.machines() if row.id == machine_id), None)
