"""Files in turn and off the reactor: what waits for the disk, and what does not."""

import errno
import os
import threading
from queue import SimpleQueue

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from hapi.attempts import attempts
from hapi.protocol.spawn import Spawned, SpawnRefused
from hapi.runner.attempts.child import RUNNER_LEAVES, Child
from hapi.runner.control.announcements import Accepted, Rejected
from hapi.runner.storage.disk import SynchronousDisk, ThreadedDisk, disk_for
from tests.support.runner_stage import SlowDisk, Stage, assert_waiting, result_of


@pytest.fixture
def stage(home):
    return Stage(home)


@pytest.fixture
def disk(stage):
    slow = SlowDisk()
    stage.children.disk = stage.spawner._disk = stage.announcements._disk = slow
    stage.children.termination._disk = slow
    return slow


@pytest_twisted.ensureDeferred
async def test_work_is_done_in_order_in_another_thread_and_told_in_the_reactors(reactor):
    disk, done, told = ThreadedDisk(reactor), [], []
    ours = threading.get_ident()

    def work(number: int) -> int:
        done.append((number, threading.get_ident() == ours))
        return number

    results = [disk.do(lambda number=number: work(number)) for number in range(50)]
    for result in results:
        result.addCallback(lambda number: told.append((number, threading.get_ident() == ours)))
    await gatherResults(results)
    assert done == [(number, False) for number in range(50)]
    assert told == [(number, True) for number in range(50)]
    with pytest.raises(FileNotFoundError):
        await disk.do(lambda: os.stat("/nowhere"))
    assert await disk.do(lambda: work(51)) == 51, "after a failure, and after a while of nothing"


def test_a_wake_up_of_the_reactor_that_fails_ends_no_later_work():
    class Deaf:
        """A reactor that takes calls of threads and cannot be woken."""

        def __init__(self):
            self.calls = SimpleQueue()

        def callFromThread(self, *call):
            self.calls.put(call)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    reactor, results = Deaf(), []
    disk = ThreadedDisk(reactor)
    for number in range(2):
        disk.do(lambda number=number: number).addCallback(results.append)
    for _ in range(2):
        call, result = reactor.calls.get(timeout=60)
        call(result)
    assert results == [0, 1]


def test_without_threads_work_is_done_at_once(reactor):
    assert isinstance(disk_for(reactor), ThreadedDisk)
    disk = disk_for(Clock())
    assert isinstance(disk, SynchronousDisk)
    assert result_of(disk.do(lambda: 7)) == 7


def announced(stage: Stage, disk: SlowDisk) -> Child:
    starting = stage.spawn()
    disk.go()
    announcing = stage.announcing(stage.pid)
    disk.go()
    assert result_of(announcing) == Accepted()
    result_of(starting)
    return stage.children.find_all("s1")[0]


def test_nobody_is_signalled_before_the_reason_is_on_the_disk__S12_C19(disk, stage):
    child = announced(stage, disk)
    stopping, again = stage.stop("s1"), stage.stop("s1")
    assert_waiting(stopping)
    assert stage.processes.is_running(child.identity) is True
    assert [each.happy_session_id for each in stage.children.listed()] == ["s1"]
    disk.go()
    assert child.folder.stop.reason
    assert result_of(stopping) == result_of(again) == "stopped"


def test_a_spawn_joins_no_session_whose_end_waits_for_the_disk__S12(disk, stage):
    announced(stage, disk)
    stopping = stage.stop("s1")
    joining = stage.spawn(existingSessionId="s1")
    assert_waiting(joining)
    disk.go()
    assert result_of(stopping) == "stopped"
    disk.go()
    announcing = stage.announcing(stage.pid)
    disk.go()
    assert result_of(announcing) == Accepted()
    assert result_of(joining) == Spawned("s1")
    assert len(stage.children.live()) == 1


def test_a_start_is_answered_when_its_announcement_is_on_the_disk__S12(disk, stage):
    starting = stage.spawn()
    disk.go()
    announcing = stage.announcing(stage.pid)
    assert_waiting(announcing)
    assert_waiting(starting)
    disk.go()
    assert stage.folder.session.session_id == "s1"
    assert result_of(announcing) == Accepted()
    assert result_of(starting) == Spawned("s1")


def test_a_session_that_has_spoken_in_time_is_not_ended_because_the_disk_is_slow__S12(home):
    stage = Stage(home, options={"start_timeout": 60.0})
    stage.announcements._disk = disk = SlowDisk()
    starting = stage.spawn()
    stage.clock.advance(14.0)
    announcing = stage.announcing(stage.pid)
    for _ in range(10):
        stage.clock.advance(1.0)
    disk.go()
    assert result_of(announcing) == Accepted()
    assert result_of(starting) == Spawned("s1")


def test_one_that_ended_while_its_announcement_was_written_stays_ended__S12_W01(disk, stage):
    starting = stage.spawn()
    disk.go()
    announcing = stage.announcing(stage.pid)
    stage.processes.exit(next(iter(stage.children)).identity, 1)
    disk.go()
    assert isinstance(result_of(starting), SpawnRefused)
    assert isinstance(result_of(announcing), Rejected)
    assert stage.children.listed() == []


def test_one_from_a_terminal_that_announces_itself_twice_is_one_session__S12_W02(home, disk, stage):
    process = stage.processes.add("hapi", "claude")
    first, second = (stage.announcing(process.pid, "t1", startedBy="terminal") for _ in range(2))
    disk.go()
    assert result_of(first) == Accepted()
    disk.go()
    assert result_of(second) == Accepted()
    assert [each.happy_session_id for each in stage.children.listed()] == ["t1"]
    assert len(attempts(home)) == 1


def test_nothing_is_launched_before_its_folder_is_on_the_disk__S12(disk, stage):
    starting = stage.spawn()
    assert_waiting(starting)
    assert list(stage.children) == []
    disk.go()
    assert [child.state for child in stage.children] == ["launched"]


def test_a_start_that_waited_for_the_disk_is_called_off_when_the_runner_leaves__S12(
    home, disk, stage
):
    starting = stage.spawn()
    stage.spawner.closed_reason = RUNNER_LEAVES
    disk.go()
    assert result_of(starting) == SpawnRefused(RUNNER_LEAVES)
    assert attempts(home) == []
    assert list(stage.children) == []
