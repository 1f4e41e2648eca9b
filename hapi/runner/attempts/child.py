"""One attempt at a session: what was asked of it, what is known of its life, and its state machine.

requested → launched → announced → ready → ended, and refused from the first two (design.md §5).
*Announced* means that the session has posted its id to the runner, *ready* that its agent can take
a prompt. A start is answered when the session is announced. *Unknown* is a session of an earlier
runner that lives, but of whose announcement nothing is left: it ends by itself or on request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from attrs import Attribute, define, field, frozen
from automat import TypeMachineBuilder
from twisted.internet.interfaces import IReactorTime

from hapi.attempts import AttemptFolder
from hapi.one_shot import OneShotObserver
from hapi.process import Exit, ProcessIdentity
from hapi.protocol.attempt import AttemptReport
from hapi.protocol.spawn import Spawned, SpawnRefused, SpawnResult, Worktree
from hapi.runner.attempts.start_lease import StartLease, signs_of_life
from hapi.runner.storage.journal import AttemptIds

RUNNER_LEAVES = "The runner is stopping; the session may still come up"
MAX_QUOTED_OUTPUT = 800  # characters of the session's output in a refusal


class ChildLife(Protocol):
    """The inputs of a child's machine."""

    def launched(self, identity: ProcessIdentity) -> None:
        """Its process runs; the start lease begins."""

    def launch_failed(self, reason: str) -> None:
        """There is no process."""

    def announced(self, session_id: str) -> None:
        """The session announced itself on the control port."""

    def ready(self) -> None:
        """Its agent can take a prompt."""

    def announcement_lost(self) -> None:
        """It lives longer than a start may take, or does its work, but its announcement is lost."""

    def lease_expired(self) -> None:
        """The session did not announce itself in time."""

    def stop_requested(self) -> None:
        """Somebody wants it ended."""

    def exited(self, how: Exit) -> None:
        """The process ended."""

    def runner_left(self) -> None:
        """The runner leaves; the session stays."""


@frozen(eq=False, repr=False)
class ChildSpec:
    """What is known of an attempt when it begins. It never changes."""

    folder: AttemptFolder  # its name is the name of the attempt
    agent: str
    directory: str
    started_at: float  # epoch seconds
    started_by: str = "runner"
    requested_id: str | None = None  # the hub's id of the session to go on with
    announce_timeout: float = 15.0  # seconds of silence after which the start has failed
    start_timeout: float = 0.0  # seconds a start may take that shows life; at least the above
    worktree: Worktree | None = None
    keeps_worktree: bool = False  # it was not made for this start and stays whatever comes of it
    private_directory: str | None = None  # removed with the session

    @property
    def attempt(self) -> str:
        """The name of the attempt."""
        return self.folder.id


def _announce_change(child: Child, attribute: Attribute[Any], value: Any) -> Any:
    child.on_change()
    return value


