"""One attempt at a session: everything known of it is on its Child, and what may happen to it is its machine.

requested → launched → announced → ready → ended, and refused from the first two (design.md §5). *Announced* is the session's
POST to us, *ready* its agent able to take a prompt. A start is answered on *announced*. *Unknown* is one of an earlier
runner that lives and of whose announcement nothing is left: it ends by itself or on request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from attrs import Attribute, define, field, frozen
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from hapi.attempts import AttemptFolder
from hapi.one_shot import OneShotObserver
from hapi.process import Exit, ProcessIdentity
from hapi.protocol.attempt import AttemptReport
from hapi.protocol.control import StopStatus
from hapi.protocol.spawn import Spawned, SpawnRefused, SpawnResult, Worktree
from hapi.runner.attempts.start_lease import Lease, signs_of_life
from hapi.runner.storage.journal import AttemptIds

LEFT = "The runner is stopping; the session may still come up"
TAIL = 800  # characters of the child's last words in a refusal


class ChildLife(Protocol):
    """What is told to a child's machine, in the words of whoever saw it."""

    def launched(self, identity: ProcessIdentity) -> None:
        """Its process runs; the start lease begins."""

    def not_launched(self, reason: str) -> None:
        """There is no process."""

    def announced(self, session_id: str) -> None:
        """The session reported itself on the control port."""

    def ready(self) -> None:
        """Its agent can take a prompt."""

    def unproven(self) -> None:
        """It lives longer than a start may take, or does its work, and what it announced is lost."""

    def overdue(self) -> None:
        """The start lease is over."""

    def stop_asked(self) -> None:
        """Somebody wants it ended."""

    def exited(self, how: Exit) -> None:
        """The process ended."""

    def left(self) -> None:
        """The runner leaves; the session stays."""


def _tell(child: Child, attribute: Attribute[Any], value: Any) -> Any:
    child.changed()
    return value


@define(eq=False, on_setattr=_tell)
class Child:
    """`attempt` is the name of its folder. Sessions that a person started in a terminal are children too."""

    attempt: str
    folder: AttemptFolder
    clock: IReactorTime
    give_up: Callable[[Child], object]  # called when the lease is over: end the tree
    agent: str
    directory: str
    started_at: float  # epoch seconds
    started_by: str = "runner"
    requested_id: str | None = None
    announce_within: float = 15.0  # seconds of silence
    start_within: float = 0.0  # seconds with whatever signs of life; less than the above: the above
    worktree: Worktree | None = None
    keeps_worktree: bool = False  # it was not made for this start: it stays whatever comes of that
    identity: ProcessIdentity | None = None
    holder: ProcessIdentity | None = None
    holder_lost: bool = False  # it was killed: daemons of the session may be out of reach
    report: AttemptReport | None = None  # what it tells of itself
    session_id: str | None = None
    session_ids: set[str] = field(factory=set)  # every id it ever reported
    host: ProcessIdentity | None = None  # the process that announced itself
    unverified: bool = False
    announcing: bool = False  # it has spoken; what it said is being written down
    adopted: bool = False
    state: str = "requested"
    exit: Exit | None = None
    stopping: OneShotObserver[StopStatus] | None = None
    watching: Deferred[None] | None = None  # for its end; over without one: nobody watches
    cleanup: Callable[[], object] | None = None
    launching: OneShotObserver[bool] = field(factory=OneShotObserver)  # whether there is a process
    outcome: OneShotObserver[SpawnResult] = field(factory=OneShotObserver)
    gone: OneShotObserver[Exit] = field(factory=OneShotObserver)
    changed: Callable[[], object] = field(
        default=lambda: None
    )  # called when anything of this is about to be set
    life: ChildLife = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.life = child_life(self)

    @property
    def is_live(self) -> bool:
        """It may have a process: nobody has seen its end."""
        return self.exit is None and not (self.launching.has_fired and self.identity is None)

    @property
    def pid(self) -> int | None:
        """The process people know it by: the one that announced itself, else the one we launched."""
        known = self.host or self.identity
        return None if known is None else known.pid

    @property
    def ids(self) -> AttemptIds:
        """The names under which the journal records what happens to it."""
        return AttemptIds(self.attempt, self.session_id or self.requested_id, self.pid)

    def goes_by(self, session_id: str) -> bool:
        return session_id in self.session_ids or session_id == self.requested_id

    def when_answered(self) -> Deferred[SpawnResult]:
        return self.outcome.when_fired()

    def last_words(self) -> str:
        """`. stderr: …` with the end of its output, "" when it wrote nothing."""
        tail = re.sub(r"\s+", " ", self.folder.tail(4 * TAIL)).strip()[-TAIL:]
        return f". stderr: {tail}" if tail else ""


@frozen
class _Awaited:
    pid: int
    lease: Lease  # ends with a call of `overdue`


_BEGINNING = (ChildLife.launched, ChildLife.not_launched)


