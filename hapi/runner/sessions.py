"""Everything a runner has for its sessions, put together: registry, admission, spawner,
announcements, revival."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.attempts import remove_partial_attempts
from hapi.pictures import remove_expired_pictures
from hapi.process import IProcesses
from hapi.process.git import Git
from hapi.protocol.control import StopStatus
from hapi.protocol.spawn import SpawnRefused, SpawnRequest, SpawnResult
from hapi.runner.attempts.adoption import Adoption
from hapi.runner.attempts.child import RUNNER_LEAVES, Child
from hapi.runner.attempts.registry import ChildRegistry, SessionAnnounced, SessionEnded
from hapi.runner.attempts.reports import ReportMonitor
from hapi.runner.attempts.stall import StallThresholds
from hapi.runner.config.options import RunnerOptions
from hapi.runner.control.announcements import Announcements
from hapi.runner.spawn.admission import Admission
from hapi.runner.spawn.agent_availability import AgentAvailability
from hapi.runner.spawn.checks import StartChecks, is_findable
from hapi.runner.spawn.drain import Drain
from hapi.runner.spawn.memory_relief import MemoryRelief
from hapi.runner.spawn.reactor_pacing import pacer_for
from hapi.runner.spawn.revive import Reviver
from hapi.runner.spawn.spawner import Spawner
from hapi.runner.storage.counters import Counters
from hapi.runner.storage.disk import disk_for, ignore_write_error
from hapi.runner.storage.journal import RecordEvent, read_journal
from hapi.runner.storage.timers import ScheduledCalls
from hapi.runner.workspace.worktrees import Worktrees
from hapi.units import plural
from hapi.uploads import remove_unused, unused_uploads, uploads_directory

BEING_REPLACED = "The runner is being replaced by a newer build; try again in a moment"
QUIESCE_DELAY = 5.0  # seconds for which new starts are accepted while earlier ones finish
QUIESCE_POLL_INTERVAL = 0.01  # seconds


class Sessions:
    """The sessions of one runner. `on_start_failed` and `on_started` are called as the Spawner
    says, `on_write_error` when the disk has refused something, `on_agents_changed` when
    `settings.json` has changed. `why_not_findable` is that of
    StartChecks."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        options: RunnerOptions,
        processes: IProcesses,
        now: Callable[[], float],
        record_event: RecordEvent,
        call_later: ScheduledCalls,
        counters: Counters,
        on_start_failed: Callable[[SpawnRefused, Child | None], object],
        on_started: Callable[[Child], object],
        on_write_error: Callable[[], object] = ignore_write_error,
        why_not_findable: Callable[[], Awaitable[str | None]] = is_findable,
        on_agents_changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.options, self._on_agents_changed = options, on_agents_changed
        self.availability = AgentAvailability.of(options, on_agents_changed)
        self._processes, self._now, self._record_event = processes, now, record_event
        self._clock, self._counters = reactor, counters
        self.disk = disk_for(reactor, on_write_error)
        worktrees = Worktrees(Git(reactor, options.environ))
        self.children = ChildRegistry(
            reactor,
            processes,
            worktrees,
            now,
            record_event,
            StallThresholds.read(options.settings),
            disk=self.disk,
            recorded_ends=lambda: read_journal(options.home).has_end_of,
        )
        self.reports = ReportMonitor(reactor, call_later, self._became_ready, self.disk)
        relief = MemoryRelief(reactor, self._reported, now)
        self.admission = Admission(
            reactor,
            options.limits,
            lambda: len(self.children.live()),
            call_later,
            relieve=relief.ask,
        )
        self.drain = Drain(options.home, self.admission, now, on_write_error)
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
            processes,
            self.children,
            worktrees,
            StartChecks(
                reactor,
                options,
                self.availability,
                self.admission,
                self.children,
                worktrees,
                why_not_findable,
            ),
            on_start_failed,
            on_started,
            record_event,
            now=now,
            disk=self.disk,
            pacer=pacer_for(reactor),
        )
        self.reviver = Reviver(self.children, self.spawn, call_later, now, record_event)
        self.children.subscribe(SessionAnnounced, lambda event: self.reports.follow(event.child))
        self.children.subscribe(SessionEnded, lambda event: self.admission.process_queue())

    def _reported(self) -> list[Child]:
        """The live sessions, with the reports that they have written by now."""
        live = self.children.live()
        self.reports.refresh(live)
        return live

    def _became_ready(self, child: Child) -> None:
        if not child.is_adopted:
            self._record_event("ready", child.ids)

    def reconfigure(self, options: RunnerOptions) -> None:
        """Use these options for what starts from now on."""
        self.options = options
        self.availability = AgentAvailability.of(options, self._on_agents_changed)
        self.spawner.reconfigure(options, self.availability)

    async def spawn(
        self, request: SpawnRequest, asked_by: str, within: float | None = None
    ) -> SpawnResult:
        """Start a session. A caller that waits at most `within` seconds is told when the start
        takes longer; the start then goes on."""
        if within is None:
            return self._counters.spawned(await self.spawner.spawn(request, asked_by))
        result = await self.spawner.spawn_within(within, request, asked_by)
        return self._counters.spawned(result)

    async def stop(self, name: str, *, reason: str, actor: str, method: str) -> StopStatus:
        """End the session of that name, and cancel its start if it has no process yet."""
        if self.spawner.cancel(name) and self.children.find_live(name) is None:
            return "stopped"
        return await self.children.stop(name, reason=reason, actor=actor, method=method)

    def recover(self) -> None:
        """At the start: remove half-written attempts, restore draining, adopt the sessions."""
        remove_partial_attempts(self.options.home)
        self.drain.restore()
        self.adopt()
        self._remove_unused_uploads()
        remove_expired_pictures(self.options.home)

    def _remove_unused_uploads(self) -> None:
        """Remove the uploads of sessions that ended while no runner was there."""
        home = self.options.home
        live = {uploads_directory(home, child.session_id or "") for child in self.children.live()}
        for directory in unused_uploads(home):
            if directory not in live:
                remove_unused(directory)

    def adopt(self) -> None:
        """Take attempts into the registry that it does not know yet."""
        options = self.options
        adoption = Adoption(
            options.home,
            self._processes,
            self.children,
            options.announce_timeout,
            options.start_timeout,
            self._now,
            self._record_event,
        )
        if count := adoption.run():
            self.log.info("Adopted {sessions}", sessions=plural(count, "live session"), count=count)

    def resynchronize(self) -> None:
        """Take in what another runner of this home started or received during a hand-off."""
        self.adopt()
        for child in self.children.live():
            session = child.folder.session if child.session_id is None else None
            if session is not None and child.identity is not None:
                host = self._processes.identify(session.host_pid) if session.host_pid else None
                self.children.record_session(child, session.session_id, host or child.identity)
                child.life.announced(session.session_id)

    async def quiesce(self) -> None:
        """Finish the starts that have begun, and refuse new ones as soon as that takes long."""
        closed_at = self._clock.seconds() + QUIESCE_DELAY
        while self.spawner.pending and self.spawner.closed_reason != RUNNER_LEAVES:
            if self._clock.seconds() > closed_at:
                self.spawner.closed_reason = BEING_REPLACED
                self.admission.refuse_all(SpawnRefused(BEING_REPLACED))
            await deferLater(self._clock, QUIESCE_POLL_INTERVAL)
        if self.spawner.closed_reason is None:
            self.spawner.closed_reason = BEING_REPLACED

    def resume(self) -> None:
        """Accept starts again, unless closed, and adopt what another runner started."""
        if self.spawner.closed_reason == RUNNER_LEAVES:
            return
        self.spawner.closed_reason = None
        self.resynchronize()

    def close(self) -> None:
        """Start no more sessions. Those that run go on."""
        self.spawner.closed_reason = RUNNER_LEAVES
        self.admission.refuse_all(SpawnRefused(RUNNER_LEAVES))
