"""All sessions of this machine that we know: found by any of their names, watched until they end, stopped on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, FailureGroup, TimeoutError, race
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.attempts import ATTEMPT_VARIABLE
from hapi.one_shot import OneShotObserver
from hapi.process import Exit, IProcesses, ProcessIdentity
from hapi.protocol.attempt import AttemptEnd, StopOrder
from hapi.protocol.control import ListedSession, StopStatus
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.holders import check_holder
from hapi.runner.attempts.stall import StallThresholds, activity, stuck
from hapi.runner.attempts.start_lease import last_sign
from hapi.runner.storage.disk import Disk, SynchronousDisk
from hapi.runner.storage.journal import RecordEvent, discard_event
from hapi.runner.workspace.worktrees import Worktrees

REPORT_WITHIN = 1.0  # seconds the holder has to write the end after the process is gone
CONFIRM_WITHIN = 5.0  # seconds for a stopped process's end to be recorded
FRESH = 0.25  # seconds for which it is not asked again whether a session is stuck
PATIENCE = 2.0  # seconds between SIGTERM and SIGKILL


@define
class ChildRegistry:
    """Maps from names to Child objects and nothing else; what is known of a child is on the child."""

    _clock: IReactorTime
    _processes: IProcesses
    _worktrees: Worktrees
    _now: Any  # () -> epoch seconds
    record_event: RecordEvent = discard_event
    thresholds: StallThresholds = field(factory=StallThresholds)
    disk: Disk = field(factory=SynchronousDisk)
    on_ended: Callable[[Child], object] = field(default=lambda child: None)
    on_reported: Callable[[Child], object] = field(
        default=lambda child: None
    )  # it has announced itself
    deferred_ends: list[Child] | None = (
        None  # ends seen while another runner of this home is to tell them (a hand-off)
    )
    _by_attempt: dict[str, Child] = field(factory=dict)
    _by_name: dict[str, dict[str, Child]] = field(factory=dict)  # session id → attempt → child
    _by_pid: dict[int, Child] = field(factory=dict)
    _listing: list[ListedSession] | None = None  # as long as nothing has changed
    _listed_at: float = 0.0
    log = Logger()

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_attempt.values()))

    def live(self) -> list[Child]:
        return [child for child in self._by_attempt.values() if child.is_live]

    def find_attempt(self, attempt: str) -> Child | None:
        return self._by_attempt.get(attempt)

    # --- names

    def add(self, child: Child) -> None:
        self._by_attempt[child.attempt] = child
        child.changed = self._changed
        self._changed()
        for name in filter(None, (child.requested_id, *child.session_ids)):
            self._call(child, name)
        for identity in filter(None, (child.identity, child.holder, child.host)):
            self._by_pid[identity.pid] = child

    def forget(self, child: Child) -> None:
        """Its folder is gone."""
        self._by_attempt.pop(child.attempt, None)
        self._changed()
        for name in filter(None, (child.requested_id, *child.session_ids)):
            named = self._by_name.get(name, {})
            named.pop(child.attempt, None)
            if not named:
                self._by_name.pop(name, None)
        for pid in [pid for pid, other in self._by_pid.items() if other is child]:
            del self._by_pid[pid]

    def _changed(self) -> None:
        self._listing = None

    def _call(self, child: Child, name: str) -> None:
        self._by_name.setdefault(name, {})[child.attempt] = child

    def find_all(self, name: str) -> list[Child]:
        """Those with this session id, reported or requested, or with the pid of `PID-<n>`; the newest first."""
        if name.startswith("PID-") and name[4:].isdecimal() and len(name) < 16:
            child = self._by_pid.get(int(name[4:]))
            return [] if child is None or child.pid != int(name[4:]) else [child]
        return sorted(
            self._by_name.get(name, {}).values(), key=lambda child: child.attempt, reverse=True
        )

    def find_live(self, name: str) -> Child | None:
        return next((child for child in self.find_all(name) if child.is_live), None)

    def find_by_process(self, identity: ProcessIdentity) -> Child | None:
        """The child whose process this is: the very same one, not another that was given its pid."""
        child = self._by_pid.get(identity.pid)
        return (
            child
            if child is not None and identity in (child.identity, child.holder, child.host)
            else None
        )

    def find_by_environment(self, environment: Mapping[str, str] | None) -> Child | None:
        """The child below which a process with this environment was started: the mark goes on to whatever a session starts."""
        mark = (environment or {}).get(ATTEMPT_VARIABLE)
        return next((child for child in self.live() if child.attempt == mark), None)

    def record_session(self, child: Child, session_id: str, host: ProcessIdentity) -> None:
        """It announced itself under `session_id`."""
        child.session_id, child.host = session_id, host
        child.session_ids.add(session_id)
        self._call(child, session_id)
        self._by_pid[host.pid] = child
        self.on_reported(child)

    def record_further_session(self, child: Child, session_id: str, archived: bool) -> None:
        """A process with several sessions began or archived one of them."""
        if archived and session_id != child.session_id:
            child.session_ids.discard(session_id)
            self._by_name.get(session_id, {}).pop(child.attempt, None)
        elif not archived:
            child.session_ids.add(session_id)
            self._call(child, session_id)

    def activity(self, child: Child) -> dict[str, Any]:
        in_turn = child.report is not None and child.report.turn_since is not None
        sign = last_sign(child.folder) if in_turn else None  # asked for only where it decides
        return activity(child.report, stuck(child.report, sign, self._now(), self.thresholds))

    def listed(self) -> list[ListedSession]:
        """Live sessions that have reported or may have, oldest first. The very same list while nothing of it has changed."""
        now = self._now()
        if self._listing is None or not 0 <= now - self._listed_at < FRESH:
            self._listing, self._listed_at = self._list(), now
        return self._listing

    def _list(self) -> list[ListedSession]:
        return [
            ListedSession(
                started_by=child.started_by,
                happy_session_id=child.session_id or f"PID-{child.pid}",
                pid=child.pid or 0,
                attempt=child.attempt,
                agent=child.agent,
                directory=child.directory,
                state=child.state,
                started_at=int(child.started_at * 1000),
                unverified=child.unverified,
                activity=self.activity(child),
            )
            for child in self._by_attempt.values()
            if child.is_live
            and (
                child.state == "unknown"
                or (child.session_id is not None and child.state != "refused")
            )
        ]

    # --- ends

    def watch(self, child: Child) -> None:
        """Notice the end of its process, whoever its parent is."""
        if child.identity is not None:
            child.watching = Deferred.fromCoroutine(self._watch(child, child.identity))
            child.watching.addErrback(self._watch_failed, child)

    def _watch_failed(self, reason: Failure, child: Child) -> None:
        if reason.check(CancelledError) is None:
            self.log.failure("Watching process {pid} failed", reason, pid=child.pid)

    def detach(self) -> None:
        """We stop looking; the sessions go on."""
        for child in self:
            if child.watching is not None:
                child.watching.cancel()
            child.life.left()

    async def _watch(self, child: Child, identity: ProcessIdentity) -> None:
        seen = await self._processes.when_exited(identity)
        await self._over(child, await self._told_by_holder(child, seen))

    async def _told_by_holder(self, child: Child, seen: Exit) -> Exit:
        """The exit code or signal that the holder writes a moment after the process is gone; without one what the kernel said."""
        end = child.folder.end
        if end is None and child.holder is not None:
            try:
                await race(
                    [
                        self._processes.when_exited(child.holder),
                        deferLater(self._clock, REPORT_WITHIN),
                    ]
                )
            except (
                CancelledError,
                FailureGroup,
            ):  # we leave: the holder goes on to write it, and the next runner reads it
                raise CancelledError from None
            except Exception:
                self.log.failure(
                    "Waiting for the holder of {attempt} failed", attempt=child.attempt
                )
            end = child.folder.end
        return seen if end is None else Exit(end.exit_code, end.signal)

    async def process_vanished(self, child: Child) -> None:
        """Somebody found its process gone, and no descriptor told us."""
        await self._over(child, await self._told_by_holder(child, Exit(None, None)))

    async def launch_failed(self, child: Child) -> None:
        """Its process could not be started: the attempt is over."""
        child.launching.fire(False)
        await self._over(child, Exit(None, None))

    async def _over(self, child: Child, how: Exit) -> None:
        """It has ended: that is on the disk before anybody hears of it."""
        if child.exit is None and child.folder.end is None:
            try:
                await self.disk.do(lambda: self._write_end(child, how))
            except OSError as error:
                self.log.error(
                    "The end of {attempt} was not saved: {reason}",
                    attempt=child.attempt,
                    reason=str(error),
                )
        self.mark_ended(child, how)

    def _write_end(self, child: Child, how: Exit) -> None:
        if child.folder.end is None:
            child.folder.end = AttemptEnd(how.exit_code, how.signal, self._now())

    def mark_ended(self, child: Child, how: Exit, is_news: bool = True) -> None:
        """Take in an end that is written down. A second report of it changes nothing."""
        if child.exit is not None:
            return
        if is_news:
            name = child.session_id or child.requested_id or child.attempt
            self.log.info(
                "Process {pid} of session {session_id} ended{how}",
                pid=child.pid,
                session_id=name,
                how=_in_words(how),
            )
        if is_news and self.deferred_ends is not None:
            self.deferred_ends.append(child)
        elif is_news:
            self.record_end(child, how)
        child.life.exited(how)
        self.on_ended(child)
        cleaning = Deferred.fromCoroutine(self._clean(child))
        cleaning.addErrback(
            lambda reason: self.log.failure(
                "Cleaning up after {attempt} failed", reason, attempt=child.attempt
            )
        )

    def record_deferred_ends(self, tells: Callable[[str, float], bool]) -> None:
        """We are the one to tell of ends again: those that came meanwhile, unless the journal `tells` (attempt, time) them."""
        deferred_ends, self.deferred_ends = self.deferred_ends, None
        for child in deferred_ends or ():
            end = child.folder.end
            if child.exit is not None and not (end is not None and tells(child.attempt, end.at)):
                self.record_end(child, child.exit)

    def record_end(self, child: Child, how: Exit) -> None:
        """Into the journal, once for each attempt."""
        self.record_event(
            "ended", child.ids, exitCode=how.exit_code, signal=how.signal, reason=self._why(child)
        )

    @staticmethod
    def _why(child: Child) -> str | None:
        order = child.folder.stop
        return None if order is None else order.reason

    async def _clean(self, child: Child) -> None:
        if child.cleanup is not None:
            child.cleanup()
        if child.worktree is not None and not child.keeps_worktree and child.state == "refused":
            await self._worktrees.remove(child.worktree)

    # --- what a disk did not take

    @property
    def trouble(self) -> str | None:
        """Why something that is known of a session is not on the disk; None if all is."""
        return next(
            (
                child.folder.write_error
                for child in self._by_attempt.values()
                if child.folder.unsaved
            ),
            None,
        )

    async def retry_writes(self) -> None:
        """Write what the disk refused: announcements, orders, ends."""
        for child in self:
            if child.folder.unsaved:
                try:
                    await self.disk.do(child.folder.retry_writes)
                except OSError as error:
                    reason = child.folder.write_error or str(error)
                    self.log.debug(
                        "Of {attempt} not all is saved yet: {reason}",
                        attempt=child.attempt,
                        reason=reason,
                    )
                else:
                    self.log.info("What is known of {attempt} is saved now", attempt=child.attempt)

    # --- stops

    async def stop(self, name: str, *, reason: str, actor: str, method: str) -> StopStatus:
        """End the session of that name. Only what we track is ever signalled, and nothing is called gone without proof."""
        child = self.find_live(name)
        if child is not None:
            return await self.terminate(child, reason=reason, actor=actor, method=method)
        return (
            "already_gone"
            if any(not child.is_live for child in self.find_all(name))
            else "still_alive"
        )

    async def terminate(
        self, child: Child, *, reason: str, actor: str, method: str, is_news: bool = True
    ) -> StopStatus:
        """End the whole tree of `child`; callers that come meanwhile are answered together."""
        stopping = child.stopping
        if stopping is None:
            stopping = child.stopping = OneShotObserver()
            ending = Deferred.fromCoroutine(
                self._end(child, StopOrder(reason, actor, method, self._now()), is_news)
            )
            ending.addErrback(self._could_not_end, child).addCallback(self._stopped, child)
        return await stopping.when_fired()

    def _stopped(self, status: StopStatus, child: Child) -> None:
        waiting, child.stopping = child.stopping, None  # a survivor may be tried again
        if waiting is not None:
            waiting.fire(status)

    def _could_not_end(self, reason: Any, child: Child) -> StopStatus:
        self.log.failure("Ending {attempt} failed", reason, attempt=child.attempt)
        return "still_alive"

    async def _end(self, child: Child, order: StopOrder, is_news: bool) -> StopStatus:
        await self._write_down(child, order)
        if is_news:
            self.record_event("stop-asked", child.ids, reason=order.reason, actor=order.actor)
        child.life.stop_asked()
        if child.identity is None:
            await child.launching.when_fired()
        if child.identity is None:
            return "stopped"
        check_holder(self._processes, child, self.record_event if is_news else discard_event)
        status: StopStatus = await self._processes.end_tree(child.identity, child.attempt, PATIENCE)
        if status != "still_alive":
            try:
                await child.gone.when_fired().addTimeout(CONFIRM_WITHIN, self._clock)
            except TimeoutError:
                self.log.warn("Process {pid} is gone, but nobody reported its end", pid=child.pid)
        if status == "still_alive":
            self.record_event("still-alive", child.ids, actor=order.actor)
        told = (
            f"{status}, as far as it can be seen without its holder"
            if child.holder_lost
            else status
        )
        self.log.info(
            "Session {session_id}: {status}",
            session_id=child.session_id or child.attempt,
            status=told,
        )
        return status

    async def _write_down(self, child: Child, order: StopOrder) -> None:
        """The reason is on the disk before the first signal, and the first reason stands. A full disk keeps no session alive."""
        try:
            await self.disk.do(lambda: self._write_stop(child, order))
        except OSError as error:
            self.log.error(
                "The reason to stop {attempt} was not saved: {reason}",
                attempt=child.attempt,
                reason=str(error),
            )

    @staticmethod
    def _write_stop(child: Child, order: StopOrder) -> None:
        if child.folder.stop is None:
            child.folder.stop = order


def _in_words(how: Exit) -> str:
    if how.signal is not None:
        return f" by {how.signal}"
    return "" if how.exit_code is None else f" with exit code {how.exit_code}"