def _machine() -> Callable[[Child], ChildLife]:
    def begin_lease(life: ChildLife, child: Child, identity: ProcessIdentity) -> _Awaited:
        child.state = "launched"
        folder, patience = child.folder, max(child.announce_within, 0.0)
        lease = Lease(
            child.clock,
            patience,
            child.start_within,
            lambda: (child.announcing, signs_of_life(folder)),
            life.overdue,
        )
        return _Awaited(identity.pid, lease.begin())

    builder = TypeMachineBuilder(ChildLife, Child)
    requested, launched = builder.state("requested"), builder.state("launched", begin_lease)
    announced, ready = builder.state("announced"), builder.state("ready")
    ended, refused = builder.state("ended"), builder.state("refused")
    left, unknown = builder.state("left"), builder.state("unknown")

    requested.upon(ChildLife.launched).to(launched).returns(None)

    @requested.upon(ChildLife.not_launched).to(refused)
    def never(life: ChildLife, child: Child, reason: str) -> None:
        _refuse(child, f"Failed to spawn HAPI process - no PID returned ({reason})")

    @requested.upon(ChildLife.stop_asked).to(refused)
    def stop_before_launch(life: ChildLife, child: Child) -> None:
        _refuse(child, "Session was stopped while it was being started")

    @requested.upon(ChildLife.exited).to(refused)
    def die_unseen(life: ChildLife, child: Child, how: Exit) -> None:
        _refuse(child, "Session process ended before it was known")
        _bury(child, how)

    @launched.upon(ChildLife.announced).to(announced)
    def greet(life: ChildLife, child: Child, awaited: _Awaited, session_id: str) -> None:
        awaited.lease.cancel()
        child.state = "announced"
        child.outcome.fire(Spawned(session_id))

    @launched.upon(ChildLife.overdue).to(refused)
    def lose_patience(life: ChildLife, child: Child, awaited: _Awaited) -> None:
        _refuse(child, f"Session webhook timeout for PID {awaited.pid}{child.last_words()}")
        child.give_up(child)

    @launched.upon(ChildLife.stop_asked).to(refused)
    def stop_while_starting(life: ChildLife, child: Child, awaited: _Awaited) -> None:
        awaited.lease.cancel()
        _refuse(child, "Session was stopped while it was being started")

    @launched.upon(ChildLife.exited).to(refused)
    def die_young(life: ChildLife, child: Child, awaited: _Awaited, how: Exit) -> None:
        awaited.lease.cancel()
        _refuse(
            child,
            f"Session process exited before webhook for PID {awaited.pid}{in_brackets(how)}{child.last_words()}",
        )
        _bury(child, how)

    launched.upon(ChildLife.unproven).to(unknown)(_trust)
    unknown.upon(ChildLife.announced).to(announced)(_know_again)

    @announced.upon(ChildLife.ready).to(ready)
    def note_ready(life: ChildLife, child: Child) -> None:
        child.state = "ready"

    for living in (announced, ready, unknown):

        @living.upon(ChildLife.exited).to(ended)
        def end(life: ChildLife, child: Child, how: Exit) -> None:
            child.state = "ended"
            _bury(child, how)

    @refused.upon(ChildLife.exited).loop()
    def end_refused(life: ChildLife, child: Child, how: Exit) -> None:
        _bury(child, how)

    @refused.upon(ChildLife.launched).loop()
    def launched_too_late(life: ChildLife, child: Child, identity: ProcessIdentity) -> None:
        child.give_up(child)

    @launched.upon(ChildLife.left).to(left)
    def let_lease_go(life: ChildLife, child: Child, awaited: _Awaited) -> None:
        awaited.lease.cancel()
        child.outcome.fire(SpawnRefused(LEFT))

    @requested.upon(ChildLife.left).to(left)
    def leave_launch(life: ChildLife, child: Child) -> None:
        child.outcome.fire(SpawnRefused(LEFT))

    for settled in (announced, ready, unknown, ended, refused, left):
        settled.upon(ChildLife.left).to(left).returns(None)
    late = {
        announced: (ChildLife.stop_asked, ChildLife.announced),  # once more, or under a further id
        ready: (ChildLife.stop_asked, ChildLife.announced, ChildLife.ready),
        unknown: (ChildLife.stop_asked, ChildLife.ready),
        refused: (
            ChildLife.stop_asked,
            ChildLife.announced,
            ChildLife.ready,
            ChildLife.overdue,
            ChildLife.not_launched,
        ),
        ended: (
            ChildLife.stop_asked,
            ChildLife.announced,
            ChildLife.ready,
            ChildLife.overdue,
            ChildLife.exited,
        ),
        left: (
            *_BEGINNING,
            ChildLife.stop_asked,
            ChildLife.announced,
            ChildLife.ready,
            ChildLife.overdue,
            ChildLife.exited,
        ),
    }
    for state, inputs in late.items():
        for told in inputs:
            state.upon(told).loop().returns(None)
    return builder.build()


def _trust(life: ChildLife, child: Child, awaited: _Awaited) -> None:
    awaited.lease.cancel()
    child.state = "unknown"
    child.outcome.fire(
        SpawnRefused(
            f"Process {awaited.pid} may be this session already: stop PID-{awaited.pid} first"
        )
    )


def _know_again(life: ChildLife, child: Child, session_id: str) -> None:
    child.state, child.outcome = "announced", OneShotObserver()
    child.outcome.fire(Spawned(session_id))


def _refuse(child: Child, message: str) -> None:
    child.state = "refused"
    child.outcome.fire(SpawnRefused(message))


def _bury(child: Child, how: Exit) -> None:
    if child.exit is None:
        child.exit = how
        child.gone.fire(how)


def in_brackets(how: Exit) -> str:
    """` (exit code 1)`, ` (signal SIGTERM)`, or "" when nobody knows."""
    if how.signal is not None:
        return f" (signal {how.signal})"
    return "" if how.exit_code is None else f" (exit code {how.exit_code})"


child_life: Callable[[Child], Any] = _machine()
