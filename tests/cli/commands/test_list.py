"""What `hapi runner list` says of sessions whose records do not reach the hub."""

import re

import pytest

from hapi.cli.commands.runner.list import notes, show_sessions
from hapi.home import Home


def test_sessions_that_are_well_need_no_note():
    assert notes([{"happySessionId": "s", "activity": {"doing": "idle"}}, {}]) == []


def test_a_session_without_its_hub_and_one_that_is_not_stored_are_named_with_the_reason():
    sessions = [
        {"happySessionId": "a", "activity": {"hub": "not connected to http://hub: \x1b[31mno"}},
        {"happySessionId": "b", "activity": {"problem": "The hub does not store: full"}},
    ]
    first, second = notes(sessions)
    assert first.startswith("Session a is not connected to http://hub: ")
    assert "hapi runner status" in first
    assert "\x1b" not in first
    assert second == "Session b: The hub does not store: full."


SESSION = {"happySessionId": "3f2a", "agent": "demo", "directory": "/w", "pid": 7}


@pytest.mark.parametrize(
    ("on_terminal", "as_json", "expected"),
    [
        (True, False, "SESSION"),  # a table, for a person
        (False, False, "Active sessions:\n["),  # as npm's program prints it
        (True, True, "["),
    ],
)
def test_a_person_at_a_terminal_sees_a_table_and_a_script_json(
    on_terminal, as_json, expected, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr("hapi.cli.commands.runner.list.call_runner", lambda *_: [SESSION])
    monkeypatch.setattr("sys.stdout.isatty", lambda: on_terminal)
    show_sessions(Home(tmp_path), as_table=False, as_json=as_json)
    printed = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)  # without bold type
    assert printed.startswith(expected)
    assert "3f2a" in printed
