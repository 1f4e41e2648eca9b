"""The wait for the end of the turn that takes a prompt."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from hapi.client import (
    ApiClient,
    HubAccess,
    HubUnreachable,
    Message,
    PromptGone,
    SessionOver,
    TurnAsks,
    TurnEnded,
    TurnWait,
)
from hapi.client.turn import (
    IDLE_SETTLE_TIME,
    LOST_TIMEOUT,
    POLL_INTERVAL,
    RETURN_TIME,
    ended,
    records_of_turn,
)
from tests.support.hub_stage import TOKEN, Stage, result_of, waits

HUB = "http://127.0.0.1:3006"
READY = {"type": "ready"}


class Scene:
    """A hub in memory, a session there, and a program that waits for it."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.id, self.peer = self.stage.live()
        self.is_down = False
        self.api = ApiClient(self.stage.clock, HubAccess(HUB, TOKEN), self)
        self.versions = 1

    def request(self, method: str, url: str, **more: Any) -> Any:
        if self.is_down:
            raise OSError("refused")
        return self.stage.stub.request(method, url, **more)

    def flush(self) -> None:
        for _ in range(12):
            self.stage.stub.flush()
            self.stage.clock.advance(0)

    def start(self, call: Any) -> Deferred[Any]:
        running = Deferred.fromCoroutine(call)
        self.flush()
        return running

    def wait(self, local_id: str | None = None, **options: Any) -> Deferred[Any]:
        return self.start(TurnWait(self.api, self.id, local_id, **options).run())

    def prompt(self, text: str = "hello") -> str:
        return str(result_of(self.start(self.api.send(self.id, text))))

    def take(self, *local_ids: str) -> None:
        """The session takes prompts and begins a turn."""
        self.stage.clock.advance(0.01)
        self.peer.send("messages-consumed", {"sid": self.id, "localIds": list(local_ids)})
        self.alive(thinking=True)
        self.stage.clock.advance(0.01)
        self.flush()

    def alive(self, **more: Any) -> None:
        self.stage.alive(self.peer, self.id, **more)

    def say(self, data: dict[str, Any], kind: str = "codex") -> None:
        self.stage.clock.advance(0.01)
        message = {"role": "agent", "content": {"type": kind, "data": data}}
        self.peer.send("message", {"sid": self.id, "message": message})
        self.flush()

    def answer(self, text: str) -> None:
        self.say({"type": "message", "message": text})

    def end_turn(self) -> None:
        self.alive(thinking=False)
        self.say(READY, "event")

    def ask(self, **requests: Any) -> None:
        change = {"requests": requests}
        given = {"sid": self.id, "expectedVersion": self.versions, "agentState": change}
        self.peer.ask("update-state", given)
        self.versions += 1
        self.flush()

    def advance(self, seconds: float, thinking: bool = True) -> None:
        for _ in range(round(seconds)):
            self.stage.clock.advance(1)
            if not self.is_down:
                self.alive(thinking=thinking)
            self.flush()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_answer_of_the_turn_comes_with_its_end(scene):
    waiting = scene.wait(local_id := scene.prompt())
    scene.take(local_id)
    scene.answer("I look")
    scene.say({"type": "tool-call", "callId": "c", "name": "Read"})
    scene.answer("It is so")
    assert waits(waiting)
    scene.end_turn()
    assert result_of(waiting) == TurnEnded(("I look", "It is so"), "It is so")


def test_an_end_that_came_before_the_wait_is_seen(scene):
    scene.take(local_id := scene.prompt())
    scene.answer("yes")
    scene.end_turn()
    assert result_of(scene.wait(local_id)).answer == "yes"
    assert result_of(scene.wait()).answer == "yes"


def test_the_end_of_an_earlier_turn_is_not_taken_for_it(scene):
    scene.take(scene.prompt("first"))
    waiting = scene.wait(second := scene.prompt("second"))
    scene.answer("of the first")
    scene.end_turn()
    assert waits(waiting)
    scene.take(second)
    assert waits(waiting)
    scene.answer("of the second")
    scene.end_turn()
    assert result_of(waiting).texts == ("of the second",)


def test_a_turn_that_another_follows_without_a_word_has_ended(scene):
    first, second = scene.prompt("first"), scene.prompt("second")
    waiting = scene.wait(first)
    scene.take(first)
    scene.answer("of the first")
    scene.take(second)
    scene.answer("of the second")
    scene.end_turn()
    assert result_of(waiting).texts == ("of the first",)


