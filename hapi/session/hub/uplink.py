"""The session's uplink: records, events and keep-alives out, versioned documents, prompts in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.net.client.delivery import DeliveryStatus
from hapi.net.client.hub_clock import HubClock
from hapi.net.client.reconciliation import PAGE_SIZE, missing, read_rows, sequence
from hapi.net.client.versioned import VersionedDocument
from hapi.net.common.errors import AckTimeout, HubRefused, HubUnreachable, LinkLost, PeerGone
from hapi.protocol import events
from hapi.protocol.events import (
    ERROR,
    MESSAGE,
    MESSAGES_CONSUMED,
    SESSION_ALIVE,
    SESSION_END,
    SESSION_READY,
    UPDATE,
    UPDATE_METADATA,
    UPDATE_STATE,
)
from hapi.protocol.json import cut
from hapi.protocol.records import agent_record, event_record, is_snapshot, message_event
from hapi.session.hub.inbox import Inbox
from hapi.session.hub.live import LiveText
from hapi.units import plural

# A hub takes a session for lost after 30 s without one (hub.md 10), and delivers prompts again that
# got lost with each of them.
KEEPALIVE_INTERVAL, IDLE_KEEPALIVE_INTERVAL = 2.0, 10.0  # seconds; while idle
CATCH_UP_TIMEOUT = 10.0  # seconds until prompts go to the agent although the hub does not answer
RECONCILIATION_MARGIN = 500  # rows: a prompt may have been stored after an unconfirmed record
# The codes of the `error` event of a hub that cannot keep what it is sent, and what they mean.
STORE_PROBLEMS = {
    "store-full": "the hub's disk is full",
    "store-busy": "the hub's database is locked by another program",
    "store-away": "the hub cannot reach its database",
    "store-failed": "the hub's database does not work",
}
Json = dict[str, Any]


class Link(Protocol):
    """The part of `hapi.net.client.link.HubLink` that a session uses."""

    connected: bool

    def on_connect(self, call: Callable[[], object]) -> None: ...
    def on_event(self, name: str, handle: Callable[..., object]) -> None: ...
    @property
    def delivery_status(self) -> DeliveryStatus: ...
    def on_delivery(
        self, changed: Callable[[], object], confirmed: Callable[[], object]
    ) -> None: ...
    def reconcile_with(self, review: Callable[[list[Any]], Awaitable[list[Any]]]) -> None: ...
    @property
    def has_backlog(self) -> bool: ...
    def emit(self, event: str, *args: Any, keep: bool = True) -> None: ...
    def call(self, event: str, *args: Any, timeout: float = 10.0) -> Deferred[Any]: ...
    @property
    def hub_clock(self) -> HubClock: ...


@define(eq=False, repr=False)
class SessionUplink:
    """The uplink of one session.

    `settings` returns what `session-alive` reports besides the turn; `on_queued` is called for each
    new prompt.
    """

    _clock: IReactorTime
    _link: Link
    session_id: str
    metadata: VersionedDocument
    state: VersionedDocument
    inbox: Inbox
    _rows_after: Callable[[int], Any]  # async: rows of the conversation above a sequence number
    settings: Callable[[], Mapping[str, Any]] = dict
    on_queued: Callable[[], object] = field(default=lambda: None)
    on_written: Callable[[Mapping[str, Any]], object] = field(
        default=lambda content: None
    )  # what goes into the conversation
    on_prompt: Callable[[str], object] = field(default=lambda text: None)  # a prompt from the page
    # ready, a turn, a prompt, the delivery to the hub
    on_change: Callable[[], object] = field(default=lambda: None)
    on_delivery_problem: Callable[[str | None], object] = field(default=lambda problem: None)
    thinking: bool = False
    mode: str = "remote"  # or "local": the agent's own program has the terminal
    is_ready: bool = False
    # Whether the hub may still be sending prompts that were written before the link came up: later
    # ones must not go to the agent ahead of them.
    is_catching_up: bool = False
    live: LiveText = field(init=False)
    _keepalives: LoopingCall = field(init=False)
    _connects: int = 0
    _reconciled: int = 0  # sequence number up to which all rows belong to confirmed records
    _compare_from: int | None = None  # `reconcile_from` since the last confirmation
    _last_row: int = 0  # sequence number of the last row that was compared
    _store_problem: str | None = None  # a key of STORE_PROBLEMS
    _delivery_problem: str | None = None
    _reported_drops: int = 0  # dropped events of which the conversation tells
    _is_ended: bool = False
    log = Logger()

    @classmethod
    def of_row(
        cls,
        clock: IReactorTime,
        link: Link,
        row: Mapping[str, Any],
        inbox: Inbox,
        rows_after: Callable[[int], Any],
        random: Random | None = None,
    ) -> SessionUplink:
        """The uplink for the session object from the hub's REST API."""
        sid = str(row["id"])

        def document(name: str, event: str, key: str) -> VersionedDocument:
            def send(value: Any, version: int) -> Deferred[Mapping[str, Any]]:
                return link.call(event, {"sid": sid, "expectedVersion": version, key: value})

            version = row.get(f"{name}Version")
            return VersionedDocument(
                clock, send, key, row.get(name), version if isinstance(version, int) else 1, random
            )

        metadata = document("metadata", UPDATE_METADATA, "metadata")
        state = document("agentState", UPDATE_STATE, "agentState")
        return cls(clock, link, sid, metadata, state, inbox, rows_after)

    def change_metadata(self, change: Callable[[Any], Any]) -> None:
        """Change the stored metadata; see VersionedDocument.change()."""
        self._log_refusal(self.metadata.change(change))

    def change_state(self, change: Callable[[Any], Any]) -> None:
        """Change the stored agent state; see VersionedDocument.change()."""
        self._log_refusal(self.state.change(change))

    def _log_refusal(self, stored: Deferred[Any]) -> None:
        stored.addErrback(
            lambda failure: self.log.warn(
                "Not stored at the hub: {reason}", reason=failure.getErrorMessage()
            )
        )

    def __attrs_post_init__(self) -> None:
        self._keepalives = LoopingCall(self._keepalive)
        self._keepalives.clock = self._clock
        self.live = LiveText(self._clock, self._link, self.session_id)
        self._link.on_connect(self._connected)
        self._link.on_event(UPDATE, self._update)
        self._link.on_event(ERROR, self._error)
        self._link.on_delivery(self._delivery_changed, self._delivery_confirmed)
        self._link.reconcile_with(self._reconcile)

    def now_ms(self) -> int:
        """Milliseconds since the epoch by the hub's clock: the time that goes on the wire."""
        return self._link.hub_clock.milliseconds()

    # --- delivery
    @property
    def delivery_problem(self) -> str | None:
        """Why records of this session are not at the hub although it is connected, or could be
        lost, as a sentence without its period; None if all is well."""
        status = self._link.delivery_status
        if self._store_problem is not None:
            cause = STORE_PROBLEMS[self._store_problem]
            return f"The hub does not store this session's records at the moment: {cause}"
        if status.stalled_since is not None:
            return "The hub is connected but does not confirm this session's records"
        if status.spool_problem is not None:
            return (
                "Records for the hub are kept in memory only, because they cannot be written to "
                f"the disk: {status.spool_problem}"
            )
        return None

    @property
    def reconcile_from(self) -> int:
        """The sequence number above which the hub's rows are compared with unconfirmed records."""
        if self._compare_from is not None:
            return self._compare_from
        return max(self._reconciled, self.inbox.highest - RECONCILIATION_MARGIN, 0)

    def compare_from(self, sequence: int) -> None:
        """Events of an earlier process are to be delivered: compare them with the rows above
        `sequence` as well."""
        self._compare_from = min(self.reconcile_from, sequence)

    def _delivery_changed(self) -> None:
        problem = self.delivery_problem
        if problem == self._delivery_problem:
            return
        self._delivery_problem = problem
        if problem is not None:
            self.log.warn("{problem}", problem=problem)
        else:
            self.log.info("The hub confirms this session's records again")
        self.on_change()
        self.on_delivery_problem(problem)

    def _delivery_confirmed(self) -> None:
        if self._store_problem is not None:  # the hub refused to store the documents as well
            self.metadata.retry_now()
            self.state.retry_now()
        self._store_problem, self._compare_from = None, None
        self._reconciled = max(self._reconciled, self._last_row)
        self._delivery_changed()
        lost = self._link.delivery_status.dropped - self._reported_drops
        if lost > 0 and not self._is_ended:
            self._reported_drops += lost
            self.log.error("Lost {records} of this session", records=plural(lost, "record"))
            self.publish_status(
                f"{plural(lost, 'record')} of this session {'is' if lost == 1 else 'are'} missing "
                "here: the hub did not accept more, and there was no room to keep more"
            )

    # --- out
    def publish_agent_record(self, data: Mapping[str, Any]) -> None:
        """Publish a record of the agent in the conversation. Its long strings are cut as the hub
        would cut them: a file that a tool prints is not sent whole.

        A hub that shows live text gets no snapshots of thoughts: it has them already.
        """
        if not (self.live.is_wanted and is_snapshot(data)):
            self.publish(agent_record(cut(data)))

    def publish_event(self, data: Mapping[str, Any]) -> None:
        self.publish(event_record(data))

    def publish_status(self, text: str) -> None:
        """Publish a status line in the conversation."""
        self.publish_event(message_event(text))

    def publish(self, content: Mapping[str, Any], at: int | None = None) -> None:
        """Publish a record. `at`: when it happened, in milliseconds by the hub's clock; None: now,
        when it reaches the hub."""
        try:
            self.publish_prompt(content, at)
        except (ValueError, TypeError, RecursionError) as problem:  # too large, or no JSON
            self.log.error("A record cannot be sent: {reason}", reason=str(problem))
            self.on_written(content)

    def publish_prompt(self, content: Mapping[str, Any], at: int | None = None) -> None:
        """Publish what a person said. Raises ValueError (FrameTooLarge), TypeError or
        RecursionError if it cannot be sent."""
        if self._is_ended:
            return
        time = {} if at is None else {"createdAt": at}
        self._link.emit(MESSAGE, {"sid": self.session_id, "message": content, **time})
        self.on_written(content)

    def acknowledge_prompts(self, local_ids: tuple[str, ...]) -> None:
        """Acknowledge prompts that the agent has."""
        if local_ids:
            self._link.emit(
                MESSAGES_CONSUMED, {"sid": self.session_id, "localIds": list(local_ids)}
            )

    def announce_ready(self) -> None:
        self.is_ready = True
        self.on_change()
        self._link.emit(SESSION_READY, {"sid": self.session_id, "time": self.now_ms()})

    def set_thinking(self, thinking: bool) -> None:
        """The turn began or ended; the hub is told at once."""
        self.thinking = thinking
        self.on_change()
        self.send_keepalive()
        if self._keepalives.running:
            self._keepalives.stop()
            self.start()

    def send_keepalive(self) -> None:
        """Send a keep-alive with the settings now."""
        if self._is_ended:
            return
        alive = {
            "sid": self.session_id,
            "time": self.now_ms(),
            "thinking": self.thinking,
            "mode": self.mode,
            **self.settings(),
        }
        self._link.emit(SESSION_ALIVE, alive, keep=False)

    def start(self) -> None:
        """Send keep-alives from now on, fewer of them while the session is idle."""
        interval = KEEPALIVE_INTERVAL if self.thinking else IDLE_KEEPALIVE_INTERVAL
        self._keepalives.start(interval, now=False)

    def announce_end(self, reason: str) -> None:
        """Announce the end of the session; afterwards nothing more is sent."""
        if self._keepalives.running:
            self._keepalives.stop()
        self.live.stop()
        self._link.emit(
            SESSION_END, {"sid": self.session_id, "time": self.now_ms(), "reason": reason}
        )
        self._is_ended = True

    def _keepalive(self) -> None:
        try:
            self.send_keepalive()
        except Exception:
            self.log.failure("A keep-alive failed")

    # --- in
    def _connected(self) -> Deferred[None]:
        self._connects += 1
        self.send_keepalive()
        self.metadata.retry_now()
        self.state.retry_now()
        self.is_catching_up = True
        return Deferred.fromCoroutine(self._catch_up(self._connects, self.inbox.highest))

    async def _catch_up(self, connect: int, after: int) -> None:
        """Hold prompts back until those from before the connect are here.

        The hub sends what waits when it gets the keep-alive, and answers the ping after that.
        """
        sent = self._link.call(events.PING, timeout=CATCH_UP_TIMEOUT)
        sent.addErrback(lambda failure: failure.trap(LinkLost, PeerGone, AckTimeout))
        if connect > 1 and after:
            await self._backfill(after)
        await sent
        if connect == self._connects:
            self.is_catching_up = False
            if len(self.inbox):
                self.on_queued()

    async def _reconcile(self, unconfirmed: list[Any]) -> list[Any]:
        """Of the unconfirmed events, those that the hub does not have."""
        rows: list[Any] = []
        if any(sent.event == MESSAGE for sent in unconfirmed):
            # The comparison may have to be repeated, and the inbox grows meanwhile.
            self._compare_from = after = self.reconcile_from
            rows = await read_rows(self._rows_after, after)
            self._last_row = max([after, *map(sequence, rows)])
        return missing(unconfirmed, rows)

    async def _backfill(self, after: int) -> None:
        """Fetch the prompts that arrived while the link was down: those above `after`."""
        while True:
            try:
                rows = await self._rows_after(after)
            except (HubRefused, HubUnreachable) as problem:
                self.log.warn(
                    "Prompts from before the reconnect could not be fetched: {problem}",
                    problem=str(problem),
                )
                return
            for row in rows:
                self._offer(row)
            before, after = after, max([after, *map(sequence, rows)])
            if len(rows) < PAGE_SIZE or after == before:
                return

    def _offer(self, row: Any) -> None:
        if not self._is_ended and (message := self.inbox.offer(row)) is not None:
            self.on_prompt(message.summary)
            self.on_queued()
            self.on_change()

    def _update(self, update: Any = None, *_: Any) -> Any:
        body = update.get("body") if isinstance(update, Mapping) else None
        if not isinstance(body, Mapping) or body.get("sid") not in (self.session_id, None):
            return None
        match body.get("t"):
            case events.UPDATE_NEW_MESSAGE:
                self._offer(body.get("message"))
            case events.UPDATE_SESSION:
                self._adopt(self.metadata, body.get("metadata"))
                self._adopt(self.state, body.get("agentState"))
            case events.UPDATE_CANCEL_QUEUED_MESSAGE:
                return self.inbox.cancel(body)
            case events.UPDATE_RETRY_QUEUED_MESSAGE:
                answer = self.inbox.retry(body)
                if answer["accepted"]:
                    self.on_queued()
                return answer
        return None

    @staticmethod
    def _adopt(document: VersionedDocument, received: Any) -> None:
        if isinstance(received, Mapping) and isinstance(received.get("version"), int):
            document.adopt(received.get("value"), received["version"])

    def _error(self, received: Any = None, *_: Any) -> None:
        code = received.get("code") if isinstance(received, Mapping) else None
        if code not in STORE_PROBLEMS:
            self.log.warn("The hub sent an error: {received}", received=received)
        elif self._store_problem != code:
            self._store_problem = code
            self._delivery_changed()
