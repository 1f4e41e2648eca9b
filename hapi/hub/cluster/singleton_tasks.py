"""What one hub does for all hubs of a database, and which of them does it: retention, the search
index of older messages, Telegram, trimming the journal, and what is due for sessions that are at
home nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.hub.cluster.members import Members
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull

TRIM_INTERVAL = 10.0  # seconds between two looks for entries of the journal to delete
MAX_PORTIONS = 50  # of entries that are deleted in one go


@define(eq=False, repr=False)
class SingletonTasks:
    """One hub runs them at a time; another one takes them over when it has gone. This class finds
    out who, and trims the journal; the other tasks ask `holds`.

    `on_change` are called when this hub has taken them over or lost them.
    """

    _store: Any  # ISharedStore
    _clock: IReactorTime
    _members: Members
    on_change: list[Callable[[], object]] = field(factory=list)
    _holds: bool = False
    _loop: LoopingCall | None = None

    log = Logger()

    @property
    def holds(self) -> bool:
        return self._holds and self._members.is_alive

    async def start(self) -> None:
        await self.check()
        loop = self._loop = LoopingCall(self._trim)
        loop.clock = self._clock
        loop.start(TRIM_INTERVAL, now=False)

    def stop(self) -> None:
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self._loop = None
        self._set(False)

    async def check(self) -> None:
        """Ask who runs the singleton tasks, and take them over if nobody does."""
        try:
            if not self._holds and not all(
                member.is_up for member in self._members.members.values()
            ):
                await self._store.end_stale_holder()
            self._set(await self._store.runs_singleton_tasks())
        except (StoreBusy, StoreFull, StoreFailed):
            self._set(False)  # the database may have given them to another hub

    def _set(self, holds: bool) -> None:
        if holds == self._holds:
            return
        self._holds = holds
        for call in self.on_change:
            try:
                call()
            except Exception:
                self.log.failure("The singleton tasks could not be taken over or given up")

    async def _trim(self) -> None:
        try:
            for _ in range(MAX_PORTIONS):
                if not self.holds or not await self._store.trim_journal():
                    return
        except StoreAway:
            pass  # the store has logged it
        except (StoreBusy, StoreFull, StoreFailed) as error:
            self.log.warn("The journal will be trimmed later: {reason}", reason=str(error))
        except Exception:
            self.log.failure("The journal could not be trimmed")
