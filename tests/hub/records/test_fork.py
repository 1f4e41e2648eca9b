"""Forking a conversation, and the words for what an agent cannot do with its history."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.hub_stage import MemoryPeer, Stage
from tests.support.records_stage import add_message, answer, prompt

FORKS = {"capabilities": {"conversationHistory": {"forkCurrent": True}}}
OPENCODE = {"flavor": "opencode", "opencodeSessionId": "oc-1", "machineId": "m1"}


@pytest.fixture
def stage() -> Stage:
    return Stage()


def fork(stage: Stage, session: str, **body: Any) -> Any:
    return stage.begin("POST", f"/api/sessions/{session}/fork", body)


def spawned(runner: MemoryPeer) -> dict[str, Any]:
    asked = runner.events("rpc-request")[-1]
    assert asked["method"] == "m1:spawn-happy-session"
    return dict(json.loads(asked["params"]))


def started_fork(stage: Stage, peer: MemoryPeer) -> tuple[Any, MemoryPeer, dict[str, Any]]:
    """The reply of the hub to come, the runner, and what it was asked to start."""
    session = next(iter(stage.registry.sessions))
    _, runner = stage.machine()
    runner.serve("m1", "spawn-happy-session")
    pending = fork(stage, session)
    stage.tick(0.5)
    return pending, runner, spawned(runner)


def test_a_fork_is_another_session_with_the_conversation_so_far(stage: Stage) -> None:
    session, peer = stage.live(**OPENCODE, **FORKS, name="Talk")
    for number, content in enumerate((prompt("question"), answer("the answer"))):
        add_message(stage.store, content, session, name=f"m{number}")
    pending, runner, asked = started_fork(stage, peer)
    child = asked["existingSessionId"]
    assert asked["resumeSessionId"] == "oc-1"
    assert asked["forkSession"] is True
    assert child != session
    new = stage.connect(sessionId=child)
    stage.alive(new, child)
    runner.answer(json.dumps({"type": "success", "sessionId": child}))
    stage.tick(1)
    view = stage.get(f"/api/sessions/{child}")["session"]
    metadata = {**view["metadata"], "opencodeSessionId": "oc-2"}
    new.send(
        "update-metadata",
        {"sid": child, "expectedVersion": view["metadataVersion"], "metadata": metadata},
    )
    stage.tick(1)
    assert stage.finish(pending).body == {"sessionId": child}
    assert view["metadata"]["forkedFrom"] == session
    assert view["metadata"]["summary"]["text"] == "Fork: Talk"
    messages = stage.get(f"/api/sessions/{child}/messages")["messages"]
    assert [message["content"] for message in messages] == [
        prompt("question"),
        answer("the answer"),
    ]
    assert stage.rest("GET", f"/cli/sessions/{child}/messages?afterSeq=0").body["messages"] == []
    assert len(stage.get(f"/api/sessions/{session}/messages")["messages"]) == 2
    results = stage.get("/api/search?q=answer")["results"]
    assert [result["sessionId"] for result in results] == [session]
    add_message(stage.store, answer("more"), child, name="later")
    newest = stage.get(f"/api/sessions/{child}/messages")["messages"][-1]
    assert (newest["id"], newest["seq"]) == ("later", 3)


def test_nothing_is_left_of_a_fork_that_fails(stage: Stage) -> None:
    session, peer = stage.live(**OPENCODE, **FORKS)
    pending, runner, _ = started_fork(stage, peer)
    runner.answer('{"type":"error","errorMessage":"no memory left"}')
    stage.tick(1)
    reply = stage.finish(pending)
    assert (reply.status, reply.body["error"]) == (409, "Fork failed: no memory left")
    assert list(stage.registry.sessions) == [session]


def test_an_agent_that_cannot_copy_its_session_is_not_asked(stage: Stage) -> None:
    session, _ = stage.live(**OPENCODE)
    stage.machine()
    reply = stage.finish(fork(stage, session))
    assert (reply.status, reply.body["error"]) == (
        409,
        "Fork current is not supported for this session",
    )
    reply = stage.finish(fork(stage, session, messageLocalId="L"))
    assert (reply.status, reply.body["error"]) == (
        409,
        "Historical fork is not supported for this session",
    )


def test_a_busy_or_ended_session_is_not_forked(stage: Stage) -> None:
    session, peer = stage.live(**OPENCODE, **FORKS)
    stage.alive(peer, session, thinking=True)
    reply = stage.finish(fork(stage, session))
    assert (reply.status, reply.body["error"]) == (409, "Session is busy")
    peer.drop()
    stage.tick(60)
    assert stage.finish(fork(stage, session)).body["code"] == "session_inactive"


def test_rewind_and_clear_are_answered_as_for_an_agent_without_them(stage: Stage) -> None:
    session, _ = stage.live(**OPENCODE)
    path = f"/api/sessions/{session}"
    assert stage.rest("POST", f"{path}/rewind", {}).status == 400
    reply = stage.rest("POST", f"{path}/rewind", {"messageLocalId": "L"})
    assert reply.status == 409
    assert reply.body["error"] == "Rewind is not supported for this session"
    assert reply.body["hydrateFailed"] is False
    reply = stage.rest("POST", f"{path}/clear", {})
    assert (reply.status, reply.body["error"]) == (409, "Shared session required")
