"""What callers ask of the runner, hub and control API alike: start, stop, list, drain, revive, announce, tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.process import IProcesses
from hapi.protocol.control import ListedSession, SessionStarted
from hapi.protocol.spawn import SpawnRequest, SpawnResult
from hapi.runner.attempts.activity import summarize_activity
from hapi.runner.config.options import RunnerOptions
from hapi.runner.control.announcements import Verdict
from hapi.runner.control.guard import CallerForbidden, PeerInfo
from hapi.runner.control.peer_credentials import SocketOwners
from hapi.runner.sessions import Sessions
from hapi.runner.spawn.agents import AgentAvailability
from hapi.runner.storage.counters import Counters
from hapi.runner.storage.journal import RecordEvent
from hapi.runner.storage.timers import ScheduledCalls


@define(eq=False)
class RunnerApi:
    """`_leave(actor)` ends the runner a moment later; `_tell` gives its status."""

    _sessions: Sessions
    counters: Counters
    after: ScheduledCalls
    _processes: IProcesses
    _record_event: RecordEvent
    _tell: Callable[[], Mapping[str, Any]]
    _leave: Callable[[str], object]
    _holders: SocketOwners = field(factory=SocketOwners)
    log = Logger()

    @property
    def options(self) -> RunnerOptions:
        return self._sessions.options

    @property
    def availability(self) -> AgentAvailability:
        return self._sessions.availability

    def status(self) -> Mapping[str, Any]:
        return self._tell()

    def list(self) -> list[ListedSession]:
        children = self._sessions.children
        self._sessions.reports.refresh(child for child in children if child.is_live)
        return children.listed()

    async def announce(self, message: SessionStarted, peer: PeerInfo) -> Verdict:
        return await self._sessions.announcements.receive(message, peer)

    async def spawn(
        self, request: SpawnRequest, asked_by: str, within: float | None = None
    ) -> SpawnResult:
        return await self._sessions.spawn(request, asked_by, within)

    async def stop_session(self, name: str, actor: str) -> str:
        method = "hub" if actor == "hub" else "control"
        return await self._sessions.stop(
            name, reason="Stopped by runner", actor=actor, method=method
        )

    def stop_soon(self, actor: str) -> None:
        """Leave a moment after the answer is out."""
        self.log.info("Leaving: asked by {actor}", actor=actor)
        self._record_event("stop-runner-asked", actor=actor)
        self.after(0.1 if actor == "hub" else 0.05, lambda: self._leave(actor))

    # --- draining and reviving

    def work(self) -> dict[str, Any]:
        """What runs, and whether more is accepted."""
        live = self._sessions.children.live()
        self._sessions.reports.refresh(live)
        return summarize_activity(
            live, self._sessions.spawner.pending, self._sessions.admission.draining is None
        )

    def drain(self, actor: str, keep: bool = True) -> dict[str, Any]:
        """Start no more sessions until `resume`, or without `keep` until our end at the latest; those that run go on."""
        if self._sessions.drain.begin(actor, keep):
            self._record_event("drain", actor=actor)
        return self.work()

    def resume(self, actor: str) -> dict[str, Any]:
        if self._sessions.drain.resume():
            self._record_event("resume", actor=actor)
        return self.work()

    def interrupted(self) -> Any:
        return [one.told() for one in self._sessions.reviver.offered()]

    async def revive(self, session_id: str, actor: str) -> SpawnResult:
        return await self._sessions.reviver.revive(session_id, actor)

    # --- who asks

    def describe_caller(self, peer: PeerInfo) -> str:
        """Who calls, for the record: the pid where the kernel tells it, and the session it belongs to.

        Raises CallerForbidden for what runs in a session, where the settings say so (`sessionsMayControl`).
        """
        caller = peer.caller
        if caller is None:
            return "control: somebody unknown"
        pid = caller.pid or self._holders.find(caller.inode)
        if pid is None:
            return f"control: uid {caller.uid}"
        identity = self._processes.identify(pid)
        child = self._sessions.children.find_by_process(identity) if identity is not None else None
        child = child or self._sessions.children.find_by_environment(
            self._processes.environment(pid)
        )
        if child is None:
            return f"control: pid {pid}"
        if self.options.settings.get("sessionsMayControl") is False:
            self._record_event("control-refused", child.ids, actor=f"control: pid {pid}")
            raise CallerForbidden(
                "sessions may not control this runner (sessionsMayControl in settings.json)"
            )
        return f"control: pid {pid}, session {child.session_id}"
