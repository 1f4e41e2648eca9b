"""What every IProcesses does: one set of tests over all implementations."""

import os
import time

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from hapi.attempts import AttemptFolder
from hapi.process import IProcesses, LaunchFailed, LaunchPlan
from hapi.process.in_memory import FakeProgram, MemoryProcesses
from hapi.process.portable_processes import PortableProcesses
from hapi.process.system import SystemProcesses
from hapi.protocol.attempt import AttemptEnd, AttemptProcess, AttemptRequest, ProcessIdentity

PROGRAMS = {
    "sleeps": (FakeProgram(), "#!/bin/sh\necho ready\nexec sleep 60\n"),
    "exits-5": (FakeProgram(exit_code=5), "#!/bin/sh\nexit 5\n"),
    "deaf": (
        FakeProgram(ignores_sigterm=True),
        "#!/bin/sh\ntrap '' TERM\necho ready\nexec sleep 60\n",
    ),
    "family": (
        FakeProgram(children=3),
        "#!/bin/sh\nsleep 60 & sleep 60 & sleep 60 & echo ready; wait\n",
    ),
}


@pytest.fixture(params=["memory", "system", "portable"])
def processes(request, reactor):
    if request.param == "memory":
        return MemoryProcesses({name: runs for name, (runs, _script) in PROGRAMS.items()})
    return (SystemProcesses if request.param == "system" else PortableProcesses)(reactor)


@pytest.fixture
def plan(home, tmp_path):
    """Makes a plan that starts one of PROGRAMS, or a program that does not exist."""
    for name, (_runs, script) in PROGRAMS.items():
        path = tmp_path / name
        path.write_text(script)
        path.chmod(0o700)

    def make(name: str, **changes) -> LaunchPlan:
        argv = (str(tmp_path / name),)
        folder = AttemptFolder.create(home, AttemptRequest(argv, str(tmp_path), time.time()))
        return LaunchPlan(
            **{
                "argv": argv,
                "cwd": str(tmp_path),
                "environment": dict(os.environ),
                "attempt": folder,
                **changes,
            }
        )

    return make


def test_both_are_processes(processes):
    assert verifyObject(IProcesses, processes)


@pytest_twisted.ensureDeferred
async def test_a_launch_writes_down_who_runs_before_it_answers__S11(processes, plan):
    launched = await processes.launch(sleeper := plan("sleeps"))
    assert sleeper.attempt.process == AttemptProcess(launched.child, launched.holder)
    assert processes.is_running(launched.child) is True
    assert processes.identify(launched.child.pid) == launched.child
    await processes.end_tree(launched.child, sleeper.attempt.id)


@pytest_twisted.ensureDeferred
async def test_the_exit_code_is_in_the_folder_when_the_holder_has_gone(processes, plan):
    launched = await processes.launch(short := plan("exits-5"))
    await processes.when_exited(launched.child)
    await processes.when_exited(launched.holder)
    end = short.attempt.end
    assert isinstance(end, AttemptEnd)
    assert (end.exit_code, end.signal) == (5, None)
    assert processes.is_running(launched.child) is False


@pytest_twisted.ensureDeferred
async def test_a_missing_program_is_told_and_leaves_no_process__C08(processes, plan):
    missing = plan("no-such-program")
    with pytest.raises(LaunchFailed, match="there is no such program"):
        await processes.launch(missing)
    assert missing.attempt.process is None


@pytest_twisted.ensureDeferred
async def test_an_exit_reaches_everybody_who_waits_and_those_who_come_late(processes, plan):
    launched = await processes.launch(sleeper := plan("sleeps"))
    waiting = [processes.when_exited(launched.child) for _ in range(3)]
    assert await processes.end_tree(launched.child, sleeper.attempt.id) == "stopped"
    await gatherResults([*waiting, processes.when_exited(launched.child)])


@pytest_twisted.ensureDeferred
async def test_ending_what_has_ended_says_so(processes, plan):
    launched = await processes.launch(short := plan("exits-5"))
    await processes.when_exited(launched.child)
    await processes.when_exited(launched.holder)
    assert await processes.end_tree(launched.child, short.attempt.id) == "already_gone"


