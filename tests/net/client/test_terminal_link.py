"""The link to the hub's terminals: tokens, refusals, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from hapi.net.client.terminal_link import TerminalLink
from hapi.settings import HubAccess
from tests.support.memory_hub import MemoryHub


@define(eq=False)
class Scene:
    clock: Clock = field(factory=Clock)
    heard: list[Any] = field(factory=list)
    asked: list[str | None] = field(factory=list)
    tokens: list[Any] = field(factory=lambda: ["one", "two", "three"])
    hub: Any = None
    link: Any = None

    def __attrs_post_init__(self) -> None:
        self.hub = MemoryHub(self.clock)
        access = HubAccess("http://127.0.0.1:3006", "secret", {})
        self.link = TerminalLink(self.clock, access, self._token, self, self.hub)

    async def _token(self, refused: str | None) -> str:
        self.asked.append(refused)
        token = self.tokens.pop(0)
        if isinstance(token, Exception):
            raise token
        return str(token)

    def join(self) -> None:
        self.greet()
        self.hub.say('40/terminal,{"sid":"s"}')

    def greet(self) -> None:
        self.hub.settle()
        self.hub.say(
            '0{"sid":"t","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1}'
        )

    # --- TerminalLinkListener
    def link_joined(self) -> None:
        self.heard.append("joined")

    def link_event(self, name: str, payload: Any) -> None:
        self.heard.append((name, payload))

    def link_lost(self, problem: Any) -> None:
        self.heard.append(("lost", str(problem)))

    def link_refused(self, message: str) -> None:
        self.heard.append(("refused", message))


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.link.start()
    return made


def test_the_link_shows_the_token_and_carries_events_both_ways(scene):
    scene.join()
    assert scene.hub.heard() == ['40/terminal,{"token":"one"}']
    scene.hub.say('42/terminal,["terminal:output",{"data":"x"}]', '42/terminal,["odd"]')
    assert scene.heard == ["joined", ("terminal:output", {"data": "x"}), ("odd", None)]
    scene.link.emit("terminal:write", {"data": "y"})
    answers: list[Any] = []
    scene.link.ask("terminal:list", {}, 3.0).addCallback(answers.append)
    assert scene.hub.heard("42") == [
        '42/terminal,["terminal:write",{"data":"y"}]',
        '42/terminal,1["terminal:list",{}]',
    ]
    scene.hub.say('43/terminal,1[{"terminals":[]}]')
    assert answers == [[{"terminals": []}]]


def test_a_token_that_has_ended_is_replaced_once(scene):
    scene.greet()
    scene.hub.say('44/terminal,{"message":"Invalid token"}')
    scene.hub.advance(1)
    assert scene.asked == [None, "one"]
    assert scene.heard == []
    scene.greet()
    scene.hub.say('44/terminal,{"message":"Invalid token"}')
    assert scene.heard == [("refused", "Invalid token")]
    scene.hub.advance(600)
    assert scene.hub.attempts == 2


def test_who_may_not_is_told_why_and_does_not_try_again(scene):
    scene.greet()
    scene.hub.say('44/terminal,{"message":"This access token may not open terminals"}')
    scene.hub.advance(600)
    assert scene.heard == [("refused", "This access token may not open terminals")]
    assert scene.hub.attempts == 1


def test_a_lost_link_comes_back_with_a_token(scene):
    scene.join()
    failures: list[Any] = []
    scene.link.ask("terminal:list", {}, 3.0).addErrback(failures.append)
    scene.hub.drop()
    assert failures
    assert not scene.link.is_joined
    scene.link.emit("terminal:write", {})  # nobody gets it
    scene.hub.advance(1)
    scene.join()
    assert [each if isinstance(each, str) else each[0] for each in scene.heard] == [
        "joined",
        "lost",
        "joined",
    ]


def test_a_hub_that_gives_no_token_is_asked_again(scene):
    scene.join()
    scene.tokens = [OSError("away"), "four"]
    scene.hub.drop()
    scene.hub.advance(1)
    assert scene.heard[-1] == ("lost", "away")
    scene.hub.advance(1)
    scene.join()
    assert scene.heard[-1] == "joined"


def test_a_link_that_is_stopped_stays_so(scene):
    scene.join()
    scene.hub.drop()
    scene.link.stop()
    scene.hub.advance(600)
    assert scene.hub.attempts == 1
    assert not scene.clock.getDelayedCalls()
