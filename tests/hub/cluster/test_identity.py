"""Which hub has an address, with real sockets."""

from __future__ import annotations

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.web.client import Agent

from hapi.hub.cluster import identity
from hapi.hub.cluster.identity import IdentityClient, NoAnswer, OtherProgram
from hapi.hub.cluster.signatures import ANY_HUB, IDENTITY, IDENTITY_HEADER, Signer
from hapi.hub.store.sqlite import memory_store
from hapi.net.server.tls import ServerCertificate
from tests.support.hub_group import KEY, HubGroup, until
from tests.support.programs import free_port
from tests.support.shared_memory import SharedMemory
from tests.support.tls_authority import Authority


@pytest.fixture
def group():
    group = HubGroup()
    yield group
    pytest_twisted.blockon(Deferred.fromCoroutine(group.stop()))


@pytest.fixture
def hubs(group):
    return [group.add(name, memory_store(reactor)) for name in "ab"]


def client(hub, key=KEY):
    return IdentityClient(reactor, Signer(key, hub.name, hub.now))


@pytest_twisted.ensureDeferred
async def test_each_hub_of_the_database_says_who_it_is(hubs):
    a, b = hubs
    assert await client(a).ask(a.url) == "a"
    assert await client(a).ask(b.url) == "b"


@pytest_twisted.ensureDeferred
async def test_each_question_has_a_connection_of_its_own(hubs):
    a, b = hubs
    assert await client(a).ask(b.url) == "b"
    await until(lambda: not b.site.open_channels)  # it is not kept


@pytest_twisted.ensureDeferred
async def test_a_hub_of_another_database_is_told_apart(hubs):
    a, b = hubs
    with pytest.raises(OtherProgram, match="another database answers there"):
        await client(a, b"other" * 10).ask(b.url)


@pytest_twisted.ensureDeferred
async def test_where_nothing_listens_that_is_said(hubs):
    with pytest.raises(NoAnswer, match=r"nothing listens at 127\.0\.0\.1:"):
        await client(hubs[0]).ask(f"http://127.0.0.1:{free_port()}")


@pytest_twisted.ensureDeferred
async def test_a_name_that_does_not_resolve_is_said(hubs):
    with pytest.raises(NoAnswer, match=r"the name no-such-hub\.invalid cannot be resolved"):
        await client(hubs[0]).ask("http://no-such-hub.invalid:3006")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", OtherProgram, "HTTP 404"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"identity": 1}', OtherProgram, "HTTP 200"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, OtherProgram, "HTTP 200"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NoAnswer, "."),
        (b"", NoAnswer, "no answer within"),
    ],
)
async def test_another_program_is_told_apart(hubs, monkeypatch, reply, error, words):
    monkeypatch.setattr(identity, "TIMEOUT", 5.0 if reply else 0.2)

    class Program(Protocol):
        def dataReceived(self, data):
            if reply:
                self.transport.write(reply)
                self.transport.loseConnection()

    port = reactor.listenTCP(0, Factory.forProtocol(Program), interface="127.0.0.1")
    try:
        with pytest.raises(error, match=words):
            await client(hubs[0]).ask(f"http://127.0.0.1:{port.getHost().port}")
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_https_where_http_is_spoken_is_no_answer_by_tls(hubs, monkeypatch):
    monkeypatch.setattr(identity, "TIMEOUT", 0.5)
    with pytest.raises(NoAnswer, match="TLS"):
        await client(hubs[0]).ask(hubs[1].url.replace("http:", "https:"))


@pytest_twisted.ensureDeferred
async def test_a_question_is_answered_once_and_only_to_who_has_the_key(hubs):
    a, b = hubs
    target = b"/hub/identity/x"
    signer = Signer(KEY, "a", a.now)
    signature = signer.sign(IDENTITY, ANY_HUB, b"GET", target, await identity.digest_of(b""))

    async def ask(path="/hub/identity/x"):
        headers = {IDENTITY_HEADER: signature}
        response = await treq.get(b.url + path, headers=headers, agent=Agent(reactor))
        await treq.content(response)
        return response.code

    assert await ask("/hub/sockets/m1") == 403
    assert [await ask(), await ask()] == [200, 403]


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_not_trusted_is_said(group, tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    certificate = ServerCertificate(*Authority(tmp_path).issue("localhost"))
    hub = await group.add_real(SharedMemory(reactor), "a", certificate)
    asking = IdentityClient(reactor, Signer(hub.cluster.key, "a", hub.now))
    with pytest.raises(NoAnswer, match="authority that is not trusted here"):
        await asking.ask(hub.url)
    with pytest.raises(OtherProgram, match="HTTP 421"):
        await asking.ask(hub.url.replace("https", "http"))


@pytest_twisted.ensureDeferred
async def test_hubs_with_a_wrong_url_are_noticed_by_themselves_and_by_the_others(group):
    shared = SharedMemory(reactor)
    a = await group.add_real(shared, "a")
    b = await group.add_real(shared, "b", url=a.url)
    checks = b.connections.reachability
    await until(lambda: checks.problems_of("b"), "the problem of b")
    (sentence,) = checks.problems_of("b")
    assert sentence == (
        f"This hub cannot be reached at its advertised URL {a.url}: hub a answers there; give each "
        "hub a URL of its own with --advertise, not that of a balancer"
    )
    statistics = a.registry.peers.statistics
    await until(lambda: statistics.is_reachable is not None, "the figure of a")
    assert (statistics.is_reachable, a.connections.reachability.problems_of("a")) == (True, [])
    await until(lambda: b.registry.peers.statistics.reached == {"a": True}, "what b has reached")
