"""A Socket.IO server on a real port."""

from __future__ import annotations

from twisted.internet.task import deferLater
from twisted.web.resource import Resource

from hapi.net.client.link import LinkStatus
from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer
from tests.support.memory_client import Desk


class RealHub:
    """A SocketServer on a real port."""

    def __init__(self, reactor, tls=None):
        self.reactor, self.desk = reactor, Desk()
        self.server = SocketServer(reactor, {"/cli": self.desk})
        root = Resource()
        root.putChild(b"socket.io", self.server.resource)
        self.site = site = LimitedSite(root, reactor, body_limit=self.server.body_limit)
        self.port = (
            reactor.listenTCP(0, site, interface="127.0.0.1")
            if tls is None
            else reactor.listenSSL(0, site, tls, interface="127.0.0.1")
        )
        self.number = self.port.getHost().port
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.number}"

    async def stop(self):
        await self.server.stop()
        self.site.close_connections()
        while self.site.open_channels:
            await deferLater(self.reactor, 0.01)
        await self.port.stopListening()


async def status_of(link, *phases) -> LinkStatus:
    """Wait for a status with one of `phases`, or with a reason."""
    while link.status.phase not in phases:
        await deferLater(link._clock, 0.01)
    return link.status
