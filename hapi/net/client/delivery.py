"""Reliable delivery to the hub: in order, and again after a lost connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background
from hapi.net.client.connection import Connection
from hapi.net.client.outbox import Entry, Outbox
from hapi.net.common.errors import AckTimeout, LinkLost

MAX_ATTEMPTS = 5  # lost connections in a row after which the message is taken for their cause (N10)


@frozen(eq=False)
class UnconfirmedEvent:
    """A kept event that the hub has not confirmed."""

    event: str
    args: tuple[Any, ...]


Reconcile = Callable[[list[UnconfirmedEvent]], Awaitable[list[UnconfirmedEvent]]]


@define(eq=False)
class Delivery:
    """Sends entries while the hub reads and keeps them until they are confirmed.

    `ask` sends an event that the hub answers after everything sent before it (`ping`, session.md
    3.3).
    """

    _ask: Callable[[], Deferred[Any]]
    outbox: Outbox = field(factory=Outbox)
    reconcile: Reconcile | None = None
    _connection: Connection | None = None
    _reconciling: bool = False
    _probing: bool = False
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

    def deliver(self, entry: Entry) -> None:
        """Send `entry` now or in its turn."""
        if (writable_connection := self.writable_connection) is not None:
            writable_connection.send(entry.text)
            self.outbox.mark_sent(entry)
            self._probe()
        else:
            self.outbox.put(entry)

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
        self._connection = None

    def flush(self) -> None:
        while (writable_connection := self.writable_connection) is not None and (
            entry := self.outbox.next()
        ) is not None:
            writable_connection.send(entry.text)
            self.outbox.mark_sent(entry)
        self._probe()

    def _probe(self) -> None:
        """Ask one question at a time; its answer confirms everything that was sent before it."""
        if self._probing or self.writable_connection is None or not self.outbox.unconfirmed:
            return
        self._probing = True
        serial = self.outbox.last_serial

        def confirmed(_: Any) -> None:
            self._probing = False
            self.outbox.confirm(serial)
            self._probe()

        def not_confirmed(failure: Failure) -> None:
            self._probing = False
            failure.trap(LinkLost, AckTimeout)

        self._ask().addCallbacks(confirmed, not_confirmed)

    async def _send_again(self, connection: Connection, unconfirmed: tuple[Entry, ...]) -> None:
        wanted = await self._missing(unconfirmed)
        if connection is not self._connection:  # lost again: it is reconciled again
            return
        self.outbox.confirm(unconfirmed[-1].serial)
        for entry in wanted:
            entry.attempts += 1
        self.outbox.requeue([entry for entry in wanted if entry.attempts < MAX_ATTEMPTS])
        for entry in wanted:
            if entry.attempts >= MAX_ATTEMPTS:
                self.outbox.dropped_count += 1
                self.log.error(
                    "Dropped {event} ({size} characters): "
                    "the connection was lost all {attempts} times it was sent",
                    event=entry.event, size=len(entry.text), attempts=entry.attempts,
                )  # fmt: skip
        self._reconciling = False
        self.flush()

    async def _missing(self, unconfirmed: tuple[Entry, ...]) -> list[Entry]:
        if self.reconcile is None:
            return list(unconfirmed)
        entries = {UnconfirmedEvent(entry.event or "", entry.args): entry for entry in unconfirmed}
        try:
            missing = set(await self.reconcile(list(entries)))
        except Exception:
            self.log.failure("The reconciliation with the hub failed")
            return list(unconfirmed)
        return [entry for sent, entry in entries.items() if sent in missing]
