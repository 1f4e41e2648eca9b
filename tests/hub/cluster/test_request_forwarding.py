"""REST requests about sessions and machines that are at home at another hub."""

import gzip
import json

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers

from hapi.hub.cluster.signatures import HOP, Signer
from hapi.hub.domain.resume import Resuming
from hapi.hub.store.shared import Member, Moved
from tests.support.hub_group import KEY, S1, hubs_with_stand_ins, until
from tests.support.hub_stage import TOKEN


@pytest.fixture
def group():
    with hubs_with_stand_ins("a", "b", "c") as group:
        yield group


async def session_at(group, home, **methods):
    """A session that is active at `home`, and known to all hubs."""
    for hub in group.hubs.values():
        await hub.session(S1)
    group.homes[S1] = home
    at_home = group.hubs[home]
    link = await at_home.link("session", S1, **methods)
    link.emit("session-alive", {"sid": S1, "time": at_home.now(), "thinking": False}, keep=False)
    await until(lambda: at_home.registry.sessions[S1].active)
    rpc = at_home.registry.rpc
    await until(lambda: all(rpc.serves_here(S1, name) for name in methods))
    return link


PATH = f"/api/sessions/{S1}"


@pytest_twisted.ensureDeferred
async def test_a_change_is_made_where_the_session_is_at_home_and_only_there(group, a, b):
    await session_at(group, "b")
    assert await a.rest("PATCH", PATH, {"name": "Söng"}) == (200, {"ok": True})
    assert b.registry.sessions[S1].metadata["name"] == "Söng"
    assert "name" not in a.registry.sessions[S1].metadata
    status, found = await a.rest("GET", PATH)
    assert (status, found["session"]["metadata"]["name"]) == (200, "Söng")


@pytest_twisted.ensureDeferred
async def test_what_the_home_refuses_is_refused_with_its_words(group, a):
    await session_at(group, "b")
    status, found = await a.rest("PATCH", PATH, {"name": ""})
    assert (status, found["error"]) == (400, "Invalid body: name is required")
    assert (await a.rest("DELETE", PATH))[0] == 409


@pytest_twisted.ensureDeferred
async def test_a_request_without_a_token_is_refused_by_the_first_hub(group, a, b):
    await session_at(group, "b")
    b.hub.dispatcher.forwarding = None
    b.hub.dispatcher.authenticator = None  # whatever comes here fails
    status, _ = await a.rest("GET", PATH, Authorization="Bearer nonsense")
    assert status == 401


@pytest_twisted.ensureDeferred
async def test_an_upload_of_tens_of_megabytes_arrives_whole_and_is_not_kept_in_memory(group, a):
    got = []

    def upload(params):
        got.append(params)
        return {"success": True, "path": "/tmp/x"}

    await session_at(group, "b", uploadFile=upload)
    content = "QUJD" * (10 << 20)  # 40 MB of base64
    body = json.dumps({"filename": "x.bin", "content": content, "mimeType": "a/b"}).encode()
    status, found = await a.rest("POST", f"{PATH}/upload", body)
    assert (status, found) == (200, {"success": True, "path": "/tmp/x"})
    assert got[0]["content"] == content


@pytest_twisted.ensureDeferred
async def test_a_long_answer_arrives_whole_and_as_compressed_as_it_was(group, a):
    text = "".join(f"{n:x}" for n in range(400_000))
    await session_at(group, "b", readFile=lambda params: {"success": True, "content": text})
    for accepted in ("identity", "gzip"):
        given = {"Authorization": [f"Bearer {a.web_token}"], "Accept-Encoding": [accepted]}
        url = f"{a.url}{PATH}/file?path=x%2F%C3%A9".encode()
        response = await Agent(reactor).request(b"GET", url, Headers(given))
        content = await readBody(response)
        coding = response.headers.getRawHeaders("content-encoding")
        if accepted == "gzip":
            assert coding == ["gzip"]
            content = gzip.decompress(content)
        assert json.loads(content)["content"] == text
        assert response.headers.getRawHeaders("x-content-type-options") == ["nosniff"]


class SlowReader(Protocol):
    """Sends a request, and reads no more than the begin of the answer until it is told to."""

    def __init__(self, head):
        self.head, self.received, self.lost = head, 0, Deferred()

    def connectionMade(self):
        self.transport.write(self.head)

    def dataReceived(self, data):
        if not self.received:
            self.transport.pauseProducing()
        self.received += len(data)

    def connectionLost(self, reason):
        self.lost.callback(None)


async def connect(hub, protocol):
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", hub.port.getHost().port)
    return await endpoint.connect(Factory.forProtocol(lambda: protocol))


def head(hub, path):
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {hub.web_token}\r\n\r\n"
    ).encode()


