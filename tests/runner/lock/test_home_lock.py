"""The lock of a home on a Clock and a process table in memory: acquire, keep, release it."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.process import MemoryProcesses
from hapi.runner.lock import flock as flock_module
from hapi.runner.lock import npm_lock as npmlock
from hapi.runner.lock.home_lock import HomeHeld, LockUnusable, RunnerLock, Superseded, owner_of

RUNNER = ("node", "hapi", "runner", "start-sync")
case = SynchronousTestCase()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def processes():
    return MemoryProcesses()


@pytest.fixture
def locks(home, processes, clock):
    """Makes locks of the home; all are released in the end."""
    made = []

    def make(**changes) -> RunnerLock:
        made.append(RunnerLock(home, processes, clock, **changes))
        return made[-1]

    yield make
    for lock in made:
        lock.release()


def npm_runner(processes, home, pid=4321, **facts):
    """A live runner of npm's on this home, started before any lock of the test was written."""
    facts = {"environment": {"HAPI_HOME": str(home.path)}, **facts}
    return processes.add(*RUNNER, pid=pid, **facts)


def acquired(lock, clock):
    """The lock, acquired."""
    done = lock.acquire()
    clock.pump([0.01] * 30)
    case.successResultOf(done)
    return lock


def refused(lock, clock, seconds=1.2):
    """How the acquiring failed within `seconds`."""
    done = lock.acquire()
    clock.pump([0.05] * int(seconds / 0.05))
    return case.failureResultOf(done).value


def names(home):
    return sorted(name for name in os.listdir(home.path) if name.startswith("runner"))


# --- taking it


def test_the_home_is_ours_when_the_lock_has_settled__L01(locks, clock, home):
    done = (lock := locks()).acquire()
    case.assertNoResult(done)
    assert home.npm_lock.read_text() == str(os.getpid())
    clock.advance(0.24)
    case.assertNoResult(done)
    clock.advance(0.02)
    case.successResultOf(done)
    assert lock.verify_ownership() == "ours"
    assert owner_of(home)["pid"] == os.getpid()
    assert home.npm_lock.stat().st_mode & 0o777 == home.runner_lock.stat().st_mode & 0o777 == 0o600


def test_a_second_runner_is_told_whose_the_home_is_within_two_seconds__L01(locks, clock):
    acquired(locks(), clock)
    held = refused(locks(), clock)
    assert isinstance(held, HomeHeld)
    assert held.pid == os.getpid()
    assert str(os.getpid()) in str(held)


def test_a_lock_given_up_within_the_second_is_taken(locks, clock):
    first = acquired(locks(), clock)
    done = locks().acquire()
    clock.advance(0.5)
    first.release()
    clock.pump([0.05] * 10)
    case.successResultOf(done)


def test_a_dead_runners_lock_is_taken_over_at_once__L02_L12(locks, clock, home):
    home.npm_lock.write_text("999")
    acquired(locks(), clock)
    assert home.npm_lock.read_text() == str(os.getpid())
    assert names(home) == ["runner.lock", "runner.state.json.lock"]


def test_a_live_npm_runner_keeps_its_lock__L03(locks, clock, home, processes):
    npm_runner(processes, home)
    home.npm_lock.write_text("4321")
    held = refused(locks(), clock)
    assert isinstance(held, HomeHeld)
    assert held.pid == 4321
    assert home.npm_lock.read_text() == "4321"
    assert names(home) == ["runner.lock", "runner.state.json.lock"]


def test_an_npm_runner_that_ends_within_the_second_makes_room(locks, clock, home, processes):
    theirs = npm_runner(processes, home)
    home.npm_lock.write_text("4321")
    done = locks().acquire()
    clock.advance(0.5)
    processes.exit(theirs)
    clock.pump([0.05] * 10)
    case.successResultOf(done)


