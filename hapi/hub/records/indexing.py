"""Indexing the messages of an older database in the background, a few at a time."""

from __future__ import annotations

from attrs import define
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull, StoreLost
from hapi.units import plural

SWEEP_INTERVAL = 60.0  # seconds
PAUSE = 0.015  # seconds between two portions, in which the hub serves others
REPORT_INTERVAL = 30.0  # seconds between two lines about the progress


@define(eq=False, repr=False)
class OlderMessages:
    registry: HubRegistry
    is_stopped: bool = False
    _is_running: bool = False
    _has_reported: bool = False

    log = Logger()

    def stop(self) -> None:
        self.is_stopped = True

    async def sweep(self) -> None:
        """Index what is not indexed yet. Call this every SWEEP_INTERVAL, and at the start."""
        if self._is_running or not self.registry.runs_singleton_tasks:
            return
        self._is_running = True
        try:
            await self._index()
        except StoreLost:
            raise  # logged where it was noticed
        except (StoreBusy, StoreFull, StoreFailed) as error:
            if not self.is_stopped:
                self.log.warn("Indexing goes on in a minute: {reason}", reason=str(error))
        finally:
            self._is_running = False

    async def _index(self) -> None:
        store, clock = self.registry.store, self.registry.clock
        progress = store.index_progress()
        if progress.problem and not self._has_reported:
            self._has_reported = True
            self.log.warn("There is no search: {reason}", reason=progress.problem)
        if progress.is_complete:
            return
        self.log.info(
            "{count} stored before are indexed for search in the background",
            count=plural(progress.total, "message"),
        )
        begin = reported = clock.seconds()
        while await self._goes_on():
            await deferLater(clock, PAUSE)
            if clock.seconds() - reported >= REPORT_INTERVAL:
                reported = clock.seconds()
                progress = store.index_progress()
                self.log.info(
                    "Messages that are indexed for search: {done} of {total}",
                    done=progress.done,
                    total=progress.total,
                )
        if store.index_progress().is_complete:
            self.log.info(
                "All messages are indexed for search, after {seconds} s",
                seconds=round(clock.seconds() - begin),
            )

    async def _goes_on(self) -> bool:
        """Index one portion; whether there are more for this hub."""
        if self.is_stopped or not self.registry.runs_singleton_tasks:
            return False
        return bool(await self.registry.store.index_older())
