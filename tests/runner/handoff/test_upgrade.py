"""When a build is due, how often a replacement is tried, and who owns the restarts.

Time is a Clock, files are in memory.
"""

import os
import socket

import pytest
from twisted.internet.task import Clock

from hapi.runner.handoff.upgrade import (
    CONFIRM_DELAY,
    FAILURE_DELAY,
    THROTTLE_PERIOD,
    BuildWatch,
    UpgradeThrottle,
)
from hapi.runner.supervision.supervisor import Supervision, notify, supervision
from tests.support.handoff_stage import NEW, NEWER, OLD, Disk


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def watch(clock, disk):
    return BuildWatch(clock, disk)


def test_a_new_build_is_due_when_it_was_seen_twice_five_seconds_apart(watch, disk, clock):
    disk.now = NEW
    assert watch.check() is None
    clock.advance(CONFIRM_DELAY - 0.1)
    assert watch.check() is None
    assert watch.confirming
    clock.advance(0.1)
    assert watch.check() == NEW


def test_a_build_that_still_changes_is_not_due(watch, disk, clock):
    disk.now = NEW
    watch.check()
    clock.advance(CONFIRM_DELAY)
    disk.now = NEWER
    assert watch.check() is None
    clock.advance(CONFIRM_DELAY)
    assert watch.check() == NEWER


@pytest.mark.parametrize("meanwhile", [{"now": None}, {"broken": True}, {"now": OLD}])
def test_a_copy_that_is_going_on_or_taken_back_starts_the_wait_anew(watch, disk, clock, meanwhile):
    disk.now = NEW
    watch.check()
    for name, value in meanwhile.items():
        setattr(disk, name, value)
    clock.advance(CONFIRM_DELAY)
    assert watch.check() is None
    disk.now, disk.broken = NEW, False
    assert watch.check() is None
    clock.advance(CONFIRM_DELAY)
    assert watch.check() == NEW


def test_touched_files_with_the_same_content_are_never_due__H05(watch, disk, clock):
    disk.touched = True
    for _ in range(100):
        assert watch.check() is None
        assert not watch.confirming
        clock.advance(60)


def test_whether_the_running_build_is_current(watch, disk):
    assert watch.is_current() is True
    disk.now = NEW
    assert watch.is_current() is False
    disk.broken = True
    assert watch.is_current() is None


def test_after_a_failure_there_are_five_minutes_of_peace__H01(clock):
    throttle = UpgradeThrottle(clock)
    assert throttle.reason_to_wait() is None
    throttle.failed()
    assert "less than 5 minutes" in throttle.reason_to_wait()
    assert throttle.next_try_in() == FAILURE_DELAY
    clock.advance(FAILURE_DELAY)
    assert throttle.reason_to_wait() is None
    assert throttle.next_try_in() is None


def test_there_are_at_most_three_tries_an_hour__H01(clock):
    throttle, tries = UpgradeThrottle(clock), []
    while clock.seconds() < 10 * THROTTLE_PERIOD:
        if throttle.reason_to_wait() is None:
            tries.append(clock.seconds())
            throttle.failed()
        clock.advance(60)
    assert all(
        later - first >= THROTTLE_PERIOD for first, later in zip(tries, tries[3:], strict=False)
    )
    assert len(tries) == 30
    assert throttle.off is None


def test_a_drift_loop_ends_after_three_hand_offs__H06(clock):
    """Each replacement finds itself outdated at once: the fourth stays."""
    generation, throttle = 0, UpgradeThrottle(clock)
    while throttle.reason_to_wait() is None and generation < 10:
        generation += 1
        clock.advance(20)
        successors_clock = Clock()  # each process has a clock of its own
        successors_clock.advance(generation * 1000)
        throttle, clock = (
            UpgradeThrottle.after(successors_clock, throttle.success_ages()),
            successors_clock,
        )
    assert generation == 3
    assert "off until the runner is restarted" in throttle.off
    clock.advance(10 * THROTTLE_PERIOD)
    assert throttle.reason_to_wait() == throttle.off


def test_upgrades_that_are_hours_apart_are_no_loop__H06(clock):
    throttle = UpgradeThrottle(clock)
    for _ in range(20):
        assert throttle.reason_to_wait() is None
        clock.advance(THROTTLE_PERIOD)
        throttle = UpgradeThrottle.after(clock, throttle.success_ages())


@pytest.mark.parametrize(
    ("environ", "more", "mode", "by"),
    [
        ({}, {}, "self", None),
        ({"HAPI_RUNNER_SUPERVISED": "1"}, {}, "restart", "HAPI_RUNNER_SUPERVISED"),
        ({"HAPI_RUNNER_SUPERVISED": "1"}, {"detached": True}, "restart", "HAPI_RUNNER_SUPERVISED"),
        (
            {"HAPI_RUNNER_SUPERVISED": "1", "NOTIFY_SOCKET": "/n"},
            {},
            "notify",
            "HAPI_RUNNER_SUPERVISED",
        ),
        ({"HAPI_RUNNER_SUPERVISED": "1", "INVOCATION_ID": "x"}, {}, "restart", "systemd"),
        ({"HAPI_RUNNER_SUPERVISED": "1", "SUPERVISOR_ENABLED": "1"}, {}, "restart", "supervisord"),
        ({"HAPI_RUNNER_SUPERVISED": "0"}, {}, "self", None),
        ({"INVOCATION_ID": "x", "NOTIFY_SOCKET": "/n"}, {}, "notify", "Type=notify"),
        ({"INVOCATION_ID": "x"}, {}, "restart", "systemd"),
        ({"INVOCATION_ID": "x", "SYSTEMD_EXEC_PID": "500"}, {}, "restart", "systemd"),
        (
            {"INVOCATION_ID": "x", "SYSTEMD_EXEC_PID": "400"},
            {},
            "restart",
            "systemd",
        ),  # a shell between
        (
            {"INVOCATION_ID": "x", "SYSTEMD_EXEC_PID": "77"},
            {},
            "self",
            None,
        ),  # a terminal emulator that is a unit
        ({"INVOCATION_ID": "x"}, {"detached": True}, "self", None),
        ({"SUPERVISOR_ENABLED": "1"}, {}, "restart", "supervisord"),
        (
            {"XPC_SERVICE_NAME": "me.hapi"},
            {"platform": "darwin", "parent": 1},
            "restart",
            "launchd",
        ),
        ({"XPC_SERVICE_NAME": "0"}, {"platform": "darwin", "parent": 1}, "self", None),
        ({}, {"pid": 1, "parent": 0}, "none", "container"),
        ({}, {"parent": 1}, "self", None),  # its starter is gone
        ({}, {"parent": 1, "name": lambda pid: "tini"}, "none", "tini"),
        ({}, {"terminal": True}, "none", "terminal"),
    ],
)
def test_one_owner_of_restarts__H07(environ, more, mode, by):
    given = {"pid": 500, "parent": 400, "name": lambda pid: "init", "platform": "linux", **more}
    found = supervision(environ, **given)
    assert found.mode == mode
    assert found.by is None if by is None else by in found.by


def test_nobody_supervises_by_default__H07():
    assert Supervision() == Supervision("self", None)


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told__H07(tmp_path, abstract):
    name = f"hapi-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name if abstract else name)
        assert notify({"NOTIFY_SOCKET": "@" + name if abstract else name}, "MAINPID=7")
        assert systemd.recv(100) == b"MAINPID=7"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "vsock:2:3"])
def test_nobody_to_tell_is_no_failure__H07(address):
    assert notify({"NOTIFY_SOCKET": address}, "MAINPID=7") is False