@pytest.mark.parametrize(
    "stranger",
    [{"words": ("vim",)}, {"owner": os.geteuid() + 1}, {"environment": {"HAPI_HOME": "/other"}}],
)
def test_a_pid_that_now_is_a_strangers_holds_nothing__L04(locks, clock, home, processes, stranger):
    words = stranger.pop("words", RUNNER)
    processes.add(*words, pid=4321, **{"environment": {"HAPI_HOME": str(home.path)}, **stranger})
    home.npm_lock.write_text("4321")
    acquired(locks(), clock)


@pytest.mark.parametrize("pid", [os.getpid(), os.getppid()], ids=["ours", "our parent"])
def test_a_lock_with_our_own_pid_or_our_parents_is_taken_over_at_once__L05(
    locks, clock, home, processes, pid
):
    npm_runner(processes, home, pid=pid)
    home.npm_lock.write_text(str(pid))
    acquired(locks(), clock)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"-1", b"9" * 30, b"soon"])
def test_an_old_lock_without_a_pid_is_taken_over__L06_L07(locks, clock, home, content):
    home.npm_lock.write_bytes(content)
    os.utime(home.npm_lock, (1, 1))
    acquired(locks(), clock)


def test_a_young_lock_without_a_pid_is_looked_at_again_until_it_is_old__L06(locks, clock, home):
    home.npm_lock.touch()
    began = home.npm_lock.stat().st_mtime
    done = locks(now=lambda: began + clock.seconds()).acquire()
    clock.pump([0.05] * 190)
    case.assertNoResult(done)
    assert home.npm_lock.read_text() == ""
    clock.pump([0.05] * 20)
    case.successResultOf(done)


def test_of_a_huge_lock_64_bytes_are_read__L07(locks, clock, home):
    with home.npm_lock.open("wb") as file:
        file.truncate(1 << 30)  # takes no room on the disk
    os.utime(home.npm_lock, (1, 1))
    acquired(locks(), clock)


