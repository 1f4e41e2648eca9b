"""A hub that cannot store what it is sent confirms nothing. As soon as it can, it gets every
record, in order and once."""

import os
import signal
import sqlite3

import pytest

from hapi.spool import spooled_sessions
from tests.support.disk_small import fill, mount_small_disk, unmount
from tests.support.hub_absence import CALLS, EVERY_CALL, Absence
from tests.support.peers import OURS, Cast
from tests.support.programs import CANARY, until

pytestmark = pytest.mark.program
DISK_SIZE = "16m"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own for the hub."""
    place = tmp_path / "stage" / f"{OURS}-hub"
    mount_small_disk(place, DISK_SIZE)
    yield place
    unmount(place)


@pytest.fixture
def absence(on_stage, tmp_path):
    return Absence(on_stage(Cast(tmp_path / "stage", token=CANARY)))


def prepare(absence):
    absence.user.say(absence.session_id, str(CALLS))
    until((absence.directory / "asked").exists)


def test_a_full_disk_of_the_hub_costs_no_record_of_a_living_session(small_disk, absence):
    prepare(absence)
    filler = fill(small_disk)
    (absence.directory / "go").touch()
    until((absence.directory / "sent").exists)
    until(lambda: absence.folder.report.problem is not None, 60.0)
    filler.unlink()
    until(lambda: len(absence.calls()) >= CALLS, 60.0)
    until(lambda: absence.folder.report.problem is None, 60.0)
    assert absence.calls() == EVERY_CALL
    until(lambda: not spooled_sessions(absence.home))


def test_a_full_disk_of_the_hub_costs_no_record_of_a_session_that_is_killed(small_disk, absence):
    prepare(absence)
    filler = fill(small_disk)
    (absence.directory / "go").touch()
    until((absence.directory / "sent").exists)
    until(lambda: absence.spooled() >= CALLS, 60.0)
    os.kill(absence.pid, signal.SIGKILL)
    filler.unlink()
    until(lambda: len(absence.calls()) >= CALLS, 60.0)
    until(lambda: not spooled_sessions(absence.home), 60.0)
    assert absence.calls() == EVERY_CALL


def test_a_database_that_another_program_locks_for_a_while_costs_no_record(absence):
    prepare(absence)
    other = sqlite3.connect(absence.hub.home / "hub.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    (absence.directory / "go").touch()
    until((absence.directory / "sent").exists)
    until(lambda: absence.spooled() >= CALLS, 60.0)
    until(lambda: absence.folder.report.problem is not None, 60.0)
    other.execute("ROLLBACK")
    other.close()
    until(lambda: len(absence.calls()) >= CALLS, 60.0)
    until(lambda: absence.folder.report.problem is None, 60.0)
    assert absence.calls() == EVERY_CALL
    until(lambda: not spooled_sessions(absence.home))
