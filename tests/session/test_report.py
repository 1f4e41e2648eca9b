"""The session's report in its attempt folder: ready, turns, permissions, waiting prompts, life."""

import os

import pytest

from hapi.attempts import AttemptFolder
from hapi.protocol.attempt import AttemptRequest
from hapi.session.report import RETRY_INTERVAL, ReportWriter
from tests.support.session_stage import SessionStage


@pytest.fixture
def stage(home):
    folder = AttemptFolder.create(home, AttemptRequest(argv=("hapi",), cwd="/", at=0.0))
    stage = SessionStage(home, attempt=folder)
    ReportWriter(stage.clock, folder, stage.session, stage.clock.seconds).begin()
    return stage


def report(stage):
    return stage.session.start.attempt.report


def test_a_session_reports_first_that_it_lives_and_then_that_it_is_ready(stage):
    assert report(stage).ready is False
    stage.up()
    assert report(stage).ready is True
    assert report(stage).agent_session_id == stage.session.agent_session


def test_a_turn_and_the_prompts_behind_it_are_reported(stage):
    stage.up()
    stage.clock.advance(5)
    stage.link.message("first")
    assert report(stage).turn_since == 5.0
    stage.link.message("second", 2)
    assert report(stage).queued == 1
    assert report(stage).turn_since == 5.0
    stage.agent.finish()
    assert report(stage).queued == 0
    stage.agent.ask()
    assert report(stage).waiting_since == 5.0
    stage.agent.finish("cancelled")
    assert report(stage).waiting_since is None
    assert report(stage).turn_since is None


def test_a_report_that_a_full_disk_refused_is_written_as_soon_as_there_is_space(stage, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr("hapi.attempts.write_atomically", refuse)
        stage.up()
        stage.clock.advance(RETRY_INTERVAL)
        assert report(stage).ready is False
    stage.clock.advance(RETRY_INTERVAL)
    assert report(stage).ready is True


def refuse(*_, **__):
    raise OSError(28, "No space left on device")


def test_what_the_agent_does_moves_the_time_of_the_report_alone(stage):
    stage.up()
    stage.link.message("go")
    path = stage.session.start.attempt.report_path
    os.utime(path, (1, 1))
    content, inode = path.read_bytes(), path.stat().st_ino
    stage.clock.advance(2)
    stage.agent.say("one")
    assert path.stat().st_mtime > 1
    os.utime(path, (1, 1))
    stage.agent.say("two")  # not more than once a second
    assert path.stat().st_mtime == 1
    assert (path.read_bytes(), path.stat().st_ino) == (content, inode)


def test_the_permission_mode_is_reported_as_it_changes(stage):
    stage.up()
    assert report(stage).mode == "default"
    stage.link.rpc_call("set-session-config", {"permissionMode": "yolo"})
    assert report(stage).mode == "yolo"
