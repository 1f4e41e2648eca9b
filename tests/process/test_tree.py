"""Real trees of real processes that do not want to end (faults.md, group C and G8)."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from hapi.attempts import ATTEMPT_VARIABLE, AttemptFolder
from hapi.process import Exit, LaunchFailed, LaunchPlan
from hapi.process.launch import HolderProtocol
from hapi.process.system import SystemProcesses
from hapi.protocol.attempt import AttemptRequest, ProcessIdentity
from hapi.runner.lock.home_lock import RunnerLock
from tests.support.hostile import SHAPES
from tests.support.paths import SUPPORT
from tests.support.programs import level

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")  # root may choose the next pid by it
HOSTILE = str(SUPPORT / "hostile.py")
GRACE_PERIOD = float(os.environ.get("HAPI_TEST_GRACE_PERIOD", "0.4"))


@pytest.fixture
def system(reactor):
    return SystemProcesses(reactor)


@pytest.fixture
def plan(home, tmp_path):
    def make(*argv: str, **changes) -> LaunchPlan:
        folder = AttemptFolder.create(home, AttemptRequest(argv, str(tmp_path), time.time()))
        facts = {
            "argv": argv,
            "cwd": str(tmp_path),
            "environment": dict(os.environ),
            "attempt": folder,
        }
        return LaunchPlan(**{**facts, **changes})

    return make


@pytest.fixture
def bystander():
    """A process that is nobody's business."""
    process = subprocess.Popen(["/bin/sleep", "60"])
    yield process
    assert process.poll() is None, "a stranger was signalled"
    process.kill()
    process.wait()


async def until(look, reactor):
    for _ in range(1500):
        found = look()
        if found:
            return found
        await deferLater(reactor, 0.01)
    raise AssertionError("it did not come")


