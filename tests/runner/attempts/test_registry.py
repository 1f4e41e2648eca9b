"""Tracked sessions: found by any name, stopped with a truthful answer, taken over after a
restart."""

import os

import pytest

from hapi.attempts import AttemptFolder
from hapi.home import write_atomically
from hapi.process.in_memory import FakeProgram, MemoryProcesses
from hapi.protocol.attempt import AttemptEnd, AttemptReport, AttemptRequest, StopOrder
from hapi.protocol.control import STARTED_BY_USER
from hapi.protocol.spawn import SpawnRefused
from hapi.runner.attempts.adoption import MACHINE_STOPPED, NEVER_LAUNCHED
from hapi.runner.attempts.retention import Retention
from hapi.runner.control.announcements import Accepted
from hapi.uploads import SessionUploads
from tests.support.runner_stage import Stage, assert_waiting, result_of


@pytest.fixture
def stage(home):
    return Stage(home)


def test_a_stop_records_its_reason_before_it_ends_the_tree__C19(home, monkeypatch):
    stage = Stage(home, programs={"session": FakeProgram(children=3)})
    child = stage.started("s1")
    seen = []
    end_tree = MemoryProcesses.end_tree
    monkeypatch.setattr(
        MemoryProcesses,
        "end_tree",
        lambda *args: (seen.append(child.folder.stop), end_tree(*args))[1],
    )
    assert result_of(stage.stop("s1", reason="why")) == "stopped"
    assert (seen[0].reason, seen[0].actor, seen[0].method) == ("why", "hub", "hub")
    assert child.folder.end.signal == "SIGTERM"
    assert result_of(stage.stop("s1")) == "already_gone"
    assert stage.children.listed() == []


def test_a_session_that_ignores_sigterm_is_killed__C01(home):
    stage = Stage(home, programs={"session": FakeProgram(ignores_sigterm=True)})
    child = stage.started("s1")
    answer = stage.stop("s1")
    assert_waiting(answer)
    stage.clock.advance(2.0)
    assert result_of(answer) == "stopped"
    assert child.folder.end.signal == "SIGKILL"


def test_a_survivor_is_still_alive_and_stays_listed__C12(home):
    stage = Stage(home, programs={"session": FakeProgram(unkillable=True)})
    stage.started("s1")
    answer = stage.stop("s1")
    stage.clock.advance(5.0)
    assert result_of(answer) == "still_alive"
    assert len(stage.children.listed()) == 1


def test_callers_that_stop_together_are_answered_together(home):
    stage = Stage(home, programs={"session": FakeProgram(ignores_sigterm=True)})
    stage.started("s1")
    answers = [stage.stop("s1") for _ in range(3)]
    stage.clock.advance(2.0)
    assert [result_of(answer) for answer in answers] == ["stopped"] * 3


def test_the_first_reason_stands__C19(home):
    stage = Stage(home, programs={"session": FakeProgram(ignores_sigterm=True)})
    child = stage.started("s1")
    stage.stop("s1", reason="first"), stage.stop("s1", reason="second")
    stage.clock.advance(2.0)
    assert child.folder.stop.reason == "first"


@pytest.mark.parametrize(
    "name", ["", "nobody", "PID-0", "PID-1", "PID-x", "PID--1", "PID-" + "9" * 400, "PID-²"]
)
def test_an_untracked_process_is_never_signalled_nor_called_gone__X12(stage, name):
    stranger = stage.processes.add("stranger", pid=1)
    assert result_of(stage.stop(name)) == "still_alive"
    assert stage.processes.entry(stranger).signals == []


def test_a_tracked_pid_is_a_name_too__X12(stage):
    stage.started("s1")
    assert result_of(stage.stop(f"PID-{stage.pid}")) == "stopped"


def test_a_requested_id_is_a_name_too(stage):
    stage.started("new-row", agent="claude", existingSessionId="old-row")
    assert result_of(stage.stop("old-row")) == "stopped"


def test_a_session_that_ended_by_itself_is_already_gone(stage):
    child = stage.started("s1")
    stage.processes.exit(child.identity, 3)
    assert child.state == "ended"
    assert child.folder.end == AttemptEnd(3, None, 0.0)
    assert result_of(stage.stop("s1")) == "already_gone"


@pytest.mark.parametrize(("reports", "exit_code"), [(True, 3), (False, None)])
def test_an_exit_without_its_holder_is_recorded_as_the_kernel_reports_it_or_as_unknown__C15(
    stage, reports, exit_code
):
    stage.processes.reports_exit_status = reports
    child = stage.started("s1")
    del stage.processes.table[child.holder.pid]
    stage.processes.exit(child.identity, 3)
    assert (child.folder.end.exit_code, child.folder.end.signal) == (exit_code, None)


