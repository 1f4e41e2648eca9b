"""Calls of methods whose socket is at another hub, and who may ask what below /hub/."""

import json

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.web.client import Agent

from hapi.hub.cluster.signatures import PEER, Signer
from hapi.hub.domain.errors import CallFailed, HomeUnreachable, TargetMissing
from hapi.hub.store.shared import Member
from tests.support.hub_group import KEY, S1, hubs_with_stand_ins, until


@pytest.fixture
def group():
    with hubs_with_stand_ins("a", "b", "c") as group:
        yield group


async def served(group, home, **methods):
    """A machine whose runner is connected to `home`, known to all hubs."""
    for hub in group.hubs.values():
        await hub.machine("m1")
    group.homes["m1"] = home
    link = await group.hubs[home].link("machine", "m1", **methods)
    rpc = group.hubs[home].registry.rpc
    await until(lambda: all(rpc.serves_here("m1", name) for name in methods))
    return link


async def call(hub, name="echo", params=None, timeout=10.0, owner="m1"):
    return await hub.registry.rpc.call(owner, name, params, timeout)


# --- calls ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_method_is_called_at_the_hub_that_has_its_socket(group, a):
    await served(group, "b", echo=lambda params: {"got": params})
    assert await call(a, params={"x": [1, None, "é\U0001f600"]}) == {
        "got": {"x": [1, None, "é\U0001f600"]}
    }


@pytest_twisted.ensureDeferred
async def test_an_answer_of_many_megabytes_comes_whole(group, a):
    await served(group, "b", echo=lambda params: {"content": "x" * (30 << 20)})
    answer = await call(a, timeout=60.0)
    assert len(answer["content"]) == 30 << 20


@pytest_twisted.ensureDeferred
async def test_an_error_as_the_answer_stays_an_answer(group, a):
    def fails(params):
        return {"error": "no such file"}

    await served(group, "b", echo=fails)
    assert await call(a) == {"error": "no such file"}


@pytest_twisted.ensureDeferred
async def test_a_method_that_no_socket_serves_is_missing_at_both_hubs(group, a):
    await served(group, "b")
    with pytest.raises(TargetMissing, match="RPC handler not registered: m1:echo"):
        await call(a)


@pytest_twisted.ensureDeferred
async def test_a_method_that_does_not_answer_in_time_times_out(group, a):
    await served(group, "b", echo=lambda params: group.never())
    with pytest.raises(CallFailed, match="timed out") as raised:
        await call(a, timeout=0.2)
    assert raised.value.timed_out
    assert not raised.value.gone


@pytest_twisted.ensureDeferred
async def test_a_socket_that_closes_during_the_call_is_gone(group, a):
    called = []

    def slow(params):
        called.append(params)
        return group.never()

    link = await served(group, "b", echo=slow)
    pending = Deferred.fromCoroutine(call(a))
    await until(lambda: called)
    await link.stopService()
    with pytest.raises(CallFailed) as raised:
        await pending
    assert raised.value.gone


@pytest_twisted.ensureDeferred
async def test_a_call_ends_at_once_when_the_hub_of_the_socket_dies(group, a, b):
    called = []

    def slow(params):
        called.append(params)
        return group.never()

    await served(group, "b", echo=slow)
    begun = reactor.seconds()
    pending = Deferred.fromCoroutine(call(a, timeout=600.0))
    await until(lambda: called)
    for channel in b.site.open_channels:
        channel.abort()
    with pytest.raises(CallFailed) as raised:
        await pending
    assert raised.value.gone
    assert len(called) == 1
    assert reactor.seconds() - begun < 30


@pytest_twisted.ensureDeferred
async def test_a_hub_that_is_not_there_has_executed_nothing(group, a, b):
    await served(group, "b", echo=lambda params: 1)
    await b.stop()
    with pytest.raises(HomeUnreachable, match="cannot be reached"):
        await call(a)


@pytest_twisted.ensureDeferred
async def test_a_call_ends_when_the_others_know_that_its_hub_is_dead(group, a):
    """A stopped process accepts connections, and never answers."""
    await served(group, "b", echo=lambda params: group.never())
    pending = Deferred.fromCoroutine(call(a, timeout=600.0))
    await until(lambda: a.connections._client.waits_for)
    group.declare_down("b")
    with pytest.raises(CallFailed, match="The hub b is gone") as raised:
        await pending
    assert raised.value.gone


@pytest_twisted.ensureDeferred
async def test_a_call_goes_on_to_the_new_home_once_and_runs_once(group, a):
    runs = []
    await served(group, "c", echo=lambda params: runs.append(1) or "answer")
    a.cluster.stale["m1"] = "b"  # what it was; b knows that it has moved to c
    assert await call(a) == "answer"
    assert runs == [1]
    assert a.cluster.looked_up == ["m1"]


@pytest_twisted.ensureDeferred
async def test_a_call_comes_home_when_the_other_hub_has_lost_its_owner(group, a):
    await served(group, "a", echo=lambda params: "here")
    a.cluster.stale["m1"] = "b"
    assert await call(a) == "here"


@pytest_twisted.ensureDeferred
async def test_hubs_that_take_each_other_for_the_home_end_the_call(group, a, b):
    await served(group, "c")
    a.cluster.stale["m1"], b.cluster.stale["m1"] = "b", "a"
    group.homes["m1"] = "b"
    with pytest.raises(TargetMissing):
        await call(a)


