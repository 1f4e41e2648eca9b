"""What `runner status`, `list` and `stop-session` say to a person."""

import re

import pytest

from hapi.cli.base.errors import CommandError
from hapi.cli.base.output import table
from hapi.cli.commands.runner import list as list_command
from hapi.cli.commands.runner import stop_session
from hapi.cli.commands.runner.list import show_sessions
from hapi.cli.commands.runner.status import admission_words, registered_words
from hapi.cli.commands.runner.stop_session import end_session

REASON = "nothing listens at http://hub:1"


@pytest.mark.parametrize(
    ("registered", "phase", "words"),
    [
        (True, "connected", "yes, and connected"),
        (True, "connecting", f"yes, connection lost: {REASON}"),
        (False, "connecting", f"no: {REASON}"),
        (None, "unknown", f"unknown: {REASON}"),
    ],
)
def test_registered_and_the_connection_are_told_together__N01(registered, phase, words):
    assert (
        registered_words({"registered": registered, "hub": {"phase": phase, "reason": REASON}})
        == words
    )


def test_one_start_waits_and_two_wait():
    assert [admission_words({"waiting": number}) for number in (0, 1, 2)] == [
        "",
        ", 1 start waits",
        ", 2 starts wait",
    ]


class Client:
    """A runner with one session that does not end."""

    async def list(self):
        return [
            {
                "happySessionId": "s1",
                "agent": "demo",
                "directory": "/a",
                "state": "ready",
                "pid": 7,
                "startedBy": "runner",
            }
        ]

    async def stop_session(self, session_id):
        return "still_alive"


@pytest.fixture
def asked(monkeypatch):
    def call(home, question, without):
        try:
            question(Client()).send(None)
        except StopIteration as answer:
            return answer.value

    for module in (list_command, stop_session):
        monkeypatch.setattr(module, "call_runner", call)


@pytest.mark.parametrize(
    ("name", "says"),
    [("s1", "is still alive"), ("PID-7", "is still alive"), ("s2", "no session s2 is known")],
)
def test_a_session_that_was_not_ended_is_said_to_live_or_to_be_unknown(home, asked, name, says):
    with pytest.raises(CommandError, match=says):
        end_session(home, name, as_json=False)


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
