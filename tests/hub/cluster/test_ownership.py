"""Who may do something about a session while several hubs look at it."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.access.tokens import digest
from hapi.hub.cluster.cluster import UNREACHABLE
from hapi.hub.domain.errors import Conflict
from hapi.hub.domain.merge import Merging
from hapi.hub.domain.resume import Resuming
from hapi.hub.store.interface import StoreFailed
from hapi.hub.store.rows import ShareLinkRow
from hapi.hub.store.shared import Moved
from tests.support.cluster_stage import ClusterStage
from tests.support.hub_stage import TOKEN, result_of, waits
from tests.support.metrics_text import figures
from tests.support.store_stage import message, session


@pytest.fixture
def hubs():
    return ClusterStage()


def run(coroutine):
    return result_of(Deferred.fromCoroutine(coroutine))


def arrive(hub, session_id):
    assert hub.claim(session_id)
    peer = hub.connect(sessionId=session_id)
    hub.alive(peer, session_id)
    return peer


def test_two_hubs_do_not_resume_the_same_session(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session(machineId="m1")
    a.claim("m1") if "m1" in a.registry.machines else None
    _, runner = a.machine()
    runner.serve("m1", "spawn-happy-session")
    hubs.settle()
    first = Deferred.fromCoroutine(resume(a, session_id))
    hubs.settle()
    assert waits(first)
    assert len(runner.calls) == 1
    with pytest.raises((Conflict, Moved)):
        run(resume(b, session_id))
    assert b.claim(session_id)  # as if the process had connected there
    hubs.settle()
    with pytest.raises(Conflict, match="being resumed already"):
        run(resume(b, session_id))
    runner.answer({"type": "error", "errorMessage": "no"})
    with pytest.raises(Exception, match="no"):
        result_of(first)
    hubs.settle()
    assert not b.cluster.reservations.is_elsewhere(session_id)


async def resume(hub, session_id):
    resuming = Resuming(hub.registry, hub.hub.documents, Merging(hub.registry))
    return await resuming.resume(hub.registry.sessions[session_id])


def test_a_session_that_a_dead_hub_was_resuming_can_be_resumed(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    assert run(a.cluster.reserve(session_id))
    hubs.settle()
    with pytest.raises(Moved):
        run(b.cluster.reserve(session_id))
    a.kill()
    hubs.hubs.remove(a)
    hubs.tick(15)
    assert run(b.cluster.reserve(session_id))


def test_a_hub_that_has_lost_a_session_confirms_nothing_and_closes_its_socket(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    peer = arrive(a, session_id)
    hubs.settle()
    a.memory.stop_hub()
    b.claim(session_id)
    a.memory.clock.is_stopped = False  # it has not read yet that the session has moved
    answers = []
    peer.send("message", {"sid": session_id, "message": {"role": "agent", "content": {"n": 1}}})
    a.sockets.cli.event(peer, "ping", [], lambda *given: answers.append(given))
    assert peer.hung_up
    assert run(a.memory.latest(session_id, 10)) == []


def test_a_message_is_stored_once_when_the_answer_of_its_commit_is_lost(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    peer = arrive(a, session_id)
    page = b.listen()
    a.memory.lost_answers = 1
    peer.send("message", {"sid": session_id, "message": {"role": "agent", "content": {"n": 1}}})
    hubs.tick(3)
    assert len(run(a.memory.latest(session_id, 10))) == 1
    assert len(page.of("message-received")) == 1


def test_a_home_without_sockets_is_released_after_its_session_has_ended(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    peer = arrive(a, session_id)
    for _ in range(30):
        hubs.tick(3)
        a.alive(peer, session_id)
    assert b.cluster.elsewhere(session_id).id == "a"
    peer.send("session-end", {"sid": session_id, "time": a.now()})
    peer.drop()
    hubs.tick(80)
    assert b.cluster.homes.find(session_id) is None
    assert a.cluster.homes.find(session_id) is None
    run(b.memory.change_session(session_id, {"pinned": True}))


def test_a_session_is_deleted_at_all_hubs_and_not_where_another_hub_serves_it(hubs):
    a, b, c = hubs.hubs
    session_id = a.session(lifecycleState="archived")
    a.claim(session_id)
    with pytest.raises(Moved):
        run(b.memory.discard_session(session_id))
    assert a.rest("DELETE", f"/api/sessions/{session_id}").status == 200
    hubs.settle()
    assert [session_id in hub.registry.sessions for hub in (a, b, c)] == [False] * 3


def test_a_machine_that_another_hub_has_just_registered_is_known(hubs):
    a, b, _ = hubs.hubs
    a.machine()
    assert "m1" not in b.registry.machines
    b.machine()
    assert b.registry.machines["m1"].active


def test_a_claim_that_cannot_be_stored_fails(hubs):
    a, _, _ = hubs.hubs
    session_id = a.session()
    a.memory.cut()
    with pytest.raises(StoreFailed):
        a.claim(session_id)
    a.memory.reconnect()
    assert a.claim(session_id)


def test_nothing_is_claimed_that_does_not_exist(hubs):
    assert not hubs.hubs[0].claim("unknown")
    assert hubs.shared.homes == {}


def test_figures_of_the_hubs_are_those_of_each(hubs):
    a, b, c = hubs.hubs
    session_id = a.session()
    arrive(b, session_id)
    hubs.tick(3)
    c.kill()
    hubs.hubs.remove(c)
    hubs.tick(15)
    for _ in range(2):
        found = figures(
            b.rest("GET", "/metrics", namespace=None, Authorization=f"Bearer {TOKEN}").body
        )
    assert found["hapi_hub_homes"] == 1
    assert found["hapi_hub_members_up"] == 2
    assert found["hapi_hub_journal_lag_seconds"] <= 0.5


def test_a_hub_without_its_database_tells_its_status_without_waiting_for_it(hubs, monkeypatch):
    a, _, _ = hubs.hubs
    a.memory.cut()
    hubs.tick(10)
    monkeypatch.setattr(a.memory, "size", Deferred)
    found = a.rest("GET", "/api/hub-status").body
    assert (found["ready"], found["problem"]) == (False, UNREACHABLE)
    assert found["database"]["usedBytes"] is None


def test_what_a_socket_still_sends_to_a_hub_that_has_lost_its_session_changes_nothing(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    peer = arrive(a, session_id)
    hubs.settle()
    second = arrive(b, session_id)
    second.send("session-end", {"sid": session_id, "time": b.now()})
    hubs.settle()
    a.alive(peer, session_id)
    hubs.settle()
    assert [hub.registry.sessions[session_id].active for hub in hubs.hubs] == [False] * 3


def test_a_permission_request_of_the_moment_is_notified_by_the_hub_that_takes_over(hubs):
    a, b, _ = hubs.hubs
    session_id = a.session()
    peer = arrive(a, session_id)
    hubs.settle()
    pages = [hub.listen() for hub in hubs.hubs]
    state = {"requests": {"r1": {"tool": "Bash", "arguments": {}, "createdAt": a.now()}}}
    peer.ask("update-state", {"sid": session_id, "expectedVersion": 1, "agentState": state})
    hubs.clock.advance(0.3)
    hubs.settle()
    b.claim(session_id)
    hubs.tick(5)
    assert [len(page.of("toast")) for page in pages] == [1, 1, 1]


@pytest.mark.parametrize("reply", [{"type": "error", "errorMessage": "no"}, {"type": "success"}])
def test_a_session_that_another_hub_deletes_while_it_is_resumed_is_not_found(hubs, reply):
    a, b, _ = hubs.hubs
    session_id = a.session(machineId="m1", lifecycleState="archived")
    _, runner = a.machine()
    runner.serve("m1", "spawn-happy-session", "stop-session")
    hubs.settle()
    pending = a.begin("POST", f"/api/sessions/{session_id}/reopen", {})
    hubs.settle()
    assert len(runner.calls) == 1
    b.claim(session_id)
    run(b.memory.discard_session(session_id))
    b.registry.remove_session(b.registry.sessions[session_id])
    hubs.settle()
    runner.answer({**reply, "sessionId": session_id})
    hubs.tick(20)
    assert a.finish(pending).status == 404
    assert stops(runner) == [session_id]  # the process that the runner has started for it


def stops(runner):
    asked = [call for call in runner.events("rpc-request") if "stop-session" in call["method"]]
    return [json.loads(call["params"])["sessionId"] for call in asked]


def test_the_process_of_a_session_that_the_database_still_has_is_not_ended(hubs):
    a, _, _ = hubs.hubs
    session_id = a.session(machineId="m1", lifecycleState="archived")
    _, runner = a.machine()
    runner.serve("m1", "spawn-happy-session", "stop-session")
    hubs.settle()
    pending = a.begin("POST", f"/api/sessions/{session_id}/reopen", {})
    hubs.settle()
    a.registry.forget_session(session_id)  # although nobody has deleted it
    runner.answer({"type": "error", "errorMessage": "no"})
    hubs.tick(20)
    assert a.finish(pending).status == 404
    assert stops(runner) == []


@pytest.mark.parametrize("messages", [0, 3])
def test_a_session_that_another_hub_has_just_deleted_is_not_found(hubs, messages):
    a, b, _ = hubs.hubs
    session_id = a.session(lifecycleState="archived")
    for number in range(messages):
        run(a.memory.add_message(message(f"m{number}", session_id), None))
    hubs.settle()
    page = b.listen()
    run(a.memory.discard_session(session_id))  # and is killed before it publishes that
    path = f"/api/sessions/{session_id}"
    requests = [
        ("PATCH", path, {"name": "x"}),
        ("PUT", f"{path}/pin", {"mode": "project"}),
        ("POST", f"{path}/share-links", {}),
        ("POST", f"{path}/scratchlist", {"text": "x"}),
    ]
    for method, place, body in requests:
        answer = b.rest(method, place, body)
        assert (answer.status, answer.body["error"]) == (404, "Session not found"), place
    assert page.events == []


def test_a_share_link_of_a_session_that_this_hub_has_not_heard_of_opens(hubs):
    a, b, _ = hubs.hubs
    run(a.memory.create_session(session("s1")))
    link = ShareLinkRow("l", "s1", digest("x" * 32), 0, 2**50, None, False, False)
    run(a.memory.create_share_link(link))
    path = f"/api/share/{'x' * 32}"
    assert b.rest("GET", path, namespace=None).status == 200
    run(a.memory.delete_session("s1"))
    assert b.rest("GET", path, namespace=None).status == 404