def test_prompts_that_are_taken_together_have_one_answer(scene):
    first, second = scene.prompt("first"), scene.prompt("second")
    scene.take(first, second)
    scene.answer("both")
    scene.end_turn()
    assert result_of(scene.wait(first)).answer == result_of(scene.wait(second)).answer == "both"


REQUEST = {"tool": "Bash", "arguments": {"command": "ls"}, "createdAt": 5}


def test_a_request_for_a_person_ends_the_wait(scene):
    scene.take(local_id := scene.prompt())
    waiting = scene.wait(local_id)
    scene.ask(r1=REQUEST)
    scene.advance(2)
    outcome = result_of(waiting)
    assert isinstance(outcome, TurnAsks)
    assert [each.id for each in outcome.requests] == ["r1"]


def test_a_request_that_is_answered_at_once_does_not(scene):
    scene.take(local_id := scene.prompt())
    waiting = scene.wait(local_id)
    scene.ask(r1=REQUEST)
    scene.ask()
    scene.advance(3)
    assert waits(waiting)
    scene.end_turn()
    assert isinstance(result_of(waiting), TurnEnded)


def test_a_wait_through_requests_goes_on(scene):
    scene.take(local_id := scene.prompt())
    waiting = scene.wait(local_id, through_requests=True)
    scene.ask(r1=REQUEST)
    scene.advance(30)
    assert waits(waiting)
    scene.ask()
    scene.answer("done")
    scene.end_turn()
    assert result_of(waiting).answer == "done"


def test_a_session_that_ends_before_its_answer_is_told(scene):
    waiting = scene.wait(scene.prompt())
    scene.peer.send("session-end", {"sid": scene.id, "time": scene.stage.now()})
    scene.stage.tick(20)
    scene.flush()
    assert waits(waiting)  # it may only have lost its connection
    scene.stage.tick(20)
    scene.flush()
    assert result_of(waiting) == SessionOver()


def test_a_session_that_is_archived_is_over_at_once(scene):
    waiting = scene.wait(scene.prompt())
    metadata = {"path": "/", "host": "h", "lifecycleState": "archived"}
    change = {"sid": scene.id, "expectedVersion": 1, "metadata": metadata}
    scene.peer.ask("update-metadata", change)
    scene.peer.send("session-end", {"sid": scene.id, "time": scene.stage.now()})
    scene.stage.tick(3)
    scene.flush()
    assert result_of(waiting) == SessionOver()


def test_a_session_that_comes_back_with_its_hub_is_waited_for(scene):
    scene.take(local_id := scene.prompt())
    waiting = scene.wait(local_id)
    scene.stage.registry.sessions[scene.id].deactivate(scene.stage.now())
    scene.stage.tick(10)
    scene.flush()
    assert waits(waiting)
    scene.alive(thinking=True)
    scene.answer("back")
    scene.end_turn()
    scene.advance(5, thinking=False)
    assert result_of(waiting).answer == "back"


def test_a_hub_that_was_just_away_is_not_believed_that_a_session_has_ended(scene):
    """A hub that has begun again knows the session as it was stored, until its process comes."""
    scene.take(local_id := scene.prompt())
    waiting = scene.wait(local_id)
    scene.is_down = True
    scene.advance(20)
    session = scene.stage.registry.sessions.pop(scene.id)
    session.deactivate(scene.stage.now())
    scene.is_down = False
    look_for(scene, 20)
    assert waits(waiting)
    scene.stage.registry.sessions[scene.id] = session
    look_for(scene, 30)
    assert waits(waiting)
    scene.alive(thinking=True)
    scene.answer("back")
    scene.end_turn()
    scene.advance(5, thinking=False)
    assert result_of(waiting).answer == "back"


def test_a_session_that_does_not_come_back_with_its_hub_has_ended(scene):
    scene.take(local_id := scene.prompt())
    waiting = scene.wait(local_id)
    scene.is_down = True
    scene.advance(20)
    scene.stage.registry.sessions[scene.id].deactivate(scene.stage.now())
    scene.is_down = False
    look_for(scene, RETURN_TIME - 5)
    assert waits(waiting)
    look_for(scene, 10)
    assert result_of(waiting) == SessionOver()


def look_for(scene: Scene, seconds: float) -> None:
    """Let time pass without a word of the session."""
    for _ in range(round(seconds)):
        scene.stage.clock.advance(1)
        scene.flush()


def test_a_prompt_that_is_cancelled_is_told(scene):
    local_id = scene.prompt()
    scene.peer.drop()
    assert scene.stage.rest("DELETE", f"/api/sessions/{scene.id}/messages/{local_id}").status == 200
    assert result_of(scene.wait(local_id)) == PromptGone()


