"""Sockets of runners and sessions at three hubs of one database, with real sockets."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from hapi.hub.cluster import members, socket_relay
from hapi.hub.cluster.socket_relay import SocketRelay
from hapi.hub.domain.errors import TargetMissing
from hapi.hub.store.shared import Member
from hapi.net.client.connection import Connection
from hapi.net.client.endpoint import websocket_url
from hapi.net.common.websocket import ClientSocketFactory
from hapi.protocol.channel import event_text
from tests.support.hub_group import S1, TOKEN, hubs_with_clusters, until


@pytest.fixture
def group(shared):
    with hubs_with_clusters("a", "b", "c", shared=shared) as group:
        yield group


def home(shared, owner):
    found = shared.homes.get(owner)
    return None if found is None else found.hub


async def alive(hub, link, session_id=S1):
    link.emit("session-alive", {"sid": session_id, "time": hub.now(), "mode": "remote"}, keep=False)
    await until(lambda: hub.registry.sessions[session_id].active, "active")


@pytest_twisted.ensureDeferred
async def test_the_hub_that_a_session_connects_to_is_its_home_before_it_is_let_in(group, shared, a):
    await a.session()
    link = await a.link("session", S1)
    assert home(shared, S1) == "a"
    await alive(a, link)
    await until(lambda: group.hubs["b"].registry.sessions[S1].active, "active for the others")


@pytest_twisted.ensureDeferred
async def test_a_session_that_was_just_created_at_another_hub_connects_here(shared, a, b):
    shared.delay = None  # b hears of nothing before it asks
    await a.session()
    link = await b.link("session", S1)
    assert home(shared, S1) == "b"
    await alive(b, link)


@pytest_twisted.ensureDeferred
async def test_a_second_socket_of_an_owner_is_relayed_to_its_home(group, shared, a, b):
    """Two runners of a machine during a hand-off, at two hubs."""
    await a.machine("m1")
    await a.link("machine", "m1", who=lambda params: "first")
    second = await b.link("machine", "m1", who=lambda params: "second")
    assert home(shared, "m1") == "a"
    await until(lambda: len(a.registry.rooms.room("machine:m1")) == 2)
    assert not b.registry.rooms.room("machine:m1")
    # The runner that registered last is called, from any hub.
    for hub in group.hubs.values():
        assert await hub.registry.rpc.call("m1", "who") == "second"
    await second.stopService()
    await until(lambda: len(a.registry.rooms.room("machine:m1")) == 1)
    assert await b.registry.rpc.call("m1", "who") == "first"


@pytest_twisted.ensureDeferred
async def test_events_and_answers_pass_a_relay_both_ways(shared, a, b):
    await a.session()
    first = await a.link("session", S1)
    second = await b.link("session", S1)
    await alive(a, second)
    answer = await second.call(
        "update-metadata",
        {"sid": S1, "expectedVersion": 1, "metadata": {"path": "/x", "host": "é"}},
    )
    assert answer["result"] == "success"
    heard = []
    second.on_event("update", lambda update: heard.append(update) or {"got": len(heard)})
    await b.rest("PATCH", f"/api/sessions/{S1}", {"name": "x"})
    peers = {peer.principal.owner for peer in a.registry.rooms.room(f"session:{S1}")}
    assert peers == {S1}
    first.on_event("update", lambda update: "first")
    answers = [
        await peer.call("update", {"body": "x"}, timeout=10.0)
        for peer in a.registry.rooms.room(f"session:{S1}")
    ]
    assert ["first"] in answers
    assert [{"got": len(heard)}] in answers


@pytest_twisted.ensureDeferred
async def test_messages_over_a_relay_are_stored_once_and_confirmed(shared, a, b):
    await a.session()
    await a.link("session", S1)
    second = await b.link("session", S1)
    for number in range(50):
        second.emit(
            "message",
            {"sid": S1, "message": {"role": "agent", "n": number}, "localId": f"l{number}"},
        )
    await second.when_confirmed()
    status, found = await a.rest("GET", f"/cli/sessions/{S1}/messages?afterSeq=0")
    assert status == 200
    assert [row["content"]["n"] for row in found["messages"]] == list(range(50))


@pytest_twisted.ensureDeferred
async def test_a_large_message_passes_a_relay(shared, a, b):
    await a.machine("m1")
    await a.link("machine", "m1")
    await b.link("machine", "m1", read=lambda params: {"content": "x" * (20 << 20)})
    answer = await group_call(a, "read")
    assert len(answer["content"]) == 20 << 20


async def group_call(hub, name):
    await until(lambda: hub.registry.rpc.serves_here("m1", name))
    return await hub.registry.rpc.call("m1", name, None, 60.0)


@pytest_twisted.ensureDeferred
async def test_a_socket_is_not_relayed_to_a_home_that_has_no_sockets(shared, a, b):
    await a.session()
    link = await a.link("session", S1)
    await link.stopService()
    await until(lambda: not a.registry.rooms.room(f"session:{S1}"))
    link = await b.link("session", S1)
    assert home(shared, S1) == "b"
    await alive(b, link)


@pytest_twisted.ensureDeferred
async def test_a_socket_comes_here_when_its_home_is_dead(shared, a, b):
    await a.session()
    await a.link("session", S1)
    await a.die()
    link = await b.link("session", S1)
    assert home(shared, S1) == "b"
    await alive(b, link)


@pytest_twisted.ensureDeferred
async def test_a_home_that_is_claimed_by_another_hub_closes_the_sockets(shared, a, b):
    await a.session()
    link = await a.link("session", S1)
    statuses = []
    link.on_status(lambda status: statuses.append(status.phase))
    assert await b.cluster.claim(S1)
    await until(lambda: statuses.count("connected"), "connected again")
    assert home(shared, S1) == "a"  # b has no sockets, so a may have it again
    assert "refused" not in statuses


@pytest_twisted.ensureDeferred
async def test_a_relayed_client_connects_again_when_the_home_dies_and_keeps_its_events(
    shared, a, b
):
    await a.session()
    await a.link("session", S1)
    second = await b.link("session", S1)
    statuses = []
    second.on_status(lambda status: statuses.append(status.phase))
    await a.die()
    second.emit("message", {"sid": S1, "message": {"role": "agent", "n": 1}, "localId": "l1"})
    await second.when_confirmed()
    assert home(shared, S1) == "b"
    assert "refused" not in statuses


@pytest_twisted.ensureDeferred
async def test_what_the_home_refuses_is_refused_here(shared, a, b):
    await a.session()
    await a.link("session", S1)
    relay_to(b)
    refused = await refusal(b, {"token": "wrong" * 10, "sessionId": S1})
    assert refused == "Invalid token"
    assert home(shared, S1) == "a"


def relay_to(hub):
    return hub.server.namespaces["/cli"].relays


class Raw:
    """A client that shows what it gets: a ConnectionListener."""

    def __init__(self, hub, auth):
        self.hub, self.auth = hub, auth
        self.joined, self.refused, self.ended = False, None, None
        self.connection = None

    async def start(self):
        factory = ClientSocketFactory(reactor, websocket_url(self.hub.url), {}, self.begin)
        port = self.hub.port.getHost().port
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)
        return self

    def begin(self, socket):
        self.socket = socket
        self.connection = Connection.begin(reactor, socket, self, "/cli", self.auth)
        return self.connection

    def connection_opened(self, connection, date): ...
    def connection_joined(self, connection):
        self.joined = True

    def connection_refused(self, connection, message):
        self.refused = message

    def connection_event(self, connection, event): ...
    def connection_acked(self, connection, acked): ...
    def connection_writable_changed(self, connection, writable): ...
    def connection_ended(self, connection, reason, cause):
        self.ended = reason or "lost"


async def refusal(hub, auth):
    raw = await Raw(hub, auth).start()
    await until(lambda: raw.ended)
    return raw.refused


@pytest_twisted.ensureDeferred
async def test_a_stranger_moves_no_session(shared, a, b):
    await a.session()
    await a.link("session", S1)
    assert await refusal(b, {"token": "x" * 40, "sessionId": S1}) == "Invalid token"
    raw = await Raw(b, {"token": f"{TOKEN}:other", "sessionId": S1}).start()
    await until(lambda: raw.joined)  # as at a hub alone: it is let in, and may do nothing
    assert home(shared, S1) == "a"
    assert not b.registry.rooms.room(f"session:{S1}")
    raw.connection.leave()
    await until(lambda: raw.ended)


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_before_it_is_let_in_leaves_nothing(monkeypatch, shared, a, b):
    await a.session()
    asked = []

    def slow(owner):
        asked.append(Deferred())
        return asked[-1]

    async def know(owner):
        return await slow(owner)

    monkeypatch.setattr(type(b.cluster), "know", lambda self, owner: know(owner))
    raw = await Raw(b, {"token": TOKEN, "sessionId": S1}).start()
    await until(lambda: asked)
    raw.socket.abort()
    await until(lambda: raw.ended)
    await until(lambda: not b.server.connections)
    namespace = b.server.namespaces["/cli"]
    assert namespace._pending == 0
    asked[0].callback(True)
    assert b.hub.cli.places.taken == 0
    assert home(shared, S1) is None


@pytest_twisted.ensureDeferred
async def test_a_client_may_send_nothing_before_it_is_let_in(monkeypatch, shared, a, b):
    await a.session()
    asked = Deferred()

    async def know(owner):
        return await asked

    monkeypatch.setattr(type(b.cluster), "know", lambda self, owner: know(owner))
    raw = await Raw(b, {"token": TOKEN, "sessionId": S1}).start()
    await until(lambda: b.server.namespaces["/cli"]._pending)
    raw.connection.send(event_text("/cli", "ping", ()))
    await until(lambda: raw.ended)
    asked.callback(True)
    assert b.hub.cli.places.taken == 0


@pytest_twisted.ensureDeferred
async def test_the_home_sees_the_address_of_a_relayed_client(monkeypatch, shared, a, b):
    await a.session()
    await a.link("session", S1)
    monkeypatch.setattr(b.server, "client_address", lambda request: "203.0.113.5")
    await b.link("session", S1)
    addresses = {peer.address for peer in a.registry.rooms.room(f"session:{S1}")}
    assert addresses == {"127.0.0.1", "203.0.113.5"}


@pytest_twisted.ensureDeferred
async def test_a_hub_that_accepts_and_does_not_answer_fails_a_relay(monkeypatch, shared, a, b):
    monkeypatch.setattr(socket_relay, "OPEN_TIMEOUT", 0.2)
    port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    silent = Member("d", "d", f"http://127.0.0.1:{port.getHost().port}", "1", 0, 0, True)
    await a.session()
    namespace = b.server.namespaces["/cli"]
    namespace._others = Silent(namespace._others)

    async def look_up(owner):
        return silent

    monkeypatch.setattr(type(b.cluster), "look_up", lambda self, owner: look_up(owner))
    link = await b.link("session", S1)
    await alive(b, link)
    assert b.hub.cli.places.taken == 1
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_call_to_a_hub_that_has_stood_still_is_not_executed(monkeypatch, shared, a, b):
    called = []
    await a.machine("m1")
    await a.link("machine", "m1", spawn=called.append)
    await until(lambda: b.cluster.elsewhere("m1"))
    monkeypatch.setattr(members, "SILENT_AFTER", -1.0)  # no beat is as young as that
    with pytest.raises(TargetMissing):
        await b.registry.rpc.call("m1", "spawn")
    assert not called
    monkeypatch.undo()
    assert await b.registry.rpc.call("m1", "spawn") is None
    assert len(called) == 1


@pytest_twisted.ensureDeferred
async def test_a_socket_leaves_a_home_that_is_about_to_stop(shared, a, b):
    await a.machine("m1")
    await a.link("machine", "m1")
    a.cluster.drain()
    await until(lambda: shared.members["a"].is_draining)
    await b.cluster.membership.beat()
    await b.link("machine", "m1")
    assert home(shared, "m1") == "b"
    await until(lambda: len(b.registry.rooms.room("machine:m1")) == 1)


@pytest_twisted.ensureDeferred
async def test_a_relayed_socket_is_not_relayed_again(monkeypatch, group, shared, a, b, c):
    """c takes a for the home; a has just lost it to b, which has a socket of the session."""
    await a.session()
    await b.link("session", S1)
    member = next(each for each in c.cluster.members if each.id == "a")

    async def stale(self, owner):
        return member if self is c.cluster else await look_up(self, owner)

    look_up = type(c.cluster).look_up
    monkeypatch.setattr(type(c.cluster), "look_up", stale)
    monkeypatch.setattr(c.server.namespaces["/cli"], "_others", Silent(c.registry.peers))
    raw = await Raw(c, {"token": TOKEN, "sessionId": S1}).start()
    await until(lambda: raw.ended or raw.joined)
    assert not relay_to(a)
    raw.socket.abort()
    await until(lambda: raw.ended)
    assert raw.refused is None


class Silent:
    def __init__(self, others):
        self.client = others.client

    def sockets(self, member, owner):
        return succeed(1)


@pytest_twisted.ensureDeferred
async def test_a_hub_that_reads_too_slowly_ends_a_relay_and_the_client_comes_again(
    monkeypatch, shared, a, b
):
    await a.session()
    await a.link("session", S1)
    second = await b.link("session", S1)
    statuses = []
    second.on_status(lambda status: statuses.append(status.phase))
    (relay,) = relay_to(b).values()
    assert isinstance(relay, SocketRelay)
    monkeypatch.setattr(socket_relay, "MAX_UNSENT", 1 << 20)
    relay._connection.writable = False
    for number in range(40):
        second.emit("message", {"sid": S1, "message": "x" * 500_000, "localId": f"l{number}"})
    await until(lambda: "connected" in statuses)
    await second.when_confirmed()
    found = await a.store.after_seq(S1, 0, 100, a.now())
    assert [row.local_id for row in found] == [f"l{number}" for number in range(40)]
