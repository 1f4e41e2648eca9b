"""Requests to a session or machine that is about to connect or to register its methods."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.domain.entities import RECONNECT_TIMEOUT, START_TIMEOUT
from hapi.hub.domain.errors import HomeUnreachable
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


CALLS = [
    ("list-directory", {"path": "/"}, "list-directory", {"success": True, "entries": []}),
    ("restart-runner", {}, "stop-runner", {"message": "It restarts"}),
    ("spawn", {"directory": "/d"}, "spawn-happy-session", {"type": "success", "sessionId": "s"}),
]


def test_a_prompt_waits_for_the_process_of_its_session_after_a_restart_of_the_hub():
    stage = Stage()
    session = stage.session(lifecycleState="running")
    result_of(Deferred.fromCoroutine(stage.registry.load()))
    path = f"/api/sessions/{session}/messages"
    pending = stage.begin("POST", path, {"text": "hello"})
    stage.tick(0.5)
    assert waits(pending)
    stage.alive(stage.connect(sessionId=session), session)
    stage.tick(0.5)
    assert stage.finish(pending).status == 200
    shown = stage.get(path)["messages"]
    assert [message["content"]["content"]["text"] for message in shown] == ["hello"]


UPLOAD = {"filename": "a", "content": "", "mimeType": "text/plain"}
OF_THE_PROCESS = [("messages", {"text": "hello"}), ("upload", UPLOAD), ("fork", {}), ("abort", {})]


@pytest.mark.parametrize(("route", "body"), OF_THE_PROCESS)
def test_a_request_is_to_be_sent_again_while_a_process_may_come_back_after_a_restart(route, body):
    stage = Stage()
    session = stage.session(lifecycleState="running")
    result_of(Deferred.fromCoroutine(stage.registry.load()))
    path = f"/api/sessions/{session}/{route}"
    pending = stage.begin("POST", path, body)
    stage.tick(START_TIMEOUT + 0.5)
    answer = stage.finish(pending)
    assert (answer.status, answer.body["code"]) == (503, "session_connecting")
    assert answer.headers["retry-after"] == "1"
    again = stage.begin("POST", path, body)
    stage.tick(1)
    assert waits(again)
    stage.tick(RECONNECT_TIMEOUT)
    late = [stage.finish(again), stage.rest("POST", path, body)]
    assert late[0].status == 503
    assert (late[1].status, late[1].body["code"]) == (409, "session_inactive")


@pytest.mark.parametrize("route", ["upload", "abort"])
def test_a_request_is_to_be_sent_again_while_a_new_process_has_not_connected(route):
    stage = Stage()
    session = stage.session(hostPid=7)
    pending = stage.begin("POST", f"/api/sessions/{session}/{route}", UPLOAD)
    stage.tick(START_TIMEOUT + 0.5)
    answer = stage.finish(pending)
    assert (answer.status, answer.body["code"]) == (503, "session_connecting")


def test_a_process_that_has_ended_after_a_restart_is_not_waited_for():
    stage = Stage()
    session = stage.session(lifecycleState="running")
    result_of(Deferred.fromCoroutine(stage.registry.load()))
    peer = stage.connect(sessionId=session)
    stage.alive(peer, session)
    peer.send("session-end", {"sid": session, "time": stage.now(), "reason": "completed"})
    answer = stage.rest("POST", f"/api/sessions/{session}/upload", UPLOAD)
    assert (answer.status, answer.body["code"]) == (409, "session_inactive")


@pytest.mark.parametrize(("route", "body", "method", "result"), CALLS)
def test_a_call_waits_for_a_runner_that_registers_its_methods(route, body, method, result):
    """After a restart of the hub the machine is active before its methods are there."""
    stage = Stage()
    machine, runner = stage.machine(supervisedRestart=True)
    pending = stage.begin("POST", f"/api/machines/{machine}/{route}", body)
    stage.tick(START_TIMEOUT - 0.5)
    assert waits(pending)
    runner.serve(machine, "spawn-happy-session", method)
    stage.tick(0.25)
    runner.answer(result)
    assert stage.finish(pending).status == 200


@pytest.mark.parametrize("registers", [True, False])
def test_a_runner_without_the_method_is_waited_for_a_few_seconds_at_most(registers):
    stage = Stage()
    machine, runner = stage.machine()
    pending = stage.begin("POST", f"/api/machines/{machine}/list-directory", {"path": "/"})
    if registers:
        runner.serve(machine, "spawn-happy-session")
    stage.tick(0.5 if registers else START_TIMEOUT + 0.25)
    assert "RPC handler not registered" in stage.finish(pending).body["error"]
    if registers:  # and now it is known
        answer = stage.rest("POST", f"/api/machines/{machine}/list-directory", {"path": "/"})
        assert "RPC handler not registered" in answer.body["error"]


def test_a_runner_that_is_not_connected_is_told_of_in_a_sentence():
    stage = Stage()
    machine, _ = stage.machine(supervisedRestart=True)
    pending = stage.begin("POST", f"/api/machines/{machine}/restart-runner", {})
    stage.tick(START_TIMEOUT + 0.25)
    answer = stage.finish(pending)
    assert answer.body["error"].startswith("The runner is not connected to the hub at the moment.")


class AwayHubs:
    """The hub where everything is at home has just died."""

    def elsewhere(self, owner):
        return True

    async def call(self, waits_for, owner, name, params, timeout, here):
        raise HomeUnreachable("The hub a cannot be reached")

    async def work(self, owner, name, given, here):
        return await here()


@pytest.mark.parametrize("action", ["reopen", "resume"])
def test_a_session_is_to_be_resumed_later_when_the_hub_of_its_machine_has_just_died(action):
    stage = Stage()
    machine, _ = stage.machine()
    session = stage.session(machineId=machine, lifecycleState="archived")
    stage.registry.rpc.peers = AwayHubs()
    answer = stage.rest("POST", f"/api/sessions/{session}/{action}", {})
    assert (answer.status, answer.body["code"]) == (503, "machine_connecting")
    assert answer.headers["retry-after"] == "2"
    said = "The machine devbox is connecting to the hub again; try again in a moment"
    assert answer.body["error"] == said
    assert stage.registry.sessions[session].metadata["lifecycleState"] == "archived"
    assert session not in stage.registry.resuming
    spawned = stage.rest("POST", f"/api/machines/{machine}/spawn", {"directory": "/d"})
    assert (spawned.status, spawned.body) == (200, {"type": "error", "message": said})
