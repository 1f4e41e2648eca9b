"""A runner's inside for tests: children, spawner and announcements on a Clock and a process table
in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hapi.attempts import AttemptFolder, attempts
from hapi.home import Home
from hapi.process import MemoryProcesses
from hapi.protocol.control import SessionStarted
from hapi.protocol.spawn import SpawnRefused, Worktree, parse_spawn
from hapi.runner.attempts.adoption import Adoption
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry, SessionAnnounced, SessionEnded
from hapi.runner.attempts.reports import ReportMonitor
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.config.options import RunnerOptions
from hapi.runner.control.announcements import Announcements
from hapi.runner.control.guard import PeerInfo
from hapi.runner.control.peer_credentials import Caller
from hapi.runner.sessions import Sessions
from hapi.runner.spawn.admission import Admission
from hapi.runner.spawn.agent_availability import AgentAvailability
from hapi.runner.spawn.checks import StartChecks
from hapi.runner.spawn.spawner import Spawner
from hapi.runner.storage.counters import Counters
from hapi.runner.storage.journal import discard_event
from hapi.runner.storage.timers import ScheduledCalls
from hapi.runner.workspace.roots import WorkspaceRoots
from hapi.settings import HubAccess

CHECK = SynchronousTestCase()


def result_of(waiting: Any) -> Any:
    """What the Deferred or coroutine has given by now."""
    return CHECK.successResultOf(waiting)


def assert_waiting(waiting: Deferred[Any]) -> None:
    CHECK.assertNoResult(waiting)


class SlowDisk:
    """A disk that does its work when the test calls `go`."""

    def __init__(self) -> None:
        self.waiting: deque[Any] = deque()

    def do(self, work: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((work, done))
        return done

    def go(self) -> None:
        """Do the work that waits, and what follows from it."""
        while self.waiting:
            work, done = self.waiting.popleft()
            try:
                result: Any = work()
            except OSError:
                result = Failure()
            done.callback(result)


class NoWorktrees:
    """Remembers what was asked of it."""

    def __init__(self, made: Worktree | SpawnRefused | None = None) -> None:
        self.made, self.asked, self.added, self.removed = made, [], [], []

    async def choose(self, directory: str, name: str | None) -> Worktree | SpawnRefused:
        self.asked.append((directory, name))
        assert self.made is not None
        return self.made

    async def add(self, worktree: Worktree) -> SpawnRefused | None:
        self.added.append(worktree)
        return None

    def settled(self, worktree: Worktree) -> None: ...

    async def remove(self, worktree: Worktree) -> bool:
        self.removed.append(worktree)
        return True

    async def is_linked(self, directory: str) -> bool:
        return False


def options_for(home: Home, *, roots: WorkspaceRoots | None = None, **more: Any) -> RunnerOptions:
    access = HubAccess("http://127.0.0.1:1", "secret-token")
    given = {
        "session_command": ("/bin/session",),
        "environ": {"PATH": "/usr/bin:/bin"},
        "sets_title": False,
        **more,
    }
    return RunnerOptions(home, access, "machine-1", roots or WorkspaceRoots(), **given)


@define
class Stage:
    """Everything between a request and a process, without a hub, a port or a process."""

    home: Home
    programs: Any = ("session",)
    roots: WorkspaceRoots = field(factory=WorkspaceRoots)
    missing: dict[str, str] = field(factory=dict)  # agents that are not there, with the reason
    worktrees: NoWorktrees = field(factory=NoWorktrees)
    clock: Clock = field(factory=Clock)
    wall: float = 1_700_000_000.0
    processes: MemoryProcesses = field(init=False)
    children: ChildRegistry = field(init=False)
    spawner: Spawner = field(init=False)
    announcements: Announcements = field(init=False)
    failed: list[tuple[SpawnRefused, Child | None]] = field(factory=list)
    succeeded: list[Child] = field(factory=list)
    ready: list[Child] = field(factory=list)
    options: dict[str, Any] = field(factory=dict)
    reports: ReportMonitor = field(init=False)
    record_ready: Callable[[Child], object] = lambda child: None
    limits: AdmissionLimits = field(factory=AdmissionLimits)
    free: int | None = 1 << 40  # bytes of memory
    relieve: Any = field(default=lambda: False)
    admission: Admission = field(init=False)
    holds: dict[tuple[int, int], bool | None] = field(
        factory=dict
    )  # pid, inode → whether it has that socket

    def __attrs_post_init__(self) -> None:
        self.processes = MemoryProcesses(self.programs, self.clock)
        self.restart()

    def now(self) -> float:
        return self.wall + self.clock.seconds()

    def pass_time(self, seconds: float) -> None:
        """As it passes for a runner that is never stopped: in small steps."""
        whole, rest = divmod(round(seconds * 10), 5)
        self.clock.pump([0.5] * whole + [rest / 10] * (rest > 0))

    def _relieve(self) -> bool:
        return bool(self.relieve())

    def restart(self) -> None:
        """A new runner on the same home and the same processes."""
        self.children = ChildRegistry(self.clock, self.processes, self.worktrees, self.now)
        self.reports = ReportMonitor(self.clock, self.clock.callLater, self.became_ready)
        self.admission = Admission(
            self.clock,
            self.limits,
            lambda: len(self.children.live()),
            self.clock.callLater,
            lambda: self.free,
            relieve=self._relieve,
        )
        options = options_for(self.home, roots=self.roots, **self.options)
        self.spawner = Spawner(
            self.clock,
            self.processes,
            self.children,
            self.worktrees,
            StartChecks(
                self.clock,
                options,
                AgentAvailability(self.missing.get, dict),
                self.admission,
                self.children,
                self.worktrees,
            ),
            lambda refusal, child: self.failed.append((refusal, child)),
            self.succeeded.append,
            now=self.now,
        )
        self.children.subscribe(SessionAnnounced, lambda event: self.reports.follow(event.child))
        self.children.subscribe(SessionEnded, lambda event: self.admission.process_queue())
        self.announcements = Announcements(
            self.clock,
            self.home,
            self.processes,
            self.children,
            now=self.now,
            own_pid=lambda: 99,
            holds_socket=self.holds_socket,
        )

    def became_ready(self, child: Child) -> None:
        self.ready.append(child)
        self.record_ready(child)

    def holds_socket(self, pid: int, inode: int) -> bool | None:
        return self.holds.get((pid, inode), pid == inode - 1_000_000)

    def sessions(self) -> Sessions:
        """The part of a runner that the others use, with what this stage has."""
        clock, notify = self.clock, lambda *_: None
        after, counters = ScheduledCalls(clock), Counters(clock)
        options, processes = self.spawner.checks.options, self.processes
        sessions = Sessions(
            clock, options, processes, self.now, discard_event, after, counters, notify, notify
        )
        sessions.spawner, sessions.children = self.spawner, self.children
        return sessions

    def adopt(self) -> int:
        return Adoption(self.home, self.processes, self.children, 15.0, 60.0, self.now).run()

    def spawn(self, directory: Any = None, asked_by: str = "hub", **wanted: Any) -> Deferred[Any]:
        request = parse_spawn(
            {"directory": str(directory or self.home.path), "agent": "claude", **wanted}
        )
        return Deferred.fromCoroutine(self.spawner.spawn(request, asked_by))

    def announce(
        self, pid: Any, session_id: str = "s1", caller: int | None = None, **metadata: Any
    ) -> Any:
        """The verdict on an announcement; the caller's socket is that of process `caller`, by
        default the one it names."""
        return result_of(self.announcing(pid, session_id, caller, **metadata))

    def announcing(
        self, pid: Any, session_id: str = "s1", caller: int | None = None, **metadata: Any
    ) -> Deferred[Any]:
        metadata = {"hostPid": pid, "startedBy": "runner", **metadata}
        inode = 1_000_000 + (caller if caller is not None else pid if isinstance(pid, int) else 0)
        peer = PeerInfo(Caller(os.geteuid(), inode), is_verifiable=True)
        return Deferred.fromCoroutine(
            self.announcements.receive(SessionStarted(session_id, metadata), peer)
        )

    def stop(self, name: str, reason: str = "stopped on request") -> Deferred[str]:
        return Deferred.fromCoroutine(
            self.children.stop(name, reason=reason, actor="hub", method="hub")
        )

    @property
    def folder(self) -> AttemptFolder:
        """The only attempt."""
        (only,) = attempts(self.home)
        return only

    @property
    def pid(self) -> int:
        """The process launched last."""
        process = self.processes.launched[-1].attempt.process
        assert process is not None
        return process.child.pid

    def started(self, session_id: str = "s1", **wanted: Any) -> Child:
        """A session that has announced itself."""
        answer = self.spawn(**wanted)
        self.announce(self.pid, session_id)
        result_of(answer)
        return self.children.find_all(session_id)[0]
