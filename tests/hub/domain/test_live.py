"""Live text at the hub: for pages that read a session, also for those that come in the middle."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from hapi.hub.access.auth import Principal
from hapi.hub.domain import live as live_texts
from hapi.hub.domain.events import Subscription
from hapi.hub.http.sse import EventStream
from hapi.protocol.live import MAX_TEXT
from hapi.protocol.records import agent_record, message, reasoning, tool_result
from tests.support.hub_stage import MemoryPeer, Stage


@define(eq=False)
class Request:
    """What an event stream needs of a request."""

    written: list[bytes] = field(factory=list)
    channel: Any = None

    def setHeader(self, name: str, value: str) -> None: ...
    def notifyFinish(self) -> Deferred[None]:
        return Deferred()

    def registerProducer(self, producer: Any, streaming: bool) -> None: ...
    def write(self, data: bytes) -> None:
        self.written.append(data)

    @property
    def events(self) -> list[dict[str, Any]]:
        frames = [frame for frame in b"".join(self.written).split(b"\n\n") if frame]
        return [json.loads(frame.split(b"\n")[0][6:]) for frame in frames]


@define(eq=False)
class Page:
    """A page's event stream, and what it makes of the live text."""

    stage: Stage
    session: str | None = None
    request: Request = field(factory=Request)
    stream: EventStream = field(init=False)

    def __attrs_post_init__(self) -> None:
        registry = self.stage.registry
        live = None if self.session is None else registry.sessions[self.session]
        wanted = Subscription("default", everything=True)
        self.stream = EventStream(
            self.request, Principal("default"), wanted, True, registry, None, live
        )
        self.stream.start(None)

    @property
    def live(self) -> list[dict[str, Any]]:
        return [event for event in self.request.events if event["type"] == "session-live"]

    @property
    def texts(self) -> dict[str, str]:
        texts: dict[str, str] = {}
        for event in self.live:
            if event.get("whole"):
                texts.clear()
            for name in event.get("ended", ()):
                texts.pop(name, None)
            for block in event["blocks"]:
                before = texts.get(block["id"], "") if block.get("append") else ""
                texts[block["id"]] = before + block["text"]
        return texts


class Sending:
    """A session that sends live text."""

    def __init__(self, stage: Stage, peer: MemoryPeer, session: str) -> None:
        self.stage, self.peer, self.session, self.number = stage, peer, session, 0

    def say(self, text: str, name: str = "t", append: bool = True, **more: Any) -> None:
        self.number += 1
        block = {"id": name, "type": "message", "text": text}
        if append and self.number > 1:
            block["append"] = True
        body = {"sid": self.session, "epoch": "e", "number": self.number, "blocks": [block]}
        if self.number == 1:
            body["whole"] = True
        self.peer.send("session-live", {**body, **more})
        self.stage.clock.advance(0.1)

    def record(self, data: Any) -> None:
        self.peer.send("message", {"sid": self.session, "message": agent_record(data)})


def started() -> tuple[Stage, str, Sending]:
    stage = Stage()
    session, peer = stage.live()
    return stage, session, Sending(stage, peer, session)


def test_a_session_that_connects_is_asked_for_its_live_text_and_a_machine_is_not() -> None:
    stage, session, sending = started()
    assert sending.peer.events("session-live") == [{"sid": session, "whole": True}]
    _, machine = stage.machine()
    assert machine.events("session-live") == []
    assert stage.connect(sessionId="unknown").events("session-live") == []


def test_only_a_session_itself_may_send_its_live_text() -> None:
    stage, session, sending = started()
    sending.say("mine")
    machine, neighbour = stage.machine()[1], stage.live(tag="neighbour")[1]
    for stranger in (machine, neighbour):
        Sending(stage, stranger, session).say("forged")
    sending.say(" too")
    assert b"mine too" in stage.registry.live.whole_frame(session)


def test_live_text_reaches_the_pages_that_show_the_session_and_no_others() -> None:
    stage, session, sending = started()
    reader, other = Page(stage, session), Page(stage)
    elsewhere = Page(stage, stage.session(tag="other"))
    sending.say("Hel")
    sending.say("lo")
    assert reader.texts == {"t": "Hello"}
    assert not other.live
    assert elsewhere.texts == {}


def test_a_page_that_comes_in_the_middle_has_the_same_as_one_that_was_there() -> None:
    stage, session, sending = started()
    first = Page(stage, session)
    sending.say("Hel")
    sending.say("lo, ")
    second = Page(stage, session)
    assert second.texts == {"t": "Hello, "}
    sending.say("world")
    assert first.texts == second.texts == {"t": "Hello, world"}
    assert len(second.live) == 2


def test_nothing_of_it_is_stored_or_kept_for_pages_that_come_back() -> None:
    stage, session, sending = started()
    page = Page(stage, session)
    sending.say("Hello")
    assert stage.get(f"/api/sessions/{session}/messages")["messages"] == []
    assert b"id:" not in page.request.written[-1]


def test_a_block_leaves_when_its_record_is_stored() -> None:
    stage, session, sending = started()
    sending.say("text", "t")
    sending.say("thought", "r", append=False)
    sending.say("output", "c", append=False)
    sending.record(reasoning("thou", "r", live=True))
    assert set(Page(stage, session).texts) == {"t", "r", "c"}
    for record, left in (
        (message("text", "t"), {"r", "c"}),
        (reasoning("thought", "r", live=False), {"c"}),
        (tool_result("c", "output", failed=False), set()),
    ):
        sending.record(record)
        assert set(Page(stage, session).texts) == left


