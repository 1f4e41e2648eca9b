"""3,000 changed requests and as many changed socket events at every change, a million of each at
release (G11).

Bodies, queries and arguments that are right, each changed in a few places: the hub answers them
all, none with a failure of its own, and goes on serving.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.parse import quote

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from hapi.hub.cli_events import EVENTS
from hapi.hub.http.site import HostPolicy, RootResource
from hapi.hub.http.static import PageResource
from hapi.net.common.errors import ConnectRefused
from hapi.net.server.site import LimitedSite
from tests.support.garbage import Garbage, inputs
from tests.support.hub_stage import ROUTES, TOKEN, MemoryPeer, Stage

EVERY_CHANGE = 3000  # inputs: a request takes a millisecond of the hub's whole way

METADATA = {
    "path": "/home/dev/project",
    "host": "devbox",
    "flavor": "opencode",
    "lifecycleState": "running",
    "name": "A name",
}
BODIES: list[Any] = [
    {
        "text": "hello",
        "localId": "l1",
        "attachments": [],
        "scheduledAt": None,
        "deliveryMode": "queue",
    },
    {
        "directory": "/home/dev",
        "agent": "opencode",
        "permissionMode": "default",
        "yolo": False,
        "sessionType": "simple",
    },
    {"tag": "t1", "metadata": METADATA, "agentState": {"requests": {}}},
    {
        "id": "m2",
        "metadata": {"host": "devbox", "platform": "linux", "happyCliVersion": "0.30.7"},
        "runnerState": None,
    },
    {"decision": "approved", "mode": "default", "answers": {"q": ["a"]}, "allowTools": ["Bash"]},
    {"name": "another name"},
    {"mode": "yolo"},
    {"model": "opus", "effort": "high"},
    {"paths": ["/home/dev"], "path": "/home/dev", "cwd": "/"},
    {"accessToken": "t" * 40},
    {"subscriptionId": "s1", "visibility": "visible"},
    {"filename": "a.txt", "content": "aGk=", "mimeType": "text/plain"},
    {"localIds": ["l1", "l2"]},
    {"reason": "User archived"},
]
EVENT_ARGUMENTS: list[Any] = [
    {
        "sid": "S",
        "time": 1_795_000_000_000,
        "thinking": False,
        "mode": "remote",
        "permissionMode": "default",
    },
    {
        "sid": "S",
        "message": {
            "role": "agent",
            "content": {"type": "codex", "data": {"type": "message", "message": "hi"}},
        },
        "localId": "l",
    },
    {"sid": "S", "metadata": METADATA, "expectedVersion": 1},
    {
        "sid": "S",
        "agentState": {"requests": {"r1": {"tool": "Bash", "arguments": {}, "createdAt": 1}}},
        "expectedVersion": 1,
    },
    {"machineId": "m1", "time": 1_795_000_000_000, "health": {"cpuCount": 4}},
    {"machineId": "m1", "metadata": {"host": "devbox"}, "expectedVersion": 1},
    {"machineId": "m1", "runnerState": {"status": "running", "pid": 5}, "expectedVersion": 1},
    {"method": "S:abort"},
    {"method": "m1:spawn-happy-session"},
    {"sid": "S", "time": 1_795_000_000_000, "reason": "completed"},
    {"sid": "S", "localIds": ["l1"], "steered": True},
    "ping",
]
OUR_OWN = (
    b"The database failed",
    b"Internal server error",
)  # what the hub says when something broke inside


class Wire(StringTransport):
    """A caller's end of a connection."""

    def getHost(self) -> Any:
        return type("Address", (), {"host": "127.0.0.1", "port": 3006})()

    getPeer = getHost

    def loseConnection(self) -> None:
        self.disconnecting = True

    abortConnection = loseConnection


class World:
    """A hub with a machine and a session, both of which answer calls with anything."""

    def __init__(self) -> None:
        self.stage = stage = Stage()
        root = RootResource(
            HostPolicy(), stage.hub.rest, stage.hub.streams, Resource(), PageResource()
        )
        self.site = LimitedSite(root, stage.clock)
        self.machine, self.runner = stage.machine()
        self.runner.serve(self.machine, "spawn-happy-session", "list-directory")
        self.sessions = 0
        self.begin_session()

    def begin_session(self) -> None:
        self.sessions += 1
        self.session, self.peer = self.stage.live(tag=f"tag-{self.sessions}")
        self.peer.serve(self.session, "abort", "permission", "killSession", "set-session-config")
        self.jwt = self.stage.jwt()

    @property
    def usable(self) -> bool:
        found = self.stage.registry.sessions.get(self.session)
        return found is not None and found.active

    def known(self, value: Any) -> Any:
        """`value` with the session's id in the place of S."""
        return json.loads(json.dumps(value).replace('"S', f'"{self.session}'))

    def ask(self, method: str, path: str, body: bytes) -> tuple[Any, Wire]:
        secret = TOKEN if path.startswith("/cli") else self.jwt
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:3006\r\n"
            f"Authorization: Bearer {secret}\r\n"
        )
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        channel, wire = self.site.buildProtocol(None), Wire()
        channel.makeConnection(wire)
        channel.dataReceived(head.encode() + body)
        return channel, wire


