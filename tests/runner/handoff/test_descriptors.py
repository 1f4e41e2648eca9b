"""The new side of a hand-off: what it believes, on real descriptors."""

import fcntl
import os
import socket

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from hapi.process import MemoryProcesses
from hapi.runner.control.listeners import Listeners
from hapi.runner.handoff.descriptors import (
    DESCRIPTORS,
    FROM_PID,
    NONE,
    StartCommand,
    handoff_environment,
    take_handoff_environment,
    verify_inherited,
)
from hapi.runner.lock.home_lock import RunnerLock
from hapi.runner.storage.state_file import StateFile, own_runner_state
from hapi.settings import HubAccess
from tests.support.runner_stage import result_of

OLD = 4711  # pid


class Estate:
    """What an old runner has: the lock, both listeners, a socket to channel on."""

    def __init__(self, home) -> None:
        self.home, self.open = home, []
        self.lock = self.keep(
            os.open(home.runner_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        )
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.tcp = self.listener(socket.AF_INET, ("127.0.0.1", 0))
        self.unix = self.listener(socket.AF_UNIX, str(home.runner_socket))
        ours, theirs = socket.socketpair()
        self.keep(ours.detach())
        self.channel = self.keep(theirs.detach())

    def keep(self, descriptor: int) -> int:
        self.open.append(descriptor)
        return descriptor

    def listener(self, family, address) -> int:
        made = socket.socket(family)
        made.bind(address)
        made.listen()
        return self.keep(made.detach())

    def words(self, **other: int) -> tuple[str, str]:
        given = {
            "outgoing_pid": OLD,
            "lock": self.lock,
            "tcp": self.tcp,
            "unix": self.unix,
            "channel": self.channel,
            **other,
        }
        environment = handoff_environment(**given)
        return environment[FROM_PID], environment[DESCRIPTORS]

    def close(self) -> None:
        for descriptor in self.open:
            os.close(descriptor)


@pytest.fixture
def estate(home):
    made = Estate(home)
    yield made
    made.close()


def test_descriptors_that_are_what_they_should_be_are_an_inheritance__H14(estate):
    for descriptor in (estate.tcp, estate.unix):
        os.set_blocking(descriptor, True)
    for descriptor in (estate.lock, estate.tcp, estate.unix, estate.channel):
        os.set_inheritable(descriptor, True)
    found = verify_inherited(estate.words(), estate.home)
    assert (found.outgoing_pid, found.lock, found.tcp, found.unix, found.channel) == (
        OLD, estate.lock, estate.tcp, estate.unix, estate.channel,
    )  # fmt: skip
    assert not os.get_blocking(found.tcp)
    assert not os.get_blocking(found.unix)
    assert not any(
        map(os.get_inheritable, (found.lock, found.tcp, found.unix, found.channel))
    )  # L14, C18: no session gets them
    with estate.home.runner_lock.open() as fresh, pytest.raises(BlockingIOError):
        fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_runner_without_a_unix_socket_hands_over_as_well(estate):
    assert verify_inherited(estate.words(unix=NONE), estate.home).unix == NONE


@pytest.mark.parametrize(
    "words",
    [("4711", ""), ("4711", "1,2,3"), ("4711", "3,4,5,6,7"), ("x", "3,4,5,6"),
     ("4711", "a,b,c,d"), ("4711", "900,901,902,903"), ("0", "3,4,5,6"), ("-1", "3,4,5,6"),
     ("4711", "0,1,-1,2"), ("4711", "-1,-1,-1,-1"), ("4711", "9" * 30 + ",4,5,6")],
)  # fmt: skip
def test_words_without_descriptors_are_ignored__H12(home, words):
    assert verify_inherited(words, home) is None
    assert not home.runner_lock.exists()


@pytest.mark.parametrize("wrong", ["lock", "tcp", "unix", "channel", "same", "us"])
def test_one_wrong_descriptor_is_no_inheritance__H12(estate, wrong):
    with open(os.devnull) as other:
        given = {wrong: other.fileno()} if wrong not in ("same", "us") else {"tcp": estate.unix}
        if wrong == "us":
            given = {"outgoing_pid": os.getpid()}
        assert verify_inherited(estate.words(**given), estate.home) is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listener_on_another_address_is_not_ours__H12(estate, family):
    try:
        other = estate.listener(family, ("0.0.0.0" if family == socket.AF_INET else "::", 0))
    except OSError:
        pytest.skip("no such addresses here")
    assert verify_inherited(estate.words(tcp=other), estate.home) is None


def test_a_lock_file_that_nobody_has_locked_is_no_inheritance__H12(estate):
    fcntl.flock(estate.lock, fcntl.LOCK_UN)
    assert verify_inherited(estate.words(), estate.home) is None
    with estate.home.runner_lock.open() as fresh:
        fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and looking has not taken it


def test_a_lock_that_another_open_holds_is_no_inheritance__H12(estate):
    own = estate.keep(os.open(estate.home.runner_lock, os.O_RDWR | os.O_CLOEXEC))
    assert verify_inherited(estate.words(lock=own), estate.home) is None


def test_a_lock_of_another_file_is_no_inheritance__H12(estate):
    estate.home.runner_lock.unlink()
    estate.home.runner_lock.touch()
    assert verify_inherited(estate.words(), estate.home) is None


def test_the_words_are_taken_out_of_the_environment__C18():
    environ = {FROM_PID: "7", DESCRIPTORS: "3,4,5,6", "HAPI_ATTEMPT": "handoff-x", "PATH": "/bin"}
    assert take_handoff_environment(environ) == ("7", "3,4,5,6")
    assert environ == {"PATH": "/bin"}


def test_npms_word_alone_is_a_normal_start__H15():
    environ = {FROM_PID: "7", "HAPI_ATTEMPT": "a"}
    assert take_handoff_environment(environ) is None
    assert environ == {"HAPI_ATTEMPT": "a"}


def test_a_start_is_known_by_its_words_directory_and_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = StartCommand.capture({"A": "1"})
    assert (start.cwd, start.environment) == (str(tmp_path), {"A": "1"})
    assert os.path.isabs(start.argv[0])


def test_a_directory_that_is_gone_is_no_error_until_it_is_needed(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert StartCommand.capture({}).cwd is None


class TestLock:
    """The lock in a hand-off: held throughout, and the npm file never missing."""

    @pytest.fixture
    def lock(self, home):
        clock = Clock()
        lock = RunnerLock(home, MemoryProcesses((), clock), clock, "1")
        taking = lock.acquire()
        clock.pump([0.05] * 40)
        result_of(taking)
        yield lock
        lock.release()

    def incoming_lock(self, home, lock):
        clock = Clock()
        incoming = RunnerLock(home, MemoryProcesses((), clock), clock, "2")
        incoming.adopt(os.dup(lock.descriptor))
        incoming.replace_owner()
        result_of(incoming.acquire())
        return incoming

    def test_an_heir_holds_it_when_the_old_one_lets_go__G5(self, home, lock):
        incoming = self.incoming_lock(home, lock)
        lock.abandon()
        assert incoming.verify_ownership() == "ours"
        with home.runner_lock.open() as fresh, pytest.raises(BlockingIOError):
            fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert '"version": "2"' in home.runner_lock.read_text()
        incoming.release()
        assert not home.npm_lock.exists()

    def test_the_old_one_takes_it_back_from_an_heir_that_failed__H02(self, home, lock):
        incoming = self.incoming_lock(home, lock)
        incoming.abandon()
        lock.reclaim(OLD)
        assert lock.verify_ownership() == "ours"
        assert home.npm_lock.read_text() == str(os.getpid())
        assert '"version": "1"' in home.runner_lock.read_text()

    def test_what_a_third_one_wrote_is_left_alone__H02_L11(self, home, lock):
        home.npm_lock.unlink()
        home.npm_lock.write_text("99999")
        lock.reclaim(OLD)
        assert home.npm_lock.read_text() == "99999"


@pytest_twisted.ensureDeferred
async def test_ports_that_were_adopted_accept_and_go_without_taking_the_socket_along(
    estate, reactor
):
    factory = Factory.forProtocol(Protocol)
    found = verify_inherited(estate.words(), estate.home)
    listeners = Listeners.adopt(
        reactor, estate.home.runner_socket, factory, os.dup(found.tcp), os.dup(found.unix)
    )
    assert len(listeners.descriptors()) == 2
    listeners.leave_open()
    await listeners.close()
    assert estate.home.runner_socket.exists()
    with socket.socket(fileno=os.dup(estate.tcp)) as still:
        assert still.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        socket.create_connection(still.getsockname()).close()


@pytest.mark.parametrize("disabled", [False, True])
def test_the_state_file_tells_whether_replacing_is_off_and_npm_never_replaces_us__H08(
    home, disabled
):
    state = own_runner_state(
        access=HubAccess("http://h", "t"),
        machine_id="m",
        port=1,
        argv=(),
        now=0.0,
        version="1",
        handoff_disabled=disabled,
    )
    StateFile(home).write(state)
    read = StateFile(home).read()
    assert read.handoff_disabled is disabled
    assert read.started_with_version_handoff_disabled is True