@define(eq=False, repr=False, on_setattr=_announce_change)
class Child:
    """A session on this machine, whoever started it; `ChildRegistry.create` makes it."""

    spec: ChildSpec
    clock: IReactorTime
    on_lease_expired: Callable[[Child], object]  # is to end the process tree
    on_change: Callable[[], object] = lambda: None  # called before a field is set
    state: str = "requested"
    identity: ProcessIdentity | None = None  # the process that the runner launched
    holder: ProcessIdentity | None = None
    holder_lost: bool = False  # it was killed: daemons of the session may be out of reach
    host: ProcessIdentity | None = None  # the process that announced itself
    session_id: str | None = None
    session_ids: set[str] = field(factory=set)  # every id it ever announced
    report: AttemptReport | None = None  # the last one that the session wrote
    is_unverified: bool = False  # nothing proves that the announcement came from this session
    is_announcing: bool = False  # its announcement is being written to the disk
    is_adopted: bool = False  # an earlier runner started it
    exit: Exit | None = None
    launching: OneShotObserver[bool] = field(factory=OneShotObserver)  # whether there is a process
    outcome: OneShotObserver[SpawnResult] = field(factory=OneShotObserver)  # of the start
    gone: OneShotObserver[Exit] = field(factory=OneShotObserver)
    life: ChildLife = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.life = child_life(self)

    @property
    def attempt(self) -> str:
        """The name of the attempt, and of its folder."""
        return self.spec.folder.id

    @property
    def folder(self) -> AttemptFolder:
        """The records of the attempt on the disk."""
        return self.spec.folder

    @property
    def is_live(self) -> bool:
        """Whether it may have a process: its end was not seen."""
        return self.exit is None and not (self.launching.has_fired and self.identity is None)

    @property
    def pid(self) -> int | None:
        """The process people know it by: the one that announced itself, else the one launched."""
        known = self.host or self.identity
        return None if known is None else known.pid

    @property
    def ids(self) -> AttemptIds:
        """The names under which the journal records what happens to it."""
        return AttemptIds(self.attempt, self.session_id or self.spec.requested_id, self.pid)

    def quoted_output(self) -> str:
        """`. stderr: …` with the end of its output, "" when it wrote nothing."""
        tail = self.folder.tail(4 * MAX_QUOTED_OUTPUT)
        tail = re.sub(r"\s+", " ", tail).strip()[-MAX_QUOTED_OUTPUT:]
        return f". stderr: {tail}" if tail else ""


@frozen
class _Awaited:
    pid: int
    lease: StartLease  # its end is the input `lease_expired`


_BEGINNING = (ChildLife.launched, ChildLife.launch_failed)