def test_the_end_of_a_terminal_session_is_recorded_as_the_kernel_reports_it__C15(stage):
    terminal = stage.processes.add("hapi")
    stage.announce(terminal.pid, "t", startedBy="terminal")
    child = stage.children.find_live("t")
    stage.processes.exit(terminal, signal="SIGKILL")
    assert (child.folder.end.exit_code, child.folder.end.signal) == (None, "SIGKILL")


def test_live_sessions_are_taken_over__C14(stage):
    children = [stage.started(f"s{number}") for number in range(5)]
    terminal = stage.processes.add("hapi")
    stage.announce(terminal.pid, "t", startedBy="terminal")
    stage.processes.exit(children[0].identity, 0)
    stage.children.detach()
    gone = children[1].identity
    stage.processes.exit(gone, 7)
    stage.restart()
    assert stage.adopt() == 4
    listed = {one.happy_session_id: one for one in stage.children.listed()}
    assert set(listed) == {"s2", "s3", "s4", "t"}
    assert listed["t"].started_by == STARTED_BY_USER
    assert [one.pid for one in listed.values() if one.happy_session_id == "s3"] == [
        children[3].identity.pid
    ]
    assert result_of(stage.stop("s1")) == "already_gone"
    assert result_of(stage.stop("s3")) == "stopped"
    assert result_of(stage.stop("t")) == "stopped"
    assert not stage.processes.is_running(terminal)


def test_a_taken_over_session_ends_like_any_other__C14(stage):
    child = stage.started("s1")
    stage.children.detach()
    stage.restart()
    stage.adopt()
    stage.processes.exit(child.identity, 5)
    assert stage.children.listed() == []
    assert child.folder.end.exit_code == 5


def test_a_reused_pid_is_not_taken_over__P04(stage):
    child = stage.started("s1")
    stage.children.detach()
    stage.processes.exit(child.identity, 0)
    stranger = stage.processes.add("stranger", pid=child.identity.pid)
    stage.restart()
    assert stage.adopt() == 0
    assert result_of(stage.stop("s1")) == "already_gone"
    assert result_of(stage.stop(f"PID-{stranger.pid}")) == "already_gone"
    assert stage.processes.entry(stranger).signals == []


def test_sessions_of_an_earlier_boot_ended_with_the_machine__V06(stage):
    child = stage.started("s1")
    stage.children.detach()
    stage.restart()
    stage.processes.boot = "another"
    assert stage.adopt() == 0
    assert child.folder.stop.reason == MACHINE_STOPPED
    assert child.folder.stop.actor == "machine"
    assert child.folder.end is not None
    assert result_of(stage.stop("s1")) == "already_gone"


def test_a_reason_written_before_the_machine_stopped_stands__V06(stage):
    child = stage.started("s1")
    child.folder.stop = StopOrder("user wanted it", "user", "hub", 1.0)
    stage.children.detach()
    stage.restart()
    stage.processes.boot = "another"
    stage.adopt()
    assert child.folder.stop.reason == "user wanted it"


def test_a_runner_that_cannot_identify_itself_ends_no_session__V06_C13(stage):
    child = stage.started("s1")
    stage.children.detach()
    stage.processes.add("runner", pid=os.getpid(), hidden=True)  # /proc gave an error
    stage.restart()
    stage.sessions().adopt()
    assert (child.folder.end, child.folder.stop) == (None, None)
    assert stage.children.find_live("s1") is not None


def test_unknown_is_not_gone__C13(stage):
    child = stage.started("s1")
    stage.children.detach()
    stage.processes.entry(child.identity).hidden = True
    stage.restart()
    assert stage.adopt() == 1
    assert result_of(stage.stop("s1")) == "still_alive"
    assert stage.processes.entry(child.identity).signals == []


def test_a_request_that_was_never_launched_is_over__S11(stage):
    AttemptFolder.create(
        stage.home, AttemptRequest(argv=("x",), cwd="/", at=1.0, existing_session_id="e1")
    )
    assert stage.adopt() == 0
    assert stage.folder.stop.reason == NEVER_LAUNCHED
    assert result_of(stage.stop("e1")) == "already_gone"


def test_a_launch_that_was_not_written_down_is_found_by_its_mark__S11(stage):
    folder = AttemptFolder.create(stage.home, AttemptRequest(argv=("x",), cwd="/", at=stage.now()))
    child = stage.processes.add(
        "session", attempt_id=folder.id, environment={"HAPI_ATTEMPT": folder.id}
    )
    assert stage.adopt() == 1
    assert stage.announce(child.pid, "s1") == Accepted()
    assert result_of(stage.stop("s1")) == "stopped"


