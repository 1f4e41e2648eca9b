"""What hours, months and crowds do to a runner, on a Clock: late words, sleep, clocks that are set,
storms, and growth.

HAPI_FAULTS=release lives through thirty days and a thousand sessions.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.attempts import attempts
from hapi.home import Home
from hapi.net.common.rpc import RpcTable
from hapi.process import MemoryProcesses
from hapi.process.in_memory import FakeProgram
from hapi.protocol.machine import RunnerFacts, runner_capabilities
from hapi.protocol.spawn import Spawned, SpawnRefused, parse_spawn
from hapi.runner.attempts.retention import Retention
from hapi.runner.control.announcements import Accepted, Rejected
from hapi.runner.handoff.upgrade import BuildWatch, UpgradeThrottle
from hapi.runner.service import RunnerService
from hapi.runner.uplink.machine import Machine
from tests.support.garbage import RELEASE
from tests.support.handoff_stage import NEW, NEWER, OLD, Disk
from tests.support.hub_stand_ins import Hub, Link
from tests.support.runner_service import Reactor, Run
from tests.support.runner_stage import Stage, assert_waiting, options_for, result_of

HOUR, DAY = 3600.0, 86_400.0
FACTS = RunnerFacts(19506, 38465, 1795175850041, runner_capabilities())


@pytest.fixture
def quick_home() -> Iterator[Home]:
    """A home where syncing costs nothing, for tests that write very much."""
    place = Path(
        tempfile.mkdtemp(
            prefix="hapi-long-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        )
    )
    yield Home(place / "home").prepare()
    shutil.rmtree(place)


# --- late words


def test_an_announcement_that_comes_an_hour_late_is_refused_and_its_tree_is_ended__W01(home):
    """It could not be ended when its lease was over; when it speaks, it can."""
    stage = Stage(home, programs={"session": FakeProgram(unkillable=True)})
    answer = stage.spawn()
    stage.clock.pump([1.0] * 20)
    assert isinstance(result_of(answer), SpawnRefused)
    stage.clock.pump([60.0] * 60)
    entry = stage.processes.entry(stage.folder.process.child)
    assert stage.children.listed() == []
    entry.unkillable = False
    assert stage.announce(stage.pid, "late") == Rejected(
        403, f"the start of this session ({stage.folder.id}) is over"
    )
    assert stage.processes.entry(entry.identity) is None
    assert stage.children.listed() == []
    assert stage.folder.stop.reason == "Start timed out"
    assert (stage.folder.end.signal, stage.folder.session) == ("SIGTERM", None)


def test_an_announcement_of_yesterdays_session_is_taken_by_todays_runner__W08(home):
    """The runner was away for a day; the session, alive, had nobody to tell."""
    stage = Stage(home)
    stage.spawn()
    stage.children.detach()
    stage.clock.advance(DAY)
    stage.restart()
    assert stage.adopt() == 1
    assert stage.announce(stage.pid, "s1") == Accepted()
    assert [one.happy_session_id for one in stage.children.listed()] == ["s1"]


# --- sleep, and clocks that are set


def test_eight_hours_of_suspend_end_no_session_and_no_start__N18_P05(home):
    """The monotonic clock stands still meanwhile; the wall clock does not."""
    stage = Stage(home)
    running = stage.started("s1")
    answer = stage.spawn()
    stage.wall += 8 * HOUR
    stage.clock.pump([1.0] * 5)
    assert_waiting(answer)
    assert stage.announce(stage.pid, "s2") == Accepted()
    assert result_of(answer) == Spawned("s2")
    assert len(stage.children.listed()) == 2
    assert running.folder.stop is None
    assert Retention().outdated(list(stage.children), stage.now()) == []


def test_eight_hours_that_the_runner_slept_through_cost_one_beat__N18_P05(home):
    run = Run(home).up()
    beats = run.service.status()["beats"]
    run.reactor.advance(8 * HOUR)
    assert run.service.status()["beats"] == beats + 1
    assert run.service.status()["failedBeats"] == 0
    run.stop()


@pytest.mark.parametrize(
    "jump", [-DAY, -400 * DAY, 400 * DAY], ids=["a day back", "a year back", "a year on"]
)
def test_a_clock_that_is_set_ends_nothing_and_fires_nothing_early__N17(home, jump):
    stage = Stage(home)
    before = stage.started("s1")
    answer = stage.spawn()
    stage.wall += jump
    stage.clock.pump([1.0] * 12)
    assert_waiting(answer)
    stage.clock.pump([1.0] * 8)
    assert isinstance(result_of(answer), SpawnRefused)
    assert result_of(stage.stop("s1")) == "stopped"
    assert before.folder.stop.at == stage.now()
    after = stage.started("s2")
    stage.children.detach()
    stage.restart()
    assert stage.adopt() == 1
    assert [one.attempt for one in stage.children.listed()] == [after.attempt]
    assert stage.announce(after.identity.pid, "s2") == Accepted()


def test_what_ended_after_the_clock_was_set_back_is_kept_before_what_ended_earlier__S14_N17(
    home, monkeypatch
):
    stage = Stage(home)
    monkeypatch.setattr("hapi.attempts.time.time", stage.now)
    for number in range(3):
        stage.processes.exit(stage.started(f"before-{number}").identity, 0)
        stage.clock.advance(5.0)
    stage.wall -= DAY
    last = stage.started("after")
    stage.processes.exit(last.identity, 0)
    gone = Retention(count=2).outdated(list(stage.children), stage.now())
    assert [child.session_id for child in gone] == ["before-0", "before-1"]


# --- storms


def test_a_build_that_changes_at_each_of_a_thousand_looks_is_never_due__H06():
    clock, disk = Clock(), Disk()
    watch = BuildWatch(clock, disk)
    for number in range(1000):
        disk.now = (NEW, NEWER)[number % 2]
        assert watch.check() is None
        clock.advance(60.0)
    disk.now = OLD
    assert watch.check() is None


@pytest.mark.parametrize("fails", [True, False])
def test_a_thousand_new_builds_cost_three_tries_an_hour_at_most__H06(fails):
    clock, disk = Clock(), Disk()
    watch, throttle, tries = BuildWatch(clock, disk), UpgradeThrottle(clock), []
    for number in range(1000):
        disk.now = (NEW, NEWER)[number % 2]
        for _ in range(12):
            if watch.check() is not None and throttle.reason_to_wait() is None:
                tries.append(clock.seconds())
                if fails:
                    throttle.failed()
                else:  # the successor knows of it, and meets the next build
                    throttle = UpgradeThrottle.after(clock, throttle.success_ages())
            clock.advance(5.0)
    assert all(later - earlier >= HOUR for earlier, later in zip(tries, tries[3:], strict=False))
    assert len(tries) == (3 if not fails else len(tries))
    assert fails or "until the runner is restarted" in throttle.off


def test_five_hundred_short_losses_of_the_hub_leave_one_registration_and_the_usual_timers__N02(
    home,
):
    clock, hub = Clock(), Hub()
    link = Link(clock)
    machine = Machine(
        clock,
        options_for(home),
        FACTS,
        RpcTable("machine-1"),
        client=hub,
        link=link,
        random=Random(1),
        now=clock.seconds,
    )
    machine.start()
    link.connect()
    clock.advance(1.0)
    timers, said = len(clock.getDelayedCalls()), len(link.said)
    for _ in range(500):
        link.connected = False
        clock.advance(0.3)
        link.connect()
        clock.advance(0.2)
    assert machine.registered
    assert len(hub.bodies) == 1
    assert len(clock.getDelayedCalls()) <= timers + 1
    assert len(link.said) <= said + 500  # the state once for each connect, and nothing else
    link.alive.clear()
    clock.advance(20.0)
    assert [event for event, _ in link.alive] == ["machine-alive"]
    result_of(Deferred.fromCoroutine(machine.leave("os-signal", 0.5)))
    result_of(Deferred.fromCoroutine(machine.close()))
    assert clock.getDelayedCalls() == []


# --- months


@define(eq=False)
class Month:
    """A runner with fifty changing sessions, and a hub that restarts every ten minutes."""

    home: Home
    reactor: Reactor = field(factory=Reactor)
    processes: MemoryProcesses = field(init=False)
    service: RunnerService = field(init=False)
    hub: Hub = field(factory=Hub)
    link: Any = None
    random: Random = field(factory=lambda: Random(20261120))
    names: int = 0

    def __attrs_post_init__(self) -> None:
        self.processes = MemoryProcesses(("session",), self.reactor)
        self.processes.add("runner", "start-sync", pid=os.getpid())
        self.service = RunnerService(
            self.reactor,
            options_for(self.home),
            self.processes,
            machine=self.machine,
            now=self.now,
            retention=Retention(count=20),
        )
        self.service.sessions.availability._reason = lambda agent: None
        self.service.startService()
        self.reactor.pump([0.02] * 40)
        self.link.connect()

    def now(self) -> float:
        return 1_700_000_000.0 + self.reactor.seconds()

    def machine(self, reactor: Any, options: Any, facts: Any, rpc: Any) -> Machine:
        self.link = Link(reactor)
        self.link.on_status = lambda call: None
        return Machine(
            reactor,
            options,
            facts,
            rpc,
            client=self.hub,
            link=self.link,
            random=Random(1),
            now=self.now,
        )

    def start(self) -> None:
        asked = self.service.spawn(
            parse_spawn({"directory": str(self.home.path), "agent": "claude"}), "hub"
        )
        answer = Deferred.fromCoroutine(asked)
        child = self.service.children.live()[-1]
        self.names += 1
        self.service.children.record_session(child, f"s{self.names}", child.identity)
        child.life.announced(f"s{self.names}")
        assert result_of(answer) == Spawned(f"s{self.names}")

    def hour(self) -> None:
        """Sixty beats, six restarts of the hub; two sessions end, two begin, one of them is asked
        to end.
        """
        for _ in range(6):
            self.link.connected = False
            self.reactor.pump([0.5, 1.5])
            self.link.connect()
            self.reactor.pump([59.8] * 10)
            assert len(self.service.list()) == 50
            self.link.said.clear(), self.link.alive.clear()
        for _ in range(2):
            self.processes.exit(self.random.choice(self.service.children.live()).identity, 0)
            self.start()
        stopped = self.random.choice(self.service.children.live()).session_id
        assert (
            result_of(Deferred.fromCoroutine(self.service.api.stop_session(stopped, "hub")))
            == "stopped"
        )
        self.start()
        self.hub.bodies.clear()

    def size(self) -> dict[str, int]:
        """What must not grow."""
        kept = [plan for plan in self.processes.launched if plan.attempt.path.exists()]
        self.processes.launched[:] = kept  # the table in memory keeps all, for tests
        gc.collect()
        return {
            "timers": len(self.reactor.getDelayedCalls()),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "folders": len(attempts(self.home)),
            "children": len(list(self.service.children)),
            "objects": len(gc.get_objects()) // 1000,
            "journal": self.home.events.stat().st_size // 1_000_000,
        }

    def leave(self) -> None:
        self.service.stopService()
        self.reactor.pump([0.02] * 100)


def test_a_month_of_sessions_and_hub_restarts_leaves_nothing_behind__M03_G15(quick_home):
    month = Month(quick_home)
    for _ in range(50):
        month.start()
    for _ in range(8):
        month.hour()
    early = month.size()
    for _ in range(30 * 24 - 8 if RELEASE else 12):
        month.hour()
    late = month.size()
    assert late["timers"] <= early["timers"] + 2, (early, late)
    assert late["descriptors"] == early["descriptors"]
    assert (late["folders"], late["children"]) == (early["folders"], early["children"])
    assert late["objects"] <= early["objects"] * 1.1 + 2, (early, late)
    assert late["journal"] <= 12
    assert month.service.status()["failedBeats"] == 0
    month.leave()
    assert month.reactor.getDelayedCalls() == []


# --- crowds


@define(eq=False)
class Work:
    """How often the disk and the process table are asked."""

    counts: Counter[str] = field(factory=Counter)

    def of(self, what: Any) -> Counter[str]:
        self.counts.clear()
        what()
        return Counter(self.counts)


@pytest.fixture
def work(monkeypatch) -> Work:
    made = Work()

    def counted(name: str, call: Any) -> Any:
        def counting(*args: Any, **more: Any) -> Any:
            made.counts[name] += 1
            return call(*args, **more)

        return counting

    import hapi.attempts
    import hapi.runner.attempts.reports

    monkeypatch.setattr(hapi.attempts, "read_capped", counted("reads", hapi.attempts.read_capped))
    monkeypatch.setattr(
        hapi.attempts, "write_atomically", counted("writes", hapi.attempts.write_atomically)
    )
    monkeypatch.setattr(
        hapi.runner.attempts.reports,
        "file_stamp",
        counted("looks", hapi.runner.attempts.reports.file_stamp),
    )
    for name in ("is_running", "tree", "command_line", "environment", "end_tree"):
        monkeypatch.setattr(MemoryProcesses, name, counted(name, getattr(MemoryProcesses, name)))
    return made


def test_the_work_for_many_sessions_grows_with_their_number_alone__M01_G16(quick_home, work):
    """Never one look at all processes for each session, nor one file read for each session and
    caller.
    """
    count = 1000 if RELEASE else 200
    stage = Stage(quick_home)
    for number in range(count):
        stage.started(f"s{number}")
    listing = work.of(stage.children.listed)
    assert len(stage.children.listed()) == count
    assert not +listing, "a list is told from memory"
    reports = work.of(lambda: stage.reports.refresh(stage.children.live()))
    assert reports["looks"] <= count
    assert reports["reads"] == 0
    stage.children.detach()
    stage.restart()
    adopting = work.of(stage.adopt)
    assert len(stage.children.listed()) == count
    assert adopting["reads"] <= 12 * count
    assert (adopting["tree"], adopting["writes"]) == (0, 0)
    assert adopting["is_running"] <= count
    answers: list[Any] = []
    stopping = work.of(lambda: answers.extend(stage.stop(f"s{number}") for number in range(count)))
    assert {result_of(answer) for answer in answers} == {"stopped"}
    assert stage.children.live() == []
    assert stopping["end_tree"] == count
    assert stopping["writes"] <= 3 * count
    assert stopping["reads"] <= 12 * count
    assert stopping["tree"] == 0


def test_a_beat_over_a_crowd_asks_nothing_about_each__M01_G16(quick_home, work):
    month = Month(quick_home)
    for _ in range(1000 if RELEASE else 200):
        month.start()
    month.reactor.pump(
        [0.5] * 300
    )  # nobody reports that its agent is ready: they are looked after for two minutes
    beat = work.of(lambda: month.reactor.pump([60.0]))
    assert beat["is_running"] == beat["tree"] == beat["reads"] == 0, beat
    assert beat["looks"] <= 1000 if RELEASE else 200
    month.leave()
