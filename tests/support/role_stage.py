"""A database in memory, and hubs that agree by it which of them is the active one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from hapi.hub.active_role import ActiveRole
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreRefused
from hapi.hub.store.shared import DEAD_AFTER, Member
from tests.support.shared_memory import HubClock

KEEPALIVE_TIMEOUT = 11.0  # seconds after which the server closes a connection that is cut
STEP = 0.1  # seconds between two looks at what hubs do


@define(eq=False)
class RoleDatabase:
    """`holder`: the id of the hub whose connection holds the lock."""

    clock: Clock
    holder: str | None = None
    members: dict[str, Member] = field(factory=dict)
    secrets: dict[str, str] = field(factory=dict)
    terms: int = 0
    is_away: bool = False
    is_busy: bool = False  # another program has locked its tables

    def now(self) -> int:
        return int(self.clock.seconds() * 1000)


@define(eq=False)
class RoleStore:
    """What a hub has of it. `is_cut`: its connection is lost, and no other one is possible."""

    database: RoleDatabase
    hub_id: str
    clock: HubClock
    on_lost_lock: list[Callable[[], object]] = field(factory=list)
    is_cut: bool = False
    is_broken: bool = False  # the connection has ended, and the hub has not looked
    term: int | None = None
    is_open: bool = False
    is_busy: bool = False  # what is asked waits behind changes, which are confirmed meanwhile

    @property
    def confirmed_at(self) -> float:
        return self.clock.seconds() if self.is_busy else float("-inf")

    async def _reach(self) -> None:
        await deferLater(self.clock, 60.0 if self.is_busy else 0.01)
        if self.is_cut or self.database.is_away or not self.is_open:
            raise StoreAway("the database is away")
        if self.database.is_busy:
            raise StoreBusy("the database is locked by another program, or too slow")
        if self.is_broken:
            self.is_broken = False
            if self.term is not None:
                self._acquire_again()

    def _acquire_again(self) -> None:
        database = self.database
        if database.holder not in (None, self.hub_id) or database.terms != self.term:
            self.term = None
            for call in self.on_lost_lock:
                call()
            raise StoreAway("another hub has taken over the database")
        database.holder = self.hub_id

    def is_connected(self) -> bool:
        return not (self.is_broken or self.is_cut)

    async def open(self) -> None:
        if self.is_cut or self.database.is_away:
            raise StoreRefused("the database cannot be reached")
        self.is_open = True

    async def close(self) -> None:
        if self.database.holder == self.hub_id and not self.is_cut and self.term is not None:
            self.database.holder = None
        self.term, self.is_open = None, False

    async def acquire(self, shared: bool) -> bool:
        await self._reach()
        if shared:
            return True
        if self.database.holder is not None:
            return False
        self.database.holder = self.hub_id
        self.database.terms += 1
        self.term = self.database.terms
        if (member := self.database.members.get(self.hub_id)) is not None:
            since = self.database.now()
            self.database.members[self.hub_id] = evolve(member, since=since)
        return True

    async def active_hub(self) -> Member | None:
        await self._reach()
        return self.database.members.get(self.database.holder or "")

    async def end_stale_holder(self) -> bool:
        await self._reach()
        database = self.database
        holder = database.members.get(database.holder or "")
        if holder is None or database.now() - holder.seen_at <= DEAD_AFTER * 1000:
            return False
        database.holder = None
        return True

    async def attend(self, name: str, url: str, version: str) -> list[Member]:
        await self._reach()
        now = self.database.now()
        member = Member(self.hub_id, name, url, version, now, now, True)
        self.database.members.setdefault(self.hub_id, member)
        return self._seen()

    async def beat(self, is_draining: bool = False) -> list[Member]:
        await self._reach()
        if self.term is None:
            raise StoreAway("this hub has not acquired the database")
        return self._seen()

    def _seen(self) -> list[Member]:
        database, now = self.database, self.database.now()
        found = database.members.get(self.hub_id)
        if found is not None:
            database.members[self.hub_id] = evolve(found, seen_at=now)
        return [
            evolve(member, is_up=now - member.seen_at <= DEAD_AFTER * 1000)
            for member in database.members.values()
        ]

    def write(self) -> None:
        """A change is committed."""
        self._seen()

    async def depart(self) -> None:
        await self._reach()
        self.database.members.pop(self.hub_id, None)

    async def secret(self, name: str, made: str) -> str:
        return self.database.secrets.setdefault(name, made)


@define(eq=False)
class RoleHub:
    """One hub. `load_time`: seconds from the lock until it serves."""

    stage: RoleStage
    name: str
    load_time: float = 0.2
    kind: type[ActiveRole] = ActiveRole
    clock: HubClock = field(init=False)
    role: ActiveRole = field(init=False)
    stores: list[RoleStore] = field(factory=list)
    serves: bool = False
    is_dead: bool = False

    def __attrs_post_init__(self) -> None:
        self.clock = HubClock(self.stage.clock)
        self.role = self.kind(self.clock, self._store, self._serve, self._withdraw, self.name)

    def _store(self) -> RoleStore:
        made = RoleStore(self.stage.database, self.name, self.clock)
        if self.stores:
            made.is_cut = self.stores[-1].is_cut
        self.stores.append(made)
        return made

    async def _serve(self, store: Any) -> None:
        await deferLater(self.clock, self.load_time)
        self.serves = True

    async def _withdraw(self) -> None:
        self.serves = False

    @property
    def answers(self) -> bool:
        """Whether a request that arrives now would be served."""
        return self.serves and self.role.is_active and not (self.is_dead or self.clock.is_stopped)

    def start(self) -> None:
        async def start() -> None:
            try:
                await self.role.open()
                await self.role.start(f"http://{self.name}")
            except BaseException:
                self.is_dead = True  # its process ends with a sentence
                raise

        self.stage.starting.append(Deferred.fromCoroutine(start()))

    # --- what happens to it

    def leave(self) -> None:
        self.stage.starting.append(Deferred.fromCoroutine(self.role.stop()))
        self.is_dead = True

    def kill(self) -> None:
        self.clock.is_stopped = self.is_dead = True
        self._release()

    def freeze(self) -> None:
        self.clock.is_stopped = True

    def thaw(self) -> None:
        self.clock.resume()

    def lose_connection(self) -> None:
        """Its connection ends, and it can connect again."""
        self.stores[-1].is_broken = True
        self._release()

    def cut(self) -> None:
        """It cannot reach the database, which notices by and by."""
        store = self.stores[-1]
        store.is_cut = True
        terms = self.stage.database.terms
        self.stage.clock.callLater(KEEPALIVE_TIMEOUT, self._noticed, store, terms)

    def _noticed(self, store: RoleStore, terms: int) -> None:
        is_lost = store.is_cut or not store.is_open
        if is_lost and self.stage.database.terms == terms:  # no later connection has the lock
            self._release()

    def join(self) -> None:
        for store in self.stores:
            store.is_cut = False
        self.stores[-1].is_broken = True

    def _release(self) -> None:
        if self.stage.database.holder == self.name:
            self.stage.database.holder = None


@define(eq=False)
class RoleStage:
    clock: Clock = field(factory=Clock)
    hubs: dict[str, RoleHub] = field(factory=dict)
    database: RoleDatabase = field(init=False)
    starting: list[Any] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.database = RoleDatabase(self.clock)

    def hub(self, name: str, **more: Any) -> RoleHub:
        made = self.hubs[name] = RoleHub(self, name, **more)
        made.start()
        return made

    def answering(self) -> list[str]:
        found = [name for name, hub in self.hubs.items() if hub.answers]
        assert len(found) <= 1, f"{found} serve at the same time"
        return found

    def tick(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)
            self.answering()

    def until(self, name: str, seconds: float) -> float:
        """The seconds after which this hub serves; it has to within `seconds`."""
        begin = self.clock.seconds()
        while self.answering() != [name]:
            assert self.clock.seconds() - begin < seconds, f"{self.answering()} serves, not {name}"
            self.tick(STEP)
        return float(self.clock.seconds() - begin)

    def end(self) -> None:
        for hub in self.hubs.values():
            if not hub.is_dead:
                hub.thaw()
                hub.join()
                hub.leave()
        self.tick(10)
        for deferred in self.starting:
            deferred.addErrback(lambda _: None)
