"""Lifecycle of sessions: create, archive, reopen, resume, merge, delete."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from attrs import define, field, frozen
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubMachine, HubSession
from hapi.hub.domain.errors import (
    CallFailed,
    ConcurrentChange,
    Conflict,
    NotFound,
    OperationFailed,
    TargetMissing,
    Unavailable,
    Unprocessable,
)
from hapi.hub.domain.merge import merged_row
from hapi.hub.domain.presence import Presence
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.spawn import RESUMED_SETTINGS, request_spawn, spawn_request
from hapi.hub.store.interface import IdTaken, TagTaken
from hapi.hub.store.rows import SessionRow
from hapi.idle_limit import own_idle_time
from hapi.protocol import events as protocol_events
from hapi.protocol import rpc_methods
from hapi.protocol.agents import DEFAULT_AGENT, agent_named
from hapi.protocol.hub import FLAVORS, CreateSession, agent_session_id
from hapi.protocol.json import bounded

ACTIVE_TIMEOUT = 15.0  # seconds that a resumed session may take to become active
ACTIVE_POLL_INTERVAL = 0.25  # seconds
MEMORY_TIMEOUT = 15.0  # seconds that its agent may take to open the earlier session
# Seconds in which an active session tells that its agent opens the earlier session. It sends that
# with its first alive; npm's sessions tell nothing.
MEMORY_NOTICE_TIMEOUT = 0.25
FIRST_ALIVE_TIMEOUT = 30.0  # seconds from a session's creation to its first keep-alive
KILL_TIMEOUT = 5.0  # seconds that a process has to answer that it ends
EXIT_TIMEOUT = 15.0  # seconds that a process may take to end after it has answered
STOP_TIMEOUT = 10.0  # seconds in which a runner ends a whole process tree
ARCHIVED_UNREACHABLE = "Archived from hub (CLI unreachable)"
ENDED_BY_RUNNER = "Ended by the runner (the session did not respond)"
ARCHIVE_KEYS = ("lifecycleState", "lifecycleStateSince", "archivedBy", "archiveReason")


class ProcessEnd(Enum):
    """How the process of a session was ended."""

    BY_ITSELF = auto()  # it has answered that it ends
    BY_RUNNER = auto()  # it did not answer
    UNREACHABLE = auto()  # it has no connection; its runner knows no process, or is away as well


class RunnerStop(Enum):
    """What a runner did about a process that it was asked to end."""

    ENDED = auto()
    GONE = auto()  # it had ended before
    ALIVE = auto()  # it could not end it
    NOT_KNOWN = auto()
    NO_ANSWER = auto()
    AWAY = auto()  # it is not connected


def read_stop_answer(answer: Any) -> RunnerStop:
    """The answer to `stop-session`. `still_alive` is also said of a session that the runner does
    not know; `known` is our runner's own.
    """
    status = answer.get("status") if isinstance(answer, dict) else None
    if status == "stopped":
        return RunnerStop.ENDED
    if status == "already_gone":
        return RunnerStop.GONE
    if status == "still_alive":
        return RunnerStop.ALIVE if answer.get("known") is True else RunnerStop.NOT_KNOWN
    return RunnerStop.NO_ANSWER


@frozen
class Resumed:
    """A session that was asked to go on, and how it does.

    `session` may be another row. `memory`: `kept` if the agent remembers the conversation, `new` if
    it began anew, `unknown` if it takes long to open its session; None if nobody tells.
    """

    session: HubSession
    was_started: bool
    memory: str | None = None

    @property
    def is_resumed(self) -> bool:
        """Whether it was started, and as far as anybody tells with its memory."""
        return self.was_started and self.memory in (None, "kept")


@define(eq=False, repr=False)
class Lifecycle:
    registry: HubRegistry
    documents: Documents
    presence: Presence
    on_removed: list[Callable[[str], None]] = field(factory=list)  # called with the session's id
    # Whether the machine with this id has an access token of its own.
    has_own_token: Callable[[object], bool] = lambda machine_id: False
    _resuming: dict[str, str | None] = field(factory=dict)  # session id -> machine id

    log = Logger()

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
        session = registry.sessions.get(row.id)
        if session is None:
            session = registry.sessions[row.id] = HubSession(row, active_at=row.active_at)
            registry.report_damage(session)
        if new:
            registry.publish_session(session, protocol_events.SESSION_ADDED)
        if not session.active and "hostPid" in session.metadata:
            # The process itself creates its session, as a rule.
            session.expected_until = registry.clock.seconds() + FIRST_ALIVE_TIMEOUT
        return session

    # --- archive ----------------------------------------------------------------------------------

    async def archive(self, session: HubSession) -> dict[str, Any]:
        """End the session. `endedBy` in the answer: its process did not respond and was ended by
        the runner of its machine. Raises Conflict, ConcurrentChange, and Unavailable if the process
        still runs afterwards.
        """
        state = session.metadata.get("lifecycleState")
        starting = session.id in self._resuming
        if not session.active and state == "archived" and not starting:
            return {"ok": True, "alreadyArchived": True}
        if not session.active and state != "running" and not starting:
            raise Conflict("Session is inactive")
        match await self._end_process(session):
            case ProcessEnd.BY_ITSELF:
                await self.registry.serialized(session, lambda: self.presence.end(session, None))
                return {"ok": True}
            case ProcessEnd.BY_RUNNER:
                reason, answer = ENDED_BY_RUNNER, {"ok": True, "endedBy": "runner"}
            case ProcessEnd.UNREACHABLE:
                reason, answer = ARCHIVED_UNREACHABLE, {"ok": True}
        await self.registry.serialized(session, lambda: self._archive_by_hub(session, reason))
        return answer

    async def _end_process(self, session: HubSession) -> ProcessEnd:
        """End the process of a session: by its own means, or else by the runner of its machine.
        Raises Unavailable if it runs on.
        """
        rpc = self.registry.rpc
        may_be_starting = self._may_be_starting(session)
        peer = rpc.server(session.id, rpc_methods.KILL_SESSION)
        try:
            await rpc.call(session.id, rpc_methods.KILL_SESSION, timeout=KILL_TIMEOUT)
        except TargetMissing:
            is_connected = False
        except CallFailed as error:
            is_connected = not error.gone
        else:
            self.registry.clock.callLater(EXIT_TIMEOUT, self._check_exit, session, peer)
            return ProcessEnd.BY_ITSELF
        # Its process may also be starting, and would report the session as running again (C17).
        match await self._stop_at_machine(session):
            case RunnerStop.ENDED if is_connected or not may_be_starting:
                return ProcessEnd.BY_RUNNER  # a hanging process loses its connection after a while
            case RunnerStop.GONE if is_connected:
                return ProcessEnd.BY_RUNNER
            case RunnerStop.ALIVE:
                raise self._still_running(session, "its runner could not end it")
            case RunnerStop.AWAY if is_connected:
                raise self._still_running(session, "the runner of its machine is not connected")
            case RunnerStop.NOT_KNOWN if is_connected:
                raise self._still_running(session, "the runner of its machine does not know it")
            case RunnerStop.NO_ANSWER if is_connected:
                raise self._still_running(session, "the runner of its machine does not answer")
        return ProcessEnd.UNREACHABLE

    def _may_be_starting(self, session: HubSession) -> bool:
        """Whether a process that has no connection is only on its way."""
        is_expected = self.registry.clock.seconds() < session.expected_until
        return session.id in self._resuming or (is_expected and not session.active)

    def _check_exit(self, session: HubSession, peer: Any) -> None:
        """Have a process ended by its runner that has answered that it ends, and is still there."""
        if self.registry.rpc.server(session.id, rpc_methods.KILL_SESSION) is not peer:
            return
        self.log.warn(
            "The process of session {session_id} has not ended within {seconds:.0f} s; its runner "
            "is asked to end it",
            session_id=session.id,
            seconds=EXIT_TIMEOUT,
        )
        message = "The process of session {session_id} could not be ended"
        stopping = self._stop_at_machine(session)
        run_in_background(stopping, self.log, message, session_id=session.id)

    def _still_running(self, session: HubSession, why: str) -> Unavailable:
        metadata = session.public_metadata
        machine = self.registry.machines.get(metadata.get("machineId", ""))
        where = metadata.get("host", "its machine") if machine is None else machine.name
        pid = metadata.get("hostPid")
        process = f"process {pid}" if isinstance(pid, int) else "its process"
        return Unavailable(
            f"The session does not respond, and {why}. Start the runner on {where} (hapi runner "
            f"start) and archive the session again, or end {process} there.",
            "session_not_responding",
        )

    async def _stop_at_machine(self, session: HubSession) -> RunnerStop:
        """Have the runner of its machine end the session's process."""
        machine = self._resuming.get(session.id) or session.public_metadata.get("machineId")
        if not isinstance(machine, str) or not self.registry.owns(session.namespace, machine):
            return RunnerStop.AWAY
        try:
            answer = await self.registry.rpc.call(
                machine, rpc_methods.STOP_SESSION, {"sessionId": session.id}, STOP_TIMEOUT
            )
        except TargetMissing:
            return RunnerStop.AWAY
        except CallFailed as error:
            self.log.warn(
                "The runner did not stop {session_id}: {reason}",
                session_id=session.id,
                reason=str(error),
            )
            return RunnerStop.NO_ANSWER
        self.log.debug(
            "The runner's answer about {session_id}: {answer}",
            session_id=session.id,
            answer=answer,
        )
        return read_stop_answer(answer)

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
            await self._end_process(session)

        async def delete() -> None:
            if session.active:
                raise Conflict("Cannot delete active session. Archive it first.")
            await self.registry.store.discard_session(session.id)
            self._removed(session)

        await self.registry.serialized(session, delete)

    async def discard(self, session: HubSession) -> int | None:
        """Remove a session that retention does not keep; the number of its messages.

        None if it has become active, is being resumed, was pinned, or is gone meanwhile.
        """

        async def discard() -> int | None:
            if (
                session.active
                or self.registry.clock.seconds() < session.expected_until
                or session.id in self._resuming
                or session.row.pinned
                or session.row.global_pinned
            ):
                return None
            count = await self.registry.store.discard_session(session.id)
            self._removed(session)
            return count

        try:
            return await self.registry.serialized(session, discard)
        except NotFound:
            return None

    def _removed(self, session: HubSession) -> None:
        self.registry.sessions.pop(session.id, None)
        for call in self.on_removed:
            call(session.id)
        self.registry.publish(session, protocol_events.SESSION_REMOVED)

    # --- reopen and resume ------------------------------------------------------------------------

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
        if session.id in self._resuming:
            raise Conflict("Session is being resumed already", "resume_in_progress")
        self._resuming[session.id] = None
        earlier = session.metadata.get("agentMemory")
        try:
            machine = None if reopen else self.find_machine(session)
            before = {key: session.metadata[key] for key in ARCHIVE_KEYS if key in session.metadata}
            cleared = reopen and session.metadata.get("lifecycleState") == "archived"
            if cleared:
                await self.documents.rewrite(session, self._without_archive)
            try:
                machine = machine or self.find_machine(session)
                self._resuming[session.id] = machine.id
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
            self._resuming.pop(session.id, None)

    def _without_archive(self, metadata: dict[str, Any]) -> dict[str, Any]:
        return {**_without_archive_fields(metadata), "lifecycleStateSince": self.registry.now()}

    def find_machine(self, session: HubSession) -> HubMachine:
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
            for machine in self.registry.machines.values()
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
        result = await request_spawn(self.registry.rpc, machine, request)
        if result["type"] != "success":
            raise OperationFailed(result["message"], "resume_failed")
        alive = await self.when_active(result["sessionId"], session)
        if alive is None:
            raise OperationFailed("Session failed to become active", "resume_failed")
        if alive is not session and session.id in self.registry.sessions:
            await self.merge(session, alive)
        return alive

    async def when_active(self, session_id: str, request: HubSession) -> HubSession | None:
        clock = self.registry.clock
        deadline = clock.seconds() + ACTIVE_TIMEOUT
        while True:
            found = self.registry.sessions.get(session_id)
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

    async def _when_memory_known(self, session: HubSession, earlier: Any) -> str | None:
        """What the session tells of its agent's memory; `earlier` is what its last process told.
        Raises OperationFailed if its agent cannot be started.
        """
        clock = self.registry.clock
        noticed_by, deadline = (
            clock.seconds() + seconds for seconds in (MEMORY_NOTICE_TIMEOUT, MEMORY_TIMEOUT)
        )
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
                return "unknown" if state == "opening" else None
            await deferLater(clock, ACTIVE_POLL_INTERVAL)

    # --- merge ------------------------------------------------------------------------------------

    async def merge(self, old: HubSession, new: HubSession) -> None:
        """Move the messages and documents of `old` into `new` and delete `old`."""
        await self.registry.serialized(new, lambda: self._merge(old, new))

    async def _merge(self, old: HubSession, new: HubSession) -> None:
        async def merge() -> None:
            row = merged_row(old.row, new.row, self.registry.now())
            new.row = await self.registry.store.merge_session(old.id, new.id, row)
            new.has_queue = True
            self.registry.publish(new, protocol_events.MESSAGES_INVALIDATED)
            self._removed(old)
            self.registry.publish_session(new)

        await self.registry.serialized(old, merge)

    async def merge_duplicates(self, session: HubSession) -> None:
        """Merge inactive sessions with the same agent session id into `session`: they are one
        session.

        The caller holds the lock of `session`.
        """
        agent_id = agent_session_id(session.metadata)
        if agent_id is None or not session.active or session.flavor == "kimi":
            return
        for other in self.registry.sessions_of(session.namespace):
            same = other.flavor == session.flavor and agent_session_id(other.metadata) == agent_id
            if (
                same
                and other is not session
                and not other.active
                and other.id not in self._resuming
                and self._may_merge(other, session)
            ):
                try:
                    await self._merge(other, session)
                except NotFound:
                    continue
                except Exception:
                    self.log.failure(
                        "Session {other} could not be merged into {session_id}",
                        other=other.id,
                        session_id=session.id,
                    )

    def _may_merge(self, other: HubSession, session: HubSession) -> bool:
        """Whether both are of one machine, or of machines without tokens of their own. A token that
        opens one machine must not bring messages from another one, or send them there.
        """
        machines = other.metadata.get("machineId"), session.metadata.get("machineId")
        return machines[0] == machines[1] or not any(map(self.has_own_token, machines))

    async def pin(self, session: HubSession, mode: str) -> None:
        changes = {"pinned": mode == "project", "global_pinned": mode == "global"}

        async def pin() -> None:
            session.row = await self.registry.store.change_session(session.id, changes)
            self.registry.publish_session(session)

        await self.registry.serialized(session, pin)


def _permission_mode(session: HubSession, wanted: str | None) -> str | None:
    """The permission mode of a resumed session; None: that in which its agent starts."""
    preferred = session.metadata.get("preferredPermissionMode")
    return wanted or session.row.permission_mode or preferred


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
