"""The portable layer where the contract does not reach: choice, boot ids, kqueue, holder."""

import os
import select
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import pytest_twisted
from twisted.internet.task import Clock

from hapi.attempts import AttemptFolder
from hapi.process import identity, portable, portable_exits
from hapi.process.exit_watch import ExitWatcher
from hapi.process.kernel import choose_layer
from hapi.process.launch import INTERPRETER_OPTIONS
from hapi.process.portable_exits import KqueueExitWatcher, PollingExitWatcher
from hapi.protocol.attempt import AttemptRequest, ProcessIdentity
from hapi.settings import ConfigurationError
from tests.support.paths import SUPPORT
from tests.support.programs import ROOT, alive, until

# --- the choice


def test_the_layer_is_chosen_by_the_system_unless_the_variable_names_one(monkeypatch):
    assert choose_layer({}) == choose_layer({"HAPI_PROCESSES": " Auto "}) == "linux"
    assert choose_layer({"HAPI_PROCESSES": "portable"}) == "portable"
    monkeypatch.delattr(os, "pidfd_open")
    assert choose_layer({}) == "portable"


def test_an_unknown_layer_and_one_that_the_system_lacks_are_refused(monkeypatch):
    with pytest.raises(ConfigurationError, match="'windows': it must be auto, linux or portable"):
        choose_layer({"HAPI_PROCESSES": "windows"})
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(ConfigurationError, match="lacks pidfds"):
        choose_layer({"HAPI_PROCESSES": "linux"})


# --- who a process is


@pytest.mark.parametrize(
    ("recorded", "current", "is_earlier"),
    [
        ("a", "a", False),
        ("a", "b", True),
        ("portable:1000", "portable:1059", False),
        ("portable:1000", "portable:1061", True),
        ("portable:uuid-1", "portable:uuid-2", True),
        ("a", "portable:1000", False),
        ("portable:1000", "a", False),
    ],
)
def test_a_boot_time_may_drift_and_another_layers_id_proves_nothing(recorded, current, is_earlier):
    assert identity.is_earlier_boot(recorded, current) is is_earlier


def test_a_process_that_the_other_layer_recorded_may_run_and_is_not_signalled__C11():
    of_linux, of_portable = identity.identify(os.getpid()), portable.identify(os.getpid())
    assert identity.is_running(of_portable) is None
    assert identity.send(of_portable, signal.SIGKILL) is False
    assert portable.is_running(of_linux) is None
    with pytest.raises(OSError, match="hidden"):
        portable.send(of_linux, signal.SIGKILL)


@pytest_twisted.ensureDeferred
async def test_the_exit_of_a_process_that_the_portable_layer_recorded_is_seen_when_it_comes(
    reactor,
):
    process = subprocess.Popen(["sleep", "600"])
    exited = ExitWatcher(reactor, reactor).when_exited(portable.identify(process.pid))
    assert not exited.called
    process.kill()
    await exited
    process.wait()


def test_identities_survive_a_clock_that_is_set(monkeypatch):
    known = portable.identify(os.getpid())
    monkeypatch.setattr(psutil, "boot_time", lambda: 1.0)
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: 1.0)
    assert portable.identify(os.getpid()).start_ticks == known.start_ticks


# --- exits


class Queue:
    """What macOS and the BSDs have: kqueue(2), as far as processes go."""

    def __init__(self):
        self.added, self.events, self.closed = [], [], False

    def control(self, changes, most, timeout=0):
        for change in changes or ():
            if change.ident in self.gone:
                raise ProcessLookupError
            self.added.append(change.ident)
        events, self.events = self.events, []
        return events

    gone: frozenset = frozenset()

    def fileno(self):
        return 99

    def close(self):
        self.closed = True


class Readers(Clock):
    def __init__(self):
        super().__init__()
        self.readers = []

    def addReader(self, reader):
        self.readers.append(reader)


@pytest.fixture
def running(monkeypatch):
    """The processes that count as running; a test removes them."""
    found = {ProcessIdentity(pid, 1, "portable:1") for pid in (7, 8)}
    monkeypatch.setattr(portable, "is_running", lambda identity: identity in found)
    return found


