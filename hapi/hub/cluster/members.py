"""The hubs of the database, and the signs of life of this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.shared import BEAT_INTERVAL, Member

# Seconds by the clock of this hub after which it no longer takes itself for alive; by the clock of
# the database the others take it for dead after DEAD_AFTER.
SILENT_AFTER = 8.0


@define(eq=False, repr=False)
class Members:
    """A beat is a sign of life of this hub, each BEAT_INTERVAL, and asks for those of the others.

    `on_return` is called after a beat that ends a silence of SILENT_AFTER, in which others may have
    taken over what was at home here; `on_beat` after every beat that does not.
    """

    _store: Any  # ISharedStore
    _clock: IReactorTime
    _on_beat: Callable[[], object]
    _on_return: Callable[[], object]
    is_draining: bool = False
    members: dict[str, Member] = field(factory=dict)  # by the id of their process
    _alive_at: float = float("-inf")  # clock seconds: the begin of the last beat that was stored
    _is_failing: bool = False
    _loop: LoopingCall | None = None
    _lock: DeferredLock = field(factory=DeferredLock)

    log = Logger()

    async def start(self, name: str, url: str, version: str) -> None:
        await self._store.join(name, url, version)
        await self.beat()
        loop = self._loop = LoopingCall(self._guarded)
        loop.clock = self._clock
        loop.start(BEAT_INTERVAL, now=False)

    def stop(self) -> None:
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self._loop = None

    @property
    def heard_at(self) -> float:
        """Clock seconds at which the database was last asked for the hubs, and answered."""
        return self._alive_at

    @property
    def is_alive(self) -> bool:
        """Whether the others take this hub for alive, as far as it knows."""
        return self._clock.seconds() - self._last_sign < SILENT_AFTER

    @property
    def _last_sign(self) -> float:
        return float(max(self._alive_at, self._store.confirmed_at))

    def is_up(self, hub_id: str) -> bool:
        member = self.members.get(hub_id)
        return member is not None and member.is_up

    async def beat(self) -> None:
        """A sign of life, and what is known of all hubs. Raises what the store raises."""
        await self._lock.acquire()
        try:
            begun = self._clock.seconds()
            silence = begun - self._last_sign
            found = await self._store.beat(self.is_draining)
            self._alive_at = begun
            self.members = {member.id: member for member in found}
        finally:
            self._lock.release()
        if SILENT_AFTER <= silence < float("inf"):
            self._on_return()
        else:
            self._on_beat()

    async def _guarded(self) -> None:
        try:
            await self.beat()
        except StoreAway:
            pass  # the store has logged it
        except (StoreBusy, StoreFull, StoreFailed) as error:
            if not self._is_failing:
                self._is_failing = True
                self.log.warn("This hub cannot tell that it lives: {reason}", reason=str(error))
        except Exception:
            self.log.failure("This hub cannot tell that it lives")
        else:
            self._is_failing = False
