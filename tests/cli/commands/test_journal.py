"""`runner events` and `runner logs`: what is read, how it is shown, how it goes on."""

import json

import pytest

from hapi.attempts import AttemptFolder
from hapi.cli.base.errors import CommandError
from hapi.cli.base.tail import follow, last_lines
from hapi.cli.commands.runner.events import event_line, show_events
from hapi.cli.commands.runner.logs import find_attempt, reason_for_no_output, show_output
from hapi.protocol.attempt import (
    AttemptEnd,
    AttemptProcess,
    AttemptRequest,
    AttemptSession,
    ProcessIdentity,
)


def folder(home, session_id=None, pid=7, existing=None):
    made = AttemptFolder.create(
        home, AttemptRequest(argv=("x",), cwd="/", at=0.0, existing_session_id=existing)
    )
    made.process = AttemptProcess(ProcessIdentity(pid, 1, "boot"))
    if session_id is not None:
        made.session = AttemptSession(session_id, host_pid=pid + 1)
    return made


def test_events_of_the_older_file_come_first_and_only_the_last_are_shown(home, capsys):
    home.events.with_name("events.jsonl.1").write_text('{"event":"one"}\n{"event":"two"}\n')
    home.events.write_text('{"event":"three"}\n{"eve')
    show_events(home, 3, following=False, as_json=True)
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == [
        "two",
        "three",
    ]


def test_no_journal_is_no_error(home, capsys):
    show_events(home, 10, following=False, as_json=False)
    assert capsys.readouterr().out == ""


def test_an_event_for_people_is_one_line_that_steers_no_terminal__K03():
    event = {
        "time": 0,
        "event": "ended",
        "session": "s\x1b[31m1",
        "pid": 7,
        "reason": "a\nb",
        "actor": "hub",
        "exitCode": 3,
    }
    line = event_line(event)
    assert "\n" not in line
    assert "\x1b" not in line
    assert "pid 7" in line
    assert "(by hub)" in line
    assert "exitCode=3" in line


def test_a_sessions_output_is_found_by_each_of_its_names(home):
    older, made = folder(home, "s1", 7), folder(home, "s1", 9)
    asked = folder(home, None, 20, existing="e1")
    assert find_attempt(home, "s1") == made
    assert find_attempt(home, older.id) == older
    assert find_attempt(home, "e1") == asked
    assert find_attempt(home, "PID-7") == older
    assert find_attempt(home, "PID-10") == made
    for name in ("s2", "PID-99", "../x", ""):
        with pytest.raises(CommandError, match="no session"):
            find_attempt(home, name)


def test_a_shortened_session_id_finds_the_only_session_it_names(home):
    folder(home, "4610d651-a", 7)
    newest = folder(home, "4610d651-a", 9)
    other = folder(home, "4611aaaa-b", 20)
    assert find_attempt(home, "4610") == newest
    assert find_attempt(home, "4611aaaa") == other
    with pytest.raises(CommandError, match=r"2 sessions have an id that begins with 461$"):
        find_attempt(home, "461")
    whole = folder(home, "461", 30)  # also the beginning of others
    assert find_attempt(home, "461") == whole


def test_the_output_is_shown_with_what_was_moved_out_of_it(home, capfdbinary):
    made = folder(home, "s1")
    made.earlier_output.write_bytes(b"one\ntwo\n")
    made.output.write_bytes(b"three\n\xff\n")
    show_output(made, 3, following=False)
    assert capfdbinary.readouterr().out == b"two\nthree\n\xff\n"


def test_a_session_without_output_is_said_to_have_none(home):
    made = folder(home, "s1")
    assert (
        reason_for_no_output(made)
        == "the session s1 has written no output; the conversation is on the web page"
    )
    made.output.write_bytes(b"")
    assert "has written no output" in reason_for_no_output(made)
    made.output.write_bytes(b"x")
    assert reason_for_no_output(made) is None


def test_the_output_of_a_session_of_a_terminal_is_said_to_be_there(home):
    made = AttemptFolder.create(
        home, AttemptRequest(argv=("hapi", "demo"), cwd="/", at=0.0, asked_by="terminal")
    )
    assert reason_for_no_output(made).startswith(
        f"the session {made.id} writes its output to the terminal"
    )


def test_following_ends_with_the_session_and_has_its_last_words(home, capfdbinary):
    made = folder(home, "s1")
    made.output.write_bytes(b"before\n")
    made.end = AttemptEnd(0, None, 1.0)
    show_output(made, None, following=True)
    assert capfdbinary.readouterr().out == b"before\n"


def test_a_file_is_followed_when_it_is_cut_and_when_it_is_made_anew(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    steps = [
        lambda: path.open("ab").write(b"more"),
        lambda: path.write_bytes(b"cut"),
        lambda: (
            path.rename(tmp_path / "log.1"),
            path.write_bytes(b"a new one, longer than before"),
        ),
    ]
    done = []

    def sleep(_):
        if steps:
            steps.pop(0)()
        else:
            done.append(True)

    assert list(follow(path, lambda: bool(done), sleep)) == [
        b"more",
        b"cut",
        b"a new one, longer than before",
    ]


def test_last_lines_of_missing_files_are_none(tmp_path):
    assert last_lines([tmp_path / "no"], 5) == []
    (tmp_path / "a").write_bytes(b"1\n2\n3\n")
    assert last_lines([tmp_path / "no", tmp_path / "a"], 2) == [b"2\n", b"3\n"]
    assert last_lines([tmp_path / "a"], 0) == []
