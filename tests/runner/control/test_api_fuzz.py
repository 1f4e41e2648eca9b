"""20,000 changed requests to the control API at every change, a million at release (G11): a whole
runner answers them.

Hub and processes are in memory, time is a Clock; the site, the guard and everything behind them are
those of the program.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from hapi.home import Home
from hapi.process import MemoryProcesses
from hapi.protocol.spawn import SpawnRefused
from hapi.runner.attempts.retention import Retention
from hapi.runner.control.api import control_resource
from hapi.runner.control.peer_credentials import Caller, PeerLookup
from hapi.runner.control.site import ControlSite, Guarded
from hapi.runner.service import RunnerService
from hapi.runner.workspace.roots import WorkspaceRoots
from tests.support.control_connections import Collector
from tests.support.garbage import Garbage, inputs
from tests.support.paths import FIXTURES
from tests.support.runner_service import Machine, Reactor
from tests.support.runner_stage import NoWorktrees, options_for

PORT = 4711
RECORDED = FIXTURES / "control-http.jsonl"
PATHS = [
    "/list",
    "/status",
    "/session-started",
    "/stop-session",
    "/spawn-session",
    "/interrupted",
    "/revive",
    "/drain",
    "/resume",
]
HEADERS: list[tuple[str, list[str]]] = [
    (
        "Host",
        [
            f"127.0.0.1:{PORT}",
            f"localhost:{PORT}",
            "evil.example",
            "",
            f"127.0.0.1:{PORT}, evil.example",
        ],
    ),
    (
        "Content-Type",
        [
            "application/json",
            "text/plain",
            "application/json; charset=utf-8",
            "",
            "multipart/form-data",
        ],
    ),
    ("Transfer-Encoding", ["chunked", "identity", "gzip, chunked", "xchunked"]),
    ("Content-Length", ["0", "2", "-1", "1e3", "99999999", "+2", "0x2"]),
    ("Origin", ["null", "http://evil.example"]),
    ("Sec-Fetch-Site", ["same-origin", "cross-site"]),
    ("Sec-Fetch-Mode", ["cors"]),
    ("Authorization", ["Bearer x", "Basic e30="]),
    ("Connection", ["close", "keep-alive", "upgrade"]),
    ("Expect", ["100-continue"]),
    ("Upgrade", ["websocket", "h2c"]),
]
LEASE = 15.0  # seconds a spawn may take until its session has announced itself


class Wire(StringTransport):
    """One caller's end; what the runner closes is closed."""

    def getHost(self) -> Any:
        return type("Address", (), {"host": "127.0.0.1", "port": PORT})()

    getPeer = getHost

    def loseConnection(self) -> None:
        self.disconnecting = True

    abortConnection = loseConnection

    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.value().split(b"HTTP/1.1 ")[1:]]