@pytest.mark.parametrize(
    "name", ["request.json", "process.json", "session.json", "end.json", "stop.json"]
)
def test_a_broken_record_stops_no_start__S05(stage, name):
    stage.started("s1")
    stage.children.detach()
    (stage.folder.path / name).write_bytes(b"\xff{")
    stage.restart()
    stage.adopt()


def test_a_stop_that_the_runner_did_not_live_to_finish_is_finished(home):
    stage = Stage(home, programs={"session": FakeProgram(ignores_sigterm=True)})
    child = stage.started("s1")
    stage.stop("s1")
    stage.children.detach()
    stage.restart()
    stage.adopt()
    stage.clock.advance(4.0)
    assert not stage.processes.is_running(child.identity)
    assert child.folder.stop.reason == "stopped on request"


def lose(stage, *names):
    """The runner is gone and so are these files; the next one begins."""
    stage.children.detach()
    for name in names:
        (stage.folder.path / name).write_bytes(b"{garbage")
    stage.restart()
    stage.adopt()


def test_a_session_whose_announcement_was_lost_is_listed_and_never_ended_by_its_lease__S02_S05(
    stage,
):
    child = stage.started("s1")
    stage.pass_time(100.0)
    lose(stage, "session.json")
    stage.pass_time(600.0)
    (one,) = stage.children.listed()
    assert (one.happy_session_id, one.state, one.unverified) == (
        f"PID-{child.pid}",
        "unknown",
        True,
    )
    assert stage.processes.is_running(child.identity) is True
    assert result_of(stage.stop(f"PID-{child.pid}")) == "stopped"
    assert stage.children.listed() == []


def test_a_young_session_that_works_is_not_ended_by_its_lease__S02_S05(stage):
    child = stage.started("s1")
    child.folder.report = AttemptReport(at=1.0, ready=True)
    lose(stage, "session.json")
    stage.pass_time(600.0)
    assert stage.processes.is_running(child.identity) is True
    assert [one.state for one in stage.children.listed()] == ["unknown"]


def test_a_session_just_started_without_a_sign_of_life_has_its_lease__S11(stage):
    stage.spawn()
    stage.children.detach()
    stage.restart()
    stage.adopt()
    stage.pass_time(100.0)
    assert stage.children.live() == []


def test_a_session_of_unknown_id_is_recognized_by_its_announcement_and_not_started_twice__S05(
    stage,
):
    child = stage.started("s1", existingSessionId="s1")
    stage.pass_time(100.0)
    lose(stage, "session.json")
    assert f"stop PID-{child.pid} first" in result_of(stage.spawn(existingSessionId="s1")).message
    assert stage.announce(child.pid, "s1") == Accepted()
    assert result_of(stage.spawn(existingSessionId="s1")).session_id == "s1"
    assert [(one.happy_session_id, one.state) for one in stage.children.listed()] == [
        ("s1", "announced")
    ]


def test_a_session_whose_request_is_not_readable_is_taken_over__S05(stage):
    child = stage.started("s1", path="/somewhere", flavor="claude")
    lose(stage, "request.json")
    (one,) = stage.children.listed()
    assert (one.happy_session_id, one.unverified) == ("s1", True)
    assert result_of(stage.stop("s1")) == "stopped"
    assert child.folder.stop.reason == "stopped on request"


def test_an_attempt_without_request_and_process_is_nothing__S05(stage):
    stage.started("s1")
    stage.children.detach()
    stage.processes.table.clear()
    lose(stage, "request.json")
    assert list(stage.children) == []


def test_old_attempts_go_and_live_ones_stay__S14(stage):
    live = stage.started("live")
    ended = [stage.started(f"s{number}") for number in range(5)]
    for child in ended:
        stage.processes.exit(child.identity, 0)
    outdated = Retention(count=2, age=1e9).outdated(list(stage.children), stage.now())
    assert outdated == sorted(ended, key=lambda child: child.attempt)[:3]
    assert set(
        Retention(count=10, age=60.0).outdated(list(stage.children), stage.now() + 61)
    ) == set(ended)
    assert live not in Retention(count=0, age=0.0).outdated(list(stage.children), stage.now() + 1)


def test_a_forgotten_child_has_no_name_left(stage):
    child = stage.started("s1", existingSessionId="e1")
    stage.processes.exit(child.identity, 0)
    stage.children.forget(child)
    assert list(stage.children) == []
    assert (
        stage.children.find_all("s1")
        == stage.children.find_all("e1")
        == stage.children.find_all(f"PID-{child.identity.pid}")
        == []
    )


def fill_disk(monkeypatch, *names):
    """There is no space for files of these names. The call that makes room."""
    missing = set(names)

    def write(path, content, **how):
        if path.name in missing:
            raise OSError(28, "No space left on device")
        write_atomically(path, content, **how)

    monkeypatch.setattr("hapi.attempts.write_atomically", write)
    return missing.clear


