"""What callers may ask of the runner, whether through the hub or through the control API."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.process import IProcesses
from hapi.protocol.control import (
    LeavesForSupervisor,
    ListedSession,
    ReplaceRunner,
    Restart,
    SessionStarted,
)
from hapi.protocol.spawn import SpawnRequest, SpawnResult
from hapi.runner.attempts.activity import summarize_activity
from hapi.runner.attempts.child import Child
from hapi.runner.config.options import RunnerOptions
from hapi.runner.control.announcements import Verdict
from hapi.runner.control.guard import CallerForbidden, PeerInfo
from hapi.runner.control.peer_credentials import SocketOwners
from hapi.runner.sessions import Sessions
from hapi.runner.spawn.agent_availability import AgentAvailability
from hapi.runner.storage.counters import Counters
from hapi.runner.storage.journal import RecordEvent
from hapi.runner.storage.timers import ScheduledCalls


@define(eq=False, repr=False)
class RunnerApi:
    """Starts, stops, lists, drains and revives sessions, and takes their announcements."""

    _sessions: Sessions
    counters: Counters
    after: ScheduledCalls
    _processes: IProcesses
    _record_event: RecordEvent
    _status: Callable[[], Mapping[str, Any]]
    # Ends the runner; called with the actor, and whether its supervisor is to start it again.
    _leave: Callable[[str, bool], object]
    # Begins a restart for the named actor, unless the runner must leave for its supervisor.
    _begin_restart: Callable[[str], Awaitable[Restart]]
    # Keeps the reason of a failed trial start, the path of its output, and who made it.
    _keep_trial_failure: Callable[[str, str | None, str], object]
    # Hands over to another program for the named actor; the pid of that. Raises ReplacementRefused.
    _replace: Callable[[ReplaceRunner, str], int]
    _socket_owners: SocketOwners = field(factory=SocketOwners)
    _leased: bool = False  # draining ends with the lease
    _renewals: int = 0  # of the lease
    log = Logger()

    @property
    def options(self) -> RunnerOptions:
        """The options in effect; a reload replaces them."""
        return self._sessions.options

    @property
    def availability(self) -> AgentAvailability:
        """Which agents can be started."""
        return self._sessions.availability

    def status(self) -> Mapping[str, Any]:
        """What `/status` answers."""
        return self._status()

    def list(self) -> list[ListedSession]:
        """The live sessions with the current content of their reports."""
        children = self._sessions.children
        self._sessions.reports.refresh(child for child in children if child.is_live)
        return children.listed()

    async def announce(self, message: SessionStarted, peer: PeerInfo) -> Verdict:
        """Take the announcement of a session."""
        return await self._sessions.announcements.receive(message, peer)

    async def spawn(
        self, request: SpawnRequest, asked_by: str, within: float | None = None
    ) -> SpawnResult:
        """Start a session, see `Sessions.spawn`."""
        return await self._sessions.spawn(request, asked_by, within)

    async def stop_session(self, name: str, actor: str) -> str:
        """End the session of that name."""
        method = "hub" if actor == "hub" else "control"
        return await self._sessions.stop(
            name, reason="Stopped by runner", actor=actor, method=method
        )

    def knows_session(self, name: str) -> bool:
        """Whether a session of that name may have a process on this machine."""
        return self._sessions.children.find_live(name) is not None

    def stop_soon(self, actor: str, restart: bool = False) -> None:
        """Stop the runner a moment after the answer to this request has been sent.

        With `restart` its supervisor, if there is one, starts it again.
        """
        self.log.info("Stopping on request of {actor}", actor=actor)
        self._record_event("stop-runner-asked", actor=actor)
        self.after(0.1 if actor == "hub" else 0.05, lambda: self._leave(actor, restart))

    async def restart(self, actor: str) -> Restart:
        """Have the installed version run in this runner's place.

        A supervised runner stops soon, after a trial start, and its supervisor starts it again.
        Another one hands over to a replacement and serves until that has taken over.
        """
        restart = await self._begin_restart(actor)
        if isinstance(restart, LeavesForSupervisor):
            self.stop_soon(actor, restart=True)
        return restart

    def handoff_to(self, replacement: int) -> dict[str, Any]:
        """How the hand-off to the process `replacement` goes.

        `pid` is that of the runner that answers, and `error` says why the hand-off has failed.
        """
        pid, handoff = os.getpid(), self._status()["handoff"]
        told: dict[str, Any] = {"pid": pid, "underWay": handoff["underWay"]}
        if handoff["underWay"] or pid == replacement:
            return told
        failure = handoff["lastFailure"] or {}
        if failure.get("replacement") != replacement:
            return told | {"error": "the hand-off was stopped"}
        where = f"; see {failure['output']}" if failure.get("output") else ""
        return told | {
            "error": f"the installed version does not take over: {failure['reason']}{where}"
        }

    def replace(self, asked: ReplaceRunner, actor: str) -> int:
        """Begin to hand over to the program that `actor` asks for; its pid.

        Raises ReplacementRefused.
        """
        return self._replace(asked, actor)

    def trial_start_failed(self, actor: str, reason: str, output: str | None) -> None:
        """Keep why a trial start that `actor` made has failed."""
        self._keep_trial_failure(reason, output, actor)

    # --- draining and reviving

    def activity(self) -> dict[str, Any]:
        """What runs, and whether more sessions are accepted."""
        sessions = self._sessions
        live = sessions.children.live()
        sessions.reports.refresh(live)
        is_accepting = sessions.admission.draining is None
        return summarize_activity(live, sessions.spawner.pending, is_accepting)

    def drain(self, actor: str, keep: bool = True, lease: float | None = None) -> dict[str, Any]:
        """Start no more sessions until `resume`; without `keep`, at most until this runner ends.
        Sessions that run go on.

        With `lease` draining ends by itself so many seconds after the last call, unless it had
        begun without one: a caller that is killed leaves no drained runner behind.
        """
        if self._sessions.drain.begin(actor, keep):
            self._record_event("drain", actor=actor)
            self._leased = lease is not None
        self._renewals += 1
        if lease is not None and self._leased:
            renewal = self._renewals
            self.after(lease, lambda: self._lease_over(renewal))
        return self._drained()

    def _lease_over(self, renewal: int) -> None:
        """End draining unless a later call has renewed the lease, or asked for more than that."""
        if renewal == self._renewals and self._sessions.drain.is_temporary:
            self.log.warn(
                "Sessions are started again: the command that drained this runner is gone"
            )
            self.resume("the end of the lease")

    def resume(self, actor: str) -> dict[str, Any]:
        """Start sessions again."""
        self._leased = False
        if self._sessions.drain.resume():
            self._record_event("resume", actor=actor)
        return self._drained()

    def _drained(self) -> dict[str, Any]:
        """`activity`, and with `notSaved` why the next runner will not do the same."""
        reason = self._sessions.drain.write_error
        return self.activity() | ({} if reason is None else {"notSaved": reason})

    def interrupted(self) -> Any:
        """The interrupted sessions that can be revived, as the control API shows them."""
        return [session.as_json() for session in self._sessions.reviver.offered()]

    async def revive(self, session_id: str, actor: str) -> SpawnResult:
        """Start an interrupted session again."""
        return await self._sessions.reviver.revive(session_id, actor)

    # --- callers

    def describe_caller(self, peer: PeerInfo) -> str:
        """Who calls, for the journal: the pid if the kernel reveals it, and its session.

        Raises CallerForbidden for a process of a session if the settings say so
        (`sessionsMayControl`).
        """
        caller = peer.caller
        if caller is None:
            return "control: unknown caller"
        pid = caller.pid or self._socket_owners.find(caller.inode)
        if pid is None:
            return f"control: uid {caller.uid}"
        child = self._child_of(pid)
        if child is None:
            return f"control: pid {pid}"
        if self.options.settings.get("sessionsMayControl") is False:
            self._record_event("control-refused", child.ids, actor=f"control: pid {pid}")
            raise CallerForbidden(
                "sessions may not control this runner (sessionsMayControl in settings.json)"
            )
        return f"control: pid {pid}, session {child.session_id}"

    def _child_of(self, pid: int) -> Child | None:
        """The session that the process belongs to."""
        children, identity = self._sessions.children, self._processes.identify(pid)
        found = None if identity is None else children.find_by_process(identity)
        return found or children.find_by_environment(self._processes.environment(pid))
