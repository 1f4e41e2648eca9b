"""Whatever happens to sessions, in whatever order: each live session is listed once, and each end
is recorded once with its true reason.

Hypothesis plays the world: starts, announcements of every kind, ends that a runner sees and ends
while none runs, stops, new runners over the same folders, other processes that are given a pid, and
folders that are removed. HAPI_FAULTS=release plays longer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hapi.attempts import AttemptFolder
from hapi.home import Home
from hapi.process import ProcessIdentity
from hapi.protocol.spawn import Spawned, SpawnRefused
from hapi.runner.attempts.retention import Retention
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.control.announcements import Accepted, Rejected
from tests.support.garbage import RELEASE
from tests.support.runner_stage import Stage, result_of

LIMIT = 6  # sessions at once
LEASE, SOON = (
    15.0,
    12.0,
)  # seconds: the lease, and when the model lets all leases run out rather than guess at the moment
SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # what is written here may be lost
numbers = st.integers(0, 11)


@define(eq=False)
class Known:
    """What the world knows of one session, whether a runner does or not."""

    folder: AttemptFolder
    identity: ProcessIdentity
    since: float  # clock
    name: str | None = None  # the id it has announced
    answer: Any = None  # the caller's, while he waits
    terminal: bool = False
    code: int | None = None
    signal: str | None = None
    alive: bool = True
    reason: str | None = None  # of the first order to end it
    kept: bool = True  # its folder is there


@define(eq=False)
class World(RuleBasedStateMachine):
    stage: Stage = field(init=False)
    sessions: list[Known] = field(factory=list)
    strangers: list[ProcessIdentity] = field(factory=list)
    notes: Counter[tuple[str, str]] = field(factory=Counter)
    names: int = 0

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="hapi-machine-", dir=SHM))
        self.stage = Stage(
            Home(self.place / "home").prepare(), limits=AdmissionLimits(sessions=LIMIT)
        )
        self.listen()

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.stage.children.detach()
            shutil.rmtree(self.place)

    def listen(self) -> None:
        self.stage.children.record_event = lambda event, ids=None, **facts: self.notes.update(
            [(event, ids.attempt)] if ids else []
        )

    # --- what there is

    def those(self, **wanted: Any) -> list[Known]:
        return [
            one
            for one in self.sessions
            if all(getattr(one, name) == value for name, value in wanted.items())
        ]

    def waiting(self) -> list[Known]:
        """Launched, and not announced yet."""
        return [one for one in self.those(alive=True) if one.name is None]

    def announced(self) -> list[Known]:
        return [one for one in self.those(alive=True) if one.name is not None]

    def process(self, one: Known) -> Any:
        return self.stage.processes.entry(one.identity)

    def ended(
        self,
        one: Known,
        code: int | None = None,
        signal: str | None = None,
        reason: str | None = None,
    ) -> None:
        one.alive, one.code, one.signal = False, code, signal
        one.reason = one.reason or reason

    def pass_time(self, seconds: float) -> None:
        """Leases that may be over are let run out, and sessions that ignore SIGTERM are killed."""
        now = self.stage.clock.seconds() + seconds
        late = [one for one in self.waiting() if now - one.since > SOON]
        self.stage.clock.pump([0.5] * int((seconds + (2 * LEASE if late else 0)) * 2))
        for one in self.waiting() if late else ():
            self.ended(
                one,
                signal="SIGKILL" if self.deaf.get(one) else "SIGTERM",
                reason="Start timed out",
            )
            if one.answer is not None:
                assert isinstance(result_of(one.answer), SpawnRefused)

    @property
    def deaf(self) -> dict[Known, bool]:
        return self.__dict__.setdefault("_deaf", {})

    # --- what happens

    @rule(deaf=st.booleans())
    def start(self, deaf: bool) -> None:
        before = len(self.stage.processes.launched)
        full = len(self.those(alive=True)) >= LIMIT
        answer = self.stage.spawn()
        if full:
            assert result_of(answer).code == "session_limit"
            assert len(self.stage.processes.launched) == before
            return
        plan = self.stage.processes.launched[-1]
        self.sessions.append(
            Known(
                plan.attempt, plan.attempt.process.child, self.stage.clock.seconds(), answer=answer
            )
        )
        self.deaf[self.sessions[-1]] = deaf
        self.stage.processes.entry(self.sessions[-1].identity).ignores_sigterm = deaf

    @precondition(lambda self: self.waiting())
    @rule(number=numbers)
    def announce(self, number: int) -> None:
        one = self.waiting()[number % len(self.waiting())]
        self.names += 1
        assert self.stage.announce(one.identity.pid, f"s{self.names}") == Accepted()
        one.name = f"s{self.names}"
        if one.answer is not None:
            assert result_of(one.answer) == Spawned(one.name)

    @precondition(lambda self: self.announced())
    @rule(number=numbers)
    def announce_once_more(self, number: int) -> None:
        one = self.announced()[number % len(self.announced())]
        by = "terminal" if one.terminal else "runner"
        assert self.stage.announce(one.identity.pid, one.name, startedBy=by) == Accepted()

    @precondition(lambda self: self.those(alive=False))
    @rule(number=numbers, by=st.sampled_from(["runner", "terminal"]))
    def announce_too_late(self, number: int, by: str) -> None:
        """Its process is gone, and perhaps a stranger has the pid; another process posts."""
        gone = self.those(alive=False)
        verdict = self.stage.announce(
            gone[number % len(gone)].identity.pid, "late", caller=4242, startedBy=by
        )
        assert isinstance(verdict, Rejected)

    @precondition(lambda self: self.strangers)
    @rule(number=numbers, by=st.sampled_from(["runner", "terminal"]), forged=st.booleans())
    def announce_for_a_stranger(self, number: int, by: str, forged: bool) -> None:
        """A foreign process claims that the runner started it, or another process claims so."""
        pid = self.strangers[number % len(self.strangers)].pid
        if by == "terminal" and not forged:
            return  # that would be true: it is a session of its user's then
        assert isinstance(
            self.stage.announce(pid, "forged", caller=4242 if forged else pid, startedBy=by),
            Rejected,
        )

    @rule(deaf=st.booleans())
    def start_in_a_terminal(self, deaf: bool) -> None:
        identity = self.stage.processes.add("hapi", "claude", ignores_sigterm=deaf)
        self.names += 1
        assert (
            self.stage.announce(identity.pid, f"s{self.names}", startedBy="terminal") == Accepted()
        )
        folder = self.stage.children.find_all(f"s{self.names}")[0].folder
        self.sessions.append(
            Known(folder, identity, self.stage.clock.seconds(), f"s{self.names}", terminal=True)
        )
        self.deaf[self.sessions[-1]] = deaf

    @precondition(lambda self: self.those(alive=True))
    @rule(number=numbers, code=st.sampled_from([0, 1, 7]), killed=st.booleans())
    def exit(self, number: int, code: int, killed: bool) -> None:
        one = self.those(alive=True)[number % len(self.those(alive=True))]
        self.exits(one, None if killed else code, "SIGKILL" if killed else None)
        if one.answer is not None and one.name is None:
            assert isinstance(result_of(one.answer), SpawnRefused)

    def exits(self, one: Known, code: int | None, signal: str | None) -> None:
        self.stage.processes.exit(one.identity, code, signal)
        self.ended(one, code, signal)

    @precondition(lambda self: self.those(alive=True))
    @rule(number=numbers, by_pid=st.booleans())
    def stop(self, number: int, by_pid: bool) -> None:
        one = self.those(alive=True)[number % len(self.those(alive=True))]
        asked = [
            self.stage.stop(
                f"PID-{one.identity.pid}" if by_pid or not one.name else one.name,
                reason=f"stop {number}",
            )
        ]
        asked.append(self.stage.stop(f"PID-{one.identity.pid}", reason="a second caller"))
        deaf = self.deaf[one]
        how = "SIGKILL" if deaf else "SIGTERM"
        self.ended(one, None, how, f"stop {number}")
        self.pass_time(2.5 if deaf else 0.0)
        assert result_of(asked[0]) == "stopped"
        assert result_of(asked[1]) in ("stopped", "already_gone")
        if one.answer is not None and one.name is None:
            assert isinstance(result_of(one.answer), SpawnRefused)

    @precondition(lambda self: self.those(alive=False))
    @rule(number=numbers)
    def stop_what_is_gone(self, number: int) -> None:
        gone = self.those(alive=False)
        one = gone[number % len(gone)]
        answer = result_of(self.stage.stop(f"PID-{one.identity.pid}"))
        assert answer in (
            "already_gone",
            "still_alive",
        )  # the latter when the name is not known any more

    @precondition(lambda self: self.those(alive=False))
    @rule(number=numbers)
    def give_the_pid_to_a_stranger(self, number: int) -> None:
        pid = self.those(alive=False)[number % len(self.those(alive=False))].identity.pid
        if pid not in self.stage.processes.table:
            self.strangers.append(self.stage.processes.add("stranger", pid=pid))

    @rule(dying=st.lists(numbers, max_size=3), reused=st.booleans())
    def another_runner(self, dying: list[int], reused: bool) -> None:
        """This one leaves or is killed; some sessions end meanwhile, and pids come round; the
        next one reads the folders."""
        self.stage.children.detach()
        for one in self.those(alive=True):
            one.answer = None  # its caller was answered when the runner left
        for number in dying:
            if alive := self.those(alive=True):
                one = alive[number % len(alive)]
                self.exits(one, 5, None)
                one.code = None if one.terminal else 5  # a terminal's process has no holder
                if reused:
                    self.strangers.append(
                        self.stage.processes.add("stranger", pid=one.identity.pid)
                    )
        self.stage.restart()
        self.listen()
        self.stage.adopt()

    @precondition(lambda self: self.those(alive=True))
    @rule(number=numbers, code=st.sampled_from([0, 9]))
    def the_holder_is_killed_first(self, number: int, code: int) -> None:
        one = self.those(alive=True)[number % len(self.those(alive=True))]
        process = one.folder.process
        if process.holder is not None:
            self.stage.processes.table.pop(process.holder.pid, None)
        self.stage.processes.exit(one.identity, code)
        self.ended(one, code)  # as the kernel reports it

    @rule(seconds=st.sampled_from([1.0, 5.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(count=st.integers(0, 4))
    def old_folders_go(self, count: int) -> None:
        for child in Retention(count=count).outdated(list(self.stage.children), self.stage.now()):
            child.folder.remove()
            self.stage.children.forget(child)
        for one in self.sessions:
            one.kept = one.folder.path.exists()

    # --- what must hold after each step

    @invariant()
    def each_live_session_is_listed_once(self) -> None:
        listed = (
            [(one.happy_session_id, one.pid) for one in self.stage.children.listed()]
            if hasattr(self, "place")
            else []
        )
        assert sorted(listed) == sorted((one.name, one.identity.pid) for one in self.announced())

    @invariant()
    def each_end_is_recorded_once_with_its_reason(self) -> None:
        for one in self.sessions:
            if one.alive:
                assert one.kept
                assert one.folder.end is None
                assert one.folder.stop is None
            elif one.kept:
                end, order = one.folder.end, one.folder.stop
                assert (end.exit_code, end.signal) == (one.code, one.signal)
                assert (None if order is None else order.reason) == one.reason
            assert self.notes["ended", one.folder.id] <= 1

    @invariant()
    def nobody_else_was_signalled(self) -> None:
        for identity in self.strangers:
            assert self.stage.processes.entry(identity).signals == []
        for one in self.those(alive=True):
            assert self.process(one).signals == []

    @invariant()
    def admission_counts_those_that_live(self) -> None:
        if hasattr(self, "place"):
            assert len(self.stage.children.live()) == len(self.those(alive=True))


def test_sessions_are_never_lost_doubled_or_mistaken__C14_C15_C19_P04_W01_W02_W03_W05():
    run_state_machine_as_test(
        World,
        settings=settings(
            max_examples=2_000 if RELEASE else 40,
            stateful_step_count=60 if RELEASE else 30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
