"""Whose child a process is, and who it is where the kernel tells less than it could."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.process import exit_status as status
from hapi.process import identity, launch, tree
from hapi.process.exit_watch import POLL_INTERVAL, ExitWatcher
from hapi.protocol.attempt import ProcessIdentity

CHECK = SynchronousTestCase()
NOBODY = (1 << 22) + 1  # no pid of Linux is so high

FAMILY = """
import os, subprocess, sys
sleep = [sys.executable, "-I", "-S", "-c", "input()"]
pipe = subprocess.PIPE
plain = subprocess.Popen(["/bin/sh", "-c", "sleep 600 & echo $!; wait"], stdout=pipe, text=True)
runner = subprocess.Popen([*sleep, "runner", "start-sync"], stdin=subprocess.PIPE)
options = ["-I", "-S", "-E", "-X", "hapi-holder"]
holder = subprocess.Popen([sys.executable, *options, "-c", "input()"], stdin=pipe)
dead = subprocess.Popen(["/bin/true"])
os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
print(plain.pid, plain.stdout.readline().strip(), runner.pid, holder.pid, dead.pid, flush=True)
input()
"""


@pytest.fixture
def family():
    """A process with a child, a grandchild, a runner, a holder of another session and a zombie."""
    root = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [int(pid) for pid in root.stdout.readline().split()]
    yield root, pids
    for pid in (*pids[:4], root.pid):
        os.kill(pid, signal.SIGKILL)
    root.communicate()


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    yield identity.identify(process.pid)
    process.kill()
    process.communicate()


def no_pidfd(monkeypatch, reason=errno.EMFILE):
    @contextmanager
    def refuse(pid):
        raise OSError(reason, os.strerror(reason))
        yield

    monkeypatch.setattr(identity, "open_pidfd", refuse)


# --- who is below


def test_all_below_are_found_parents_first_and_neither_runners_nor_holders_nor_zombies(family):
    root, (child, grandchild, *_others) = family
    assert [each.pid for each in tree.descendants(identity, identity.identify(root.pid))] == [
        root.pid,
        child,
        grandchild,
    ]


def test_a_holder_with_a_child_has_somebody_below_and_a_kernel_without_lists_does_not_tell(
    family, monkeypatch
):
    root, _ = family
    known = identity.identify(root.pid)
    assert tree.has_no_descendants(identity, root.pid) is False
    monkeypatch.setattr(identity, "read_proc", lambda *_: None)
    assert tree.has_no_descendants(identity, root.pid) is None
    assert identity.children_of(root.pid) is None
    assert tree.descendants(identity, known) is None


def test_a_process_that_is_gone_has_no_list_of_children():
    assert identity.children_of(NOBODY) is None


def test_a_child_whose_pid_is_anothers_by_now_is_left_out__C11(family, monkeypatch):
    root, _ = family
    monkeypatch.setattr(
        identity, "children_of", lambda pid: [os.getpid(), NOBODY] if pid == root.pid else None
    )
    assert [each.pid for each in tree.descendants(identity, identity.identify(root.pid))] == [
        root.pid
    ]


def test_a_child_that_ends_while_it_is_looked_at_has_nobody_below(family, monkeypatch):
    root, (child, *_others) = family
    monkeypatch.setattr(identity, "children_of", lambda pid: [child] if pid == root.pid else None)
    assert [each.pid for each in tree.descendants(identity, identity.identify(root.pid))] == [
        root.pid,
        child,
    ]


def test_a_look_that_fails_is_told_to_all_who_asked_and_the_next_one_works__M03(monkeypatch):
    clock = Clock()
    scanner = tree.ProcessScanner(clock, identity)
    with monkeypatch.context() as broken:
        broken.setattr(
            identity.os,
            "listdir",
            lambda path: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files")),
        )
        asked = [scanner.scan(), scanner.scan()]
        clock.advance(0)
    for each in asked:
        assert CHECK.failureResultOf(each, OSError).value.errno == errno.EMFILE
    again = scanner.scan()
    while not again.called:
        clock.advance(0)
    assert os.getpid() in CHECK.successResultOf(again).stats


# --- who it is


def test_who_was_seen_is_known_by_pid_and_start_and_no_other__C11(sleeper):
    seen = identity.read_stat(sleeper.pid)
    assert identity.identity_of(seen) == sleeper
    assert (
        identity.identity_of(identity.Stat(seen.pid, seen.state, seen.parent, seen.start_ticks - 1))
        is None
    )
    assert identity.identity_of(identity.Stat(NOBODY, "S", 1, 1)) is None


def test_without_a_descriptor_start_and_state_tell_who_runs__M03(sleeper, monkeypatch):
    seen = identity.read_stat(sleeper.pid)
    no_pidfd(monkeypatch)
    plain = ProcessIdentity(sleeper.pid, sleeper.start_ticks, sleeper.boot_id)
    assert identity.is_running(sleeper) is True
    assert identity.is_running(ProcessIdentity(sleeper.pid, 1, sleeper.boot_id)) is False
    assert identity.is_running(ProcessIdentity(NOBODY, 1, sleeper.boot_id)) is None
    monkeypatch.setattr(identity, "read_stat", lambda pid: seen)
    assert identity.identity_of(seen) == plain
    monkeypatch.setattr(identity, "read_stat", lambda pid: None)
    assert identity.identity_of(seen) is None


def test_nothing_is_sent_to_who_cannot_be_told_or_is_another__C11_C13(sleeper, monkeypatch):
    unproved = ProcessIdentity(sleeper.pid, sleeper.start_ticks, sleeper.boot_id)
    earlier = ProcessIdentity(sleeper.pid, sleeper.start_ticks, "another boot")
    assert identity.send(earlier, signal.SIGKILL) is False
    monkeypatch.setattr(identity, "read_stat", lambda pid: None)
    with pytest.raises(OSError, match="hidden from us"):
        identity.send(unproved, signal.SIGKILL)
    monkeypatch.undo()
    assert identity.is_running(sleeper) is True


def test_a_kernel_without_pidfds_has_no_inodes_for_them(monkeypatch):
    no_pidfd(monkeypatch, errno.ENOSYS)
    assert identity.has_pidfs.__wrapped__() is False


def test_without_a_free_descriptor_a_process_does_not_look_as_if_it_had_ended__M03(
    monkeypatch,
):
    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(identity.os, "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        identity.read_stat(os.getpid())
    assert status._of_zombie(os.getpid()) is None


def test_a_start_is_told_in_seconds_of_our_clock(sleeper):
    assert -1 < time.time() - identity.started_at(sleeper) < 600


# --- how it ended


def test_a_status_of_nought_that_hides_the_true_one_is_not_believed(monkeypatch):
    """The kernel shows 0 to callers without permission; others also see wchan as 1."""
    fields = ["Z", *["0"] * 49]
    monkeypatch.setattr(
        status, "read_proc", lambda pid, name: b"7 (a name) " + " ".join(fields).encode()
    )
    assert status._of_zombie(7) is None
    fields[status.WCHAN] = "1"
    assert status._of_zombie(7) == 0


def test_without_a_descriptor_an_end_is_looked_for_again_and_again_and_told_to_all__M03(
    sleeper, monkeypatch
):
    def refuse(pid):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    clock = Clock()
    exits = ExitWatcher(None, clock)
    monkeypatch.setattr("hapi.process.exit_watch.os.pidfd_open", refuse)
    first, second = exits.when_exited(sleeper), exits.when_exited(sleeper)
    monkeypatch.undo()
    clock.advance(POLL_INTERVAL)
    CHECK.assertNoResult(first)
    monkeypatch.setattr("hapi.process.exit_watch.kernel.is_running", lambda who: False)
    clock.advance(POLL_INTERVAL)
    assert (CHECK.successResultOf(first), CHECK.successResultOf(second)) == (None, None)
    assert clock.getDelayedCalls() == []


@pytest.fixture
def child(reactor):
    """Makes a child process of Twisted that runs until its standard input is closed."""
    made = []

    def make():
        protocol = launch.ChildProtocol()
        argv = [sys.executable, "-I", "-S", "-c", "input()"]
        reactor.spawnProcess(protocol, argv[0], argv, childFDs={0: "w", 1: 1, 2: 2})
        made.append(protocol)
        return protocol

    yield make
    for protocol in made:
        if not protocol.exited.has_fired:
            os.kill(protocol.pid, signal.SIGKILL)
            os.waitid(os.P_PID, protocol.pid, os.WEXITED | os.WNOWAIT)
            protocol.reap()


def test_a_child_is_reaped_without_a_signal_handler_when_it_has_exited(child):
    protocol = child()
    assert protocol.reap() is False
    os.kill(protocol.pid, signal.SIGKILL)
    os.waitid(os.P_PID, protocol.pid, os.WEXITED | os.WNOWAIT)
    assert protocol.reap() is True
    assert CHECK.successResultOf(protocol.exited.when_fired()) == signal.SIGKILL
    with pytest.raises(ChildProcessError):
        os.waitpid(protocol.pid, os.WNOHANG)
    assert protocol.reap() is True  # no second wait: the pid may be another child's by now


def test_a_child_that_somebody_else_has_reaped_has_ended_and_nobody_knows_how(child):
    protocol = child()
    os.kill(protocol.pid, signal.SIGKILL)
    os.waitpid(protocol.pid, 0)
    assert protocol.reap() is True
    assert CHECK.successResultOf(protocol.exited.when_fired()) is None


def test_a_child_whose_exit_cannot_be_watched_is_looked_for_again(child):
    clock, protocol = Clock(), child()

    def refuse(pid):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    launch.reap_on_exit(clock, protocol, refuse, None)
    clock.advance(launch.REAP_INTERVAL)
    CHECK.assertNoResult(protocol.exited.when_fired())
    os.kill(protocol.pid, signal.SIGKILL)
    os.waitid(os.P_PID, protocol.pid, os.WEXITED | os.WNOWAIT)
    clock.advance(launch.REAP_INTERVAL)
    assert CHECK.successResultOf(protocol.exited.when_fired()) == signal.SIGKILL
    assert clock.getDelayedCalls() == []


# --- how it is started


@pytest.mark.parametrize("content", [None, b"short", b"\0" * 16])
def test_a_holder_without_good_byte_code_is_started_from_its_source(tmp_path, monkeypatch, content):
    compiled = tmp_path / "holder.pyc"
    if content is not None:
        compiled.write_bytes(content)
    monkeypatch.setattr(launch.importlib.util, "cache_from_source", lambda source: str(compiled))
    assert launch.holder_program.__wrapped__() == launch.__file__.replace("launch.py", "holder.py")


def test_errors_without_a_number_are_told_in_their_own_words():
    assert launch.describe_error(ValueError("embedded null byte")) == "embedded null byte"
    assert launch.describe_error(OSError(errno.EACCES, "ignored")) == "Permission denied"
    assert launch.explain_errno(errno.E2BIG) == "its arguments are too long"
    assert launch.explain_errno(errno.ELOOP) == "too many levels of symbolic links"