def alive_with_mark(attempt: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get(ATTEMPT_VARIABLE) == attempt
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def everybody_below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("number", range(level(1, 50)))
@pytest.mark.parametrize("shape", SHAPES)
@pytest_twisted.ensureDeferred
async def test_nobody_of_a_hostile_tree_is_left_and_no_stranger_is_touched__G8_C01_C02_C03_C04_C10(
    shape, number, system, plan, reactor, bystander, tmp_path
):
    begin = tmp_path / "begin"
    hostile = plan(sys.executable, "-I", "-S", HOSTILE, shape, str(begin))
    launched = await system.launch(hostile)
    begin.touch()
    await until(lambda: "ready" in hostile.attempt.tail(1 << 16) or shape == "floods", reactor)
    seen = everybody_below(launched.holder.pid)
    assert await system.end_tree(launched.child, hostile.attempt.id, GRACE_PERIOD) == "stopped"
    assert system.tree(launched.child, hostile.attempt.id) == [] or system.tree(
        launched.child, hostile.attempt.id
    ) == [launched.holder]
    assert [
        process
        for process in seen
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ] == []
    await system.when_exited(launched.holder)
    assert alive_with_mark(hostile.attempt.id) == []
    assert hostile.attempt.end is not None


@pytest_twisted.ensureDeferred
async def test_a_session_says_goodbye_before_what_it_started_is_ended__C19(system, plan, reactor):
    """The session hears SIGTERM first, and its children are still there while it leaves."""
    script = """
sleep 60 & agent=$!
trap 'kill -0 $agent && echo agent-alive; kill $agent; wait $agent; echo goodbye; exit 0' TERM
echo ready
while :; do wait; done
"""
    launched = await system.launch(polite := plan("/bin/sh", "-c", script))
    await until(lambda: "ready" in polite.attempt.tail(), reactor)
    assert await system.end_tree(launched.child, polite.attempt.id) == "stopped"
    assert [word for word in polite.attempt.tail().split() if word != "Terminated"] == [
        "ready",
        "agent-alive",
        "goodbye",
    ]
    await system.when_exited(launched.holder)
    assert polite.attempt.end.exit_code == 0


@pytest_twisted.ensureDeferred
async def test_what_a_session_leaves_behind_is_ended_by_its_holder__C02(system, plan, reactor):
    script = "setsid sleep 60 & (sleep 60 &) ; echo ready; exit 3"
    launched = await system.launch(leaver := plan("/bin/sh", "-c", script))
    await system.when_exited(launched.holder)
    assert leaver.attempt.end.exit_code == 3
    assert alive_with_mark(leaver.attempt.id) == []


@pytest_twisted.ensureDeferred
async def test_the_end_is_told_while_leftovers_still_live(system, plan, reactor):
    script = "(trap '' TERM; echo ready; sleep 60; sleep 60) & read line < fifo; exit 3"
    os.mkfifo(Path(plan("x").cwd) / "fifo")
    launched = await system.launch(leaver := plan("/bin/sh", "-c", script))
    await until(lambda: "ready" in leaver.attempt.tail(), reactor)
    Path(leaver.cwd, "fifo").write_text("go\n")
    await system.when_exited(launched.child)
    end = await until(lambda: leaver.attempt.end, reactor)
    assert end.exit_code == 3
    assert system.is_running(launched.holder) is True
    assert await system.end_tree(launched.child, leaver.attempt.id, 0.1) == "stopped"
    await system.when_exited(launched.holder)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("exit 0", Exit(0, None)),
        ("exit 1", Exit(1, None)),
        ("kill -9 $$", Exit(None, "SIGKILL")),
        ("kill -SEGV $$", Exit(None, "SIGSEGV")),
        ("kill -ABRT $$", Exit(None, "SIGABRT")),
    ],
)
@pytest_twisted.ensureDeferred
async def test_code_or_signal_and_last_words_are_known_at_once__C07(ends, expected, system, plan):
    launched = await system.launch(short := plan("/bin/sh", "-c", f"echo last words >&2; {ends}"))
    await system.when_exited(launched.holder)
    end = short.attempt.end
    assert Exit(end.exit_code, end.signal) == expected
    assert short.attempt.tail() == "last words\n"


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_started_is_told_in_words__C08(system, plan, tmp_path):
    (tmp_path / "text").write_text("no program")
    (tmp_path / "scrambled").write_bytes(b"\x7fELF nothing")
    (tmp_path / "scrambled").chmod(0o700)
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n")
    (tmp_path / "orphan").chmod(0o700)
    for made, reason in [
        (plan("no-such-program"), "there is no such program"),
        (plan(str(tmp_path / "text")), "it is not executable"),
        (plan(str(tmp_path / "orphan")), "interpreter its first line names is missing"),
        (plan(str(tmp_path / "scrambled")), "it is not a program for this machine"),
        (plan("true", cwd="/no/such/directory"), "its directory /no/such/directory cannot be used"),
        (plan("true", cwd=str(tmp_path / "text")), "cannot be used .not a directory"),
        (plan(), "the command line is empty"),
        (plan("a\0b"), "NUL"),
        (plan("/bin/true", "x" * 3_000_000), "long"),
    ]:
        with pytest.raises(LaunchFailed, match=reason):
            await system.launch(made)
        assert made.attempt.process is None


@pytest_twisted.ensureDeferred
async def test_a_holder_that_cannot_be_started_is_an_error_to_the_caller__C09(
    system, plan, monkeypatch
):
    def refuse(*_args, **_more):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawnp", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LaunchFailed, match="Resource temporarily unavailable"):
        await system.launch(plan("true"))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest_twisted.ensureDeferred
async def test_a_fork_that_fails_in_the_holder_is_an_error_to_the_caller__C09(
    system, plan, monkeypatch
):
    from hapi.process import launch

    monkeypatch.setattr(launch, "holder_program", lambda: str(SUPPORT / "limited_holder.py"))
    with pytest.raises(LaunchFailed, match="resource temporarily unavailable"):
        await system.launch(plan("true"))


