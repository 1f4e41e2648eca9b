"""Forking: another session that begins with the memory of this one, and with its conversation.

The agent makes a copy of its own session (ACP's `session/fork`) when the process of the new session
starts. Whether it can do that is in the metadata of the session:
`capabilities.conversationHistory.forkCurrent`.
"""

from __future__ import annotations

import uuid

from attrs import define, evolve
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import Conflict
from hapi.hub.domain.lifecycle import Lifecycle
from hapi.hub.domain.notifications import session_label
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.resume import find_machine, when_active
from hapi.hub.domain.spawn import RESUMED_SETTINGS, request_spawn, spawn_request
from hapi.hub.domain.views import permission_mode
from hapi.hub.store.rows import SessionRow
from hapi.protocol import events as protocol_events
from hapi.protocol.hub import agent_session_id

ID_TIMEOUT = 60.0  # seconds until the agent has told the id of its copy
POLL_INTERVAL = 0.1  # seconds
PAUSE = 0.01  # seconds between two portions of messages that are copied
INHERITED = ("path", "host", "homeDir", "machineId", "flavor", "worktree", "os", "version")
MAX_TITLE_LENGTH = 255  # characters


def can_fork(session: HubSession) -> bool:
    """Whether the agent of the session can copy it."""
    capabilities = session.metadata.get("capabilities")
    history = capabilities.get("conversationHistory") if isinstance(capabilities, dict) else None
    return isinstance(history, dict) and history.get("forkCurrent") is True


@define(eq=False, repr=False)
class Forking:
    registry: HubRegistry
    lifecycle: Lifecycle

    log = Logger()

    def modes(self, session: HubSession) -> set[str | None]:
        """The permission, collaboration and agent modes in which a fork of the session starts."""
        row = session.row
        return {permission_mode(session), row.collaboration_mode, row.copilot_agent_mode}

    async def fork(self, session: HubSession, message_local_id: str | None) -> HubSession:
        """The new session, once its agent has its copy. Raises Conflict; nothing is left then."""
        if session.thinking or session.requests:
            raise Conflict("Session is busy")
        if message_local_id is not None:
            raise Conflict("Historical fork is not supported for this session")
        agent_session = agent_session_id(session.metadata)
        if not can_fork(session) or agent_session is None:
            raise Conflict("Fork current is not supported for this session")
        machine = find_machine(self.registry, session)
        child = await self._create(session)
        try:
            await self._copy_messages(session, child)
            wanted = {
                "directory": session.public_metadata["path"],
                "agent": session.flavor,
                "permissionMode": permission_mode(session),
            }
            for name, column in RESUMED_SETTINGS.items():
                value = getattr(session.row, column)
                wanted[name] = value if isinstance(value, str) else None
            request = spawn_request(wanted, agent_session, child.id) | {"forkSession": True}
            result = await request_spawn(self.registry, machine, request)
            if result["type"] != "success":
                raise Conflict(f"Fork failed: {result['message']}")
            await self._settled(child, result["sessionId"], agent_session)
        except BaseException:
            await self._undo(child)
            raise
        return child

    async def _undo(self, child: HubSession) -> None:
        if child.id not in self.registry.sessions:
            return
        try:
            at_home, given = self.registry.at_home, {"session": child.id}
            if child.active:
                await at_home(child.id, "archive", given, lambda: self.lifecycle.archive(child))
            await at_home(child.id, "delete", given, lambda: self.lifecycle.delete(child))
        except Exception:
            self.log.failure("What is left of a failed fork, {id}, stays", id=child.id)

    async def _create(self, session: HubSession) -> HubSession:
        registry, now = self.registry, self.registry.now()
        kept = {key: session.metadata[key] for key in INHERITED if key in session.metadata}
        title = f"Fork: {session_label(session)}"[:MAX_TITLE_LENGTH]
        metadata = {
            **kept,
            "summary": {"text": title, "updatedAt": now},
            "forkedFrom": session.id,
            "startedBy": "runner",
        }
        name = str(uuid.uuid4())
        fresh = SessionRow(name, session.namespace, name, now, now, metadata=metadata)
        row, _ = await registry.store.create_session(evolve(fresh, active_at=now))
        child = registry.sessions[row.id] = HubSession(row, active_at=now)
        registry.publish_session(child, protocol_events.SESSION_ADDED)
        return child

    async def _copy_messages(self, session: HubSession, child: HubSession) -> None:
        store, seq = self.registry.store, 0
        try:
            while (copied := await store.copy_messages(session.id, child.id, seq)) is not None:
                seq = copied
                await deferLater(self.registry.clock, PAUSE)
        except KeyError:
            raise Conflict("Fork failed: the new session was deleted meanwhile") from None
        newest = await store.latest(child.id, 1)
        if newest:
            time = newest[0].position[0]
            changes = {"has_content": True, "last_seq": seq, "last_time": time}
            child.row = await self.registry.store.change_session(child.id, changes)
            self.registry.publish_session(child)

    async def _settled(self, child: HubSession, started: str, agent_session: str) -> None:
        """Wait for the id of the agent's copy. Raises Conflict."""
        clock = self.registry.clock
        if started != child.id:
            raise Conflict("Fork failed: the runner started another session")
        if await when_active(self.registry, child.id, child) is None:
            raise Conflict("Fork failed: the new session did not become active")
        deadline = clock.seconds() + ID_TIMEOUT
        while agent_session_id(child.metadata) in (None, agent_session):
            if not child.active:
                reason = child.public_metadata.get("archiveReason") or "its process has ended"
                raise Conflict(f"Fork failed: {reason}")
            if clock.seconds() >= deadline:
                raise Conflict("Fork failed: the agent did not tell the id of its copy")
            await deferLater(clock, POLL_INTERVAL)
