"""The hub as a Twisted service, which stops within 8 seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_step
from hapi.home import MADE_PRIVATE
from hapi.hub.address import reachable_url
from hapi.hub.http.site import HostPolicy, host_name
from hapi.hub.hub import Hub
from hapi.hub.lock import HubLock
from hapi.hub.options import HubOptions
from hapi.hub.port import HubPort
from hapi.hub.secrets import HubSecrets
from hapi.hub.serving import PeriodicTask, Serving
from hapi.hub.store.interface import StoreRefused
from hapi.hub.store.sqlite import SqliteStore, file_store
from hapi.one_shot import OneShotObserver
from hapi.protocol.authority import is_loopback

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
        self._serving: Serving | None = None
        self._lock = HubLock(options.home, options.used_database)
        self._started_at = 0  # milliseconds since the epoch
        self.url = ""
        self.token = ""

    @property
    def when_listening(self) -> Deferred[str]:
        return self._listening.when_fired()

    @property
    def hub(self) -> Hub | None:
        """The parts of the hub, once they are made."""
        return None if self._serving is None else self._serving.hub

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
            self._lock.announce(self.url, self.people_url, self._started_at)
        self.log.info("People reach the hub at {people_url}", people_url=self.people_url)

    def reload(self) -> None:
        """Read the TLS certificate again, for new connections."""
        if self._port is not None:
            self._port.reload()

    # --- starting ---------------------------------------------------------------------------------

    def startService(self) -> None:
        options = self.options
        try:
            options.home.prepare()
            for path in options.home.make_files_private():
                self.log.warn(MADE_PRIVATE, path=str(path))
            self._lock.acquire()
            secrets = HubSecrets.of_home(options)
            self.token = secrets.token
            port = self._port = HubPort.with_certificate(self._reactor, options)
        except BaseException:
            self._lock.release()
            self._started.fire(None)  # nothing is under way for which `stopService` has to wait
            raise
        super().startService()  # type: ignore[no-untyped-call]
        Deferred.fromCoroutine(self._start(port, secrets)).addCallbacks(
            self._started.fire, self._not_started
        )
        if self._failure is not None:
            self._failure.raiseException()

    async def _start(self, port: HubPort, secrets: HubSecrets) -> None:
        database = self.options.used_database
        if not isinstance(database, Path):
            raise StoreRefused(f"{database} cannot be used: this version keeps its data in a file")
        store = self._store = file_store(database, self._reactor)
        await store.open()
        serving = self._serving = Serving(
            self._reactor, self._now, self.options, store, secrets, self._host_policy()
        )
        await serving.load()
        if not self.running:  # stopped meanwhile
            return
        port.listen(serving.site)
        self.url = port.local_url(self.options.public_url)
        self._started_at = self._now()
        self._lock.announce(self.url, self.people_url, self._started_at)
        self.log.info(
            "Hub serves {url}; people reach it at {people_url}",
            url=self.url,
            people_url=self.people_url,
        )
        port.warn(self.url, self.token)
        serving.start(PeriodicTask(self._check_files, FILES_CHECK_INTERVAL))
        self._listening.fire(self.url)

    def _not_started(self, failure: Failure) -> None:
        self._failure, self.running = failure, False
        closed = succeed(None) if self._store is None else self._store.close()
        closed.addBoth(lambda _: self._release(failure))

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
        serving, port = self._serving, self._port
        if serving is not None:
            serving.stop_tasks()
        if port is not None and port.number and serving is not None:
            await run_step(self._reactor, 1.0, "Closing the port", port.close, self.log)
            await serving.end_connections()
        if self._store is not None:
            await run_step(self._reactor, 2.0, "Closing the database", self._store.close, self.log)
        self._lock.release()


def hub_service(reactor: Any, options: HubOptions) -> HubService:
    """A hub with these options."""
    return HubService(reactor, options)