@pytest.mark.parametrize("which", ["runner_lock", "npm_lock"])
@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "dangling"])
def test_what_is_no_file_is_named_and_left_alone__L08(locks, clock, home, tmp_path, which, kind):
    path: Path = getattr(home, which)
    target = tmp_path / "target"
    target.write_text("precious")
    if kind == "symlink":
        path.symlink_to(target)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    unusable = refused(locks(), clock)
    assert isinstance(unusable, LockUnusable)
    assert str(path) in str(unusable)
    assert target.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
    assert os.path.lexists(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("which", ["runner_lock", "npm_lock"])
def test_another_users_file_is_named_with_its_owner__L09(locks, clock, home, which):
    path: Path = getattr(home, which)
    path.write_text("1")
    os.chown(path, 65534, 65534)
    unusable = refused(locks(), clock)
    assert isinstance(unusable, LockUnusable)
    assert str(path) in str(unusable)
    assert "65534" in str(unusable)
    assert path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_refused_in_words__L15(
    locks, clock, home, monkeypatch, number
):
    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    unusable = refused(locks(), clock)
    assert isinstance(unusable, LockUnusable)
    assert "put HAPI_HOME on a local disk" in str(unusable)
    assert not home.npm_lock.exists()


def test_another_hosts_runner_on_a_shared_disk_is_not_judged_by_its_pid__L15(
    locks, clock, home, monkeypatch
):
    home.runner_lock.write_text(json.dumps({"pid": 1, "host": "elsewhere", "bootId": "another"}))
    home.npm_lock.write_text("999")
    monkeypatch.setattr(flock_module, "_file_system", lambda _device: "nfs4")
    unusable = refused(locks(), clock)
    assert isinstance(unusable, LockUnusable)
    assert "elsewhere" in str(unusable)
    assert home.npm_lock.read_text() == "999"
    monkeypatch.setattr(flock_module, "_file_system", lambda _device: "ext4")
    acquired(locks(), clock)  # a local disk came along with a new host name


def test_our_own_host_is_no_other_host(home, locks, clock, monkeypatch):
    home.runner_lock.write_text(
        json.dumps({"pid": 1, "host": socket.gethostname(), "bootId": "before the reboot"})
    )
    home.npm_lock.write_text("999")
    monkeypatch.setattr(flock_module, "_file_system", lambda _device: "nfs4")
    acquired(locks(), clock)


def test_whoever_takes_our_file_while_it_settles_has_the_home__L03(locks, clock, home, processes):
    """An npm starter read the dead pid before us, deletes our file now and makes its own."""
    npm_runner(processes, home)
    done = locks().acquire()
    clock.advance(0.1)
    home.npm_lock.unlink()
    home.npm_lock.write_text("4321")
    clock.advance(0.01)
    held = case.failureResultOf(done).value
    assert isinstance(held, HomeHeld)
    assert held.pid == 4321
    assert home.npm_lock.read_text() == "4321"


def test_a_lock_that_changes_between_look_and_exchange_is_put_back__L02(
    locks, clock, home, processes
):
    """The moment after our judgement an npm starter has cleaned up and made a lock of its own."""
    npm_runner(processes, home)
    home.npm_lock.write_text("999")

    def interfere(step):
        if step == "judged stale" and home.npm_lock.read_text() == "999":
            home.npm_lock.unlink()
            home.npm_lock.write_text("4321")

    held = refused(locks(step=interfere), clock)
    assert isinstance(held, HomeHeld)
    assert held.pid == 4321
    assert home.npm_lock.read_text() == "4321"
    assert names(home) == ["runner.lock", "runner.state.json.lock"]


@pytest.mark.parametrize("lacking", ["exchange", "links", "both"])
def test_file_systems_without_links_or_exchange_do__L15(
    locks, clock, home, processes, monkeypatch, lacking
):
    def refuse(*_args, **_more):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if lacking in ("exchange", "both"):
        monkeypatch.setattr(npmlock, "exchange", refuse)
    if lacking in ("links", "both"):
        monkeypatch.setattr(flock_module.os, "link", refuse)
    first = acquired(locks(), clock)  # nothing in place
    assert home.npm_lock.read_text() == str(os.getpid())
    first.release()
    if lacking == "both":
        return
    home.npm_lock.write_text("999")
    acquired(locks(), clock)
    assert home.npm_lock.read_text() == str(os.getpid())


def test_what_dead_starters_left_is_swept__L13(locks, clock, home):
    for number in range(3):
        home.npm_lock.with_name(f"{home.npm_lock.name}.{number}.aside").write_text("999")
    acquired(locks(), clock)
    assert names(home) == ["runner.lock", "runner.state.json.lock"]


def test_a_live_runners_lock_in_a_dead_starters_hand_goes_back__L13(locks, clock, home, processes):
    """A starter died right after the exchange: the path holds its own pid, its sibling the lock of
    a live npm runner.
    """
    npm_runner(processes, home)
    home.npm_lock.write_text("999")
    home.npm_lock.with_name(f"{home.npm_lock.name}.999.abcd").write_text("4321")
    held = refused(locks(), clock)
    assert isinstance(held, HomeHeld)
    assert held.pid == 4321
    assert home.npm_lock.read_text() == "4321"


def test_a_program_may_begin_before_it_has_a_reactor(home, processes, clock):
    lock = RunnerLock(home, processes)
    try:
        assert lock.try_acquire() is True
        assert lock.try_acquire() is True
        assert home.npm_lock.read_text() == str(os.getpid())
    finally:
        lock.release()


# --- keeping it


def test_a_deleted_lock_is_made_again__L10(locks, clock, home):
    lock = acquired(locks(), clock)
    home.npm_lock.unlink()
    assert lock.verify_ownership() == "restored"
    assert lock.verify_ownership() == "ours"
    assert home.npm_lock.read_text() == str(os.getpid())
    home.runner_lock.unlink()
    assert lock.verify_ownership() == "restored"
    assert lock.verify_ownership() == "ours"
    assert isinstance(refused(locks(), clock), HomeHeld)


def test_a_lock_that_names_nobody_alive_is_taken_back__L10(locks, clock, home):
    lock = acquired(locks(), clock)
    home.npm_lock.unlink()
    home.npm_lock.write_text("999")
    assert lock.verify_ownership() == "restored"
    assert home.npm_lock.read_text() == str(os.getpid())


def test_another_live_runner_in_the_lock_supersedes_us_and_we_touch_nothing__L11(
    locks, clock, home, processes
):
    lock = acquired(locks(), clock)
    npm_runner(processes, home)
    home.npm_lock.unlink()
    home.npm_lock.write_text("4321")
    assert lock.verify_ownership() == Superseded(4321)
    lock.release()
    assert home.npm_lock.read_text() == "4321"


def test_another_live_runner_in_the_state_file_supersedes_us__L11(locks, clock, home, processes):
    lock = acquired(locks(), clock)
    npm_runner(processes, home)
    home.runner_state.write_text('{"pid": 4321, "httpPort": 1}')
    assert lock.verify_ownership() == Superseded(4321)


@pytest.mark.parametrize(
    "state", ['{"pid": 999}', '{"pid": 55}', "[]", "", "no json", '{"pid": "x"}']
)
def test_a_state_file_that_names_no_live_runner_changes_nothing__S07(
    locks, clock, home, processes, state
):
    processes.add("vim", pid=55)
    lock = acquired(locks(), clock)
    home.runner_state.write_text(state)
    assert lock.verify_ownership() == "ours"


def test_a_home_that_was_replaced_is_no_longer_ours__S09(locks, clock, home, tmp_path):
    lock = acquired(locks(), clock)
    home.path.rename(tmp_path / "moved")
    assert isinstance(lock.verify_ownership(), Superseded)
    home.path.mkdir()
    assert isinstance(lock.verify_ownership(), Superseded)
    assert os.listdir(home.path) == []
    (tmp_path / "moved").joinpath("runner.lock").unlink()


def test_the_lock_holds_when_anybody_opens_and_closes_its_file__L17(locks, clock, home):
    acquired(locks(), clock)
    os.close(os.open(home.runner_lock, os.O_RDWR))
    home.runner_lock.read_text()
    busy = subprocess.run(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)",
            home.runner_lock,
        ],
        capture_output=True,
        check=False,
    )
    assert b"BlockingIOError" in busy.stderr


