"""Going on with a session in a terminal: `/cli/sessions/resumable`, `…/resume-target`,
`…/handoff-local`."""

from __future__ import annotations

from typing import Any

import pytest

from hapi.hub.domain.handoff import UNAVAILABLE
from tests.support.hub_stage import Stage, waits

CLAUDE = {"flavor": "claude", "claudeSessionId": "c1", "machineId": "m1"}


@pytest.fixture
def stage() -> Stage:
    return Stage()


def resumable(stage: Stage, query: str = "?machineId=m1", namespace: str = "default") -> Any:
    return stage.get(f"/cli/sessions/resumable{query}", namespace)["sessions"]


def leave(stage: Stage, peer: Any, session_id: str) -> None:
    """What a process does that hands its session off."""
    peer.answer('{"ok":true}')
    peer.send("session-end", {"sid": session_id, "time": stage.now(), "reason": "handoff"})


def test_the_sessions_of_a_machine_are_listed_the_newest_first(stage):
    first = stage.session(tag="1", **CLAUDE, name="Shop", summary={"text": "About it"})
    stage.clock.advance(1)
    second, _ = stage.live(tag="2", **CLAUDE)
    stage.session(tag="3", **{**CLAUDE, "machineId": "m2"})
    stage.session(tag="4", flavor="claude", machineId="m1")  # its agent was never there
    stage.session(tag="5", namespace="other", **CLAUDE)
    stage.rest("POST", f"/api/sessions/{second}/messages", {"text": "list the files"})
    listed = resumable(stage)
    assert [each["sessionId"] for each in listed] == [second, first]
    assert listed[0]["firstUserMessage"] == "list the files"
    assert (listed[1]["name"], listed[1]["summary"]) == ("Shop", "About it")
    assert [each["active"] for each in listed] == [True, False]
    assert len(resumable(stage, "")) == 3
    assert len(resumable(stage, namespace="other")) == 1


def test_npms_programs_get_only_what_they_know(stage):
    """They refuse the whole list for one value that they do not know."""
    stage.session(tag="1", flavor="demo", demoSessionId="d", machineId="m1")
    stage.session(tag="2", **CLAUDE, preferredPermissionMode="no mode of npm's")
    [known] = resumable(stage)
    assert known["flavor"] == "claude"
    assert "permissionMode" not in known
    everything = resumable(stage, "?machineId=m1&all=true")
    modes = {each["flavor"]: each.get("permissionMode") for each in everything}
    assert modes == {"claude": "no mode of npm's", "demo": None}


def test_the_target_says_what_a_process_needs(stage):
    session_id, peer = stage.live(**CLAUDE)
    stage.alive(peer, session_id, permissionMode="plan", model="opus")
    peer.ask(
        "update-state",
        {"sid": session_id, "expectedVersion": 1, "agentState": {"controlledByUser": True}},
    )
    assert stage.get(f"/cli/sessions/{session_id}/resume-target")["target"] == {
        "sessionId": session_id,
        "flavor": "claude",
        "directory": "/home/dev/project",
        "machineId": "m1",
        "host": "devbox",
        "active": True,
        "thinking": False,
        "controlledByUser": True,
        "agentSessionId": "c1",
        "model": "opus",
        "effort": None,
        "modelReasoningEffort": None,
        "permissionMode": "plan",
    }


def test_a_session_without_an_agents_session_is_refused_in_npms_words(stage):
    session_id = stage.session(flavor="claude", machineId="m1")
    answer = stage.rest("GET", f"/cli/sessions/{session_id}/resume-target")
    assert answer.status == 409
    assert answer.body == {"error": UNAVAILABLE, "code": "resume_unavailable"}


@pytest.mark.parametrize(
    ("method", "action"), [("GET", "resume-target"), ("POST", "handoff-local")]
)
def test_a_session_of_another_namespace_is_refused(stage, method, action):
    session_id = stage.session(namespace="other", **CLAUDE)
    assert stage.rest(method, f"/cli/sessions/{session_id}/{action}").status == 403
    assert stage.rest(method, f"/cli/sessions/nope/{action}").status == 404


def test_a_process_that_hands_off_has_left_when_the_hub_answers(stage):
    session_id, peer = stage.live(**CLAUDE)
    peer.serve(session_id, "handoff-local", "killSession")
    local_id = "waits"
    body = {"text": "go on", "localId": local_id}
    stage.rest("POST", f"/api/sessions/{session_id}/messages", body)
    pending = stage.begin("POST", f"/cli/sessions/{session_id}/handoff-local", {})
    assert [each["method"] for each in peer.events("rpc-request")] == [
        f"{session_id}:handoff-local"
    ]
    leave(stage, peer, session_id)
    stage.clock.advance(1)
    stage.stub.flush()
    assert waits(pending)  # it archives the session yet
    peer.drop()
    stage.clock.advance(0.1)
    assert stage.finish(pending).body == {"ok": True}
    [kept] = stage.get(f"/api/sessions/{session_id}/messages")["messages"]
    assert kept["invokedAt"] is None  # the next process takes the prompt


def test_a_process_that_does_not_leave_is_told(stage):
    session_id, peer = stage.live(**CLAUDE)
    peer.serve(session_id, "handoff-local", "killSession")
    pending = stage.begin("POST", f"/cli/sessions/{session_id}/handoff-local", {})
    peer.answer('{"ok":true}')
    for _ in range(30):
        stage.clock.advance(0.5)
    answer = stage.finish(pending)
    assert (answer.status, "has not left its place yet" in answer.body["error"]) == (503, True)


def test_a_process_may_refuse(stage):
    session_id, peer = stage.live(**CLAUDE)
    peer.serve(session_id, "handoff-local")
    pending = stage.begin("POST", f"/cli/sessions/{session_id}/handoff-local", {})
    peer.answer('{"error":"A turn is running"}')
    answer = stage.finish(pending)
    assert (answer.status, answer.body["error"]) == (409, "A turn is running")


def test_a_process_of_an_earlier_version_is_ended(stage):
    session_id, peer = stage.live(**CLAUDE)
    peer.serve(session_id, "killSession")
    pending = stage.begin("POST", f"/cli/sessions/{session_id}/handoff-local", {})
    stage.tick(1)
    assert [each["method"] for each in peer.events("rpc-request")] == [f"{session_id}:killSession"]
    leave(stage, peer, session_id)
    peer.drop()
    stage.clock.advance(0.1)
    assert stage.finish(pending).status == 200


def test_nothing_is_done_about_an_inactive_session(stage):
    session_id = stage.session(**CLAUDE)
    assert stage.rest("POST", f"/cli/sessions/{session_id}/handoff-local", {}).body == {"ok": True}
