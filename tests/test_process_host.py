"""The process that a program runs in: its signals, its exit code, and errors at the start."""

import signal

import pytest
from twisted.application.service import Service

from hapi import process_host
from hapi.process_host import TwistdHost


class Reactor:
    """Calls at once what a running reactor calls, and counts how often it is stopped."""

    running = True
    stopped = 0

    def callWhenRunning(self, call, *arguments):
        call(*arguments)

    callFromThread = callWhenRunning

    def stop(self):
        self.stopped += 1


@pytest.fixture
def handlers(monkeypatch):
    """The handlers that were installed, by signal."""
    found = {}
    monkeypatch.setattr(process_host.signal, "signal", found.__setitem__)
    return found


@pytest.fixture
def exits(monkeypatch):
    """The exit codes that were registered for the end of the process."""
    found = []
    monkeypatch.setattr(process_host.atexit, "register", lambda _, code: found.append(code))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_reactor_once_with_exit_code_0(handlers, exits, number):
    host = TwistdHost(reactor := Reactor(), name="hapi-test")
    host.services.startService()
    assert signal.SIGHUP not in handlers  # it would have no meaning
    for _ in range(2):
        handlers[number](number, None)
    assert (reactor.stopped, host.exit_code, exits) == (1, 0, [])


def test_a_further_signal_asks_a_program_that_leaves_to_hurry(handlers, exits):
    host = TwistdHost(Reactor(), name="hapi-test")
    host.services.startService()
    asked = []
    host.on_impatience = lambda: asked.append(True)
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert asked == []
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert asked == [True]


def test_the_first_exit_code_is_kept_and_twistd_ends_with_it(handlers, exits):
    host = TwistdHost(Reactor(), name="hapi-test")
    host.services.startService()
    host.leave(4)
    host.leave(0)
    assert (host.exit_code, exits) == (4, [4])


def test_sighup_reloads_and_never_ends(handlers, exits):
    reloads = []
    host = TwistdHost(reactor := Reactor(), name="hapi-test")
    host.on_hangup = lambda: reloads.append(True)
    host.services.startService()
    handlers[signal.SIGHUP](signal.SIGHUP, None)
    assert (reloads, reactor.stopped, host.leaving) == ([True], 0, False)


class Refusing(Service):
    def startService(self):
        raise OSError("the port is taken")


def test_an_expected_error_at_the_start_is_one_sentence_and_another_is_raised(handlers, capsys):
    host = TwistdHost(Reactor(), name="hapi-test", expected={OSError: 3})
    Refusing().setServiceParent(host.services)
    with pytest.raises(SystemExit) as ended:
        host.services.startService()
    assert (ended.value.code, capsys.readouterr().err) == (3, "hapi-test: the port is taken\n")
    host = TwistdHost(Reactor(), name="hapi-test")
    Refusing().setServiceParent(host.services)
    with pytest.raises(OSError, match="the port is taken"):
        host.services.startService()