def test_looking_changes_nothing__L16(locks, clock, home):
    assert owner_of(home) == {}
    assert names(home) == []
    lock = acquired(locks(), clock)
    before = [
        (path.stat().st_ino, path.stat().st_mtime_ns) for path in (home.runner_lock, home.npm_lock)
    ]
    for _ in range(1000):
        assert owner_of(home)["pid"] == os.getpid()
    assert [
        (path.stat().st_ino, path.stat().st_mtime_ns) for path in (home.runner_lock, home.npm_lock)
    ] == before
    lock.release()
    assert owner_of(home) == {}


# --- giving it up


def test_releasing_takes_our_file_away_and_leaves_the_flock_file__L13(locks, clock, home):
    lock = acquired(locks(), clock)
    lock.release()
    assert names(home) == ["runner.lock"]
    lock.release()
    acquired(locks(), clock)


def test_releasing_leaves_a_file_that_is_not_ours__L11(locks, clock, home):
    lock = acquired(locks(), clock)
    home.npm_lock.unlink()
    home.npm_lock.write_text(str(os.getpid()))  # even with our pid in it
    lock.release()
    assert home.npm_lock.exists()


def test_giving_up_while_it_is_taken_leaves_nothing(locks, clock, home):
    done = locks().acquire()
    clock.advance(0.1)
    done.addErrback(lambda _: None)
    done.cancel()
    assert names(home) == ["runner.lock"]
    acquired(locks(), clock)


def test_descriptors_are_closed_after_release_and_after_every_refusal__M03(locks, clock, home):
    before = len(os.listdir("/proc/self/fd"))
    lock = acquired(locks(), clock)
    refused(locks(), clock)
    home.npm_lock.unlink()
    lock.verify_ownership()
    lock.release()
    home.npm_lock.mkdir()
    refused(locks(), clock)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_descriptors_are_not_inherited__L14(locks, clock, home):
    acquired(locks(), clock)
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith(str(home.path)):
                assert not os.get_inheritable(int(name))
        except FileNotFoundError:
            continue
