"""The hub as a Twisted service, which stops within 8 seconds."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_step
from hapi.home import MADE_PRIVATE
from hapi.hub.access.auth import TokenIssuer
from hapi.hub.address import reachable_url
from hapi.hub.cli_namespace import CliNamespace
from hapi.hub.domain.presence import SWEEP_INTERVAL
from hapi.hub.domain.retention import SWEEP_INTERVAL as RETENTION_INTERVAL
from hapi.hub.http.site import HostPolicy, RootResource, host_name, hub_site
from hapi.hub.http.static import OwnPage, PageResource
from hapi.hub.hub import Hub
from hapi.hub.lock import HubLock
from hapi.hub.notify.assembly import NotifyParts
from hapi.hub.notify.options import DEFAULT_SUBJECT
from hapi.hub.notify.services import ServiceEndpoints, make_http
from hapi.hub.notify.vapid import VapidKey
from hapi.hub.options import HubOptions, base_token, signing_secret
from hapi.hub.records.indexing import SWEEP_INTERVAL as INDEXING_INTERVAL
from hapi.hub.store.interface import StoreLost, StoreRefused
from hapi.hub.store.sqlite import SqliteStore, file_store
from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer
from hapi.one_shot import OneShotObserver
from hapi.protocol.authority import is_loopback
from hapi.protocol.work.terminals import NAMESPACE as TERMINAL_NAMESPACE
from hapi.settings import ConfigurationError

if TYPE_CHECKING:
    from hapi.net.server.tls import ServerCertificate

HEARTBEAT_INTERVAL = 30.0  # seconds
MIN_TOKEN_LENGTH = 20  # characters; a shorter access token is warned about
STUCK_CHECK_INTERVAL = 30.0  # seconds
FILES_CHECK_INTERVAL = 5.0  # seconds; every write checks the files of the database itself


class CannotServe(Exception):
    """The hub cannot listen on its address; the message says which address and why."""


def _read_certificate(options: HubOptions) -> ServerCertificate | None:
    """Raises ConfigurationError."""
    if options.tls is None:
        return None
    from hapi.net.server.tls import CertificateUnusable, ServerCertificate

    try:
        return ServerCertificate(options.tls.certificate, options.tls.key)
    except CertificateUnusable as error:
        raise ConfigurationError(f"TLS: {error}") from error


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
        self._port: Any = None
        self._store: SqliteStore | None = None
        self._lock = HubLock(options.home, options.used_database)
        self._loops: list[LoopingCall] = []
        self._certificate: ServerCertificate | None = None
        self._policy = HostPolicy()
        self._root: RootResource | None = None
        self._started_at = 0  # milliseconds since the epoch
        self.hub: Hub | None = None
        self.url = ""
        self.token = ""

    @property
    def when_listening(self) -> Deferred[str]:
        return self._listening.when_fired()

    @property
    def port(self) -> int:
        """The port on which the hub listens, 0 while it does not listen."""
        return self._port.getHost().port if self._port is not None else 0

    @property
    def people_url(self) -> str:
        """The address of the page for people on other devices, once the hub listens."""
        options = self.options
        return reachable_url(self.url, options.host, options.public_url) + options.base_path

    def use_public_url(self, url: str) -> None:
        """Be reached by people as `url`, an origin, from now on: a tunnel has that address."""
        self.options = evolve(self.options, public_url=url)
        self._policy = self._host_policy()
        if self._root is not None:
            self._root.host_policy = self._policy
            self._lock.announce(self.url, self.people_url, self._started_at)
        self.log.info("People reach the hub at {people_url}", people_url=self.people_url)

    # --- starting --------------------------------------------------------------------------------

    def startService(self) -> None:
        options = self.options
        try:
            options.home.prepare()
            for path in options.home.make_files_private():
                self.log.warn(MADE_PRIVATE, path=str(path))
            self._lock.acquire()
            self.token = base_token(options)
            secret = signing_secret(options.home)
            token_issuer = TokenIssuer(self.token, secret)
            self._certificate = _read_certificate(options)
        except BaseException:
            self._lock.release()
            self._started.fire(None)  # nothing is under way for which `stopService` has to wait
            raise
        super().startService()  # type: ignore[no-untyped-call]
        Deferred.fromCoroutine(self._start(token_issuer, secret)).addCallbacks(
            self._started.fire, self._not_started
        )
        if self._failure is not None:
            self._failure.raiseException()

    async def _start(self, token_issuer: TokenIssuer, secret: bytes) -> None:
        options = self.options
        database = options.used_database
        if not isinstance(database, Path):
            raise StoreRefused(f"{database} cannot be used: this version keeps its data in a file")
        store = self._store = file_store(database, self._reactor)
        await store.open()
        proxies = options.trusted_proxies
        self._policy = self._host_policy()
        self.hub = Hub(
            self._reactor,
            self._now,
            store,
            token_issuer,
            self._sockets,
            proxies,
            options.retention,
            options.home.path,
            self._notify_parts(secret),
            options.git_actions,
        )
        self.server.namespaces[TERMINAL_NAMESPACE] = self.hub.terminals
        self._root = root = RootResource(
            self._policy,
            self.hub.rest,
            self.hub.streams,
            self.server.resource,
            PageResource(
                options.web_root or OwnPage(is_mini_app=bool(options.notify.telegram_token))
            ),
            options.base_path.encode(),
        )
        self._site = hub_site(
            root,
            self._reactor,
            self.hub.authenticator,
            self.server.body_limit,
            self.hub.monitoring.requests,
            options.base_path.encode(),
        )
        await self._load()
        if not self.running:  # stopped meanwhile
            return
        self._port = self._listen(self._site)
        self.url = self._local_url()
        self._started_at = self._now()
        self._lock.announce(self.url, self.people_url, self._started_at)
        for beat, seconds in (
            (self.hub.presence.sweep, SWEEP_INTERVAL),
            (self._heartbeat, HEARTBEAT_INTERVAL),
            (self._check_files, FILES_CHECK_INTERVAL),
            (self.hub.retention.sweep, RETENTION_INTERVAL),
            (self.hub.older_messages.sweep, INDEXING_INTERVAL),
            (self.hub.notifications.check_stuck, STUCK_CHECK_INTERVAL),
        ):
            loop = LoopingCall(self._guarded, beat)
            loop.clock = self._reactor
            loop.start(seconds, now=beat == self.hub.older_messages.sweep)
            self._loops.append(loop)
        self.log.info(
            "Hub serves {url}; people reach it at {people_url}",
            url=self.url,
            people_url=self.people_url,
        )
        self._warn()
        self.hub.devices.start()
        self._listening.fire(self.url)

    def _not_started(self, failure: Failure) -> None:
        self._failure, self.running = failure, False
        closed = succeed(None) if self._store is None else self._store.close()
        closed.addBoth(lambda _: self._release(failure))

    def _release(self, failure: Failure) -> None:
        self._lock.release()
        self._started.fire(None)
        self._listening.fire(failure)

    def _notify_parts(self, secret: bytes) -> NotifyParts:
        options, notify = self.options, self.options.notify
        public = options.public_url or ""
        subject = notify.vapid_subject or (
            public if public.startswith("https://") else DEFAULT_SUBJECT
        )

        def make_client() -> Any:
            endpoints = ServiceEndpoints(self._reactor, notify.allows_private, notify.proxy)
            return make_http(self._reactor, endpoints)

        # Another access token ends the answers of notifications, as it ends web tokens.
        purpose = b"HAPI answers\0" + self.token.encode("utf-8", "surrogatepass")
        return NotifyParts(
            VapidKey(options.home.vapid_key, subject),
            hmac.digest(secret, purpose, "sha256"),
            make_client,
            notify.allows_private,
            notify.telegram_token,
            notify.telegram_api,
            notify.telegram_notifies,
            lambda: make_http(self._reactor, ServiceEndpoints(self._reactor, True, notify.proxy)),
            public if public.startswith("https://") else None,
        )

    def _sockets(self, cli: CliNamespace) -> SocketServer:
        self.server = SocketServer(
            self._reactor,
            {"/cli": cli},
            allow_origin=self._allows_origin,
            client_address=self.options.trusted_proxies.client_address,
        )
        return self.server

    def _listen(self, site: LimitedSite) -> Any:
        host, port = self.options.host, self.options.port
        interface = "" if host in ("*", "0.0.0.0") else host
        factory: IProtocolFactory = site
        if self._certificate is not None:
            from hapi.net.server.tls import HttpsFactory

            factory = HttpsFactory(self._certificate, site)
        try:
            return self._reactor.listenTCP(port, factory, backlog=512, interface=interface)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise CannotServe(f"cannot listen on {host}:{port}: {reason}") from error

    def _host_policy(self) -> HostPolicy:
        options = self.options
        public = (
            {host_name(options.public_url.partition("://")[2])} if options.public_url else set()
        )
        names = (
            frozenset(
                {
                    *public,
                    *(self._certificate.identity.names if self._certificate else ()),
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

    def _allows_origin(self, origin: str, host: str) -> bool:
        return self._policy.allows_origin(origin, host)

    def _display_host(self) -> str:
        host = self.options.host
        if host in ("*", "0.0.0.0", "::", ""):
            return "127.0.0.1"
        return f"[{host}]" if ":" in host else host

    def _local_url(self) -> str:
        """The address for programs on this machine; with TLS, one that the certificate covers."""
        host = self._display_host()
        if self._certificate is None:
            return f"http://{host}:{self.port}"
        identity, public_url = self._certificate.identity, self.options.public_url
        for name in (host, *(["localhost"] if is_loopback(host) else [])):
            if identity.covers(name.strip("[]")):
                return f"https://{name}:{self.port}"
        if public_url is not None and urlsplit(public_url).scheme == "https":
            return public_url
        names = (name for name in identity.names if not name.startswith("*"))
        return f"https://{next(names, host)}:{self.port}"

    def _warn(self) -> None:
        if self._certificate is not None:
            self._warn_of_certificate(self._certificate)
        elif not is_loopback(self.options.host):
            self.log.warn(
                "The hub listens on {host} without TLS, so that the access token can be read on "
                "the network. Put a TLS proxy in front of the hub, or listen on 127.0.0.1",
                host=self.options.host,
            )

        if len(self.token) < MIN_TOKEN_LENGTH:
            self.log.warn(
                "The access token has only {length} characters, so that whoever reaches the hub "
                "can guess it. Use one of at least {least} random characters",
                length=len(self.token),
                least=MIN_TOKEN_LENGTH,
            )

    def _warn_of_certificate(self, certificate: ServerCertificate) -> None:
        identity, path = certificate.identity, certificate.certificate_path
        if identity.has_expired():
            self.log.warn(
                "The certificate in {path} has expired on {date}, so that no client accepts it",
                path=str(path),
                date=f"{identity.not_after:%Y-%m-%d}",
            )
        host = urlsplit(self.url).hostname or ""
        if not identity.covers(host):
            self.log.warn(
                "The certificate in {path} is not valid for {host}, so that runners and browsers "
                "refuse {url}. It names: {names}. Set --public-url to the address it is for",
                path=str(path),
                host=host,
                url=self.url,
                names=", ".join((*identity.names, *identity.addresses)) or "nothing",
            )

    async def _load(self) -> None:
        """Load all rows before the first request. Raises StoreRefused."""
        assert self.hub is not None
        try:
            await self.hub.registry.load()
            await self.hub.tokens.load()
            await self.hub.devices.recipients.load()
        except Exception as error:
            raise StoreRefused(
                f"database {self.options.used_database} cannot be read: {error}"
            ) from error

    def reload(self) -> None:
        """Read certificate and key again, for new connections. What cannot be used is logged, and
        the hub keeps the certificate that it has.
        """
        if self._certificate is None:
            return
        from hapi.net.server.tls import CertificateUnusable

        try:
            identity = self._certificate.reload()
        except CertificateUnusable as error:
            self.log.error(
                "The hub keeps its certificate, valid until {date}: {reason}",
                date=f"{self._certificate.identity.not_after:%Y-%m-%d}",
                reason=str(error),
            )
        else:
            self.log.info(
                "New connections get the certificate in {path}, valid until {date}",
                path=str(self._certificate.certificate_path),
                date=f"{identity.not_after:%Y-%m-%d}",
            )

    # --- running ---------------------------------------------------------------------------------

    async def _heartbeat(self) -> None:
        if self.hub is not None:
            self.hub.registry.events.heartbeat(self.hub.registry.now())

    async def _check_files(self) -> None:
        """Notice files that were deleted, replaced or moved under this hub."""
        self._lock.restore()
        if self._store is not None:
            self._store.database.verify_files()

    async def _guarded(self, beat: Callable[[], Awaitable[None]]) -> None:
        try:
            await beat()
        except StoreLost:
            pass  # logged once, where it was noticed
        except Exception:
            self.log.failure("A periodic task of the hub failed and will run again")

    # --- stopping --------------------------------------------------------------------------------

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
        for loop in self._loops:
            if loop.running:
                loop.stop()
        if self.hub is not None:
            self.hub.retention.stop()
            self.hub.older_messages.stop()
        if self._port is not None and self.hub is not None:
            await run_step(
                self._reactor, 1.0, "Closing the port", self._port.stopListening, self.log
            )
            await run_step(
                self._reactor, 1.0, "Ending event streams", self._close_event_streams, self.log
            )
            await run_step(self._reactor, 2.0, "Closing sockets", self.server.stop, self.log)
            self._site.close_connections()
            self.hub.notifications.stop()
            self.hub.devices.stop()
            self.hub.compressor.stop()
            self.hub.registry.queues.stop()
            self.hub.tokens.stop()
        if self._store is not None:
            await run_step(self._reactor, 2.0, "Closing the database", self._store.close, self.log)
        self._lock.release()
        self._port = None

    async def _close_event_streams(self) -> None:
        assert self.hub is not None
        self.hub.streams.stop()


def hub_service(reactor: Any, options: HubOptions) -> HubService:
    """A hub with these options."""
    return HubService(reactor, options)
