"""The hub's clock jumps: the order of a conversation, presence and scheduled prompts stay right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.hub_stage import Stage

HOUR, DAY = 3_600_000, 86_400_000  # ms
JUMPS = {
    "an hour back": [-HOUR, HOUR],
    "a day ahead": [DAY, -DAY],
    "ahead, far back, and right again": [DAY, -2 * DAY, DAY],
}


def record(text: str) -> dict[str, Any]:
    return {
        "role": "agent",
        "content": {"type": "codex", "data": {"type": "message", "message": text}},
    }


def text_of(content: dict[str, Any]) -> str:
    inner = content["content"]
    return str(inner["data"]["message"] if inner["type"] == "codex" else inner["text"])


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS)
def test_messages_stay_in_the_order_in_which_they_came(jumps: list[int]) -> None:
    stage = Stage()
    session, peer = stage.live()
    page, expected = stage.listen(), []
    prompt = {"text": "early prompt", "localId": "early"}
    stage.rest("POST", f"/api/sessions/{session}/messages", prompt)
    for number, jump in enumerate([0, *jumps]):
        stage.start += jump
        for part in range(3):
            expected.append(f"{number}.{part}")
            peer.send("message", {"sid": session, "message": record(expected[-1])})
            stage.tick(0.25)
        posted = {"text": f"prompt {number}", "localId": f"L{number}"}
        assert stage.rest("POST", f"/api/sessions/{session}/messages", posted).status == 200
        expected.append(posted["text"])
        peer.send("messages-consumed", {"sid": session, "localIds": [posted["localId"]]})
    peer.send("messages-consumed", {"sid": session, "localIds": ["early"]})
    expected.append("early prompt")
    peer.send("message", {"sid": session, "message": record("last")})
    expected.append("last")
    rows = stage.get(f"/api/sessions/{session}/messages?limit=200")["messages"]
    assert [text_of(row["content"]) for row in rows] == expected
    # A page that has followed the events has the same order.
    followed: dict[str, dict[str, Any]] = {}
    for event in page.events:
        if event["type"] == "message-received":
            followed[event["message"]["id"]] = event["message"]
        elif event["type"] == "messages-consumed":
            for message in followed.values():
                if message["localId"] in event["localIds"]:
                    message["invokedAt"] = event["invokedAt"]
    in_order = sorted(
        followed.values(), key=lambda row: (row["invokedAt"] or row["createdAt"], row["seq"])
    )
    assert [text_of(row["content"]) for row in in_order] == expected
    # Page by page backwards, no message is missed or shown twice.
    found: list[str] = []
    query = "limit=4"
    while query:
        answer = stage.get(f"/api/sessions/{session}/messages?{query}")
        found = [text_of(row["content"]) for row in answer["messages"]] + found
        marks = answer["page"]
        query = (
            f"limit=4&beforeSeq={marks['nextBeforeSeq']}&beforeAt={marks['nextBeforeAt']}"
            if marks["hasMore"]
            else ""
        )
    assert found == expected


@pytest.mark.parametrize("jump", [-HOUR, DAY])
def test_whoever_reports_is_online_whatever_the_clocks_say__U15(jump: int) -> None:
    """The clocks of sessions and runners keep the time that the hub's has left."""
    stage = Stage()
    session, peer = stage.live()
    machine, runner = stage.machine()
    stage.start += jump
    for _ in range(30):
        stage.tick(2.0)
        theirs = stage.now() - jump
        stage.alive(peer, session, time=theirs)
        runner.send("machine-alive", {"machineId": machine, "time": theirs})
    assert stage.registry.sessions[session].active
    assert stage.registry.machines[machine].active
    assert stage.get(f"/api/sessions/{session}")["session"]["activeAt"] <= stage.now()
    peer.send("session-end", {"sid": session, "time": stage.now() - jump, "reason": "completed"})
    assert not stage.registry.sessions[session].active


@pytest.mark.parametrize("jump", [-HOUR, DAY])
def test_settings_that_a_process_reports_after_a_jump_are_kept(jump: int) -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, "set-session-config")
    path = f"/api/sessions/{session}/permission-mode"
    pending = stage.begin("POST", path, {"mode": "plan"})
    peer.answer('{"applied":{"permissionMode":"plan"}}')
    assert stage.finish(pending).status == 200
    stage.start += jump
    stage.tick(11.0)
    stage.alive(peer, session, permissionMode="default")
    assert stage.get(f"/api/sessions/{session}")["session"]["permissionMode"] == "default"


@pytest.mark.parametrize("jump", [-HOUR, DAY])
def test_a_scheduled_prompt_is_announced_once_and_comes_until_it_is_taken(jump: int) -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()

    def live(seconds: float) -> None:
        for _ in range(int(seconds / 2)):
            stage.tick(2.0)
            stage.alive(peer, session)

    later = {"text": "x", "localId": "S1", "scheduledAt": stage.now() + 30_000}
    assert stage.rest("POST", f"/api/sessions/{session}/messages", later).status == 200
    live(10.0)
    stage.start += jump
    live(10.0)
    stage.start -= jump
    live(40.0)
    assert page.of("scheduled-matured")
    delivered = [update["body"]["message"]["localId"] for update in peer.events()]
    assert delivered
    assert set(delivered) == {"S1"}
    peer.send("messages-consumed", {"sid": session, "localIds": ["S1"]})
    announced = len(page.of("scheduled-matured"))
    live(10.0)
    assert len(peer.events()) == len(delivered)
    assert len(page.of("scheduled-matured")) == announced
