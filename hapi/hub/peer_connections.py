"""What connects a hub with the others of its database: put together when it has joined them."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from msgspec import convert
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from hapi.hub.cluster.home_sockets import HomeSockets
from hapi.hub.cluster.home_terminals import HomeTerminals
from hapi.hub.cluster.identity import IdentityClient
from hapi.hub.cluster.live_relay import LiveReader, serve_live
from hapi.hub.cluster.peer_calls import PeerClient
from hapi.hub.cluster.peer_hubs import OtherHubs
from hapi.hub.cluster.peer_routes import PeerHeads, PeerResource, Work
from hapi.hub.cluster.reachability import Reachability
from hapi.hub.cluster.request_forwarding import RequestForwarding
from hapi.hub.cluster.signatures import Signer
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import NotFound
from hapi.hub.http.site import RootResource
from hapi.hub.hub import Hub
from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer
from hapi.protocol.rest.bodies import PostMessage
from hapi.protocol.work.terminals import NAMESPACE as TERMINAL_NAMESPACE

CHECK_INTERVAL = 1.0  # seconds between two looks at which of the other hubs are up


@define(eq=False, repr=False)
class PeerConnections:
    """The connections of a hub with the others of its database."""

    _cluster: Any
    _client: PeerClient
    _live: LiveReader
    reachability: Reachability
    _loop: LoopingCall = field(init=False)

    def start(self, reactor: Any) -> None:
        self._loop = LoopingCall(self.check)
        self._loop.clock = reactor
        self._loop.start(CHECK_INTERVAL, now=False)
        self.reachability.start()

    def stop(self) -> Deferred[Any]:
        if self._loop.running:
            self._loop.stop()
        self.reachability.stop()
        self._live.stop()
        return self._client.stop()

    def check(self) -> None:
        """Give up what is asked of hubs that are dead by now, and read live text where sessions
        are.
        """
        up = {member.id for member in self._cluster.members if member.is_up}
        for hub_id in self._client.waits_for:
            if hub_id not in up:
                self._client.give_up(hub_id)
        self._live.check()


def works(hub: Hub) -> dict[str, Work]:
    """What this hub does for another, by name, as `PeerHubs.work` asks for it."""
    registry = hub.registry

    def session(given: dict[str, Any], name: str = "session") -> HubSession:
        found = registry.sessions.get(str(given.get(name)))
        if found is None:
            raise NotFound("Session not found")
        return found

    async def merge(given: dict[str, Any]) -> None:
        assert registry.cluster is not None
        await registry.cluster.know(str(given.get("old")))
        await hub.merging.merge_here(session(given, "old"), session(given, "new"))

    async def archive(given: dict[str, Any]) -> Any:
        return await hub.lifecycle.archive(session(given))

    async def delete(given: dict[str, Any]) -> None:
        await hub.lifecycle.delete(session(given))

    async def answer(given: dict[str, Any]) -> None:
        await hub.documents.answer_here(session(given), given["answer"], given["request"])

    async def post(given: dict[str, Any]) -> None:
        body = convert(given["body"], PostMessage)
        await hub.messages.post_here(session(given), body)

    async def end(given: dict[str, Any]) -> None:
        await hub.presence.end_here(session(given), given["event"], by_machine=True)

    return {
        "end-session": end,
        "merge": merge,
        "archive": archive,
        "delete": delete,
        "answer-request": answer,
        "post-message": post,
    }


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
    root.peers = PeerResource(
        registry, signer, works(hub), lambda request, name: serve_live(registry, request, name)
    )
    registry.rpc.peers = others
    hub.dispatcher.forwarding = RequestForwarding(
        cluster, client, hub.authenticator.address, others.statistics.forwarded
    )
    server.namespaces["/cli"] = HomeSockets(
        reactor,
        hub.cli,
        registry,
        hub.cli.token_issuer,
        hub.cli.places,
        cluster,
        others,
    )
    server.namespaces[TERMINAL_NAMESPACE] = HomeTerminals(
        reactor, hub.terminals, hub.terminals.terminals, cluster, client
    )
    live = LiveReader(registry, cluster, client)
    registry.live.on_readers = live.check_session
    hub.streams.name_prefix = f"{cluster.hub_id}."

    reachability = Reachability(
        cluster, IdentityClient(reactor, signer), others.statistics, registry.clock
    )
    connections = PeerConnections(cluster, client, live, reachability)
    connections.start(reactor)
    return connections
