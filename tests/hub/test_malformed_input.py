"""Anything may arrive: no request and no event makes the hub fail."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hapi.hub.cli_events import EVENTS
from tests.support.hub_stage import ROUTES, Stage

QUIET = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text(max_size=12) | st.sampled_from(
    ["", "default", "yolo", "opencode", "\ud800", "\x00", "../..", "a" * 700, "L1", "m1"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)

# Names that mean something, so that garbage gets past the first check.
WORDS = [
    "sid",
    "machineId",
    "time",
    "thinking",
    "message",
    "localId",
    "localIds",
    "createdAt",
    "expectedVersion",
    "metadata",
    "agentState",
    "runnerState",
    "method",
    "reason",
    "permissionMode",
    "model",
    "effort",
    "health",
    "mode",
    "text",
    "name",
    "attachments",
    "scheduledAt",
    "deliveryMode",
    "directory",
    "agent",
    "path",
    "paths",
    "decision",
    "answers",
    "tag",
    "id",
    "displayName",
    "machine",
    "accessToken",
    "subscriptionId",
    "visibility",
    "filename",
    "content",
    "mimeType",
    "steered",
]
objects = st.dictionaries(st.sampled_from(WORDS) | texts, json_values, max_size=6)


class World:
    """One stage for many examples; its session stays alive."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.machine, self.runner = self.stage.machine()
        self.session, self.peer = self.stage.live()
        self.peer.serve(self.session, "abort", "permission", "killSession", "set-session-config")
        self.runner.serve(self.machine, "spawn-happy-session", "list-directory")


@pytest.fixture(scope="module")
def world() -> World:
    return World()


OPEN_ENDED = {
    "killSession",
    "abort",
    "permission",
    "set-session-config",
    "spawn-happy-session",
    "list-directory",
    "update",
}


@settings(QUIET, max_examples=300)
@given(
    route=st.sampled_from(ROUTES),
    body=st.binary(max_size=30)
    | objects.map(json.dumps).map(str.encode)
    | json_values.map(json.dumps).map(str.encode),
    data=st.data(),
)
def test_no_body_makes_a_route_fail(
    world: World, route: Any, body: bytes, data: st.DataObject
) -> None:
    stage = world.stage
    fill = {
        "session_id": world.session,
        "machine_id": world.machine,
        "name": "L1",
        "request_id": "r1",
        "image_id": "i1",
    }
    path = route.path
    for name, value in fill.items():
        given = data.draw(st.just(value) | texts.filter(lambda t: t not in ("", "..")))
        path = path.replace(f"<{name}>", quote(given.encode("utf-8", "surrogatepass"), safe=""))
    query = data.draw(
        st.dictionaries(
            st.sampled_from(
                [
                    "limit",
                    "beforeSeq",
                    "beforeAt",
                    "afterSeq",
                    "afterAt",
                    "epoch",
                    "cwd",
                    "path",
                    "order",
                    "token",
                ]
            ),
            texts,
            max_size=3,
        )
    )
    if query:
        path += "?" + "&".join(
            f"{key}={quote(value.encode('utf-8', 'surrogatepass'))}" for key, value in query.items()
        )
    if (
        stage.registry.sessions.get(world.session) is None
        or not stage.registry.sessions[world.session].active
    ):
        world.__init__()  # type: ignore[misc]
        stage = world.stage
    pending = stage.begin(route.method, path, body)
    for peer in (world.peer, world.runner):
        for call in list(peer.calls):
            if not call[0].called:
                call[0].callback([data.draw(json_values)])
    stage.tick(0.75)
    stage.clock.advance(31)
    stage.alive(world.peer, world.session)
    world.runner.send("machine-alive", {"machineId": world.machine, "time": stage.now()})
    answer = stage.finish(pending)
    # 500, 502 and 503 with a reason are answers: nobody serves a method, its process said nonsense,
    # a machine is offline.
    assert answer.status < 500 or (
        isinstance(answer.body, dict) and answer.body["error"] != "The database failed"
    ), answer


@settings(QUIET, max_examples=300)
@given(
    name=st.sampled_from(sorted(EVENTS)),
    given_=st.lists(json_values | objects, max_size=2),
    known=st.booleans(),
    acked=st.booleans(),
)
def test_no_event_makes_the_hub_fail(
    world: World, name: str, given_: list[Any], known: bool, acked: bool
) -> None:
    if world.session not in world.stage.registry.sessions:
        world.__init__()  # type: ignore[misc]
    if known and given_ and isinstance(given_[0], dict):
        given_[0] |= {"sid": world.session, "machineId": world.machine}
    if acked:
        world.peer.ask(name, *given_)
    else:
        world.peer.send(name, *given_)
    assert world.session in world.stage.registry.sessions


@QUIET
@given(auth=json_values | objects)
def test_no_greeting_makes_the_hub_fail(world: World, auth: Any) -> None:
    from hapi.net.common.errors import ConnectRefused
    from tests.support.hub_stage import MemoryPeer

    peer = MemoryPeer(world.stage.sockets)
    with pytest.raises(ConnectRefused):
        world.stage.sockets.cli.connect(peer, auth)


@QUIET
@given(given_=objects)
def test_an_alive_never_moves_time_forward_or_breaks_the_list__U15(
    world: World, given_: dict[str, Any]
) -> None:
    if world.session not in world.stage.registry.sessions:
        world.__init__()  # type: ignore[misc]
    world.peer.send("session-alive", {**given_, "sid": world.session})
    assert world.stage.registry.sessions[world.session].active_at <= world.stage.now()
    json.dumps(world.stage.get("/api/sessions"))