@pytest_twisted.ensureDeferred
async def test_a_holder_that_says_nothing_is_ended_and_told(system, plan, monkeypatch, tmp_path):
    (tmp_path / "silent.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr("hapi.process.launch.holder_program", lambda: str(tmp_path / "silent.py"))
    monkeypatch.setattr("hapi.process.system.REPORT_TIMEOUT", 0.5)
    silent = plan("true")
    with pytest.raises(LaunchFailed, match="its holder did not report"):
        await system.launch(silent)
    assert alive_with_mark(silent.attempt.id) == []


def test_a_reactor_that_stops_before_the_holder_has_spoken_makes_no_failed_launch_of_it__P01_C17():
    """The session comes up, and belongs to the next runner: no end may be written down for it."""
    holder = HolderProtocol(Clock())
    holder.makeConnection(SimpleNamespace(pid=7))
    results = []
    holder.report.addCallback(results.append)
    holder.childConnectionLost(3)  # all that Twisted tells when its reactor stops
    assert results == []
    holder.processEnded(Failure(ProcessDone(0)))  # and this comes only of a holder that has exited
    assert results == [b""]


@pytest_twisted.ensureDeferred
async def test_a_holder_that_dies_at_once_is_told_with_its_last_words(
    system, plan, monkeypatch, tmp_path
):
    (tmp_path / "broken.py").write_text("raise SystemExit('no memory')\n")
    monkeypatch.setattr("hapi.process.launch.holder_program", lambda: str(tmp_path / "broken.py"))
    with pytest.raises(LaunchFailed, match=r"its holder ended without a report .no memory."):
        await system.launch(plan("true"))


@pytest_twisted.ensureDeferred
async def test_the_session_gets_no_descriptor_and_no_word_that_is_meant_for_the_runner__C18_L14_K07(
    system, plan, home
):
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    environment = {
        "PATH": os.environ["PATH"],
        "HAPI_RUNNER_HANDOFF_FROM_PID": "1",
        "NOTIFY_SOCKET": "/run/x",
        "LISTEN_FDS": "2",
        "LISTEN_PID": "1",
        "WATCHDOG_USEC": "1",
        "KEPT": "yes",
    }
    script = "import os, resource, signal; print(sorted(os.environ), os.listdir('/proc/self/fd'), "
    script += "os.getsid(0) == os.getpid(), resource.getrlimit(resource.RLIMIT_CORE)[0], "
    script += "os.readlink('/proc/self/fd/0'), signal.pthread_sigmask(0, []), "
    script += "signal.getsignal(signal.SIGHUP) == signal.SIG_DFL)"
    try:
        launched = await system.launch(
            looker := plan(sys.executable, "-I", "-S", "-c", script, environment=environment)
        )
        await system.when_exited(launched.holder)
    finally:
        os.close(leaked)
    said = looker.attempt.tail()
    assert "HAPI_ATTEMPT" in said
    assert "KEPT" in said
    for word in ("HANDOFF", "NOTIFY", "LISTEN", "WATCHDOG"):
        assert word not in said
    assert "['0', '1', '2', '3'] True 0 /dev/null set() True" in said  # 3 is the listing itself


@pytest.mark.parametrize("is_installed", [True, False])
@pytest_twisted.ensureDeferred
async def test_holder_and_session_lead_sessions_of_their_own_with_or_without_setsid__C18(
    system, plan, monkeypatch, is_installed
):
    if not is_installed:
        monkeypatch.setattr("hapi.process.launch.session_prefix", lambda: ())
    launched = await system.launch(sleeper := plan("/bin/sleep", "60"))
    for each in (launched.holder, launched.child):
        assert os.getsid(each.pid) == os.getpgid(each.pid) == each.pid
    await system.end_tree(launched.child, sleeper.attempt.id)


@pytest_twisted.ensureDeferred
async def test_files_of_an_attempt_are_private_whatever_the_umask__K04(system, plan):
    before = os.umask(0)
    try:
        launched = await system.launch(short := plan("/bin/sh", "-c", "umask"))
        await system.when_exited(launched.holder)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in short.attempt.path.iterdir()}
    assert modes == dict.fromkeys(("request.json", "process.json", "end.json", "output.log"), 0o600)
    assert short.attempt.path.stat().st_mode & 0o777 == 0o700
    assert short.attempt.tail() == "0000\n"  # the session's own is as it was


