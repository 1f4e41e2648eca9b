"""Getting what must arrive to the hub: in order, once a connection is there, again after a connection that was lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.net.client.connection import Connection
from hapi.net.client.outbox import Entry, Outbox
from hapi.net.common.errors import AckTimeout, LinkLost

MOST_TRIES = 5  # losses in a row after which a message is taken for the cause of them (N10)


@frozen(eq=False)
class UnconfirmedEvent:
    """A kept event whose arrival is unsure."""

    event: str
    args: tuple[Any, ...]


Review = Callable[[list[UnconfirmedEvent]], Awaitable[list[UnconfirmedEvent]]]


@define(eq=False)
class Delivery:
    """`ask` puts a question to the hub that it answers after all that was sent before (the event `ping`, session.md 3.3)."""

    _ask: Callable[[], Deferred[Any]]
    outbox: Outbox = field(factory=Outbox)
    review: Review | None = None
    _connection: Connection | None = None
    _reviewing: bool = False
    _probing: bool = False
    log = Logger()

    @property
    def way(self) -> Connection | None:
        """The connection, if a message can go out on it now, after all older ones."""
        connection = self._connection
        return (
            connection
            if connection is not None and connection.writable and not self._reviewing
            else None
        )

    def post(self, entry: Entry) -> None:
        """Send it now, or when its turn comes."""
        if (way := self.way) is not None:
            way.send(entry.text)
            self.outbox.went(entry)
            self._probe()
        else:
            self.outbox.put(entry)

    def joined(self, connection: Connection, greet: Callable[[], None]) -> None:
        """A new connection: `greet` goes first, then what the last one may have swallowed, then what waits."""
        unsure = self.outbox.unsure
        self._connection, self._reviewing = connection, False
        greet()
        if not unsure:
            self.flush()
        elif connection is self._connection:
            self._reviewing = True
            again = Deferred.fromCoroutine(self._send_again(connection, unsure))
            again.addErrback(lambda failure: self.log.failure("Sending again failed", failure))

    def lost(self) -> None:
        self._connection = None

    def flush(self) -> None:
        while (way := self.way) is not None and (entry := self.outbox.next()) is not None:
            way.send(entry.text)
            self.outbox.went(entry)
        self._probe()

    def _probe(self) -> None:
        """One question is under way at a time; its answer confirms all that went before it."""
        if self._probing or self.way is None or not self.outbox.unsure:
            return
        self._probing = True
        serial = self.outbox.latest

        def seen(_: Any) -> None:
            self._probing = False
            self.outbox.confirm(serial)
            self._probe()

        def unseen(failure: Failure) -> None:
            self._probing = False
            failure.trap(LinkLost, AckTimeout)

        self._ask().addCallbacks(seen, unseen)

    async def _send_again(self, connection: Connection, unsure: tuple[Entry, ...]) -> None:
        wanted = await self._missing(unsure)
        if connection is not self._connection:  # lost once more: reviewed once more
            return
        self.outbox.confirm(unsure[-1].serial)
        for entry in wanted:
            entry.tries += 1
        self.outbox.again([entry for entry in wanted if entry.tries < MOST_TRIES])
        for entry in wanted:
            if entry.tries >= MOST_TRIES:
                self.outbox.lost += 1
                self.log.error(
                    "A {event} of {size} characters is dropped: the connection was lost {tries} times after it",
                    event=entry.event, size=len(entry.text), tries=entry.tries,
                )  # fmt: skip
        self._reviewing = False
        self.flush()

    async def _missing(self, unsure: tuple[Entry, ...]) -> list[Entry]:
        if self.review is None:
            return list(unsure)
        asked = {UnconfirmedEvent(entry.event or "", entry.args): entry for entry in unsure}
        try:
            missing = set(await self.review(list(asked)))
        except Exception:
            self.log.failure("What the hub has could not be reviewed")
            return list(unsure)
        return [entry for sent, entry in asked.items() if sent in missing]
