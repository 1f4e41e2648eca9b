"""Reliable delivery to the hub: in order, again after a lost connection, until it is confirmed."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background
from hapi.net.client.connection import Connection
from hapi.net.client.outbox import Entry, Outbox
from hapi.net.client.spooling import Spooling
from hapi.net.common.errors import AckTimeout, HubUnreachable, LinkLost

# A message that costs the connection each time is given up (N10): after this many losses in a row
# while it was the first one unconfirmed it is sent alone, and after as many more, each within
# `POISON_WINDOW` of sending it, it is dropped. A hub that restarts often costs no message.
MAX_LOSSES = 5
POISON_WINDOW = 5.0  # seconds
FIRST_RECONCILE_DELAY, MAX_RECONCILE_DELAY = 0.5, 5.0  # seconds, if the hub's rows cannot be read


@frozen(eq=False, repr=False)
class UnconfirmedEvent:
    """A kept event that the hub has not confirmed."""

    event: str
    args: tuple[Any, ...]


@frozen
class DeliveryStatus:
    """What is not as it should be; all fields have their defaults when everything is.

    `stalled_since`: seconds of the reactor's clock since which a connected hub confirms nothing.
    `dropped`: events lost for good. `spool_problem`: why unconfirmed events are in memory only.
    """

    stalled_since: float | None = None
    dropped: int = 0
    spool_problem: str | None = None


Reconcile = Callable[[list[UnconfirmedEvent]], Awaitable[list[UnconfirmedEvent]]]


@define(eq=False, repr=False)
class _Adopted:
    """Events of an earlier process, and what to do when the hub has them."""

    entries: deque[Entry]
    delivered: Callable[[], object]


@define(eq=False, repr=False)
class Delivery:
    """Sends entries while the hub reads and keeps them until they are confirmed.

    `ask` sends an event that the hub answers after everything sent before it (`ping`, session.md
    3.3). It fails with AckTimeout, and is then asked again.
    """

    _clock: IReactorTime
    _ask: Callable[[], Deferred[Any]]
    outbox: Outbox = field(factory=Outbox)
    reconcile: Reconcile | None = None
    spooling: Spooling | None = None
    on_change: Callable[[], object] = field(default=lambda: None)  # of `status`
    on_confirmed: Callable[[], object] = field(default=lambda: None)
    status: DeliveryStatus = field(factory=DeliveryStatus)
    _connection: Connection | None = None
    _reconciling: bool = False
    _probing: bool = False
    _lost_at: float = 0.0
    _alone: Entry | None = None  # the suspected message, after which nothing is sent
    _is_dropping: bool = False  # events are dropped for want of room, which was logged
    _adopted: list[_Adopted] = field(factory=list)
    _waiters: list[Deferred[None]] = field(factory=list)
    log = Logger()

    @property
    def writable_connection(self) -> Connection | None:
        """The connection, if a message can be sent on it now, after all older ones."""
        connection = self._connection
        return (
            connection
            if connection is not None and connection.writable and not self._reconciling
            else None
        )

    @property
    def has_backlog(self) -> bool:
        """Whether something waits: a message that is sent now would come before it."""
        return self.writable_connection is None or len(self.outbox) > 0

    def deliver(self, entry: Entry) -> None:
        """Send `entry` now or in its turn. Calls do not wait for confirmations."""
        entry.added_at = self._clock.seconds()
        connection = self.writable_connection
        if entry.event is None and connection is not None:
            self._send(connection, entry)
        elif self.outbox.put(entry):
            self.flush()
            if self.spooling is not None and entry.event is not None:
                self.spooling.added(entry)
        elif entry.event is not None:
            self._set_status(dropped=self.status.dropped + 1)
            if not self._is_dropping:
                self._is_dropping = True
                self.log.error(
                    "There is no more room for events that the hub has not confirmed: new ones are "
                    "dropped until it confirms some"
                )

    def adopt(
        self, events: Iterable[tuple[str, str]], delivered: Callable[[], object] = lambda: None
    ) -> None:
        """Deliver events of an earlier process, as (name, message), before all others.

        They are compared with what the hub has. Must be called before the first connection;
        `delivered` is called when the hub has them all.
        """
        now = self._clock.seconds()
        entries = [Entry(text, event=event, added_at=now) for event, text in events]
        if not entries:
            delivered()
            return
        self.outbox.adopt(entries)
        self._adopted.append(_Adopted(deque(entries), delivered))

    def connection_joined(
        self, connection: Connection, register_methods: Callable[[], None]
    ) -> None:
        """A new connection: `register_methods`, then unconfirmed entries, then waiting ones."""
        unconfirmed = self.outbox.unconfirmed
        self._connection, self._reconciling = connection, False
        register_methods()
        if not unconfirmed:
            self.flush()
        elif connection is self._connection:
            self._reconciling = True
            sending = self._send_again(connection, unconfirmed)
            run_in_background(sending, self.log, "Sending again failed")

    def connection_lost(self) -> None:
        if self._connection is None:
            return
        self._connection, self._lost_at = None, self._clock.seconds()
        self._set_status(stalled_since=None)
        if self.spooling is not None:
            self.spooling.link_lost()

    def flush(self) -> None:
        while (
            self._alone is None
            and (connection := self.writable_connection) is not None
            and (entry := self.outbox.next()) is not None
        ):
            self._send(connection, entry)
            if entry.losses >= MAX_LOSSES:
                self._alone = entry
        self._probe()
        self._tell_waiters()  # a call may have been the last that waited

    def when_confirmed(self) -> Deferred[None]:
        """Fire when the hub has confirmed every event."""
        waiter: Deferred[None] = Deferred(self._forget)
        if self.outbox.is_empty:
            waiter.callback(None)
        else:
            self._waiters.append(waiter)
        return waiter

    def stop(self) -> None:
        """Leave what is not confirmed to the spool, and forget it. Calls that wait fail."""
        self._connection, self._alone = None, None
        if self.spooling is not None:
            self.spooling.close()
            self.spooling = None
        for entry in self.outbox.clear():
            entry.dropped()

    # --- inside
    def _send(self, connection: Connection, entry: Entry) -> None:
        connection.send(entry.text)
        entry.sent_at = self._clock.seconds()
        self.outbox.mark_sent(entry)

    def _probe(self) -> None:
        """Ask one question at a time; its answer confirms everything that was sent before it."""
        if self._probing or self.writable_connection is None or not self.outbox.has_unconfirmed:
            return
        self._probing = True
        serial, asked_at = self.outbox.last_serial, self._clock.seconds()

        def confirmed(_: Any) -> None:
            self._probing = False
            self._confirmed(serial)

        def not_confirmed(failure: Failure) -> None:
            self._probing = False
            if failure.check(AckTimeout) is not None and self._connection is not None:
                if self.status.stalled_since is None:
                    self._set_status(stalled_since=asked_at)
                self._probe()
            else:
                failure.trap(LinkLost, AckTimeout)

        self._ask().addCallbacks(confirmed, not_confirmed)

    def _confirmed(self, serial: int) -> None:
        self._set_status(stalled_since=None)
        if self.outbox.confirm(serial):
            self._alone, self._is_dropping = None, False
        self._settled()
        if self.spooling is not None:
            self.spooling.confirmed()
        self.on_confirmed()
        self.flush()

    def _settled(self) -> None:
        """Entries have left the outbox."""
        for adopted in self._adopted[:]:
            while adopted.entries and adopted.entries[0].settled:
                adopted.entries.popleft()
            if not adopted.entries:
                self._adopted.remove(adopted)
                adopted.delivered()
        if self.spooling is not None:
            self.spooling.settled()
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        if self._waiters and self.outbox.is_empty:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def _forget(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    async def _send_again(self, connection: Connection, unconfirmed: tuple[Entry, ...]) -> None:
        wanted = await self._missing(unconfirmed)
        if connection is not self._connection:  # lost again: it is reconciled again
            return
        self.outbox.take_unconfirmed()
        self._alone = None
        if wanted and self._is_poison(wanted[0]):
            self._drop(wanted.pop(0))
        self.outbox.requeue(wanted)
        still_wanted = set(map(id, wanted))
        for entry in unconfirmed:
            entry.settled = id(entry) not in still_wanted
        self._settled()
        self._reconciling = False
        self.flush()

    def _is_poison(self, first: Entry) -> bool:
        """Count a lost connection against the first event that the hub lacks, and judge it."""
        if first.sent_at is None:  # if at all, an earlier process has sent it
            return False
        if first.losses >= MAX_LOSSES and self._lost_at - first.sent_at > POISON_WINDOW:
            first.losses = MAX_LOSSES  # the hub had it for a while before the connection was lost
            return False
        first.losses += 1
        return first.losses >= 2 * MAX_LOSSES

    def _drop(self, entry: Entry) -> None:
        self._set_status(dropped=self.status.dropped + 1)
        self.log.error(
            "Dropped {event} ({size} characters): "
            "the connection was lost all {times} times it was sent",
            event=entry.event,
            size=len(entry.text),
            times=entry.losses,
        )

    def _set_status(self, **changes: Any) -> None:
        status = evolve(self.status, **changes)
        if status != self.status:
            self.status = status
            self.on_change()

    def spool_changed(self) -> None:
        """The problem of `spooling` has changed."""
        self._set_status(spool_problem=None if self.spooling is None else self.spooling.problem)

    async def _missing(self, unconfirmed: tuple[Entry, ...]) -> list[Entry]:
        if self.reconcile is None:
            return list(unconfirmed)
        entries = {UnconfirmedEvent(entry.event or "", entry.args): entry for entry in unconfirmed}
        connection, delay = self._connection, FIRST_RECONCILE_DELAY
        while connection is self._connection:
            try:
                missing = set(await self.reconcile(list(entries)))
            except HubUnreachable as error:
                self.log.warn(
                    "What the hub has cannot be read yet; retrying in {seconds:g} s: {reason}",
                    seconds=delay,
                    reason=str(error),
                )
                await deferLater(self._clock, delay)
                delay = min(2 * delay, MAX_RECONCILE_DELAY)
            except Exception:
                self.log.failure("The reconciliation with the hub failed")
                break
            else:
                return [entry for sent, entry in entries.items() if sent in missing]
        return list(unconfirmed)