@pytest_twisted.ensureDeferred
async def test_the_log_of_a_session_that_floods_stays_small_and_never_blocks_it__C04(
    system, plan, monkeypatch
):
    script = (
        "import os\nfor number in range(2000): os.write(1, (str(number).rjust(7) + '\\n') * 2048)"
    )
    script = script.replace("'\\n') * 2048", "'\\n').encode() * 2048")
    launched = await system.launch(flood := plan(sys.executable, "-I", "-S", "-c", script))
    await system.when_exited(launched.holder)
    assert flood.attempt.end.exit_code == 0
    assert sum(path.stat().st_size for path in flood.attempt.path.iterdir()) < 24 << 20  # of 32 MiB
    assert flood.attempt.tail(8) == "   1999\n" or flood.attempt.earlier_output.exists()


@pytest_twisted.ensureDeferred
async def test_a_killed_holder_leaves_a_session_that_can_be_found_and_ended__C15(
    system, plan, reactor
):
    script = "sleep 60 & echo ready; wait"
    launched = await system.launch(orphan := plan("/bin/sh", "-c", script))
    await until(lambda: "ready" in orphan.attempt.tail(), reactor)
    os.kill(launched.holder.pid, signal.SIGKILL)
    await system.when_exited(launched.holder)
    assert system.is_running(launched.child) is True
    assert len(system.tree(launched.child, orphan.attempt.id)) == 2
    assert await system.end_tree(launched.child, orphan.attempt.id) == "stopped"
    assert orphan.attempt.end is None


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("sleep 60", Exit(None, "SIGKILL")),
        ("while [ ! -e go ]; do sleep 0.02; done; exit 7", Exit(7, None)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_kernel_tells_how_a_session_ended_whose_holder_was_killed__C15(
    system, plan, reactor, script, how
):
    launched = await system.launch(orphan := plan("/bin/sh", "-c", f"echo ready; {script}"))
    await until(lambda: "ready" in orphan.attempt.tail(), reactor)
    os.kill(launched.holder.pid, signal.SIGKILL)
    await system.when_exited(launched.holder)
    ended = system.when_exited(launched.child)
    if how.exit_code is None:
        os.kill(launched.child.pid, signal.SIGKILL)
    else:
        (Path(orphan.cwd) / "go").touch()
    found = await ended
    if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 15):
        assert found == how
    else:
        assert found in (how, Exit(None, None))  # somebody may have waited for it before we looked
    assert orphan.attempt.end is None
    await system.end_tree(launched.child, orphan.attempt.id)


@pytest_twisted.ensureDeferred
async def test_an_escaped_process_is_found_by_its_mark_when_holder_and_session_are_gone__C02(
    system, plan, reactor
):
    launched = await system.launch(
        orphan := plan("/bin/sh", "-c", "setsid sleep 60 & echo ready; wait")
    )
    await until(lambda: "ready" in orphan.attempt.tail(), reactor)
    for each in (launched.holder, launched.child):
        os.kill(each.pid, signal.SIGKILL)
        await system.when_exited(each)
    assert len(system.tree(launched.child, orphan.attempt.id)) == 1
    assert await system.end_tree(launched.child, orphan.attempt.id) == "stopped"
    assert alive_with_mark(orphan.attempt.id) == []


