"""A hub of a database in PostgreSQL: it serves, alone or together with others, or waits."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.logger import Logger

from hapi import __version__
from hapi.hub.access.auth import TokenIssuer
from hapi.hub.access.rate_limits import LoginRateLimit
from hapi.hub.active_role import WAITED_FOR, ActiveRole
from hapi.hub.http.authentication import Authenticator
from hapi.hub.http.site import HostPolicy, RootResource
from hapi.hub.http.standby import ChosenSite, GuardedResource, WaitingResource, waiting_site
from hapi.hub.hub_server import HubServer, PeriodicTask
from hapi.hub.options import HubOptions
from hapi.hub.secrets import HubSecrets
from hapi.hub.shared_role import SharedRole
from hapi.hub.store.database_url import DatabaseUrl
from hapi.hub.store.interface import StoreRefused
from hapi.net.server.site import LimitedSite

if TYPE_CHECKING:
    from hapi.hub.http.standby_metrics import StandbyFigures

MAKE = "pip install 'hapi-runner[postgres]'"


def postgres_store(url: DatabaseUrl, reactor: Any, hub_id: str) -> Any:
    """A store that is not open. Raises StoreRefused without psycopg."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise StoreRefused(
            f"{url} cannot be used without psycopg, which {MAKE} installs ({error})"
        ) from error
    from hapi.hub.store.postgres.store import PostgresStore

    try:
        return PostgresStore(url.with_password, reactor, hub_id)
    except NotImplementedError as error:
        raise StoreRefused(f"{url} cannot be used: {error}") from error


@define(eq=False, repr=False)
class StandbyHub:
    """One hub of several. `policy`: the names and origins of the moment. `tasks`: what else is done
    while it serves. `changed` is called when it begins to serve, and when it no longer does.
    """

    _reactor: Any
    _now: Callable[[], int]
    _options: HubOptions
    _policy: Callable[[], HostPolicy]
    _make_store: Callable[[str], Any]  # for a hub's id
    _tasks: tuple[PeriodicTask, ...] = ()
    _changed: Callable[[], object] = lambda: None
    hub_id: str = field(factory=lambda: str(uuid.uuid4()))
    role: ActiveRole = field(init=False)
    serving: HubServer | None = field(default=None, init=False)
    secrets: HubSecrets = field(init=False)
    site: ChosenSite = field(init=False)  # what the hub's port serves
    _waiting: WaitingResource = field(init=False)
    _waiting_site: LimitedSite = field(init=False)
    _started_at: float = field(init=False)  # clock seconds

    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._started_at = self._reactor.seconds()
        kind = ActiveRole if self._options.advertise is None else SharedRole
        self.role = kind(
            self._reactor,
            lambda: self._make_store(self.hub_id),
            self._serve,
            self._withdraw,
            self._options.hub_name,
        )
        self._waiting = WaitingResource(lambda: self.role.reason, self._status, self._figures)
        self._waiting_site = waiting_site(
            self._waiting,
            lambda: self.role.reason,
            self._reactor,
            self._policy(),
            self._options.base_path.encode(),
        )
        self.site = ChosenSite(self._chosen_site)

    async def open(self, on_busy: Callable[[str], object]) -> HubSecrets | None:
        """Open the database, and read the secrets that all hubs share; None if the hub is stopped
        before. While the database is locked or too slow, this tries again; `on_busy` is called with
        a sentence when that begins, so that the port may tell it. Raises StoreRefused, StoreFull,
        StoreFailed, ConfigurationError.
        """
        is_told = False
        while True:
            try:
                return await self._open()
            except WAITED_FOR as error:
                self.role.note(error)
                if not is_told:
                    is_told = True
                    on_busy(self.role.problem)
            if not await self.role.pause():
                return None

    async def _open(self) -> HubSecrets:
        options = self._options
        store = await self.role.open()
        self.secrets = secrets = await HubSecrets.of_database(options, store)
        self._waiting.authenticator = Authenticator(
            TokenIssuer(secrets.token, secrets.signing),
            LoginRateLimit(),
            options.trusted_proxies,
            self._reactor,
            self._now,
        )
        return secrets

    async def start(self, url: str) -> None:
        """Serve or wait, reachable at `url` for the other hubs' owners. The port has to listen."""
        await self.role.start(url)

    async def stop(self) -> None:
        """Stop serving, and leave the database to the other hubs."""
        await self.role.stop()

    @property
    def is_serving(self) -> bool:
        return self.serving is not None and self.role.is_active

    def _chosen_site(self) -> LimitedSite:
        return self._waiting_site if self.serving is None else self.serving.site

    async def _serve(self, store: Any) -> None:
        serving = HubServer(
            self._reactor,
            self._now,
            self._options,
            store,
            self.secrets,
            self._policy(),
            self._guard,
        )
        serving.hub.status.of_database = self._report
        try:
            if self._options.advertise is None:
                await serving.load()
            else:
                await serving.join(self._options.hub_name, self._options.advertise)
        except BaseException:  # it may be tried again, with another one
            await _end(serving)
            raise
        if not self.role.may_write:  # the term ended meanwhile
            await _end(serving)
            return
        self.serving = serving
        serving.start(*self._tasks)
        self._waiting_site.close_connections()
        if self._options.advertise is None:
            self.log.info("This hub is the active one of its database")
        else:
            self.log.info("This hub serves its database together with others")
        self._changed()

    def _guard(self, root: RootResource) -> GuardedResource:
        return GuardedResource(root, self._waiting, self._may_be_served)

    def _may_be_served(self, method: bytes) -> bool:
        reads = method in (b"GET", b"HEAD")
        return self.role.is_active if reads else self.role.may_write

    async def _withdraw(self) -> None:
        serving, self.serving = self.serving, None
        if serving is not None:
            await _end(serving)
            self._changed()

    def _status(self) -> dict[str, Any]:
        """What `GET /api/hub-status` tells while this hub does not serve."""
        uptime = self._reactor.seconds() - self._started_at
        return {
            "version": __version__,
            "pid": os.getpid(),
            "ready": False,
            "problem": self.role.problem,
            "startedAt": self._now() - int(uptime * 1000),
            "uptimeSeconds": round(uptime, 3),
            "sessions": {},
            "machines": {"total": 0, "online": 0},
            "sockets": 0,
            "eventStreams": 0,
            "database": {"usedBytes": 0, "freeBytes": 0},
            **self._report(),
        }

    def _figures(self) -> StandbyFigures:
        """What `GET /metrics` tells while this hub does not serve."""
        from hapi.hub.http.standby_metrics import StandbyFigures

        now = self._reactor.seconds()
        return StandbyFigures(now - self._started_at, self.role.is_standby, self.role.hubs.up)

    def _report(self) -> dict[str, Any]:
        """`role` and `hubs` of the status."""
        cluster = None if self.serving is None else self.serving.cluster
        if cluster is not None:  # it gives the signs of life, and hears of those of others
            self.role.note_members(list(cluster.members), cluster.membership.heard_at)
        told = self.role.report()
        if self.serving is not None:
            for hub in told["hubs"]:
                hub["problems"] = self.serving.problems_of(hub["id"])
        return told


async def _end(serving: HubServer) -> None:
    serving.stop_tasks()
    await serving.end_connections()
