"""Messages: taken in, cut, replaced, queued, delivered until taken, scheduled, counted in pages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hapi.hub.domain.content import todos_of
from hapi.hub.domain.messages import LONG_PROMPT_INTERVAL
from hapi.protocol.json import KEPT_HEAD, KEPT_TAIL, MAX_STRING_LENGTH, cut
from tests.support.hub_stage import MemoryPeer, Stage


def agent(text: str, **data: Any) -> dict[str, Any]:
    return {
        "role": "agent",
        "content": {"type": "codex", "data": {"type": "message", "message": text, **data}},
        "meta": {"sentFrom": "cli"},
    }


def post(stage: Stage, session: str, text: str = "x", **more: Any) -> Any:
    return stage.rest("POST", f"/api/sessions/{session}/messages", {"text": text, **more})


def delivered(peer: MemoryPeer) -> list[str]:
    return [
        one["body"]["message"]["localId"]
        for one in peer.events()
        if one["body"]["t"] == "new-message"
    ]


def test_long_strings_lose_their_middle() -> None:
    text = "a" * KEPT_HEAD + "b" * MAX_STRING_LENGTH + "c" * KEPT_TAIL
    found = cut({"x": [text, "short"]})["x"]
    assert found[0].startswith("a" * KEPT_HEAD + "\n…[hapi: truncated 65536 chars]…\n")
    assert found[0].endswith("\nccc"[:1] + "c" * KEPT_TAIL)
    assert found[1] == "short"
    assert cut("x" * MAX_STRING_LENGTH) == "x" * MAX_STRING_LENGTH


def test_nothing_is_nested_without_end() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    json.dumps(cut(deep))


def test_a_message_may_come_as_the_text_of_one() -> None:
    stage = Stage()
    session, peer = stage.live()
    for message in (json.dumps(agent("one")), "plain", "[1]", '"quoted"', "{broken"):
        peer.send("message", {"sid": session, "message": message})
    contents = [
        row["content"] for row in stage.get(f"/api/sessions/{session}/messages")["messages"]
    ]
    assert contents == [agent("one"), "plain", "[1]", '"quoted"', "{broken"]


def test_growing_thoughts_replace_each_other() -> None:
    stage = Stage()
    session, peer = stage.live()
    for text in ("a", "ab"):
        peer.send(
            "message", {"sid": session, "message": agent(text, type="reasoning", id="R", live=True)}
        )
    peer.send(
        "message", {"sid": session, "message": agent("other", type="reasoning", id="S", live=True)}
    )
    peer.send("message", {"sid": session, "message": agent("abc", type="reasoning", id="R")})
    rows = stage.get(f"/api/sessions/{session}/messages")["messages"]
    assert [row["content"]["content"]["data"]["message"] for row in rows] == ["other", "abc"]
    peer.send("message", {"sid": session, "message": agent("again", type="reasoning", id="R")})
    assert (
        len(stage.get(f"/api/sessions/{session}/messages")["messages"]) == 3
    )  # what is final stays


def test_what_one_socket_says_the_others_of_the_room_hear() -> None:
    stage = Stage()
    session, peer = stage.live()
    other, stranger = stage.connect(sessionId=session), stage.connect()
    peer.send("message", {"sid": session, "message": agent("one")})
    assert [len(one.events()) for one in (peer, other, stranger)] == [0, 1, 0]


def test_a_prompt_is_sent_again_with_every_alive_until_it_is_taken() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="L1")
    post(stage, session, "no id")
    post(stage, session, localId="L2")
    assert delivered(peer) == ["L1", None, "L2"]
    stage.alive(peer, session)
    assert delivered(peer)[3:] == ["L1", "L2"]
    peer.send("messages-consumed", {"sid": session, "localIds": ["L1", "unknown"]})
    stage.alive(peer, session)
    assert delivered(peer)[5:] == ["L2"]
    peer.send("messages-consumed", {"sid": session, "localIds": ["L2"]})
    stage.alive(peer, session)
    assert len(delivered(peer)) == 6


def test_the_same_prompt_twice_is_stored_once__R11() -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    for _ in range(3):
        assert post(stage, session, localId="L1").status == 200
    assert len(stage.get(f"/api/sessions/{session}/messages")["messages"]) == 1
    assert len(page.of("message-received")) == 1
    assert delivered(peer) == ["L1"] * 3
    peer.send("messages-consumed", {"sid": session, "localIds": ["L1"]})
    post(stage, session, localId="L1")
    assert len(delivered(peer)) == 3


def test_a_process_that_comes_back_gets_what_waited() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="L1")
    peer.drop()
    again = stage.connect(sessionId=session)
    stage.alive(again, session)
    assert delivered(again) == ["L1"]
    answer = stage.rest("GET", f"/cli/sessions/{session}/messages?afterSeq=0&limit=200")
    assert [row["localId"] for row in answer.body["messages"]] == ["L1"]


def test_a_prompt_written_as_a_process_connects_comes_after_those_that_wait() -> None:
    stage = Stage()
    session, first = stage.live()
    first.drop()
    for name in ("L1", "L2"):
        post(stage, session, localId=name)
    again = stage.connect(sessionId=session)
    post(stage, session, localId="L3")
    assert delivered(again) == ["L1", "L2", "L3"]
    post(stage, session, localId="L4")
    assert delivered(again)[3:] == ["L4"]


def test_what_waits_is_delivered_before_the_settings_of_an_alive_are_stored() -> None:
    """Storing them may take long, and what is written meanwhile is delivered at once."""
    stage = Stage()
    session, first = stage.live()
    first.drop()
    post(stage, session, localId="L1")
    again = stage.connect(sessionId=session)
    stage.alive(again, session, permissionMode="plan")
    assert again.ask("ping") == ()
    assert delivered(again) == ["L1"]


def test_an_end_takes_immediate_prompts_off_the_queue() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="now")
    post(stage, session, localId="later", scheduledAt=stage.now() + 60_000)
    peer.send("session-end", {"sid": session, "time": stage.now(), "reason": "terminated"})
    state = stage.rest(
        "POST", f"/api/sessions/{session}/messages/queued-state", {"localIds": ["now", "later"]}
    ).body
    assert state["queuedLocalIds"] == ["later"]
    assert [row["localId"] for row in state["invokedLocalMessages"]] == ["now"]


def test_a_cleared_session_keeps_its_queue() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="L1")
    peer.send("session-end", {"sid": session, "time": stage.now(), "reason": "cleared"})
    state = stage.rest(
        "POST", f"/api/sessions/{session}/messages/queued-state", {"localIds": ["L1"]}
    ).body
    assert state["queuedLocalIds"] == ["L1"]


@pytest.mark.parametrize("name", [{"localId": "L1"}, {}], ids=["with a local id", "without"])
def test_a_prompt_for_a_session_that_is_coming_up_waits_for_it(name: dict[str, str]) -> None:
    stage = Stage()
    session = stage.session(hostPid=7)
    stage.tick(0.25)
    assert stage.rest(
        "POST", f"/api/sessions/{session}/messages", {"text": "hello", **name}
    ).body == {"ok": True}
    assert stage.get(f"/api/sessions/{session}")["session"]["thinking"] is False
    peer = stage.connect(sessionId=session)
    assert peer.events() == []
    stage.alive(peer, session)
    (update,) = peer.events()
    message = update["body"]["message"]
    assert message["content"]["content"]["text"] == "hello"
    peer.send("messages-consumed", {"sid": session, "localIds": [message["localId"]]})
    stage.tick(2.0)
    stage.alive(peer, session)
    assert len(peer.events()) == 1


def test_a_session_that_never_came_is_inactive_again() -> None:
    stage = Stage()
    session = stage.session(hostPid=7)
    stage.tick(31.0)
    answer = stage.rest(
        "POST", f"/api/sessions/{session}/messages", {"text": "hello", "localId": "L1"}
    )
    assert (answer.status, answer.body["code"]) == (409, "session_inactive")


def test_prompts_that_a_dead_session_did_not_take_wait_for_the_next_process__R11() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="L1")
    peer.drop()
    _, runner = stage.machine()
    runner.send("session-end", {"sid": session, "time": stage.now(), "reason": "error"})
    assert stage.get(f"/api/sessions/{session}")["session"]["active"] is False
    again = stage.connect(sessionId=session)
    stage.alive(again, session)
    assert delivered(again) == ["L1"]


def test_a_scheduled_prompt_comes_when_it_is_due_and_until_it_is_taken() -> None:
    stage = Stage()
    session, peer = stage.live()
    page = stage.listen()
    post(stage, session, localId="S1", scheduledAt=stage.now() + 7_000)
    assert stage.get("/api/sessions")["sessions"][0]["futureScheduledMessageCount"] == 1
    assert stage.rest("GET", f"/cli/sessions/{session}/messages?afterSeq=0").body["messages"] == []
    for _ in range(3):
        stage.alive(peer, session)
        stage.tick(2.0)
    assert delivered(peer) == []
    stage.tick(4.0)
    assert delivered(peer) == ["S1"]
    assert len(page.of("scheduled-matured")) == 1
    stage.tick(5.0)
    assert delivered(peer) == ["S1", "S1"]
    assert len(page.of("scheduled-matured")) == 1
    peer.send("messages-consumed", {"sid": session, "localIds": ["S1"]})
    stage.tick(5.0)
    assert len(delivered(peer)) == 2
    assert stage.get("/api/sessions")["sessions"][0]["futureScheduledMessageCount"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "x", "scheduledAt": 1}, "localId"),
        ({"text": "x", "localId": "L", "scheduledAt": 1, "attachments": [{}]}, "attachments"),
        ({"text": "x", "localId": "L", "scheduledAt": 1, "deliveryMode": "steer"}, "deliveryMode"),
        ({"text": "x", "localId": "L", "scheduledAt": 1 << 52}, "scheduledAt"),
        ({"text": 7}, "text"),
        ({"text": "x", "localId": ""}, "localId"),
        ({"text": "x", "localId": "L", "deliveryMode": "other"}, "deliveryMode"),
        ({"text": "x", "attachments": {}}, "attachments"),
    ],
)
def test_a_wrong_prompt_names_the_field(body: dict[str, Any], field: str) -> None:
    stage = Stage()
    session, _ = stage.live()
    answer = stage.rest("POST", f"/api/sessions/{session}/messages", body)
    assert answer.status == 400
    assert answer.body["error"] == "Invalid body"
    assert list(answer.body["issues"]["fieldErrors"]) == [field]


def test_a_message_with_a_time_of_its_own_stands_where_it_arrived() -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.send("message", {"sid": session, "message": agent("one")})
    earlier = stage.now() - 5000
    peer.send("message", {"sid": session, "message": agent("two"), "createdAt": earlier})
    page = stage.get(f"/api/sessions/{session}/messages")
    assert [row["content"]["content"]["data"]["message"] for row in page["messages"]] == [
        "one",
        "two",
    ]
    assert page["messages"][1]["createdAt"] == earlier
    assert page["page"]["epoch"] == 0
    peer.send(
        "message", {"sid": session, "message": agent("three"), "createdAt": stage.now() + 50_000}
    )
    assert (
        stage.get(f"/api/sessions/{session}/messages?limit=1")["messages"][0]["createdAt"]
        == stage.now()
    )


def test_what_waits_is_on_the_newest_page_whatever_its_place() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, localId="old")
    stage.tick(1.0)
    for number in range(5):
        peer.send("message", {"sid": session, "message": agent(str(number))})
    page = stage.get(f"/api/sessions/{session}/messages?limit=2")
    assert [row["localId"] for row in page["messages"]] == ["old", None, None]
    assert (page["page"]["hasMore"], page["page"]["nextBeforeSeq"]) == (True, 5)


def test_a_page_around_a_message_continues_in_both_directions() -> None:
    stage = Stage()
    session, peer = stage.live()
    for number in range(20):
        peer.send("message", {"sid": session, "message": agent(str(number))})
    path = f"/api/sessions/{session}/messages"
    rows = stage.get(f"{path}?limit=50")["messages"]
    ids = [row["id"] for row in rows]

    def around(index: int, limit: int) -> tuple[list[int], dict[str, Any]]:
        page = stage.get(f"{path}?limit={limit}&around={ids[index]}")
        return [ids.index(row["id"]) for row in page["messages"]], page["page"]

    places, page = around(10, 5)
    assert places == [8, 9, 10, 11, 12]
    assert (page["direction"], page["hasMore"], page["hasMoreAfter"]) == ("around", True, True)
    back = f"{path}?limit=50&beforeSeq={page['nextBeforeSeq']}&beforeAt={page['nextBeforeAt']}"
    assert [row["id"] for row in stage.get(back)["messages"]] == ids[:8]
    on = f"{path}?limit=50&afterSeq={page['nextAfterSeq']}&afterAt={page['nextAfterAt']}"
    assert [row["id"] for row in stage.get(on)["messages"]] == ids[13:]
    places, page = around(0, 4)
    assert (places, page["hasMore"], page["hasMoreAfter"]) == ([0, 1], False, True)
    places, page = around(19, 1)
    assert (places, page["hasMore"], page["hasMoreAfter"]) == ([19], True, False)
    places, page = around(3, 50)
    assert (places, page["hasMore"], page["hasMoreAfter"]) == ([*range(20)], False, False)


def test_a_page_around_a_message_of_another_session_is_refused() -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.send("message", {"sid": session, "message": agent("one")})
    (row,) = stage.get(f"/api/sessions/{session}/messages")["messages"]
    other = stage.session(tag="other")
    for path in (f"{other}/messages?around={row['id']}", f"{session}/messages?around=nothing"):
        answer = stage.rest("GET", f"/api/sessions/{path}")
        assert (answer.status, answer.body["error"]) == (404, "Message not found")


@pytest.mark.parametrize(
    "query",
    [
        "beforeSeq=1",
        "afterAt=1",
        "beforeSeq=1&beforeAt=1&afterSeq=1&afterAt=1",
        "around=x&beforeSeq=1&beforeAt=1",
        "untilSeq=1&untilAt=1",
        "epoch=1",
        "limit=0",
        "limit=x",
        "limit=1.5",
        "afterSeq=-1&afterAt=0",
        "beforeSeq=1&beforeAt=99999999999999999999",
        "limit=",
    ],
)
def test_a_wrong_query_is_refused(query: str) -> None:
    stage = Stage()
    session = stage.session()
    answer = stage.rest("GET", f"/api/sessions/{session}/messages?{query}")
    assert (answer.status, answer.body["error"]) == (400, "Invalid query")


def test_a_steer_goes_only_to_those_who_can() -> None:
    stage = Stage()
    codex, peer = stage.live(tag="c", flavor="codex")
    other, process = stage.live(tag="o")
    post(stage, codex, localId="L", deliveryMode="steer")
    post(stage, other, localId="L", deliveryMode="steer")
    modes = [
        one.events()[0]["body"]["message"]["content"]["meta"]["deliveryMode"]
        for one in (peer, process)
    ]
    assert modes == ["steer", "queue"]
    assert (
        stage.rest("POST", f"/api/sessions/{other}/messages/L/steer", {}).body["status"] == "failed"
    )
    peer.serve(codex, "steer-queued-message")
    pending = stage.begin("POST", f"/api/sessions/{codex}/messages/L/steer", {})
    peer.answer('{"status":"steered"}')
    assert stage.finish(pending).body == {"status": "steered", "localId": "L"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (agent("", type="plan", entries="x"), None),
        (agent("x"), None),
        ("text", None),
        (
            agent(
                "",
                type="tool-call",
                name="TodoWrite",
                input={"todos": [{"content": "a", "status": "in_progress"}]},
            ),
            1,
        ),
        (
            agent(
                "",
                type="tool-call",
                name="todowrite",
                input={"todos": [{"content": "a", "status": "pending"}, {"content": "b"}]},
            ),
            2,
        ),
        (
            agent(
                "",
                type="tool-call",
                name="write_todos",
                input={"todos": [{"description": "a", "status": "pending"}]},
            ),
            1,
        ),
        (agent("", type="tool-call", name="todowrite", input={}), None),
        (
            {
                "role": "agent",
                "content": {
                    "type": "output",
                    "data": {
                        "type": "assistant",
                        "message": {
                            "content": [
                                {
                                    "type": "tool_use",
                                    "name": "TodoWrite",
                                    "input": {"todos": [{"content": "a"}, {"no": 1}, 7]},
                                }
                            ]
                        },
                    },
                },
            },
            1,
        ),
        (
            {
                "role": "agent",
                "content": {
                    "type": "output",
                    "data": {"type": "assistant", "message": {"content": "x"}},
                },
            },
            None,
        ),
    ],
)
def test_to_dos_come_from_plans_and_todo_tools(content: Any, expected: int | None) -> None:
    found = todos_of(content)
    assert (None if found is None else len(found)) == expected


def test_a_list_of_to_dos_is_no_older_than_the_one_before_when_the_clock_goes_back() -> None:
    stage = Stage()
    session, peer = stage.live()

    def plan(step: str) -> int:
        todos = {"todos": [{"content": step, "status": "pending"}]}
        content = agent("", type="tool-call", name="TodoWrite", input=todos)
        peer.send("message", {"sid": session, "message": content})
        shown = stage.get(f"/api/sessions/{session}")["session"]
        assert [todo["content"] for todo in shown["todos"]] == [step]
        return int(shown["todosUpdatedAt"])

    before = plan("first")
    stage.start -= 80_000  # another hub serves the session by now, whose clock is behind
    assert plan("second") >= before


@pytest.mark.parametrize("length", [MAX_STRING_LENGTH, MAX_STRING_LENGTH + 1, 2_000_000])
def test_what_a_person_posts_is_stored_and_delivered_whole(length: int) -> None:
    stage = Stage()
    session, peer = stage.live()
    text = "!" + "0123456789abcdef" * (length // 16)
    assert post(stage, session, text, localId="L1").status == 200
    rows = stage.get(f"/api/sessions/{session}/messages")["messages"]
    assert rows[0]["content"]["content"]["text"] == text
    found = [one["body"]["message"] for one in peer.events() if one["body"]["t"] == "new-message"]
    assert [one["content"]["content"]["text"] for one in found] == [text]


@pytest.mark.parametrize("as_text", [False, True])
def test_what_a_person_types_at_the_terminal_of_a_session_is_stored_whole(as_text: bool) -> None:
    stage = Stage()
    session, peer = stage.live()
    text = "word " * MAX_STRING_LENGTH
    content = {
        "role": "user",
        "content": {"type": "text", "text": text},
        "meta": {"sentFrom": "cli"},
    }
    peer.send("message", {"sid": session, "message": json.dumps(content) if as_text else content})
    rows = stage.get(f"/api/sessions/{session}/messages")["messages"]
    assert rows[0]["content"] == content


def test_what_an_agent_writes_keeps_its_limit() -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.send("message", {"sid": session, "message": agent("x" * (2 * MAX_STRING_LENGTH))})
    rows = stage.get(f"/api/sessions/{session}/messages")["messages"]
    assert "[hapi: truncated " in rows[0]["content"]["content"]["data"]["message"]


def test_a_long_waiting_prompt_is_not_sent_with_every_alive() -> None:
    stage = Stage()
    session, peer = stage.live()
    post(stage, session, "x" * (MAX_STRING_LENGTH + 1), localId="L1")
    post(stage, session, "short", localId="L2")
    stage.alive(peer, session)
    stage.alive(peer, session)
    assert delivered(peer).count("L2") == 3
    assert delivered(peer).count("L1") == 1
    stage.clock.advance(LONG_PROMPT_INTERVAL)
    stage.alive(peer, session)
    assert delivered(peer).count("L1") == 2
    another = stage.connect(sessionId=session)
    stage.alive(another, session)
    assert delivered(another).count("L1") == 1
