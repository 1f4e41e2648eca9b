"""Warnings about a systemd that would take the sessions down, from what it says of the unit we are
in.
"""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from hapi.runner.supervision.systemd_scope_check import (
    SystemdScopeCheck,
    Unit,
    properties,
    unit_of,
    warnings,
)
from tests.support.runner_stage import result_of

SERVICE = "0::/system.slice/hapi-runner.service\n"
USERS = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/hapi-runner.service\n"
LOGIN = "0::/user.slice/user-1000.slice/session-3.scope\n"


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        (SERVICE, Unit("hapi-runner.service", False)),
        (USERS, Unit("hapi-runner.service", True)),
        (LOGIN, Unit("session-3.scope", False)),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-1.scope\n",
            Unit("vte-1.scope", True),
        ),
        (
            "9:name=systemd:/system.slice/a.service\n4:memory:/x.service\n0::/\n",
            Unit("a.service", False),
        ),
        ("0::/\n", None),
        ("4:memory:/docker/abc\n", None),
        ("", None),
    ],
)
def test_the_unit_is_read_from_the_control_group__V01(cgroups, unit):
    assert unit_of(cgroups) == unit


@pytest.mark.parametrize(
    ("unit", "found", "lingers", "words"),
    [
        (
            Unit("a.service", False),
            {"KillMode": "control-group"},
            False,
            ["a.service has KillMode=control-group"],
        ),
        (Unit("a.service", False), {"KillMode": "mixed"}, False, ["KillMode=process"]),
        (Unit("a.service", False), {"KillMode": "process"}, False, []),
        (Unit("a.service", False), {}, False, []),
        (
            Unit("a.service", True),
            {"KillMode": "control-group"},
            False,
            ["KillMode=process", "enable-linger"],
        ),
        (Unit("a.service", True), {"KillMode": "process"}, False, ["when you log out"]),
        (Unit("a.service", True), {"KillMode": "process"}, True, []),
        (
            Unit("session-3.scope", False),
            {"KillMode": "control-group", "KillUserProcesses": "yes"},
            False,
            ["when you log out"],
        ),
        (
            Unit("session-3.scope", False),
            {"KillMode": "control-group", "KillUserProcesses": "no"},
            False,
            [],
        ),
        (Unit("session-3.scope", False), {"KillUserProcesses": "yes"}, True, []),
    ],
)
def test_what_would_end_the_sessions_is_said__V01_V09(unit, found, lingers, words):
    said = warnings(unit, found, lingers)
    assert len(said) == len(words)
    assert all(word in sentence for word, sentence in zip(words, said, strict=True))


def test_properties_are_read_line_by_line():
    assert properties("KillMode=process\nDescription=a=b\nnothing\n") == {
        "KillMode": "process",
        "Description": "a=b",
    }


@pytest.fixture
def system(tmp_path):
    """A root directory as systemd leaves it."""
    for name in ("run/systemd/system", "proc/self", "var/lib/systemd/linger"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def looked(root, cgroups, answers):
    asked = []

    async def ask(argv):
        asked.append(list(argv))
        return answers[argv[0]]

    if cgroups is not None:
        (root / "proc/self/cgroup").write_text(cgroups)
    made = SystemdScopeCheck(ask, root, "me")
    result_of(Deferred.fromCoroutine(made.check()))
    return made.warnings, asked


def test_systemd_is_asked_about_our_own_unit_and_linger_is_a_file__V01_V09(system):
    said, asked = looked(system, USERS, {"systemctl": "KillMode=process\n"})
    assert asked == [
        ["systemctl", "--user", "show", "--property=KillMode", "--", "hapi-runner.service"]
    ]
    assert len(said) == 1
    (system / "var/lib/systemd/linger/me").touch()
    assert looked(system, USERS, {"systemctl": "KillMode=process\n"})[0] == []


def test_a_login_session_asks_what_becomes_of_its_processes__V09(system):
    said, asked = looked(
        system,
        LOGIN,
        {"systemctl": "KillMode=control-group\n", "loginctl": "KillUserProcesses=yes\n"},
    )
    assert len(asked) == 2
    assert "log out" in said[0]


def test_without_a_unit_nobody_is_asked(system):
    assert looked(system, "0::/\n", {}) == ([], [])
    assert looked(system, None, {})[1] == []


def test_without_systemd_nothing_is_looked_up(tmp_path):
    made = SystemdScopeCheck(lambda argv: pytest.fail("asked"), tmp_path, "me")
    assert not made.is_booted
    made.start()


def test_a_systemd_that_fails_to_answer_harms_nothing(system):
    async def ask(argv):
        raise OSError("no systemctl")

    (system / "proc/self/cgroup").write_text(SERVICE)
    made = SystemdScopeCheck(ask, system, "me")
    made.start()
    assert made.warnings == []
