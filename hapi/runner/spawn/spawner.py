"""From a request to a running session: join the session or the start that exists, else check
and launch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.process import IProcesses, LaunchFailed
from hapi.protocol.agents import DEFAULT_AGENT
from hapi.protocol.spawn import (
    NeedsDirectory,
    RefusalCode,
    SpawnRefused,
    SpawnRequest,
    SpawnResult,
)
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.attempts.stall import describe_disconnection, is_disconnected
from hapi.runner.config.options import RunnerOptions
from hapi.runner.spawn.agent_availability import AgentAvailability
from hapi.runner.spawn.checks import Start, StartChecks
from hapi.runner.spawn.reactor_pacing import Pacer, Unpaced
from hapi.runner.spawn.start_request import PreparedStart, StartRequest
from hapi.runner.storage.disk import Disk, SynchronousDisk
from hapi.runner.storage.journal import RecordEvent, discard_event
from hapi.runner.workspace.worktrees import Worktrees

CANCELLED = "Session was stopped while it was being started"
STILL_STARTING = SpawnRefused(
    "The session is still being started; it is listed as soon as it runs",
    RefusalCode.STILL_STARTING,
)


@define
class Spawner:
    """Starts sessions, each of them once however many callers ask for it."""

    _clock: IReactorTime
    _processes: IProcesses
    _children: ChildRegistry
    _worktrees: Worktrees
    checks: StartChecks
    _on_failed: Callable[[SpawnRefused, Child | None], object]  # what the hub shows as an error
    _on_started: Callable[[Child], object]
    record_event: RecordEvent = discard_event
    _now: Callable[[], float] = time.time
    _disk: Disk = field(factory=SynchronousDisk)
    _pacer: Pacer = field(factory=Unpaced)
    pending: int = 0  # starts that are not over yet
    _starts: dict[str, Start] = field(factory=dict)  # by session id
    log = Logger()

    def reconfigure(self, options: RunnerOptions, availability: AgentAvailability) -> None:
        """Use these for every start that has no slot yet."""
        self.checks.options, self.checks.availability = options, availability

    @property
    def closed_reason(self) -> str | None:
        """Why no session is started any more; None while sessions are started.

        While it is set, starts that have no process yet are refused with it.
        """
        return self.checks.closed_reason

    @closed_reason.setter
    def closed_reason(self, reason: str | None) -> None:
        self.checks.closed_reason = reason

    def is_starting(self, session_id: str) -> bool:
        """Whether a process of that session is about to be started."""
        return session_id in self._starts

    def cancel(self, session_id: str) -> bool:
        """Cancel the start of that session if it has no process yet. False when there is none."""
        start = self._starts.get(session_id)
        if start is None:
            return False
        start.cancelled = CANCELLED
        start.answer.fire(SpawnRefused(CANCELLED))
        self.checks.admission.process_queue()
        return True

    async def spawn_within(
        self, seconds: float, request: SpawnRequest, asked_by: str
    ) -> SpawnResult:
        """As `spawn`, for a caller that waits at most `seconds`; the start goes on without it."""
        answer = Deferred.fromCoroutine(self.spawn(request, asked_by))
        try:
            return await answer.addTimeout(seconds, self._clock)
        except TimeoutError:
            return STILL_STARTING

    async def spawn(self, wanted: SpawnRequest, asked_by: str) -> SpawnResult:
        """Start a session, or join the start or the life of the session that is asked for.

        A caller that gives up cancels nothing. `asked_by` is `hub`, or for control callers
        `control` and what is known of them.
        """
        start = Start(self._resolve(wanted, asked_by))
        refusal = await self.checks.refuse_outside_roots(start)
        if refusal is not None:
            self._record_refusal(start.request, refusal)
            return refusal
        session_id = start.request.session_id
        running = self.checks.find_running(session_id)
        if running is not None and not self._children.termination.is_ending(running):
            report = running.folder.report
            if running.outcome.has_fired and is_disconnected(report, self._now()):
                return SpawnRefused(
                    f"The session runs on this machine (pid {running.pid}) but is "
                    f"{describe_disconnection(report)}. It follows the hub and the token of its "
                    "runner within seconds; `hapi runner status` on that machine tells more"
                )
            return await running.outcome.when_fired()
        if session_id is not None and session_id in self._starts:
            return await self._starts[session_id].answer.when_fired()
        self._begin(start)
        return await start.answer.when_fired()

    def _resolve(self, wanted: SpawnRequest, asked_by: str) -> StartRequest:
        options = self.checks.options
        if wanted.agent is None:
            named = options.settings.get("defaultAgent")
            agent = named if isinstance(named, str) and named else DEFAULT_AGENT
            wanted = msgspec.structs.replace(wanted, agent=agent)
        directory = os.path.abspath(os.path.expanduser(wanted.directory))
        return self.checks.resolved(StartRequest(wanted, asked_by, directory, options))

    # --- one start

    def _begin(self, start: Start) -> None:
        session_id = start.request.session_id
        if session_id is not None:
            self._starts[session_id] = start
            start.answer.when_fired().addBoth(lambda _: self._forget(session_id, start))
        self.pending += 1
        running = Deferred.fromCoroutine(self._run(start))
        running.addErrback(self._crashed).addCallback(self._finish, start)

    async def _run(self, start: Start) -> SpawnResult:
        """The whole of one start: every check in its order, then the launch."""
        try:
            for check in self.checks.in_order():
                if (answer := await check(start)) is not None:
                    return answer
            return await self._launch(start)
        finally:
            if start.slot is not None:
                start.slot.release()
            if start.reserved is not None:
                self._worktrees.settled(start.reserved)

    def _crashed(self, reason: Failure) -> SpawnResult:
        self.log.failure("A spawn failed", reason)
        return SpawnRefused(f"Failed to spawn session: {reason.getErrorMessage()}")

    def _finish(self, result: SpawnResult, start: Start) -> None:
        self._record_refusal(start.request, result)
        if isinstance(result, SpawnRefused) and result.code == RefusalCode.AGENT_UNAVAILABLE:
            self._on_failed(result, None)
        self.pending -= 1
        start.answer.fire(result)

    def _forget(self, session_id: str, start: Start) -> None:
        if self._starts.get(session_id) is start:
            del self._starts[session_id]

    def _record_refusal(self, request: StartRequest, result: SpawnResult) -> None:
        match result:
            case SpawnRefused(message, code):
                reason = message
            case NeedsDirectory():
                reason, code = "the directory is missing and its creation was not allowed", None
            case _:
                return
        self.record_event(
            "spawn-refused",
            reason=reason,
            code=code,
            session=request.session_id,
            actor=request.asked_by,
            agent=request.wanted.flavor,
            directory=request.directory,
        )

    # --- the launch

    async def _launch(self, start: Start) -> SpawnResult:
        try:
            prepared = await self._disk.do(partial(start.request.prepare, self._now()))
        except OSError as error:
            return SpawnRefused(f"Failed to spawn session: its folder cannot be made: {error}")
        await self._pacer.take()  # a launch blocks for milliseconds: others are answered between
        refusal = await self._add_worktree(start)
        if refusal is not None:
            await self._disk.do(prepared.discard)
            return refusal
        child = self._children.create(prepared.spec)
        self.record_event(
            "spawn",
            child.ids,
            actor=start.request.asked_by,
            agent=child.spec.agent,
            directory=child.spec.directory,
        )
        if start.slot is not None:
            start.slot.release()  # from here on the child counts by itself
        await self._start_process(child, prepared)
        result = await child.outcome.when_fired()
        if isinstance(result, SpawnRefused):
            self._on_failed(result, child)
        else:
            self._on_started(child)
        return result

    async def _add_worktree(self, start: Start) -> SpawnResult | None:
        """Make the chosen worktree, which the attempt's folder names already."""
        chosen = start.reserved
        if chosen is not None and (refusal := await self._worktrees.add(chosen)) is not None:
            return refusal
        cancelled = await self.checks.refuse_cancelled(start)
        if cancelled is not None and chosen is not None:
            await self._worktrees.remove(chosen)
        return cancelled

    async def _start_process(self, child: Child, prepared: PreparedStart) -> None:
        request = prepared.request
        try:
            with request.options.roots.pinned(request.cwd, request.repository) as directory:
                launched = await self._processes.launch(prepared.launch_plan(directory))
        except (LaunchFailed, OSError) as error:
            child.life.launch_failed(f"cwd={request.cwd}; {error}")
            await self._children.launch_failed(child)
        else:
            self._children.launched(child, launched.child, launched.holder)
            self._children.watch(child)
