"""The hub's face: names, origins, files, sizes, streams; and the whole service on real sockets."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import defer, protocol
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher

from hapi.hub import HubOptions, hub_service, tap
from hapi.hub.access.auth import Principal
from hapi.hub.domain.events import MAX_KEPT_EVENTS, EventBus, Subscription
from hapi.hub.http.site import HostPolicy, host_name
from hapi.hub.http.sse import MAX_UNREAD, EventStream
from hapi.hub.http.static import PageResource
from hapi.hub.options import read_base_path
from hapi.hub.port import CannotServe, HubPort
from hapi.hub.service import FILES_CHECK_INTERVAL
from hapi.hub.store.interface import StoreRefused
from hapi.net.server.site import below
from hapi.settings import ConfigurationError, read_settings
from tests.support.hub_stage import TOKEN, Answer, Stage

LOOPBACK = HostPolicy(
    frozenset({"localhost", "127.0.0.1", "::1", "hub.example"}), frozenset({"https://page.example"})
)


# --- the base path --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [("/hapi", "/hapi"), ("/hapi/", "/hapi"), ("/a/b.c", "/a/b.c"), ("/", ""), ("", "")],
)
def test_a_base_path_is_normalized(given, expected):
    assert read_base_path(given) == expected


@pytest.mark.parametrize(
    "given",
    ["hapi", "//host", "/a//b", "/..", "/a/../b", "/a b", "/a?b", "/api", "/socket.io/x", 5],
)
def test_a_path_that_cannot_be_a_base_path_is_refused(given):
    with pytest.raises(ConfigurationError, match="--base-path"):
        read_base_path(given)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (b"/hapi/api/sessions?limit=1", b"/api/sessions?limit=1"),
        (b"/hapi/", b"/"),
        (b"/hapi/hapi/x", b"/hapi/x"),
        (b"/hapi", b"/hapi"),
        (b"/hapiness/x", b"/hapiness/x"),
        (b"/api/sessions", b"/api/sessions"),
    ],
)
def test_the_base_path_is_removed_from_a_request_once(uri, expected):
    assert below(b"/hapi", uri) == expected
    assert below(b"", uri) == uri


# --- names and origins ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:3006", True),
        ("localhost", True),
        ("LOCALHOST.:80", True),
        ("[::1]:3006", True),
        ("127.0.0.2", True),
        ("hub.example:443", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[::1", False),
        ("a b", False),
        ("192.168.0.7:3006", False),
        ("127.0.0.1#.evil", False),
        ("127.0.0.1?.evil", False),
        ("evil@127.0.0.1", False),
        ("127.0.0.1:99999", False),
    ],
)
def test_a_loopback_hub_answers_to_its_own_names_only__U09(host: str, known: bool) -> None:
    stage = Stage(host_policy=LOOPBACK)
    for path in ("/", "/health", "/api/sessions", "/cli/machines/x", "/app.js"):
        status = stage.rest("GET", path, Host=host).status
        is_check = path == "/health" and not host
        assert (status != 421) is (known or is_check), (path, status)


def test_a_balancer_s_check_needs_no_name() -> None:
    stage = Stage(host_policy=LOOPBACK)
    assert [stage.rest("GET", path, Host="").status for path in ("/health", "/ready")] == [200, 200]


def test_a_public_hub_answers_to_any_name() -> None:
    assert HostPolicy(None).allows_host("whatever.example:1")
    assert HostPolicy(None).allows_host("")  # HTTP/1.0
    assert not HostPolicy(None).allows_host("whatever.example#1")
    assert host_name("[bad") == ""


@pytest.mark.parametrize(
    ("host_policy", "origin", "host", "allowed"),
    [
        (HostPolicy(), "https://evil.example", "127.0.0.1:3006", False),
        (HostPolicy(), "null", "127.0.0.1:3006", False),
        (HostPolicy(), "http://127.0.0.1:3006", "127.0.0.1:3006", True),
        (HostPolicy(), "http://127.0.0.1:9999", "127.0.0.1:3006", False),
        (LOOPBACK, "https://page.example", "127.0.0.1:3006", True),
        (LOOPBACK, "https://page.example.evil", "127.0.0.1:3006", False),
        (LOOPBACK, "http://page.example", "127.0.0.1:3006", False),
        (HostPolicy(origins=frozenset({"*"})), "https://any.example", "127.0.0.1:3006", True),
    ],
)
def test_pages_of_other_origins_stay_out_unless_they_are_named__U08(
    host_policy: HostPolicy, origin: str, host: str, allowed: bool
) -> None:
    assert host_policy.allows_origin(origin, host) is allowed
    stage = Stage(host_policy=host_policy)
    for method in ("GET", "OPTIONS"):
        answer = stage.rest(method, "/api/sessions", Host=host, Origin=origin)
        assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["vary"].startswith("Origin")


# --- files ----------------------------------------------------------------------------------------

TRICKS = [
    "/../options.py",
    "/..%2foptions.py",
    "/%2e%2e/options.py",
    "/%2e%2e%2foptions.py",
    "/..%5coptions.py",
    "/%252e%252e/options.py",
    "/....//options.py",
    "/./../options.py",
    "/app.js/../../options.py",
    "/%00",
    "/index.html%00.js",
    "//etc/passwd",
    "/.env",
    "/.git/config",
    "/__init__.py",
    "/%ff%fe",
    "/\\..\\options.py",
    "/secret.js",
    "/link/passwd",
]


@pytest.mark.parametrize("path", TRICKS)
def test_no_path_leads_out_of_the_page_s_directory__U12(path: str, tmp_path: Path) -> None:
    root = tmp_path / "page"
    root.mkdir()
    (root / "index.html").write_text("page")
    (tmp_path / "options.py").write_text("secret")
    (tmp_path / "secret.js").write_text("secret")
    (root / "secret.js").symlink_to(tmp_path / "secret.js")
    (root / "link").symlink_to("/etc")

    class Request:
        path_ = path
        code = 200

        def setHeader(self, *_: Any) -> None: ...
        def getHeader(self, _: str) -> None: ...
        def setResponseCode(self, code: int) -> None:
            self.code = code

    request: Any = Request()
    request.path = path.encode()
    content = PageResource(root).render_GET(request)
    assert b"secret" not in content
    assert b"root:" not in content
    assert (request.code, content) in ((404, b"404 Not Found"), (200, b"page"))


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/sessions/abc", "/sessions/abc?x=1", "/socket.io"]
)
def test_every_place_of_the_page_is_the_page(path: str) -> None:
    answer = Stage().rest("GET", path, namespace=None)
    assert answer.status == 200
    assert answer.body.lstrip().lower().startswith("<!doctype html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_missing_script_is_missing() -> None:
    assert Stage().rest("GET", "/no-such.js", namespace=None).status == 404
    script = Stage().rest("GET", "/app.js", namespace=None)
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    again = Stage().rest(
        "GET", "/app.js", namespace=None, **{"If-None-Match": script.headers["etag"]}
    )
    assert again.status == 304


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["//hub/rpc", "/HUB/rpc", "/hub/rpc", "/somewhere"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_place_of_the_page_takes_nothing(path: str, method: str) -> None:
    answer = Stage().rest(method, path, {}, namespace=None)
    assert (answer.status, answer.body) == (404, {"error": "Not found"})


def test_unknown_routes_are_said_only_to_those_who_may_come_in() -> None:
    stage = Stage()
    assert stage.rest("GET", "/api/no-such-route", namespace=None).status == 401
    answer = stage.rest("GET", "/api/no-such-route")
    assert (answer.status, answer.body) == (404, {"error": "Not found"})
    assert stage.rest("GET", "/cli/no-such-route").status == 404
    assert stage.rest("DELETE", "/api/machines").status == 404


def test_every_answer_of_cli_names_the_protocol() -> None:
    stage = Stage()
    for path in ("/cli/sessions/x", "/cli/nothing"):
        assert stage.rest("GET", path).headers["x-hapi-protocol-version"] == "1"


def test_a_body_that_is_too_large_is_refused__U10() -> None:
    stage = Stage()
    session = stage.session()
    answer = stage.rest(
        "PATCH", f"/api/sessions/{session}", b'{"name":"' + b"x" * (9 << 20) + b'"}'
    )
    assert answer.status == 413


# --- events ---------------------------------------------------------------------------------------


class Wire:
    """The request of a page that listens; `full` pauses the producer as a full socket does."""

    def __init__(self) -> None:
        self.written, self.gone, self.finished, self.producer = [], False, False, None
        self.channel = self
        self._waiting: list[Any] = []

    def setHeader(self, *_: Any) -> None: ...

    def notifyFinish(self) -> Any:
        self._waiting.append(defer.Deferred())
        return self._waiting[-1]

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None: ...

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def forceAbortClient(self) -> None:
        self.gone = True

    def finish(self) -> None:
        self.finished = True

    @property
    def ids(self) -> list[str]:
        return [
            line[4:].decode()
            for frame in self.written
            for line in frame.split(b"\n")
            if line.startswith(b"id: ")
        ]

    @property
    def types(self) -> list[str]:
        return [json.loads(frame.split(b"\n")[0][6:])["type"] for frame in self.written]


def stream(
    stage: Stage, last: str | None = None, namespace: str = "default"
) -> tuple[EventStream, Wire]:
    wire = Wire()
    wanted = Subscription(namespace, everything=True)
    found = EventStream(wire, Principal(namespace), wanted, True, stage.registry)
    found.start(last)
    return found, wire


def test_a_page_that_comes_back_gets_what_it_missed__R10() -> None:
    stage = Stage()
    _, wire = stream(stage)
    stage.session(tag="one")
    last = wire.ids[-1]
    for number in range(3):
        stage.session(tag=f"more{number}")
    _, back = stream(stage, last)
    assert json.loads(back.written[0].split(b"\n")[0][6:])["data"]["resume"] == "ok"
    assert back.types[1:] == ["session-added"] * 3
    assert back.ids == wire.ids[1:]


@pytest.mark.parametrize(
    "last",
    [
        None,
        "",
        "x",
        "deadbeef:1:00000000",
        "{epoch}:1:00000000",
        "{epoch}:999:{tag}",
        "{epoch}:-1:{tag}",
        "{epoch}:x:{tag}",
        "{epoch}:1",
        "{epoch}:1:{tag}:2",
        "{epoch}:99999999999999999999:{tag}",
        "{epoch}:٣:{tag}",
    ],
)
def test_a_place_that_cannot_be_resumed_from_is_a_gap__R10(last: str | None) -> None:
    stage = Stage()
    stage.session(tag="one")
    events = stage.registry.events
    last = last and last.format(epoch=events.epoch, tag=events.tag("default"))
    _, wire = stream(stage, last)
    assert json.loads(wire.written[0].split(b"\n")[0][6:])["data"]["resume"] == "gap"


def test_only_so_many_events_are_kept() -> None:
    events = EventBus()
    for number in range(MAX_KEPT_EVENTS + 10):
        events.publish("default", "session-ended", sessionId=str(number))
    wanted, tag = Subscription("default", everything=True), events.tag("default")
    assert events.missed_frames(f"{events.epoch}:9:{tag}", wanted) is None
    assert len(events.missed_frames(f"{events.epoch}:10:{tag}", wanted) or []) == MAX_KEPT_EVENTS
    events.publish("default", "x", text="x" * (3 << 20))
    assert len(events._kept) == 1


def test_a_page_that_reads_slowly_is_let_go_and_can_resume__R10() -> None:
    stage = Stage()
    found, wire = stream(stage)
    stage.session(tag="one")
    found.pauseProducing()
    sent = len(wire.written)
    stage.session(tag="two")
    found.resumeProducing()
    assert len(wire.written) == sent + 1
    found.pauseProducing()
    for number in range(2000):
        stage.registry.events.publish(
            "default", "session-ended", sessionId=str(number), reason="x" * 1000
        )
        if wire.gone:
            break
    assert wire.gone
    assert sum(map(len, wire.written)) < MAX_UNREAD
    assert stage.registry.events.listening == 0
    stage.session(tag="three")
    _, back = stream(stage, wire.ids[-1])
    assert json.loads(back.written[0].split(b"\n")[0][6:])["data"]["resume"] in (
        "ok",
        "gap",
    )


def test_a_heartbeat_reaches_everybody_with_their_own_namespace() -> None:
    stage = Stage()
    _, one = stream(stage)
    _, other = stream(stage, namespace="other")
    stage.registry.events.heartbeat(5)
    assert [json.loads(wire.written[-1][6:])["namespace"] for wire in (one, other)] == [
        "default",
        "other",
    ]
    assert one.ids == []


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"HAPI_LISTEN_PORT": "http"}, "port 'http'"),
        ({"HAPI_LISTEN_PORT": "65536"}, "65535"),
        ({"HAPI_PUBLIC_URL": "https://x/y"}, "origin"),
        ({"CORS_ORIGINS": "evil"}, "http"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(
    home: Any, environ: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        HubOptions.from_environment({"HAPI_HOME": str(home.path), **environ})


def test_flags_stand_above_the_environment_and_that_above_the_settings(home: Any) -> None:
    home.settings.write_text(
        json.dumps({"listenPort": 1, "listenHost": "a", "corsOrigins": ["https://b"]})
    )
    found = HubOptions.from_environment(
        {"HAPI_HOME": str(home.path), "HAPI_LISTEN_PORT": "2"}, port=3
    )
    assert (found.host, found.port, found.cors_origins) == ("a", 3, ("https://b",))
    assert HubOptions.from_environment({"HAPI_HOME": str(home.path)}).port == 1
    assert HubOptions(home).host == "127.0.0.1"  # U13


# --- the service on real sockets ------------------------------------------------------------------


class Talk(protocol.Protocol):
    """A raw connection: what came, and when it ended."""

    def __init__(self) -> None:
        self.got = b""
        self.ended: defer.Deferred[None] = defer.Deferred()
        self._wants: list[tuple[bytes, defer.Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        for wanted, told in list(self._wants):
            if wanted in self.got:
                self._wants.remove((wanted, told))
                told.callback(self.got)

    def until(self, wanted: bytes) -> defer.Deferred[bytes]:
        told: defer.Deferred[bytes] = defer.Deferred()
        if wanted in self.got:
            told.callback(self.got)
        else:
            self._wants.append((wanted, told))
        return told

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(None)


async def talk(reactor: Any, port: int, text: str) -> Talk:
    factory = protocol.Factory.forProtocol(Talk)
    found: Talk = await HostnameEndpoint(reactor, "127.0.0.1", port).connect(factory)
    assert found.transport is not None
    found.transport.write(text.replace("\n", "\r\n").encode())
    return found


async def ask(
    reactor: Any, service: Any, method: str, path: str, body: Any = None, **headers: str
) -> Answer:
    data = "" if body is None else json.dumps(body)
    given = {
        "Host": "127.0.0.1",
        "Connection": "close",
        "Content-Length": str(len(data)),
        **headers,
    }
    lines = "".join(f"{name}: {value}\n" for name, value in given.items())
    found = await talk(reactor, service.port, f"{method} {path} HTTP/1.1\n{lines}\n{data}")
    await found.ended
    head, _, content = found.got.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    got = {line.partition(":")[0].lower(): line.partition(": ")[2] for line in rest}
    kind = got.get("content-type", "")
    return Answer(int(first.split()[1]), json.loads(content) if "json" in kind else content, got)


@pytest_twisted.async_yield_fixture
async def service(reactor: Any, home: Any) -> Any:
    found = hub_service(reactor, HubOptions(home, port=0, token=TOKEN))
    found.startService()
    await found.when_listening
    yield found
    await found.stopService()


async def logged_in(reactor: Any, service: Any) -> str:
    answer = await ask(reactor, service, "POST", "/api/auth", {"accessToken": TOKEN})
    return str(answer.body["token"])


@pytest_twisted.ensureDeferred
async def test_the_service_serves_health_page_and_sessions(reactor: Any, service: Any) -> None:
    assert (await ask(reactor, service, "GET", "/health")).body["status"] == "ok"
    assert b"<!doctype html" in (await ask(reactor, service, "GET", "/")).body.lower()
    jwt = await logged_in(reactor, service)
    answer = await ask(reactor, service, "GET", "/api/sessions", Authorization=f"Bearer {jwt}")
    assert answer.body == {"sessions": []}
    refused = await ask(reactor, service, "GET", "/health", Host="evil.example")
    assert refused.status == 421


@pytest_twisted.ensureDeferred
async def test_events_arrive_over_the_wire(reactor: Any, service: Any) -> None:
    jwt = await logged_in(reactor, service)
    page = await talk(
        reactor, service.port, f"GET /api/events?all=true&token={jwt} HTTP/1.1\nHost: 127.0.0.1\n\n"
    )
    await page.until(b'"resume":"gap"')
    await ask(
        reactor,
        service,
        "POST",
        "/cli/sessions",
        {"tag": "t", "metadata": {"path": "/", "host": "h"}},
        Authorization=f"Bearer {TOKEN}",
    )
    await page.until(b"session-added")
    assert b"text/event-stream" in page.got
    assert service.hub.registry.events.listening == 1
    page.transport.abortConnection()
    await page.ended
    await deferLater(reactor, 0.05)
    assert service.hub.registry.events.listening == 0


@pytest_twisted.ensureDeferred
async def test_large_answers_are_packed_for_those_who_can_unpack(
    reactor: Any, service: Any
) -> None:
    headers = {"Authorization": f"Bearer {await logged_in(reactor, service)}"}
    for number in range(20):
        made = {"tag": f"t{number}", "metadata": {"path": "/", "host": "h"}}
        await ask(reactor, service, "POST", "/cli/sessions", made, Authorization=f"Bearer {TOKEN}")
    packed = await ask(reactor, service, "GET", "/api/sessions/", **headers)
    assert packed.status == 404
    plain = await ask(reactor, service, "GET", "/api/sessions", **headers)
    assert len(plain.body["sessions"]) == 20
    factory = await talk(
        reactor,
        service.port,
        "GET /api/sessions HTTP/1.1\nHost: localhost\nConnection: close\n"
        "Accept-Encoding: br, gzip\n"
        f"Authorization: {headers['Authorization']}\n\n",
    )
    await factory.ended
    head, _, content = factory.got.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head.lower()
    assert json.loads(gzip.decompress(content)) == plain.body


@pytest_twisted.ensureDeferred
async def test_a_token_in_a_query_opens_only_the_event_stream(reactor: Any, service: Any) -> None:
    jwt = await logged_in(reactor, service)
    assert (await ask(reactor, service, "GET", f"/api/sessions?token={jwt}")).status == 401
    assert (await ask(reactor, service, "GET", "/api/events?token=wrong")).status == 401


@pytest_twisted.ensureDeferred
async def test_leaving_tells_listeners_and_archives_nothing__R12(reactor: Any, home: Any) -> None:
    service = hub_service(reactor, HubOptions(home, port=0, token=TOKEN))
    service.startService()
    await service.when_listening
    jwt = await logged_in(reactor, service)
    metadata = {"path": "/", "host": "h", "lifecycleState": "running"}
    made = await ask(
        reactor,
        service,
        "POST",
        "/cli/sessions",
        {"tag": "t", "metadata": metadata},
        Authorization=f"Bearer {TOKEN}",
    )
    session = made.body["session"]["id"]
    page = await talk(
        reactor, service.port, f"GET /api/events?all=true&token={jwt} HTTP/1.1\nHost: 127.0.0.1\n\n"
    )
    await page.until(b'"resume":"gap"')
    upgrade = (
        "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
    )
    peer = await talk(
        reactor,
        service.port,
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\nHost: 127.0.0.1\n{upgrade}\n",
    )
    await peer.until(b"pingInterval")
    asked = reactor.seconds()
    leaving = service.stopService()
    assert isinstance(leaving, defer.Deferred)  # as IService says, for hosts that only call it
    await leaving
    assert reactor.seconds() - asked < 5.0
    peer.transport.abortConnection()
    await page.ended
    await peer.ended
    again = hub_service(reactor, HubOptions(home, port=0, token=TOKEN))
    again.startService()
    await again.when_listening
    kept = again.hub.registry.sessions[session].metadata
    assert kept["lifecycleState"] == "running"
    await again.stopService()


@pytest_twisted.ensureDeferred
async def test_a_body_over_the_limit_is_cut_off_while_it_comes__U10(
    reactor: Any, service: Any
) -> None:
    found = await talk(
        reactor,
        service.port,
        f"POST /api/auth HTTP/1.1\nHost: 127.0.0.1\nContent-Length: {1 << 40}\n\n",
    )
    await found.ended
    assert found.got.startswith(b"HTTP/1.1 413 ")


@pytest_twisted.ensureDeferred
async def test_a_packed_body_is_not_unpacked__U11(reactor: Any, service: Any) -> None:
    packed = gzip.compress(json.dumps({"accessToken": TOKEN, "more": "0" * (1 << 20)}).encode())
    head = (
        "POST /api/auth HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n"
        "Content-Type: application/json\nContent-Encoding: gzip\n"
    )
    found = await talk(reactor, service.port, f"{head}Content-Length: {len(packed)}\n\n")
    found.transport.write(packed)
    await found.ended
    assert int(found.got.split()[1]) in (400, 415)


@pytest.mark.parametrize(
    ("host", "warned"), [(None, False), ("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)]
)
def test_a_hub_is_on_the_loopback_address_unless_told_and_warns_without_tls_elsewhere__U13(
    home: Any, host: str | None, warned: bool
) -> None:
    options = HubOptions.from_environment({"HAPI_HOME": str(home.path)}, host=host, port=0)
    assert options.host == (host or "127.0.0.1")
    heard: list[str] = []
    watch = lambda event: heard.append(str(formatEvent(event)))  # noqa: E731
    globalLogPublisher.addObserver(watch)
    reactor = MemoryReactorClock()
    try:
        HubPort.with_certificate(reactor, options).warn("http://hub", "a token of some length")
    finally:
        globalLogPublisher.removeObserver(watch)
    assert any("without TLS" in line for line in heard) is warned


async def not_serving(reactor: Any, home: Any, port: int = 0) -> Any:
    """What a hub says that cannot serve; it does not run afterwards."""
    service = hub_service(reactor, HubOptions(home, port=port))
    service.startService()
    try:
        await service.when_listening
    finally:
        assert not service.running
        await service.stopService()


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_one_sentence(reactor: Any, home: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotServe, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            await not_serving(reactor, home, port)


@pytest_twisted.ensureDeferred
async def test_a_foreign_database_is_one_sentence(reactor: Any, home: Any) -> None:
    path = home.path / "hub.db"
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(StoreRefused, match="was not changed"):
        await not_serving(reactor, home)


@pytest_twisted.ensureDeferred
async def test_rows_that_the_disk_has_damaged_are_loaded_and_named(reactor: Any, home: Any) -> None:
    first = hub_service(reactor, HubOptions(home, port=0))
    first.startService()
    await first.when_listening
    connection = first.hub.registry.store.database.connection
    damaged = {"s": b"{broken", "n": b'{"a": NaN}', "d": b'{"a":' * 5000, "u": b'{"a": "\xff"}'}
    for name, metadata in damaged.items():
        connection.execute(
            "INSERT INTO sessions (id, tag, created_at, updated_at, metadata)"
            " VALUES (?, ?, 1, 1, CAST(? AS TEXT))",
            (name, name, metadata),
        )
    connection.execute(
        "INSERT INTO messages (id, session_id, seq, content, created_at)"
        " VALUES ('m', 's', 1, '{broken', 1)"
    )
    await first.stopService()
    again = hub_service(reactor, HubOptions(home, port=0))
    again.startService()
    await again.when_listening
    try:
        registry = again.hub.registry
        assert {name: session.damage for name, session in registry.sessions.items()} == {
            "s": ("metadata",),
            "n": (),
            "u": (),
            "d": ("metadata",),
        }
        (message,) = await registry.store.latest("s", 5)
        assert message.content == "{broken"
    finally:
        await again.stopService()


@pytest_twisted.ensureDeferred
async def test_a_hub_that_is_stopped_while_it_opens_its_database_never_listens(
    reactor: Any, home: Any
) -> None:
    service = hub_service(reactor, HubOptions(home, port=0))
    service.startService()
    await service.stopService()
    assert (service.port, service.url) == (0, "")
    again = hub_service(reactor, HubOptions(home, port=0))
    again.startService()
    await again.when_listening
    await again.stopService()


@pytest_twisted.ensureDeferred
async def test_no_token_of_a_url_is_logged__U06(reactor: Any, service: Any) -> None:
    lines: list[str] = []
    watch = lambda event: lines.append(str(formatEvent(event)) + str(event))  # noqa: E731
    globalLogPublisher.addObserver(watch)
    try:
        jwt = await logged_in(reactor, service)
        for path in (f"/api/events?token={jwt}x", f"/api/sessions?token={jwt}", f"/?token={jwt}"):
            await ask(reactor, service, "GET", path)
    finally:
        globalLogPublisher.removeObserver(watch)
    assert not [line for line in lines if jwt in line or TOKEN in line]


@pytest.mark.program
@pytest.mark.parametrize("trouble", ["port", "database", "token", "flag"])
def test_the_program_says_one_sentence_and_ends_with_1(home: Any, trouble: str) -> None:
    environ = {**os.environ, "HAPI_HOME": str(home.path), "HAPI_LISTEN_PORT": "0"}
    argv = [
        sys.executable,
        "-c",
        "from twisted.scripts.twistd import run; run()",
        "-n",
        "--pidfile=",
        "hapi-hub",
    ]
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    if trouble == "port":
        environ["HAPI_LISTEN_PORT"] = str(taken.getsockname()[1])
    elif trouble == "database":
        (home.path / "hub.db").write_bytes(b"x" * 5000)
    elif trouble == "token":
        environ["CLI_API_TOKEN"] = "a:b"
    else:
        environ["HAPI_LISTEN_PORT"] = "many"
    ended = subprocess.run(
        argv, check=False, env=environ, capture_output=True, text=True, timeout=30, cwd="/"
    )
    taken.close()
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stdout + ended.stderr
    told = (ended.stdout + ended.stderr).splitlines()
    assert len([line for line in told if "hapi-hub: " in line or "port 'many'" in line]) == 1, told


@pytest_twisted.ensureDeferred
async def test_a_hub_under_twistd_is_found_by_its_home_and_an_embedded_one_notes_nothing(
    reactor: Any, home: Any, monkeypatch: Any
) -> None:
    embedded = hub_service(reactor, HubOptions(home, port=0, token=TOKEN))
    embedded.startService()
    await embedded.when_listening
    await embedded.stopService()
    assert not home.settings.exists()
    monkeypatch.setenv("HAPI_HOME", str(home.path))
    options = tap.Options()
    options.parseOptions(["--port", "0"])
    daemon = tap.makeService(options)
    daemon.startService()
    (hub,) = daemon
    await hub.when_listening
    assert read_settings(home)["apiUrl"] == hub.url
    await daemon.stopService()


@pytest_twisted.ensureDeferred
async def test_a_deleted_database_is_noticed_within_a_beat_and_refused_in_words(
    reactor: Any, home: Any, service: Any
) -> None:
    lines: list[str] = []
    watch = lambda event: lines.append(str(formatEvent(event)))  # noqa: E731
    globalLogPublisher.addObserver(watch)
    create = {"tag": "t", "metadata": {"path": "/", "host": "h"}}
    try:
        (home.path / "hub.db").unlink()
        await deferLater(reactor, FILES_CHECK_INTERVAL + 0.5)
        assert len([line for line in lines if "hub.db was deleted while" in line]) == 1
        for _ in range(3):
            answer = await ask(
                reactor, service, "POST", "/cli/sessions", create, Authorization=f"Bearer {TOKEN}"
            )
            assert answer.status == 503
            assert "was deleted, replaced or moved" in answer.body["error"]
        assert (await ask(reactor, service, "GET", "/health")).status == 200
    finally:
        globalLogPublisher.removeObserver(watch)
    assert len([line for line in lines if "hub.db" in line]) == 1
