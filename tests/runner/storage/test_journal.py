"""The journal: every event once, with who and why; bounded, private, and no reason to stop
anything.
"""

import json
import os
import stat

import pytest
from twisted.internet.defer import Deferred

from hapi.process.in_memory import FakeProgram
from hapi.protocol.attempt import AttemptEnd, AttemptReport
from hapi.redaction import Secrets
from hapi.runner.attempts.holder_check import check_holder
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.spawn.revive import Reviver
from hapi.runner.storage.journal import MAX_UNWRITTEN_LINES, Journal, read_journal
from tests.support.runner_stage import Stage, result_of


def events(home):
    return (
        [json.loads(line) for line in home.events.read_text().splitlines()]
        if home.events.exists()
        else []
    )


def names(home):
    return [event["event"] for event in events(home)]


@pytest.fixture
def stage(home):
    stage = Stage(home)
    keep_journal(stage)
    return stage


def keep_journal(stage):
    journal = Journal(stage.home, now=stage.now)
    stage.children.record_event = stage.spawner.record_event = stage.announcements.record_event = (
        journal.record
    )
    stage.record_ready = lambda child: journal.record("ready", child.ids)


def test_a_sessions_whole_life_stands_in_the_journal__C19(stage, home):
    child = stage.started("s1")
    child.folder.report = AttemptReport(at=1.0, ready=True)
    stage.clock.advance(0.5)
    result_of(stage.stop("s1", "no longer needed"))
    assert names(home) == ["spawn", "announced", "ready", "stop-asked", "ended"]
    spawned, announced, _, asked, ended = events(home)
    assert (spawned["actor"], spawned["agent"], spawned["attempt"]) == (
        "hub",
        "claude",
        child.attempt,
    )
    assert (announced["session"], announced["pid"]) == ("s1", child.pid)
    assert (asked["reason"], asked["actor"]) == ("no longer needed", "hub")
    assert (ended["signal"], ended["reason"]) == ("SIGTERM", "no longer needed")


def test_a_session_that_ends_by_itself_has_its_exit_code_and_no_reason__C19(stage, home):
    child = stage.started("s1")
    stage.processes.exit(child.identity, 3)
    ended = events(home)[-1]
    assert (ended["event"], ended["exitCode"], "reason" in ended) == ("ended", 3, False)


def ends(home):
    return [
        (event["attempt"], event.get("exitCode"))
        for event in events(home)
        if event["event"] == "ended"
    ]


def test_an_end_that_no_runner_told_is_told_once_by_a_later_one__C19_P04(stage, home):
    """It ended while no runner ran, or the runner was killed between the end and the line that
    tells it.
    """
    child = stage.started("s1")
    stage.children.detach()
    stage.processes.exit(child.identity, 3)
    child.folder.end = AttemptEnd(3, None, stage.now())
    for _ in range(3):
        stage.restart()
        keep_journal(stage)
        stage.adopt()
        assert ends(home) == [(child.attempt, 3)]


def test_an_end_of_which_the_journal_once_told_is_not_told_again(stage, home):
    child = stage.started("s1")
    stage.processes.exit(child.identity, 3)
    later = json.dumps({"time": stage.now() + 60.0, "event": "runner-started"})
    home.events.write_text(f"{later}\n")  # what stood before is gone
    stage.restart()
    keep_journal(stage)
    stage.adopt()
    assert ends(home) == []


def lose(stage, *names):
    """The disk had no space for these, and the runner was killed before there was some."""
    stage.children.detach()
    for name in names:
        (stage.folder.path / name).unlink(missing_ok=True)
    stage.restart()
    keep_journal(stage)
    stage.adopt()


def test_an_end_that_only_the_journal_has_is_not_recorded_again__S02_C19(stage, home):
    child = stage.started("s1")
    at = stage.now()
    result_of(stage.stop("s1", "enough"))
    stage.clock.advance(60.0)
    told = names(home)
    lose(stage, "stop.json", "end.json")
    assert names(home) == told
    assert (child.folder.stop.reason, child.folder.stop.actor, child.folder.end) == (
        "enough",
        "hub",
        AttemptEnd(None, "SIGTERM", at),
    )
    assert (
        Reviver(stage.children, stage.spawner.spawn, stage.clock.callLater, stage.now).offered()
        == []
    )


def test_the_name_of_a_session_that_only_the_journal_tells_is_known__S02(stage, home):
    child = stage.started("s1")
    lose(stage, "session.json")
    stage.pass_time(600.0)
    (one,) = stage.children.listed()
    assert (one.happy_session_id, one.pid, one.state, one.unverified) == (
        "s1",
        child.pid,
        "announced",
        True,
    )
    assert child.folder.session.session_id == "s1"


def test_a_stop_that_the_next_runner_goes_on_with_is_told_once__C19(home):
    stage = Stage(home, programs={"session": FakeProgram(ignores_sigterm=True)})
    keep_journal(stage)
    stage.started("s1")
    stage.stop("s1")
    lose(stage)
    stage.clock.advance(4.0)
    assert (names(home).count("stop-asked"), names(home)[-1]) == (1, "ended")


def test_a_holder_that_was_killed_is_told_of_once__C15(stage, home):
    """What the session let loose without its environment can be out of reach from then on."""
    child, other = stage.started("s1"), stage.started("s2")
    del stage.processes.table[child.holder.pid]
    for _ in range(2):
        for each in stage.children.live():
            check_holder(stage.processes, each, stage.children.record_event)
    for each in (child, other):
        result_of(stage.stop(each.session_id))
    assert [
        (event["attempt"], event["holder"])
        for event in events(home)
        if event["event"] == "holder-lost"
    ] == [(child.attempt, child.holder.pid)]