@pytest_twisted.ensureDeferred
async def test_a_runner_started_within_a_session_is_no_part_of_it(system, plan, reactor, tmp_path):
    script = "sh -c 'echo $$ > runner.pid; sleep 60' runner start-sync & "
    script += "while ! test -s runner.pid; do sleep 0.01; done; echo ready; wait"
    launched = await system.launch(starter := plan("/bin/sh", "-c", script))
    await until(lambda: "ready" in starter.attempt.tail(), reactor)
    runner = system.identify(int((tmp_path / "runner.pid").read_text()))
    try:
        assert await system.end_tree(launched.child, starter.attempt.id) == "stopped"
        await system.when_exited(launched.holder)
        assert system.is_running(runner) is True
    finally:
        await system.end_tree(runner, "")


@pytest_twisted.ensureDeferred
async def test_zombies_count_as_gone__C06(system, plan, reactor):
    """The parent never reaps: what has ended is no part of the tree, and does not keep it alive."""
    script = "import os, signal; os.posix_spawn('/bin/true', ['true'], {}); "
    script += "print('ready', flush=True); signal.pause()"
    launched = await system.launch(careless := plan(sys.executable, "-I", "-S", "-c", script))
    await until(lambda: "ready" in careless.attempt.tail(), reactor)
    (zombie,) = await until(
        lambda: [
            each
            for each in everybody_below(launched.child.pid)
            if each.status() == psutil.STATUS_ZOMBIE
        ],
        reactor,
    )
    assert system.identify(zombie.pid) is None
    assert [each.pid for each in system.tree(launched.child, careless.attempt.id)] == [
        launched.holder.pid,
        launched.child.pid,
    ]
    assert await system.end_tree(launched.child, careless.attempt.id) == "stopped"
    await system.when_exited(launched.holder)


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of another user can only be made by root")
@pytest_twisted.ensureDeferred
async def test_a_process_that_we_may_not_signal_is_told_as_still_alive__C12(
    system, plan, reactor, monkeypatch
):
    """As root everybody may be signalled, so the kernel's answer is put in its mouth."""
    launched = await system.launch(
        mixed := plan("/bin/sh", "-c", "sleep 60 & echo ready; exec sleep 60")
    )
    await until(lambda: "ready" in mixed.attempt.tail(), reactor)
    foreign = [
        each
        for each in system.tree(launched.child, mixed.attempt.id)
        if each not in (launched.child, launched.holder)
    ]
    really = signal.pidfd_send_signal

    def send(pidfd, number, *more):
        said = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
        if f"Pid:\t{foreign[0].pid}\n" in said:
            raise PermissionError(1, "Operation not permitted")
        really(pidfd, number, *more)

    monkeypatch.setattr(signal, "pidfd_send_signal", send)
    monkeypatch.setattr("hapi.process.termination.MAX_KILL_PASSES", 2)
    os.kill(launched.holder.pid, signal.SIGKILL)  # it would do the rest
    assert await system.end_tree(launched.child, mixed.attempt.id, 0.1) == "still_alive"
    assert system.is_running(foreign[0]) is True
    monkeypatch.undo()
    assert await system.end_tree(launched.child, mixed.attempt.id, 0.1) == "stopped"


@pytest_twisted.ensureDeferred
async def test_a_process_that_cannot_be_seen_is_neither_signalled_nor_called_gone__C13(
    system, plan, monkeypatch
):
    launched = await system.launch(hidden := plan("sleep", "60"))
    child = launched.child
    unproved = ProcessIdentity(child.pid, child.start_ticks, child.boot_id, None)
    with monkeypatch.context() as patched:
        patched.setattr("hapi.process.identity.read_proc", lambda *_: None)
        assert system.is_running(unproved) is None
        assert system.identify(child.pid) is None
        assert await system.end_tree(unproved, hidden.attempt.id, 0.1) == "still_alive"
    assert system.is_running(child) is True
    assert await system.end_tree(child, hidden.attempt.id) == "stopped"
    await system.when_exited(launched.holder)


