"""Reopen and resume sessions: start a process that goes on with the conversation."""

from __future__ import annotations

from typing import Any

from attrs import define, frozen
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.errors import (
    ConcurrentChange,
    Conflict,
    NotFound,
    OperationFailed,
    Unavailable,
    Unprocessable,
)
from hapi.hub.domain.merge import Merging
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.spawn import RESUMED_SETTINGS, request_spawn_now, spawn_request
from hapi.hub.domain.termination import RunnerStop, stop_at_machine
from hapi.hub.domain.views import permission_mode
from hapi.idle_limit import own_idle_time
from hapi.protocol.agents import DEFAULT_AGENT, agent_named
from hapi.protocol.hub import FLAVORS, agent_session_id

ACTIVE_TIMEOUT = 15.0  # seconds that a resumed session may take to become active
ACTIVE_POLL_INTERVAL = 0.25  # seconds
MEMORY_TIMEOUT = 15.0  # seconds that its agent may take to open the earlier session
# Seconds in which an active session tells that its agent opens the earlier session. It sends that
# with its first alive; npm's sessions tell nothing.
MEMORY_NOTICE_TIMEOUT = 0.25
# The same when its last process has told: this one tells too, as soon as a loaded machine lets it.
LATE_NOTICE_TIMEOUT = 5.0
ARCHIVE_KEYS = ("lifecycleState", "lifecycleStateSince", "archivedBy", "archiveReason")


@frozen
class Resumed:
    """A session that was asked to go on, and how it does.

    `session` may be another row. `memory`: `kept` if the agent remembers the conversation, `new` if
    it began anew, `unknown` if it takes long to open or to tell; None if its sessions never tell.
    """

    session: HubSession
    was_started: bool
    memory: str | None = None

    @property
    def is_resumed(self) -> bool:
        """Whether it was started, and as far as anybody tells with its memory."""
        return self.was_started and self.memory in (None, "kept")


@define(eq=False, repr=False)
class Resuming:
    """Starts sessions again whose process has ended."""

    registry: HubRegistry
    documents: Documents
    merging: Merging

    log = Logger()

    def resumed_modes(self, session: HubSession, mode: str | None = None) -> set[str | None]:
        """The permission, collaboration and agent modes in which `resume` would start the process
        of the session; none if it runs.
        """
        if session.active:
            return set()
        row = session.row
        return {_permission_mode(session, mode), row.collaboration_mode, row.copilot_agent_mode}

    async def resume(
        self, session: HubSession, mode: str | None = None, reopen: bool = False
    ) -> Resumed:
        """Resume the session.

        Raises Refusal. When nothing comes of it, archive fields are as before.
        """
        if session.active:
            return Resumed(session, was_started=False)
        if session.id in self.registry.resuming:
            raise Conflict("Session is being resumed already", "resume_in_progress")
        cluster = self.registry.cluster
        if cluster is not None and not await cluster.reserve(session.id):
            raise Conflict("Session is being resumed already", "resume_in_progress")
        self.registry.resuming[session.id] = None
        earlier = session.metadata.get("agentMemory")
        try:
            machine = None if reopen else find_machine(self.registry, session)
            before = {key: session.metadata[key] for key in ARCHIVE_KEYS if key in session.metadata}
            cleared = reopen and session.metadata.get("lifecycleState") == "archived"
            if cleared:
                await self.documents.rewrite(session, self._without_archive)
            try:
                machine = machine or find_machine(self.registry, session)
                self.registry.resuming[session.id] = machine.id
                alive = await self._start(session, machine, mode)
                memory = await self._when_memory_known(alive, earlier)
            except Exception:
                if cleared and not session.active and session.id in self.registry.sessions:
                    await self.documents.rewrite(
                        session, lambda metadata: _with_archive_restored(metadata, before)
                    )
                raise
            return Resumed(alive, was_started=True, memory=memory)
        except ConcurrentChange as error:
            raise Conflict(str(error), "metadata_conflict") from error
        finally:
            self.registry.resuming.pop(session.id, None)
            if cluster is not None:
                cluster.free(session.id)

    def _without_archive(self, metadata: dict[str, Any]) -> dict[str, Any]:
        return {**_without_archive_fields(metadata), "lifecycleStateSince": self.registry.now()}

    async def _start(
        self, session: HubSession, machine: HubMachine, mode: str | None
    ) -> HubSession:
        known = session.flavor in FLAVORS or session.flavor in machine.flavors
        wanted: dict[str, Any] = {
            "directory": session.public_metadata["path"],
            "agent": session.flavor if known else DEFAULT_AGENT,
            "permissionMode": _permission_mode(session, mode),
        }
        for name, column in RESUMED_SETTINGS.items():
            value = getattr(session.row, column)
            wanted[name] = value if isinstance(value, str) else None
        wanted["idleAgent"] = own_idle_time(None, session.metadata)
        if session.public_metadata.get("startingMode") == "pty":
            wanted["startingMode"] = "pty"
        request = spawn_request(wanted, agent_session_id(session.metadata), session.id)
        result = await request_spawn_now(self.registry, machine, request)
        if result["type"] != "success":
            self._require_kept(session, machine)
            raise OperationFailed(result["message"], "resume_failed")
        alive = await when_active(self.registry, result["sessionId"], session)
        if alive is None:
            if result["sessionId"] == session.id:
                self._require_kept(session, machine)
            raise OperationFailed("Session failed to become active", "resume_failed")
        if alive is not session and session.id in self.registry.sessions:
            await self.merging.merge(session, alive)
        return alive

    def _require_kept(self, session: HubSession, machine: HubMachine) -> None:
        """Raises NotFound if the session was deleted meanwhile. The process that the runner may
        have started cannot serve it, and is ended.
        """
        if session.id in self.registry.sessions:
            return
        run_in_background(
            self._end_process(session, machine),
            self.log,
            "The process that was started for the deleted session {session_id} may still run",
            session_id=session.id,
        )
        raise NotFound("The session was deleted meanwhile")

    async def _end_process(self, session: HubSession, machine: HubMachine) -> None:
        """Have the runner of the machine end the process of a session that was deleted while it was
        being started.
        """
        cluster = self.registry.cluster
        if cluster is not None and await cluster.know(session.id):
            return  # the database has it, whatever this hub has read so far
        match await stop_at_machine(self.registry, machine.id, session.id):
            case RunnerStop.ALIVE | RunnerStop.NO_ANSWER | RunnerStop.AWAY:
                self.log.warn(
                    "Session {session_id} was deleted while it was being started, and its process "
                    "may still run on {machine}: its runner did not end it",
                    session_id=session.id,
                    machine=machine.name,
                )
            case _:
                pass

    async def _when_memory_known(self, session: HubSession, earlier: Any) -> str | None:
        """What the session tells of its agent's memory; `earlier` is what its last process told.
        Raises OperationFailed if its agent cannot be started.
        """
        clock, tells = self.registry.clock, isinstance(earlier, dict)
        noticed_by = clock.seconds() + (LATE_NOTICE_TIMEOUT if tells else MEMORY_NOTICE_TIMEOUT)
        deadline = clock.seconds() + MEMORY_TIMEOUT
        while True:
            told = session.metadata.get("agentMemory")
            state = told.get("state") if isinstance(told, dict) and told != earlier else None
            if state in ("kept", "new"):
                return str(state)
            if not session.active and state == "opening":
                reason = session.public_metadata.get("archiveReason")
                raise OperationFailed(reason or "The session ended at its start", "resume_failed")
            if not session.active or clock.seconds() >= (
                deadline if state == "opening" else noticed_by
            ):
                return "unknown" if state == "opening" or tells else None
            await deferLater(clock, ACTIVE_POLL_INTERVAL)


