"""Requests to a session whose process is about to connect or to register its methods."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.domain.entities import START_TIMEOUT
from tests.support.hub_stage import Stage, result_of, waits

STATUS = {"success": True, "stdout": ""}


def test_a_read_waits_until_a_new_session_has_connected_and_registered_its_methods():
    stage = Stage()
    session = stage.session(hostPid=7)
    pending = stage.begin("GET", f"/api/sessions/{session}/git-status")
    stage.tick(1)
    peer = stage.connect(sessionId=session)
    stage.alive(peer, session)
    stage.tick(1)
    assert waits(pending)
    peer.serve(session, "git-status", "killSession")
    stage.tick(0.25)
    peer.answer(STATUS)
    assert stage.finish(pending).body == STATUS


def test_a_read_that_waited_for_too_long_says_that_the_session_is_still_starting():
    stage = Stage()
    session = stage.session(hostPid=7)
    pending = stage.begin("GET", f"/api/sessions/{session}/git-status")
    stage.tick(START_TIMEOUT + 0.25)
    error = "The session is still starting; try again in a moment."
    assert stage.finish(pending).body == {"success": False, "error": error}


def test_a_method_that_a_process_does_not_have_is_missed_at_once():
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, "git-status", "killSession")
    pending = stage.begin("GET", f"/api/sessions/{session}/git-log")
    stage.tick(0.25)
    assert "RPC handler not registered" in stage.finish(pending).body["error"]


@pytest.mark.parametrize("action", ["git-status", "upload"])
def test_nothing_waits_for_a_session_that_has_ended(action):
    stage = Stage()
    session, peer = stage.live()
    peer.send("session-end", {"sid": session, "time": stage.now(), "reason": "completed"})
    body = {"filename": "a", "content": "", "mimeType": "text/plain"}
    path = f"/api/sessions/{session}/{action}"
    answer = stage.rest("POST", path, body) if action == "upload" else stage.rest("GET", path)
    assert answer.status == (409 if action == "upload" else 200)


def test_a_session_that_has_been_active_for_long_without_methods_is_not_waited_for():
    stage = Stage()
    session, _ = stage.live()
    stage.tick(START_TIMEOUT + 0.25)
    answer = stage.rest("GET", f"/api/sessions/{session}/git-status")
    assert "RPC handler not registered" in answer.body["error"]


def test_what_changes_a_session_waits_for_its_process_after_a_restart_of_the_hub():
    stage = Stage(git_actions=True)
    session = stage.session(lifecycleState="running")
    result_of(Deferred.fromCoroutine(stage.registry.load()))
    path = f"/api/sessions/{session}/git-stage"
    pending = stage.begin("POST", path, {"paths": ["a"], "staged": False})
    stage.tick(0.5)
    peer = stage.connect(sessionId=session)
    stage.alive(peer, session)
    peer.serve(session, "git-stage", "killSession")
    stage.tick(0.25)
    peer.answer({"success": True})
    assert stage.finish(pending).body == {"success": True}