@pytest_twisted.ensureDeferred
async def test_a_session_that_is_about_to_start_is_waited_for_at_its_home(group, a, b):
    for hub in group.hubs.values():
        await hub.session(S1, hostPid=1)
    group.homes[S1] = "b"
    session = a.registry.sessions[S1]
    pending = Deferred.fromCoroutine(a.registry.call_session(session, "abort", {}, 10.0))
    await b.link("session", S1, abort=lambda params: "aborted", killSession=lambda params: None)
    assert await pending == "aborted"


@pytest_twisted.ensureDeferred
async def test_a_session_that_starts_at_another_hub_while_it_is_waited_for_is_called_there(
    group, a, b
):
    for hub in group.hubs.values():
        await hub.session(S1, hostPid=1)
    session = a.registry.sessions[S1]
    pending = Deferred.fromCoroutine(a.registry.call_session(session, "abort", {}, 10.0))
    await b.link("session", S1, abort=lambda params: "aborted", killSession=lambda params: None)
    await until(lambda: b.registry.rpc.serves_here(S1, "killSession"))
    group.homes[S1] = "b"
    assert await pending == "aborted"


@pytest_twisted.ensureDeferred
async def test_a_hub_tells_how_many_sockets_an_owner_has(group, a):
    await served(group, "b")
    others = a.registry.peers
    assert await others.sockets(group.known["b"], "m1") == 1
    assert await others.sockets(group.known["b"], "m2/é") == 0
    assert await others.sockets(group.known["c"], "m1") == 0  # not its home
    await group.hubs["b"].stop()
    assert await others.sockets(group.known["b"], "m1") == 0


@pytest_twisted.ensureDeferred
async def test_a_hub_that_accepts_and_does_not_answer_has_no_sockets(group, a):
    factory = Factory.forProtocol(Protocol)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    silent = Member("d", "d", f"http://127.0.0.1:{port.getHost().port}", "1", 0, 0, True)
    assert await a.registry.peers.sockets(silent, "m1") == 0
    await port.stopListening()


# --- who may ask ------------------------------------------------------------------------------


PATHS = ["/hub/sockets/m1", "/hub/rpc", "/hub/live/s1", "/hub/work/merge", "/hub/", "/hub/nothing"]
FORBIDDEN = b'{"error":"Forbidden"'


def signature(method, path, body=b"", key=KEY, to="b", at=None, sender="a"):
    import hashlib

    signer = Signer(key, sender, lambda: int(reactor.seconds() * 1000) if at is None else at)
    digest = hashlib.sha256(body).hexdigest()
    return {"X-Hapi-Peer": signer.sign(PEER, to, method.encode(), path.encode(), digest)}


async def request(hub, method, path, body=None, headers=None):
    response = await treq.request(
        method, hub.url + path, data=body, headers=headers or {}, agent=Agent(reactor)
    )
    return response.code, await treq.content(response)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest_twisted.ensureDeferred
async def test_without_the_key_every_path_is_answered_alike(group, b, method, path):
    for headers in (
        {},
        {"Authorization": f"Bearer {b.web_token}"},
        {"X-Hapi-Peer": "nonsense"},
        signature(method, path, key=b"wrong"),
        signature(method, path, to="c"),
        signature(method, path, at=0),
        signature("PUT", path),
        signature(method, path, body=b"another body"),
    ):
        status, content = await request(b, method, path, headers=headers)
        assert status == 403
        assert content.startswith(FORBIDDEN)


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_sent_again_by_somebody_else_is_refused(group, b):
    headers = signature("GET", "/hub/sockets/m1")
    assert (await request(b, "GET", "/hub/sockets/m1", headers=headers))[0] == 200
    assert (await request(b, "GET", "/hub/sockets/m1", headers=headers))[0] == 403


@pytest_twisted.ensureDeferred
async def test_a_body_that_was_changed_on_the_way_is_refused(group, b):
    body = json.dumps({"owner": "m1", "method": "x", "timeout": 1}).encode()
    headers = signature("POST", "/hub/rpc", body)
    status, content = await request(b, "POST", "/hub/rpc", body.replace(b"m1", b"m2"), headers)
    assert status == 403
    assert content.startswith(FORBIDDEN)


@pytest_twisted.ensureDeferred
async def test_a_body_of_a_hub_that_is_not_the_right_json_is_refused_with_the_reason(group, b):
    body = b'{"owner": 1}'
    status, content = await request(
        b, "POST", "/hub/rpc", body, signature("POST", "/hub/rpc", body)
    )
    assert status == 400
    assert b"owner" in content


@pytest_twisted.ensureDeferred
async def test_a_stranger_may_send_no_large_body(group, b):
    status, _content = await request(b, "POST", "/hub/rpc", b"x" * (65 << 10))
    assert status == 413
    assert b.site.bodies_size == 0


class Slow(Protocol):
    """Sends a head that announces a body, and nothing more."""

    def connectionMade(self):
        self.received, self.lost = b"", Deferred()
        self.transport.write(
            b"POST /hub/rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{"
        )

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        self.lost.callback(None)


@pytest_twisted.ensureDeferred
async def test_a_stranger_that_sends_slowly_is_cut(group, b):
    from twisted.internet.endpoints import TCP4ClientEndpoint

    b.site.body_timeout = 0.3
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", b.port.getHost().port)
    slow = await endpoint.connect(Factory.forProtocol(Slow))
    await slow.lost
    assert slow.received.startswith(b"HTTP/1.1 408")


@pytest_twisted.ensureDeferred
async def test_a_hub_that_is_alone_has_none_of_these_routes(group, b):
    b.root.peers = None
    status, content = await request(b, "POST", "/hub/rpc", headers=signature("POST", "/hub/rpc"))
    assert status in (404, 405)
    assert FORBIDDEN not in content
