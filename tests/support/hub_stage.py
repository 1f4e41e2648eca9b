"""A hub in memory for tests: a clock that moves when told, REST through StubTreq, sockets without a
network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from hapi.hub.access.auth import TokenIssuer
from hapi.hub.access.places import RequestLimits
from hapi.hub.http.proxies import NO_PROXIES, TrustedProxies
from hapi.hub.http.site import HostPolicy, RootResource
from hapi.hub.http.static import PageResource
from hapi.hub.hub import Hub
from hapi.hub.notify.assembly import NotifyParts
from hapi.hub.store.sqlite import memory_store
from hapi.net.common.errors import AckTimeout, ConnectRefused, PeerGone
from hapi.protocol.json import to_json
from tests.support.openapi_replies import described_api

TOKEN = "t" * 40
EPOCH = 1_795_000_000_000  # ms


def waits(deferred: Deferred[Any]) -> bool:
    """Whether it has no result; `called` is true even while a chained Deferred waits."""
    found: list[Any] = []

    def look(result: Any) -> Any:
        found.append(result)
        return result

    deferred.addBoth(look)
    return not found


def result_of(deferred: Deferred[Any]) -> Any:
    """What it fired with; raises what it failed with."""
    assert not waits(deferred), deferred
    found: list[Any] = []
    deferred.addBoth(found.append)
    if isinstance(found[0], Failure):
        raise found[0].value
    return found[0]


@define(eq=False)
class MemoryPeer:
    """A client of `/cli`; `heard` is what it was sent.

    `answers` maps an RPC name or update kind to an answer.
    """

    sockets: MemorySockets
    address: str = "127.0.0.1"
    principal: Any = None
    gone: bool = False
    rooms: set[str] = field(factory=set)
    heard: list[tuple[str, Any]] = field(factory=list)
    calls: list[tuple[Deferred[list[Any]], str, Any]] = field(factory=list)
    hung_up: bool = False

    def join(self, room: str) -> None:
        self.rooms.add(room)

    def emit(self, event: str, *args: Any) -> None:
        given = json.loads(to_json(list(args)))
        self.heard.append((event, given[0] if given else None))

    def call(self, event: str, *args: Any, timeout: float) -> Deferred[list[Any]]:
        if self.gone:
            return fail(PeerGone("gone"))
        self.emit(event, *args)
        answer: Deferred[list[Any]] = Deferred()
        timer = self.sockets.clock.callLater(
            timeout, lambda: answer.errback(AckTimeout("no answer"))
        )
        answer.addBoth(lambda value: (timer.cancel() if timer.active() else None, value)[1])
        self.calls.append((answer, event, args[0]))
        return answer

    def hang_up(self, reason: str) -> None:
        self.hung_up = True

    # --- what a test does with it
    def send(self, name: str, *args: Any) -> None:
        self.sockets.cli.event(self, name, list(args), None)

    def ask(self, name: str, *args: Any) -> Any:
        """The answer to an event with an ack id, None if there is none."""
        answers: list[Any] = []
        self.sockets.cli.event(self, name, list(args), lambda *given: answers.append(given))
        assert len(answers) <= 1
        return None if not answers else answers[0][0] if answers[0] else ()

    def answer(self, value: Any) -> None:
        """Answer the oldest open call."""
        self.calls = [call for call in self.calls if not call[0].called]
        self.calls.pop(0)[0].callback([value])

    def drop(self) -> None:
        self.gone = True
        self.sockets.peers.discard(self)
        calls, self.calls = self.calls, []
        for answer, _, _ in calls:
            if not answer.called:
                answer.errback(PeerGone("gone"))
        self.sockets.cli.disconnected(self, "transport close")

    def events(self, name: str = "update") -> list[Any]:
        return [given for event, given in self.heard if event == name]

    def serve(self, owner: str, *names: str) -> None:
        for name in names:
            self.send("rpc-register", {"method": f"{owner}:{name}"})


@define(eq=False)
class MemorySockets:
    clock: Clock
    cli: Any
    peers: set[MemoryPeer] = field(factory=set)

    def room(self, name: str, namespace: str = "/cli") -> frozenset[MemoryPeer]:
        return frozenset(peer for peer in self.peers if name in peer.rooms)

    def emit(
        self, room: str, event: str, *args: Any, without: Any = None, namespace: str = "/cli"
    ) -> None:
        for peer in self.room(room):
            if peer is not without:
                peer.emit(event, *args)


@define(eq=False)
class Listening:
    """A page's event stream."""

    subscription: Any
    visible: bool = True
    frames: list[bytes] = field(factory=list)

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(frame.split(b"\n")[0][6:]) for frame in self.frames]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


