"""Prompts that wait: taken back, or queued again when it is not known whether the agent has got
them.
"""

from __future__ import annotations

from typing import Any

import pytest

from hapi.hub.domain.queued_prompts import CANCEL_TIMEOUT
from tests.support.hub_stage import MemoryPeer, Stage

GONE = {"removed": True, "inFlight": False, "indeterminate": False, "consumed": False}
UNKNOWN = {"removed": False, "inFlight": False, "indeterminate": False, "consumed": False}
TAKEN = {"removed": False, "inFlight": False, "indeterminate": False, "consumed": True}


def post(stage: Stage, session: str, **more: Any) -> Any:
    return stage.rest("POST", f"/api/sessions/{session}/messages", {"text": "x", **more})


def indeterminate(stage: Stage) -> tuple[str, MemoryPeer]:
    """A session, and its process, which does not know whether the agent has got prompt L1."""
    session, peer = stage.live()
    post(stage, session, localId="L1")
    peer.send("messages-indeterminate", {"sid": session, "localIds": ["L1"]})
    return session, peer


def retry(stage: Stage, session: str, name: str = "L1") -> Any:
    return stage.begin("POST", f"/api/sessions/{session}/messages/{name}/retry")


def test_a_scheduled_prompt_can_be_taken_back_without_asking() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="S1", scheduledAt=stage.now() + 60_000)
    answer = stage.rest("DELETE", f"/api/sessions/{session}/messages/S1")
    assert answer.body == {"status": "cancelled", "localId": "S1"}
    assert peer.events() == []


def test_two_processes_of_one_session_are_both_asked_before_a_prompt_is_called_gone() -> None:
    stage = Stage()
    session, first = stage.live()
    second = stage.connect(sessionId=session)
    post(stage, session, localId="L1")
    pending = stage.begin("DELETE", f"/api/sessions/{session}/messages/L1")
    first.answer(UNKNOWN)
    second.answer(GONE)
    assert stage.finish(pending).body["status"] == "cancelled"


def test_a_cancel_whose_process_drops_meanwhile_is_a_cancel() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="L1")
    pending = stage.begin("DELETE", f"/api/sessions/{session}/messages/L1")
    peer.drop()
    assert stage.finish(pending).body == {"status": "cancelled", "localId": "L1"}
    assert stage.get(f"/api/sessions/{session}/messages")["page"]["epoch"] == 1


def test_a_prompt_that_the_agent_has_cannot_be_taken_back() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="L1")
    pending = stage.begin("DELETE", f"/api/sessions/{session}/messages/L1")
    peer.answer(TAKEN)
    body = stage.finish(pending).body
    assert (body["status"], body["message"]["localId"]) == ("invoked", "L1")


def test_a_prompt_whose_process_does_not_answer_may_have_reached_the_agent() -> None:
    stage = Stage()
    session, _ = stage.live()
    post(stage, session, localId="L1")
    page = stage.listen()
    pending = stage.begin("DELETE", f"/api/sessions/{session}/messages/L1")
    stage.clock.advance(CANCEL_TIMEOUT)
    assert stage.finish(pending).body == {"status": "busy", "localId": "L1"}
    assert [event["localIds"] for event in page.of("messages-indeterminate")] == [["L1"]]


def test_a_prompt_that_the_process_has_lost_is_queued_again() -> None:
    stage = Stage()
    session, peer = indeterminate(stage)
    page = stage.listen()
    pending = retry(stage, session)
    peer.answer(GONE)
    peer.answer({"accepted": True})
    assert stage.finish(pending).body == {"status": "retried", "localId": "L1"}
    assert [event["localIds"] for event in page.of("messages-requeued")] == [["L1"]]
    assert stage.finish(retry(stage, session)).body["status"] == "already-queued"


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([UNKNOWN], "retry-unavailable"),
        ([GONE, {"accepted": False}], "retry-unavailable"),
        ([TAKEN], "invoked"),
    ],
)
def test_a_prompt_is_not_queued_twice(answers: list[Any], status: str) -> None:
    stage = Stage()
    session, peer = indeterminate(stage)
    page = stage.listen()
    pending = retry(stage, session)
    for answer in answers:
        peer.answer(answer)
    assert stage.finish(pending).body["status"] == status
    assert page.of("messages-requeued") == []


def test_nothing_is_queued_again_while_no_process_is_connected() -> None:
    stage = Stage()
    session, peer = indeterminate(stage)
    peer.drop()
    assert stage.finish(retry(stage, session)).body["status"] == "retry-unavailable"
    assert stage.finish(retry(stage, session, "other")).body["status"] == "not-found"
