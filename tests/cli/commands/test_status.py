"""What `runner status`, `list` and `stop-session` say to a person."""

import json
import re
import time

import pytest

from hapi.cli.base.errors import CommandError
from hapi.cli.base.output import table
from hapi.cli.base.times import duration
from hapi.cli.commands.runner import list as list_command
from hapi.cli.commands.runner import revive, stop_session
from hapi.cli.commands.runner.list import show_sessions
from hapi.cli.commands.runner.revive import revive_sessions
from hapi.cli.commands.runner.status import build_text, status_facts, status_lines
from hapi.cli.commands.runner.stop_session import end_session

REASON = "nothing listens at http://hub:1"


NOW = 1_800_000_000.0  # seconds
STATUS = {
    "pid": 4711,
    "version": "0.2.0",
    "buildModifiedAt": (NOW - 90_000) * 1000,
    "current": True,
    "startedAt": (NOW - 7_200) * 1000,
    "httpPort": 40123,
    "lastHeartbeatAt": (NOW - 1) * 1000,
    "nextHeartbeatAt": (NOW + 59) * 1000,
    "logFile": "/h/logs/runner.log",
    "home": "/h",
    "hub": {"url": "http://hub:1", "phase": "connected", "reason": None},
    "registered": True,
    "machineId": "m1",
    "workspaceRoots": ["/a", "/b c"],
    "children": 3,
    "sessionsByState": {"ready": 2, "announced": 1},
    "admission": {"accepting": True, "maxSessions": 5, "waiting": 1},
    "stuck": {"s1": "approval"},
    "warnings": ["a warning"],
}


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_person_sees_one_aligned_block(utc):
    assert (
        "\n".join(status_lines(STATUS, NOW))
        == """\
Runner:          running (pid 4711)
Version:         0.2.0
Build:           modified 2027-01-14 07:00:00, up to date
Started:         2027-01-15 06:00:00 (2 hours ago)
Control port:    40123
Heartbeat:       last 2027-01-15 07:59:59 (1 second ago), next in 59 seconds
Home:            /h
Log file:        /h/logs/runner.log
Hub:             http://hub:1
Registration:    registered, connected
Machine:         m1
Workspace roots: /a, /b c
Sessions:        3 (1 announced, 2 ready)
New sessions:    accepted, at most 5 sessions, 1 start waiting
Stuck session:   s1 (it is waiting for a permission)
Warning:         a warning"""
    )


def fact(label, **status):
    return dict(status_facts({**STATUS, **status}, NOW))[label]


@pytest.mark.parametrize(
    ("registered", "phase", "words"),
    [
        (True, "connected", "registered, connected"),
        (True, "connecting", f"registered, connection lost: {REASON}"),
        (False, "connecting", f"not registered: {REASON}"),
        (None, "unknown", f"unknown ({REASON})"),
    ],
)
def test_registered_and_the_connection_are_told_together__N01(registered, phase, words):
    hub = {"phase": phase, "reason": REASON}
    assert fact("Registration", registered=registered, hub=hub) == words


def test_one_start_waits_and_two_wait():
    texts = [fact("New sessions", admission={"accepting": True, "waiting": n}) for n in range(3)]
    assert texts == ["accepted", "accepted, 1 start waiting", "accepted, 2 starts waiting"]


def test_a_drained_runner_is_said_to_be_drained():
    text = fact("New sessions", admission={"accepting": False, "maxSessions": 1})
    assert text == (
        "not accepted, the runner is drained (`hapi runner resume` undoes this), at most 1 session"
    )


def test_an_outdated_build_says_what_the_replacement_waits_for():
    handoff = {"waitsFor": "a second look", "underWay": False}
    text = fact("Build", buildModifiedAt=None, current=False, handoff=handoff)
    assert text == "outdated: another build is installed, a second look"


def test_a_failed_hand_off_is_told_with_its_age():
    failure = {"at": (NOW - 60) * 1000, "reason": "it never answered"}
    handoff = {"lastFailure": failure}
    assert fact("Last upgrade", handoff=handoff) == "failed 1 minute ago: it never answered"
    failure["output"] = "/home/me/.hapi/logs/1-trial.out"
    assert fact("Last upgrade", handoff=handoff) == (
        "failed 1 minute ago: it never answered (output: /home/me/.hapi/logs/1-trial.out)"
    )


