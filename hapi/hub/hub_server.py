"""A hub that serves: its parts on an open store, its site, and its periodic tasks."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from math import ceil
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import IResource

from hapi import __version__
from hapi.deferreds import run_step
from hapi.hub.access.auth import TokenIssuer
from hapi.hub.cli_namespace import CliNamespace
from hapi.hub.domain.presence import SWEEP_INTERVAL
from hapi.hub.domain.retention import SWEEP_INTERVAL as RETENTION_INTERVAL
from hapi.hub.http.site import HostPolicy, RootResource, hub_site
from hapi.hub.http.static import OwnPage, PageResource
from hapi.hub.hub import Hub
from hapi.hub.notify.assembly import NotifyParts
from hapi.hub.notify.options import DEFAULT_SUBJECT
from hapi.hub.notify.services import ServiceEndpoints, make_http
from hapi.hub.notify.vapid import VapidKey
from hapi.hub.options import HubOptions
from hapi.hub.records.indexing import SWEEP_INTERVAL as INDEXING_INTERVAL
from hapi.hub.secrets import HubSecrets
from hapi.hub.store.database_url import DatabaseUrl
from hapi.hub.store.interface import IStore, StoreAway, StoreBusy, StoreLost, StoreRefused
from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer
from hapi.protocol.work.terminals import NAMESPACE as TERMINAL_NAMESPACE

if TYPE_CHECKING:
    from hapi.hub.cluster.cluster import Cluster
    from hapi.hub.peer_connections import PeerConnections

HEARTBEAT_INTERVAL = 30.0  # seconds
STUCK_CHECK_INTERVAL = 30.0  # seconds
DRAIN_NOTICE = 0.2  # the part of the time of a drain in which no socket is closed
DRAIN_INTERVAL = 0.25  # seconds between two portions of sockets


@frozen(eq=False, repr=False)
class PeriodicTask:
    """`interval` in seconds; `at_once`: also when the hub begins to serve."""

    run: Callable[[], Awaitable[object]]
    interval: float
    at_once: bool = False


class HubServer:
    """Serves what `store`, which is open, holds. `guard` may stand before the root resource."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], int],
        options: HubOptions,
        store: IStore,
        secrets: HubSecrets,
        policy: HostPolicy,
        guard: Callable[[RootResource], IResource] = lambda root: root,
    ) -> None:
        self._reactor, self._options, self._secrets = reactor, options, secrets
        self._policy = policy
        self._loops: list[LoopingCall] = []
        self._drain_pause: Deferred[None] | None = None
        self._is_hurried = False
        self.cluster: Cluster | None = None  # with other hubs
        self._peers: PeerConnections | None = None
        self.hub = Hub(
            reactor,
            now,
            store,
            TokenIssuer(secrets.token, secrets.signing),
            self._sockets,
            options.trusted_proxies,
            options.retention,
            options.home.path,
            self._notify_parts(),
            options.git_actions,
        )
        self.server.namespaces[TERMINAL_NAMESPACE] = self.hub.terminals
        self.root = RootResource(
            policy,
            self.hub.rest,
            self.hub.streams,
            self.server.resource,
            PageResource(
                options.web_root or OwnPage(is_mini_app=bool(options.notify.telegram_token))
            ),
            options.base_path.encode(),
        )
        self.site: LimitedSite = hub_site(
            guard(self.root),
            reactor,
            self.hub.authenticator,
            self.server.body_limit,
            self.hub.monitoring.requests,
            options.base_path.encode(),
        )

    async def load(self) -> None:
        """Load all rows before the first request. Raises StoreRefused, and of a database in
        PostgreSQL StoreBusy, StoreAway.
        """
        await self._load(self.hub.registry.load)

    async def join(self, name: str, url: str) -> None:
        """Load all rows, and serve them together with other hubs, which reach this one at `url`.
        Raises StoreRefused, StoreBusy, StoreAway.
        """
        from hapi.hub.cluster.cluster import Cluster
        from hapi.hub.peer_connections import connect_peers

        cluster = self.cluster = Cluster(
            self.hub.registry, self.hub.registry.store, name, url, __version__
        )
        self.hub.join(cluster)
        await self._load(cluster.start)
        self._peers = connect_peers(
            self._reactor, self.hub, cluster, self.root, self.site, self.server
        )

    def problems_of(self, hub_id: str) -> list[str]:
        """What keeps the hubs of the database from reaching one of them, as sentences."""
        return [] if self._peers is None else self._peers.reachability.problems_of(hub_id)

    async def _load(self, load_rows: Callable[[], Awaitable[None]]) -> None:
        try:
            await load_rows()
            await self.hub.tokens.load()
            await self.hub.devices.recipients.load()
        except Exception as error:
            database = self._options.used_database
            if isinstance(database, DatabaseUrl) and isinstance(error, StoreBusy | StoreAway):
                raise  # a later attempt may succeed
            raise StoreRefused(f"database {database} cannot be read: {error}") from error

    def use_policy(self, policy: HostPolicy) -> None:
        """Answer to other names, or accept pages of other origins, from now on."""
        self._policy = self.root.host_policy = policy

    def start(self, *more: PeriodicTask) -> None:
        """Begin with the periodic tasks, those of `more` among them."""
        hub = self.hub
        for task in (
            PeriodicTask(hub.presence.sweep, SWEEP_INTERVAL),
            PeriodicTask(self._heartbeat, HEARTBEAT_INTERVAL),
            PeriodicTask(hub.retention.sweep, RETENTION_INTERVAL),
            PeriodicTask(hub.older_messages.sweep, INDEXING_INTERVAL, at_once=True),
            PeriodicTask(hub.notifications.check_stuck, STUCK_CHECK_INTERVAL),
            *more,
        ):
            loop = LoopingCall(self._guarded, task.run)
            loop.clock = self._reactor
            loop.start(task.interval, now=task.at_once)
            self._loops.append(loop)
        hub.devices.start()

    async def _heartbeat(self) -> None:
        self.hub.registry.events.heartbeat(self.hub.registry.now())

    async def _guarded(self, run: Callable[[], Awaitable[object]]) -> None:
        try:
            await run()
        except (StoreAway, StoreLost):
            pass  # logged once, where it was noticed
        except StoreBusy as error:
            self.log.warn("A periodic task of the hub will run again: {reason}", reason=str(error))
        except Exception:
            self.log.failure("A periodic task of the hub failed and will run again")

    # --- stopping ---------------------------------------------------------------------------------

    def stop_tasks(self) -> None:
        """End the periodic tasks, so that nothing new is begun."""
        for loop in self._loops:
            if loop.running:
                loop.stop()
        self.hub.retention.stop()
        self.hub.older_messages.stop()

    async def drain(self, seconds: float) -> None:
        """Let clients move to other hubs, within `seconds`: `/ready` tells that this hub stops, and
        after a part of the time, in which a balancer notices that, the sockets are closed in
        portions. Event streams stay until `end_connections`. `hurry` ends this at once.
        """
        if seconds <= 0:
            return
        self.log.info("Closing all sockets within {seconds} s", seconds=seconds)
        self.hub.monitoring.is_draining = True
        if self.cluster is not None:
            self.cluster.drain()
        now = self._reactor.seconds
        end = now() + seconds
        await self._pause(seconds * DRAIN_NOTICE)
        while self.server.connections and not self._is_hurried and now() < end:
            portions = max(1, round((end - now()) / DRAIN_INTERVAL))
            count = ceil(len(self.server.connections) / portions)
            for connection in list(self.server.connections)[:count]:
                connection.end("the hub stops")
            await self._pause(min(DRAIN_INTERVAL, max(end - now(), 0.0)))

    def hurry(self) -> None:
        """End `drain` at once."""
        self._is_hurried = True
        self._end_pause()

    async def _pause(self, seconds: float) -> None:
        """Wait, unless there is no time left."""
        if self._is_hurried:
            return
        pause: Deferred[None] = Deferred()
        self._drain_pause = pause
        call = self._reactor.callLater(seconds, self._end_pause)
        await pause
        if call.active():
            call.cancel()

    def _end_pause(self) -> None:
        pause, self._drain_pause = self._drain_pause, None
        if pause is not None:
            pause.callback(None)

    async def end_connections(self) -> None:
        """Close event streams and sockets, within some three seconds. Sessions keep running."""
        await run_step(
            self._reactor, 1.0, "Ending event streams", self._end_event_streams, self.log
        )
        await run_step(self._reactor, 2.0, "Closing sockets", self.server.stop, self.log)
        self.site.close_connections()
        if self._peers is not None:
            await run_step(
                self._reactor, 1.0, "Closing connections to hubs", self._peers.stop, self.log
            )
        if self.cluster is not None:
            await run_step(
                self._reactor, 2.0, "Leaving the other hubs", self.cluster.stop, self.log
            )
        self.hub.notifications.stop()
        self.hub.devices.stop()
        self.hub.compressor.stop()
        self.hub.registry.queues.stop()
        self.hub.tokens.stop()

    async def _end_event_streams(self) -> None:
        self.hub.streams.stop()

    # --- parts ------------------------------------------------------------------------------------

    def _sockets(self, cli: CliNamespace) -> SocketServer:
        self.server = SocketServer(
            self._reactor,
            {"/cli": cli},
            allow_origin=self._allows_origin,
            client_address=self._options.trusted_proxies.client_address,
        )
        return self.server

    def _allows_origin(self, origin: str, host: str) -> bool:
        return self._policy.allows_origin(origin, host)

    def _notify_parts(self) -> NotifyParts:
        options, notify, secrets = self._options, self._options.notify, self._secrets
        public = options.public_url or ""
        subject = notify.vapid_subject or (
            public if public.startswith("https://") else DEFAULT_SUBJECT
        )

        def make_client() -> Any:
            endpoints = ServiceEndpoints(self._reactor, notify.allows_private, notify.proxy)
            return make_http(self._reactor, endpoints)

        # Another access token ends the answers of notifications, as it ends web tokens.
        purpose = b"HAPI answers\0" + secrets.token.encode("utf-8", "surrogatepass")
        return NotifyParts(
            VapidKey(options.home.vapid_key, subject, secrets.vapid),
            hmac.digest(secrets.signing, purpose, "sha256"),
            make_client,
            notify.allows_private,
            notify.telegram_token,
            notify.telegram_api,
            notify.telegram_notifies,
            lambda: make_http(self._reactor, ServiceEndpoints(self._reactor, True, notify.proxy)),
            public if public.startswith("https://") else None,
        )