class World:
    """A runner on a clock with one workspace root, a session that runs, and a stranger that nobody
    may signal.
    """

    def __init__(self, home: Home, root: Path) -> None:
        self.home, self.root, self.reactor = home, root, Reactor()
        self.processes = MemoryProcesses(("session",), self.reactor)
        self.processes.add("runner", "start-sync", pid=os.getpid())
        self.strangers = [self.processes.add("stranger", pid=pid) for pid in (1, 77, 4_194_304)]
        self.caller = self.somebody = Caller(
            os.geteuid(), 7, self.processes.add("curl", pid=88).pid
        )
        self.start()

    def start(self) -> None:
        options = options_for(self.home, roots=WorkspaceRoots.parse([str(self.root)]))
        self.service = RunnerService(
            self.reactor,
            options,
            self.processes,
            machine=Machine,
            lookup=PeerLookup((("test", lambda *_: self.caller),)),
            retention=Retention(count=20),
        )
        self.sessions = self.service.sessions
        self.sessions.spawner._worktrees = self.sessions.children._worktrees = (
            self.sessions.spawner.checks._worktrees
        ) = NoWorktrees(SpawnRefused("no repository"))
        self.sessions.availability._reason = lambda agent: None
        self.service.startService()
        for _ in range(20):
            self.reactor.advance(0.05)
        self.site = self.reactor.tcpServers[-1][1]

    def call(self, pieces: list[bytes]) -> tuple[Any, Wire]:
        if not self.service.running:
            self.reactor.advance(3.0)
            self.start()
        channel, wire = self.site.buildProtocol(None), Wire()
        channel.makeConnection(wire)
        self.caller = self.somebody
        for piece in pieces:
            if wire.disconnecting:
                break
            channel.dataReceived(piece)
        return channel, wire

    def newcomer(self) -> dict[str, Any] | None:
        """The announcement of the session launched last, which posts it itself; None when it is
        gone.
        """
        process = self.processes.launched[-1].attempt.process if self.processes.launched else None
        if process is None or self.processes.entry(process.child) is None:
            return None
        self.caller = Caller(os.geteuid(), 7, process.child.pid)
        return {
            "sessionId": f"s{process.child.pid}",
            "metadata": {"hostPid": process.child.pid, "startedBy": "runner"},
        }

    def announce(self) -> None:
        """Of what was launched, three of four announce themselves."""
        for child in self.service.children.live():
            if child.session_id is None and child.identity is not None and child.identity.pid % 4:
                child.life.announced(f"s-{child.attempt}")
                self.service.children.record_session(child, f"s-{child.attempt}", child.identity)

    def end_sessions(self) -> None:
        for child in self.service.children.live():
            if child.identity is not None:
                self.processes.exit(child.identity, 0)


@pytest.fixture
def world(home, tmp_path):
    root = tmp_path / "root"
    (root / "project").mkdir(parents=True)
    (root / "file").write_text("in the way")
    made = World(home, root)
    yield made
    made.end_sessions()
    made.service.stopService()
    for _ in range(150):
        made.reactor.advance(0.02)


def bodies(world: World) -> dict[str, list[Any]]:
    """Path → bodies that are right, or that npm's programs sent in the recordings."""
    found: dict[str, list[Any]] = {path: [{}] for path in PATHS}
    for line in RECORDED.read_text().splitlines():
        asked = json.loads(line)["request"]
        if isinstance(asked["body"], dict):
            found.setdefault(asked["path"], []).append(asked["body"])
    inside = str(world.root / "project")
    found["/spawn-session"] += [
        {
            "directory": inside,
            "agent": agent,
            "permissionMode": "default",
            "yolo": False,
            "sessionType": kind,
        }
        for agent in ("claude", "opencode", "demo")
        for kind in ("simple", "worktree")
    ]
    found["/spawn-session"] += [
        {"directory": f"{inside}/new", "approvedNewDirectoryCreation": False},
        {"directory": f"{inside}/../file"},
    ]
    found["/session-started"] += [
        {"sessionId": "s1", "metadata": {"hostPid": pid, "startedBy": "runner"}}
        for pid in (1, 77, 1003)
    ]
    found["/stop-session"] += [
        {"sessionId": name} for name in ("s1", "PID-1", "PID-77", "PID-4194304")
    ]
    return found


