"""Our link and our server against npm's socket.io and python-socketio."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater

from hapi.net.client.link import HubLink, LinkLost
from hapi.net.common.rpc import RpcTable
from hapi.settings import HubAccess
from tests.support.memory_client import Desk
from tests.support.paths import SUPPORT
from tests.support.real_hub import RealHub, status_of

PEERS = os.environ["HAPI_PEERS"]


@define(eq=False)
class Partner(ProcessProtocol):
    """A program that says what happens, one JSON list a line."""

    facts: list = field(factory=list)
    errors: bytes = b""
    gone: Deferred = field(factory=Deferred)
    _rest: bytes = b""

    @classmethod
    def start(cls, reactor, *argv: str) -> Partner:
        partner = cls()
        reactor.spawnProcess(partner, argv[0], argv, env=dict(os.environ))
        return partner

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.facts += [json.loads(line) for line in lines if line.strip()]

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason) -> None:
        self.gone.callback(None)

    async def said(self, reactor, *start):
        """Wait for a fact that begins with `start`; it is taken."""
        for _ in range(1000):
            for fact in self.facts:
                if fact[: len(start)] == list(start):
                    self.facts.remove(fact)
                    return fact
            await deferLater(reactor, 0.01)
        raise AssertionError(f"{start} was not said; {self.facts} {self.errors.decode()}")

    async def end(self) -> None:
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
        await self.gone


@pytest_twisted.async_yield_fixture
async def npm_hub(reactor):
    partner = Partner.start(
        reactor, shutil.which("node"), str(SUPPORT / "peer_server.js"), PEERS, "300"
    )
    partner.port = (await partner.said(reactor, "port"))[1]
    yield partner
    await partner.end()


@pytest_twisted.async_yield_fixture
async def hub(reactor):
    made = RealHub(reactor)
    yield made
    await made.stop()


def link_to(reactor, port, rpc=None, token="good"):
    made = HubLink(
        reactor,
        HubAccess(f"http://127.0.0.1:{port}", token),
        {"clientType": "machine-scoped"},
        rpc or RpcTable("m1"),
    )
    made.startService()
    return made


@pytest.mark.peer("socket.io")
@pytest_twisted.ensureDeferred
async def test_our_link_speaks_with_npms_server(reactor, npm_hub):
    rpc = RpcTable("m1")
    rpc.add("double", lambda params: {"twice": params * 2})
    link = link_to(reactor, npm_hub.port, rpc)
    await status_of(link, "connected")
    _, auth, transport = await npm_hub.said(reactor, "connection")
    assert (auth, transport) == ({"token": "good", "clientType": "machine-scoped"}, "websocket")
    assert await npm_hub.said(reactor, "event", "rpc-register") == [
        "event",
        "rpc-register",
        {"method": "m1:double"},
    ]

    large = "é😀x" * 100_000
    assert await link.call("echo", large, [1, None]) == {"name": "echo", "args": [large, [1, None]]}
    assert json.loads(await link.call("call back", {"method": "m1:double", "params": "21"})) == {
        "twice": 42
    }
    assert json.loads(await link.call("call back", {"method": "m1:no", "params": "{}"})) == {
        "error": "Method not found"
    }
    answers = [link.call("echo", number) for number in range(100)]
    assert [(await answer)["args"] for answer in answers] == [[number] for number in range(100)]

    await deferLater(reactor, 1.0)  # the partner pings every 0.3 s: three pings answered
    assert link.connected
    assert link._joined._channel.deadline > reactor.seconds() + 19

    link.emit("last word")
    await link.leave()
    assert await npm_hub.said(reactor, "event", "last word")
    assert await npm_hub.said(reactor, "disconnect") == [
        "disconnect",
        "client namespace disconnect",
    ]


@pytest.mark.peer("socket.io")
@pytest_twisted.ensureDeferred
async def test_our_link_comes_back_to_npms_server_after_a_drop(reactor, npm_hub):
    link = link_to(reactor, npm_hub.port)
    await status_of(link, "connected")
    with pytest.raises(LinkLost):
        await link.call("drop")
    link.emit("kept while away")
    await status_of(link, "connected")
    await npm_hub.said(reactor, "event", "kept while away")
    await link.leave()


@pytest.mark.peer("socket.io")
@pytest_twisted.ensureDeferred
async def test_npms_refusal_and_npms_kick_are_refusals__N06(reactor, npm_hub):
    link = link_to(reactor, npm_hub.port, token="bad")
    assert "Invalid token" in (await status_of(link, "refused")).reason
    await link.stopService()
    link = link_to(reactor, npm_hub.port)
    await status_of(link, "connected")
    link.emit("kick")
    await status_of(link, "refused")
    await link.stopService()


@pytest.mark.peer("socket.io")
@pytest_twisted.ensureDeferred
async def test_npms_client_speaks_with_our_server(reactor, hub):
    partner = Partner.start(
        reactor, shutil.which("node"), str(SUPPORT / "peer_client.js"), PEERS, hub.url, "good"
    )
    try:
        await partner.said(reactor, "connect")
        assert (await partner.said(reactor, "echo"))[1] == "x" * 5000
        assert hub.desk.events[0] == ("plain", [{"n": 1}, "é😀"], False)
        (peer,) = hub.desk.peers
        assert await peer.call("ask", "why?", timeout=5) == [{"question": "why?"}]

        peer.disconnect()
        assert await partner.said(reactor, "disconnect") == ["disconnect", "io server disconnect"]
    finally:
        await partner.end()


@pytest.mark.peer("socket.io")
@pytest_twisted.ensureDeferred
async def test_npms_client_hears_our_refusal_and_leaves_in_order(reactor, hub):
    refused = Partner.start(
        reactor, shutil.which("node"), str(SUPPORT / "peer_client.js"), PEERS, hub.url, "bad"
    )
    leaving = Partner.start(
        reactor, shutil.which("node"), str(SUPPORT / "peer_client.js"), PEERS, hub.url, "good"
    )
    try:
        assert await refused.said(reactor, "connect_error") == ["connect_error", "Invalid token"]
        await leaving.said(reactor, "echo")
        hub.server.emit("all", "leave")
        await leaving.gone
        assert [reason for _, reason in hub.desk.gone] == ["client left"]
    finally:
        await refused.end()


@pytest.mark.peer("socket.io")
@pytest_twisted.ensureDeferred
async def test_npms_client_comes_back_when_our_server_does(reactor, hub):
    partner = Partner.start(
        reactor, shutil.which("node"), str(SUPPORT / "peer_client.js"), PEERS, hub.url, "good"
    )
    try:
        await partner.said(reactor, "echo")
        (connection,) = hub.server.connections
        connection._socket.abort()
        await partner.said(reactor, "disconnect")
        await partner.said(reactor, "connect")
    finally:
        await partner.end()


PYTHON_CLIENT = """
import asyncio, json, sys, socketio
def say(*facts): print(json.dumps(facts), flush=True)
async def main():
    client = socketio.AsyncClient(reconnection=False)
    @client.on("ask", namespace="/cli")
    async def ask(question): return {"question": question}
    await client.connect(
        sys.argv[1],
        auth={"token": sys.argv[2]},
        transports=["websocket"],
        namespaces=["/cli"],
    )
    say("connect")
    say("echo", await client.call("echo", ("x" * 5000, {"a": [1, None]}), namespace="/cli"))
    await client.emit("bye", namespace="/cli")
    await client.wait()
asyncio.run(main())
"""


@pytest_twisted.ensureDeferred
async def test_python_socketios_client_speaks_with_our_server(reactor, hub):
    partner = Partner.start(reactor, sys.executable, "-c", PYTHON_CLIENT, hub.url, "good")
    try:
        await partner.said(reactor, "connect")
        assert (await partner.said(reactor, "echo"))[1] == ["x" * 5000, {"a": [1, None]}]
        (peer,) = hub.desk.peers
        assert await peer.call("ask", "why?", timeout=5) == [{"question": "why?"}]
        assert isinstance(hub.desk, Desk)
    finally:
        await partner.end()
