"""A hub that serves its database together with others: what that adds to a hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi import __version__
from hapi.deferreds import run_step
from hapi.hub.cluster.cluster import Cluster
from hapi.hub.http.site import RootResource
from hapi.hub.hub import Hub
from hapi.hub.peers import PeerConnections, connect_peers
from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer

LEAVE_TIMEOUT = 2.0  # seconds


@define(eq=False, repr=False)
class ClusterMember:
    """`hub` is on a store that has acquired the database together with others, and has loaded
    nothing. `url` is where the other hubs reach it, `name` is for people.
    """

    _reactor: Any
    _hub: Hub
    _root: RootResource
    _site: LimitedSite
    _server: SocketServer
    _name: str
    _url: str
    cluster: Cluster = field(init=False)
    _connections: PeerConnections | None = None

    log = Logger()

    def __attrs_post_init__(self) -> None:
        registry = self._hub.registry
        self.cluster = Cluster(registry, registry.store, self._name, self._url, __version__)
        self._hub.join(self.cluster)

    async def start(self) -> None:
        """Join the other hubs and load the registry; the hub may listen afterwards."""
        await self.cluster.start()
        self._connections = connect_peers(
            self._reactor, self._hub, self.cluster, self._root, self._site, self._server
        )

    def drain(self) -> None:
        """Tell the other hubs that this one is about to stop."""
        self.cluster.drain()

    async def stop(self) -> None:
        """Leave the other hubs, which then serve what was at home here. Its sockets are closed."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await self._step("Closing the connections to other hubs", connections.stop)
        await self._step("Leaving the other hubs", self.cluster.stop)

    async def _step(self, step: str, action: Callable[[], Awaitable[object]]) -> None:
        await run_step(self._reactor, LEAVE_TIMEOUT, step, action, self.log)
