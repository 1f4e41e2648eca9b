"""npm's hub goes away or moves while a session of ours runs."""

import os
import signal

import pytest

from hapi.spool import spooled_sessions
from tests.support.hub_absence import CALLS, EVERY_CALL, Absence, Move
from tests.support.peers import NPM
from tests.support.programs import CANARY, until

pytestmark = pytest.mark.peer("hapi")


def test_npms_hub_gets_the_records_of_a_session_that_was_killed_while_it_was_away(cast):
    absence = Absence(cast, NPM)
    absence.begin()
    absence.kill()
    absence.hub_again()
    until(lambda: len(absence.calls()) >= CALLS)
    until(lambda: not spooled_sessions(absence.home))
    assert absence.calls() == EVERY_CALL


def test_a_live_session_follows_npms_hub_to_another_address_and_token(cast):
    move = Move(cast, NPM)
    move.configure(move.move_hub(), CANARY)
    os.kill(move.runner.pid, signal.SIGHUP)
    move.session_answers("two")
