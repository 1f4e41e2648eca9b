"""Connections to the control API in memory, and what comes back on them."""

import os

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport

from hapi.protocol.control import ListedSession
from hapi.runner.control.announcements import Accepted, Rejected
from hapi.runner.control.api import control_resource
from hapi.runner.control.peer_credentials import (
    Caller,
    PeerLookup,
)
from hapi.runner.control.site import ControlSite, Guarded

US, PORT, TOKEN = 1000, 4321, "token-of-the-state-file"


class Bytes(StringTransport):
    def getHost(self):
        return type("Address", (), {"host": "127.0.0.1", "port": PORT})()

    getPeer = getHost

    def loseConnection(self):
        self.disconnecting = True

    abortConnection = loseConnection


class Answers:
    """A runner that gives the recorded answers."""

    def __init__(self):
        self.calls = []
        self.spawned = Deferred()
        self.stopped = "stopped"

    def status(self):
        return {"pid": 1}

    def list(self):
        return [ListedSession("runner", "s1", 5)]

    async def announce(self, message, peer):
        self.calls.append(("announce", message.session_id))
        message.host_pid  # noqa: B018
        return Rejected(403, "no") if message.session_id == "forged" else Accepted()

    async def spawn(self, request, asked_by, within=None):
        self.calls.append(("spawn", request.directory, asked_by))
        return await self.spawned

    async def stop_session(self, name, actor):
        self.calls.append(("stop_session", name, actor))
        return self.stopped

    def stop_soon(self, actor):
        self.calls.append(("stop", actor))

    def describe_caller(self, peer):
        return "test"


OWN = Caller(os.geteuid(), 7)


def connect(clock, runner=None, caller=OWN):
    """`caller`: who is at the other end, or a function that tells it for each connection."""
    resource = control_resource(runner or Answers())
    lookup = PeerLookup((("test", lambda *_: caller() if callable(caller) else caller),))
    site = ControlSite(clock, Guarded(os.geteuid(), lambda: PORT, TOKEN, lambda: resource), lookup)
    channel, transport = site.buildProtocol(None), Bytes()
    channel.makeConnection(transport)
    return channel, transport


def post(path, body=b"{}", *headers):
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{PORT}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def status_of(transport):
    return int(transport.value().split(b" ")[1]) if transport.value() else None


class Collector(Protocol):
    def __init__(self):
        self.received, self.done = b"", Deferred()

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        self.done.callback(self.received)