def find_machine(registry: HubRegistry, session: HubSession) -> HubMachine:
    """The machine to resume the session on. Raises Conflict, Unprocessable, Unavailable if it
    cannot be resumed.
    """
    if not session.public_metadata.get("path"):
        raise Conflict("Session metadata missing path", "resume_unavailable")
    agent_id = agent_session_id(session.metadata)
    if agent_id is None and session.flavor == "cursor":
        raise Unprocessable(
            "Session cannot be resumed", "resume_unavailable", missing=["cursorSessionId"]
        )
    if agent_id is None and session.row.has_content:
        raise Conflict("Resume session ID unavailable", "resume_unavailable")
    online = [
        machine
        for machine in registry.machines.values()
        if machine.active and machine.namespace == session.namespace
    ]
    wanted, host = session.public_metadata.get("machineId"), session.public_metadata.get("host")
    for machine in online:
        if machine.id == wanted:
            return machine
    for machine in online:
        if isinstance(machine.row.metadata, dict) and machine.row.metadata.get("host") == host:
            return machine
    raise Unavailable("No machine online", "no_machine_online")


async def when_active(
    registry: HubRegistry, session_id: str, request: HubSession
) -> HubSession | None:
    clock = registry.clock
    deadline = clock.seconds() + ACTIVE_TIMEOUT
    while True:
        found = registry.sessions.get(session_id)
        if found is not None and found.namespace == request.namespace and found.active:
            protocol = found.metadata.get("cursorSessionProtocol") or request.metadata.get(
                "cursorSessionProtocol"
            )
            slow = agent_named(found.flavor).slow_start or (
                found.flavor == "cursor" and protocol == "acp"
            )
            if found.ready or not (slow or found.public_metadata.get("startingMode") == "pty"):
                return found
        if clock.seconds() >= deadline:
            return None
        await deferLater(clock, ACTIVE_POLL_INTERVAL)


def _permission_mode(session: HubSession, wanted: str | None) -> str | None:
    """The permission mode of a resumed session; None: that in which its agent starts."""
    return wanted or permission_mode(session)


def _with_archive_restored(metadata: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The archive fields as before the session was reopened, unless it was archived again
    meanwhile.
    """
    return (
        metadata
        if metadata.get("lifecycleState") == "archived"
        else {**_without_archive_fields(metadata), **before}
    )


def _without_archive_fields(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in ARCHIVE_KEYS}
