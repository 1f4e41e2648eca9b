"""Lifecycle of sessions: create, archive, delete, pin."""

from __future__ import annotations

import uuid
from typing import Any

from attrs import define

from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import (
    Conflict,
    NotFound,
)
from hapi.hub.domain.presence import Presence
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.termination import ProcessEnd, SessionTermination
from hapi.hub.store.interface import IdTaken, TagTaken
from hapi.hub.store.rows import SessionRow
from hapi.protocol import events as protocol_events
from hapi.protocol import rpc_methods
from hapi.protocol.json import bounded
from hapi.protocol.rest.bodies import CreateSession

FIRST_ALIVE_TIMEOUT = 30.0  # seconds from a session's creation to its first keep-alive
ARCHIVED_UNREACHABLE = "Archived from hub (CLI unreachable)"
ENDED_BY_RUNNER = "Ended by the runner (the session did not respond)"


@define(eq=False, repr=False)
class Lifecycle:
    registry: HubRegistry
    documents: Documents
    presence: Presence
    termination: SessionTermination

    # --- create -----------------------------------------------------------------------------------

    async def create(self, namespace: str, request: CreateSession) -> HubSession:
        """Create the session of a tag. If the tag is known, its session is returned unchanged.
        Raises Conflict, AccessDenied.
        """
        registry, now = self.registry, self.registry.now()
        if request.machine is not None:
            await self.documents.register(namespace, request.machine)
        if request.id in registry.machines:  # RPC methods are distinguished by the id alone
            raise Conflict("Session id is already bound to a machine")
        row = SessionRow(
            request.id or str(uuid.uuid4()),
            namespace,
            request.tag,
            now,
            now,
            metadata=bounded(request.metadata),
            agent_state=bounded(request.agent_state)
            if isinstance(request.agent_state, dict)
            else None,
            model=request.model,
            model_reasoning_effort=request.model_reasoning_effort,
            effort=request.effort,
            active_at=now,
        )
        try:
            row, new = await registry.store.create_session(row, any_id=request.id is None)
        except TagTaken as error:
            raise Conflict("Session tag is already bound to a different id") from error
        except IdTaken as error:
            raise Conflict("Session id is already bound to a different session") from error
        session = registry.sessions.get(row.id) or registry.adopt_session(row)
        if not session.active and "hostPid" in session.metadata:
            # The process itself creates its session, as a rule.
            session.expected_until = registry.clock.seconds() + FIRST_ALIVE_TIMEOUT
        if new:
            registry.publish_session(session, protocol_events.SESSION_ADDED)
        return session

    # --- archive ----------------------------------------------------------------------------------

    async def archive(self, session: HubSession) -> dict[str, Any]:
        """End the session. `endedBy` in the answer: its process did not respond and was ended by
        the runner of its machine. Raises Conflict, ConcurrentChange, and Unavailable if the process
        still runs afterwards.
        """
        state = session.metadata.get("lifecycleState")
        starting = session.id in self.registry.resuming
        if not session.active and state == "archived" and not starting:
            return {"ok": True, "alreadyArchived": True}
        if not session.active and state != "running" and not starting:
            raise Conflict("Session is inactive")
        match await self.termination.end(session):
            case ProcessEnd.BY_ITSELF:
                await self.registry.serialized(session, lambda: self.presence.end(session, None))
                return {"ok": True}
            case ProcessEnd.BY_RUNNER:
                reason, answer = ENDED_BY_RUNNER, {"ok": True, "endedBy": "runner"}
            case ProcessEnd.UNREACHABLE:
                reason, answer = ARCHIVED_UNREACHABLE, {"ok": True}
        await self.registry.serialized(session, lambda: self._archive_by_hub(session, reason))
        return answer

    async def _archive_by_hub(self, session: HubSession, reason: str) -> None:
        """Write the archive fields for a process that cannot write them. An existing archive reason
        is kept, except that of a process that was ended by its runner: a stopped one goes on when
        it receives the signal, and knows only that it was told to end.
        """
        now = self.registry.now()

        def archived(metadata: dict[str, Any]) -> dict[str, Any]:
            if metadata.get("lifecycleState") == "archived" and reason != ENDED_BY_RUNNER:
                return metadata
            stamp = {"lifecycleState": "archived", "lifecycleStateSince": now, "archivedBy": "hub"}
            return {**metadata, **stamp, "archiveReason": reason}

        if session.metadata.get("lifecycleState") != "archived" or reason == ENDED_BY_RUNNER:
            await self.documents.rewrite_locked(session, archived)
        await self.presence.end(session, None)

    # --- delete -----------------------------------------------------------------------------------

    async def delete(self, session: HubSession) -> None:
        """Delete the session. Raises Conflict while it is active, and Unavailable if its process,
        which has fallen silent, cannot be ended.
        """
        is_connected = self.registry.rpc.serves(session.id, rpc_methods.KILL_SESSION)
        is_running = session.metadata.get("lifecycleState") == "running"
        if not session.active and (is_connected or is_running):
            await self.termination.end(session)

        async def delete() -> None:
            if session.active:
                raise Conflict("Cannot delete active session. Archive it first.")
            await self.registry.store.discard_session(session.id)
            self.registry.remove_session(session)

        await self.registry.serialized(session, delete)

    async def discard(self, session: HubSession) -> int | None:
        """Remove a session that retention does not keep; the number of its messages.

        None if it has become active, is being resumed, was pinned, or is gone meanwhile.
        """

        async def discard() -> int | None:
            if (
                session.active
                or self.registry.clock.seconds() < session.expected_until
                or session.id in self.registry.resuming
                or session.row.pinned
                or session.row.global_pinned
            ):
                return None
            count = await self.registry.store.discard_session(session.id)
            self.registry.remove_session(session)
            return count

        try:
            return await self.registry.serialized(session, discard)
        except NotFound:
            return None

    # --- pin --------------------------------------------------------------------------------------

    async def pin(self, session: HubSession, mode: str) -> None:
        changes = {"pinned": mode == "project", "global_pinned": mode == "global"}

        async def pin() -> None:
            session.row = await self.registry.store.change_session(session.id, changes)
            self.registry.publish_session(session)

        await self.registry.serialized(session, pin)
