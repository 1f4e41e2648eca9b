"""Hears of new entries of the journal (LISTEN), on a connection that the reactor watches."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psycopg
from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hapi.hub.store.postgres.connection import PostgresConnection, connect
from hapi.hub.store.postgres.journal import CHANNEL
from hapi.hub.store.postgres.locks import application

RETRY_INTERVAL = 1.0  # seconds


@implementer(IReadDescriptor)
@define(eq=False, repr=False)
class JournalListener:
    """Calls `notify` when there may be something new. A lost connection is made again; nothing
    depends on it, since who follows the journal also polls.
    """

    _reactor: Any
    _url: str = field(repr=False)
    _hub_id: str
    _notify: Callable[[], object]
    _connection: PostgresConnection | None = None
    _descriptor: int = -1
    _retry: IDelayedCall | None = None
    _is_stopped: bool = False
    _is_failing: bool = False

    log = Logger()

    def start(self) -> None:
        self._retry = None
        deferToThread(self._connect).addCallbacks(self._connected, self._failed)

    def _connect(self) -> PostgresConnection:
        connection = connect(self._url, application(self._hub_id))
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def _connected(self, connection: PostgresConnection) -> None:
        if self._is_stopped:
            connection.close()
            return
        self._is_failing = False
        self._connection = connection
        # libpq closes its own when it finds the connection lost, and the reactor still knows it.
        self._descriptor = os.dup(connection.descriptor)
        self._reactor.addReader(self)
        self._notify()  # of what came meanwhile

    def _failed(self, failure: Failure) -> None:
        if not self._is_failing:
            self._is_failing = True
            self.log.info(
                "New entries of the journal are found by polling only: {reason}",
                reason=" ".join(failure.getErrorMessage().split()),
            )
        if not self._is_stopped:
            self._retry = self._reactor.callLater(RETRY_INTERVAL, self.start)

    def stop(self) -> None:
        self._is_stopped = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
            connection.close()

    # --- called by the reactor

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "JournalListener"

    def doRead(self) -> None:
        if self._connection is None:
            return
        connection = self._connection.raw.pgconn
        try:
            connection.consume_input()
            count = 0
            while connection.notifies() is not None:
                count += 1
        except psycopg.Error:
            self._disconnect()
            self._failed(Failure())
            return
        if count:
            self._notify()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has found the socket closed, or ends."""
        if self._connection is not None:
            self._disconnect()
            self._failed(reason)
