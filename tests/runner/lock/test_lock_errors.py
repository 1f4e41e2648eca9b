"""The lock when the system refuses: said in words, nothing half done, and the home is never had by
two.
"""

import errno
import os

import pytest
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.process import MemoryProcesses
from hapi.runner.lock import files as lock_files
from hapi.runner.lock import flock as flock_module
from hapi.runner.lock import npm_lock as npmlock
from hapi.runner.lock.home_lock import HomeHeld, LockUnusable, RunnerLock, Superseded, owner_of
from hapi.runner.lock.owner import has_file_open

RUNNER = ("node", "hapi", "runner", "start-sync")
case = SynchronousTestCase()


class Lock(RunnerLock):
    """One that knows the clock and the processes of its test."""


@pytest.fixture
def locks(home):
    """Makes locks of the home on one clock; all are released in the end."""
    made, processes, clock = [], MemoryProcesses(), Clock()

    def make(**changes):
        made.append(Lock(home, processes, clock, **changes))
        made[-1].clock, made[-1].processes = clock, processes
        return made[-1]

    yield make
    for lock in made:
        lock.release()


def acquire(lock, seconds=15.0):
    """None when it is ours, else why it is not."""
    done = lock.acquire()
    lock.clock.pump([0.05] * int(seconds / 0.05))
    failures = []
    done.addErrback(failures.append)
    case.successResultOf(done)
    return failures[0].value if failures else None


def refusing(number):
    def refuse(*_args, **_more):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_description_that_cannot_be_written_is_said__S02(home, locks, monkeypatch, number):
    monkeypatch.setattr(flock_module.os, "pwrite", refusing(number))
    unusable = acquire(locks())
    assert isinstance(unusable, LockUnusable)
    assert os.strerror(number) in str(unusable)
    monkeypatch.undo()
    assert acquire(locks()) is None


def test_a_lock_that_the_kernel_refuses_for_another_reason_is_said__L15(locks, monkeypatch):
    monkeypatch.setattr(flock_module.fcntl, "flock", refusing(errno.EIO))
    unusable = acquire(locks())
    assert "it cannot be locked: Input/output error" in str(unusable)


def test_a_lock_file_deleted_between_open_and_lock_is_looked_at_again__L10(
    home, locks, monkeypatch
):
    flock, deleted = flock_module.fcntl.flock, []

    def slow(descriptor, how):
        flock(descriptor, how)
        if not deleted:
            deleted.append(True)
            home.runner_lock.unlink()

    monkeypatch.setattr(flock_module.fcntl, "flock", slow)
    assert acquire(locks()) is None
    assert deleted
    assert owner_of(home)["pid"] == os.getpid()


def test_a_home_that_cannot_be_opened_is_named__S03(home, locks):
    home.path.rename(home.path.with_name("elsewhere"))
    try:
        assert str(home.path) in str(acquire(locks()))
    finally:
        home.path.with_name("elsewhere").rename(home.path)


def test_a_lock_that_cannot_be_made_again_leaves_the_home_ours_until_the_next_beat__S02(
    home, locks, monkeypatch
):
    lock = locks()
    assert acquire(lock) is None
    home.npm_lock.unlink()
    monkeypatch.setattr(npmlock.os, "open", refusing(errno.ENOSPC))
    assert lock.verify_ownership() in ("ours", "restored")
    assert not home.npm_lock.exists()
    monkeypatch.undo()
    assert lock.verify_ownership() == "restored"
    assert home.npm_lock.read_text() == str(os.getpid())


def test_a_living_rival_found_while_the_lock_is_made_again_has_the_home__L11(home, locks):
    lock = locks()
    assert acquire(lock) is None
    lock.processes.add(*RUNNER, pid=4321, environment={"HAPI_HOME": str(home.path)})
    home.npm_lock.unlink()
    home.npm_lock.write_text("4321")
    assert lock.verify_ownership() == Superseded(4321)
    assert home.npm_lock.read_text() == "4321"


def test_somebody_who_is_just_writing_the_lock_is_no_reason_to_leave__L06(home, locks):
    lock = locks()
    assert acquire(lock) is None
    home.npm_lock.unlink()
    home.npm_lock.write_text("")
    assert lock.verify_ownership() == "restored"  # told as it is: somebody had taken it away
    home.npm_lock.write_text("999")
    os.utime(home.npm_lock, (1, 1))
    assert lock.verify_ownership() == "restored"
    assert home.npm_lock.read_text() == str(os.getpid())


def test_another_runner_lock_in_the_place_of_ours_supersedes_us__S09(home, locks):
    lock = locks()
    assert acquire(lock) is None
    home.runner_lock.unlink()
    home.runner_lock.write_text('{"pid": 4321}')
    assert lock.verify_ownership() == Superseded(4321)


def test_what_cannot_be_written_back_after_a_hand_off_is_logged_and_the_lock_held__S02(
    home, locks, monkeypatch
):
    lock = locks()
    assert acquire(lock) is None
    home.npm_lock.write_text("7")
    monkeypatch.setattr(npmlock.os, "rename", refusing(errno.EIO))
    lock.reclaim(7)
    monkeypatch.undo()
    assert home.npm_lock.read_text() == "7"
    assert isinstance(acquire(locks(), 3.0), HomeHeld)


def test_an_heir_that_cannot_write_its_pid_says_so__S02(home, locks, monkeypatch):
    lock = locks()
    assert acquire(lock) is None
    monkeypatch.setattr(npmlock.os, "rename", refusing(errno.ENOSPC))
    with pytest.raises(LockUnusable, match="No space left"):
        lock.replace_owner()


@pytest.mark.parametrize(
    "content", [b"[]", b"{", b"\xff", b'{"pid": "x"}', b"[" * 4000, b" " * 5000]
)
def test_an_owner_that_makes_no_sense_is_nobody__S05(home, content):
    home.runner_lock.write_bytes(content)
    assert owner_of(home).get("pid") in (None, "x")


def test_whether_a_process_has_a_file_open_is_seen(home):
    home.runner_lock.write_text("")
    assert not has_file_open(os.getpid(), home.runner_lock)
    with home.runner_lock.open():
        assert has_file_open(os.getpid(), home.runner_lock)
    assert not has_file_open(1 << 22, home.runner_lock)
    assert not has_file_open(os.getpid(), home.path / "nothing")


def test_without_renameat2_the_exchange_says_that_there_is_none(home, monkeypatch):
    def no_library(*_args, **_more):
        raise OSError("no library")

    monkeypatch.setattr(lock_files.ctypes, "CDLL", no_library)
    monkeypatch.setattr(lock_files, "_renameat2", lock_files._find_renameat2())
    with pytest.raises(OSError, match="not implemented") as refused:
        lock_files.exchange(home.path / "a", home.path / "b")
    assert refused.value.errno in npmlock.NO_EXCHANGE


def test_a_lock_that_others_keep_changing_blocks_nothing_and_ends_in_an_error__L02(home, locks):
    def restless(step):
        if step == "judged stale":
            home.npm_lock.unlink()
            home.npm_lock.write_text("998")

    home.npm_lock.write_text("999")
    lock = locks(step=restless)
    done = lock.acquire()
    case.assertNoResult(done)
    lock.clock.advance(20.0)
    unusable = case.failureResultOf(done).value
    assert isinstance(unusable, LockUnusable)
    assert "keep changing it" in str(unusable)
