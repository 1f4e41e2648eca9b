"""The hub link: connects and reconnects, joins `/cli`, answers RPC and delivers events reliably."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Literal

from attrs import frozen
from twisted.application.internet import ClientService
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.net.client.backoff import Backoff
from hapi.net.client.connection import Connection
from hapi.net.client.delivery import Delivery, DeliveryStatus, Reconcile, UnconfirmedEvent
from hapi.net.client.endpoint import (
    ObservedEndpoint,
    extra_upgrade_headers,
    hub_endpoint,
    websocket_url,
)
from hapi.net.client.hub_clock import HubClock
from hapi.net.client.outbox import Entry
from hapi.net.client.spooling import InThread, Spool, Spooling
from hapi.net.common.errors import (
    AckTimeout,
    FrameTooLarge,
    LinkLost,
    describe_certificate_error,
    describe_connection_error,
)
from hapi.net.common.pending_calls import PendingCalls
from hapi.net.common.rpc import RpcTable
from hapi.net.common.websocket import ClientSocket, ClientSocketFactory, message_size
from hapi.protocol.channel import AckReceived, EventReceived, ack_text, event_text
from hapi.protocol.engineio import MAX_PAYLOAD
from hapi.protocol.events import PING
from hapi.protocol.json import from_json, to_json
from hapi.protocol.rpc import REGISTER, REQUEST, rpc_error
from hapi.settings import HubAccess

__all__ = [
    "AckTimeout",
    "DeliveryStatus",
    "FrameTooLarge",
    "HubLink",
    "LinkLost",
    "LinkStatus",
    "UnconfirmedEvent",
]

NAMESPACE = "/cli"
LEAVE_TIMEOUT = 1.0  # seconds for the last messages, `41` and the closing handshake together
# Seconds for the answer to a `ping`, which comes after everything sent before it. Then it is asked
# again: the hub may have no room for what was sent, or may have lost the question.
PROBE_TIMEOUT = 10.0
MAX_UNREAD_ANSWERS = 64 * 1024 * 1024  # characters of answers for a hub that asks and does not read


@frozen
class LinkStatus:
    """The state of the link.

    `since`: seconds of the reactor's clock; `failures`: attempts since the hub last accepted us.
    """

    phase: Literal["connecting", "connected", "refused", "stopped"]
    reason: str | None
    since: float
    failures: int = 0


class HubLink(Service):
    """One Socket.IO connection, made again whenever it ends.

    `auth` is sent with CONNECT besides the token, e.g. `{"clientType": "machine-scoped",
    "machineId": …}`. After each CONNECT all methods of `rpc` are registered, then the `on_connect`
    callbacks run, then the outbox is sent. Each answer of the hub to a new connection sets
    `hub_clock`.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        access: HubAccess,
        auth: Mapping[str, str],
        rpc: RpcTable,
        *,
        random: Random | None = None,
        endpoint: IStreamClientEndpoint | None = None,
        hub_clock: HubClock | None = None,
    ) -> None:
        self.hub_clock = hub_clock or HubClock()
        self._clock, self._access, self.rpc = reactor, access, rpc
        self._auth = {"token": access.token, **auth}
        self._backoff = Backoff(random or Random())
        self._delivery = Delivery(reactor, lambda: self.call(PING, timeout=PROBE_TIMEOUT))
        self._calls = PendingCalls(reactor)
        self._next_ack = 0
        self._unread_answers = 0
        self._leaving = False
        self._joined: Connection | None = None
        self._latest: Connection | None = None
        self._end_waiters: list[Deferred[None]] = []
        self._on_connect: list[Callable[[], object]] = []
        self._on_status: list[Callable[[LinkStatus], object]] = []
        self._on_event: dict[str, Callable[..., Any]] = {}
        self.status = LinkStatus("stopped", None, reactor.seconds())
        self._endpoint = endpoint
        self._client = self._make_client()
        rpc.on_added = self._register

    def _make_client(self) -> ClientService:
        access = self._access
        factory = ClientSocketFactory(
            self._clock,
            websocket_url(access.url),
            extra_upgrade_headers(access.headers),
            self._connection_opened,
        )
        watched = ObservedEndpoint(
            self._endpoint or hub_endpoint(self._clock, access.url), self._attempt_failed
        )
        return ClientService(watched, factory, retryPolicy=self._backoff.delay, clock=self._clock)

    # --- the interface of the link
    def reconcile_with(self, reconcile: Reconcile) -> None:
        """After a reconnect, call `reconcile` with the unconfirmed events: it returns those the hub
        lacks.

        These are sent again before anything newer. Without `reconcile`, or if it fails, all
        unconfirmed events are: none is lost, and those of the last round trip may arrive twice. It
        is for programs that can ask the hub what it has.
        """
        self._delivery.reconcile = reconcile

    def spool_to(self, spool: Spool, in_thread: InThread) -> None:
        """Keep events on the disk while the hub does not confirm them; `in_thread` runs the syncs.

        What is unconfirmed when the link stops stays there.
        """
        self._delivery.spooling = Spooling(
            self._clock,
            self._delivery.outbox,
            spool,
            self._delivery.spool_changed,
            in_thread,
        )

    def adopt(self, events: Iterable[str], delivered: Callable[[], object]) -> None:
        """Deliver events of an earlier process, each as the JSON of an array, before all others.

        They are compared with what the hub has (`reconcile_with`). To be called before the start;
        `delivered` is called when the hub has them all.
        """
        texts = ((from_json(text)[0], f"42{NAMESPACE},{text}") for text in events)
        self._delivery.adopt(texts, delivered)

    @property
    def delivery_status(self) -> DeliveryStatus:
        return self._delivery.status

    def on_delivery(self, changed: Callable[[], object], confirmed: Callable[[], object]) -> None:
        """Call `changed` when `delivery_status` changes, `confirmed` when the hub confirms."""
        self._delivery.on_change, self._delivery.on_confirmed = changed, confirmed

    def when_confirmed(self) -> Deferred[None]:
        """Fire when the hub has confirmed all events; never, if the link is stopped before."""
        return self._delivery.when_confirmed()

    @property
    def access(self) -> HubAccess:
        """Where the hub is, and the token for it."""
        return self._access

    def use(self, access: HubAccess) -> None:
        """Go to another hub, or to the same one with another token, at once."""
        self._access, self._auth = access, {**self._auth, "token": access.token}
        self._backoff.connected()
        old, self._client = self._client, self._make_client()
        if not self.running:
            return
        self._disconnected()
        if self._latest is not None:
            self._latest.end(f"the hub is at {access.url} now")
        maybeDeferred(old.stopService).addErrback(
            lambda failure: self.log.debug("The old connection: {failure}", failure=failure)
        )
        self._set_status("connecting", None)
        self._client.startService()

    @property
    def connected(self) -> bool:
        return self._joined is not None

    @property
    def writable(self) -> bool:
        """Whether the hub is connected and reads what it is sent."""
        return self._joined is not None and self._joined.writable

    @property
    def has_backlog(self) -> bool:
        """Whether the hub is away or reads slowly, or kept events wait to be sent."""
        return self._delivery.has_backlog

    def on_connect(self, call: Callable[[], object]) -> None:
        """Run `call` after each CONNECT. Its result is not awaited; its failure is logged."""
        self._on_connect.append(call)

    def on_status(self, call: Callable[[LinkStatus], object]) -> None:
        self._on_status.append(call)

    def on_event(self, name: str, handle: Callable[..., object]) -> None:
        """Call `handle` with the arguments of each event `name`; its (awaited) result is the
        answer."""
        self._on_event[name] = handle

    def emit(self, event: str, *args: Any, keep: bool = True) -> None:
        """Send an event. Offline, or while the hub reads slowly, it waits (`keep`) or is dropped.

        A kept event leaves the outbox when the hub has confirmed it, and is sent again if the
        connection is lost before (see `reconcile_with`). Raises FrameTooLarge, and TypeError or
        ValueError for arguments without a JSON form.
        """
        text = self._text(event, args, None)
        if keep:
            self._delivery.deliver(Entry(text, event=event))
        elif self._joined is not None and self._joined.writable:
            self._joined.send(text)

    def send(self, event: str, *args: Any) -> None:
        """Send an event on the connection that there is, however slowly the hub reads; without a
        connection it is dropped. Raises as `emit` does."""
        if self._joined is not None:
            self._joined.send(self._text(event, args, None))

    def call(self, event: str, *args: Any, timeout: float = 10.0) -> Deferred[Any]:
        """Send an event and fire with the first argument of the hub's answer (None if it has none).

        Offline it waits for the connection. Fails with AckTimeout `timeout` seconds from now, with
        LinkLost if the connection ends between sending and answer, and with FrameTooLarge.
        """
        number, self._next_ack = self._next_ack, self._next_ack + 1
        try:
            text = self._text(event, args, number)
        except (TypeError, ValueError, RecursionError) as problem:
            return fail(problem)
        unsent = LinkLost(f"{event} was dropped unsent")
        entry = Entry(
            text, lambda: self._calls.sent(number), lambda: self._calls.fail(number, unsent)
        )
        answer = self._calls.begin(
            number, event, timeout, lambda: self._delivery.outbox.withdraw(entry)
        )
        self._delivery.deliver(entry)
        return answer.addCallback(lambda arguments: arguments[0] if arguments else None)

    def register_again(self) -> None:
        """Register all methods again: another socket of this machine may have taken them."""
        for method in self.rpc.methods:
            self._register(method)

    async def leave(self) -> None:
        """Send what waits, leave the namespace, close politely (within 1 s), and stop."""
        if (connection := self._joined) is not None:
            self._delivery.flush()
            ended: Deferred[None] = Deferred()
            self._end_waiters.append(ended)
            self._leaving = True
            self._disconnected()
            connection.leave()
            await ended.addTimeout(LEAVE_TIMEOUT, self._clock).addErrback(lambda _: None)
        await maybeDeferred(self.stopService)

    # --- Service
    def startService(self) -> None:
        self._leaving = False
        super().startService()  # type: ignore[no-untyped-call]
        self._set_status("connecting", None)
        self._client.startService()

    def stopService(self) -> Deferred[None]:
        if not self.running:
            return succeed(None)
        super().stopService()  # type: ignore[no-untyped-call]
        self._disconnected()
        self._calls.fail_sent(LinkLost("the link was stopped"))
        self._delivery.stop()
        self._set_status("stopped", None)
        if self._latest is not None:
            self._latest.end("the link was stopped")
        return maybeDeferred(self._client.stopService)

    # --- ConnectionListener
    def connection_opened(self, connection: Connection, date: str | None) -> None:
        self.hub_clock.observe(date)

    def connection_joined(self, connection: Connection) -> None:
        if not self.running:
            return
        self._backoff.connected()
        self._joined, self._unread_answers = connection, 0
        self._delivery.connection_joined(connection, self._register_methods)

    def _register_methods(self) -> None:
        for method in self.rpc.methods:
            self._register(method)
        self._set_status("connected", None)
        for call in self._on_connect:
            maybeDeferred(call).addErrback(
                lambda failure: self.log.failure("A link's on_connect failed", failure)
            )

    def connection_refused(self, connection: Connection, message: str) -> None:
        self._disconnected()
        self._backoff.refused()
        self._set_status("refused", f"the hub refused us: {message}")

    def connection_writable_changed(self, connection: Connection, writable: bool) -> None:
        if writable and connection is self._joined:
            self._unread_answers = 0
            self._delivery.flush()

    def connection_event(self, connection: Connection, event: EventReceived) -> None:
        answer: Deferred[Any]
        if event.name == REQUEST:
            answer = Deferred.fromCoroutine(self.rpc.answer(event.args[0] if event.args else None))
        elif (handle := self._on_event.get(event.name)) is not None:
            answer = maybeDeferred(handle, *event.args)
        else:
            return
        answer.addCallback(self._answer, connection, event)
        answer.addErrback(
            lambda failure: self.log.failure("Event {name} failed", failure, name=event.name)
        )

    def connection_acked(self, connection: Connection, acked: AckReceived) -> None:
        self._calls.answered(acked.ack, acked.args)

    def connection_ended(
        self, connection: Connection, reason: str | None, cause: Failure | None
    ) -> None:
        was_joined = connection is self._joined
        if was_joined:
            self._disconnected()
        self._latest = None
        self._backoff.failed()
        problem = cause.value if cause is not None else None
        words = (
            describe_certificate_error(problem, self._access.url)
            or reason
            or describe_connection_error(problem, self._access.url)
        )
        self._calls.fail_sent(LinkLost(words))
        if self.running and not self._leaving and (self.status.phase != "refused" or was_joined):
            self._set_status("connecting", words)
        ended, self._end_waiters = self._end_waiters, []
        for waiting in ended:
            waiting.callback(None)

    # --- inside
    def _disconnected(self) -> None:
        self._joined = None
        self._delivery.connection_lost()

    def _connection_opened(self, socket: ClientSocket) -> Connection:
        self._latest = Connection.begin(self._clock, socket, self, NAMESPACE, self._auth)
        return self._latest

    def _attempt_failed(self, failure: Failure) -> None:
        self._backoff.failed()
        if self.running:
            self._set_status(
                "connecting", describe_connection_error(failure.value, self._access.url)
            )

    def _register(self, method: str) -> None:
        if self._joined is not None:
            self._joined.send(self._text(REGISTER, ({"method": method},), None))

    def _text(self, event: str, args: tuple[Any, ...], ack: int | None) -> str:
        text = event_text(NAMESPACE, event, args, ack)
        if (size := message_size(text)) > MAX_PAYLOAD:
            raise FrameTooLarge(
                f"{event} would be a message of {size} bytes; the limit is {MAX_PAYLOAD}"
            )
        return text

    def _answer(self, result: Any, connection: Connection, event: EventReceived) -> None:
        if event.ack is None or connection is not self._joined:
            return
        text = ack_text(NAMESPACE, event.ack, [] if result is None else [result])
        if (size := message_size(text)) > MAX_PAYLOAD:
            problem = to_json(
                rpc_error(
                    f"the answer would be a message of {size} bytes; the limit is {MAX_PAYLOAD}"
                )
            )
            text = ack_text(NAMESPACE, event.ack, [problem])
        if not connection.writable:
            self._unread_answers += len(text)
            if self._unread_answers > MAX_UNREAD_ANSWERS:
                connection.end("the hub does not read its answers")
                return
        connection.send(text)

    def _set_status(
        self, phase: Literal["connecting", "connected", "refused", "stopped"], reason: str | None
    ) -> None:
        self.status = LinkStatus(phase, reason, self._clock.seconds(), self._backoff.failures)
        self.log.info(
            "Link to {url}: {phase}{because}",
            url=self._access.url,
            phase=phase,
            reason=reason,
            because=f" ({reason})" if reason else "",
        )
        for call in self._on_status:
            try:
                call(self.status)
            except Exception:
                self.log.failure("A link's on_status failed")
