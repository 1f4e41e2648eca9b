"""The parts of a runner that pause for a hand-off: each quiesces and resumes, as often as it is
told.
"""

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.protocol.spawn import SpawnRefused
from hapi.runner.endpoints import Endpoints
from hapi.runner.sessions import BEING_REPLACED
from hapi.runner.spawn.admission import Admission
from tests.support.coordinator_stage import Scene
from tests.support.runner_stage import assert_waiting, result_of


@pytest.fixture
def scene(home):
    made = Scene(home)
    yield made
    made.run.stop()


def quiesce(part):
    return Deferred.fromCoroutine(part.quiesce())


def test_every_part_quiesces_and_resumes_repeatedly(scene):
    for part in scene.service.quiescables:
        for _ in range(2):
            result_of(quiesce(part))
    assert result_of(scene.spawn()) == SpawnRefused(BEING_REPLACED)
    assert not scene.reactor.port.reading
    for part in scene.service.quiescables:
        for _ in range(2):
            part.resume()
    assert scene.reactor.port.reading
    assert scene.service.sessions.spawner.closed_reason is None
    assert scene.service.children.deferred_ends is None
    assert not scene.service.endpoints.site.closes_after_reply


def test_a_runner_that_has_closed_its_sessions_does_not_resume_them(scene):
    sessions = scene.service.sessions
    sessions.close()
    closed = sessions.spawner.closed_reason
    result_of(quiesce(sessions))
    sessions.resume()
    assert sessions.spawner.closed_reason == closed


def test_a_link_that_has_left_claims_nothing_again(scene):
    machine = scene.run.machine
    machine.said.clear()
    scene.service.hub.left = True
    scene.service.hub.resume()
    assert machine.said == []


def test_starts_that_take_long_are_finished_and_no_more_begin__H10(scene, monkeypatch):
    sessions, refused = scene.service.sessions, []
    monkeypatch.setattr(Admission, "refuse_all", lambda _, refusal: refused.append(refusal))
    sessions.spawner.pending = 1
    quiet = quiesce(sessions)
    scene.advance(4.9)
    assert (sessions.spawner.closed_reason, refused) == (None, [])
    scene.advance(0.3)
    assert sessions.spawner.closed_reason == BEING_REPLACED
    assert set(refused) == {SpawnRefused(BEING_REPLACED)}
    assert_waiting(quiet)
    sessions.spawner.pending = 0
    scene.advance(0.1)
    result_of(quiet)


def test_callers_who_are_being_answered_get_their_answer_first__H10():
    clock, site = Clock(), SimpleNamespace(closes_after_reply=False, busy=True)
    quiet = quiesce(Endpoints(clock, lambda: None, site=site))
    clock.advance(60)
    assert site.closes_after_reply
    assert_waiting(quiet)
    site.busy = False
    clock.advance(0.5)
    result_of(quiet)
