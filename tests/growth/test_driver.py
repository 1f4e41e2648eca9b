"""The driver itself: it draws the same faults again, its proxy cuts, and its checks find what is
wrong.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from tests.growth.balancers import DOCUMENTED_HUBS, haproxy_config, nginx_config
from tests.growth.checks import Report
from tests.growth.cutting_proxy import COMMITTED, CuttingProxy
from tests.growth.pages import Page
from tests.growth.plan import CUT_HUBS, FAULTS, PROMOTE, Plan, draw
from tests.growth.sessions import numbered_text

EVERYTHING = Plan(1, hubs=3, postgres=True, active=True, is_replicated=True)


# --- the plan


def test_a_seed_draws_the_same_faults_again():
    assert list(islice(draw(EVERYTHING), 30)) == list(islice(draw(EVERYTHING), 30))


def test_each_fault_comes_once_before_any_comes_again_and_a_promotion_only_once():
    drawn = [fault.name for fault in islice(draw(EVERYTHING), 60)]
    assert sorted(drawn[: len(FAULTS)]) == sorted(FAULTS)
    assert drawn.count(PROMOTE) == 1


def test_a_hub_on_its_own_cannot_be_cut_from_others():
    assert CUT_HUBS not in Plan(1).possible()
    assert CUT_HUBS in EVERYTHING.possible()


@pytest.mark.parametrize("configuration", [haproxy_config, nginx_config])
def test_the_documented_balancer_is_used_with_other_addresses(configuration):
    text = configuration(1234, [1, 2])
    assert "127.0.0.1:1234" in text
    servers = re.findall(r"^    server .*?(127.0.0.1:\d+)", text, re.MULTILINE)
    assert set(servers) == {"127.0.0.1:1", "127.0.0.1:2"}
    assert not any(documented in text for documented in DOCUMENTED_HUBS)


# --- the proxy


class Talker(Protocol):
    def __init__(self, talkers):
        self.talkers, self.text, self.ended = talkers, b"", Deferred()
        self.waiting: list[tuple[bytes, Deferred]] = []

    def connectionMade(self):
        self.talkers.append(self)

    def dataReceived(self, data):
        self.text += data
        for wanted, waiting in self.waiting[:]:
            if wanted in self.text:
                self.waiting.remove((wanted, waiting))
                waiting.callback(None)

    def connectionLost(self, reason=None):
        self.ended.callback(None)

    def heard(self, text):
        waiting = Deferred()
        self.waiting.append((text, waiting))
        self.dataReceived(b"")
        return waiting


class Talk:
    """A server behind a cutting proxy, and clients of it."""

    def __init__(self, reactor):
        self.reactor, self.served, self.clients = reactor, [], []
        factory = Factory()
        factory.buildProtocol = lambda address: Talker(self.served)
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.proxy = CuttingProxy(reactor, self.port.getHost().port).start()

    async def client(self):
        factory = Factory()
        factory.buildProtocol = lambda address: Talker(self.clients)
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.proxy.port)
        before = len(self.served)
        await endpoint.connect(factory)
        client = self.clients[-1]
        client.transport.write(b"hello")
        while len(self.served) == before:
            await pause(self.reactor)
        server = self.served[-1]
        await server.heard(b"hello")
        return client, server

    async def end(self):
        await self.proxy.stop()
        await self.port.stopListening()
        for each in self.served + self.clients:
            if each.ended is not None:
                await each.ended


def pause(reactor):
    waiting: Deferred[None] = Deferred()
    reactor.callLater(0.01, waiting.callback, None)
    return waiting


@pytest.fixture
def talk(reactor):
    made = Talk(reactor)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.end()))


@pytest_twisted.ensureDeferred
async def test_a_cut_ends_both_ends_and_refuses_until_it_is_healed(talk):
    client, server = await talk.client()
    talk.proxy.cut()
    await client.ended
    await server.ended
    client.ended = server.ended = None
    talk.proxy.heal()
    client, server = await talk.client()
    server.transport.write(b"and again")
    await client.heard(b"and again")


@pytest_twisted.ensureDeferred
async def test_nothing_comes_through_a_silent_proxy_until_it_is_healed(talk, reactor):
    client, server = await talk.client()
    talk.proxy.silence()
    client.transport.write(b" in vain")
    for _ in range(10):
        await pause(reactor)
    assert server.text == b"hello"
    talk.proxy.heal()
    await server.heard(b"hello in vain")


@pytest.mark.parametrize("which", ["question", "answer"])
@pytest_twisted.ensureDeferred
async def test_the_connection_of_a_commit_is_lost_before_or_after_the_server_has_it(talk, which):
    client, server = await talk.client()
    server.transport.write(b"C " + COMMITTED)
    await client.heard(COMMITTED)
    talk.proxy.lose_commit(which)
    client.transport.write(b"again")
    if which == "answer":
        await server.heard(b"again")
        server.transport.write(b"C again " + COMMITTED)
    await client.ended
    await server.ended
    assert (b"again" in server.text) == (which == "answer")
    assert b"again" not in client.text
    assert talk.proxy.lost_commits == 1
    client.ended = server.ended = None


# --- the checks


def frame(number, identifier=None, session=0, seq=None):
    message = {
        "id": identifier or f"id {number}",
        "seq": seq or number,
        "content": {
            "role": "agent",
            "content": {"data": {"message": numbered_text(session, number)}},
        },
    }
    body = {"type": "message-received", "sessionId": f"s{session}", "message": message}
    return f"data: {json.dumps(body)}\nid: e:{number}:t".encode()


def report_of(page, written):
    session = SimpleNamespace(id="s0", number=0, written=written, is_running=True, title="")
    people = SimpleNamespace(posted={})
    report = Report(SimpleNamespace(sessions=[session], pages=[page], people=people))
    report._readers()
    return report.checks[0]


@pytest.fixture
def page():
    return Page(Clock(), None, 0)


def test_a_page_that_got_everything_once_and_in_order_is_fine(page):
    for number in (1, 2, 3):
        page.frame(frame(number))
    assert report_of(page, 3).is_true


@pytest.mark.parametrize(
    ("numbers", "written", "told"),
    [
        ((1, 3), 3, "1 lost, 0 doubled, 0 out of order"),
        ((1, 2, 2), 2, "0 lost, 1 doubled, 0 out of order"),
        ((2, 1), 2, "0 lost, 0 doubled, 1 out of order"),
    ],
)
def test_a_page_that_got_something_wrong_is_not(page, numbers, written, told):
    for number in numbers:
        page.frame(frame(number))
    check = report_of(page, written)
    assert not check.is_true
    assert told in check.numbers


def test_a_message_that_was_stored_twice_is_found(page):
    page.frame(frame(1))
    page.frame(frame(1, "another row", seq=2))
    assert "1 doubled" in report_of(page, 1).numbers


def test_a_page_that_shows_something_else_than_the_hub_is_found(page):
    page.sessions = {"s0": {"id": "s0", "active": True}}
    assert page.differences({"s0": {"id": "s0", "active": False}}) == [
        "session s0: active True, not False"
    ]
    assert page.differences({}) == ["session s0: not there any more"]
