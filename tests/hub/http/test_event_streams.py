"""Who may listen to events, for how long, and how many at once."""

from __future__ import annotations

from typing import Any

import pytest

from hapi.hub.access.auth import WEB_TOKEN_LIFETIME
from hapi.hub.access.places import EVENT_STREAMS
from tests.support.hub_stage import Stage


def listen(stage: Stage, jwt: str) -> Any:
    """Open an event stream: the pending request, or the answer if the hub refuses."""
    pending = stage.stub.request("GET", f"http://127.0.0.1:3006/api/events?all=true&token={jwt}")
    stage.stub.flush()
    return pending


def status(stage: Stage, pending: Any) -> int:
    found: list[Any] = []
    pending.addBoth(lambda answer: (found.append(answer), answer)[1])
    stage.stub.flush()
    return int(found[0].code)


def test_an_event_stream_ends_with_its_web_token() -> None:
    stage = Stage()
    listen(stage, stage.jwt())
    stage.tick(1.0)
    listen(stage, stage.jwt())
    assert stage.registry.events.listening == 2
    stage.clock.advance(WEB_TOKEN_LIFETIME - 1.5)
    assert stage.registry.events.listening == 2
    stage.clock.advance(0.5)
    assert stage.registry.events.listening == 1
    stage.clock.advance(1.0)
    assert stage.registry.events.listening == 0
    assert not stage.clock.getDelayedCalls()


def test_an_event_stream_ends_within_a_minute_when_the_wall_clock_jumps_beyond_its_token() -> None:
    stage = Stage()
    listen(stage, stage.jwt())
    stage.start += WEB_TOKEN_LIFETIME * 1000
    stage.clock.advance(60.0)
    assert stage.registry.events.listening == 0


def test_listeners_of_another_namespace_leave_places_for_the_owner() -> None:
    stage = Stage()
    jwts = [stage.jwt("a")]
    for _ in range(5):
        stage.tick(1.0)
        jwts.append(stage.jwt("a"))
    answers = [listen(stage, jwt) for jwt in jwts for _ in range(100)]
    statuses = [status(stage, pending) for pending in answers]
    assert statuses.count(200) == EVENT_STREAMS.per_namespace
    refused = stage.finish(listen(stage, jwts[0]))
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    assert refused.body["error"].startswith("Too many event streams of this namespace are open")
    assert status(stage, listen(stage, stage.jwt())) == 200


@pytest.mark.parametrize("namespace", ["default", "a"])
def test_a_place_is_free_again_when_the_page_has_left(namespace: str) -> None:
    stage = Stage()
    for _ in range(3):
        jwt = stage.jwt(namespace)
        pages = [listen(stage, jwt) for _ in range(EVENT_STREAMS.per_token)]
        assert stage.finish(listen(stage, jwt)).status == 429
        assert stage.registry.events.listening == len(pages)
        stage.clock.advance(WEB_TOKEN_LIFETIME)
        stage.stub.flush()
        assert stage.registry.events.listening == 0
