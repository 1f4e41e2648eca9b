"""This hub among the hubs of its database: who serves which session and machine, and what the
others have published.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background
from hapi.hub.cluster.full_refresh import FullRefresh
from hapi.hub.cluster.homes import Homes
from hapi.hub.cluster.idle_homes import IdleHomes
from hapi.hub.cluster.journal import MAX_ENTRIES, JournalFollower
from hapi.hub.cluster.members import Members
from hapi.hub.cluster.page_relay import PageRelay
from hapi.hub.cluster.remote_owners import RemoteOwners, owner_of
from hapi.hub.cluster.reservations import Reservations
from hapi.hub.cluster.singleton_tasks import SingletonTasks
from hapi.hub.domain.events import HubEvent, encoded_event
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.shared import (
    BEAT_INTERVAL,
    DEAD_AFTER,
    HOME_CHANGED,
    INTERNAL,
    Home,
    JournalEntry,
    Member,
    Moved,
)
from hapi.one_shot import OneShotObserver
from hapi.protocol.events import MESSAGE_RECEIVED
from hapi.request_id import run_for_nobody

KEY_NAME = "hub-key"  # of the secret that signs what hubs ask each other
CATCH_UP_TIMEOUT = 2.0  # seconds that a request waits for what other hubs have published
CLAIM_TIMEOUT = 5.0  # seconds that a claim waits for what the home before has published
UNREACHABLE = "The hub cannot reach its database; hubs that reach it take over its sessions"
UNUSABLE = (StoreBusy, StoreFull, StoreFailed)  # what the store raises while it cannot be used


@define(eq=False, repr=False)
class Cluster:
    """Made before the hub listens, and set as `registry.cluster`. `start` loads the registry.

    A session or machine is served by the hub where it is at home. `elsewhere` and `judges` answer
    from what this hub has read; the database decides: a turn for an owner that is at home elsewhere
    raises Moved.
    """

    registry: HubRegistry
    store: Any  # ISharedStore
    name: str  # for people
    url: str  # where the other hubs reach this one
    version: str
    key: bytes = b""  # signs what hubs ask each other; known after `start`
    # Called with an owner that was at home here, when it is no more: close its sockets.
    on_lost: list[Callable[[str], object]] = field(factory=list)
    # Called with an owner that has come here from another hub, or from none.
    on_gained: list[Callable[[str], object]] = field(factory=list)
    # Called with each entry of an INTERNAL kind, from any hub.
    on_internal: list[Callable[[JournalEntry], object]] = field(factory=list)
    # Called when this hub has missed entries, and reads everything again.
    on_missed: list[Callable[[], object]] = field(factory=list)
    homes: Homes = field(init=False)
    journal: JournalFollower = field(init=False)
    membership: Members = field(init=False)
    remote: RemoteOwners = field(init=False)
    singletons: SingletonTasks = field(init=False)
    pages: PageRelay = field(init=False)
    reservations: Reservations = field(init=False)
    idle_homes: IdleHomes = field(init=False)
    refresh: FullRefresh = field(init=False)
    _claims: dict[str, OneShotObserver[bool]] = field(factory=dict)  # that are under way
    _journal_epoch: str = ""
    _last_death: tuple[int, str] = (0, "")  # its last sign of life (ms), and the id of that hub
    _is_stopped: bool = False

    log = Logger()

    def __attrs_post_init__(self) -> None:
        clock = self.registry.clock
        self.homes = Homes(self.hub_id, self._lost)
        self.journal = JournalFollower(self.store, clock, self._deliver, self._missed)
        self.membership = Members(self.store, clock, self._beaten, self._returned)
        self.remote = RemoteOwners(self.registry, self.store, self.homes)
        self.singletons = SingletonTasks(self.store, clock, self.membership)
        self.pages = PageRelay(self.registry, self.store)
        self.idle_homes = IdleHomes(self.registry, self.homes, self.release, self._is_used)
        self.refresh = FullRefresh(
            self.registry, self.store, self.homes, self.remote, self._find_moved, self._reset_events
        )
        self.reservations = Reservations(self.store, self.claim, self.membership.is_up)

    @property
    def hub_id(self) -> str:
        return str(self.store.hub_id)

    # --- starting and stopping --------------------------------------------------------------------

    async def start(self) -> None:
        """Join the other hubs, load all rows and follow the journal. Raises what the store does."""
        store, registry = self.store, self.registry
        made = secrets.token_hex(32)
        self.key = (await store.secret(KEY_NAME, made)).encode()
        await self.membership.start(self.name, self.url, self.version)
        position = await store.newest_entry()  # what is read from here on may be newer
        self._journal_epoch = await store.journal_epoch()
        self.homes.replace(await store.homes(), {})
        states = await store.live_states()
        await registry.load()
        for owner, live in states.items():
            self.remote.apply_live(owner, live)
        self._last_death = self._find_last_death()
        registry.events.journal = self
        registry.events.reset(self._event_epoch(), position)
        self.journal.start(position)
        await self.singletons.start()
        self.idle_homes.start()

    def _event_epoch(self) -> str:
        """The epoch of the ids of events, the same at all hubs. A hub that dies may have stored
        something, such as a title, and told nobody: pages do not resume from before that.
        """
        text = f"{self._journal_epoch},{self._last_death}"
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    async def stop(self) -> None:
        """Leave the other hubs, which then serve what is at home here."""
        self._is_stopped = True
        self.membership.stop()
        self.singletons.stop()
        self.idle_homes.stop()
        self.journal.stop()
        self.remote.stop()
        self.refresh.stop()
        try:
            await self.store.leave()
        except UNUSABLE as error:
            self.log.warn(
                "This hub could not leave the others, which notice that within {seconds:.0f} s: "
                "{reason}",
                seconds=DEAD_AFTER + BEAT_INTERVAL,
                reason=str(error),
            )

    def drain(self) -> None:
        """Tell the other hubs that this one is about to stop."""
        self.membership.is_draining = True
        self._run(self._tell_others(), "The other hubs were not told that this one stops")

    async def _tell_others(self) -> None:
        try:
            await self.membership.beat()
        except UNUSABLE as error:
            told = "The other hubs were not told that this one stops: {reason}"
            self.log.warn(told, reason=str(error))

    def _run(self, coroutine: Any, message: str, **facts: Any) -> None:
        run_for_nobody(lambda: run_in_background(coroutine, self.log, message, **facts))

    # --- what this hub knows ----------------------------------------------------------------------

    @property
    def members(self) -> list[Member]:
        """All hubs, this one included, as of the last beat."""
        return list(self.membership.members.values())

    @property
    def runs_singleton_tasks(self) -> bool:
        """Whether this hub does what has to be done once for all hubs."""
        return self.singletons.holds

    @property
    def served(self) -> list[str]:
        """The sessions and machines that are at home here."""
        return self.homes.here

    @property
    def lag(self) -> float:
        """Seconds since this hub had read all of the journal."""
        return self.journal.lag

    @property
    def problem(self) -> str | None:
        """Why this hub serves nothing at present, None if it does."""
        return None if self.membership.is_alive else UNREACHABLE

    def is_home(self, owner: str) -> bool:
        """Whether `owner` is at home here, as far as this hub knows."""
        return self.membership.is_alive and self.homes.is_here(owner)

    def has_moved(self, owner: str) -> bool:
        """Whether `owner` is at home at another hub, up or not, as far as this hub knows."""
        return self.homes.find(owner) is not None and not self.homes.is_here(owner)

    def elsewhere(self, owner: str) -> Member | None:
        """The hub where `owner` is at home; None: here, nowhere, or at a hub that is not up."""
        return self._member(self.homes.find(owner))

    def _member(self, home: Home | None) -> Member | None:
        if home is None or home.hub == self.hub_id:
            return None
        member = self.membership.members.get(home.hub)
        return member if member is not None and member.is_up else None

    async def look_up(self, owner: str) -> Member | None:
        """As `elsewhere`, as the database has it now. A session or machine that this hub has not
        heard of is in the registry afterwards, if there is one.
        """
        home = await self.store.home(owner)
        if home is not None:
            self.homes.moved(owner, home, home.epoch)
            if home.hub not in self.membership.members:
                await self.membership.beat()
        if self.remote.known(owner) is None:
            await self.remote.read_now(owner)
        return self._member(home)

    async def know(self, owner: str) -> bool:
        """Whether there is a session or machine `owner`, which is in the registry then."""
        if self.remote.known(owner) is None:
            await self.remote.read_now(owner)
        return self.remote.known(owner) is not None

    def judges(self, owner: str) -> bool:
        """Whether this hub detects the silence of `owner`, and delivers and notifies what is due
        for it: its home, or else the hub that runs the singleton tasks.
        """
        if self.homes.find(owner) is None:
            return self.runs_singleton_tasks
        return self.is_home(owner)

    async def caught_up(self) -> None:
        """Wait until this hub has seen what any hub has published before this call, for
        CATCH_UP_TIMEOUT at most.
        """
        if not self.membership.is_alive:
            return  # what is known is shown
        answer: OneShotObserver[int] = OneShotObserver()  # a read that is late is not cut off
        Deferred.fromCoroutine(self.store.newest_entry()).addBoth(answer.fire)
        try:
            newest = await answer.when_fired().addTimeout(CATCH_UP_TIMEOUT, self.registry.clock)
        except (*UNUSABLE, TimeoutError):
            return
        if await self.journal.reached(newest, CATCH_UP_TIMEOUT):
            await self.remote.when_read()

    # --- homes ------------------------------------------------------------------------------------

    async def claim(self, owner: str) -> bool:
        """Make this hub the home of `owner`: its row and its state are those of its last home then.

        False if there is no such session or machine, or another hub has claimed it meanwhile: look
        up again. Raises what the store raises.
        """
        if (under_way := self._claims.get(owner)) is None:
            under_way = self._claims[owner] = OneShotObserver()
            try:
                under_way.fire(await self._claim(owner))
            except Exception:
                under_way.fire(Failure())
            finally:
                del self._claims[owner]
        return await under_way.when_fired()

    async def _claim(self, owner: str) -> bool:
        if not await self.know(owner):
            return False
        was_here = self.homes.is_here(owner)
        home = await self.store.claim(owner)
        if not was_here:
            # All that the home before has published is in the journal before the claim.
            newest = await self.store.newest_entry()
            if not await self.journal.reached(newest, CLAIM_TIMEOUT):
                self.log.warn("The state of {id} is taken over late", id=owner)
        self.homes.moved(owner, home, home.epoch)
        if not was_here and self.homes.is_here(owner):
            await self.remote.read_now(owner)
            self._gained(owner)
        return self.homes.is_here(owner) and self.remote.known(owner) is not None

    async def release(self, owner: str) -> None:
        """Let any hub serve `owner`, which has no sockets here."""
        if self.homes.is_here(owner):
            await self.store.release(owner)

    def _is_used(self, owner: str) -> bool:
        return owner in self._claims or self.reservations.is_here(owner)

    async def reserve(self, owner: str) -> bool:
        """Begin something that no other hub may begin for `owner` until `free`: False if one has.

        This hub is its home then. Raises Moved if another hub is, and what the store raises.
        """
        if (member := await self.look_up(owner)) is not None:
            raise Moved(owner, member.id)
        return await self.reservations.reserve(owner)

    def free(self, owner: str) -> None:
        self.reservations.free(owner)

    async def confirm(self, owner: str) -> None:
        """Raises Moved if `owner` is at home at another hub."""
        await self.store.turn(owner, lambda turn: None)

    def moved(self, error: Moved) -> None:
        """A turn has found out that its owner is at home elsewhere: look where."""
        self._run(self.look_up(error.owner), "The home of {id} was not found", id=error.owner)

    def _gained(self, owner: str) -> None:
        self.remote.touch(owner)
        self._call(self.on_gained, owner)

    def _lost(self, owner: str) -> None:
        self.registry.forget_served(owner)
        self.remote.touch(owner)
        self._call(self.on_lost, owner)
        self.remote.read_soon(owner)

    def _call(self, calls: list[Callable[[str], object]], owner: str) -> None:
        for call in calls:
            try:
                call(owner)
            except Exception:
                self.log.failure(
                    "{name} failed for {owner}", name=getattr(call, "__qualname__", ""), owner=owner
                )

    # --- the journal ------------------------------------------------------------------------------

    def publish(self, namespace: str, kind: str, fields: dict[str, Any]) -> None:
        """Append an event to the journal, with the state of its session or machine."""
        self.store.publish(namespace, kind, fields, self.remote.live_of(owner_of(fields)))

    def show(self, namespace: str, data: dict[str, Any]) -> None:
        """Show a notification at the pages of all hubs."""
        self.pages.show(namespace, data)

    def is_watched(self, namespace: str) -> bool:
        """Whether somebody sees a page of the namespace at another hub."""
        return self.pages.is_watched(namespace)

    async def reached(self, number: int) -> bool:
        """Whether the entries up to this one have been delivered, within CATCH_UP_TIMEOUT."""
        return await self.journal.reached(number, CATCH_UP_TIMEOUT)

    async def events_after(self, number: int) -> list[HubEvent] | None:
        """A portion of the events after this number, None if some are no longer kept."""
        while True:
            entries = await self.store.entries_after(number, MAX_ENTRIES)
            if not entries:
                return None if entries is None else []
            found = [_event(entry) for entry in entries if not entry.kind.startswith(INTERNAL)]
            if found:
                return found
            number = entries[-1].id

    def _deliver(self, entry: JournalEntry) -> None:
        if entry.kind.startswith(INTERNAL):
            if entry.kind == HOME_CHANGED:
                self._home_changed(entry)
            self.pages.apply(entry)
            self.reservations.apply(entry)
            for call in self.on_internal:
                call(entry)
            return
        self.remote.apply(entry)
        self.registry.events.deliver(_event(entry))
        if entry.kind == MESSAGE_RECEIVED and entry.hub != self.hub_id:
            self._stored(entry.session_id or "", entry)

    def _stored(self, session_id: str, entry: JournalEntry) -> None:
        """What was live text is a record now."""
        if self.registry.live.has(session_id):
            message = entry.fields.get("message")
            if isinstance(message, dict):
                self.registry.live.stored(session_id, message.get("content"))

    def _home_changed(self, entry: JournalEntry) -> None:
        owner, hub = entry.fields["owner"], entry.fields.get("hub")
        if self.homes.apply(entry.fields) and hub is None:
            self.remote.touch(owner)
        if hub is not None and hub not in self.membership.members and not self._is_stopped:
            self._run(self.membership.beat(), "A new hub was not found")

    def _missed(self) -> None:
        """There are entries that this hub will not read. Pages must notice before they get later
        ones, and once more when this hub knows what it has missed.
        """
        self._reset_events()
        self._read_everything()

    def _read_everything(self) -> None:
        """There is something that no entry tells this hub."""
        for call in self.on_missed:
            call()
        self.refresh.begin()

    def _reset_events(self) -> None:
        self.registry.events.reset(self._event_epoch(), self.journal.position)

    # --- signs of life ----------------------------------------------------------------------------

    def _beaten(self) -> None:
        self._run(self._check(), "The state of the database is not known")

    async def _check(self) -> None:
        self.pages.check(frozenset(member.id for member in self.members if member.is_up))
        await self.singletons.check()
        try:
            await self._check_epoch()
        except UNUSABLE as error:  # the next beat looks again
            self.log.info("The state of the database is not known: {reason}", reason=str(error))
            return
        before, self._last_death = self._last_death, self._find_last_death()
        if self._journal_epoch and self._last_death != before:
            self._read_everything()

    async def _check_epoch(self) -> None:
        epoch = await self.store.journal_epoch()
        if not self._journal_epoch:  # this hub is just joining the others
            return
        if epoch != self._journal_epoch and not self._is_stopped:
            self.log.warn(
                "The database has been taken over by a replica, which may lack the last entries of "
                "the journal; pages read everything again"
            )
            await self.journal.restart()
            self._journal_epoch = epoch
            self._missed()

    def _find_last_death(self) -> tuple[int, str]:
        """One that comes back later, such as a hub that stood still, changes nothing."""
        dead = [(member.seen_at, member.id) for member in self.members if not member.is_up]
        return max([self._last_death, *dead])

    def _returned(self) -> None:
        """Others may have taken over what was at home here."""
        self.log.warn("This hub was silent for the others; it looks what has moved meanwhile")
        self._beaten()
        self._run(self._find_moved(), "What has moved could not be read")

    async def _find_moved(self) -> None:
        before = self.homes.epochs()
        self.homes.replace(await self.store.homes(), before)


def _event(entry: JournalEntry) -> HubEvent:
    return encoded_event(
        entry.id, entry.namespace, entry.kind, entry.session_id, entry.machine_id, entry.body
    )
