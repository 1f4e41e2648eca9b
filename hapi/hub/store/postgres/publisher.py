"""Entries of the journal that belong to no turn: appended at once, or later while the database is
busy or away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from hapi.deferreds import run_in_background
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull
from hapi.request_id import run_for_nobody

if TYPE_CHECKING:
    from hapi.hub.store.postgres.connection import PostgresConnection

RETRY_INTERVAL = 0.5  # seconds
MAX_KEPT = 10_000  # entries

Append = Callable[["PostgresConnection"], None]  # to the journal of the transaction


@define(eq=False, repr=False)
class Publisher:
    """`_write` runs a function in the next transaction. What could not be written is kept in order,
    with all that is published later, and tried again: pages would show what is no longer so.
    """

    _clock: Any
    _write: Callable[[Append], Awaitable[object]]
    _is_closed: Callable[[], bool] = field(default=lambda: False)
    _kept: deque[Append] = field(factory=deque)
    _is_retrying: bool = False
    _is_full: bool = False

    log = Logger()

    def publish(self, append: Append) -> None:
        if self._kept:
            self._keep(append)
        else:
            self._run(self._publish(append))

    def _run(self, work: Any) -> None:
        failed = "An event for pages could not be stored"
        run_for_nobody(lambda: run_in_background(work, self.log, failed))

    async def _publish(self, append: Append) -> None:
        try:
            await self._write(append)
        except (StoreBusy, StoreFailed, StoreFull) as error:
            if self._is_closed():
                self.log.info("An event for pages was not stored: {reason}", reason=str(error))
                return
            if not isinstance(error, StoreBusy | StoreAway | StoreFull):
                raise
            self._keep(append)
            if not self._is_retrying:
                self._is_retrying = True
                # The store has logged that it is away.
                level = LogLevel.info if isinstance(error, StoreAway) else LogLevel.warn
                self.log.emit(level, "Events for pages are kept: {reason}", reason=str(error))
                self._run(self._retry())

    def _keep(self, append: Append) -> None:
        if len(self._kept) < MAX_KEPT:
            self._kept.append(append)
        elif not self._is_full:
            self._is_full = True
            self.log.error("Events for pages are lost: the database is away for too long")

    async def _retry(self) -> None:
        while not self._is_closed():
            await deferLater(self._clock, RETRY_INTERVAL)
            entries = list(self._kept)
            try:
                await self._write(partial(_append_all, entries))
            except (StoreBusy, StoreAway, StoreFull):
                continue
            later = list(self._kept)[len(entries) :]
            self._kept.clear()
            self._is_retrying = self._is_full = False
            for append in later:
                self.publish(append)
            return


def _append_all(entries: list[Append], connection: PostgresConnection) -> None:
    for append in entries:
        append(connection)
