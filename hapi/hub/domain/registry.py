"""The hub's sessions and machines, one object each, and what all parts of the hub share."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.hub.domain.entities import (
    RECONNECT_TIMEOUT,
    START_POLL_INTERVAL,
    START_TIMEOUT,
    HubMachine,
    HubSession,
)
from hapi.hub.domain.errors import AccessDenied, NotFound, TargetMissing
from hapi.hub.domain.event_queue import STORE_ERRORS, STORE_PROBLEMS, EventQueues, Sender
from hapi.hub.domain.events import EventBus
from hapi.hub.domain.live import LiveTexts
from hapi.hub.domain.rpc import RPC_TIMEOUT, PeerHubs, RpcRouter
from hapi.hub.domain.views import machine_view, session_view
from hapi.hub.store.interface import IStore
from hapi.hub.store.rows import MachineRow, SessionRow, TurnEvent
from hapi.hub.store.shared import INTERNAL, Member
from hapi.protocol import events as protocol_events
from hapi.protocol.hub import PATCH_KEYS
from hapi.protocol.rpc_methods import KILL_SESSION, SPAWN_SESSION, STOP_RUNNER

RUNNER_METHODS = (SPAWN_SESSION, STOP_RUNNER)  # that every runner has

T = TypeVar("T")


class Rooms(Protocol):
    """The sockets of `/cli`, by room."""

    def room(self, name: str, namespace: str = "/cli") -> frozenset[Any]: ...

    def emit(
        self, room: str, event: str, *args: Any, without: Any = None, namespace: str = "/cli"
    ) -> None: ...


class Cluster(Protocol):
    """The other hubs of the database, as the domain needs them; see hapi/hub/cluster/cluster.py."""

    @property
    def hub_id(self) -> str: ...

    @property
    def runs_singleton_tasks(self) -> bool: ...
    @property
    def members(self) -> list[Member]: ...
    @property
    def served(self) -> list[str]: ...
    @property
    def lag(self) -> float: ...
    @property
    def problem(self) -> str | None: ...

    def elsewhere(self, owner: str) -> Member | None: ...
    def drain(self) -> None: ...
    def has_moved(self, owner: str) -> bool: ...
    def judges(self, owner: str) -> bool: ...
    def publish(self, namespace: str, kind: str, fields: dict[str, Any]) -> None: ...
    async def confirm(self, owner: str) -> None: ...
    async def claim(self, owner: str) -> bool: ...
    async def look_up(self, owner: str) -> Member | None: ...
    async def caught_up(self) -> None: ...
    async def know(self, owner: str) -> bool: ...
    async def reserve(self, owner: str) -> bool: ...
    def free(self, owner: str) -> None: ...


@define(eq=False, repr=False)
class HubRegistry:
    """`now` is wall time in ms, for stored and displayed times; all waiting uses `clock`."""

    clock: IReactorTime
    now: Callable[[], int]
    store: IStore
    rooms: Rooms
    events: EventBus = field(factory=EventBus)
    rpc: RpcRouter = field(factory=RpcRouter)
    sessions: dict[str, HubSession] = field(factory=dict)
    machines: dict[str, HubMachine] = field(factory=dict)
    # By the id of a session that is being resumed: the machine it is started on, None until that is
    # chosen.
    resuming: dict[str, str | None] = field(factory=dict)
    on_removed: list[Callable[[str], None]] = field(factory=list)  # called with the session's id
    cluster: Cluster | None = None  # None: no other hub serves the database
    queues: EventQueues = field(init=False)
    live: LiveTexts = field(init=False)

    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.queues = EventQueues(self.clock, self._report_hold)
        self.live = LiveTexts(self.clock, self.events)
        self.store.follow(self._publish_stored)

    async def load(self) -> None:
        """Load all rows of the store. No session or machine is active until it reports."""
        for row in await self.store.sessions():
            session = self.adopt_session(row)
            if session.metadata.get("lifecycleState") == "running":
                session.registers_until = self.clock.seconds() + START_TIMEOUT
                session.returns_until = self.clock.seconds() + RECONNECT_TIMEOUT
        for machine in await self.store.machines():
            self.adopt_machine(machine)

    def adopt_session(self, row: SessionRow) -> HubSession:
        """The session of a row that was read from the store. The row replaces that which is known,
        unless it is older.
        """
        session = self.sessions.get(row.id)
        if session is None:
            session = HubSession(row, active_at=row.active_at or row.created_at)
            self.sessions[row.id] = session
        elif (
            row.metadata_version >= session.row.metadata_version
            and row.agent_state_version >= session.row.agent_state_version
            and row != session.row  # what is kept of it stays valid
        ):
            session.row = row
        self.report_damage(session)
        return session

    def adopt_machine(self, row: MachineRow) -> HubMachine:
        """As `adopt_session`."""
        machine = self.machines.get(row.id)
        if machine is None:
            machine = HubMachine(row, active_at=row.active_at or row.created_at)
            self.machines[row.id] = machine
        elif (
            row.metadata_version >= machine.row.metadata_version
            and row.runner_state_version >= machine.row.runner_state_version
        ):
            machine.row = row
        self.report_damage(machine)
        return machine

    def report_damage(self, entity: HubSession | HubMachine) -> None:
        """Log what is damaged in a row that has been read or written, once for each change."""
        if entity.damage != entity.reported_damage:
            entity.reported_damage = entity.damage
            if entity.damage:
                self.log.warn(
                    "The row {id} has values of the wrong type, which are not shown: {damage}",
                    id=entity.id,
                    damage=", ".join(entity.damage),
                )

    @property
    def peers(self) -> PeerHubs | None:
        """The other hubs of the database; None: this hub has it alone."""
        return self.rpc.peers

    # --- finding ----------------------------------------------------------------------------------

    def session(self, session_id: object, namespace: str) -> HubSession:
        """Raises NotFound, AccessDenied."""
        found = self.sessions.get(session_id) if isinstance(session_id, str) else None
        if found is None:
            raise NotFound("Session not found")
        if found.namespace != namespace:
            raise AccessDenied("Session access denied")
        return found

    def machine(self, machine_id: object, namespace: str) -> HubMachine:
        """Raises NotFound, AccessDenied."""
        found = self.machines.get(machine_id) if isinstance(machine_id, str) else None
        if found is None:
            raise NotFound("Machine not found")
        if found.namespace != namespace:
            raise AccessDenied("Machine access denied")
        return found

    def sessions_of(self, namespace: str) -> list[HubSession]:
        return [session for session in self.sessions.values() if session.namespace == namespace]

    def owns(self, namespace: str, owner: str) -> bool:
        """Whether `owner` is the id of a session or machine of `namespace` and of no other."""
        named = [
            row for row in (self.sessions.get(owner), self.machines.get(owner)) if row is not None
        ]
        return bool(named) and all(row.namespace == namespace for row in named)

    # --- removal ----------------------------------------------------------------------------------

    def remove_session(self, session: HubSession) -> None:
        """Forget a session that the store no longer has, and publish that."""
        self.forget_session(session.id)
        self.publish(session, protocol_events.SESSION_REMOVED)

    def forget_session(self, session_id: str) -> None:
        """Forget a session that the store no longer has."""
        self.sessions.pop(session_id, None)
        for call in self.on_removed:
            call(session_id)

    # --- other hubs -------------------------------------------------------------------------------

    def judges(self, owner: str) -> bool:
        """Whether this hub is the one that detects the silence of a session or machine, and
        delivers and notifies what is due for it.
        """
        return self.cluster is None or self.cluster.judges(owner)

    def has_moved(self, owner: str) -> bool:
        """Whether another hub serves `owner`, so that what its sockets still send here is late."""
        return self.cluster is not None and self.cluster.has_moved(owner)

    @property
    def runs_singleton_tasks(self) -> bool:
        """Whether this hub does what has to be done once for the database."""
        return self.cluster is None or self.cluster.runs_singleton_tasks

    def forget_served(self, owner: str) -> None:
        """Another hub serves `owner` from now on: forget what only its home knows, and confirm
        nothing that is not stored.
        """
        self.queues.abandon(owner)
        self.rpc.forget_owner(owner)
        self.live.forget(owner)
        if (session := self.sessions.get(owner)) is not None:
            session.forget_served()

    async def caught_up(self) -> None:
        """Wait a moment until this hub has seen all that any hub has published so far."""
        if self.cluster is not None:
            await self.cluster.caught_up()

    # --- sessions that start ----------------------------------------------------------------------

    async def until_started(self, session: HubSession, has_started: Callable[[], bool]) -> None:
        """Wait for `has_started` while the session may be starting, START_TIMEOUT at most."""
        deadline = self.clock.seconds() + START_TIMEOUT
        while not has_started() and session.is_starting(self.clock.seconds()):
            if self.clock.seconds() >= deadline:
                break
            await deferLater(self.clock, START_POLL_INTERVAL)

    async def call_session(
        self, session: HubSession, method: str, params: Any, timeout: float = RPC_TIMEOUT
    ) -> Any:
        """The answer of the session's process, which may be about to start. Raises TargetMissing,
        CallFailed.
        """
        if self.peers is None:
            return await self.call_session_here(session, method, params, timeout)
        return await self.peers.call(
            "session",
            session.id,
            method,
            params,
            timeout,
            lambda: self.call_session_here(session, method, params, timeout),
        )

    async def call_session_here(
        self, session: HubSession, method: str, params: Any, timeout: float
    ) -> Any:
        """`call_session` for a process that is connected to this hub, or may be soon."""
        rpc, session_id = self.rpc, session.id
        was_starting = session.is_starting(self.clock.seconds())

        def serves_any() -> bool:
            return rpc.serves(session_id, method) or rpc.serves(session_id, KILL_SESSION)

        await self.until_started(session, serves_any)
        if was_starting and not rpc.serves(session_id, method):
            if not serves_any():
                raise TargetMissing("The session is still starting; try again in a moment.")
            # A process registers its methods one after the other.
            await deferLater(self.clock, START_POLL_INTERVAL)
        return await rpc.call_here(session_id, method, params, timeout)

    async def call_machine(
        self, machine: HubMachine, method: str, params: Any = None, timeout: float = RPC_TIMEOUT
    ) -> Any:
        """The answer of the machine's runner, which may be about to register its methods, as it
        does when it has connected again. Raises TargetMissing, CallFailed.
        """
        if self.peers is None:
            return await self.call_machine_here(machine, method, params, timeout)
        return await self.peers.call(
            "machine",
            machine.id,
            method,
            params,
            timeout,
            lambda: self.call_machine_here(machine, method, params, timeout),
        )

    async def call_machine_here(
        self, machine: HubMachine, method: str, params: Any, timeout: float
    ) -> Any:
        """`call_machine` for a runner that is connected to this hub, or may be soon."""
        rpc, deadline = self.rpc, self.clock.seconds() + START_TIMEOUT

        def serves_any() -> bool:
            return any(rpc.serves(machine.id, name) for name in (method, *RUNNER_METHODS))

        was_silent = not serves_any()
        while machine.active and not serves_any() and self.clock.seconds() < deadline:
            await deferLater(self.clock, START_POLL_INTERVAL)
        if was_silent and serves_any() and not rpc.serves(machine.id, method):
            await deferLater(self.clock, START_POLL_INTERVAL)  # it registers one after the other
        return await rpc.call_here(machine.id, method, params, timeout)

    async def at_home(
        self, owner: str, work: str, given: dict[str, Any], here: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Do what only the home of a session or machine may do: by `here`, or the work of that name
        at another hub. Raises what that raises, and Unavailable.
        """
        if self.peers is None:
            return await here()
        return await self.peers.work(owner, work, given, here)

    # --- serialization ----------------------------------------------------------------------------

    async def serialized(self, session: HubSession, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` when all earlier work on this session is done. Raises NotFound if the session
        was deleted meanwhile.
        """
        await session.lock.acquire()
        try:
            if self.sessions.get(session.id) is not session:
                raise NotFound("Session not found")
            return await work()
        except KeyError as error:
            if error.args == (session.id,):  # from the store: another hub has deleted it
                raise NotFound("Session not found") from None
            raise
        finally:
            session.lock.release()

    async def turn(self, session: HubSession, change: Callable[[Any], T]) -> T:
        """Run `change` with a transaction of the store; see IStore.turn. Raises NotFound if the
        session was deleted meanwhile.
        """
        if self.sessions.get(session.id) is not session:
            raise NotFound("Session not found")
        try:
            return await self.store.turn(session.id, change)
        except KeyError:
            raise NotFound("Session not found") from None

    async def require_settled(self, session: HubSession) -> None:
        """Wait until everything that the processes of the session have sent is stored. Raises
        StoreBusy, StoreFull, StoreFailed if it is held back.
        """
        queue = self.queues.find(session.id)
        if queue is not None:
            await queue.settled(accepts_hold=True)
            if queue.code is not None:
                raise STORE_ERRORS[queue.code](STORE_PROBLEMS[queue.code])

    def _report_hold(self, session_id: str, sender: Sender, code: str) -> None:
        """Tell the socket that its events cannot be stored."""
        problem = {"message": STORE_PROBLEMS[code], "code": code}
        sender.emit(protocol_events.ERROR, {**problem, "scope": "session", "id": session_id})

    # --- publishing -------------------------------------------------------------------------------

    def _publish_stored(self, event: TurnEvent) -> None:
        if self.cluster is not None or event.kind.startswith(INTERNAL):
            return  # the event comes back with the journal
        self.events.publish(event.namespace, event.kind, **event.fields)

    def publish_patch(self, session: HubSession, **values: Any) -> None:
        """Publish a `session-updated` event with only what changed."""
        assert set(values) <= PATCH_KEYS, values
        if values:
            self.events.publish(
                session.namespace,
                protocol_events.SESSION_UPDATED,
                sessionId=session.id,
                data=values,
            )

    def notify(self, calls: Iterable[Callable[[HubSession], object]], session: HubSession) -> None:
        """Call each of `calls` with `session`. One that fails is logged; the others still run."""
        for call in calls:
            try:
                call(session)
            except Exception:
                self.log.failure(
                    "{name} failed for session {session_id}",
                    name=getattr(call, "__qualname__", str(call)),
                    session_id=session.id,
                )

    def publish_session(
        self, session: HubSession, kind: str = protocol_events.SESSION_UPDATED
    ) -> None:
        self.events.publish(
            session.namespace, kind, sessionId=session.id, data=session_view(session)
        )

    def publish(self, session: HubSession, kind: str, **values: Any) -> None:
        self.events.publish(session.namespace, kind, sessionId=session.id, **values)

    def publish_machine(self, machine: HubMachine, data: Any = None) -> None:
        data = machine_view(machine) if data is None else data
        self.events.publish(
            machine.namespace, protocol_events.MACHINE_UPDATED, machineId=machine.id, data=data
        )

    def emit_update(self, room: str, body: dict[str, Any], without: Any = None) -> None:
        """Send an `update` to the sockets of `room`, except the socket that caused it."""
        now = self.now()
        self.rooms.emit(
            room,
            protocol_events.UPDATE,
            {"id": str(uuid.uuid4()), "seq": now, "createdAt": now, "body": body},
            without=without,
        )

    def view_of(self, session: HubSession, row: SessionRow) -> dict[str, Any]:
        """The view of `session` with another row: one that is about to be committed."""
        return session_view(evolve(session, row=row))

    def apply_changes(self, session: HubSession, changes: dict[str, Any]) -> None:
        """Update the row of `session` with columns that the store has changed. It stays the same
        object if they have the same values.
        """
        if any(getattr(session.row, name) != value for name, value in changes.items()):
            session.row = evolve(session.row, **changes)
