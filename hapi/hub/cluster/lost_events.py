"""Changes that a hub has stored, and that no page has heard of because the hub was killed before it
could publish them.

Each hub remembers what it has read in rows and not yet in the journal. When another hub has died,
the rows are read again, and what is then still missing in the journal is published: by the hub that
runs the singleton tasks, and then by the others, one after the other, which find nothing left to do
unless it was started after the change.
A hub that takes over a session publishes what is missing of it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.views import machine_view, session_view
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.rows import MachineRow, SessionRow
from hapi.hub.store.shared import JournalEntry, Member
from hapi.protocol import events as protocol_events
from hapi.request_id import run_for_nobody
from hapi.units import plural

PORTION = 100  # rows that are read at once, and events that are published at once
PAUSE = 0.05  # seconds between two portions
OTHERS_DELAY = 3.0  # seconds in which the hub with the singleton tasks, and each other, is alone
RETRY_INTERVAL = 1.0  # seconds after rows could not be read
CATCH_UP_TIMEOUT = 5.0  # seconds that are waited for what was published before the rows were read
LOADED = 4_000  # ms after its start in which a hub has read all rows, as others assume
KEPT = 15 * 60_000  # ms; a page that was away for longer reads everything again in any case
# What no row has, or no event needs to tell.
UNTOLD = frozenset(
    (
        *("active", "activeAt", "thinking", "thinkingAt", "activeTurnStartedAt", "health"),
        *("seq", "updatedAt", "metadataVersion", "agentStateVersion", "runnerStateVersion"),
    )
)

View = dict[str, Any]


def view_of(found: HubSession | HubMachine) -> View:
    return session_view(found) if isinstance(found, HubSession) else machine_view(found)


def _differing(before: View, after: View) -> set[str]:
    return {
        name
        for name in {*before, *after} - UNTOLD
        if (name in before, before.get(name)) != (name in after, after.get(name))
    }


@define(eq=False, repr=False)
class UnpublishedChanges:
    """What this hub has read in rows and not yet in the journal."""

    registry: HubRegistry
    _names: dict[str, set[str]] = field(factory=dict)  # owner -> names in its view
    _added: set[str] = field(factory=set)
    _removed: dict[str, str] = field(factory=dict)  # id of a session -> its namespace
    # owner -> what entries have said of it that no row has said yet
    _told: dict[str, View] = field(factory=dict)

    @property
    def owners(self) -> list[str]:
        return [*self._removed, *self._added, *(self._names.keys() - self._added)]

    def clear(self) -> None:
        """Pages read everything again."""
        for kept in (self._names, self._added, self._removed, self._told):
            kept.clear()

    # --- rows
    def read(self, owner: str, before: View | None, after: View) -> None:
        """A row was read, of which the hub knew `before`, None: nothing."""
        self._removed.pop(owner, None)
        if before is None:
            self._added.add(owner)
        elif names := _differing(before, after):
            self._names.setdefault(owner, set()).update(names)
        self._compare(owner, after)

    def removed(self, session: HubSession) -> None:
        """A session that was known has no row any more."""
        self._forget(session.id)
        self._removed[session.id] = session.namespace

    def not_found(self, owner: str) -> None:
        """There is no row, and the hub knew of none."""
        self._told.pop(owner, None)

    def _forget(self, owner: str) -> None:
        for kept in (self._names, self._removed, self._told):
            kept.pop(owner, None)
        self._added.discard(owner)

    # --- the journal
    def apply(self, owner: str, entry: JournalEntry) -> None:
        """An entry about `owner` that pages get."""
        if entry.kind == protocol_events.SESSION_REMOVED:
            self._forget(owner)
        elif (owner in self._names or owner in self._added) and (known := self._known(owner)):
            self.tell(owner, entry)
            self._compare(owner, view_of(known))

    def tell(self, owner: str, entry: JournalEntry) -> None:
        """The entry says something of `owner` that this hub has not read yet."""
        data = entry.fields.get("data")
        if isinstance(data, dict):
            told = {name: value for name, value in data.items() if name not in UNTOLD}
            self._told.setdefault(owner, {}).update(told)

    def _compare(self, owner: str, view: View) -> None:
        """Compare what was read with what entries have said."""
        told, names = self._told.get(owner, {}), self._names.get(owner, set())
        if owner in self._added and "id" in told:  # a whole view
            self._added.discard(owner)
            names = _differing(told, view)
        said = {name for name, value in told.items() if _says(name, value, view)}
        _put(self._names, owner, names - said)
        left = {name: told[name] for name in (told.keys() & view.keys()) - said}
        _put(self._told, owner, left)

    def _known(self, owner: str) -> HubSession | HubMachine | None:
        return self.registry.sessions.get(owner) or self.registry.machines.get(owner)

    def publish(self, owner: str) -> None:
        """Publish what is missing of `owner`, if anything is."""
        registry = self.registry
        namespace, is_added = self._removed.get(owner), owner in self._added
        is_changed = is_added or owner in self._names
        self._forget(owner)
        if namespace is not None:
            registry.events.publish(namespace, protocol_events.SESSION_REMOVED, sessionId=owner)
        elif is_changed and (session := registry.sessions.get(owner)) is not None:
            kinds = protocol_events.SESSION_UPDATED, protocol_events.SESSION_ADDED
            registry.publish_session(session, kinds[is_added])
        elif is_changed and (machine := registry.machines.get(owner)) is not None:
            registry.publish_machine(machine)


def _put(kept: dict[str, Any], owner: str, value: Any) -> None:
    if value:
        kept[owner] = value
    else:
        kept.pop(owner, None)


def _says(name: str, value: Any, view: View) -> bool:
    """Whether the value of an event is that of the view. Documents come with their version."""
    if name in view and view[name] == value:
        return True
    version = value.get("version") if isinstance(value, dict) else None
    return version is not None and version == view.get(f"{name}Version")


class Rows(Protocol):
    """What the hub knows of all rows (RemoteOwners)."""

    unpublished: UnpublishedChanges

    def read_soon(self, owner: str) -> None: ...
    def when_read(self) -> Deferred[None] | Any: ...


@define(eq=False, repr=False)
class LostEvents:
    """Finds and publishes what hubs that have died have not published.

    `reached` waits until this hub has read an entry of the journal, for so many seconds at most.
    `on_gap` is called if no hub can know what pages have missed: they read everything again.
    """

    registry: HubRegistry
    _store: Any  # ISharedStore
    _rows: Rows
    _is_here: Callable[[str], bool]
    _reached: Callable[[int, float], Any]
    _runs_singleton_tasks: Callable[[], bool]
    _on_gap: Callable[[], object]
    # Of each hub: its last sign of life before this hub had read all rows.
    _first: dict[str, int] | None = None
    _dead: set[str] = field(factory=set)  # ids of hubs that were looked after
    _place: int = 0  # of this hub among those that are up
    _is_wanted: bool = False  # the rows have to be read (once more)
    _is_checking: bool = False
    _pause: Deferred[None] | None = None
    is_stopped: bool = False

    log = Logger()

    def stop(self) -> None:
        self.is_stopped = True
        if self._pause is not None:
            self._pause.cancel()

    # --- which hubs have died
    def members_beat(self, own_id: str, members: Iterable[Member]) -> None:
        """All hubs as of a beat after this one has read all rows."""
        found = {member.id: member for member in members}
        if self._first is None:
            self._first = {member.id: member.seen_at for member in found.values()}
        died = [each for each in found.values() if not each.is_up and each.id not in self._dead]
        self._dead = {each.id for each in found.values() if not each.is_up}
        own = found.get(own_id)
        if own is None or not died:
            return
        others = [each for each in found.values() if each.is_up and each is not own]
        self._place = sum(each.id < own.id for each in others)
        self.check()
        if any(
            not self._was_seen(each)
            and each.seen_at > own.since - KEPT
            and not any(other.since + LOADED < each.seen_at for other in others)
            for each in died
        ):
            self._on_gap()

    def _was_seen(self, member: Member) -> bool:
        """Whether the hub has lived since this one has read all rows."""
        assert self._first is not None
        return member.seen_at > self._first.get(member.id, -1)

    # --- what they have not published
    def check(self) -> None:
        """Read all rows again, and publish what is missing in the journal."""
        self._is_wanted = True
        if not self._is_checking and not self.is_stopped:
            self._is_checking = True
            failed = "What a hub that has died did not publish could not be found"
            run_for_nobody(lambda: run_in_background(self._check(), self.log, failed))

    async def _check(self) -> None:
        try:
            while self._is_wanted and not self.is_stopped:
                self._is_wanted = False
                try:
                    await self._read_rows()
                    await self._publish()
                except (StoreBusy, StoreFull, StoreFailed):
                    self._is_wanted = True
                    await self._wait(RETRY_INTERVAL)
        except CancelledError:
            if not self.is_stopped:
                raise
        finally:
            self._is_checking = False

    async def _wait(self, seconds: float) -> None:
        """Raises CancelledError if this hub stops meanwhile."""
        if self.is_stopped:
            raise CancelledError
        self._pause = deferLater(self.registry.clock, seconds)
        try:
            await self._pause
        finally:
            self._pause = None

    async def _read_rows(self) -> None:
        registry, missing = self.registry, set(self.registry.sessions)
        last = ""
        while rows := await self._store.session_rows(last, PORTION):
            missing -= {row.id for row in rows}
            await self._read_again(row.id for row in rows if self._says_more(row))
            last = rows[-1].id
        await self._read_again(missing & registry.sessions.keys())
        machines = await self._store.machines()
        await self._read_again(row.id for row in machines if self._says_more(row))

    async def _read_again(self, owners: Iterable[str]) -> None:
        for owner in owners:
            if not self._is_here(owner):
                self._rows.read_soon(owner)
        await self._rows.when_read()
        await self._wait(PAUSE)

    def _says_more(self, row: SessionRow | MachineRow) -> bool:
        """Whether the row says something that pages show and this hub does not."""
        registry = self.registry
        if isinstance(row, SessionRow):
            if (session := registry.sessions.get(row.id)) is None:
                return True
            return session.row != row and bool(
                _differing(session_view(session), registry.view_of(session, row))
            )
        if (machine := registry.machines.get(row.id)) is None:
            return True
        return machine.row != row and bool(
            _differing(machine_view(machine), machine_view(evolve(machine, row=row)))
        )

    async def _publish(self) -> None:
        # Events that are under way are not lost.
        await self._reached(await self._store.newest_entry(), CATCH_UP_TIMEOUT)
        if not self._runs_singleton_tasks():
            await self._wait(OTHERS_DELAY * (1 + self._place))
        owners = self._rows.unpublished.owners
        for start in range(0, len(owners), PORTION):
            for owner in owners[start : start + PORTION]:
                self._rows.unpublished.publish(owner)
            await self._wait(PAUSE)
        if owners:
            self.log.info(
                "A hub that has died had not published what it had changed: pages are told of "
                "{changed}",
                changed=plural(len(owners), "change"),
            )
