"""Delivery of what sessions left in the spool: events that they could not hand to the hub.

A session delivers its own events as long as it lives, and the next process of a session those of
the one before. The runner delivers the rest, each over a connection of its own, which speaks for
the session as the ended process did.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.home import Home
from hapi.net.client.hub_client import HubClient
from hapi.net.client.link import HubLink
from hapi.net.client.reconciliation import missing, read_rows
from hapi.net.common.errors import AckTimeout, HubRefused, HubUnreachable, LinkLost
from hapi.net.common.rpc import RpcTable
from hapi.protocol.events import SESSION_END
from hapi.runner.storage.disk import Disk
from hapi.settings import HubAccess
from hapi.spool import DELIVERED_BY_OTHERS, ClaimedSpool, claim_spools, spooled_sessions
from hapi.units import plural

DELIVERY_TIMEOUT = 120.0  # seconds for the events of one process
UNKNOWN_SESSION_STATUSES = (403, 404)  # of a hub that has no such session for this user
MAX_AGE = 14 * 86400.0  # seconds: older files of sessions that this hub does not know are removed


class Link(Protocol):
    """The part of HubLink that a delivery uses."""

    def reconcile_with(self, reconcile: Callable[[list[Any]], Awaitable[list[Any]]]) -> None: ...
    def adopt(self, events: Any, delivered: Callable[[], object]) -> None: ...
    def startService(self) -> None: ...
    async def leave(self) -> None: ...


class Client(Protocol):
    async def session(self, session_id: str) -> dict[str, Any]: ...
    async def messages(self, session_id: str, after_seq: int) -> list[dict[str, Any]]: ...


def session_link(reactor: Any, access: HubAccess, session_id: str) -> HubLink:
    """A connection that speaks for a session and serves none of its methods."""
    auth = {"clientType": "session-scoped", "sessionId": session_id}
    return HubLink(reactor, access, auth, RpcTable(session_id))


@define(eq=False, repr=False)
class SpoolDelivery:
    """Delivers one file after the other, to the hub of `_access()`."""

    _clock: IReactorTime
    _home: Home
    _disk: Disk
    _access: Callable[[], HubAccess]
    _is_linked: Callable[[], bool]
    _now: Callable[[], float]
    _make_link: Callable[[Any, HubAccess, str], Link] = session_link
    _make_client: Callable[[Any, HubAccess], Client] = HubClient
    _lock: DeferredLock = field(factory=DeferredLock)
    log = Logger()

    def deliver_soon(self) -> None:
        """Deliver what ended processes have left, if the hub is connected."""
        if self._is_linked() and spooled_sessions(self._home):
            run_in_background(self._deliver_all(), self.log, "The spool was not delivered")

    async def deliver(self, session_id: str | None = None) -> None:
        """Deliver what ended processes of `session_id`, or of all sessions, have left.

        Raises LinkLost, AckTimeout, HubUnreachable or HubRefused; the events then stay.
        """
        if not spooled_sessions(self._home):
            return
        await self._lock.acquire()
        try:
            files = claim_spools(self._home, session_id)
            while (claimed := await self._disk.do(lambda: next(files, None))) is not None:
                try:
                    await self._deliver(claimed)
                finally:
                    claimed.release()
        finally:
            self._lock.release()

    async def _deliver_all(self) -> None:
        try:
            await self.deliver()
        except (LinkLost, AckTimeout, HubUnreachable, HubRefused) as error:
            self.log.warn("Events of ended sessions wait for the hub: {reason}", reason=str(error))

    async def _deliver(self, claimed: ClaimedSpool) -> None:
        access, header = self._access(), claimed.header
        client = self._make_client(self._clock, access)
        try:
            row = await client.session(header.session_id)
        except HubRefused as error:
            if error.status not in UNKNOWN_SESSION_STATUSES:
                raise
            self._unknown(claimed, access, error)
            return
        metadata = row.get("metadata")
        is_last = isinstance(metadata, dict) and metadata.get("hostPid") == header.pid
        wanted = (
            (*DELIVERED_BY_OTHERS, SESSION_END)
            if is_last and row.get("active") is True
            else DELIVERED_BY_OTHERS
        )
        texts = [event.text for event in claimed.events if event.event in wanted]
        if texts:
            await self._send(client, access, claimed, texts)
        claimed.remove()
        self.log.info(
            "Delivered {events} that session {session_id} had left in the spool",
            events=plural(len(texts), "event"),
            count=len(texts),
            session_id=header.session_id,
        )

    async def _send(
        self, client: Client, access: HubAccess, claimed: ClaimedSpool, texts: list[str]
    ) -> None:
        header = claimed.header

        async def lacking(unconfirmed: list[Any]) -> list[Any]:
            return missing(
                unconfirmed,
                await read_rows(
                    lambda after: client.messages(header.session_id, after), header.after_seq
                ),
            )

        link = self._make_link(self._clock, access, header.session_id)
        link.reconcile_with(lacking)
        delivered: Deferred[None] = Deferred()
        link.adopt(texts, partial(delivered.callback, None))
        link.startService()
        try:
            await delivered.addTimeout(DELIVERY_TIMEOUT, self._clock)
        except TimeoutError as error:
            raise AckTimeout(
                f"the events of session {header.session_id} were not confirmed within "
                f"{DELIVERY_TIMEOUT:g} s"
            ) from error
        finally:
            await maybeDeferred(lambda: Deferred.fromCoroutine(link.leave()))

    def _unknown(self, claimed: ClaimedSpool, access: HubAccess, error: HubRefused) -> None:
        """The hub does not have the session. If the events were for it, nobody will take them."""
        header = claimed.header
        if header.hub != access.url and self._now() - claimed.modified_at < MAX_AGE:
            self.log.debug(
                "{path} waits for {url}: {reason}",
                path=str(claimed.path),
                url=header.hub,
                reason=str(error),
            )
            return
        self.log.warn(
            "Dropped {events} of session {session_id}, because the hub does not have "
            "the session any more: {reason}",
            events=plural(len(claimed.events), "event"),
            count=len(claimed.events),
            session_id=header.session_id,
            reason=str(error),
        )
        claimed.remove()
