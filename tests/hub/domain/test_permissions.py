"""Permission requests answered over REST: the first answer counts, and those who come too late are
told so.
"""

from typing import Any

import pytest

from tests.support.hub_stage import MemoryPeer, Stage

REQUEST = {"tool": "Bash", "arguments": {}, "createdAt": 1}


def asking(stage: Stage) -> tuple[str, MemoryPeer]:
    session, peer = stage.live()
    peer.serve(session, "permission")
    show(peer, session, {"r1": REQUEST}, 1)
    return session, peer


def show(peer: MemoryPeer, session: str, requests: dict[str, Any], version: int) -> None:
    told = peer.ask(
        "update-state",
        {"sid": session, "expectedVersion": version, "agentState": {"requests": requests}},
    )
    assert told["result"] == "success"


@pytest.mark.parametrize("late", ["approve", "deny"])
def test_of_two_answers_at_once_the_later_one_hears_that_nothing_waits_any_more(late: str) -> None:
    stage = Stage()
    session, peer = asking(stage)
    path = f"/api/sessions/{session}/permissions/r1"
    first = stage.begin("POST", f"{path}/approve", {})
    second = stage.rest("POST", f"{path}/{late}", {})
    assert (second.status, second.body) == (404, {"error": "Request not found"})
    assert len(peer.calls) == 1
    peer.answer("{}")
    assert stage.finish(first).status == 200
    third = stage.rest(
        "POST", f"{path}/{late}", {}
    )  # the session has not taken it out of its state yet
    assert third.status == 404
    assert peer.calls == []


def test_an_answer_that_did_not_arrive_may_be_given_again() -> None:
    stage = Stage()
    session, peer = asking(stage)
    path = f"/api/sessions/{session}/permissions/r1/deny"
    first = stage.begin("POST", path, {})
    for _ in range(4):
        stage.tick(10)
        stage.alive(peer, session)
    assert stage.finish(first).status == 500
    again = stage.begin("POST", path, {})
    peer.answer("{}")
    assert stage.finish(again).status == 200


def test_a_later_request_of_the_same_name_is_another_one() -> None:
    stage = Stage()
    session, peer = asking(stage)
    path = f"/api/sessions/{session}/permissions/r1/approve"
    for version, created in ((2, 2), (3, 3)):
        pending = stage.begin("POST", path, {})
        peer.answer("{}")
        assert stage.finish(pending).status == 200
        show(peer, session, {"r1": {**REQUEST, "createdAt": created}}, version)
    assert stage.rest("POST", path, {"decision": "nonsense"}).status == 400