@pytest_twisted.ensureDeferred
async def test_identities_stay_apart_while_pids_come_and_go__M04(system, plan):
    launched = await system.launch(sleeper := plan("/bin/sleep", "60"))
    seen: list[ProcessIdentity] = []
    for _ in range(200):
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as brief:
            found = system.identify(brief.pid)
            assert found is not None
            assert found not in seen
            assert system.is_running(found) is True
            if os.access(LAST_PID, os.W_OK):  # the next one gets the same pid again
                LAST_PID.write_text(str(brief.pid - 1))
        assert system.is_running(found) is False
        seen.append(found)
    assert system.is_running(launched.child) is True
    assert await system.end_tree(seen[-1], sleeper.attempt.id + "x", 0.05) == "already_gone"
    assert await system.end_tree(launched.child, sleeper.attempt.id) == "stopped"


@pytest.mark.skipif(
    not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK), reason="pids can only be chosen by root"
)
@pytest_twisted.ensureDeferred
async def test_a_stranger_with_a_reused_pid_is_never_signalled__C11(system, plan, reactor):
    """The same pid is reused at once, mostly within one tick: only the pidfd's inode differs."""
    for _ in range(20):
        launched = await system.launch(short := plan("/bin/true"))
        await system.when_exited(launched.holder)
        stranger = None
        for _ in range(20):
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(launched.child.pid - 1))
            stranger = subprocess.Popen(["/bin/sleep", "60"])
            if stranger.pid == launched.child.pid:
                break
            stranger.kill()
            stranger.wait()
        if stranger is None or stranger.pid != launched.child.pid:
            continue
        forged = ProcessIdentity(
            stranger.pid,
            system.identify(stranger.pid).start_ticks,
            launched.child.boot_id,
            launched.child.pidfd_inode,
        )
        try:
            for identity in (launched.child, forged):
                assert system.is_running(identity) is False
                await system.when_exited(identity)
                assert await system.end_tree(identity, short.attempt.id, 0.05) == "already_gone"
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


@pytest_twisted.ensureDeferred
async def test_a_pid_that_is_a_threads_by_now_is_nobodys__C11_L04(system, home):
    """Threads have numbers of the same kind: a dead runner's may be one of them."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        us = system.identify(os.getpid())
        gone = ProcessIdentity(thread.native_id, us.start_ticks, us.boot_id, us.pidfd_inode)
        assert system.identify(gone.pid) is None
        assert system.is_running(gone) is False
        await system.when_exited(gone)
        assert await system.end_tree(gone, "none", 0.05) == "already_gone"
        home.npm_lock.write_text(str(gone.pid))
        lock = RunnerLock(home, system)
        assert lock.try_acquire() is True
        lock.release()
    finally:
        over.set()
        thread.join()


@pytest_twisted.ensureDeferred
async def test_a_look_at_the_processes_lets_others_have_their_turn__M01(
    system, plan, reactor, monkeypatch
):
    """A scan works in slices: when each process ends a slice, timers run in between."""
    launched = await system.launch(sleeper := plan("sleep", "60"))
    monkeypatch.setattr("hapi.process.tree.SCAN_SLICE", -1.0)
    turns = 0

    def turn():
        nonlocal turns
        turns += 1
        if not done.called:
            reactor.callLater(0, turn)

    done = system.end_tree(launched.child, sleeper.attempt.id)
    reactor.callLater(0, turn)
    assert await done == "stopped"
    assert turns > 20  # processes there are at least
    await system.when_exited(launched.holder)


@pytest_twisted.ensureDeferred
async def test_descriptors_are_given_back_after_many_launches_and_ends__M03(system, plan):
    async def round_trip():
        launched = await system.launch(each := plan("sleep", "60"))
        assert await system.end_tree(launched.child, each.attempt.id) == "stopped"
        await system.when_exited(launched.holder)

    await round_trip()
    before = len(os.listdir("/proc/self/fd"))
    await gatherResults([Deferred.fromCoroutine(round_trip()) for _ in range(10)])
    assert len(os.listdir("/proc/self/fd")) == before
