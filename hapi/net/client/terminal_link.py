"""A page's link to the namespace `/terminal`, for programs that show a shell as the page does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hapi.deferreds import run_in_background
from hapi.net.client.backoff import Backoff
from hapi.net.client.connection import Connection
from hapi.net.client.endpoint import extra_upgrade_headers, hub_endpoint, websocket_url
from hapi.net.common.errors import (
    LinkLost,
    describe_certificate_error,
    describe_connection_error,
)
from hapi.net.common.pending_calls import PendingCalls
from hapi.net.common.websocket import ClientSocketFactory
from hapi.protocol.channel import AckReceived, EventReceived, event_text
from hapi.protocol.work.terminals import NAMESPACE
from hapi.settings import HubAccess

INVALID_TOKEN = "Invalid token"  # how both hubs refuse a web token that has ended


class TerminalLinkListener(Protocol):
    """Receives the events of a link."""

    def link_joined(self) -> None: ...
    def link_event(self, name: str, payload: Any) -> None: ...
    def link_lost(self, problem: Exception | str) -> None:
        """The hub is away, or an attempt to reach it has failed; another one follows."""

    def link_refused(self, message: str) -> None:
        """The hub lets the token not in; no attempt follows."""


@implementer(IPushProducer)
@define(eq=False, repr=False)
class TerminalLink:
    """One Socket.IO connection, made again whenever it ends.

    `web_token(refused)` returns the token to show; `refused` is one that the hub did not take.
    """

    _reactor: Any
    _access: HubAccess
    _web_token: Callable[[str | None], Awaitable[str]]
    _listener: TerminalLinkListener
    _endpoint: IStreamClientEndpoint | None = None
    _backoff: Backoff = field(factory=lambda: Backoff(Random()))
    _calls: PendingCalls = field(init=False)
    _connection: Connection | None = None
    _joined: Connection | None = None
    _token: str = ""
    _refused: str | None = None  # a token that was not taken
    _renews: bool = False
    _socket: Any = None
    _next_ack: int = 0
    _retry: IDelayedCall | None = None
    _is_stopped: bool = False
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._calls = PendingCalls(self._reactor)

    @property
    def is_joined(self) -> bool:
        return self._joined is not None

    def start(self) -> None:
        run_in_background(self._connect(), self.log, "The link to the hub's terminals failed")

    def stop(self) -> None:
        self._is_stopped = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._connection is not None:
            self._connection.leave()

    def emit(self, event: str, payload: Any) -> None:
        """Send an event; nothing happens while the hub is away."""
        if self._joined is not None:
            self._joined.send(event_text(NAMESPACE, event, (payload,)))

    def ask(self, event: str, payload: Any, timeout: float) -> Deferred[list[Any]]:
        """Send an event; fires with the answer's arguments, errs with AckTimeout or LinkLost."""
        if self._joined is None:
            return fail(LinkLost("there is no connection to the hub"))
        self._next_ack += 1
        answer = self._calls.begin(self._next_ack, event, timeout)
        self._calls.sent(self._next_ack)
        self._joined.send(event_text(NAMESPACE, event, (payload,), self._next_ack))
        return answer

    # --- IPushProducer: whoever shows the output is slower than the hub
    def pauseProducing(self) -> None:
        if self._socket is not None and self._socket.transport is not None:
            self._socket.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if self._socket is not None and self._socket.transport is not None:
            self._socket.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The output is gone; `stop` follows."""

    # --- ConnectionListener
    def connection_opened(self, connection: Connection, date: str | None) -> None: ...

    def connection_joined(self, connection: Connection) -> None:
        self._backoff.connected()
        self._joined, self._refused = connection, None
        self._listener.link_joined()

    def connection_refused(self, connection: Connection, message: str) -> None:
        if connection is self._joined:  # it was let in, and put out later: it may come back
            return
        if message == INVALID_TOKEN and self._refused is None:
            self._refused, self._renews = self._token, True
            return
        self._is_stopped = True
        self._listener.link_refused(message)

    def connection_event(self, connection: Connection, event: EventReceived) -> None:
        self._listener.link_event(event.name, event.args[0] if event.args else None)

    def connection_acked(self, connection: Connection, acked: AckReceived) -> None:
        self._calls.answered(acked.ack, acked.args)

    def connection_writable_changed(self, connection: Connection, writable: bool) -> None: ...

    def connection_ended(
        self, connection: Connection, reason: str | None, cause: Failure | None
    ) -> None:
        self._connection = self._joined = None
        problem = cause.value if cause is not None else None
        url = self._access.url
        words = describe_certificate_error(problem, url) or reason
        self._lost(words or describe_connection_error(problem, url))

    # --- inside
    async def _connect(self) -> None:
        try:
            self._token = await self._web_token(self._refused)
        except Exception as error:
            self._lost(error)
            return
        if self._is_stopped:
            return
        factory = ClientSocketFactory(
            self._reactor,
            websocket_url(self._access.url),
            extra_upgrade_headers(self._access.headers),
            self._begin,
        )
        endpoint = self._endpoint or hub_endpoint(self._reactor, self._access.url)
        try:
            await endpoint.connect(factory)
        except Exception as error:  # DNS, TLS, connections: many unrelated classes
            self._lost(describe_connection_error(error, self._access.url))

    def _begin(self, socket: Any) -> Connection:
        self._socket = socket
        auth = {"token": self._token}
        self._connection = Connection.begin(self._reactor, socket, self, NAMESPACE, auth)
        return self._connection

    def _lost(self, problem: Exception | str) -> None:
        self._calls.fail_sent(LinkLost(str(problem)))
        if self._is_stopped:
            return
        if self._renews:  # the token had ended; with another one it is tried at once
            self._renews = False
            self.start()
            return
        self._backoff.failed()
        self._listener.link_lost(problem)
        if not self._is_stopped:
            self._retry = self._reactor.callLater(self._backoff.delay(), self.start)
