"""What this hub knows of sessions and machines that are at home at other hubs.

Their rows are read again when an entry of the journal says something that this hub does not show,
and their live state, which no row has, comes with the entries that their homes publish.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.cluster.homes import Homes
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.views import machine_view, session_view
from hapi.hub.store.shared import JournalEntry
from hapi.protocol import events as protocol_events
from hapi.request_id import run_for_nobody

RETRY_INTERVAL = 1.0  # seconds after a row could not be read
# Kinds of events that change nothing in the rows that hubs keep in memory. The last message's
# number and time are read when a session is taken over.
WITHOUT_ROW = frozenset(
    {
        protocol_events.MESSAGE_RECEIVED,
        protocol_events.MESSAGES_CONSUMED,
        protocol_events.MESSAGES_INDETERMINATE,
        protocol_events.MESSAGES_REQUEUED,
        protocol_events.MESSAGE_CANCELLED,
        protocol_events.SCHEDULED_MATURED,
        protocol_events.SESSION_ENDED,
    }
)


def owner_of(fields: dict[str, Any]) -> str | None:
    """The session or machine of an event."""
    owner = fields.get("sessionId") or fields.get("machineId")
    return owner if isinstance(owner, str) else None


@define(eq=False, repr=False)
class RemoteOwners:
    """Keeps the registry's sessions and machines of other hubs as their homes have them. An owner
    is the id of one.
    """

    registry: HubRegistry
    _store: Any  # ISharedStore
    _homes: Homes
    # owner -> those who wait for its row, which is being read; True: it has to be read once more
    _reading: dict[str, list[Deferred[None]]] = field(factory=dict)
    _outdated: set[str] = field(factory=set)
    _early: dict[str, dict[str, Any]] = field(factory=dict)  # live states of rows not read yet
    _retries: dict[str, IDelayedCall] = field(factory=dict)
    _told: set[str] = field(factory=set)  # of whose live state entries told since `live_states`
    is_stopped: bool = False

    log = Logger()

    def stop(self) -> None:
        self.is_stopped = True
        for call in self._retries.values():
            call.cancel()
        self._retries.clear()

    # --- live states ------------------------------------------------------------------------------

    def live_of(self, owner: str | None) -> dict[str, Any] | None:
        """What is published with the events of `owner`, if no other hub is its home."""
        if owner is None or (
            self._homes.find(owner) is not None and not self._homes.is_here(owner)
        ):
            return None
        if (session := self.registry.sessions.get(owner)) is not None:
            return {
                "active": session.active,
                "activeAt": session.active_at,
                "thinking": session.thinking,
                "thinkingAt": session.thinking_at,
                "turnStartedAt": session.turn_started_at,
                "ready": session.ready,
                "startsWithin": self._starts_within(session),
            }
        if (machine := self.registry.machines.get(owner)) is not None:
            return {
                "active": machine.active,
                "activeAt": machine.active_at,
                "health": machine.health,
            }
        return None

    def _starts_within(self, session: HubSession) -> float:
        """The seconds for which the process of the session may still be about to connect."""
        remaining = session.expected_until - self.registry.clock.seconds()
        return 0.0 if session.active else max(0.0, round(remaining, 3))

    async def live_states(self) -> dict[str, dict[str, Any]]:
        """The live states as the database has them, for `apply_stored`. Raises what the store
        raises.
        """
        self._told.clear()
        found: dict[str, dict[str, Any]] = await self._store.live_states()
        return found

    def apply_stored(self, owner: str, live: dict[str, Any]) -> None:
        """Take over one of `live_states`, unless an entry has told of a later one since."""
        if owner not in self._told and not self._homes.is_here(owner):
            self.apply_live(owner, live)

    def apply_live(self, owner: str, live: dict[str, Any]) -> None:
        """Take over what the home of `owner` has published."""
        registry, now = self.registry, self.registry.clock.seconds()
        if (session := registry.sessions.get(owner)) is not None:
            session.active, session.active_at = live["active"], live["activeAt"]
            session.thinking, session.thinking_at = live["thinking"], live["thinkingAt"]
            session.turn_started_at, session.ready = live["turnStartedAt"], live["ready"]
            session.last_seen, session.grace_until = now, 0.0
            session.expected_until = now + live.get("startsWithin", 0.0)
        elif (machine := registry.machines.get(owner)) is not None:
            machine.active, machine.active_at = live["active"], live["activeAt"]
            machine.health, machine.last_seen = live["health"], now

    def touch(self, owner: str) -> None:
        """Count the silence of `owner` from now on."""
        found = self.registry.sessions.get(owner) or self.registry.machines.get(owner)
        if found is not None:
            found.last_seen = self.registry.clock.seconds()

    # --- entries ----------------------------------------------------------------------------------

    def apply(self, entry: JournalEntry) -> None:
        """An entry of the journal that pages get, too."""
        owner = entry.owner
        if owner is None or self._homes.is_here(owner):
            return
        is_foreign = entry.hub != self._homes.hub_id
        if entry.kind == protocol_events.SESSION_REMOVED:
            if is_foreign:
                self.registry.forget_session(owner)
            return
        home = self._homes.find(owner)
        if is_foreign and entry.live is not None and (home is None or home.hub == entry.hub):
            if self.known(owner) is None:
                self._early[owner] = entry.live
            self._told.add(owner)
            self.apply_live(owner, entry.live)
        if entry.kind not in WITHOUT_ROW and (not is_foreign or self._says_more(owner, entry)):
            self.read_soon(owner)

    def _says_more(self, owner: str, entry: JournalEntry) -> bool:
        """Whether the entry says something that this hub does not show."""
        data = entry.fields.get("data")
        if (found := self.known(owner)) is None:
            return True
        view = session_view(found) if isinstance(found, HubSession) else machine_view(found)
        return not isinstance(data, dict) or any(
            name not in view or view[name] != value for name, value in data.items()
        )

    # --- rows -------------------------------------------------------------------------------------

    def read_soon(self, owner: str) -> None:
        """Read the row of `owner` again; what comes while it is read is read once more."""
        if owner in self._reading:
            self._outdated.add(owner)
        elif not self.is_stopped and owner not in self._retries:
            self._reading[owner] = []
            run_for_nobody(
                lambda: run_in_background(
                    self._read_rows(owner), self.log, "The row {id} could not be read", id=owner
                )
            )

    async def read_now(self, owner: str) -> None:
        """Read the row of `owner`: as it is now, or later. Raises what the store raises."""
        await self._read_row(owner)

    async def when_read(self) -> None:
        """Wait for all rows that are being read."""
        for waiters in list(self._reading.values()):
            done: Deferred[None] = Deferred()
            waiters.append(done)
            await done

    async def _read_rows(self, owner: str) -> None:
        try:
            while True:
                self._outdated.discard(owner)
                await self._read_row(owner)
                if owner not in self._outdated:
                    return
        except Exception:
            if not self.is_stopped:
                self._retries[owner] = self.registry.clock.callLater(
                    RETRY_INTERVAL, self._retry, owner
                )
            raise
        finally:
            for done in self._reading.pop(owner):
                done.callback(None)

    def _retry(self, owner: str) -> None:
        self._retries.pop(owner, None)
        self.read_soon(owner)

    async def _read_row(self, owner: str) -> None:
        registry = self.registry
        session, machine = registry.sessions.get(owner), registry.machines.get(owner)
        if machine is None:
            row = await self._store.session_row(owner)
            if row is not None:
                registry.adopt_session(row)
                self._apply_early(owner)
                return
            if session is not None and registry.sessions.get(owner) is session:
                registry.forget_session(owner)
                return
        if session is None:
            found = await self._store.machine_row(owner)
            if found is not None:
                registry.adopt_machine(found)
                self._apply_early(owner)
                return
        self._early.pop(owner, None)

    def _apply_early(self, owner: str) -> None:
        if (live := self._early.pop(owner, None)) is not None and not self._homes.is_here(owner):
            self.apply_live(owner, live)

    def known(self, owner: str) -> HubSession | HubMachine | None:
        return self.registry.sessions.get(owner) or self.registry.machines.get(owner)
