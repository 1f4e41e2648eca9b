"""SIGKILL at every step of taking and giving up the lock: the next start wins, and nothing is left
over (faults.md G3).
"""

import os
import signal
import sys
import time

import pytest
import pytest_twisted

from hapi.attempts import AttemptFolder
from hapi.process.system import SystemProcesses
from hapi.protocol.attempt import AttemptRequest
from hapi.runner.lock import files as lock_files
from hapi.runner.lock import home_lock as lock_module
from tests.support.lock_starters import dead_pid, take
from tests.support.paths import ROOT

START = ("nothing", "stale", "deleted under us", "without exchange")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lock_module, "SETTLE_TIME", 0.0)


def prepare(home, start, monkeypatch):
    if start != "nothing":
        home.npm_lock.write_text(str(dead_pid()))
    if start == "without exchange":
        monkeypatch.setattr(lock_files, "_renameat2", without_exchange)


def without_exchange(*_):
    import ctypes
    import errno

    ctypes.set_errno(errno.ENOSYS)
    return -1


def whole_life(home, start, step):
    """Take the home, have its lock deleted, make it again, give it up."""
    lock = take(home, step)
    if start == "deleted under us":
        home.npm_lock.unlink()
        lock.verify_ownership()
    lock.release()


def in_a_process(work) -> int:
    """Run `work` in a process of its own; how it ended: the exit code, or the signal's number,
    negative.
    """
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("start", START)
def test_killed_at_any_step_the_next_start_wins__L12_L13(home, start, monkeypatch):
    prepare(home, start, monkeypatch)
    steps: list[str] = []
    whole_life(home, start, steps.append)
    assert len(steps) >= 10
    for number in range(len(steps)):
        prepare(home, start, monkeypatch)
        left = iter(range(len(steps)))

        def die_there(_step, left=left, number=number):
            if next(left) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        assert (
            in_a_process(lambda step=die_there: whole_life(home, start, step)) == -signal.SIGKILL
        ), steps[number]
        assert in_a_process(lambda: whole_life(home, start, lambda _: None)) == 0, (
            f"after a kill at {steps[number]!r}"
        )
        assert sorted(name for name in os.listdir(home.path) if name.startswith("runner")) == [
            "runner.lock"
        ], steps[number]


def test_killed_while_holding_the_next_start_wins_without_help__L12(home):
    for _ in range(20):

        def hold_and_die():
            take(home)
            os.kill(os.getpid(), signal.SIGKILL)

        assert in_a_process(hold_and_die) == -signal.SIGKILL
        assert home.npm_lock.exists()
    take(home).release()


@pytest_twisted.ensureDeferred
async def test_a_session_that_outlives_its_runner_holds_no_lock__L14_C05(home, reactor, tmp_path):
    """A runner takes the home, starts a session and is killed.

    The session writes on, and the next runner comes up.
    """
    folder = AttemptFolder.create(home, AttemptRequest(("sh",), str(tmp_path), time.time()))
    program = """
import os, signal, sys
from pathlib import Path
from twisted.internet import reactor
from hapi.attempts import AttemptFolder
from hapi.home import Home
from hapi.process import LaunchPlan
from hapi.process.system import SystemProcesses
from hapi.runner.lock.home_lock import RunnerLock

home, processes = Home(Path(sys.argv[1])), SystemProcesses(reactor)
script = "echo ready; read line < fifo; echo $line; head -c 1000000 /dev/zero; echo end"
argv, folder = ("/bin/sh", "-c", script), AttemptFolder(Path(sys.argv[2]))
plan = LaunchPlan(argv, sys.argv[3], dict(os.environ), folder)
lock = RunnerLock(home, processes)
taking = lock.acquire()
taking.addCallback(lambda _: processes.launch(plan))
taking.addCallback(lambda _: os.kill(os.getpid(), signal.SIGKILL))
taking.addErrback(lambda failure: (failure.printTraceback(), os._exit(1)))
reactor.run()
"""
    os.mkfifo(tmp_path / "fifo")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", program, str(home.path), str(folder.path), str(tmp_path)]
    runner = os.posix_spawn(sys.executable, words, environment)
    assert os.waitstatus_to_exitcode(os.waitpid(runner, 0)[1]) == -signal.SIGKILL
    processes = SystemProcesses(reactor)
    child, holder = folder.process.child, folder.process.holder
    try:
        assert processes.is_running(child) is True
        take(home).release()
        (tmp_path / "fifo").write_text("on\n")
        await processes.when_exited(holder).addTimeout(10, reactor)
    finally:
        await processes.end_tree(child, folder.id)
    assert folder.output.stat().st_size > 1_000_000
    assert folder.tail(4) == "end\n"
    assert folder.end.exit_code == 0