@pytest_twisted.ensureDeferred
async def test_a_process_deaf_to_sigterm_is_killed_after_the_patience__C01(processes, plan):
    launched = await processes.launch(deaf := plan("deaf"))
    await ready(processes, deaf)
    assert await processes.end_tree(launched.child, deaf.attempt.id, grace_period=0.2) == "stopped"
    await processes.when_exited(launched.holder)
    assert deaf.attempt.end.signal == "SIGKILL"
    assert processes.is_running(launched.child) is False


@pytest_twisted.ensureDeferred
async def test_a_tree_holds_the_holder_the_session_and_what_it_started(processes, plan):
    launched = await processes.launch(family := plan("family"))
    await until(lambda: len(processes.tree(launched.child, family.attempt.id)) == 5)
    tree = processes.tree(launched.child, family.attempt.id)
    assert tree[:2] == [launched.holder, launched.child]
    assert await processes.end_tree(launched.child, family.attempt.id) == "stopped"
    assert not any(processes.is_running(each) for each in tree[1:])
    await processes.when_exited(launched.holder)
    assert processes.tree(launched.child, family.attempt.id) == []


@pytest_twisted.ensureDeferred
async def test_an_identity_with_another_start_is_another_process__C11(processes, plan):
    launched = await processes.launch(sleeper := plan("sleeps"))
    child = launched.child
    earlier = ProcessIdentity(
        child.pid, child.start_ticks - 1, child.boot_id, (child.pidfd_inode or 0) + 1
    )
    assert processes.is_running(earlier) is False
    await processes.when_exited(earlier)
    assert await processes.end_tree(earlier, "another-attempt") == "already_gone"
    assert processes.is_running(child) is True
    await processes.end_tree(child, sleeper.attempt.id)


@pytest_twisted.ensureDeferred
async def test_a_process_of_an_earlier_boot_is_gone(processes, plan):
    launched = await processes.launch(sleeper := plan("sleeps"))
    child = launched.child
    before = ProcessIdentity(
        child.pid, child.start_ticks, f"{child.boot_id}, another run", child.pidfd_inode
    )
    assert processes.is_running(before) is False
    assert await processes.end_tree(before, "") == "already_gone"
    assert processes.is_running(child) is True
    await processes.end_tree(child, sleeper.attempt.id)


@pytest_twisted.ensureDeferred
async def test_a_running_process_tells_its_words_its_owner_and_its_environment(processes, plan):
    launched = await processes.launch(sleeper := plan("deaf"))
    await ready(processes, sleeper)  # before that the program may not have been executed yet
    assert processes.owner(launched.child.pid) == os.geteuid()
    assert processes.command_line(launched.child.pid)
    assert processes.environment(launched.child.pid) is not None
    await processes.end_tree(launched.child, sleeper.attempt.id, grace_period=0.1)
    await processes.when_exited(launched.holder)
    assert processes.owner(launched.child.pid) is None
    assert processes.command_line(launched.child.pid) is None
    assert processes.environment(launched.child.pid) is None


@pytest.mark.parametrize("pid", [0, -1, 1 << 31, 10**30])
def test_an_impossible_pid_is_nobody__W06(processes, pid):
    assert processes.identify(pid) is None


@pytest_twisted.ensureDeferred
async def test_twenty_deaf_trees_end_together_not_one_after_another(processes, plan):
    launched = [(await processes.launch(each), each) for each in (plan("deaf") for _ in range(21))]
    for _each, of in launched:
        await ready(processes, of)

    async def end(those):
        """Seconds that it takes to end them."""
        begun = time.monotonic()
        ended = await gatherResults(
            [processes.end_tree(each.child, of.attempt.id, grace_period=0.5) for each, of in those]
        )
        assert ended == ["stopped"] * len(those)
        return time.monotonic() - begun

    one = max(0.5, await end(launched[:1]))
    assert await end(launched[1:]) < 10 * one  # one after another it would be 20 times
    await gatherResults([processes.when_exited(each.holder) for each, _ in launched])


async def ready(processes, plan) -> None:
    """The program has come as far as its first word."""
    if isinstance(processes, SystemProcesses):
        await until(lambda: "ready" in plan.attempt.tail())


async def until(look) -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    for _ in range(1000):
        if look():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it did not come")
