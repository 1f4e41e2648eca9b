"""Everything a runner has for its sessions, put together: who lives, who may start, who waits, who comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from hapi.attempts import remove_partial_attempts
from hapi.process import IProcesses
from hapi.protocol.control import StopStatus
from hapi.protocol.spawn import SpawnRefused, SpawnRequest, SpawnResult
from hapi.runner.attempts.adoption import Adoption
from hapi.runner.attempts.child import LEFT, Child
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.attempts.reports import ReportMonitor
from hapi.runner.attempts.stall import StallThresholds
from hapi.runner.config.options import RunnerOptions
from hapi.runner.control.announcements import Announcements
from hapi.runner.spawn.admission import Admission
from hapi.runner.spawn.agents import AgentAvailability
from hapi.runner.spawn.drain import Drain
from hapi.runner.spawn.revive import Reviver
from hapi.runner.spawn.spawner import Spawner
from hapi.runner.storage.counters import Counters
from hapi.runner.storage.disk import disk_for
from hapi.runner.storage.journal import RecordEvent
from hapi.runner.storage.timers import ScheduledCalls
from hapi.runner.workspace.git import Git
from hapi.runner.workspace.worktrees import Worktrees


class Sessions:
    """`failed` and `succeeded` hear of starts, as the Spawner says."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        options: RunnerOptions,
        processes: IProcesses,
        now: Callable[[], float],
        record_event: RecordEvent,
        after: ScheduledCalls,
        counters: Counters,
        failed: Callable[[SpawnRefused, Child | None], object],
        succeeded: Callable[[Child], object],
    ) -> None:
        self.disk = disk_for(reactor)
        self.options, self.availability, self._tally = (
            options,
            AgentAvailability.of(options),
            counters,
        )
        self._clock, self._processes, self._now, self._record_event = (
            reactor,
            processes,
            now,
            record_event,
        )
        worktrees = Worktrees(Git(reactor, options.environ))
        self.children = ChildRegistry(
            reactor,
            processes,
            worktrees,
            now,
            record_event,
            StallThresholds.read(options.settings),
            disk=self.disk,
        )
        self.reports = ReportMonitor(
            reactor,
            after,
            lambda child: child.adopted or record_event("ready", child.ids),
            self.disk,
        )
        self.admission = Admission(
            reactor, options.limits, lambda: len(self.children.live()), after
        )
        self.drain = Drain(options.home, self.admission, now)
        self.children.on_reported = self.reports.follow
        self.children.on_ended = self._ended
        self.on_ended: Callable[[Child], object] = lambda child: None
        self.announcements = Announcements(
            reactor,
            options.home,
            processes,
            self.children,
            now=now,
            record_event=record_event,
            disk=self.disk,
        )
        self.spawner = Spawner(
            reactor,
            options,
            processes,
            self.children,
            worktrees,
            self.availability,
            failed,
            succeeded,
            self.admission,
            record_event,
            now=now,
            disk=self.disk,
        )
        self.reviver = Reviver(self.children, self.spawn, after, now, record_event)

    def _ended(self, child: Child) -> None:
        self.admission.process_queue()
        self.on_ended(child)

    def reconfigure(self, options: RunnerOptions) -> None:
        """What starts from now on gets these."""
        self.options, self.availability = options, AgentAvailability.of(options)
        self.spawner.reconfigure(options, self.availability)

    async def spawn(
        self, request: SpawnRequest, asked_by: str, within: float | None = None
    ) -> SpawnResult:
        """`within` so many seconds, if given, the caller wants to know at least that it takes longer."""
        if within is not None:
            return self._tally.spawned(await self.spawner.spawn_within(within, request, asked_by))
        return self._tally.spawned(await self.spawner.spawn(request, asked_by))

    async def stop(self, name: str, *, reason: str, actor: str, method: str) -> StopStatus:
        """End the session of that name; a start of it that has no process yet comes to nothing."""
        if self.spawner.cancel(name) and self.children.find_live(name) is None:
            return "stopped"
        return await self.children.stop(name, reason=reason, actor=actor, method=method)

    def recover(self) -> None:
        """Start-up: away with what half-done writes left, and everything that lives is ours again."""
        remove_partial_attempts(self.options.home)
        self.drain.restore()
        self.adopt()

    def adopt(self) -> None:
        """Make children of what the folders tell of and we do not know."""
        us, options = self._processes.identify(os.getpid()), self.options
        adoption = Adoption(
            self._clock,
            options.home,
            self._processes,
            self.children,
            us.boot_id if us is not None else "",
            self.spawner.lease_expired,
            options.announce_within,
            self._now,
            options.start_within,
            self._record_event,
        )
        if count := adoption.run():
            self.log.info("{count} live sessions taken over", count=count)

    def resynchronize(self) -> None:
        """What another runner of this home began or heard is ours to know."""
        self.adopt()
        for child in self.children.live():
            session = child.folder.session if child.session_id is None else None
            if session is not None and child.identity is not None:
                host = self._processes.identify(session.host_pid) if session.host_pid else None
                self.children.record_session(child, session.session_id, host or child.identity)
                child.life.announced(session.session_id)

    def close(self) -> None:
        """Start nothing more. Those that live go on."""
        self.spawner.closed_reason = LEFT
        self.admission.refuse_all(SpawnRefused(LEFT))