def request(
    garbage: Garbage, world: World, samples: dict[str, list[Any]], right: list[Any]
) -> tuple[bytes, bool, str]:
    """The bytes of a request, whether it is whole, and its path."""
    draw = garbage.random.random()
    path = (
        garbage.pick(PATHS)
        if draw < 0.95
        else garbage.pick(
            ["/stop", "/healthz", "/readyz", "/metrics", "/nope", "/list/x", "//list"]
        )
    )
    if path == "/stop" and garbage.random.random() < 0.8:
        path = "/stop?"
    sample = (
        path == "/session-started" and garbage.random.random() < 0.3 and world.newcomer()
    ) or garbage.pick(samples.get(path, [{}]))
    body = garbage.json_bytes(sample, right, kept=0.35)
    headers = [
        ("Host", f"127.0.0.1:{PORT}"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
    ]
    method, whole = "GET" if path in ("/healthz", "/readyz", "/metrics") else "POST", True
    if draw < 0.15:
        whole = False
        for _ in range(garbage.random.randrange(1, 3)):
            name, values = garbage.pick(HEADERS)
            if garbage.random.random() < 0.5:
                headers = [(known, value) for known, value in headers if known != name]
            headers.insert(garbage.random.randrange(len(headers) + 1), (name, garbage.pick(values)))
        method = garbage.pick([method, method, "GET", "PUT", "OPTIONS", "", "POST POST"])
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    content = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body
    if 0.15 < draw < 0.25:
        return garbage.mangled_bytes(content), False, path
    return content, whole, path


def test_no_request_makes_the_runner_fail_or_wait__X10_X11_X12_W06(world):
    garbage, seen = Garbage("control"), Counter()
    beside = set(os.listdir(world.root.parent))
    samples = bodies(world)
    right = [body for listed in samples.values() for body in listed]
    for number in inputs():
        content, whole, path = request(garbage, world, samples, right)
        cut = garbage.random.randrange(len(content) + 1) if number % 4 == 0 else 0
        channel, wire = world.call([piece for piece in (content[:cut], content[cut:]) if piece])
        if whole and not wire.statuses():
            world.announce()
            wait(world, wire, LEASE + 3 if path == "/spawn-session" else 3.0)
        elif not wire.statuses():
            wait(world, wire, LEASE + 3)
        assert wire.statuses() or wire.disconnecting, content
        judge(wire, seen)
        channel.connectionLost(Failure(ConnectionDone()))
        if len(world.service.children.live()) > 8:
            world.end_sessions()
        if number % 500 == 0:
            world.reactor.advance(60.0)
    assert all(not world.processes.entry(stranger).signals for stranger in world.strangers)
    assert not world.service.status()["failedBeats"]
    assert set(os.listdir(world.root.parent)) == beside
    made = [name for name in os.listdir(world.root) if name not in ("project", "file")]
    assert all(
        (world.root / name).is_dir() for name in made
    )  # with approval, under a name that was changed
    assert {200, 400, 403, 404, 405, 408, 415, 421} <= set(seen), seen
    assert len(world.reactor.getDelayedCalls()) < 50


def wait(world: World, wire: Wire, seconds: float) -> None:
    """Until it is answered or closed, at most so long, by the clock."""
    for _ in range(int(seconds)):
        if wire.statuses() or wire.disconnecting:
            return
        world.reactor.advance(1.0)


def judge(wire: Wire, seen: Counter[int]) -> None:
    for answer in wire.value().split(b"HTTP/1.1 ")[1:]:
        status = int(answer[:3])
        seen[status] += 1
        assert b"access-control" not in answer.lower()
        assert b"Traceback" not in answer
        if status >= 500:
            # A refused start, a runner without its hub (for monitors), or too many waiting spawns.
            assert b'"success":false' in answer or status in (501, 503), answer
            assert b"its log says why" not in answer


@pytest_twisted.ensureDeferred
async def test_garbage_on_a_real_socket_harms_nobody_who_asks_afterwards__X10_X11(reactor, world):
    """A few hundred of the same requests through the kernel: who they come from is looked up as
    always.
    """
    garbage, samples = Garbage("sockets"), bodies(world)
    right = [body for listed in samples.values() for body in listed]
    resource = control_resource(world.service.api)
    site = ControlSite(
        reactor, Guarded(os.geteuid(), lambda: PORT, "token", lambda: resource), PeerLookup()
    )
    listening = reactor.listenTCP(0, site, interface="127.0.0.1")
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", listening.getHost().port)
    seen: Counter[int] = Counter()
    for _ in inputs(3_000, 300):
        client = await connectProtocol(endpoint, Collector())
        content, whole, path = request(garbage, world, samples, right)
        if whole and path != "/spawn-session":
            client.transport.write(
                content.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
            )
        else:  # nothing more will come, and perhaps no answer
            client.transport.write(content)
            client.transport.loseWriteConnection()
        answers = (await client.done).split(b"HTTP/1.1 ")[1:]
        seen.update(int(answer[:3]) for answer in answers)
        assert not any(b"its log says why" in answer for answer in answers)
    assert {200, 400, 403} <= set(seen), seen
    client = await connectProtocol(endpoint, Collector())
    client.transport.write(
        f"POST /list HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nConnection: close\r\n\r\n".encode()
    )
    assert (await client.done).startswith(b"HTTP/1.1 200")
    await listening.stopListening()
