"""The hub as a Twisted service, which stops within 8 seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_step
from hapi.home import MADE_PRIVATE
from hapi.hub.address import reachable_url
from hapi.hub.http.site import HostPolicy, host_name
from hapi.hub.hub import Hub
from hapi.hub.hub_server import HubServer, PeriodicTask
from hapi.hub.lock import HubLock
from hapi.hub.options import HubOptions
from hapi.hub.port import HubPort
from hapi.hub.secrets import HubSecrets
from hapi.hub.store.database_url import DatabaseUrl
from hapi.hub.store.sqlite import SqliteStore, file_store
from hapi.one_shot import OneShotObserver
from hapi.protocol.authority import is_loopback

if TYPE_CHECKING:
    from hapi.hub.standby import StandbyHub

FILES_CHECK_INTERVAL = 5.0  # seconds; every write checks the files of the database itself


class HubService(Service):
    """`when_listening` fires with the URL when the database is loaded and the hub listens; `url`
    and `token` are set by then. It fails with what keeps the hub from serving: HubAlreadyRunning,
    CannotServe, StoreRefused, LockUnusable, ConfigurationError, HomeUnusable, InvalidSettings:
    sentences for people.

    `startService` raises these errors itself if it meets them before it returns; before the reactor
    runs, it meets them all.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, options: HubOptions, now: Callable[[], int] | None = None
    ) -> None:
        self._reactor, self.options = reactor, options
        self._now = now or (lambda: int(time.time() * 1000))
        self._listening: OneShotObserver[str] = OneShotObserver()
        self._started: OneShotObserver[None] = OneShotObserver()  # or failed to start
        self._failure: Failure | None = None
        self._port: HubPort | None = None
        self._store: SqliteStore | None = None
        self._own: HubServer | None = None  # of a database in a file
        self._standby: StandbyHub | None = None  # of a database in PostgreSQL
        self._lock = HubLock(options.home, options.used_database)
        self._started_at = 0  # milliseconds since the epoch
        self.url = ""
        self.token = ""
        # Called with a sentence when the hub listens and has to wait for its database to go on.
        self.on_waiting: Callable[[str], object] = lambda reason: None
        # Called once when the hub, which listens and waits, begins to serve.
        self.on_serving: Callable[[], object] | None = None

    @property
    def when_listening(self) -> Deferred[str]:
        return self._listening.when_fired()

    @property
    def hub(self) -> Hub | None:
        """The parts of the hub, while it serves."""
        return None if self._serving is None else self._serving.hub

    @property
    def _serving(self) -> HubServer | None:
        return self._own if self._standby is None else self._standby.serving

    @property
    def is_standby(self) -> bool:
        """Whether the hub listens and does not serve, since another one of its database does, or
        since the database is away.
        """
        return self._standby is not None and not self._standby.is_serving

    @property
    def waits_because(self) -> str:
        """Why a hub that listens does not serve, for its owner; "" if it does."""
        return "" if self._standby is None or not self.is_standby else self._standby.role.problem

    @property
    def port(self) -> int:
        """The port on which the hub listens, 0 while it does not listen."""
        return 0 if self._port is None else self._port.number

    @property
    def people_url(self) -> str:
        """The address of the page for people on other devices, once the hub listens."""
        options = self.options
        return reachable_url(self.url, options.host, options.public_url) + options.base_path

    def use_public_url(self, url: str) -> None:
        """Be reached by people as `url`, an origin, from now on: a tunnel has that address."""
        self.options = evolve(self.options, public_url=url)
        if self._serving is not None:
            self._serving.use_policy(self._host_policy())
            self._announce()
        self.log.info("People reach the hub at {people_url}", people_url=self.people_url)

    def reload(self) -> None:
        """Read the TLS certificate again, for new connections."""
        if self._port is not None:
            self._port.reload()

    # --- starting ---------------------------------------------------------------------------------

    def startService(self) -> None:
        options = self.options
        try:
            options.check_sharing()
            options.home.prepare()
            for path in options.home.make_files_private():
                self.log.warn(MADE_PRIVATE, path=str(path))
            self._lock.acquire()
            database, secrets = options.used_database, None
            if isinstance(database, Path):
                secrets = HubSecrets.of_home(options)
                self.token = secrets.token
            port = self._port = HubPort.with_certificate(self._reactor, options)
        except BaseException:
            self._lock.release()
            self._started.fire(None)  # nothing is under way for which `stopService` has to wait
            raise
        super().startService()  # type: ignore[no-untyped-call]
        if isinstance(database, Path):
            assert secrets is not None
            starting = self._start(port, database, secrets)
        else:
            starting = self._start_standby(port, database)
        Deferred.fromCoroutine(starting).addCallbacks(self._started.fire, self._not_started)
        if self._failure is not None:
            self._failure.raiseException()

    async def _start(self, port: HubPort, database: Path, secrets: HubSecrets) -> None:
        store = self._store = file_store(database, self._reactor)
        await store.open()
        serving = self._own = HubServer(
            self._reactor, self._now, self.options, store, secrets, self._host_policy()
        )
        await serving.load()
        if not self.running:  # stopped meanwhile
            return
        self._listen(port, serving.site)
        self.log.info(
            "Hub serves {url}; people reach it at {people_url}",
            url=self.url,
            people_url=self.people_url,
        )
        port.warn(self.url, self.token)
        serving.start(PeriodicTask(self._check_files, FILES_CHECK_INTERVAL))
        self._listening.fire(self.url)

    async def _start_standby(self, port: HubPort, database: DatabaseUrl) -> None:
        from hapi.hub.standby import StandbyHub, postgres_store

        standby = self._standby = StandbyHub(
            self._reactor,
            self._now,
            self.options,
            self._host_policy,
            lambda hub_id: postgres_store(database, self._reactor, hub_id),
            (PeriodicTask(self._check_files, FILES_CHECK_INTERVAL),),
            self._role_changed,
        )

        def wait(reason: str) -> None:
            self._listen(port, standby.site)  # so that monitors are told
            self.on_waiting(reason)

        secrets = await standby.open(wait)
        if secrets is None or not self.running:  # stopped meanwhile
            return
        self.token = secrets.token
        if not port.number:
            self._listen(port, standby.site)
        self.log.info("Hub listens on {url}", url=self.url)
        port.warn(self.url, self.token)
        await standby.start(self.people_url)
        self._announce()
        self._listening.fire(self.url)

    def _listen(self, port: HubPort, factory: IProtocolFactory) -> None:
        port.listen(factory)
        self.url = port.local_url(self.options.public_url)
        self._started_at = self._now()
        self._announce()

    def _announce(self) -> None:
        role = "standby" if self.is_standby else "active"
        self._lock.announce(self.url, self.people_url, self._started_at, role)

    def _role_changed(self) -> None:
        self._announce()
        told, is_serving = self.on_serving, self._serving is not None
        if told is None or not is_serving:
            return
        self.on_serving = None
        try:
            told()
        except Exception:  # the hub serves nevertheless
            self.log.failure("It could not be told that this hub serves now")

    def _not_started(self, failure: Failure) -> None:
        self._failure, self.running = failure, False
        Deferred.fromCoroutine(self._close()).addBoth(lambda _: self._release(failure))

    async def _close(self) -> None:
        """Close what a start that failed has opened."""
        if self._store is not None:
            await self._store.close()
        if self._standby is not None:
            if self._port is not None:
                await self._port.close()
            await self._standby.stop()

    def _release(self, failure: Failure) -> None:
        self._lock.release()
        self._started.fire(None)
        self._listening.fire(failure)

    def _host_policy(self) -> HostPolicy:
        options = self.options
        certificate = None if self._port is None else self._port.certificate
        public = (
            {host_name(options.public_url.partition("://")[2])} if options.public_url else set()
        )
        names = (
            frozenset(
                {
                    *public,
                    *(certificate.identity.names if certificate else ()),
                    *(host_name(host) or host for host in options.allowed_hosts),
                }
            )
            if is_loopback(options.host)
            else None
        )
        origins = frozenset(
            {*options.cors_origins, *([options.public_url] if options.public_url else [])}
        )
        return HostPolicy(names, origins)

    async def _check_files(self) -> None:
        """Notice files that were deleted, replaced or moved under this hub."""
        self._lock.restore()
        if self._store is not None:
            self._store.database.verify_files()

    # --- draining ---------------------------------------------------------------------------------

    @property
    def drain_seconds(self) -> float:
        """How long `stopService` lets clients move to other hubs, before the time that it takes."""
        return self.options.drain_seconds if self.options.advertise else 0.0

    async def drain(self, seconds: float) -> None:
        """Let clients move to other hubs before the service is stopped; see HubServer.drain."""
        if self._serving is not None:
            await self._serving.drain(seconds)

    def hurry(self) -> None:
        """End `drain` at once."""
        if self._serving is not None:
            self._serving.hurry()

    # --- stopping ---------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Accept no new connections, close event streams and sockets, write everything to disk.
        Sessions keep running.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await run_step(
            self._reactor, 2.0, "Opening the database", self._started.when_fired, self.log
        )
        await self.drain(self.drain_seconds)
        serving, port = self._own, self._port
        if serving is not None:
            serving.stop_tasks()
        if port is not None and port.number:
            await run_step(self._reactor, 1.0, "Closing the port", port.close, self.log)
            if serving is not None:
                await serving.end_connections()
        if self._standby is not None:
            step = "Leaving the database"
            await run_step(self._reactor, 6.0, step, self._standby.stop, self.log)
        if self._store is not None:
            await run_step(self._reactor, 2.0, "Closing the database", self._store.close, self.log)
        self._lock.release()


def hub_service(reactor: Any, options: HubOptions) -> HubService:
    """A hub with these options."""
    return HubService(reactor, options)