@pytest_twisted.ensureDeferred
async def test_an_answer_is_fetched_only_as_fast_as_the_client_reads_it(group, a, b):
    text = "x" * (40 << 20)
    await session_at(group, "b", readFile=lambda params: {"success": True, "content": text})
    slow = await connect(a, SlowReader(head(a, f"{PATH}/file?path=x")))
    await until(lambda: b.site.unread.size)
    held = b.site.unread.size
    await deferLater(reactor, 0.2)
    assert held > 20 << 20  # most of it is still at its home
    assert b.site.unread.size > 20 << 20
    slow.transport.resumeProducing()
    await until(lambda: slow.received > len(text))
    slow.transport.abortConnection()
    await slow.lost


class Deaf(Protocol):
    """Accepts connections and reads nothing."""

    def connectionMade(self):
        self.transport.pauseProducing()
        self.factory.connections.append(self.transport)


@pytest_twisted.ensureDeferred
async def test_an_upload_waits_on_the_disk_for_a_hub_that_reads_slowly(group, a):
    factory = Factory.forProtocol(Deaf)
    factory.connections = []
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    url = f"http://127.0.0.1:{port.getHost().port}"
    group.known["deaf"] = Member("deaf", "deaf", url, "1", 0, 0, True)
    await a.session(S1)
    group.homes[S1] = "deaf"
    body = json.dumps({"filename": "x", "content": "QUJD" * (10 << 20), "mimeType": "a/b"})
    pending = Deferred.fromCoroutine(a.rest("POST", f"{PATH}/upload", body.encode()))
    await until(lambda: factory.connections)
    await until(lambda: a.connections._client.waits_for)
    await deferLater(reactor, 0.3)  # it would have sent tens of megabytes
    writers = [each for each in reactor.getWriters() if hasattr(each, "dataBuffer")]
    held = sum(len(each.dataBuffer) - each.offset + each._tempDataLen for each in writers)
    assert held < 1 << 20
    for transport in factory.connections:
        transport.abortConnection()
    assert (await pending)[0] == 502
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_ends_the_request_at_the_other_hub(group, a, b):
    called = []

    def slow(params):
        called.append(params)
        return group.never()

    await session_at(group, "b", readFile=slow)
    client = await connect(a, SlowReader(head(a, f"{PATH}/file?path=x")))
    await until(lambda: called)
    before = len(b.site.open_channels)
    client.transport.abortConnection()
    await client.lost
    await until(lambda: len(b.site.open_channels) == before - 1)
    assert not a.connections._client.waits_for


@pytest_twisted.ensureDeferred
async def test_the_home_sees_the_address_of_the_client_and_strangers_cannot_claim_one(group, a, b):
    await session_at(group, "b")
    seen = []
    b.hub.dispatcher.authenticator = Noting(b.hub.authenticator, seen)
    await a.rest("GET", PATH, **{"X-Forwarded-For": "203.0.113.9"})
    assert "127.0.0.1" in seen
    seen.clear()
    target = PATH.encode()
    right = Signer(KEY, "a", b.now).sign(HOP, "b", b"GET", target, "203.0.113.7")
    wrong = Signer(b"no", "a", b.now).sign(HOP, "b", b"GET", target, "203.0.113.8")
    other = Signer(KEY, "a", b.now).sign(HOP, "c", b"GET", target, "203.0.113.8")
    for header in (wrong, other, right):
        await b.rest("GET", PATH, **{"X-Hapi-Hop": header, "X-Forwarded-For": "203.0.113.9"})
    await b.rest("GET", PATH, **{"X-Hapi-Hop": right})  # a second time
    assert seen == ["127.0.0.1", "127.0.0.1", "203.0.113.7", "127.0.0.1"]


class Noting:
    def __init__(self, authenticator, seen):
        self._authenticator, self._seen = authenticator, seen

    def __getattr__(self, name):
        return getattr(self._authenticator, name)

    def address(self, request):
        self._seen.append(self._authenticator.address(request))
        return self._seen[-1]


@pytest_twisted.ensureDeferred
async def test_a_request_is_forwarded_once_to_where_the_database_says(group, a, b):
    """b is asked, is not the home, and does not pass it on; a asks the database, and c answers."""
    await session_at(group, "c")
    a.cluster.stale[S1] = "b"
    assert await a.rest("PATCH", PATH, {"name": "x"}) == (200, {"ok": True})
    assert group.hubs["c"].registry.sessions[S1].metadata["name"] == "x"
    assert a.cluster.looked_up == [S1]
    assert b.cluster.looked_up == []


@pytest_twisted.ensureDeferred
async def test_hubs_that_take_each_other_for_the_home_answer_with_a_plain_sentence(group, a, b):
    await session_at(group, "c")
    group.homes[S1] = "b"
    b.cluster.stale[S1] = "a"
    status, found = await a.rest("PATCH", PATH, {"name": "x"})
    assert (status, found["code"]) == (502, "hub_unreachable")


@pytest_twisted.ensureDeferred
async def test_a_session_that_has_come_home_is_served_here(group, a):
    await session_at(group, "a")
    a.cluster.stale[S1] = "b"
    assert await a.rest("PATCH", PATH, {"name": "x"}) == (200, {"ok": True})
    assert a.registry.sessions[S1].metadata["name"] == "x"


