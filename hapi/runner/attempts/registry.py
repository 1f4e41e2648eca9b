"""The sessions of this machine: found by any of their names, watched until they end, ended on
request."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, FailureGroup, race
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.attempts import ATTEMPT_VARIABLE
from hapi.deferreds import run_in_background
from hapi.process import Exit, IProcesses, ProcessIdentity
from hapi.protocol.attempt import AttemptEnd
from hapi.protocol.control import ListedSession, StopStatus
from hapi.runner.attempts.child import Child, ChildSpec
from hapi.runner.attempts.stall import StallThresholds, describe_activity, stall_reason
from hapi.runner.attempts.start_lease import last_sign_of_life
from hapi.runner.attempts.termination import ChildTermination
from hapi.runner.storage.disk import Disk, SynchronousDisk, flush
from hapi.runner.storage.journal import RecordEvent, discard_event
from hapi.runner.workspace.worktrees import Worktrees
from hapi.uploads import remove_unused, uploads_directory

HOLDER_REPORT_TIMEOUT = 1.0  # seconds for the holder to write the end after the process is gone
LISTING_TTL = 0.25  # seconds for which a listing that did not change is used again
START_TIMED_OUT = "Start timed out"  # the archive reason of a start that took too long


@frozen
class SessionAnnounced:
    """A session announced itself."""

    child: Child


@frozen
class SessionEnded:
    """The process of a session is gone; its end is on the disk."""

    child: Child


RegistryEvent = SessionAnnounced | SessionEnded
E = TypeVar("E", SessionAnnounced, SessionEnded)


@define
class ChildRegistry:
    """Maps names to Child objects; what is known of a session is on its Child."""

    _clock: IReactorTime
    _processes: IProcesses
    _worktrees: Worktrees
    _now: Callable[[], float]  # epoch seconds
    record_event: RecordEvent = discard_event
    thresholds: StallThresholds = field(factory=StallThresholds)
    disk: Disk = field(factory=SynchronousDisk)
    # () → whether the journal has the end of (attempt, epoch seconds)
    _recorded_ends: Callable[[], Callable[[str, float], bool]] = field(
        default=lambda: lambda attempt, ended_at: False
    )
    termination: ChildTermination = field(init=False)
    # Ends that were seen while another runner of this home records ends (during a hand-off).
    deferred_ends: list[Child] | None = None
    _listeners: list[tuple[type, Callable[[Any], object]]] = field(factory=list)
    _by_attempt: dict[str, Child] = field(factory=dict)
    _by_name: dict[str, dict[str, Child]] = field(factory=dict)  # session id → attempt → child
    _by_pid: dict[int, Child] = field(factory=dict)
    _watches: dict[str, Deferred[None]] = field(factory=dict)  # attempt → the wait for its end
    _listing: list[ListedSession] | None = None  # as long as nothing has changed
    _listed_at: float = 0.0
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.termination = ChildTermination(
            self._clock,
            self._processes,
            self.disk,
            self._now,
            lambda event, ids=None, **facts: self.record_event(event, ids, **facts),
        )

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_attempt.values()))

    def live(self) -> list[Child]:
        """The sessions that may have a process, the oldest first."""
        return [child for child in self._by_attempt.values() if child.is_live]

    # --- events

    def subscribe(self, event_type: type[E], listener: Callable[[E], object]) -> None:
        """Call `listener` with every event of that type from now on."""
        self._listeners.append((event_type, listener))

    def _publish(self, event: RegistryEvent) -> None:
        for event_type, listener in self._listeners:
            if isinstance(event, event_type):
                listener(event)

    # --- entries

    def create(self, spec: ChildSpec) -> Child:
        """A new child, known from now on by its attempt and its requested id."""
        child = Child(spec, self._clock, self._start_timed_out, self._listing_changed)
        self._by_attempt[child.attempt] = child
        if spec.requested_id:
            self._add_name(child, spec.requested_id)
        self._listing_changed()
        return child

    def launched(
        self, child: Child, identity: ProcessIdentity, holder: ProcessIdentity | None = None
    ) -> None:
        """Its process runs: the start lease begins, and the process leads to the child."""
        self._add_process(child, identity, holder)
        child.life.launched(identity)
        child.launching.fire(True)

    def _add_process(
        self, child: Child, identity: ProcessIdentity, holder: ProcessIdentity | None
    ) -> None:
        child.identity, child.holder = identity, holder
        for known in filter(None, (identity, holder)):
            self._by_pid[known.pid] = child

    def forget(self, child: Child) -> None:
        """Drop a child whose folder was removed."""
        self._by_attempt.pop(child.attempt, None)
        self._watches.pop(child.attempt, None)
        self._listing_changed()
        for name in filter(None, (child.spec.requested_id, *child.session_ids)):
            named = self._by_name.get(name, {})
            named.pop(child.attempt, None)
            if not named:
                self._by_name.pop(name, None)
        for pid in [pid for pid, other in self._by_pid.items() if other is child]:
            del self._by_pid[pid]

    def _add_name(self, child: Child, name: str) -> None:
        self._by_name.setdefault(name, {})[child.attempt] = child

    # --- look-ups

    def find_attempt(self, attempt: str) -> Child | None:
        """The child of that attempt."""
        return self._by_attempt.get(attempt)

    def find_all(self, name: str) -> list[Child]:
        """The children with that session id, announced or requested, or with the pid of
        `PID-<n>`; the newest first."""
        if name.startswith("PID-") and name[4:].isdecimal() and len(name) < 16:
            child = self._by_pid.get(int(name[4:]))
            return [] if child is None or child.pid != int(name[4:]) else [child]
        named = self._by_name.get(name, {}).values()
        return sorted(named, key=lambda child: child.attempt, reverse=True)

    def find_live(self, name: str) -> Child | None:
        """The newest live child of that name."""
        return next((child for child in self.find_all(name) if child.is_live), None)

    def find_by_process(self, identity: ProcessIdentity) -> Child | None:
        """The child that has this very process, not another that was given the same pid."""
        child = self._by_pid.get(identity.pid)
        if child is None or identity not in (child.identity, child.holder, child.host):
            return None
        return child

    def find_by_environment(self, environment: Mapping[str, str] | None) -> Child | None:
        """The live child below which a process with this environment was started: whatever a
        session starts inherits the mark of its attempt."""
        mark = (environment or {}).get(ATTEMPT_VARIABLE)
        return next((child for child in self.live() if child.attempt == mark), None)

    # --- announcements

    def record_session(self, child: Child, session_id: str, host: ProcessIdentity) -> None:
        """The process `host` announced the session under this id."""
        child.session_id, child.host = session_id, host
        child.session_ids.add(session_id)
        self._add_name(child, session_id)
        self._by_pid[host.pid] = child
        self._publish(SessionAnnounced(child))

    def record_further_session(self, child: Child, session_id: str, archived: bool) -> None:
        """A process with several sessions began or archived one of them."""
        if archived and session_id != child.session_id:
            child.session_ids.discard(session_id)
            self._by_name.get(session_id, {}).pop(child.attempt, None)
        elif not archived:
            child.session_ids.add(session_id)
            self._add_name(child, session_id)

    # --- the listing

    def activity(self, child: Child) -> dict[str, Any]:
        """What the session is doing, and since when."""
        in_turn = child.report is not None and child.report.turn_since is not None
        sign = last_sign_of_life(child.folder) if in_turn else None  # read only where it decides
        stall = stall_reason(child.report, sign, self._now(), self.thresholds)
        return describe_activity(child.report, stall)

    def listed(self) -> list[ListedSession]:
        """Live sessions that announced themselves or may have, the oldest first. The very same
        list as long as nothing of it has changed."""
        now = self._now()
        if self._listing is None or not 0 <= now - self._listed_at < LISTING_TTL:
            listing = [self._describe(child) for child in self.live() if _is_listed(child)]
            self._listing, self._listed_at = listing, now
        return self._listing

    def _describe(self, child: Child) -> ListedSession:
        return ListedSession(
            started_by=child.spec.started_by,
            happy_session_id=child.session_id or f"PID-{child.pid}",
            pid=child.pid or 0,
            attempt=child.attempt,
            agent=child.spec.agent,
            directory=child.spec.directory,
            state=child.state,
            started_at=int(child.spec.started_at * 1000),
            unverified=child.is_unverified,
            activity=self.activity(child),
        )

    def _listing_changed(self) -> None:
        self._listing = None

    # --- ends

    def watch(self, child: Child) -> None:
        """Notice the end of its process, whoever its parent is."""
        if child.identity is not None:
            watching = Deferred.fromCoroutine(self._watch(child, child.identity))
            watching.addErrback(self._watch_failed, child)
            self._watches[child.attempt] = watching

    def unwatched(self) -> list[Child]:
        """Live children whose end would not be noticed, because watching them has failed."""
        return [child for child in self.live() if not self._is_watched(child)]

    def _is_watched(self, child: Child) -> bool:
        watching = self._watches.get(child.attempt)
        return watching is not None and not watching.called

    def _watch_failed(self, reason: Failure, child: Child) -> None:
        if reason.check(CancelledError) is None:
            self.log.failure("Watching process {pid} failed", reason, pid=child.pid)

    def detach(self) -> None:
        """Stop watching; the sessions go on."""
        watches, self._watches = self._watches, {}
        for watching in watches.values():
            watching.cancel()
        for child in self:
            child.life.runner_left()

    async def _watch(self, child: Child, identity: ProcessIdentity) -> None:
        seen = await self._processes.when_exited(identity)
        await self._save_end(child, await self._reported_exit(child, seen))

    async def _reported_exit(self, child: Child, seen: Exit) -> Exit:
        """The exit that the holder writes a moment after the process is gone, else `seen`."""
        end = child.folder.end
        if end is None and child.holder is not None:
            try:
                await race(
                    [
                        self._processes.when_exited(child.holder),
                        deferLater(self._clock, HOLDER_REPORT_TIMEOUT),
                    ]
                )
            except (CancelledError, FailureGroup):
                # This runner leaves. The holder still writes the end, and the next runner reads it.
                raise CancelledError from None
            except Exception:
                self.log.failure(
                    "Waiting for the holder of {attempt} failed", attempt=child.attempt
                )
            end = child.folder.end
        return seen if end is None else Exit(end.exit_code, end.signal)

    async def process_vanished(self, child: Child) -> None:
        """Its process was found gone, and no descriptor had reported its end."""
        await self._save_end(child, await self._reported_exit(child, Exit(None, None)))

    async def launch_failed(self, child: Child) -> None:
        """There is no process. One that was there after all has been ended by the launcher."""
        process = child.folder.process
        if process is None:
            child.launching.fire(False)
            await self._save_end(child, Exit(None, None))
            return
        self._add_process(child, process.child, process.holder)
        child.launching.fire(True)
        await self.process_vanished(child)

    async def _save_end(self, child: Child, how: Exit) -> None:
        """Write the end to the disk, then publish it."""
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
        """Take in an end that is on the disk. A second report of it changes nothing.

        `is_news` is false for an end that an earlier runner saw: it is in log and journal already.
        """
        if child.exit is not None:
            return
        if is_news:
            self._log_end(child, how)
            if self.deferred_ends is None:
                self.record_end(child, how)
            else:
                self.deferred_ends.append(child)
        child.life.exited(how)
        self._publish(SessionEnded(child))
        message = "Cleaning up after {attempt} failed"
        run_in_background(self._clean_up(child), self.log, message, attempt=child.attempt)

    def _log_end(self, child: Child, how: Exit) -> None:
        self.log.info(
            "Process {pid} of session {session_id} ended{how}",
            pid=child.pid,
            session_id=child.session_id or child.spec.requested_id or child.attempt,
            how=_describe_exit(how),
        )

    async def quiesce(self) -> None:
        """Write everything out. From here on another runner of this home records the ends."""
        await flush(self.disk)
        if self.deferred_ends is None:
            self.deferred_ends = []

    def resume(self) -> None:
        """Record the ends that were seen since `quiesce` and are not in the journal."""
        deferred, self.deferred_ends = self.deferred_ends, None
        if not deferred:
            return
        is_recorded = self._recorded_ends()
        for child in deferred:
            end = child.folder.end
            if end is not None and is_recorded(child.attempt, end.at):
                continue
            if child.exit is not None:
                self.record_end(child, child.exit)

    def record_end(self, child: Child, how: Exit) -> None:
        """Write the end into the journal, once for each attempt."""
        order = child.folder.stop
        self.record_event(
            "ended",
            child.ids,
            exitCode=how.exit_code,
            signal=how.signal,
            reason=None if order is None else order.reason,
        )

    async def _clean_up(self, child: Child) -> None:
        """Remove what was made for a session that is over."""
        spec = child.spec
        if (private := spec.private_directory) is not None:
            await self.disk.do(lambda: shutil.rmtree(private, ignore_errors=True))
        session_id = child.session_id
        if session_id is not None and self.find_live(session_id) is None:
            # A session removes them itself, unless it was killed.
            uploads = uploads_directory(child.folder.home, session_id)
            await self.disk.do(lambda: remove_unused(uploads))
        if spec.worktree is not None and not spec.keeps_worktree and child.state == "refused":
            await self._worktrees.remove(spec.worktree)

    # --- what a disk did not take

    @property
    def write_error(self) -> str | None:
        """Why something that is known of a session is not on the disk; None if everything is."""
        unsaved = (child.folder for child in self._by_attempt.values() if child.folder.unsaved)
        return next((folder.write_error for folder in unsaved), None)

    async def retry_writes(self) -> None:
        """Write the announcements, orders and ends that the disk refused."""
        for child in self:
            if child.folder.unsaved:
                try:
                    await self.disk.do(child.folder.retry_writes)
                except OSError as error:
                    self.log.debug(
                        "Not all records of {attempt} are saved yet: {reason}",
                        attempt=child.attempt,
                        reason=child.folder.write_error or str(error),
                    )
                else:
                    self.log.info("All records of {attempt} are saved now", attempt=child.attempt)

    # --- stops

    async def stop(self, name: str, *, reason: str, actor: str, method: str) -> StopStatus:
        """End the session of that name. Only tracked processes are ever signalled, and no session
        is called gone without proof."""
        child = self.find_live(name)
        if child is not None:
            return await self.termination.terminate(
                child, reason=reason, actor=actor, method=method
            )
        has_ended = any(not child.is_live for child in self.find_all(name))
        return "already_gone" if has_ended else "still_alive"

    def _start_timed_out(self, child: Child) -> None:
        self.log.warn(
            "Process {pid} did not announce a session in time", pid=child.pid, attempt=child.attempt
        )
        self.termination.terminate_in_background(child, START_TIMED_OUT, "runner", "lease")


def _is_listed(child: Child) -> bool:
    is_known = child.session_id is not None and child.state != "refused"
    return is_known or child.state == "unknown"


def _describe_exit(how: Exit) -> str:
    if how.signal is not None:
        return f" by {how.signal}"
    return "" if how.exit_code is None else f" with exit code {how.exit_code}"
