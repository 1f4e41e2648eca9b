"""What systemd hears of a runner: a fake NOTIFY_SOCKET, a Clock, and one real child that prints
what it inherited.
"""

from __future__ import annotations

import os
import secrets
import socket

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.attempts import AttemptFolder
from hapi.process.interface import LaunchPlan
from hapi.process.launch import session_environment
from hapi.runner.supervision.sd_notify import (
    NotifySocket,
    SystemdNotifier,
    status_line,
    systemd_notifier,
    watchdog_interval,
)


@define
class HandoffCoordinator:
    handed_over_to: int | None = None


@define(eq=False)
class Runner:
    handoff: HandoffCoordinator = field(factory=HandoffCoordinator)
    up: Deferred = field(factory=Deferred)
    found: dict = field(
        factory=lambda: {
            "hub": {"url": "http://hub:1", "phase": "connecting", "reason": None},
            "children": 0,
        }
    )

    def when_up(self):
        return self.up

    def status(self):
        return self.found


@define(eq=False)
class Systemd:
    """The other end of the socket."""

    address: str
    socket: socket.socket

    def heard(self) -> list[str]:
        """All messages since the last look."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    name = (
        str(tmp_path / "notify")
        if request.param == "path"
        else f"@hapi-test-{secrets.token_hex(8)}"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name.startswith("@") else name)
        listening.setblocking(False)
        yield Systemd(name, listening)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told(systemd, clock):
    """A runner whose owner speaks to systemd, with a watchdog of 20 s."""
    runner = Runner()
    environ = {
        "NOTIFY_SOCKET": systemd.address,
        "WATCHDOG_USEC": "20000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    made = systemd_notifier(clock, runner, environ)
    assert made is not None
    made.startService()
    yield runner, made
    if made.running:
        made.stopService()


def test_ready_is_said_when_the_control_api_answers_and_not_before__V04(told, systemd, clock):
    runner, _ = told
    clock.advance(9.0)
    assert systemd.heard() == ["WATCHDOG=1"]
    runner.up.callback(None)
    assert systemd.heard() == []  # under twistd the reactor may not even turn yet
    clock.advance(0)
    assert systemd.heard() == ["READY=1\nSTATUS=connecting: http://hub:1, 0 sessions"]


def test_the_status_tells_link_and_sessions_when_they_change__V04(told, systemd, clock):
    runner, _ = told
    runner.up.callback(None)
    clock.advance(0)
    systemd.heard()
    clock.pump([1.0] * 6)
    assert systemd.heard() == []
    runner.found = {
        "hub": {"url": "http://hub:1", "phase": "connected", "reason": None},
        "children": 1,
    }
    clock.advance(5.0)
    assert "STATUS=connected to http://hub:1, 1 session" in systemd.heard()


def test_a_live_reactor_feeds_the_watchdog_at_half_its_time__V03(told, systemd, clock):
    systemd.heard()
    clock.pump([1.0] * 40)
    assert systemd.heard().count("WATCHDOG=1") == 4


def test_a_blocked_reactor_feeds_nobody_and_catches_up_with_one_sign_of_life__V03(
    told, systemd, clock
):
    systemd.heard()
    clock.advance(9.9)
    assert systemd.heard() == []  # nothing is sent but from the reactor's own turn
    clock.advance(600.0)
    assert systemd.heard() == ["WATCHDOG=1"]


def test_leaving_is_said_once_and_nothing_after_it__V03(told, systemd, clock):
    runner, made = told
    runner.up.callback(None)
    clock.advance(0)
    systemd.heard()
    made.stopService()
    clock.advance(100.0)
    assert systemd.heard() == ["STOPPING=1\nSTATUS=leaving; sessions go on"]


def test_one_that_handed_over_says_no_more_of_leaving__H07(told, systemd):
    runner, made = told
    systemd.heard()
    runner.handoff.handed_over_to = 4711
    made.stopService()
    assert systemd.heard() == []


def test_a_reload_is_announced_and_ended__P03(systemd, clock):
    runner = Runner()
    made = SystemdNotifier(
        clock, runner, NotifySocket(systemd.address), None, monotonic=lambda: 12.5
    )
    made.startService()
    made.reload()
    assert systemd.heard() == []  # it is not even up
    runner.up.callback(None)
    clock.advance(0)
    systemd.heard()
    made.reload()
    assert systemd.heard() == [
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "READY=1\nSTATUS=connecting: http://hub:1, 0 sessions",
    ]
    made.stopService()


def test_a_start_that_fails_tells_why__V10(told, systemd):
    runner, _ = told
    systemd.heard()
    runner.up.errback(ValueError("port 7\nis in use"))
    assert systemd.heard() == ["STATUS=cannot start: port 7\\nis in use"]


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "@"}]
)
def test_without_a_socket_that_can_be_spoken_to_there_is_no_notifier(environ, clock):
    assert systemd_notifier(clock, Runner(), environ) is None


def test_a_socket_that_is_gone_harms_nothing(tmp_path):
    assert NotifySocket(str(tmp_path / "none")).send("READY=1") is False
    assert NotifySocket("@" + "x" * 300).send("READY=1") is False


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, None),
    ],
)
def test_the_watchdog_is_fed_when_it_is_ours__V03(environ, expected):
    assert watchdog_interval(environ, pid=7) == expected


def test_a_replacement_feeds_the_watchdog_of_its_predecessor__V03_H07():
    assert (
        watchdog_interval({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, pid=7, replaces=True)
        == 1.5
    )


def test_a_status_stays_on_its_line__K03():
    hub = {"url": "http://hub:1", "phase": "refused", "reason": "no\nWATCHDOG=trigger"}
    assert (
        status_line({"hub": hub, "children": 2})
        == "refused: http://hub:1 (no\\nWATCHDOG=trigger), 2 sessions"
    )


def test_sessions_inherit_none_of_it__C18(tmp_path):
    ours = {
        "NOTIFY_SOCKET": "/n",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "2",
        "LISTEN_FDS": "1",
        "PATH": "/bin",
    }
    kept = session_environment(LaunchPlan(("true",), "/", ours, AttemptFolder(tmp_path / "a1")))
    assert kept == {"PATH": "/bin", "HAPI_ATTEMPT": "a1"}
