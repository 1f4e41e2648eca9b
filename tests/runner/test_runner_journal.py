"""The journal: every event once, with who and why; bounded, private, and no reason to stop anything."""

import json
import os
import stat

import pytest
from runner_stage import Stage, result_of

from hapi.protocol.attempt import AttemptReport
from hapi.runner.admission import Limits
from hapi.runner.journal import Journal
from hapi.shown import Secrets


def events(home):
    return [json.loads(line) for line in home.events.read_text().splitlines()] if home.events.exists() else []


def names(home):
    return [event["event"] for event in events(home)]


@pytest.fixture
def stage(home):
    stage = Stage(home)
    keep_journal(stage)
    return stage


def keep_journal(stage):
    journal = Journal(stage.home, now=stage.now)
    stage.children.note = stage.spawner.note = stage.announcements.note = journal.note
    stage.reports.on_ready = lambda child: journal.note("ready", child)


def test_a_sessions_whole_life_stands_in_the_journal__C19(stage, home):
    child = stage.started("s1")
    child.folder.report = AttemptReport(at=1.0, ready=True)
    stage.clock.advance(0.5)
    result_of(stage.stop("s1", "no longer needed"))
    assert names(home) == ["spawn", "announced", "ready", "stop-asked", "ended"]
    spawned, announced, _, asked, ended = events(home)
    assert (spawned["actor"], spawned["agent"], spawned["attempt"]) == ("hub", "claude", child.attempt)
    assert (announced["session"], announced["pid"]) == ("s1", child.pid)
    assert (asked["reason"], asked["actor"]) == ("no longer needed", "hub")
    assert (ended["signal"], ended["reason"]) == ("SIGTERM", "no longer needed")


def test_a_session_that_ends_by_itself_has_its_exit_code_and_no_reason__C19(stage, home):
    child = stage.started("s1")
    stage.processes.exit(child.identity, 3)
    ended = events(home)[-1]
    assert (ended["event"], ended["exitCode"], "reason" in ended) == ("ended", 3, False)


def test_a_refused_start_says_who_asked_and_why__M01(home):
    stage = Stage(home, limits=Limits(sessions=0))
    keep_journal(stage)
    result_of(stage.spawn(asked_by="control: pid 7"))
    (refused,) = events(home)
    assert (refused["event"], refused["code"], refused["actor"]) == ("spawn-refused", "session_limit", "control: pid 7")


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
        Journal(home, secrets).note("spawn-refused", reason="said very-secret-token\nand a line \x1b[31m")
    finally:
        os.umask(old)
    content = home.events.read_text()
    assert "very-secret-token" not in content
    assert content.count("\n") == 1
    assert "\x1b" not in content
    assert stat.S_IMODE(home.events.stat().st_mode) == 0o600


def test_the_journal_is_bounded_and_keeps_the_newest__S14(home):
    journal = Journal(home, largest=2000)
    for number in range(200):
        journal.note("ended", number=number)
    older = home.events.with_name("events.jsonl.1")
    assert home.events.stat().st_size <= 2000
    assert older.stat().st_size <= 2000
    kept = [json.loads(line)["number"] for path in (older, home.events) for line in path.read_text().splitlines()]
    assert kept == list(range(kept[0], 200))


def test_a_disk_that_refuses_stops_nothing__S02(home):
    home.events.mkdir()
    journal = Journal(home)
    journal.note("ended")
    assert "events.jsonl was not written" in journal.trouble
    home.events.rmdir()
    journal.note("ended")
    assert journal.trouble is None


def test_nothing_is_written_through_a_link__L08(home, tmp_path):
    (tmp_path / "stranger").write_text("")
    home.events.symlink_to(tmp_path / "stranger")
    journal = Journal(home)
    journal.note("ended")
    assert journal.trouble
    assert (tmp_path / "stranger").read_text() == ""