@pytest.fixture
def queue(monkeypatch):
    queue = Queue()
    names = {"KQ_FILTER_PROC": 1, "KQ_EV_ADD": 2, "KQ_EV_ONESHOT": 4, "KQ_NOTE_EXIT": 8}
    made = SimpleNamespace(
        kqueue=lambda: queue, kevent=lambda ident, **more: SimpleNamespace(ident=ident), **names
    )
    monkeypatch.setattr(portable_exits, "_kqueue", made)
    return queue


def test_polls_come_often_at_first_and_again_for_a_second_caller(running):
    clock, (one, _) = Readers(), sorted(running, key=lambda each: each.pid)
    watcher, ended = PollingExitWatcher(clock, clock), []
    watcher.when_exited(one).addCallback(ended.append)
    clock.pump([0.5] * 20)
    assert [round(call.getTime() - clock.seconds(), 2) for call in clock.getDelayedCalls()] == [0.5]
    watcher.when_exited(one).addCallback(ended.append)
    running.discard(one)
    clock.advance(portable_exits.FIRST_INTERVAL)
    assert ended == [None, None]
    assert clock.getDelayedCalls() == []


def test_kqueue_reports_exits_and_a_rare_poll_finds_what_it_missed(running, queue):
    clock, (one, other) = Readers(), sorted(running, key=lambda each: each.pid)
    watcher, ended = KqueueExitWatcher(clock, clock), []
    for each in (one, other):
        watcher.when_exited(each).addCallback(lambda _, each=each: ended.append(each.pid))
    assert (queue.added, clock.readers) == ([7, 8], [watcher])
    queue.events = [SimpleNamespace(ident=7), SimpleNamespace(ident=123)]
    watcher.doRead()
    assert ended == [7]
    running.discard(other)
    clock.advance(portable_exits.FIRST_INTERVAL)
    assert ended == [7, 8]
    assert clock.getDelayedCalls() == []


def test_a_process_that_is_gone_when_it_is_added_has_exited(running, queue):
    clock, (one, _) = Readers(), sorted(running, key=lambda each: each.pid)
    queue.gone = frozenset([one.pid])
    ended = []
    KqueueExitWatcher(clock, clock).when_exited(one).addCallback(ended.append)
    assert ended == [None]


def test_linux_has_no_kqueue():
    assert not hasattr(select, "kqueue")


# --- the holder, without anything of Linux

WITHOUT_LINUX = SUPPORT / "without_linux/sitecustomize.py"
RUN_HOLDER = """
import os, runpy, sys
os.dup2(int(sys.argv.pop(1)), 3)
runpy.run_path(sys.argv.pop(1))
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def hold(home, tmp_path):
    """Starts `script` below a holder that finds nothing of Linux; its process and the folder."""
    started = []

    def start(script: str):
        folder = AttemptFolder.create(home, AttemptRequest(("sh",), str(tmp_path), time.time()))
        reading, writing = os.pipe()
        with folder.output.open("ab") as output:
            process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        *INTERPRETER_OPTIONS,
                        "-c",
                        RUN_HOLDER,
                        str(writing),
                        WITHOUT_LINUX,
                    ),
                    *(ROOT / "hapi/process/holder.py", folder.path, tmp_path, "sh", "-c", script),
                ],
                env={**os.environ, **portable.holder_variables(), "HAPI_ATTEMPT": folder.id},
                stdout=output,
                stderr=output,
                pass_fds=[writing],
            )
        os.close(writing)
        started.append((process, reading))
        return process, folder

    yield start
    for process, reading in started:
        process.kill()
        process.wait()
        os.close(reading)


def test_a_holder_without_linux_records_who_runs_and_how_it_ended__S11(hold):
    process, folder = hold("sleep 0.2; exit 5")
    assert process.wait(30) == 0, folder.tail()
    assert folder.end.exit_code == 5
    assert folder.process.holder.pid == process.pid
    assert folder.process.child.boot_id == portable.boot_id()
    assert folder.process.child.start_ticks > 0


def test_a_holder_without_linux_ends_what_its_session_left_behind__C02(hold):
    process, folder = hold("trap '' TERM; sleep 600 & echo $! > left; exit 0")
    assert process.wait(30) == 0, folder.tail()
    left = int((folder.path.parents[2] / "left").read_text())
    assert not alive(left)


def test_a_holder_in_a_hurry_kills_at_once(hold):
    process, folder = hold("trap '' TERM; echo ready; while :; do sleep 1; done")
    until(lambda: "ready" in folder.tail() and folder.process is not None)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == 0
    assert folder.end.signal == "SIGKILL"