def test_no_request_makes_the_hub_fail__U10():
    garbage, seen, world = Garbage("rest"), Counter(), World()
    for number in inputs(every_change=EVERY_CHANGE):
        if not world.usable:
            world.begin_session()
        if number % 5000 == 4999:
            world = World()
        stage, route = world.stage, garbage.pick(ROUTES)
        body = (
            garbage.json_bytes(garbage.pick(BODIES), BODIES, kept=0.3)
            if route.method != "GET"
            else b""
        )
        channel, wire = world.ask(route.method, address(garbage, world, route.path), body)
        if "/events" in route.path and wire.value():
            channel.connectionLost(Failure(ConnectionDone()))  # a stream goes on for ever
            continue
        for peer in (world.peer, world.runner):
            for call in peer.calls:
                if not call[0].called:
                    call[0].callback([garbage.value()])
            peer.calls.clear()
            peer.heard.clear()
        for seconds in (0.0, 1.0, 31.0):  # at most so long for what waits for a process
            if not wire.value():
                stage.clock.advance(seconds)
        stage.alive(world.peer, world.session)
        world.runner.send("machine-alive", {"machineId": world.machine, "time": stage.now()})
        status, said = int(wire.value()[9:12] or 0), wire.value().partition(b"\r\n\r\n")[2]
        seen[status] += 1
        # 500 and more with another reason are answers: a process said nonsense, a machine is
        # offline.
        assert status, (route, body)
        assert status < 500 or not any(words in said for words in OUR_OWN), (route, body, said)
        channel.connectionLost(Failure(ConnectionDone()))
    assert {200, 400, 404} <= set(seen), seen
    assert world.stage.rest("GET", "/api/sessions").status == 200


def address(garbage: Garbage, world: World, path: str) -> str:
    """A route's path with ids that exist, mostly, and perhaps a query."""
    names = {
        "session_id": world.session,
        "machine_id": world.machine,
        "name": "L1",
        "request_id": "r1",
        "image_id": "i1",
    }
    for name, value in names.items():
        chosen = (
            value if garbage.random.random() < 0.85 else garbage.text().replace(".", "_") or "_"
        )
        path = path.replace(f"<{name}>", quote(chosen.encode("utf-8", "surrogatepass"), safe=""))
    if garbage.random.random() < 0.3:
        key = garbage.pick(
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
        )
        path += f"?{key}={quote(str(garbage.scalar()).encode('utf-8', 'surrogatepass'))}"
    return path


def test_no_socket_event_makes_the_hub_fail__N11_U15():
    garbage, asked, world = Garbage("events"), Counter(), World()
    for number in inputs(every_change=EVERY_CHANGE):
        if number % 2000 == 1999 or world.session not in world.stage.registry.sessions:
            world.begin_session()
        argument = world.known(garbage.pick(EVENT_ARGUMENTS))
        arguments = [garbage.changed(argument) if garbage.random.random() < 0.8 else argument]
        if garbage.random.random() < 0.1:
            arguments = [garbage.value() for _ in range(garbage.random.randrange(4))]
        peer = garbage.pick([world.peer, world.runner])
        name = garbage.pick(sorted(EVENTS)) if garbage.random.random() < 0.97 else garbage.text()
        if garbage.random.random() < 0.7:
            asked[json.dumps(peer.ask(name, *arguments), default=str)[:20]] += 1
        else:
            peer.send(name, *arguments)
        for each in (world.peer, world.runner):
            each.heard.clear()
        if number % 50 == 0:
            world.stage.tick(1.0)
            json.dumps(world.stage.get("/api/sessions"))
            assert world.stage.registry.sessions[world.session].active_at <= world.stage.now()
    assert len(asked) > 5, asked


def test_no_greeting_is_more_than_let_in_or_refused__N11():
    garbage, seen = Garbage("greeting"), Counter()
    stage = Stage()
    sample = {
        "token": "t" * 40,
        "clientType": "session-scoped",
        "sessionId": stage.session(),
        "other": 1,
    }
    for _ in inputs(every_change=EVERY_CHANGE):
        peer = MemoryPeer(stage.sockets)
        stage.clock.advance(61.0)  # who guesses tokens has to wait, and that is tested elsewhere
        try:
            stage.sockets.cli.connect(peer, {**sample, garbage.pick(list(sample)): garbage.value()})
            seen["in"] += 1
            peer.drop()
        except ConnectRefused:
            seen["refused"] += 1
    assert min(seen.values()) > 100, seen
