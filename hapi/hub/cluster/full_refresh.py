"""Reads all rows again: this hub has missed entries of the journal, or another one has died, which
may have stored something without telling of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.cluster.homes import Homes
from hapi.hub.cluster.remote_owners import RemoteOwners
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull
from hapi.request_id import run_for_nobody

RETRY_INTERVAL = 1.0  # seconds after the database could not be read


@define(eq=False, repr=False)
class FullRefresh:
    """`find_moved` reads all homes. `on_done` is called when what this hub shows is right again:
    pages have to read it.
    """

    registry: HubRegistry
    _store: Any  # ISharedStore
    _homes: Homes
    _remote: RemoteOwners
    _find_moved: Callable[[], Awaitable[None]]
    _on_done: Callable[[], object]
    _is_wanted: bool = False
    _is_running: bool = False
    _is_stopped: bool = False
    _pause: Deferred[None] | None = None

    log = Logger()

    def begin(self) -> None:
        """Read all that is stored by now."""
        self._is_wanted = True
        if not (self._is_running or self._is_stopped):
            self._is_running = True
            failed = "The rows could not be read again"
            run_for_nobody(lambda: run_in_background(self._run(), self.log, failed))

    def stop(self) -> None:
        self._is_stopped = True
        if self._pause is not None:
            self._pause.cancel()

    async def _run(self) -> None:
        try:
            while self._is_wanted and not self._is_stopped:
                self._is_wanted = False
                try:
                    await self._read()
                except (StoreBusy, StoreFull, StoreFailed):
                    self._is_wanted = True
                    await self._wait()
        finally:
            self._is_running = False
        if not self._is_stopped:
            self._on_done()

    async def _wait(self) -> None:
        if self._is_stopped:
            return
        self._pause = deferLater(self.registry.clock, RETRY_INTERVAL)
        try:
            await self._pause
        except CancelledError:
            pass  # this hub stops
        finally:
            self._pause = None

    async def _read(self) -> None:
        registry, store = self.registry, self._store
        await self._find_moved()
        states = await self._remote.live_states()
        rows: dict[str, Any] = {row.id: row for row in await store.sessions()}
        rows |= {row.id: row for row in await store.machines()}
        for owner in {*registry.sessions, *registry.machines, *rows}:
            if self._homes.is_here(owner):
                continue
            known = self._remote.known(owner)
            if known is None or known.row != rows.get(owner):
                await self._remote.read_now(owner)
            if owner in states:
                self._remote.apply_stored(owner, states[owner])
