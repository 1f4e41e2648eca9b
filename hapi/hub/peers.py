"""What connects a hub with the others of its database: put together when it has joined them."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from hapi.hub.cluster.home_sockets import HomeSockets
from hapi.hub.cluster.pass_on import RequestPassing
from hapi.hub.cluster.peer_calls import PeerClient
from hapi.hub.cluster.peer_hubs import OtherHubs
from hapi.hub.cluster.peer_routes import PeerHeads, PeerResource
from hapi.hub.cluster.signatures import Signer
from hapi.hub.http.site import RootResource
from hapi.hub.hub import Hub
from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer

CHECK_INTERVAL = 1.0  # seconds between two looks at which of the other hubs are up


@define(eq=False, repr=False)
class PeerConnections:
    """The connections of a hub with the others of its database."""

    _cluster: Any
    _client: PeerClient
    _loop: LoopingCall = field(init=False)

    def start(self, reactor: Any) -> None:
        self._loop = LoopingCall(self.check)
        self._loop.clock = reactor
        self._loop.start(CHECK_INTERVAL, now=False)

    def stop(self) -> Deferred[Any]:
        if self._loop.running:
            self._loop.stop()
        return self._client.stop()

    def check(self) -> None:
        """Give up what is asked of hubs that are dead by now."""
        up = {member.id for member in self._cluster.members if member.is_up}
        for hub_id in self._client.waits_for:
            if hub_id not in up:
                self._client.give_up(hub_id)


def connect_peers(
    reactor: Any,
    hub: Hub,
    cluster: Any,
    root: RootResource,
    site: LimitedSite,
    server: SocketServer,
) -> PeerConnections:
    """Let `hub` and the other hubs of its database ask each other. `cluster` has joined them (a
    Cluster); `root`, `site` and `server` serve this hub.
    """
    registry = hub.registry
    signer = Signer(cluster.key, cluster.hub_id, registry.now)
    client = PeerClient(reactor, signer)
    others = OtherHubs(cluster, client)
    site.on_head = PeerHeads(signer).read
    root.peers = PeerResource(registry, {}, lambda request, session_id: request.finish())
    registry.rpc.peers = others
    hub.dispatcher.passing = RequestPassing(cluster, client, hub.authenticator.address)
    server.namespaces["/cli"] = HomeSockets(
        reactor,
        hub.cli,
        registry,
        hub.cli.token_issuer,
        hub.cli.places,
        cluster,
        others,
    )
    hub.streams.name_prefix = f"{cluster.hub_id}."

    connections = PeerConnections(cluster, client)
    connections.start(reactor)
    return connections
