"""Two namespaces on one hub: neither sees, changes, hears or serves anything of the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from hapi.hub.cli_events import EVENTS
from hapi.hub.domain.entities import HubMachine
from hapi.hub.domain.events import Subscription
from hapi.hub.notify.assembly import NotifyParts
from hapi.hub.notify.vapid import VapidKey
from hapi.hub.store.rows import MachineRow
from tests.support.hub_stage import ROUTES, MemoryPeer, Route, Stage
from tests.support.notify_devices import Device
from tests.support.notify_http import ScriptedHttp

SECRETS = (
    "/home/alice/secret",
    "alice's name",
    "alice-box",
    "alice says",
    "alice-tool",
    "tag-a",
    "alice-machine",
)

# A body that a route would take, so that it is the namespace that refuses.
BODIES: dict[str, Any] = {
    "": {"name": "x"},
    "summary": {"text": "x"},
    "pin": {"mode": "none"},
    "permission-mode": {"mode": "default"},
    "model": {"model": "x"},
    "effort": {"effort": "x"},
    "messages": {"text": "x", "localId": "L"},
    "queued-state": {"localIds": ["L1"]},
    "spawn": {"directory": "/x", "agent": "opencode"},
    "list-directory": {"path": "/x"},
    "exists": {"paths": ["/x"]},
    "upload": {"filename": "x", "content": "eA==", "mimeType": "text/plain"},
    "delete": {"path": "/x"},
}


@contextmanager
def warnings() -> Iterator[list[str]]:
    """What the log is warned of meanwhile."""
    told: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_level") is LogLevel.warn:
            told.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield told
    finally:
        globalLogPublisher.removeObserver(observe)


def scene() -> tuple[Stage, str, str, MemoryPeer]:
    """Alice has a machine and a live session with a message, a pending request and a process that
    would answer anything.
    """
    stage = Stage()
    machine, runner = stage.machine("alice", "alice-machine", host="alice-box")
    session, peer = stage.live(
        "alice",
        "tag-a",
        path="/home/alice/secret",
        name="alice's name",
        host="alice-box",
        machineId=machine,
    )
    runner.serve(
        machine, "spawn-happy-session", "list-directory", "path-exists", "agent-availability"
    )
    peer.serve(
        session,
        "killSession",
        "abort",
        "permission",
        "set-session-config",
        "git-status",
        "readFile",
    )
    peer.send(
        "message",
        {
            "sid": session,
            "message": {
                "role": "agent",
                "content": {"type": "codex", "data": {"type": "message", "message": "alice says"}},
            },
        },
    )
    requests = {"r1": {"tool": "alice-tool", "arguments": {}, "createdAt": 1}}
    assert (
        peer.ask(
            "update-state",
            {"sid": session, "expectedVersion": 1, "agentState": {"requests": requests}},
        )["result"]
        == "success"
    )
    assert (
        stage.rest(
            "POST",
            f"/api/sessions/{session}/messages",
            {"text": "alice says", "localId": "L1"},
            "alice",
        ).status
        == 200
    )
    peer.heard.clear()
    runner.heard.clear()
    return stage, machine, session, peer


def snapshot(stage: Stage, session: str) -> Any:
    stored = [
        row
        for table in ("sessions", "machines", "messages")
        for row in map(tuple, stage.store.database.read_now(f"SELECT * FROM {table}"))
    ]
    live = stage.registry.sessions[session]
    return (
        stored,
        live.row,
        live.active,
        live.thinking,
        dict(live.applied),
        stage.registry.rpc.serves(session, "abort"),
    )


# What belongs to a namespace and to no session answers 404 to strangers. Who has the secret of a
# shared conversation may read it. tests/hub/access/test_tokens.py and
# tests/hub/records/test_sharing.py try those of tokens and shared conversations.
OF_NAMESPACES = ("/api/prompts/", "/api/notifications/devices/")
PROTECTED = [
    route
    for route in ROUTES
    if "<" in route.path
    and not route.path.startswith(("/api/tokens/", "/api/share/", *OF_NAMESPACES))
]


@pytest.mark.parametrize("route", PROTECTED, ids=lambda route: f"{route.method} {route.path}")
def test_a_stranger_is_refused_by_every_route_and_changes_nothing__U04(route: Route) -> None:
    stage, machine, session, peer = scene()
    before = snapshot(stage, session)
    path = (
        route.path.replace("<session_id>", session)
        .replace("<machine_id>", machine)
        .replace("<name>", "L1")
    )
    path = path.replace("<request_id>", "r1").replace("<image_id>", "i1")
    query = "?afterSeq=0&path=a" if route.method == "GET" else ""
    body = BODIES.get(route.path.rpartition("/")[2] if not route.path.endswith(">") else "", {})
    answer = stage.rest(route.method, path + query, body if route.method != "GET" else None, "bob")
    assert answer.status == 403, answer
    assert "access denied" in answer.body["error"]
    assert not [secret for secret in SECRETS if secret in json.dumps(answer.body)]
    assert peer.heard == []
    assert snapshot(stage, session) == before


@pytest.mark.parametrize(
    "route",
    [route for route in PROTECTED if route.path.startswith("/api")],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_a_missing_row_looks_the_same_to_everybody__U04(route: Route) -> None:
    stage, *_ = scene()
    path = (
        route.path.replace("<session_id>", "nobody")
        .replace("<machine_id>", "nobody")
        .replace("<name>", "L1")
    )
    path = path.replace("<request_id>", "r1").replace("<image_id>", "i1")
    answers = [
        stage.rest(route.method, path, {} if route.method != "GET" else None, who)
        for who in ("alice", "bob")
    ]
    assert [answer.status for answer in answers] == [404, 404]
    assert answers[0].body == answers[1].body


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if "<" in route.path and route.path.startswith(OF_NAMESPACES)],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_a_stranger_finds_no_device_and_no_prompt_of_another_and_changes_none__U04(
    route: Route,
) -> None:
    http = ScriptedHttp()
    stage = Stage(
        notify=NotifyParts(VapidKey(None, "mailto:me@example.com"), b"a" * 32, lambda: http)
    )
    subscribed = stage.rest("POST", "/api/push/subscribe", Device().subscription, "alice")
    saved = stage.rest("POST", "/api/prompts", {"text": "alice says"}, "alice")
    ids = {"<device_id>": subscribed.body["id"], "<prompt_id>": saved.body["prompt"]["id"]}
    body = {"PATCH": {"detail": "command"}, "PUT": {"text": "x"}}.get(route.method, {})

    def asked(who: str, **names: str) -> Any:
        path = re.sub(r"<\w+>", lambda match: names.get(match[0][1:-1], ids[match[0]]), route.path)
        return stage.rest(route.method, path, body, who)

    def kept() -> Any:
        return [stage.get(path, "alice") for path in ("/api/prompts", "/api/notifications/devices")]

    before = kept()
    refused, missing = asked("bob"), asked("alice", device_id="nobody", prompt_id="nobody")
    assert (refused.status, refused.body) == (404, missing.body)
    assert (kept(), http.sent) == (before, [])
    assert asked("alice").status == 200  # so it was the namespace that refused
    stage.tick(1)
    assert (kept(), http.sent) != (before, [])


@pytest.mark.parametrize(
    "path", ["/api/sessions", "/api/sessions?order=updatedAt&limit=500", "/api/machines"]
)
def test_lists_hold_only_one_s_own__U04(path: str) -> None:
    stage, *_ = scene()
    assert list(stage.get(path, "bob").values()) == [[]]
    assert list(stage.get(path, "alice").values()) != [[]]


@pytest.mark.parametrize("query", ["sessionId", "machineId"])
def test_a_stranger_subscribes_to_nothing__U04(query: str) -> None:
    stage, machine, session, _ = scene()
    name = session if query == "sessionId" else machine
    assert stage.rest("GET", f"/api/events?{query}={name}", namespace="bob").status == 403
    assert stage.rest("GET", f"/api/events?{query}=nobody", namespace="bob").status == 404


def test_a_stranger_s_stream_hears_nothing__U04() -> None:
    stage, machine, session, peer = scene()
    bob, alice = stage.listen("bob"), stage.listen("alice")
    for name in (session, machine):  # even a filter that was never checked lets nothing through
        assert not Subscription("bob", session_id=name, machine_id=name).matches(
            next(event for event in stage.registry.events._kept if event.session_id == session)
        )
    stage.alive(peer, session, thinking=True)
    stage.tick(0.6)
    peer.send("session-end", {"sid": session, "time": stage.now(), "reason": "completed"})
    assert alice.events
    assert bob.frames == []
    missed = stage.registry.events.missed_frames(
        f"{stage.registry.events.epoch}:1:{stage.registry.events.tag('alice')}", bob.subscription
    )
    assert missed is None  # another namespace's place to resume from says nothing
    own = stage.registry.events.missed_frames(
        f"{stage.registry.events.epoch}:1:{stage.registry.events.tag('bob')}", bob.subscription
    )
    assert own == []


def payload(name: str, session: str, machine: str, stage: Stage) -> dict[str, Any]:
    """An event that would do something if it were let through."""
    return {
        "sid": session,
        "machineId": machine,
        "time": stage.now(),
        "thinking": True,
        "permissionMode": "yolo",
        "model": "x",
        "message": {"role": "user", "content": {"type": "text", "text": "bob"}},
        "localIds": ["L1"],
        "state": "queued",
        "expectedVersion": stage.registry.sessions[session].row.metadata_version,
        "metadata": {"path": "/bob", "host": "bob"},
        "agentState": {"bob": 1},
        "runnerState": {"status": "bob"},
        "reason": "completed",
        "method": f"{session}:abort",
    }


@pytest.mark.parametrize("name", sorted(EVENTS))
@pytest.mark.parametrize("acked", [True, False])
def test_a_stranger_s_event_is_refused_and_changes_nothing__U04(name: str, acked: bool) -> None:
    stage, machine, session, peer = scene()
    bob = stage.connect("bob", sessionId=session, machineId=machine)
    assert bob.rooms == set()
    before = snapshot(stage, session)
    given = payload(name, session, machine, stage)
    answer = bob.ask(name, given) if acked else bob.send(name, given)
    stage.tick(0.3)
    assert snapshot(stage, session) == before
    assert peer.heard == []
    told = json.dumps([answer, bob.heard], default=str)
    assert not [secret for secret in SECRETS[:-1] if secret in told]
    if name not in ("ping", "rpc-register", "rpc-unregister"):
        assert "access-denied" in told


def test_a_stranger_takes_over_no_method__U05() -> None:
    stage, machine, session, peer = scene()
    bob = stage.connect("bob")
    bob.serve(session, "abort", "new")
    bob.serve(machine, "spawn-happy-session")
    bob.serve("nobody", "abort")
    assert not stage.registry.rpc.serves(session, "new")
    pending = stage.begin("POST", f"/api/sessions/{session}/abort", {}, "alice")
    assert [name for name, _ in peer.heard] == ["rpc-request"]
    assert bob.heard == []
    peer.answer("null")
    assert stage.finish(pending).status == 200
    bob.send("rpc-unregister", {"method": f"{session}:abort"})
    assert stage.registry.rpc.serves(session, "abort")


def test_a_stranger_whose_row_has_the_id_of_another_s_takes_over_no_method__U05() -> None:
    stage, _, session, peer = scene()
    machine, _ = stage.machine("alice", "0b9d2c5e-1f6a-4f0e-9a53-6f0d5a7c1e42")
    rows = [
        ("/cli/machines", {"id": session, "metadata": {}}),
        ("/cli/sessions", {"id": machine, "tag": "b", "metadata": {}}),
    ]
    assert [stage.rest("POST", path, body, "bob").status for path, body in rows] == [403, 409]
    stage.registry.machines[session] = HubMachine(
        MachineRow(session, "bob", 1, 1)
    )  # a database from before
    bob = stage.connect("bob")
    bob.serve(session, "abort", "new")
    bob.serve(machine, "new")
    assert not stage.registry.rpc.serves(session, "new")
    assert not stage.registry.rpc.serves(machine, "new")
    pending = stage.begin("POST", f"/api/sessions/{session}/abort", {}, "alice")
    assert bob.heard == []
    peer.answer("null")
    assert stage.finish(pending).status == 200


def test_a_session_s_socket_serves_nothing_of_its_machine_nor_of_a_neighbour__U05() -> None:
    stage, machine, session, peer = scene()
    _, other = stage.live("alice", "tag-n")
    for method in (f"{machine}:spawn-happy-session", f"{session}:abort"):
        other.send("rpc-register", {"method": method})
    pending = stage.begin("POST", f"/api/sessions/{session}/abort", {}, "alice")
    assert other.events("rpc-request") == []
    peer.answer("null")
    stage.finish(pending)


def test_a_session_that_the_hub_does_not_know_is_told_once_for_all_its_methods__U05() -> None:
    stage, _, session, _ = scene()
    with warnings() as told:
        stranger = stage.connect("alice", sessionId="of-another-database")
        stranger.serve("of-another-database", "abort", "permission", "readFile")
        [unknown] = told
        assert "of-another-database, which this hub does not know" in unknown
        for method in ("abort", "permission"):
            stranger.send("rpc-register", {"method": f"{session}:{method}"})
        assert told[1:] == [
            f"A socket of alice asked to serve a method of {session}, which it may not serve"
        ]


@pytest.mark.parametrize(
    "method", ["", ":", ":abort", "abort", None, 7, ["x"], "x" * 2000, "\ud800:x"]
)
def test_a_malformed_method_is_ignored__U05(method: Any) -> None:
    stage, _, session, peer = scene()
    peer.send("rpc-register", {"method": method})
    peer.send("rpc-unregister", {"method": method})
    peer.send("rpc-register", method)
    assert stage.registry.rpc.serves(session, "abort")


def test_a_machine_id_lives_in_one_namespace() -> None:
    stage, machine, *_ = scene()
    answer = stage.rest("POST", "/cli/machines", {"id": machine, "metadata": {}}, "bob")
    assert (answer.status, answer.body) == (403, {"error": "Machine access denied"})
    asked = {"tag": "t", "metadata": {}, "machine": {"id": machine, "metadata": {}}}
    assert stage.rest("POST", "/cli/sessions", asked, "bob").status == 403


def test_a_stranger_changes_no_visibility__U04() -> None:
    stage, *_ = scene()
    page = stage.listen("alice")
    stage.registry.events.listen("sub", page)
    asked = {"subscriptionId": "sub", "visibility": "hidden"}
    assert stage.rest("POST", "/api/visibility", asked, "bob").status == 404
    assert page.visible is True
    assert stage.rest("POST", "/api/visibility", asked, "alice").status == 200
    assert page.visible is False


def test_only_the_default_namespace_changes_the_hub() -> None:
    stage, *_ = scene()
    asked = {"sessionSummaryContract": True}
    assert stage.rest("PUT", "/api/hub-settings", asked, "bob").status == 403
    assert stage.rest("PUT", "/api/hub-settings", asked).body["sessionSummaryContract"] is True