@define
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


class Stage:
    """One hub, and the people and programs around it."""

    def __init__(
        self,
        store: Any = None,
        host_policy: HostPolicy | None = None,
        start: int = EPOCH,
        trusted_proxies: TrustedProxies = NO_PROXIES,
        audit_directory: Path | None = None,
        notify: NotifyParts | None = None,
        git_actions: bool = False,
        clock: Any = None,
        loads: bool = True,
    ) -> None:
        self.clock, self.start = clock or Clock(), start
        # `store` may be a function that makes one on the stage's clock.
        self.store = store(self.clock) if callable(store) else store or memory_store(self.clock)
        self.token_issuer = TokenIssuer(TOKEN, b"s" * 32)
        self.hub = Hub(
            self.clock,
            self.now,
            self.store,
            self.token_issuer,
            lambda cli: MemorySockets(self.clock, cli),
            trusted_proxies,
            audit_directory=audit_directory,
            notify=notify,
            git_actions=git_actions,
        )
        self.registry, self.sockets = self.hub.registry, self.hub.sockets
        if loads:
            result_of(Deferred.fromCoroutine(self.registry.load()))
        result_of(Deferred.fromCoroutine(self.hub.devices.recipients.load()))
        root = RootResource(
            host_policy or HostPolicy(), self.hub.rest, self.hub.streams, Resource(), PageResource()
        )
        self.stub = StubTreq(root)
        self._requests: dict[Any, tuple[str, str]] = {}

    @property
    def limits(self) -> RequestLimits:
        """The limits of expensive requests."""
        return self.hub.limits

    def now(self) -> int:
        return self.start + int(self.clock.seconds() * 1000)

    # --- REST
    def jwt(self, namespace: str = "default") -> str:
        token = TOKEN if namespace == "default" else f"{TOKEN}:{namespace}"
        caller = self.token_issuer.check_access_token(token)
        assert caller is not None
        return self.token_issuer.issue_web_token(caller, self.now() / 1000)

    def begin(
        self,
        method: str,
        path: str,
        body: Any = None,
        namespace: str | None = "default",
        headers: dict[str, str] | None = None,
    ) -> Deferred[Any]:
        """Start a request; `namespace` None sends no token."""
        given = dict(headers or {})
        if namespace is not None and "Authorization" not in given:
            secret = TOKEN if namespace == "default" else f"{TOKEN}:{namespace}"
            given["Authorization"] = (
                f"Bearer {secret if path.startswith('/cli') else self.jwt(namespace)}"
            )
        data = (
            body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        )
        pending = self.stub.request(
            method, f"http://127.0.0.1:3006{path}", data=data, headers=given
        )
        self._requests[pending] = method, path
        self.stub.flush()
        return pending

    def finish(self, pending: Deferred[Any]) -> Answer:
        """The reply; one to a request of `begin` is one that the OpenAPI document describes."""
        for _ in range(4):
            self.stub.flush()
        response = result_of(pending)
        content = result_of(response.content())
        headers = {
            name.decode().lower(): values[-1].decode()
            for name, values in response.headers.getAllRawHeaders()
        }
        kind = headers.get("content-type", "")
        body = json.loads(content) if "json" in kind and content else content.decode()
        method, path = self._requests.pop(pending, ("OPTIONS", ""))
        if method != "OPTIONS" and path.startswith(("/api", "/cli")):
            described_api().check(method, path, response.code, kind, body)
        return Answer(response.code, body, headers)

    def rest(
        self,
        method: str,
        path: str,
        body: Any = None,
        namespace: str | None = "default",
        **headers: str,
    ) -> Answer:
        return self.finish(self.begin(method, path, body, namespace, headers))

    def get(self, path: str, namespace: str | None = "default") -> Any:
        answer = self.rest("GET", path, namespace=namespace)
        assert answer.status == 200, answer
        return answer.body

    # --- sockets
    def connect(self, namespace: str = "default", **auth: Any) -> MemoryPeer:
        token = TOKEN if namespace == "default" else f"{TOKEN}:{namespace}"
        peer = MemoryPeer(self.sockets)
        self.sockets.cli.connect(peer, {"token": token, **auth})
        self.sockets.peers.add(peer)
        return peer

    def refused(self, **auth: Any) -> str:
        peer = MemoryPeer(self.sockets)
        try:
            self.sockets.cli.connect(peer, auth)
        except ConnectRefused as error:
            return "hung up" if peer.hung_up else str(error)
        raise AssertionError("was let in")

    # --- shortcuts
    def listen(self, namespace: str = "default", visible: bool = True) -> Listening:
        from hapi.hub.domain.events import Subscription

        page = Listening(Subscription(namespace, everything=True), visible)
        self.registry.events.listen(f"page-{len(self.registry.events._listeners)}", page)
        return page

    def session(self, namespace: str = "default", tag: str = "tag", **metadata: Any) -> str:
        """The id of a new session."""
        base = {
            "path": "/home/dev/project",
            "host": "devbox",
            "flavor": "opencode",
            "lifecycleState": "running",
        }
        body = {"tag": tag, "metadata": {**base, **metadata}, "agentState": {}}
        answer = self.rest("POST", "/cli/sessions", body, namespace)
        assert answer.status == 200, answer
        return str(answer.body["session"]["id"])

    def live(
        self, namespace: str = "default", tag: str = "tag", **metadata: Any
    ) -> tuple[str, MemoryPeer]:
        """An active session and its process's socket."""
        session_id = self.session(namespace, tag, **metadata)
        peer = self.connect(namespace, sessionId=session_id)
        self.alive(peer, session_id)
        return session_id, peer

    def alive(self, peer: MemoryPeer, session_id: str, **more: Any) -> None:
        peer.send(
            "session-alive",
            {"sid": session_id, "time": self.now(), "thinking": False, "mode": "remote", **more},
        )

    def machine(
        self, namespace: str = "default", name: str = "m1", **metadata: Any
    ) -> tuple[str, MemoryPeer]:
        base = {
            "host": "devbox",
            "platform": "linux",
            "happyCliVersion": "0.30.7",
            "capabilities": ["agent-availability"],
        }
        answer = self.rest(
            "POST", "/cli/machines", {"id": name, "metadata": {**base, **metadata}}, namespace
        )
        assert answer.status == 200, answer
        peer = self.connect(namespace, machineId=name)
        peer.send("machine-alive", {"machineId": name, "time": self.now()})
        return name, peer

    def tick(self, seconds: float) -> None:
        """Let time pass in steps of a quarter second, sweeping every five seconds as the service
        does."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            step = min(0.25, end - self.clock.seconds())
            before = int(self.clock.seconds() // 5)
            self.clock.advance(step)
            if int(self.clock.seconds() // 5) != before:
                self.sweep()
            self.stub.flush()

    def sweep(self) -> None:
        result_of(Deferred.fromCoroutine(self.hub.presence.sweep()))


@frozen
class Route:
    method: str
    path: str  # as werkzeug writes it: /api/sessions/<session_id>


def routes() -> list[Route]:
    """All routes of the REST API; a route of several paths counts once for each."""
    found = []
    for rule in Stage().hub.routes.iter_rules():
        choice = re.search(r"<any\((.*)\):path>", rule.rule)
        names = [name.strip('"') for name in choice[1].split(",")] if choice else [""]
        for name in names:
            path = rule.rule.replace(choice[0], name) if choice else rule.rule
            found += [Route(method, path) for method in rule.methods if method != "HEAD"]
    return found


ROUTES = routes()