def test_a_session_that_says_nothing_at_the_end_is_done_after_a_while(scene):
    scene.take(local_id := scene.prompt())
    waiting = scene.wait(local_id)
    scene.answer("so")
    scene.advance(30)
    assert waits(waiting)
    scene.alive(thinking=False)
    scene.flush()
    scene.advance(IDLE_SETTLE_TIME + POLL_INTERVAL, thinking=False)
    assert result_of(waiting).answer == "so"


def test_a_hub_that_comes_back_has_what_was_missed(scene):
    scene.take(local_id := scene.prompt())
    waiting = scene.wait(local_id)
    scene.is_down = True
    scene.advance(60)
    scene.is_down = False
    scene.answer("meanwhile")
    scene.end_turn()
    scene.advance(20, thinking=False)
    assert result_of(waiting).answer == "meanwhile"


def test_a_hub_that_stays_away_ends_the_wait(scene):
    waiting = scene.wait(scene.prompt())
    scene.is_down = True
    scene.advance(LOST_TIMEOUT + 40)
    with pytest.raises(HubUnreachable):
        result_of(waiting)


def test_a_long_turn_is_read_to_its_beginning(scene):
    scene.take(local_id := scene.prompt())
    scene.answer("first")
    for number in range(450):
        scene.peer.send(
            "message",
            {
                "sid": scene.id,
                "message": {
                    "role": "agent",
                    "content": {"type": "codex", "data": {"type": "plan", "entries": [number]}},
                },
            },
        )
    scene.answer("last")
    scene.end_turn()
    assert result_of(scene.wait(local_id)).texts == ("first", "last")


@pytest.mark.parametrize(
    ("status", "is_failure"),
    [
        ("Claude prompt failed: API Error", True),
        ("OpenCode ended the turn without an answer", True),
        ("Session aborted", True),
        ("The agent compacts its context", False),
    ],
)
def test_a_turn_that_fails_says_why(scene, status, is_failure):
    scene.take(local_id := scene.prompt())
    scene.answer("I begin")
    scene.say({"type": "message", "message": status}, "event")
    scene.end_turn()
    outcome = result_of(scene.wait(local_id))
    assert outcome.problem == (status if is_failure else None)


def record(seq: int, at: int, **more: Any) -> Message:
    return Message(f"m{seq}", seq, created_at=at, **more)


def said(text: str) -> dict[str, Any]:
    return {
        "role": "agent",
        "content": {"type": "codex", "data": {"type": "message", "message": text}},
    }


def test_what_stands_at_the_time_of_the_prompt_is_of_the_earlier_turn():
    ready = {"role": "agent", "content": {"type": "event", "data": READY}}
    prompt = {"role": "user", "content": {"type": "text", "text": "x"}}
    messages = [
        record(1, 5, content=said("old")),
        record(3, 10, content=ready),
        record(2, 6, content=prompt, local_id="l", invoked_at=10),
        record(4, 12, content=said("new")),
    ]
    records, is_over = records_of_turn(messages, 10, False)
    assert ([each.seq for each in records], is_over) == ([4], False)


def test_a_steered_prompt_is_of_the_same_turn():
    prompt = {"role": "user", "content": {"type": "text", "text": "x"}}
    messages = [
        record(1, 10, content=prompt, local_id="l", invoked_at=10),
        record(2, 11, content=said("a")),
        record(3, 12, content=prompt, local_id="s", invoked_at=12),
        record(4, 13, content=said("b")),
    ]
    records, is_over = records_of_turn(messages, 10, True)
    assert (ended(records).texts, is_over) == (("a", "b"), False)


def test_answers_in_claudes_own_form_are_read():
    def output(*parts: dict[str, Any], **more: Any) -> Message:
        data = {"type": "assistant", "message": {"content": list(parts)}, **more}
        return Message("m", 1, {"role": "agent", "content": {"type": "output", "data": data}})

    spoken = output({"type": "text", "text": "It is so"})
    called = output({"type": "tool_use", "id": "t", "name": "Bash"})
    helper = output({"type": "text", "text": "to my caller"}, isSidechain=True)
    failed = output({"type": "text", "text": "API Error: 529"}, isApiErrorMessage=True)
    assert ended([output({"type": "text", "text": "I look"}), called, helper, spoken]) == TurnEnded(
        ("I look", "It is so"), "It is so"
    )
    assert ended([failed]).problem == "API Error: 529"
    assert ended([called]).problem == "the turn ended without an answer"
