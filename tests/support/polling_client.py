"""A client of a SocketServer in memory that polls, and may change to a WebSocket."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer
from tests.support.raw_http import UPGRADE, frame, request
from tests.support.request_wire import Answer, RequestWire, parse_answer

POLL = "/socket.io/?EIO=4&transport=polling"


def polling_site(server: SocketServer) -> LimitedSite:
    root = Resource()
    root.putChild(b"socket.io", server.resource)
    return LimitedSite(root, server.clock, body_limit=server.body_limit)


@define(eq=False)
class PollingClient:
    """Each request has a connection of its own."""

    site: LimitedSite
    sid: str = ""
    opened: dict[str, Any] = field(factory=dict)

    @classmethod
    def of(cls, site: LimitedSite) -> PollingClient:
        client = cls(site)
        answer = client.ask("GET")
        assert answer.status == 200, answer
        client.opened = json.loads(answer.body[1:])
        client.sid = client.opened["sid"]
        return client

    @property
    def clock(self) -> Any:
        return self.site.clock

    def begin(self, method: str, body: bytes = b"", **headers: str) -> RequestWire:
        wire = RequestWire(site=self.site)
        sid = f"&sid={self.sid}" if self.sid else ""
        wire.send(request(method, POLL + sid, body, **headers))
        self.clock.advance(0)
        return wire

    def ask(self, method: str, body: bytes = b"", **headers: str) -> Answer:
        wire = self.begin(method, body, **headers)
        assert wire.transport.value(), "no answer yet"
        return parse_answer(wire.transport.value())

    def post(self, *packets: str) -> Answer:
        return self.ask("POST", "\x1e".join(packets).encode())

    def news(self) -> list[str]:
        """The packets that wait."""
        answer = self.ask("GET")
        assert answer.status == 200, answer
        return answer.body.split("\x1e")

    def join(self, token: str = "good", namespace: str = "/terminal") -> list[str]:
        assert self.post(f'40{namespace},{{"token":"{token}"}}').body == "ok"
        return self.news()

    def socket(self) -> UpgradeWire:
        wire = RequestWire(site=self.site)
        head = UPGRADE.format(version=13, headers="").replace(
            "transport=websocket", f"transport=websocket&sid={self.sid}"
        )
        wire.send(head.encode())
        return UpgradeWire(wire)


@define(eq=False)
class UpgradeWire:
    """The WebSocket of a client."""

    wire: RequestWire

    @property
    def status(self) -> int:
        return int(self.wire.transport.value().split()[1])

    def say(self, *texts: str) -> list[str]:
        """Send; which texts came since the last time, `closed` for a close frame."""
        self.news()
        for text in texts:
            self.wire.send(frame(text.encode()))
        return self.news()

    def news(self) -> list[str]:
        data = self.wire.transport.value()
        self.wire.transport.clear()
        if data.startswith(b"HTTP"):
            data = data.partition(b"\r\n\r\n")[2]
        found = []
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            payload = data[start : start + size]
            found.append(payload.decode() if data[0] & 15 == 1 else "closed")
            data = data[start + size :]
        return found


def lose(wire: RequestWire) -> None:
    """The client's connection breaks."""
    protocol = getattr(wire.transport, "protocol", None) or wire.channel
    protocol.connectionLost(Failure(ConnectionLost()))