def test_before_the_first_heartbeat_only_the_next_is_told():
    assert fact("Heartbeat", lastHeartbeatAt=None) == "none yet, next in 59 seconds"


def test_an_npm_runner_tells_little_and_nothing_is_invented():
    status = {"pid": 7, "version": "npm 1", "home": "/h", "machineId": "m", "children": 0}
    labels = [label for label, _ in status_facts({**status, "hub": {"url": "http://h"}}, NOW)]
    assert labels == [
        "Runner", "Version", "Home", "Hub", "Registration", "Machine", "Sessions"
    ]  # fmt: skip


def test_nothing_in_the_status_steers_the_terminal__K03():
    assert not [
        line for line in status_lines({**STATUS, "trouble": "\x1b[31m"}, NOW) if "\x1b" in line
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (59.4, "59 seconds"), (60, "1 minute"), (7199, "1 hour"),
     (86400, "1 day"), (-3, "0 seconds")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds, words):
    assert duration(seconds) == words


class Client:
    """A runner with one session that does not end."""

    ids = ("s1",)

    async def list(self):
        return [
            {
                "happySessionId": each,
                "agent": "demo",
                "directory": "/a",
                "state": "ready",
                "pid": 7,
                "startedBy": "runner",
            }
            for each in self.ids
        ]

    async def stop_session(self, session_id):
        return "stopped" if session_id == "04610d65-1" else "still_alive"

    async def interrupted(self):
        return [{"sessionId": each} for each in self.ids]

    async def revive(self, session_id):
        return {"success": session_id in self.ids}


@pytest.fixture
def asked(monkeypatch):
    def call(home, question, without=None, seconds=0):
        try:
            question(Client()).send(None)
        except StopIteration as answer:
            return answer.value

    for module in (list_command, stop_session, revive):
        monkeypatch.setattr(module, "call_runner", call)


@pytest.mark.parametrize(
    ("name", "says"),
    [("s1", "is still running"), ("PID-7", "is still running"), ("s2", "no session s2 is known")],
)
def test_a_session_that_was_not_ended_is_said_to_live_or_to_be_unknown(home, asked, name, says):
    with pytest.raises(CommandError, match=says):
        end_session(home, name, as_json=False)


@pytest.mark.parametrize(
    ("handoff", "says"),
    [
        ({"mode": "self"}, "a replacement will be started soon"),
        (
            {"mode": "restart", "restartedBy": "supervisord"},
            "supervisord will start it after a trial start",
        ),
        (
            {"mode": "restart", "lastFailure": {"reason": "SyntaxError"}},
            "which did not start when it was last tried",
        ),
    ],
)
def test_an_outdated_runner_promises_only_the_replacement_that_will_come(handoff, says):
    text = build_text({"current": False, "handoff": handoff})
    assert text == f"outdated: another build is installed, {says}"


def test_a_session_is_ended_or_resumed_by_a_shortened_id_that_names_no_other(
    home, asked, capsys, monkeypatch
):
    monkeypatch.setattr(Client, "ids", ("04610d65-1", "0461ffff-2"))
    end_session(home, "04610", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"sessionId": "04610d65-1", "status": "stopped"}
    revive_sessions(home, "0461f", everything=False, as_json=False)
    assert capsys.readouterr().out == "0461ffff-2: resumed\n"
    for ask in (end_session, revive_sessions):
        more = {"everything": False} if ask is revive_sessions else {}
        with pytest.raises(CommandError, match=r"2 sessions have an id that begins with 0461$"):
            ask(home, "0461", as_json=False, **more)


@pytest.mark.parametrize(
    ("on_terminal", "first"), [(True, "SESSION  AGENT"), (False, "Active sessions:")]
)
def test_sessions_are_a_table_on_a_terminal_and_stay_json_elsewhere(
    home, asked, capsys, monkeypatch, on_terminal, first
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: on_terminal)
    show_sessions(home, as_table=False, as_json=False)
    assert re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).startswith(first)


def test_an_id_is_never_broken_for_who_copies_it(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    table(("SESSION", "DIRECTORY"), [["be25ae0a-7be9-4fba-9bca-d9dfada704c0", "/a" * 40]])
    assert "be25ae0a-7be9-4fba-9bca-d9dfada704c0" in capsys.readouterr().out


def test_the_columns_of_a_table_stand_below_their_heads(capsys):
    table(("A", "B"), [["long", "x"], ["s", "y"]])
    assert capsys.readouterr().out == "A     B\nlong  x\ns     y\n"
