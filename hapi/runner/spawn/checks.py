"""The checks that every start passes, one method each, in the order of protocol/runner.md §6.3."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import attrs
from attrs import define, field
from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime

from hapi.confined_directory import PathNotAllowed
from hapi.one_shot import OneShotObserver
from hapi.protocol.spawn import RefusalCode, SpawnRefused, SpawnResult, Worktree
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.config.options import RunnerOptions
from hapi.runner.spawn.admission import Admission, Slot
from hapi.runner.spawn.agent_availability import AgentAvailability
from hapi.runner.spawn.start_request import StartRequest
from hapi.runner.workspace.directories import prepare_directory
from hapi.runner.workspace.worktrees import Worktrees

TERMINATION_TIMEOUT = 10.0  # seconds for the end of a session that is being stopped, agent included
OUTSIDE_ROOTS = SpawnRefused(
    "Directory is outside this machine's workspace roots", RefusalCode.OUTSIDE_WORKSPACE_ROOTS
)
WORKTREE_OUTSIDE_ROOTS = SpawnRefused(
    "The repository of the worktree, or the place beside it, is outside this machine's workspace "
    "roots",
    RefusalCode.OUTSIDE_WORKSPACE_ROOTS,
)


@define(eq=False, repr=False)
class Start:
    """A start that has not been answered yet, and what it holds meanwhile."""

    request: StartRequest  # replaced by an evolved copy when a check has learned more
    answer: OneShotObserver[SpawnResult] = field(factory=OneShotObserver)
    cancelled: str | None = None  # why the start was cancelled
    slot: Slot | None = None
    reserved: Worktree | None = None  # whose path no other start may choose


async def is_findable() -> str | None:
    """Sessions find this runner."""
    return None


Check = Callable[[Start], Awaitable[SpawnResult | None]]


@define
class StartChecks:
    """Each check returns None, or the answer that ends the start."""

    _clock: IReactorTime
    options: RunnerOptions
    availability: AgentAvailability
    admission: Admission
    _children: ChildRegistry
    _worktrees: Worktrees
    # Why a session could not announce itself to this runner; None if it could.
    _why_not_findable: Callable[[], Awaitable[str | None]] = is_findable
    closed_reason: str | None = None  # why this runner starts no more sessions

    def in_order(self) -> tuple[Check, ...]:
        """All checks between the request and the launch."""
        return (
            self.refuse_when_closed,
            self.refuse_while_previous_process_runs,
            self.refuse_unavailable_agent,
            self.refuse_unknown_mode,
            self.refuse_without_slot,
            self.refuse_cancelled,
            self.refuse_when_sessions_cannot_find_this_runner,
            self.refuse_unmounted_root,
            self.refuse_unusable_directory,
            self.refuse_outside_roots,
            self.refuse_without_worktree,
            self.refuse_worktree_outside_roots,
        )

    async def refuse_when_closed(self, start: Start) -> SpawnResult | None:
        """The runner leaves or hands over."""
        return None if self.closed_reason is None else SpawnRefused(self.closed_reason)

    async def refuse_while_previous_process_runs(self, start: Start) -> SpawnResult | None:
        """The session's last process is being ended: its next one must not meet it."""
        session_id = start.request.session_id
        while (child := self.find_running(session_id)) is not None:
            if not self._children.termination.is_ending(child):
                break
            try:
                await child.gone.when_fired().addTimeout(TERMINATION_TIMEOUT, self._clock)
            except TimeoutError:
                return SpawnRefused(
                    "The process of this session is being ended and still runs after "
                    f"{TERMINATION_TIMEOUT:.0f} s"
                )
        return None

    async def refuse_unavailable_agent(self, start: Start) -> SpawnResult | None:
        """The agent is not installed or not configured."""
        return self.availability.refusal(start.request.wanted.flavor)

    async def refuse_unknown_mode(self, start: Start) -> SpawnResult | None:
        """The agent has no such permission mode. A session that goes on may do so in another one:
        its mode may come from an earlier version of the agent."""
        wanted = start.request.wanted
        if not self.options.uses_own_sessions or wanted.resume_session_id:
            return None
        return self.availability.mode_refusal(wanted.flavor, wanted.permission_mode)

    async def refuse_without_slot(self, start: Start) -> SpawnResult | None:
        """The machine is full, or drained. A start that gets its slot goes on with the options
        of that moment."""
        answer = await self.admission.admit(lambda: start.cancelled is None)
        if isinstance(answer, SpawnRefused):
            return answer
        start.slot = answer
        start.request = self.resolved(start.request)
        return None

    async def refuse_cancelled(self, start: Start) -> SpawnResult | None:
        """The start was stopped, or the runner was closed, while the start waited."""
        reason = start.cancelled or self.closed_reason
        return None if reason is None else SpawnRefused(reason)

    async def refuse_when_sessions_cannot_find_this_runner(
        self, start: Start
    ) -> SpawnResult | None:
        """A session finds the runner that it announces itself to by `runner.state.json`."""
        reason = await self._why_not_findable()
        if reason is None:
            return None
        return SpawnRefused(f"The session could not announce itself to this runner: {reason}")

    async def refuse_unmounted_root(self, start: Start) -> SpawnResult | None:
        """The workspace root does not exist: it may be unmounted while the runner runs."""
        request = start.request
        if request.keeps_worktree or request.options.roots.is_mounted(request.directory):
            return None
        if not request.options.roots.contains(request.directory):
            return OUTSIDE_ROOTS
        return SpawnRefused(
            f"The workspace root that contains {request.directory} does not exist; is it mounted?"
        )

    async def refuse_unusable_directory(self, start: Start) -> SpawnResult | None:
        """The directory is missing, cannot be made, or is not a directory."""
        request = start.request
        if request.keeps_worktree:
            return None
        if request.wanted.session_type != "worktree":
            roots = request.options.roots
            makedirs = roots.confined.makedirs if roots.given else os.makedirs
            try:
                return prepare_directory(
                    request.directory, request.wanted.create_directory, makedirs
                )
            except PathNotAllowed:  # a link has taken the place of a directory
                return OUTSIDE_ROOTS
        if not os.path.isdir(request.directory):
            return SpawnRefused(
                "Worktree sessions require an existing Git repository. Directory not found: "
                f"{request.directory}"
            )
        return None

    async def refuse_outside_roots(self, start: Start) -> SpawnResult | None:
        """The directory lies outside the workspace roots; it may have been replaced meanwhile."""
        request = start.request
        is_inside = request.keeps_worktree or request.options.roots.contains(request.directory)
        return None if is_inside else OUTSIDE_ROOTS

    async def refuse_without_worktree(self, start: Start) -> SpawnResult | None:
        """A worktree was asked for, and none can be chosen. Cursor makes its own."""
        request = start.request
        if request.wanted.session_type != "worktree":
            return None
        if request.wanted.flavor == "cursor":
            is_linked = await self._worktrees.is_linked(request.directory)
            start.request = attrs.evolve(request, in_linked_worktree=is_linked)
            return None
        chosen = await self._worktrees.choose(request.directory, request.wanted.worktree_name)
        if isinstance(chosen, SpawnRefused):
            return chosen
        start.reserved = chosen
        start.request = attrs.evolve(request, worktree=chosen, keeps_worktree=False)
        return None

    async def refuse_worktree_outside_roots(self, start: Start) -> SpawnResult | None:
        """The repository, or the place of its worktrees, lies outside the workspace roots."""
        chosen, roots = start.reserved, start.request.options.roots
        if chosen is None or roots.contains_worktree(chosen.base_path, chosen.path):
            return None
        return WORKTREE_OUTSIDE_ROOTS

    # --- what the checks ask

    def find_running(self, session_id: str | None) -> Child | None:
        """The live process of that session; one whose start was refused does not count."""
        child = None if session_id is None else self._children.find_live(session_id)
        return None if child is None or child.state == "refused" else child

    def resolved(self, request: StartRequest) -> StartRequest:
        """The request with the options of now, and with the worktree in which an earlier process
        of the session ran, if `directory` is that worktree."""
        worktree = self._earlier_worktree(request)
        return attrs.evolve(
            request,
            options=self.options,
            worktree=worktree,
            keeps_worktree=worktree is not None,
        )

    def _earlier_worktree(self, request: StartRequest) -> Worktree | None:
        session_id, path = request.session_id, request.directory
        earlier = self._children.find_all(session_id) if session_id is not None else []
        worktrees = (child.spec.worktree for child in earlier)
        found = next((tree for tree in worktrees if tree is not None and tree.path == path), None)
        if found is None or not os.path.isdir(path):
            return None
        is_inside = self.options.roots.contains_worktree(found.base_path, path)
        return found if is_inside else None
