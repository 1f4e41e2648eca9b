"""Versioned documents: metadata and agent state of sessions, metadata and state of machines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, evolve, field
from twisted.logger import Logger

from hapi.hub.domain.damage import shown_agent_state
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.errors import AccessDenied, ConcurrentChange, Conflict
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.rpc import QUICK_RPC_TIMEOUT, error_text
from hapi.hub.domain.views import machine_view
from hapi.hub.store.interface import IdTaken
from hapi.hub.store.rows import MachineRow, VersionMismatch, Written
from hapi.protocol import events as protocol_events
from hapi.protocol import rpc_methods
from hapi.protocol.hub import agent_session_id, merged_metadata, public_metadata
from hapi.protocol.json import bounded
from hapi.protocol.rest.bodies import RegisterMachine

MAX_ATTEMPTS = 5  # of a write by the hub that meets newer versions
ADVERTISED = ("capabilities", "supervisedRestart", "startedCliMtimeMs", "installedCliMtimeMs")


def version_of(event: dict[str, Any]) -> int | None:
    found = event.get("expectedVersion")
    return (
        found
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 53
        else None
    )


@define(eq=False, repr=False)
class Documents:
    registry: HubRegistry
    on_agent_id: list[Callable[[HubSession], Awaitable[None]]] = field(factory=list)
    on_state: list[Callable[[HubSession], None]] = field(factory=list)

    log = Logger()

    # --- permission requests ----------------------------------------------------------------------

    async def answer_request(
        self, session: HubSession, answer: dict[str, Any], request: Any
    ) -> None:
        """Pass the answer to a permission request on to the session; `answer` is what its
        `permission` method takes.

        Only the first answer counts: the request no longer exists for a second one that arrives
        while the first is on its way. Raises RpcError, and Conflict if the session refuses the
        answer.
        """
        given = {"session": session.id, "answer": answer, "request": request}
        await self.registry.at_home(
            session.id, "answer-request", given, lambda: self.answer_here(session, answer, request)
        )

    async def answer_here(self, session: HubSession, answer: dict[str, Any], request: Any) -> None:
        """`answer_request` at the hub that serves the session."""
        request_id = answer["id"]
        session.answered = {
            name: found
            for name, found in session.answered.items()
            if session.requests.get(name) == found
        }
        session.answered[request_id] = request
        try:
            told = await self.registry.call_session(
                session, rpc_methods.PERMISSION, answer, QUICK_RPC_TIMEOUT
            )
            problem = error_text(told)
            if problem is not None:
                raise Conflict(problem)
        except Exception:
            session.answered.pop(request_id, None)
            raise

    # --- written by session processes -------------------------------------------------------------

    async def update_metadata(
        self, session: HubSession, event: dict[str, Any], sender: Any
    ) -> dict[str, Any]:
        """The answer to `update-metadata`."""
        expected, value = version_of(event), event.get("metadata")
        if expected is None or not isinstance(value, dict):
            return {"result": "error"}
        return await self.registry.serialized(
            session, lambda: self._update_metadata(session, expected, value, sender)
        )

    async def _update_metadata(
        self, session: HubSession, expected: int, value: dict[str, Any], sender: Any
    ) -> dict[str, Any]:
        registry, now = self.registry, self.registry.now()
        before = agent_session_id(session.metadata)
        merged = merged_metadata(session.row.metadata, bounded(value))
        outcome = await registry.store.write_metadata(
            session.id, expected, merged, {"updated_at": now}
        )
        session.row = outcome.row
        version, stored = outcome.row.metadata_version, outcome.row.metadata
        if isinstance(outcome, VersionMismatch):
            return {"result": "version-mismatch", "version": version, "metadata": stored}
        body = {
            "t": protocol_events.UPDATE_SESSION,
            "sid": session.id,
            "metadata": {"version": version, "value": stored},
            "agentState": None,
        }
        registry.emit_update(session.room, body, without=sender)
        shown = {"version": version, "value": public_metadata(stored)}
        registry.publish_patch(session, metadata=shown, updatedAt=now)
        registry.report_damage(session)
        found = agent_session_id(stored)
        if found is not None and found != before:
            for call in self.on_agent_id:
                await call(session)
        return {"result": "success", "version": version, "metadata": stored}

    async def update_state(
        self, session: HubSession, event: dict[str, Any], sender: Any
    ) -> dict[str, Any]:
        """The answer to `update-state`."""
        expected, value = version_of(event), event.get("agentState")
        if (
            expected is None
            or "agentState" not in event
            or not (value is None or isinstance(value, dict))
        ):
            return {"result": "error"}
        return await self.registry.serialized(
            session, lambda: self._update_state(session, expected, value, sender)
        )

    async def _update_state(
        self, session: HubSession, expected: int, value: Any, sender: Any
    ) -> dict[str, Any]:
        registry, now = self.registry, self.registry.now()
        outcome = await registry.store.write_agent_state(
            session.id, expected, bounded(value), {"updated_at": now}
        )
        session.row = outcome.row
        version, stored = outcome.row.agent_state_version, outcome.row.agent_state
        if isinstance(outcome, VersionMismatch):
            return {"result": "version-mismatch", "version": version, "agentState": stored}
        document = {"version": version, "value": stored}
        registry.emit_update(
            session.room,
            {
                "t": protocol_events.UPDATE_SESSION,
                "sid": session.id,
                "metadata": None,
                "agentState": document,
            },
            sender,
        )
        shown = {"version": version, "value": shown_agent_state(stored)}
        registry.publish_patch(session, agentState=shown, updatedAt=now)
        registry.report_damage(session)
        registry.notify(self.on_state, session)
        return {"result": "success", "version": version, "agentState": stored}

    # --- written by the hub -----------------------------------------------------------------------

    async def rewrite(
        self,
        session: HubSession,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        columns: dict[str, Any] | None = None,
        counted: bool = True,
    ) -> None:
        """Change the metadata on behalf of a person, after all earlier work on the session.

        `columns` are set by the same write; `counted`: the write increments `seq`.
        Raises ConcurrentChange, NotFound.
        """
        await self.registry.serialized(
            session, lambda: self.rewrite_locked(session, change, columns, counted)
        )

    async def rewrite_locked(
        self,
        session: HubSession,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        columns: dict[str, Any] | None = None,
        counted: bool = True,
    ) -> None:
        """`rewrite` for callers that hold the session's lock. A newer version is read and
        the change applied again, MAX_ATTEMPTS times in all. Raises ConcurrentChange."""
        for _ in range(MAX_ATTEMPTS):
            value = change(dict(session.metadata))
            changes = {"seq": session.row.seq + counted, **(columns or {})}
            outcome = await self.registry.store.write_metadata(
                session.id, session.row.metadata_version, value, changes
            )
            session.row = outcome.row
            if isinstance(outcome, Written):
                self.registry.publish_session(session)
                return
        raise ConcurrentChange("Session was modified concurrently. Please try again.")

    async def change_setting(self, session: HubSession, column: str, name: str, value: Any) -> None:
        """Store a setting that the session process has applied, and publish it as `name`."""

        async def change() -> None:
            session.row = await self.registry.store.change_session(session.id, {column: value})
            self.registry.publish_patch(session, **{name: value})

        await self.registry.serialized(session, change)

    # --- machines ---------------------------------------------------------------------------------

    async def register(self, namespace: str, request: RegisterMachine) -> HubMachine:
        """Create or update a machine. Raises AccessDenied if the id belongs to another namespace or
        to a session, ConcurrentChange.
        """
        registry, now = self.registry, self.registry.now()
        if request.id in registry.sessions:  # RPC methods are distinguished by the id alone
            raise AccessDenied("Machine access denied")
        if request.id not in registry.machines:
            row = MachineRow(
                request.id,
                namespace,
                now,
                now,
                metadata=bounded(request.metadata),
                runner_state=bounded(request.runner_state),
                active_at=now,
            )
            try:
                row = await registry.store.create_machine(row)
            except IdTaken:  # made while we waited, maybe by another hub
                if registry.cluster is not None:
                    await registry.cluster.know(request.id)
            else:
                machine = registry.machines.get(row.id) or registry.adopt_machine(row)
                registry.publish_machine(machine, machine_view(machine))
                return machine
        machine = registry.machine(request.id, namespace)
        for _ in range(MAX_ATTEMPTS):
            wanted = merged_registration(machine.row, request, now)
            if wanted == machine.row:
                return machine
            outcome = await registry.store.write_machine(wanted, machine.row)
            machine.row = outcome.row
            if isinstance(outcome, Written):
                registry.publish_machine(machine, machine_view(machine))
                return machine
        raise ConcurrentChange("Machine was modified concurrently. Please try again.")

    async def update_machine(
        self, machine: HubMachine, event: dict[str, Any], name: str, sender: Any
    ) -> dict[str, Any]:
        """The answer to `machine-update-metadata` and `machine-update-state`; `name` is `metadata`
        or `runnerState`.
        """
        registry, now, expected, value = (
            self.registry,
            self.registry.now(),
            version_of(event),
            event.get(name),
        )
        if (
            expected is None
            or name not in event
            or not (isinstance(value, dict) or (value is None and name == "runnerState"))
        ):
            return {"result": "error"}
        column = "metadata" if name == "metadata" else "runner_state"
        before = machine.row
        if getattr(before, f"{column}_version") != expected:
            return {
                "result": "version-mismatch",
                "version": getattr(before, f"{column}_version"),
                name: getattr(before, column),
            }
        changes: dict[str, Any] = {
            column: bounded(value),
            f"{column}_version": expected + 1,
            "updated_at": now,
        }
        outcome = await registry.store.write_machine(evolve(before, **changes), before)
        machine.row = outcome.row
        version, stored = getattr(outcome.row, f"{column}_version"), getattr(outcome.row, column)
        if isinstance(outcome, VersionMismatch):
            return {"result": "version-mismatch", "version": version, name: stored}
        document = {"version": version, "value": stored}
        body = {
            "t": protocol_events.UPDATE_MACHINE,
            "machineId": machine.id,
            "metadata": None,
            "runnerState": None,
            name: document,
        }
        registry.emit_update(machine.room, body, without=sender)
        registry.publish_machine(machine, machine_view(machine))
        return {"result": "success", "version": version, name: stored}

    async def name_machine(self, machine: HubMachine, name: str) -> None:
        """Set the display name of the machine; "" removes it. Raises ConcurrentChange."""
        for _ in range(MAX_ATTEMPTS):
            row = machine.row
            metadata = dict(row.metadata) if isinstance(row.metadata, dict) else {}
            metadata.pop("displayName", None)
            if name:
                metadata["displayName"] = name
            wanted = evolve(
                row,
                metadata=metadata,
                metadata_version=row.metadata_version + 1,
                updated_at=self.registry.now(),
                seq=row.seq + 1,
            )
            outcome = await self.registry.store.write_machine(wanted, row)
            machine.row = outcome.row
            if isinstance(outcome, Written):
                self.registry.publish_machine(machine, machine_view(machine))
                return
        raise ConcurrentChange("Machine was modified concurrently. Please try again.")


def merged_registration(row: MachineRow, request: RegisterMachine, now: int) -> MachineRow:
    """The row of a known machine after its registration: metadata are merged, and of the runner
    state only the capabilities.
    """
    metadata, version = row.metadata, row.metadata_version
    if isinstance(request.metadata, dict):
        stored = metadata if isinstance(metadata, dict) else {}
        metadata = {**stored, **bounded(request.metadata)}
        if request.runner_state is not None:
            metadata = {
                key: value
                for key, value in metadata.items()
                if key not in ADVERTISED or key in request.metadata
            }
        version += metadata != row.metadata
    state, state_version = row.runner_state, row.runner_state_version
    advertised = (
        request.runner_state.get("capabilities") if isinstance(request.runner_state, dict) else None
    )
    if isinstance(advertised, dict):
        before = state if isinstance(state, dict) else {}
        known = before.get("capabilities")
        merged = {
            **before,
            "capabilities": {**(known if isinstance(known, dict) else {}), **bounded(advertised)},
        }
        state_version += merged != state
        state = merged
    if (version, state_version) == (row.metadata_version, row.runner_state_version):
        return row
    return evolve(
        row,
        metadata=metadata,
        metadata_version=version,
        runner_state=state,
        runner_state_version=state_version,
        updated_at=now,
    )
