"""From a request to a running session: the checks of runner.md §6.3 in their order, the launch, one answer for all who ask."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.one_shot import OneShotObserver
from hapi.process import IProcesses, LaunchFailed, LaunchPlan
from hapi.protocol.agents import DEFAULT_AGENT
from hapi.protocol.spawn import (
    NeedsDirectory,
    RefusalCode,
    SpawnRefused,
    SpawnRequest,
    SpawnResult,
    Worktree,
)
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.config.options import RunnerOptions
from hapi.runner.spawn.admission import Admission, Slot
from hapi.runner.spawn.agents import AgentAvailability
from hapi.runner.spawn.preparation import Prepared
from hapi.runner.storage.disk import Disk, SynchronousDisk
from hapi.runner.storage.journal import RecordEvent, discard_event
from hapi.runner.workspace.directories import prepare_directory
from hapi.runner.workspace.worktrees import Worktrees

ENDS_WITHIN = 10.0  # seconds a session that is being ended may take, its agent included
OUTSIDE = SpawnRefused(
    "Directory is outside this machine's workspace roots", RefusalCode.OUTSIDE_WORKSPACE_ROOTS
)
WORKTREE_OUTSIDE = SpawnRefused(
    "The worktree's repository, or the place beside it, is outside this machine's workspace roots",
    RefusalCode.OUTSIDE_WORKSPACE_ROOTS,
)
STOPPED = "Session was stopped while it was being started"
STILL_STARTING = SpawnRefused(
    "The session is still being started; it is listed as soon as it runs",
    RefusalCode.STILL_STARTING,
)


@define(eq=False)
class Start:
    """One that has not been answered yet."""

    answer: OneShotObserver[SpawnResult] = field(factory=OneShotObserver)
    unwanted: str | None = None  # why nothing is to come of it any more


@define
class Spawner:
    """`failed` hears of starts that did not come to a session, `succeeded` of those that did."""

    _clock: IReactorTime
    _options: RunnerOptions
    _processes: IProcesses
    _children: ChildRegistry
    _worktrees: Worktrees
    _availability: AgentAvailability
    failed: Callable[[SpawnRefused, Child | None], object]
    succeeded: Callable[[Child], object]
    admission: Admission | None = None  # None: everybody is let in
    record_event: RecordEvent = discard_event
    closed_reason: str | None = None  # why nothing is started any more
    pending: int = 0  # starts that have not been answered
    _now: Callable[[], float] = time.time
    _disk: Disk = field(factory=SynchronousDisk)
    _starting: dict[str, Start] = field(factory=dict)  # session id → its start
    log = Logger()

    def reconfigure(self, options: RunnerOptions, availability: AgentAvailability) -> None:
        """What starts from now on gets these."""
        self._options, self._availability = options, availability

    def is_starting(self, session_id: str) -> bool:
        """Whether somebody is about to go on with that session."""
        return session_id in self._starting

    def cancel(self, session_id: str) -> bool:
        """Nothing comes of a start of that session that has no process yet; False when there is none such."""
        start = self._starting.get(session_id)
        if start is None:
            return False
        start.unwanted = STOPPED
        start.answer.fire(SpawnRefused(STOPPED))
        if self.admission is not None:
            self.admission.process_queue()
        return True

    async def spawn_within(
        self, seconds: float, request: SpawnRequest, asked_by: str
    ) -> SpawnResult:
        """As `spawn`, for a caller who waits no longer than `seconds`: the start goes on without him."""
        try:
            return await Deferred.fromCoroutine(self.spawn(request, asked_by)).addTimeout(
                seconds, self._clock
            )
        except TimeoutError:
            return STILL_STARTING

    async def spawn(self, request: SpawnRequest, asked_by: str) -> SpawnResult:
        """Start a session, or join the start or the life of the one that is asked for. A caller that gives up cancels nothing.

        `asked_by` says who: `hub`, or for control callers `control` and what is known of them.
        """
        if request.agent is None:
            request = msgspec.structs.replace(request, agent=self._default_agent())
        directory = os.path.abspath(os.path.expanduser(request.directory))
        key = request.requested_id
        if not self._options.roots.hold(directory) and self._worktree_of(key, directory) is None:
            self._tell(request, directory, asked_by, OUTSIDE)
            return OUTSIDE
        if key is None:
            return await self._begin(request, directory, asked_by).answer.when_fired()
        if (living := self._living(key)) is not None and not _is_ending(living):
            return await living.when_answered()
        if key not in self._starting:
            self._starting[key] = start = self._begin(request, directory, asked_by)
            start.answer.when_fired().addBoth(lambda _: self._forget(key, start))
            return await start.answer.when_fired()
        return await self._starting[key].answer.when_fired()

    def _forget(self, key: str, start: Start) -> None:
        if self._starting.get(key) is start:
            del self._starting[key]

    def _living(self, key: str) -> Child | None:
        living = self._children.find_live(key)
        return None if living is None or living.state == "refused" else living

    async def _last_one_gone(self, key: str | None) -> bool:
        """Whether the session's last process is: its next one must not meet it."""
        while key is not None and (living := self._living(key)) is not None and _is_ending(living):
            if not await self._gone(living):
                return False
        return True

    async def _gone(self, child: Child) -> bool:
        """Wait for the end of one that is being ended."""
        try:
            await child.gone.when_fired().addTimeout(ENDS_WITHIN, self._clock)
        except TimeoutError:
            return False
        return True

    def _default_agent(self) -> str:
        named = self._options.settings.get("defaultAgent")
        return named if isinstance(named, str) and named else DEFAULT_AGENT

    def _begin(self, request: SpawnRequest, directory: str, asked_by: str) -> Start:
        start = Start()
        self.pending += 1
        starting = Deferred.fromCoroutine(self._start(start, request, directory, asked_by))
        starting.addErrback(self._broke).addCallback(self._told, request, directory, asked_by)
        starting.addCallback(self._begun, start.answer)
        return start

    def _told(
        self, result: SpawnResult, request: SpawnRequest, directory: str, asked_by: str
    ) -> SpawnResult:
        self._tell(request, directory, asked_by, result)
        return result

    def _tell(
        self, request: SpawnRequest, directory: str, asked_by: str, result: SpawnResult
    ) -> None:
        facts: dict[str, Any] = {
            "session": request.requested_id,
            "actor": asked_by,
            "agent": request.flavor,
        }
        facts["directory"] = directory
        match result:
            case SpawnRefused(message, code):
                self.record_event("spawn-refused", reason=message, code=code, **facts)
            case NeedsDirectory():
                self.record_event(
                    "spawn-refused",
                    reason="the directory is missing, and making it was not allowed",
                    **facts,
                )

    def _begun(self, result: SpawnResult, answer: OneShotObserver[SpawnResult]) -> None:
        self.pending -= 1
        answer.fire(result)

    def _broke(self, reason: Failure) -> SpawnResult:
        self.log.failure("A spawn failed", reason)
        return SpawnRefused(f"Failed to spawn session: {reason.getErrorMessage()}")

    def _hindrance(self, start: Start) -> SpawnRefused | None:
        """What came up while the start waited for something."""
        reason = start.unwanted or self.closed_reason
        return SpawnRefused(reason) if reason is not None else None

    async def _start(
        self, start: Start, request: SpawnRequest, directory: str, asked_by: str
    ) -> SpawnResult:
        if self.closed_reason is not None:
            return SpawnRefused(self.closed_reason)
        if not await self._last_one_gone(request.requested_id):
            return SpawnRefused(
                f"The process of this session is being ended and still runs after {ENDS_WITHIN:.0f} s"
            )
        refusal = self._availability.refusal(request.flavor)
        if refusal is not None:
            self.failed(refusal, None)
            return refusal
        place = (
            await self.admission.admit(lambda: start.unwanted is None)
            if self.admission is not None
            else None
        )
        if isinstance(place, SpawnRefused):
            return place
        try:
            return await self._start_in(place, start, request, directory, asked_by)
        finally:
            if place is not None:
                place.release()

    async def _start_in(
        self,
        place: Slot | None,
        start: Start,
        request: SpawnRequest,
        directory: str,
        asked_by: str,
    ) -> SpawnResult:
        if (hindrance := self._hindrance(start)) is not None:
            return hindrance
        prepared = self._prepare(request, directory)
        if prepared is not None:
            return prepared
        if request.session_type != "worktree" or request.flavor == "cursor":
            linked = request.session_type == "worktree" and await self._worktrees.is_linked(
                directory
            )
            return await self._launch(start, request, directory, None, linked, asked_by, place)
        worktree = await self._worktrees.choose(directory, request.worktree_name)
        if isinstance(worktree, SpawnRefused):
            return worktree
        try:
            if not self._options.roots.hold_worktree(worktree.base_path, worktree.path):
                return WORKTREE_OUTSIDE
            return await self._launch(start, request, directory, worktree, False, asked_by, place)
        finally:
            self._worktrees.settled(worktree)

    def _prepare(self, request: SpawnRequest, directory: str) -> SpawnResult | None:
        roots = self._options.roots
        if self._worktree_of(request.requested_id, directory) is not None:
            return None
        if not roots.standing(directory):
            return (
                OUTSIDE
                if not roots.hold(directory)
                else SpawnRefused(f"The workspace root of {directory} is not there")
            )
        if request.session_type == "worktree":
            if not os.path.isdir(directory):
                missing = (
                    "Worktree sessions require an existing Git repository. Directory not found"
                )
                return SpawnRefused(f"{missing}: {directory}")
        else:
            prepared = prepare_directory(directory, request.create_directory)
            if isinstance(prepared, NeedsDirectory | SpawnRefused):
                return prepared
        return None if roots.hold(directory) else OUTSIDE

    async def _launch(
        self,
        start: Start,
        request: SpawnRequest,
        directory: str,
        worktree: Worktree | None,
        linked: bool,
        asked_by: str,
        place: Slot | None,
    ) -> SpawnResult:
        cwd = worktree.path if worktree else directory
        earlier = self._worktree_of(request.requested_id, cwd) if worktree is None else None
        prepared = Prepared(
            request,
            self._options,
            cwd,
            asked_by,
            self._now(),
            linked,
            worktree or earlier,
            goes_on=earlier is not None,
        )
        try:
            folder = await self._disk.do(prepared.open_folder)
        except OSError as error:
            return SpawnRefused(f"Failed to spawn session: its folder cannot be made: {error}")
        refused = (
            await self._worktrees.add(worktree) if worktree is not None else None
        )  # its folder tells of it already
        hindrance = self._hindrance(start)
        if refused is None and hindrance is not None and worktree is not None:
            await self._worktrees.remove(worktree)
        if (refused := refused or hindrance) is not None:
            await self._disk.do(folder.remove)
            return refused
        child = prepared.child(folder, self._clock, self.lease_expired)
        environment = prepared.environment(child)
        self._children.add(child)
        self.record_event("spawn", child.ids, actor=asked_by, agent=child.agent, directory=cwd)
        if place is not None:
            place.release()
        try:
            with self._options.roots.pinned(cwd, prepared.top) as pinned:
                plan = LaunchPlan(
                    prepared.argv, pinned, environment, folder, self._options.session_limits
                )
                launched = await self._processes.launch(plan)
        except (LaunchFailed, OSError) as error:
            child.life.not_launched(f"cwd={cwd}; {error}")
            await self._came_to_nothing(child)
        else:
            child.identity, child.holder = launched.child, launched.holder
            self._children.add(child)
            child.life.launched(launched.child)
            child.launching.fire(True)
            self._children.watch(child)
        result = await child.when_answered()
        if isinstance(result, SpawnRefused):
            self.failed(result, child)
        else:
            self.succeeded(child)
        return result

    async def _came_to_nothing(self, child: Child) -> None:
        """There is no process; of one that was there all the same, and was ended, it is told how."""
        process = child.folder.process
        if process is None:
            await self._children.launch_failed(child)
            return
        child.identity, child.holder = process.child, process.holder
        self._children.add(child)
        child.launching.fire(True)
        await self._children.process_vanished(child)

    def _worktree_of(self, session_id: str | None, path: str) -> Worktree | None:
        """The worktree at `path` that we made for an earlier process of this session: it goes on there."""
        earlier = self._children.find_all(session_id) if session_id is not None else []
        found = next(
            (
                one.worktree
                for one in earlier
                if one.worktree is not None and one.worktree.path == path
            ),
            None,
        )
        is_there = (
            found is not None
            and os.path.isdir(path)
            and self._options.roots.hold_worktree(found.base_path, path)
        )
        return found if is_there else None

    def lease_expired(self, child: Child) -> None:
        self.log.warn(
            "Process {pid} announced no session in time", pid=child.pid, attempt=child.attempt
        )
        ending = Deferred.fromCoroutine(
            self._children.terminate(
                child, reason="start lease over", actor="runner", method="lease"
            )
        )
        ending.addErrback(
            lambda reason: self.log.failure(
                "Ending {attempt} failed", reason, attempt=child.attempt
            )
        )


def _is_ending(child: Child) -> bool:
    return child.stopping is not None or child.folder.stop is not None
