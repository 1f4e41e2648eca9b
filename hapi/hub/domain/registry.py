"""The hub's memory of what lives: every session and machine as one object, and what all parts of the hub share."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.hub.domain.entities import Machine, Session
from hapi.hub.domain.events import EventBus
from hapi.hub.domain.rpc import RpcRouter
from hapi.hub.domain.views import machine_view, session_view
from hapi.hub.store.interface import IStore
from hapi.protocol.hub import PATCH_KEYS

T = TypeVar("T")


class Rooms(Protocol):
    """The sockets of `/cli`, by room."""

    def room(self, name: str, namespace: str = "/cli") -> frozenset[Any]: ...

    def emit(
        self, room: str, event: str, *args: Any, without: Any = None, namespace: str = "/cli"
    ) -> None: ...


class NotFound(Exception):
    """No such session or machine."""


class Denied(Exception):
    """It belongs to another namespace."""


@define(eq=False)
class HubRegistry:
    """`now` is wall time in ms, for what is kept and shown; all waiting is on `clock`."""

    clock: IReactorTime
    now: Callable[[], int]
    store: IStore
    rooms: Rooms
    events: EventBus = field(factory=EventBus)
    rpc: RpcRouter = field(factory=RpcRouter)
    sessions: dict[str, Session] = field(factory=dict)
    machines: dict[str, Machine] = field(factory=dict)

    log = Logger()

    async def load(self) -> None:
        """Know what the store knows. Nothing is active until it says so."""
        for row in await self.store.sessions():
            self.sessions[row.id] = Session(row, active_at=row.active_at or row.created_at)
        for machine in await self.store.machines():
            self.machines[machine.id] = Machine(
                machine, active_at=machine.active_at or machine.created_at
            )

    # --- finding -----------------------------------------------------------------------------------------------------

    def session(self, session_id: object, namespace: str) -> Session:
        """Raises NotFound, Denied."""
        found = self.sessions.get(session_id) if isinstance(session_id, str) else None
        if found is None:
            raise NotFound
        if found.namespace != namespace:
            raise Denied
        return found

    def machine(self, machine_id: object, namespace: str) -> Machine:
        """Raises NotFound, Denied."""
        found = self.machines.get(machine_id) if isinstance(machine_id, str) else None
        if found is None:
            raise NotFound
        if found.namespace != namespace:
            raise Denied
        return found

    def of(self, namespace: str) -> list[Session]:
        return [session for session in self.sessions.values() if session.namespace == namespace]

    def owns(self, namespace: str, owner: str) -> bool:
        """Whether `owner` is the id of a session or machine of `namespace`, and of nobody else's."""
        named = [
            row for row in (self.sessions.get(owner), self.machines.get(owner)) if row is not None
        ]
        return bool(named) and all(row.namespace == namespace for row in named)

    # --- doing things in order ---------------------------------------------------------------------------------------

    async def serialized(self, session: Session, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` after everything that was asked of this session before. Raises NotFound if it is gone by then."""
        await session.lock.acquire()
        try:
            if self.sessions.get(session.id) is not session:
                raise NotFound
            return await work()
        finally:
            session.lock.release()

    # --- telling -----------------------------------------------------------------------------------------------------

    def patch(self, session: Session, **values: Any) -> None:
        """A `session-updated` with only what changed."""
        assert set(values) <= PATCH_KEYS, values
        if values:
            self.events.publish(
                session.namespace, "session-updated", sessionId=session.id, data=values
            )

    def publish_session(self, session: Session, kind: str = "session-updated") -> None:
        self.events.publish(
            session.namespace, kind, sessionId=session.id, data=session_view(session)
        )

    def publish(self, session: Session, kind: str, **values: Any) -> None:
        self.events.publish(session.namespace, kind, sessionId=session.id, **values)

    def publish_machine(self, machine: Machine, data: Any = None) -> None:
        data = machine_view(machine) if data is None else data
        self.events.publish(machine.namespace, "machine-updated", machineId=machine.id, data=data)

    def update(self, room: str, body: dict[str, Any], without: Any = None) -> None:
        """An `update` to the sockets of `room`, except the one that caused it."""
        now = self.now()
        self.rooms.emit(
            room,
            "update",
            {"id": str(uuid.uuid4()), "seq": now, "createdAt": now, "body": body},
            without=without,
        )

    def apply_changes(self, session: Session, changes: dict[str, Any]) -> None:
        """The store changed these columns: know it too."""
        session.row = evolve(session.row, **changes)