def test_a_page_is_told_of_the_record_before_what_is_said_after_it() -> None:
    stage, session, sending = started()
    page = Page(stage, session)
    sending.say("one", "a")
    sending.record(message("one", "a"))
    sending.say("two", "b", append=False, ended=["a"])
    types = [event["type"] for event in page.request.events]
    assert types[types.index("message-received") :].count("session-live") == 1
    assert page.texts == {"b": "two"}


def test_a_page_moves_to_another_session_by_rest() -> None:
    stage, session, sending = started()
    page = Page(stage)
    sending.say("Hello")
    body = {"subscriptionId": page.stream.name, "sessionId": session}
    assert stage.rest("POST", "/api/live", body).status == 200
    assert page.texts == {"t": "Hello"}
    assert stage.rest("POST", "/api/live", {**body, "sessionId": None}).status == 200
    sending.say("more")
    assert page.texts == {"t": "Hello"}
    assert stage.rest("POST", "/api/live", body, namespace="other").status == 404
    assert stage.rest("POST", "/api/live", {**body, "subscriptionId": "x"}).status == 404
    assert stage.rest("POST", "/api/live", {**body, "sessionId": "x"}).status == 404
    assert stage.rest("POST", "/api/live", {"sessionId": session}).status == 400


def test_a_session_of_another_namespace_sends_and_shows_nothing() -> None:
    stage, session, _ = started()
    stranger = Sending(stage, stage.connect("other"), session)
    page = Page(stage, session)
    stranger.say("forged")
    assert page.texts == {}


def test_a_missed_update_is_asked_for_once_a_second() -> None:
    stage, session, sending = started()
    page = Page(stage, session)
    sending.say("Hello")
    asked = len(sending.peer.events("session-live"))
    for _ in range(5):
        sending.number += 1
        sending.say("lost")
    assert len(sending.peer.events("session-live")) == asked + 1
    stage.clock.advance(1)
    sending.number += 1
    sending.say("lost")
    assert len(sending.peer.events("session-live")) == asked + 2
    sending.say("all of it", append=False, whole=True)
    assert page.texts == {"t": "all of it"}


def test_the_end_and_the_silence_of_a_session_clear_its_pages() -> None:
    stage, session, sending = started()
    page = Page(stage, session)
    sending.say("Hello")
    ended = {"sid": session, "time": stage.now(), "reason": "completed"}
    sending.peer.send("session-end", ended)
    assert page.texts == {}
    assert Page(stage, session).texts == {}


def test_a_page_that_reads_slowly_gets_all_of_it_when_it_reads_again() -> None:
    stage, session, sending = started()
    page = Page(stage, session)
    sending.say("Hel")
    page.stream.pauseProducing()
    before = len(page.live)
    sending.say("lo, ")
    sending.say("world")
    page.stream.resumeProducing()
    assert len(page.live) == before + 1
    assert page.texts == {"t": "Hello, world"}


def test_what_a_hostile_session_sends_is_bounded() -> None:
    stage, session, sending = started()
    page = Page(stage, session)
    for number in range(40):
        sending.say("x" * (MAX_TEXT // 2), f"b{number}", append=False)
    texts = stage.registry.live
    assert texts._size == texts._sessions[session].state.size <= 1 << 20
    assert page.texts == {}
    for wrong in ({}, {"sid": session}, {"sid": session, "epoch": "e", "number": 1, "blocks": 5}):
        sending.peer.send("session-live", wrong)
    before = len(page.live)
    stage.clock.advance(1)
    for number in range(1000):  # in one second
        block = {"id": "t", "type": "message", "text": "x"}
        update = {"sid": session, "epoch": f"e{number}", "number": 1, "whole": True}
        sending.peer.send("session-live", {**update, "blocks": [block]})
    assert len(page.live) - before <= live_texts.MAX_UPDATES


def test_all_sessions_together_have_a_limit_and_the_largest_gives_way(monkeypatch) -> None:
    monkeypatch.setattr(live_texts, "MAX_TEXT", 1000)
    stage, session, sending = started()
    sending.say("small")
    others = [stage.live(tag=f"other{number}") for number in range(4)]
    for other, peer in others:
        Sending(stage, peer, other).say("x" * 400)
    assert stage.registry.live._size <= 1000
    assert Page(stage, session).texts == {"t": "small"}


def test_a_deleted_session_leaves_nothing() -> None:
    stage, session, sending = started()
    sending.say("Hello")
    page = Page(stage, session)
    sending.peer.send("session-end", {"sid": session, "time": stage.now()})
    assert stage.rest("DELETE", f"/api/sessions/{session}").status == 200
    assert not stage.registry.live._sessions
    page.stream.stopProducing()
    assert not stage.registry.events._live_readers


def test_a_session_is_told_when_the_first_page_shows_it_and_when_none_does() -> None:
    stage, session, sending = started()

    def told() -> list[bool]:
        return [
            given["watched"] for given in sending.peer.events("session-live") if "watched" in given
        ]

    first, second = Page(stage, session), Page(stage, session)
    assert told() == [True]
    first.stream.read_live(None)
    assert told() == [True]
    second.stream.read_live(stage.registry.sessions[session])  # the same again
    assert told() == [True]
    stage.registry.events.leave(second.stream.name)
    assert told() == [True, False]
    sending.peer.drop()
    Page(stage, session)
    assert told() == [True, False]
    again = stage.connect(sessionId=session)
    assert again.events("session-live")[-1] == {"sid": session, "watched": True}