@pytest_twisted.ensureDeferred
async def test_a_handler_that_finds_that_its_session_has_moved_is_run_there_with_the_body(group, a):
    await session_at(group, "b")
    a.cluster.stale[S1] = None

    async def turn(*args):
        raise Moved(S1, "b")

    a.store.write_metadata = turn
    assert await a.rest("PATCH", PATH, {"name": "moved"}) == (200, {"ok": True})
    assert group.hubs["b"].registry.sessions[S1].metadata["name"] == "moved"


@pytest_twisted.ensureDeferred
async def test_what_no_hub_can_change_at_the_moment_is_answered_so(group, a):
    """Its home is dead, and the others do not know yet."""
    await session_at(group, "a")

    async def turn(*args):
        raise Moved(S1, "dead")

    a.store.write_metadata = turn
    status, found = await a.rest("PATCH", PATH, {"name": "moved"})
    assert (status, found["code"]) == (503, "session_moved")


@pytest_twisted.ensureDeferred
async def test_a_hub_that_the_others_may_take_for_dead_changes_nothing(group, a, b):
    """As it is when it goes on after a standstill: what was sent meanwhile comes first."""
    await session_at(group, "b")
    b.cluster.problem = "the hub cannot reach its database"
    status, found = await b.rest("PATCH", PATH, {"name": "x"})
    assert (status, found["code"]) == (503, "hub_not_ready")
    assert found["error"] == "The hub cannot reach its database"
    assert (await b.rest("GET", PATH))[0] == 200
    status, found = await b.rest("POST", "/api/auth", {"accessToken": TOKEN})
    assert (status, set(found) >= {"token"}) == (200, True)  # its owner asks what is wrong
    status, found = await a.rest("PATCH", PATH, {"name": "x"})
    assert (status, found["code"]) == (502, "hub_unreachable")
    assert "name" not in b.registry.sessions[S1].metadata


@pytest_twisted.ensureDeferred
async def test_a_machine_is_registered_at_its_home_whatever_hub_is_asked(group, a, b):
    for hub in group.hubs.values():
        await hub.machine("m1")
    group.homes["m1"] = "b"

    async def turn(*args):
        raise Moved("m1", "b")

    a.store.write_machine = turn
    await a.machine("m1", displayName="new")
    assert b.registry.machines["m1"].row.metadata["displayName"] == "new"


@pytest_twisted.ensureDeferred
async def test_nothing_is_started_twice_when_its_session_moves_meanwhile(group, a, monkeypatch):
    await session_at(group, "b")
    a.cluster.stale[S1] = None
    runs = []

    async def resume(*args, **more):
        runs.append(args)
        raise Moved(S1, "b")

    monkeypatch.setattr(Resuming, "resume", resume)
    status, _found = await a.rest("POST", f"{PATH}/reopen")
    assert len(runs) == 1
    assert status in (502, 503)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 200),
        ("GET", f"{PATH}/messages", 200),
        ("GET", f"{PATH}/export", 200),
        ("GET", f"{PATH}/git-status", 502),
        ("DELETE", PATH, 502),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_every_hub_has_is_read_here_when_the_home_is_away(
    group, a, b, method, path, status
):
    await session_at(group, "b")
    await b.stop()
    found, body = await a.rest(method, path)
    assert found == status
    if status == 502:
        assert (
            body["error"] == "The hub that serves this cannot be reached at the moment; try again"
        )


@pytest_twisted.ensureDeferred
async def test_a_hub_that_dies_while_it_answers_does_not_leave_a_part_that_looks_whole(group, a, b):
    text = "x" * (40 << 20)
    await session_at(group, "b", readFile=lambda params: {"success": True, "content": text})
    slow = await connect(a, SlowReader(head(a, f"{PATH}/file?path=x")))
    await until(lambda: slow.received)
    for channel in b.site.open_channels:
        channel.abort()
    slow.transport.resumeProducing()
    await slow.lost
    assert slow.received < len(text)


@pytest_twisted.ensureDeferred
async def test_a_page_tells_any_hub_about_its_stream(group, a, b):
    response = await b.begin("GET", "/api/events?all=true")
    frames = []
    reading = treq.collect(response, frames.append)
    await until(lambda: b"subscriptionId" in b"".join(frames))
    first = json.loads(b"".join(frames).split(b"\n")[0].removeprefix(b"data: "))
    name = first["data"]["subscriptionId"]
    body = {"subscriptionId": name, "visibility": "visible"}
    assert await a.rest("POST", "/api/visibility", body) == (200, {"ok": True})
    assert b.registry.events.listener(name).visible
    await b.session(S1)
    body = {"subscriptionId": name, "sessionId": S1}
    assert await a.rest("POST", "/api/live", body) == (200, {"ok": True})
    unknown = {"subscriptionId": "nobody", "visibility": "visible"}
    assert (await a.rest("POST", "/api/visibility", unknown))[0] == 404
    b.hub.streams.stop()
    await reading
