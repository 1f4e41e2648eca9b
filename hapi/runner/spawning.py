"""From a request to a running session: the checks of runner.md §6.3 in their order, the launch, one answer for all who ask."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.attempts import AttemptFolder
from hapi.once import Once
from hapi.process import IProcesses, LaunchFailed, LaunchPlan
from hapi.protocol.attempt import AttemptRequest
from hapi.protocol.spawn import (
    DEFAULT_AGENT,
    NeedsDirectory,
    SpawnRefused,
    SpawnRequest,
    SpawnResult,
    Worktree,
    argv_for,
    environment_for,
)
from hapi.runner.admission import Admission, Place
from hapi.runner.availability import Availability
from hapi.runner.child import Child
from hapi.runner.children import Children
from hapi.runner.directories import prepare_directory
from hapi.runner.disk import AtOnce, Disk
from hapi.runner.journal import Note, unnoted
from hapi.runner.options import RunnerOptions
from hapi.runner.worktrees import Worktrees

ENDS_WITHIN = 10.0  # seconds a session that is being ended may take, its agent included
OUTSIDE = SpawnRefused("Directory is outside this machine's workspace roots", "outside_workspace_roots")


@define
class Spawner:
    """`failed` hears of starts that did not come to a session, `succeeded` of those that did."""

    _clock: IReactorTime
    _options: RunnerOptions
    _processes: IProcesses
    _children: Children
    _worktrees: Worktrees
    _availability: Availability
    failed: Callable[[SpawnRefused, Child | None], object]
    succeeded: Callable[[Child], object]
    admission: Admission | None = None  # None: everybody is let in
    note: Note = unnoted
    closed: str | None = None  # why nothing is started any more
    under_way: int = 0  # starts that have not been answered
    _now: Callable[[], float] = time.time
    _disk: Disk = field(factory=AtOnce)
    _starting: dict[str, Once[SpawnResult]] = field(factory=dict)
    log = Logger()

    def use(self, options: RunnerOptions, availability: Availability) -> None:
        """What starts from now on gets these."""
        self._options, self._availability = options, availability

    def is_starting(self, session_id: str) -> bool:
        """Whether somebody is about to go on with that session."""
        return session_id in self._starting

    async def spawn(self, request: SpawnRequest, asked_by: str) -> SpawnResult:
        """Start a session, or join the start or the life of the one that is asked for. A caller that gives up cancels nothing.

        `asked_by` says who: `hub`, or for control callers `control` and what is known of them.
        """
        if request.agent is None:
            request = msgspec.structs.replace(request, agent=self._default_agent())
        directory = os.path.abspath(os.path.expanduser(request.directory))
        if not self._options.roots.hold(directory):
            self._tell(request, directory, asked_by, OUTSIDE)
            return OUTSIDE
        key = request.requested_id
        if key is None:
            return await self._begin(request, directory, asked_by).when()
        while (living := self._children.living(key)) is not None and living.state != "refused":
            if living.stopping is None and living.folder.stop is None:
                return await living.when_answered()
            if not await self._gone(living):
                return SpawnRefused(f"The process of this session is being ended and still runs after {ENDS_WITHIN:.0f} s")
        if key not in self._starting:
            self._starting[key] = once = self._begin(request, directory, asked_by)
            once.when().addBoth(lambda _: self._starting.pop(key, None))
            return await once.when()
        return await self._starting[key].when()

    async def _gone(self, child: Child) -> bool:
        """Wait for the end of one that is being ended: the session's next process must not meet the last one."""
        try:
            await child.gone.when().addTimeout(ENDS_WITHIN, self._clock)
        except TimeoutError:
            return False
        return True

    def _default_agent(self) -> str:
        named = self._options.settings.get("defaultAgent")
        return named if isinstance(named, str) and named else DEFAULT_AGENT

    def _begin(self, request: SpawnRequest, directory: str, asked_by: str) -> Once[SpawnResult]:
        answer: Once[SpawnResult] = Once()
        self.under_way += 1
        starting = Deferred.fromCoroutine(self._start(request, directory, asked_by))
        starting.addErrback(self._broke).addCallback(self._told, request, directory, asked_by)
        starting.addCallback(self._begun, answer)
        return answer

    def _told(self, result: SpawnResult, request: SpawnRequest, directory: str, asked_by: str) -> SpawnResult:
        self._tell(request, directory, asked_by, result)
        return result

    def _tell(self, request: SpawnRequest, directory: str, asked_by: str, result: SpawnResult) -> None:
        facts: dict[str, Any] = {"session": request.requested_id, "actor": asked_by, "agent": request.flavor}
        facts["directory"] = directory
        match result:
            case SpawnRefused(message, code):
                self.note("spawn-refused", reason=message, code=code, **facts)
            case NeedsDirectory():
                self.note("spawn-refused", reason="the directory is missing, and making it was not allowed", **facts)

    def _begun(self, result: SpawnResult, answer: Once[SpawnResult]) -> None:
        self.under_way -= 1
        answer.happen(result)

    def _broke(self, reason: Failure) -> SpawnResult:
        self.log.failure("A spawn failed", reason)
        return SpawnRefused(f"Failed to spawn session: {reason.getErrorMessage()}")

    async def _start(self, request: SpawnRequest, directory: str, asked_by: str) -> SpawnResult:
        if self.closed is not None:
            return SpawnRefused(self.closed)
        refusal = self._availability.refusal(request.flavor)
        if refusal is not None:
            self.failed(refusal, None)
            return refusal
        place = await self.admission.enter() if self.admission is not None else None
        if isinstance(place, SpawnRefused):
            return place
        try:
            return await self._start_in(place, request, directory, asked_by)
        finally:
            if place is not None:
                place.give_back()

    async def _start_in(self, place: Place | None, request: SpawnRequest, directory: str, asked_by: str) -> SpawnResult:
        if self.closed is not None:  # while it waited
            return SpawnRefused(self.closed)
        prepared = self._prepare(request, directory)
        if prepared is not None:
            return prepared
        worktree: Worktree | None = None
        linked = False
        if request.session_type == "worktree" and request.flavor == "cursor":
            linked = await self._worktrees.is_linked(directory)
        elif request.session_type == "worktree":
            made = await self._worktrees.make(directory, request.worktree_name)
            if isinstance(made, SpawnRefused):
                return made
            worktree = made
        return await self._launch(request, directory, worktree, linked, asked_by, place)

    def _prepare(self, request: SpawnRequest, directory: str) -> SpawnResult | None:
        roots = self._options.roots
        if not roots.standing(directory):
            return OUTSIDE if not roots.hold(directory) else SpawnRefused(f"The workspace root of {directory} is not there")
        if request.session_type == "worktree":
            if not os.path.isdir(directory):
                missing = "Worktree sessions require an existing Git repository. Directory not found"
                return SpawnRefused(f"{missing}: {directory}")
        else:
            prepared = prepare_directory(directory, request.create_directory)
            if isinstance(prepared, NeedsDirectory | SpawnRefused):
                return prepared
        return None if roots.hold(directory) else OUTSIDE

    async def _launch(
        self, request: SpawnRequest, directory: str, worktree: Worktree | None, linked: bool, asked_by: str, place: Place | None
    ) -> SpawnResult:
        cwd = worktree.path if worktree else directory
        argv = [*self._options.session_command, *argv_for(request, linked)]
        try:
            folder = await self._disk.do(lambda: self._open_folder(request, argv, cwd, worktree, asked_by))
        except OSError as error:
            return await self._drop(SpawnRefused(f"Failed to spawn session: its folder cannot be made: {error}"), worktree)
        if self.closed is not None:  # while it was written
            await self._disk.do(folder.remove)
            return await self._drop(SpawnRefused(self.closed), worktree)
        codex_home = None
        if request.token and request.flavor == "codex":
            codex_home = self._codex_home(folder, request.token)
        child = self._child(folder, request, cwd, worktree)
        if codex_home is not None:
            child.cleanup = lambda: shutil.rmtree(codex_home, ignore_errors=True)
        environment = environment_for(
            request, self._options.environ, identity=self._identity(folder), worktree=worktree, codex_home=codex_home
        )
        environment["PWD"] = cwd
        self._children.add(child)
        self.note("spawn", child, actor=asked_by, agent=child.agent, directory=cwd)
        if place is not None:
            place.give_back()
        try:
            with self._pinned(cwd, worktree is None) as pinned:
                plan = LaunchPlan(tuple(argv), pinned, environment, folder, self._options.session_limits)
                launched = await self._processes.launch(plan)
        except (LaunchFailed, OSError) as error:
            child.life.not_launched(f"cwd={cwd}; {error}")
            await self._children.never_was(child)
        else:
            child.identity, child.holder = launched.child, launched.holder
            self._children.add(child)
            child.life.launched(launched.child)
            child.launching.happen(True)
            self._children.watch(child)
        result = await child.when_answered()
        if isinstance(result, SpawnRefused):
            self.failed(result, child)
        else:
            self.succeeded(child)
        return result

    @contextmanager
    def _pinned(self, cwd: str, must_be_inside: bool) -> Iterator[str]:
        """A name for the very directory that was judged: a symlink may be turned elsewhere between a look and a start.

        Raises OSError when it is no directory any more or not inside the roots.
        """
        if not (must_be_inside and self._options.roots.given and os.path.isdir("/proc/self/fd")):
            yield cwd
            return
        directory = os.open(cwd, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not self._options.roots.hold(os.readlink(f"/proc/self/fd/{directory}")):
                raise OSError("the directory was moved out of the workspace roots")
            yield f"/proc/{os.getpid()}/fd/{directory}"
        finally:
            os.close(directory)

    async def _drop(self, refusal: SpawnRefused, worktree: Worktree | None) -> SpawnRefused:
        if worktree is not None:
            await self._worktrees.remove(worktree)
        return refusal

    def _open_folder(
        self, request: SpawnRequest, argv: list[str], cwd: str, worktree: Worktree | None, asked_by: str
    ) -> AttemptFolder:
        asked = msgspec.to_builtins(request)
        kept = {key: value for key, value in asked.items() if key not in ("directory", "agent", "token")}
        return AttemptFolder.create(
            self._options.home,
            AttemptRequest(
                argv=tuple(argv),
                cwd=cwd,
                at=self._now(),
                asked_by=asked_by,
                agent=request.flavor,
                existing_session_id=request.requested_id,
                resume_session_id=request.resume_session_id,
                worktree=None if worktree is None else {**attrs.asdict(worktree), "made_by_us": True},
                options=kept,
            ),
        )

    def _child(self, folder: AttemptFolder, request: SpawnRequest, cwd: str, worktree: Worktree | None) -> Child:
        return Child(
            attempt=folder.id,
            folder=folder,
            clock=self._clock,
            give_up=self.give_up,
            agent=request.flavor,
            directory=cwd,
            started_at=self._now(),
            requested_id=request.requested_id,
            announce_within=self._options.announce_within,
            start_within=self._options.start_within,
            worktree=worktree,
        )

    def give_up(self, child: Child) -> None:
        self.log.warn("Process {pid} announced no session in time", pid=child.pid, attempt=child.attempt)
        ending = Deferred.fromCoroutine(self._children.end(child, reason="start lease over", actor="runner", method="lease"))
        ending.addErrback(lambda reason: self.log.failure("Ending {attempt} failed", reason, attempt=child.attempt))

    def _identity(self, folder: AttemptFolder) -> dict[str, str]:
        return {**self._options.for_children(), "HAPI_ATTEMPT": folder.id}

    def _codex_home(self, folder: AttemptFolder, token: str) -> str:
        """A private CODEX_HOME holding the token, and the user's own configuration; removed when the child has exited."""
        made = Path(tempfile.mkdtemp(prefix="hapi-codex-", dir=self._options.home.directory("tmp")))
        descriptor = os.open(made / "auth.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token)
        own = Path(self._options.environ.get("CODEX_HOME") or Path.home() / ".codex")
        with suppress(OSError):
            shutil.copyfile(own / "config.toml", made / "config.toml")
        return str(made)
