"""npm's socket.io client at one of several hubs: it notices nothing."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol

from tests.support.hub_group import TOKEN, hubs_with_clusters, until
from tests.support.paths import SUPPORT

PEERS = os.environ["HAPI_PEERS"]


@define(eq=False)
class Client(ProcessProtocol):
    """What the client says, one JSON list a line."""

    facts: list = field(factory=list)
    errors: bytes = b""
    gone: Deferred = field(factory=Deferred)
    _rest: bytes = b""

    @classmethod
    def start(cls, hub, transports):
        client = cls()
        script = str(SUPPORT / "machine_client.js")
        argv = [shutil.which("node"), script, PEERS, hub.url, TOKEN, "m1", json.dumps(transports)]
        reactor.spawnProcess(client, argv[0], argv, env=dict(os.environ))
        return client

    def outReceived(self, data):
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.facts += [json.loads(line) for line in lines if line.strip()]

    def errReceived(self, data):
        self.errors += data

    def processEnded(self, reason):
        self.gone.callback(None)

    def said(self, kind):
        return [fact for fact in self.facts if fact[0] == kind]

    async def end(self):
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
        await self.gone


@pytest.fixture
def group():
    with hubs_with_clusters("a", "b") as group:
        yield group


@pytest.mark.peer("socket.io")
@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"], ["polling"]])
@pytest_twisted.ensureDeferred
async def test_npms_client_is_relayed_and_comes_again_when_its_home_dies(group, transports):
    a, b = group.hubs["a"], group.hubs["b"]
    await a.machine("m1")
    await a.link("machine", "m1")
    client = Client.start(b, transports)
    try:
        await until(lambda: client.said("connect"), client.errors)
        assert client.said("connect")[0][1] == {"result": "error"}
        await until(lambda: a.registry.rpc.serves_here("m1", "double"))
        for hub in (a, b):
            answer = await hub.registry.rpc.call("m1", "double", 21)
            assert answer == {"twice": 42, "text": "é😀" * 2000}
        await a.die()
        for link in a.links:
            await link.stopService()
        await until(lambda: len(client.said("connect")) == 2, client.errors)
        await until(lambda: b.registry.rpc.serves_here("m1", "double"))
        assert (await b.registry.rpc.call("m1", "double", 4))["twice"] == 8
        assert not client.said("connect_error")
        client.transport.write(b"leave\n")
        await client.gone
        await until(lambda: not b.registry.rooms.room("machine:m1"))
    finally:
        if not client.gone.called:
            await client.end()
