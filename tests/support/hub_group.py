"""Several hubs of one database in one process, with real sockets between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest_twisted
import treq
from attrs import define, evolve, field
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.client import Agent
from twisted.web.resource import Resource

from hapi.hub.access.auth import TokenIssuer
from hapi.hub.cluster.cluster import Cluster
from hapi.hub.http.site import HostPolicy, RootResource, hub_site
from hapi.hub.http.static import PageResource
from hapi.hub.hub import Hub
from hapi.hub.peer_connections import connect_peers
from hapi.hub.store.shared import Member
from hapi.hub.store.sqlite import memory_store
from hapi.net.client.link import HubLink
from hapi.net.common.rpc import RpcTable
from hapi.net.server.socket_server import SocketServer
from hapi.net.server.tls import HttpsFactory
from hapi.protocol.work.terminals import NAMESPACE as TERMINAL_NAMESPACE
from hapi.settings import HubAccess
from tests.support.shared_memory import SharedMemory

TOKEN = "t" * 40
KEY = b"k" * 64
S1, S2 = (f"00000000-0000-4000-8000-{n:012d}" for n in (1, 2))
TIMEOUT = 60.0  # seconds; the machine may be busy


async def until(fact: Any, what: str = "") -> Any:
    """Wait until `fact()` is true; what it gave."""
    deadline = default_reactor.seconds() + TIMEOUT
    while not (found := fact()):
        assert default_reactor.seconds() < deadline, what or fact
        await deferLater(default_reactor, 0.01)
    return found


@define(eq=False)
class StandInCluster:
    """One hub's view of a directory that the test writes: owner to hub id."""

    hub_id: str
    homes: dict[str, str]
    known: dict[str, Member]
    key: bytes = KEY
    stale: dict[str, str | None] = field(factory=dict)  # what this hub still believes
    looked_up: list[str] = field(factory=list)
    on_lost: list[Any] = field(factory=list)
    on_gained: list[Any] = field(factory=list)
    problem: str | None = None

    @property
    def members(self) -> list[Member]:
        return list(self.known.values())

    def _member(self, hub_id: str | None) -> Member | None:
        member = None if hub_id in (None, self.hub_id) else self.known.get(hub_id)
        return member if member is not None and member.is_up else None

    def elsewhere(self, owner: str) -> Member | None:
        return self._member(self.stale.get(owner, self.homes.get(owner)))

    def is_home(self, owner: str) -> bool:
        return self.homes.get(owner, self.hub_id) == self.hub_id

    async def know(self, owner: str) -> bool:
        return True

    async def claim(self, owner: str) -> bool:
        self.homes[owner] = self.hub_id
        return True

    async def caught_up(self) -> None: ...

    async def look_up(self, owner: str) -> Member | None:
        self.looked_up.append(owner)
        self.stale.pop(owner, None)
        return self._member(self.homes.get(owner))


