"""Homes that nobody needs any more: any hub may serve what has no process and no sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.hub.cluster.homes import Homes
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull

RELEASED_AFTER = 60.0  # seconds
CHECK_INTERVAL = 10.0  # seconds


@define(eq=False, repr=False)
class IdleHomes:
    """Releases the home of each session and machine that has been idle here for RELEASED_AFTER."""

    registry: HubRegistry
    _homes: Homes
    _release: Callable[[str], Awaitable[None]]
    _is_used: Callable[[str], bool]  # whether the hub is doing something about an owner
    _idle_since: dict[str, float] = field(factory=dict)  # owner -> clock seconds
    _loop: LoopingCall | None = None

    log = Logger()

    def start(self) -> None:
        loop = self._loop = LoopingCall(self._check)
        loop.clock = self.registry.clock
        loop.start(CHECK_INTERVAL, now=False)

    def stop(self) -> None:
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    async def _check(self) -> None:
        now = self.registry.clock.seconds()
        idle = [owner for owner in self._homes.here if self._is_idle(owner)]
        self._idle_since = {owner: self._idle_since.get(owner, now) for owner in idle}
        for owner, since in list(self._idle_since.items()):
            if now - since < RELEASED_AFTER or not self._is_idle(owner):
                continue
            try:
                await self._release(owner)
            except (StoreBusy, StoreFull, StoreFailed):
                return
            except Exception:
                self.log.failure("The home of {owner} could not be released", owner=owner)

    def _is_idle(self, owner: str) -> bool:
        registry = self.registry
        found = registry.sessions.get(owner) or registry.machines.get(owner)
        queue = registry.queues.find(owner)
        return not (
            (found is not None and (found.active or registry.rooms.room(found.room)))
            or (queue is not None and len(queue))
            or owner in registry.resuming
            or self._is_used(owner)
        )
