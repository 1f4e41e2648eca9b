"""What the owner of a hub wants to know of it first: `GET /api/hub-status`, `hapi hub status`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from hapi import __version__
from hapi.hub.access.places import Places
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.retention import is_archived
from hapi.hub.store.rows import DatabaseSize

UNREADABLE = "The database cannot be read at present"


def session_state(session: HubSession, now: float) -> str:
    """`working`, `waiting` (for a permission or an answer), `idle`, `starting`, `inactive` or
    `archived`; `now` in seconds of the registry's clock.
    """
    if session.active:
        if session.requests:
            return "waiting"
        return "working" if session.thinking else "idle"
    if now < session.expected_until:
        return "starting"
    return "archived" if is_archived(session) else "inactive"


@define(eq=False, repr=False)
class HubStatus:
    """Makes the status of a hub that was started when this object was created."""

    _registry: HubRegistry
    _sockets: Places
    _problem: Callable[[], Awaitable[str | None]]  # why the hub cannot serve
    _size: Callable[[], Awaitable[DatabaseSize | None]]  # None: the database cannot be read
    # What is told of a database that several hubs share: `role` and `hubs`.
    of_database: Callable[[], dict[str, Any]] = field(default=dict, init=False)
    _started_at: float = field(init=False)  # clock seconds

    def __attrs_post_init__(self) -> None:
        self._started_at = self._registry.clock.seconds()

    async def report(self) -> dict[str, Any]:
        """The facts of all namespaces: times in milliseconds since the epoch, sizes in bytes."""
        registry = self._registry
        now = registry.clock.seconds()
        uptime = now - self._started_at
        started_at = registry.now() - int(uptime * 1000)  # before anything is waited for
        problem = await self._problem()
        size = await self._size()
        if size is None and problem is None:  # it was lost meanwhile
            problem = await self._problem() or UNREADABLE
        sessions = Counter(session_state(each, now) for each in registry.sessions.values())
        machines = registry.machines.values()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "ready": problem is None,
            "problem": problem,
            "startedAt": started_at,
            "uptimeSeconds": round(uptime, 3),
            "sessions": dict(sorted(sessions.items())),
            "machines": {"total": len(machines), "online": sum(each.active for each in machines)},
            "sockets": self._sockets.taken,
            "eventStreams": registry.events.listening,
            "database": {
                "usedBytes": None if size is None else size.used,
                "freeBytes": None if size is None else size.free,
            },
            **self.of_database(),
        }