def _machine() -> Callable[[Child], ChildLife]:
    def begin_lease(life: ChildLife, child: Child, identity: ProcessIdentity) -> _Awaited:
        child.state = "launched"
        spec = child.spec
        lease = StartLease(
            child.clock,
            max(spec.announce_timeout, 0.0),
            spec.start_timeout,
            lambda: (child.is_announcing, signs_of_life(spec.folder)),
            life.lease_expired,
        )
        return _Awaited(identity.pid, lease.begin())

    builder = TypeMachineBuilder(ChildLife, Child)
    requested, launched = builder.state("requested"), builder.state("launched", begin_lease)
    announced, ready = builder.state("announced"), builder.state("ready")
    ended, refused = builder.state("ended"), builder.state("refused")
    left, unknown = builder.state("left"), builder.state("unknown")

    requested.upon(ChildLife.launched).to(launched).returns(None)

    @requested.upon(ChildLife.launch_failed).to(refused)
    def refuse_without_process(life: ChildLife, child: Child, reason: str) -> None:
        _refuse(child, f"Failed to spawn HAPI process - no PID returned ({reason})")

    @requested.upon(ChildLife.stop_requested).to(refused)
    def refuse_stopped_before_launch(life: ChildLife, child: Child) -> None:
        _refuse(child, "Session was stopped while it was being started")

    @requested.upon(ChildLife.exited).to(refused)
    def refuse_ended_before_launch(life: ChildLife, child: Child, how: Exit) -> None:
        _refuse(child, "Session process ended before it was known")
        _record_exit(child, how)

    @launched.upon(ChildLife.announced).to(announced)
    def answer_start(life: ChildLife, child: Child, awaited: _Awaited, session_id: str) -> None:
        awaited.lease.cancel()
        child.state = "announced"
        child.outcome.fire(Spawned(session_id))

    @launched.upon(ChildLife.lease_expired).to(refused)
    def refuse_silent(life: ChildLife, child: Child, awaited: _Awaited) -> None:
        _refuse(child, f"Session webhook timeout for PID {awaited.pid}{child.quoted_output()}")
        child.on_lease_expired(child)

    @launched.upon(ChildLife.stop_requested).to(refused)
    def refuse_stopped(life: ChildLife, child: Child, awaited: _Awaited) -> None:
        awaited.lease.cancel()
        _refuse(child, "Session was stopped while it was being started")

    @launched.upon(ChildLife.exited).to(refused)
    def refuse_ended_before_announcement(
        life: ChildLife, child: Child, awaited: _Awaited, how: Exit
    ) -> None:
        awaited.lease.cancel()
        _refuse(
            child,
            f"Session process exited before webhook for PID {awaited.pid}"
            f"{describe_exit(how)}{child.quoted_output()}",
        )
        _record_exit(child, how)

    launched.upon(ChildLife.announcement_lost).to(unknown)(_accept_unannounced)
    unknown.upon(ChildLife.announced).to(announced)(_announce_unknown)

    @announced.upon(ChildLife.ready).to(ready)
    def become_ready(life: ChildLife, child: Child) -> None:
        child.state = "ready"

    for living in (announced, ready, unknown):

        @living.upon(ChildLife.exited).to(ended)
        def end_session(life: ChildLife, child: Child, how: Exit) -> None:
            child.state = "ended"
            _record_exit(child, how)

    @refused.upon(ChildLife.exited).loop()
    def end_refused(life: ChildLife, child: Child, how: Exit) -> None:
        _record_exit(child, how)

    @refused.upon(ChildLife.launched).loop()
    def end_launched_too_late(life: ChildLife, child: Child, identity: ProcessIdentity) -> None:
        child.on_lease_expired(child)

    @launched.upon(ChildLife.runner_left).to(left)
    def leave_launched(life: ChildLife, child: Child, awaited: _Awaited) -> None:
        awaited.lease.cancel()
        child.outcome.fire(SpawnRefused(RUNNER_LEAVES))

    @requested.upon(ChildLife.runner_left).to(left)
    def leave_requested(life: ChildLife, child: Child) -> None:
        child.outcome.fire(SpawnRefused(RUNNER_LEAVES))

    for settled in (announced, ready, unknown, ended, refused, left):
        settled.upon(ChildLife.runner_left).to(left).returns(None)
    late_inputs = {
        announced: (
            ChildLife.stop_requested,
            ChildLife.announced,
        ),  # once more, or under a further id
        ready: (ChildLife.stop_requested, ChildLife.announced, ChildLife.ready),
        unknown: (ChildLife.stop_requested, ChildLife.ready),
        refused: (
            ChildLife.stop_requested,
            ChildLife.announced,
            ChildLife.ready,
            ChildLife.lease_expired,
            ChildLife.launch_failed,
        ),
        ended: (
            ChildLife.stop_requested,
            ChildLife.announced,
            ChildLife.ready,
            ChildLife.lease_expired,
            ChildLife.exited,
        ),
        left: (
            *_BEGINNING,
            ChildLife.stop_requested,
            ChildLife.announced,
            ChildLife.ready,
            ChildLife.lease_expired,
            ChildLife.exited,
        ),
    }
    for state, inputs in late_inputs.items():
        for late_input in inputs:
            state.upon(late_input).loop().returns(None)
    return builder.build()


def _accept_unannounced(life: ChildLife, child: Child, awaited: _Awaited) -> None:
    awaited.lease.cancel()
    child.state = "unknown"
    child.outcome.fire(
        SpawnRefused(
            f"Process {awaited.pid} may already be running this session; "
            f"stop PID-{awaited.pid} first"
        )
    )


def _announce_unknown(life: ChildLife, child: Child, session_id: str) -> None:
    child.state, child.outcome = "announced", OneShotObserver()
    child.outcome.fire(Spawned(session_id))


def _refuse(child: Child, message: str) -> None:
    child.state = "refused"
    child.outcome.fire(SpawnRefused(message))


def _record_exit(child: Child, how: Exit) -> None:
    if child.exit is None:
        child.exit = how
        child.gone.fire(how)


def describe_exit(how: Exit) -> str:
    """` (exit code 1)`, ` (signal SIGTERM)`, or "" when neither is known."""
    if how.signal is not None:
        return f" (signal {how.signal})"
    return "" if how.exit_code is None else f" (exit code {how.exit_code})"


child_life: Callable[[Child], Any] = _machine()
