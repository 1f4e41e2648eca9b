"""Readiness and the start lease: what a session shows in its folder decides how long it may
take and when it is ready."""

import pytest

from hapi.process.in_memory import FakeProgram
from hapi.protocol.attempt import AttemptReport
from hapi.protocol.spawn import Spawned, SpawnRefused
from hapi.runner.control.announcements import Rejected
from tests.support.runner_stage import Stage, assert_waiting, result_of


@pytest.fixture
def stage(home):
    return Stage(home)


def in_steps(stage, seconds, step=0.5):
    for _ in range(int(seconds / step)):
        stage.clock.advance(step)


def test_a_session_is_ready_when_its_report_says_so(stage):
    child = stage.started("s1")
    assert stage.children.listed()[0].state == "announced"
    child.folder.report = AttemptReport(at=1.0)
    in_steps(stage, 2)
    assert child.state == "announced"
    child.folder.report = AttemptReport(at=2.0, ready=True)
    in_steps(stage, 1)
    assert stage.children.listed()[0].state == "ready"
    assert stage.ready == [child]


def test_a_session_that_never_reports_stays_announced_and_is_not_polled_for_ever(stage):
    child = stage.started("s1")
    in_steps(stage, 125)
    assert child.state == "announced"
    assert stage.clock.getDelayedCalls() == []


def test_a_report_written_after_the_polling_is_read_on_request(stage):
    child = stage.started("s1")
    in_steps(stage, 125)
    child.folder.report = AttemptReport(at=200.0, ready=True)
    stage.reports.refresh(stage.children.live())
    assert child.state == "ready"


def test_the_resume_id_goes_where_it_outlives_the_session(stage):
    child = stage.started("s1")
    child.folder.report = AttemptReport(at=2.0, ready=True, agent_session_id="agent-7")
    in_steps(stage, 1)
    assert child.folder.session.agent_session_id == "agent-7"
    assert child.folder.session.session_id == "s1"


def test_a_broken_report_changes_nothing__S11(stage):
    child = stage.started("s1")
    child.folder.report_path.write_bytes(b'{"ready": tru')
    in_steps(stage, 1)
    assert child.state == "announced"


def test_a_session_is_ready_again_for_the_next_runner(stage):
    child = stage.started("s1")
    child.folder.report = AttemptReport(at=2.0, ready=True)
    stage.children.detach()
    stage.restart()
    assert stage.adopt() == 1
    in_steps(stage, 1)
    assert stage.children.listed()[0].state == "ready"


def test_a_session_that_shows_life_is_not_ended_at_the_end_of_the_lease__W01(stage):
    answer = stage.spawn()
    for second in range(40):
        with stage.folder.output.open("a") as file:
            file.write(f"loading {second}\n")
        in_steps(stage, 1)
    assert_waiting(answer)
    stage.announce(stage.pid, "slow")
    assert result_of(answer) == Spawned("slow")


def test_a_runner_that_was_stopped_for_long_gives_a_starting_session_its_time_again__P05(stage):
    answer = stage.spawn()
    in_steps(stage, 5)
    stage.clock.advance(600)  # SIGSTOP, or the machine slept
    assert_waiting(answer)
    in_steps(stage, 10)
    stage.announce(stage.pid, "s1")
    assert result_of(answer) == Spawned("s1")


def test_a_session_that_stays_silent_after_the_runner_was_stopped_is_ended_in_the_end__P05_N18(
    stage,
):
    answer = stage.spawn()
    stage.clock.advance(8 * 3600)
    in_steps(stage, 16)
    assert isinstance(result_of(answer), SpawnRefused)
    assert stage.folder.stop.reason == "Start timed out"


def test_a_report_is_a_sign_of_life_too__W01(stage):
    answer = stage.spawn()
    in_steps(stage, 10)
    stage.folder.report = AttemptReport(at=1.0)
    in_steps(stage, 10)
    assert_waiting(answer)
    in_steps(stage, 6)
    assert isinstance(result_of(answer), SpawnRefused)


def test_life_without_an_announcement_has_an_end__W01(home):
    stage = Stage(home, options={"start_timeout": 30.0})
    answer = stage.spawn()
    for second in range(31):
        with stage.folder.output.open("a") as file:
            file.write(f"going round {second}\n")
        in_steps(stage, 1)
    assert isinstance(result_of(answer), SpawnRefused)
    assert stage.folder.stop.reason == "Start timed out"


def test_an_announcement_an_hour_late_is_never_accepted__W01(home):
    stage = Stage(home, programs={"session": FakeProgram(unkillable=True)})
    answer = stage.spawn()
    in_steps(stage, 60)
    assert isinstance(result_of(answer), SpawnRefused)
    child = stage.folder.process.child
    in_steps(stage, 3600, step=60)
    assert isinstance(stage.announce(child.pid, "late"), Rejected)
    assert stage.children.listed() == []
    stage.children.detach()
    stage.restart()  # and not by the next runner either
    stage.adopt()
    assert isinstance(stage.announce(child.pid, "late"), Rejected)
    assert stage.children.listed() == []
    assert stage.folder.session is None


def test_the_lease_runs_on_when_the_runner_restarts__W08(stage):
    stage.spawn()
    in_steps(stage, 10)
    stage.children.detach()
    stage.restart()
    assert stage.adopt() == 1
    in_steps(stage, 4)
    assert stage.children.live()
    in_steps(stage, 2)
    assert stage.folder.stop.reason == "Start timed out"


def test_a_session_launched_before_the_restart_may_still_announce_itself__W08(stage):
    stage.spawn()
    in_steps(stage, 10)
    stage.children.detach()
    stage.restart()
    stage.adopt()
    stage.announce(stage.pid, "s1")
    assert [one.happy_session_id for one in stage.children.listed()] == ["s1"]