def test_a_stop_notices_that_the_holder_is_gone__C15(stage, home):
    child = stage.started("s1")
    del stage.processes.table[child.holder.pid]
    result_of(stage.stop("s1"))
    assert names(home)[-3:] == ["stop-asked", "holder-lost", "ended"]


@pytest.mark.parametrize(
    "lines", ["", "no json\n[]\n{}\n", '{"time": "soon", "event": "ended"}\n', "\0" * 300_000]
)
def test_a_journal_of_garbage_tells_nothing_and_stops_nothing(home, lines):
    home.events.write_text(lines)
    assert read_journal(home).has_end_of("any", 1e9)


def test_while_a_replacement_tells_of_ends_the_old_runner_does_not__H09(stage, home):
    child, other = stage.started("s1"), stage.started("s2")
    for _ in range(2):
        result_of(Deferred.fromCoroutine(stage.children.quiesce()))
    stage.processes.exit(child.identity, 3)
    stage.processes.exit(other.identity, 4)
    for each in (child, other):
        each.folder.end = AttemptEnd(each.exit.exit_code, None, stage.now())
    assert ends(home) == []
    Journal(home, now=stage.now).record(
        "ended", other.ids, exitCode=4
    )  # the replacement did, and then failed
    stage.children._recorded_ends = lambda: read_journal(home).has_end_of
    for _ in range(2):
        stage.children.resume()
    assert ends(home) == [(other.attempt, 4), (child.attempt, 3)]
    assert stage.children.deferred_ends is None


def test_a_refused_start_says_who_asked_and_why__M01(home):
    stage = Stage(home, limits=AdmissionLimits(sessions=0))
    keep_journal(stage)
    result_of(stage.spawn(asked_by="control: pid 7"))
    (refused,) = events(home)
    assert (refused["event"], refused["code"], refused["actor"]) == (
        "spawn-refused",
        "session_limit",
        "control: pid 7",
    )


def test_an_overdue_start_and_its_late_announcement_are_told__W01(stage, home):
    stage.spawn()
    pid = stage.pid
    for _ in range(31):
        stage.clock.advance(0.5)
    assert sorted(names(home)) == ["ended", "spawn", "spawn-refused", "stop-asked"]
    stage.processes.add("session", pid=pid)
    stage.announce(pid, "late")
    assert names(home)[-1] == "announcement-refused"


def test_the_journal_is_private_and_holds_no_token__K02(home):
    secrets = Secrets()
    secrets.add("very-secret-token")
    old = os.umask(0)
    try:
        Journal(home, secrets).record(
            "spawn-refused", reason="said very-secret-token\nand a line \x1b[31m"
        )
    finally:
        os.umask(old)
    content = home.events.read_text()
    assert "very-secret-token" not in content
    assert content.count("\n") == 1
    assert "\x1b" not in content
    assert stat.S_IMODE(home.events.stat().st_mode) == 0o600


def test_the_journal_is_bounded_and_keeps_the_newest__S14(home):
    journal = Journal(home, max_bytes=2000)
    for number in range(200):
        journal.record("ended", number=number)
    older = home.events.with_name("events.jsonl.1")
    assert home.events.stat().st_size <= 2000
    assert older.stat().st_size <= 2000
    kept = [
        json.loads(line)["number"]
        for path in (older, home.events)
        for line in path.read_text().splitlines()
    ]
    assert kept == list(range(kept[0], 200))


def test_a_disk_that_refuses_stops_nothing__S02(home):
    home.events.mkdir()
    journal = Journal(home)
    journal.record("ended")
    assert "events.jsonl was not written" in journal.write_error
    home.events.rmdir()
    journal.record("ended")
    assert journal.write_error is None


def test_nothing_is_written_through_a_link__L08(home, tmp_path):
    (tmp_path / "stranger").write_text("")
    home.events.symlink_to(tmp_path / "stranger")
    journal = Journal(home)
    journal.record("ended")
    assert journal.write_error
    assert (tmp_path / "stranger").read_text() == ""


def test_a_line_that_fits_in_part_leaves_no_torn_line__S02(home, monkeypatch):
    journal = Journal(home)
    journal.record("spawned")
    with monkeypatch.context() as full:
        write = os.write
        full.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:9]))
        journal.record("ended", number=1)
        assert "No space left" in journal.write_error
    journal.record("ended", number=2)
    lines = [json.loads(line) for line in home.events.read_text().splitlines()]
    assert [line.get("number", line["event"]) for line in lines] == ["spawned", 1, 2]


def test_what_a_full_disk_refused_is_written_later_in_its_order__S02(home):
    home.events.mkdir()
    failures = []
    journal = Journal(home, on_write_error=lambda: failures.append(1))
    for number in range(3):
        journal.record("ended", number=number)
    assert len(failures) == 3
    home.events.rmdir()
    run_to_end(journal.retry_writes())
    assert journal.write_error is None
    journal.record("ended", number=3)
    assert [line["number"] for line in events(home)] == [0, 1, 2, 3]


def test_lines_that_are_too_many_to_be_kept_are_counted_in_the_journal__S02(home):
    home.events.mkdir()
    journal = Journal(home)
    for number in range(MAX_UNWRITTEN_LINES + 5):
        journal.record("ended", number=number)
    home.events.rmdir()
    run_to_end(journal.retry_writes())
    gap, first, *_ = events(home)
    assert (gap["event"], gap["lines"], first["number"]) == ("journal-gap", 5, 5)


def run_to_end(coroutine):
    with pytest.raises(StopIteration):
        coroutine.send(None)
