"""Which hub of a database is the active one: one serves, the others wait to take its place.

The database decides. The active hub holds a lock on the connection with which it writes, so that
no other hub can write. Reading needs no lock: so a hub serves only while its last sign of life,
which the database has confirmed, is younger than LEASE. That is over before another hub may end
its connection (DEAD_AFTER), by whatever clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi import __version__
from hapi.deferreds import run_in_background, run_step
from hapi.hub.hubs_report import KnownHubs, hub_label
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull, StoreRefused
from hapi.hub.store.shared import BEAT_INTERVAL, DEAD_AFTER, Member
from hapi.hub.term import LEASE, Term
from hapi.one_shot import OneShotObserver

ACQUIRE_INTERVAL = 1.0  # seconds between two attempts to become the active hub
LEASE_CHECK_INTERVAL = 0.5  # seconds
# Seconds that a hub which was not stopped in order gets, to notice that its connection has ended.
GRACE = 1.0
CLOSE_TIMEOUT = 2.0  # seconds
WAITED_FOR = (StoreBusy, StoreAway)  # also at the first attempt: the next one may succeed
PROBLEMS = (StoreRefused, StoreBusy, StoreFailed, StoreFull)
assert LEASE + LEASE_CHECK_INTERVAL < DEAD_AFTER

STARTING = "This hub is starting"
STANDBY = "This hub is a standby: another hub of the same database serves"
TAKING_OVER = "This hub is taking over and serves in a moment"
DATABASE_AWAY = "The database cannot be used at present"
DATABASE_BUSY = "The database is locked by another program, or too slow, at present"
STOPPING = "The hub is stopping"


@define(eq=False, repr=False)
class ActiveRole:
    """`make_store` makes a store that is not open. `serve` gets it when this hub has become the
    active one, and returns once it serves; `withdraw` ends that.
    """

    _clock: IReactorTime
    _make_store: Callable[[], Any]
    _serve: Callable[[Any], Awaitable[object]]
    _withdraw: Callable[[], Awaitable[object]]
    name: str
    store: Any = field(default=None, init=False)  # None: the database is away
    term: Term | None = field(default=None, init=False)
    active: Member | None = field(default=None, init=False)  # another hub that is active
    hubs: KnownHubs = field(init=False)
    url: str = field(default="", init=False)
    _has_joined: bool = field(default=False, init=False)
    _is_excluded: bool = field(default=False, init=False)  # another hub holds the lock
    _problem: str = field(default="", init=False)  # why the database cannot be used
    _is_busy: bool = field(default=False, init=False)  # that is only for a while
    _attended_at: float = field(default=0.0, init=False)  # clock seconds
    _running: Deferred[Any] | None = field(default=None, init=False)
    _loops: list[LoopingCall] = field(factory=list, init=False)  # of a term
    _serves: bool = field(default=False, init=False)
    _stopping: bool = field(default=False, init=False)
    _pause: Deferred[None] | None = field(default=None, init=False)

    is_shared: ClassVar[bool] = False  # several hubs may have the role at the same time
    term_kind: ClassVar[type[Term]] = Term
    becoming_active: ClassVar[str] = TAKING_OVER  # while this hub is about to serve
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.hubs = KnownHubs(self._clock)

    @property
    def is_active(self) -> bool:
        """Whether this hub may serve what it knows."""
        return self.term is not None and self.term.is_current

    @property
    def may_write(self) -> bool:
        """Whether it may at least be asked to change something: that waits for the database."""
        return self.term is not None and self.term.may_write

    @property
    def reason(self) -> str:
        """Why this hub does not serve, for everybody."""
        if self._stopping:
            return STOPPING
        if self._problem:
            return DATABASE_BUSY if self._is_busy else DATABASE_AWAY
        if self.term is None:
            if not self._is_excluded:
                return STARTING
            return STANDBY if self.hubs.is_current else DATABASE_AWAY
        return self.becoming_active if self.term.is_current else DATABASE_AWAY

    @property
    def problem(self) -> str:
        """The same for the owner of the hub."""
        if self._problem and not self._stopping:
            return f"{DATABASE_AWAY}: {self._problem}"
        if self.is_standby and self.active is not None:
            return f"This hub is a standby: {hub_label(self.active)} serves"
        return self.reason

    @property
    def is_standby(self) -> bool:
        """Whether this hub waits, and another one serves."""
        return self.reason == STANDBY

    def report(self) -> dict[str, Any]:
        """The role of this hub and the hubs of the database, for the owner."""
        return {"role": self._own_role, **self.hubs.report(self._role_of)}

    @property
    def _own_role(self) -> str:
        return "active" if self.is_active and self._serves else "standby"

    def _role_of(self, member: Member) -> str:
        if self.store is not None and member.id == self.store.hub_id:
            return self._own_role
        is_other = self.active is not None and not self.is_active and self.active.id == member.id
        return "active" if is_other else "standby"

    # --- starting and stopping --------------------------------------------------------------------

    async def open(self) -> Any:
        """Open the database; the store. Raises StoreRefused, StoreBusy."""
        if self.store is not None:
            return self.store
        store = self._make_store()
        try:
            await store.open()
        except BaseException:
            await self._close(store)
            raise
        self.store, self._has_joined, self._is_excluded = store, False, False
        return store

    async def start(self, url: str) -> None:
        """Enter this hub as reachable at `url`, and try to become the active one: when this
        returns, it serves or waits, also for a database that is busy. Raises StoreFull,
        StoreFailed, StoreRefused.
        """
        self.url = url
        first: OneShotObserver[None] = OneShotObserver()
        self._running = run_in_background(
            self._run(first), self.log, "The hub can no longer take over"
        )
        await first.when_fired()

    async def stop(self) -> None:
        """Leave the database, so that another hub takes over at once."""
        self._stopping = True
        if self.term is not None:
            self.term.ended.fire("")
        self._wake()
        if self._running is not None:
            await self._running
        await self._close_store(leaves=True)

    # --- the life of the role ---------------------------------------------------------------------

    async def _run(self, first: OneShotObserver[None]) -> None:
        """`first` fires when this hub serves or waits for the first time, or fails with why it can
        do neither.
        """
        while not self._stopping:
            try:
                if self.store is None:
                    await self.open()
                if not self._has_joined:
                    await self._join()
                if await self._acquire() and not self._stopping:
                    await self._be_active(first)
                self._problem = ""
            except Exception as error:
                if not first.has_fired and not isinstance(error, WAITED_FOR):
                    first.fire(Failure())
                    return
                self.note(error)
                await self._close_store()
            first.fire(None)
            await self._sleep(ACQUIRE_INTERVAL)
        first.fire(None)

    def note(self, error: Exception) -> None:
        """The database cannot be used: this is logged once, and told until it can."""
        if not isinstance(error, PROBLEMS):
            self.log.failure("This hub could not take over and tries again")
        elif not self._problem:
            self.log.error("The database cannot be used: {reason}", reason=str(error))
        self._problem = str(error) or type(error).__name__
        self._is_busy = isinstance(error, StoreBusy)

    async def _join(self) -> None:
        self.store.on_lost_lock.append(self._lost)
        await self._attend()
        self._has_joined = True

    async def _attend(self) -> None:
        """A sign of life of a hub that waits."""
        self._attended_at = self._clock.seconds()
        members = await self.store.attend(self.name, self.url, __version__)
        self.note_members(members, self._attended_at)

    async def _acquire(self) -> bool:
        """Try once to become the active hub."""
        store = self.store
        if await store.acquire(shared=self.is_shared):
            self._is_excluded = False
            return True
        found = await store.active_hub()
        if found is not None and (self.active is None or self.active.id != found.id):
            self.log.info("This hub is a standby: {active} serves", active=hub_label(found))
        self.active, self._is_excluded = found or self.active, found is not None
        await store.end_stale_holder()
        if self._clock.seconds() - self._attended_at >= BEAT_INTERVAL:
            await self._attend()
        return False

    async def _be_active(self, first: OneShotObserver[None]) -> None:
        """Serve until the term ends."""
        term = self.term = self.term_kind(self._clock, self._clock.seconds())
        problem: Exception | None = None
        try:
            await self._begin(term)
            self.active, self._problem = None, ""
            if term.may_write:
                await self._serve(self.store)
                self._serves = True
                first.fire(None)
            reason = await term.ended.when_fired()
            if reason:
                self.log.error("This hub no longer serves: {reason}", reason=reason)
        except Exception as error:
            problem = error
        term.ended.fire("")
        for loop in self._loops:
            if loop.running:
                loop.stop()
        self._loops.clear()
        self._serves = False
        await self._withdraw()
        self.term = None
        if not self._stopping:
            await self._close_store()
        if problem is not None:
            raise problem

    async def _begin(self, term: Term) -> None:
        """Give signs of life from now on, and wait until no other hub serves any more."""
        store = self.store
        check = LoopingCall(self._check, term, store)
        beats = LoopingCall(self._beat, term, store)
        self._loops = [check, beats]
        check.clock = beats.clock = self._clock
        check.start(LEASE_CHECK_INTERVAL, now=False)
        await self._beat(term, store)
        beats.start(BEAT_INTERVAL, now=False)
        if self._may_still_serve():
            await self._sleep(GRACE)

    def _may_still_serve(self) -> bool:
        """Whether the hub that was active may not know yet that it is not any more."""
        others = {member.id for member in self.hubs.members if member.is_up} - {self.store.hub_id}
        return bool(others) if self.active is None else self.active.id in others

    def _check(self, term: Term, store: Any) -> None:
        """Notice that the lease or the connection has ended. An idle connection shows that only to
        who looks, and its lock is free at once.
        """
        term.prolong(store.confirmed_at)
        term.check()
        if not term.is_interrupted and not store.is_connected():
            term.is_interrupted = True
            run_in_background(self._beat(term, store), self.log, "A sign of life failed")

    async def _beat(self, term: Term, store: Any) -> None:
        sent_at = self._clock.seconds()
        try:
            self.note_members(await store.beat(), sent_at)
        except PROBLEMS:
            return  # the store has logged it, and the lease ends
        term.confirm(sent_at)

    def note_members(self, members: list[Member], read_at: float) -> None:
        """All hubs, as the database had them at `read_at`, in clock seconds."""
        self.hubs.note(members, read_at, self._role_of)

    def _lost(self) -> None:
        """The database has another active hub."""
        if self.term is not None:
            self.term.ended.fire("another hub has taken over the database")

    async def _close_store(self, leaves: bool = False) -> None:
        store, self.store = self.store, None
        if store is None:
            return
        if leaves:
            step = "Leaving the database"
            await run_step(self._clock, CLOSE_TIMEOUT, step, lambda: _leave(store), self.log)
        await self._close(store)

    async def _close(self, store: Any) -> None:
        await run_step(self._clock, CLOSE_TIMEOUT, "Closing the database", store.close, self.log)

    async def pause(self) -> bool:
        """Wait until the next attempt; False if the hub stops."""
        await self._sleep(ACQUIRE_INTERVAL)
        return not self._stopping

    # --- time -------------------------------------------------------------------------------------

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless the hub stops."""
        if self._stopping:
            return
        pause: Deferred[None] = Deferred()
        self._pause = pause
        call = self._clock.callLater(seconds, self._wake)
        await pause
        if call.active():
            call.cancel()

    def _wake(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.callback(None)


async def _leave(store: Any) -> None:
    try:
        await store.depart()
    except PROBLEMS:
        pass  # the others see that it gives no sign of life
