"""Records of a session whose hub is away reach it later, whatever becomes of the session."""

import signal
import sys

import pytest

from hapi.spool import spooled_sessions
from tests.support.hub_absence import CALLS, EVERY_CALL, Absence
from tests.support.peers import Cast
from tests.support.programs import CANARY, until

pytestmark = pytest.mark.program


@pytest.fixture
def absence(on_stage, tmp_path):
    return Absence(on_stage(Cast(tmp_path / "stage", token=CANARY)))


def test_records_of_a_session_that_was_killed_while_the_hub_was_away_arrive_once(absence):
    absence.begin()
    absence.kill()
    absence.hub_again()
    until(lambda: len(absence.calls()) >= CALLS)
    until(lambda: not spooled_sessions(absence.home))
    metadata = absence.user.archived(absence.session_id)
    assert absence.calls() == EVERY_CALL
    assert metadata["archiveReason"] == "Session crashed (SIGKILL)"


def test_records_of_a_session_that_lives_on_arrive_once_and_leave_no_file(absence):
    absence.begin()
    absence.hub_again()
    until(lambda: len(absence.calls()) >= CALLS)
    until(lambda: not spooled_sessions(absence.home))
    (absence.directory / "end").touch()
    absence.user.say(absence.session_id, "last")
    absence.user.heard(absence.session_id, "You said last")
    assert absence.calls() == EVERY_CALL
    assert not spooled_sessions(absence.home)


def test_records_of_a_session_that_was_killed_with_its_runner_arrive_when_it_is_resumed(absence):
    absence.begin()
    absence.runner.program.end(signal.SIGKILL)
    absence.kill()
    absence.hub_again()
    environment = absence.cast.settings(absence.user, absence.home.path, "")
    resumed = absence.cast.start(
        "resumed",
        [
            *(sys.executable, "-m", "hapi", "dsh", "--started-by", "runner"),
            *("--hapi-starting-mode", "remote"),
            *("--existing-session-id", absence.session_id),
        ],
        environment,
        absence.directory,
    )
    resumed.ready(lambda: len(absence.calls()) >= CALLS)
    resumed.ready(lambda: not spooled_sessions(absence.home))
    absence.user.say(absence.session_id, "again")
    absence.user.heard(absence.session_id, "You said again")
    assert absence.calls() == EVERY_CALL


def test_records_of_a_session_that_was_stopped_while_the_hub_was_away_arrive_once(absence):
    absence.begin()
    absence.runner.control("/stop-session", {"sessionId": absence.session_id})
    absence.hub_again()
    until(lambda: len(absence.calls()) >= CALLS)
    until(lambda: not spooled_sessions(absence.home))
    assert absence.user.archived(absence.session_id)["archiveReason"]
    assert absence.calls() == EVERY_CALL