class GroupHub:
    """One hub on a real port."""

    def __init__(self, name: str, store: Any, certificate: Any = None) -> None:
        """`certificate`: a ServerCertificate for localhost, if it is reached by TLS."""
        from hapi.hub.http.proxies import NO_PROXIES

        reactor: Any = default_reactor
        self.name, self.store = name, store
        self.token_issuer = TokenIssuer(TOKEN, b"s" * 32)

        def sockets(cli: Any) -> SocketServer:
            self.server = SocketServer(
                reactor, {"/cli": cli}, client_address=NO_PROXIES.client_address
            )
            return self.server

        self.now = lambda: int(reactor.seconds() * 1000)
        self.hub = Hub(reactor, self.now, store, self.token_issuer, sockets)
        self.registry = self.hub.registry
        self.server.namespaces[TERMINAL_NAMESPACE] = self.hub.terminals
        self.root = RootResource(
            HostPolicy(), self.hub.rest, self.hub.streams, self.server.resource, PageResource()
        )
        self.site = hub_site(self.root, reactor, self.hub.authenticator, self.server.body_limit)
        factory: Any = self.site
        if certificate is not None:
            factory = HttpsFactory(certificate, self.site)
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        origin = "http://127.0.0.1" if certificate is None else "https://localhost"
        self.url = f"{origin}:{self.port.getHost().port}"
        self.connections: Any = None
        self.cluster: Any = None
        self.links: list[HubLink] = []
        self.is_stopped = False

    @property
    def member(self) -> Member:
        return Member(self.name, self.name, self.url, "1", 0, 0, True)

    def join(self, cluster: Any) -> None:
        self.cluster = cluster
        self.connections = connect_peers(
            default_reactor, self.hub, cluster, self.root, self.site, self.server
        )

    async def close_port(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            await port.stopListening()

    async def die(self) -> None:
        """As kill -9 looks for the others: its connections are cut, and it is not there."""
        await self.close_port()
        for connection in list(self.server.connections):
            connection.end("killed", cut=True)
        for channel in self.site.open_channels:
            channel.abort()

    async def stop(self) -> None:
        if self.is_stopped:
            return
        self.is_stopped = True
        for link in self.links:
            await link.stopService()
        await self.close_port()
        self.hub.streams.stop()
        await self.server.stop()
        await self.connections.stop()
        if isinstance(self.cluster, Cluster):
            await self.cluster.stop()
        self.site.close_connections()
        for channel in self.site.open_channels:
            channel.abort()
        await until(lambda: not self.site.open_channels)
        self.hub.compressor.stop()
        self.hub.terminals.terminals.stop()
        self.registry.queues.stop()
        self.hub.tokens.stop()
        self.hub.notifications.stop()

    # --- what a test asks
    async def session(self, session_id: str = S1, **metadata: Any) -> str:
        body = {
            "id": session_id,
            "tag": f"tag-{session_id}",
            "metadata": {
                "path": "/home/dev/project",
                "host": "devbox",
                "flavor": "opencode",
                "lifecycleState": "running",
                **metadata,
            },
            "agentState": {},
        }
        status, found = await self.rest("POST", "/cli/sessions", body)
        assert status == 200, found
        return session_id

    async def machine(self, machine_id: str = "m1", **metadata: Any) -> str:
        given = {
            "host": "devbox",
            "platform": "linux",
            "happyCliVersion": "0.30.7",
            "capabilities": ["agent-availability"],
            **metadata,
        }
        body = {"id": machine_id, "metadata": given}
        status, found = await self.rest("POST", "/cli/machines", body)
        assert status == 200, found
        return machine_id

    async def link(self, kind: str, owner: str, **methods: Any) -> HubLink:
        """The connected link of a session or machine that serves `methods`."""
        rpc = RpcTable(owner)
        for name, handler in methods.items():
            rpc.add(name, handler)
        auth = {"clientType": f"{kind}-scoped", f"{kind}Id": owner}
        link = HubLink(default_reactor, HubAccess(self.url, TOKEN), auth, rpc)
        self.links.append(link)
        link.startService()
        await until(lambda: link.connected, "connected")
        return link

    @property
    def web_token(self) -> str:
        caller = self.token_issuer.check_access_token(TOKEN)
        assert caller is not None
        return self.token_issuer.issue_web_token(caller, self.now() / 1000)

    async def begin(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The head of a reply."""
        token = TOKEN if path.startswith("/cli") else self.web_token
        data = (
            body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        )
        given = {"Authorization": f"Bearer {token}"} | headers
        return await treq.request(
            method, self.url + path, data=data, headers=given, agent=Agent(default_reactor)
        )

    async def rest(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The status and the body of a reply."""
        response = await self.begin(method, path, body, **headers)
        content = await treq.content(response)
        kind = (response.headers.getRawHeaders("content-type") or [""])[0]
        return response.code, json.loads(content) if "json" in kind and content else content


@define(eq=False)
class HubGroup:
    """Hubs by name, and where the sessions and machines are at home."""

    hubs: dict[str, GroupHub] = field(factory=dict)
    homes: dict[str, str] = field(factory=dict)
    known: dict[str, Member] = field(factory=dict)
    unanswered: list[Deferred[Any]] = field(factory=list)

    def never(self) -> Deferred[Any]:
        """An answer that comes when the test is over."""
        self.unanswered.append(Deferred())
        return self.unanswered[-1]

    def add(self, name: str, store: Any) -> GroupHub:
        hub = self.hubs[name] = GroupHub(name, store)
        self.known[name] = hub.member
        hub.join(StandInCluster(name, self.homes, self.known))
        return hub

    async def add_real(
        self, shared: SharedMemory, name: str, certificate: Any = None, url: str | None = None
    ) -> GroupHub:
        """A hub with a Cluster on a database that the hubs share. `url`: what it gives the others
        as its own.
        """
        hub = self.hubs[name] = GroupHub(name, shared.hub(name), certificate)
        cluster = Cluster(hub.registry, hub.store, name, url or hub.url, "1")
        hub.hub.join(cluster)
        await cluster.start()
        hub.join(cluster)
        return hub

    def declare_down(self, name: str) -> None:
        self.known[name] = evolve(self.known[name], is_up=False)

    async def stop(self) -> None:
        for waiting in self.unanswered:
            waiting.callback(None)
        for hub in self.hubs.values():
            await hub.stop()


@contextmanager
def hubs_with_stand_ins(*names: str) -> Iterator[HubGroup]:
    """Hubs that have a StandInCluster and a store of their own."""
    group = HubGroup()
    for name in names:
        group.add(name, memory_store(default_reactor))
    yield group
    pytest_twisted.blockon(Deferred.fromCoroutine(group.stop()))


@contextmanager
def hubs_with_clusters(
    *names: str, shared: SharedMemory | None = None, certificate: Callable[[], Any] = lambda: None
) -> Iterator[HubGroup]:
    """Hubs of one database that know each other. `certificate` makes that of each hub."""
    group = HubGroup()
    database = shared or SharedMemory(default_reactor)

    async def start() -> None:
        for name in names:
            await group.add_real(database, name, certificate())
        for hub in group.hubs.values():
            await hub.cluster.membership.beat()

    pytest_twisted.blockon(Deferred.fromCoroutine(start()))
    yield group
    pytest_twisted.blockon(Deferred.fromCoroutine(group.stop()))


__all__ = [
    "GroupHub",
    "HubGroup",
    "Resource",
    "StandInCluster",
    "hubs_with_clusters",
    "hubs_with_stand_ins",
    "until",
]