def test_a_full_disk_keeps_no_session_alive__S02(stage, monkeypatch):
    child = stage.started("s1")
    fill_disk(monkeypatch, "stop.json")
    assert result_of(stage.stop("s1")) == "stopped"
    assert not (child.folder.path / "stop.json").exists()


def test_what_a_full_disk_refused_is_known_all_the_same_and_is_saved_later__S02(stage, monkeypatch):
    make_room = fill_disk(monkeypatch, "session.json", "stop.json", "end.json")
    child = stage.started("s1")
    stage.processes.reports_exit_status = True
    del stage.processes.table[child.holder.pid]
    assert result_of(stage.stop("s1", reason="enough")) == "stopped"
    assert child.folder.stop.reason == "enough"
    assert child.folder.end.signal == "SIGTERM"
    assert "No space left" in stage.children.write_error
    result_of(stage.children.retry_writes())
    assert AttemptFolder(child.folder.path).end is None, "as long as there is no space"
    make_room()
    result_of(stage.children.retry_writes())
    saved = AttemptFolder(child.folder.path)
    assert (saved.session.session_id, saved.stop.reason, saved.end.signal) == (
        "s1",
        "enough",
        "SIGTERM",
    )
    assert stage.children.write_error is None


def test_an_end_that_the_holder_wrote_later_stands__S02_C15(stage, monkeypatch):
    make_room = fill_disk(monkeypatch, "end.json")
    stage.processes.reports_exit_status = False
    child = stage.started("s1")
    del stage.processes.table[child.holder.pid]
    stage.processes.exit(child.identity, 7)
    assert child.folder.end.exit_code is None
    make_room()
    AttemptFolder(child.folder.path).end = AttemptEnd(7, None, 5.0)
    result_of(stage.children.retry_writes())
    assert child.folder.end == AttemptEnd(7, None, 5.0)
    assert stage.children.write_error is None


def test_what_was_not_saved_of_a_folder_that_is_gone_is_no_trouble__S02(stage, monkeypatch):
    fill_disk(monkeypatch, "session.json")
    child = stage.started("s1")
    child.folder.remove()
    result_of(stage.children.retry_writes())
    assert stage.children.write_error is None


def test_every_end_is_published_once(stage):
    answer = stage.spawn()
    child = stage.children.live()[0]
    ends = []
    child.gone.when_fired().addCallback(ends.append)
    stage.processes.exit(child.identity, 1)
    stage.children.mark_ended(child, child.exit)
    assert len(ends) == 1
    assert isinstance(result_of(answer), SpawnRefused)


def test_the_list_is_made_anew_when_anything_of_it_has_changed__M01(stage):
    first, second = stage.started("s1"), stage.started("s2")
    listed = stage.children.listed()
    assert stage.children.listed() is listed, "nothing has happened"
    first.life.ready()
    assert [each.state for each in stage.children.listed()] == ["ready", "announced"]
    stage.children.record_session(second, "s3", second.identity)
    assert [each.happy_session_id for each in stage.children.listed()] == ["s1", "s3"]
    assert result_of(stage.stop("s1")) == "stopped"
    assert [each.happy_session_id for each in stage.children.listed()] == ["s3"]
    stage.started("s4")
    assert [each.happy_session_id for each in stage.children.listed()] == ["s3", "s4"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, Retention()),
        ({"count": 5, "days": 0.5}, Retention(5, 43200.0)),
        ({"count": 0}, Retention(count=0)),
        ({"count": True, "days": "x"}, Retention()),
        ({"count": -1, "days": 0}, Retention()),
        ("many", Retention()),
    ],
)
def test_how_many_ended_sessions_are_kept_and_how_long_is_a_setting__S14(given, kept):
    assert Retention.read({"keepAttempts": given}) == kept


# --- uploads


def upload(home, session_id):
    """An upload of a process; returns the file and the lock that the process holds."""
    uploads = SessionUploads(home, session_id)
    return uploads.store("picture.png", b"png"), uploads._lock


def test_uploads_of_a_session_that_was_killed_are_removed(home, stage):
    child = stage.started("s1")
    (own, lock), (other, _) = upload(home, "s1"), upload(home, "s2")
    os.close(lock)
    stage.processes.exit(child.identity, signal="SIGKILL")
    assert not own.parent.exists()
    assert other.exists()


def test_uploads_that_another_process_of_the_session_holds_stay(home, stage):
    child = stage.started("s1")
    own, _ = upload(home, "s1")
    stage.processes.exit(child.identity, signal="SIGKILL")
    assert own.exists()
