"""All parts of a hub, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.resource import IResource

from hapi.deferreds import run_in_background
from hapi.hub.access.audit_log import AuditLog
from hapi.hub.access.auth import TokenIssuer
from hapi.hub.access.places import RequestLimits
from hapi.hub.access.rate_limits import LoginRateLimit
from hapi.hub.access.tokens import DeviceTokens, TokenKeeper
from hapi.hub.cli_events import CliEvents
from hapi.hub.cli_namespace import CliNamespace
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubSettings
from hapi.hub.domain.handoff import Handoff
from hapi.hub.domain.lifecycle import Lifecycle
from hapi.hub.domain.merge import Merging
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.notifications import Notifications
from hapi.hub.domain.presence import Presence
from hapi.hub.domain.queued_prompts import QueuedPrompts
from hapi.hub.domain.registry import HubRegistry, Rooms
from hapi.hub.domain.resume import Resuming
from hapi.hub.domain.retention import Retention
from hapi.hub.domain.retention_limits import NO_LIMITS, RetentionLimits
from hapi.hub.domain.termination import SessionTermination
from hapi.hub.http.authentication import Authenticator
from hapi.hub.http.compression import Compressor
from hapi.hub.http.paging import PageReader
from hapi.hub.http.proxies import NO_PROXIES, TrustedProxies
from hapi.hub.http.routes.auth import AuthRoutes
from hapi.hub.http.routes.cli import CliRoutes
from hapi.hub.http.routes.files import FileRoutes
from hapi.hub.http.routes.git import GitRoutes
from hapi.hub.http.routes.history import HistoryRoutes
from hapi.hub.http.routes.machines import MachineRoutes
from hapi.hub.http.routes.messages import MessageRoutes
from hapi.hub.http.routes.monitoring import Monitoring, MonitoringRoutes
from hapi.hub.http.routes.notifications import NotificationRoutes
from hapi.hub.http.routes.openapi_document import DocumentRoutes
from hapi.hub.http.routes.permissions import PermissionRoutes
from hapi.hub.http.routes.records import RecordRoutes
from hapi.hub.http.routes.scratchlist import SavedPromptRoutes, ScratchlistRoutes
from hapi.hub.http.routes.sessions import SessionRoutes
from hapi.hub.http.routes.share_links import ShareRoutes
from hapi.hub.http.routes.tokens import AuditRoutes, TokenRoutes
from hapi.hub.http.routing import Dispatcher, Routes, combine
from hapi.hub.http.sse import EVENTS_ROUTE, EventsResource
from hapi.hub.notify.assembly import DeviceNotifications, NotifyParts
from hapi.hub.records.export import Exporter
from hapi.hub.records.fork import Forking
from hapi.hub.records.indexing import OlderMessages
from hapi.hub.records.saved_prompts import SavedPrompts
from hapi.hub.records.scratchlist import Scratchlist
from hapi.hub.records.search import ConversationSearch
from hapi.hub.records.sharing import Sharing
from hapi.hub.records.usage import UsageSummary
from hapi.hub.status import HubStatus
from hapi.hub.store.interface import IStore, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.shared import RECIPIENTS_CHANGED, TOKENS_CHANGED, JournalEntry
from hapi.hub.terminals.namespace import TerminalNamespace
from hapi.hub.terminals.terminals import Terminals
from hapi.request_id import run_for_nobody

if TYPE_CHECKING:
    from hapi.hub.cluster.cluster import Cluster

RELOAD_INTERVAL = 1.0  # seconds between two tries to read what another hub has changed


class _LateRooms:
    """Stands in for the socket server, which needs the hub's namespaces before it can be made."""

    rooms: Rooms

    def room(self, name: str, namespace: str = "/cli") -> frozenset[Any]:
        return self.rooms.room(name, namespace)

    def emit(
        self, room: str, event: str, *args: Any, without: Any = None, namespace: str = "/cli"
    ) -> None:
        self.rooms.emit(room, event, *args, without=without, namespace=namespace)


class Hub:
    """`make_sockets` gets the `/cli` namespace and returns an object that knows its rooms (a
    SocketServer).
    """

    log = Logger()
    _hub_id = ""  # among the hubs of the database

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], int],
        store: IStore,
        token_issuer: TokenIssuer,
        make_sockets: Callable[[CliNamespace], Rooms],
        trusted_proxies: TrustedProxies = NO_PROXIES,
        retention: RetentionLimits = NO_LIMITS,
        audit_directory: Path | None = None,
        notify: NotifyParts | None = None,
        git_actions: bool = False,
    ) -> None:
        late = _LateRooms()
        devices = DeviceTokens(now)
        token_issuer = evolve(token_issuer, devices=devices)
        self.registry = registry = HubRegistry(clock, now, store, late)
        self.messages = messages = Messages(registry)
        self.presence = Presence(registry, messages)
        self.documents = documents = Documents(registry)
        termination = SessionTermination(registry)
        self.lifecycle = lifecycle = Lifecycle(registry, documents, self.presence, termination)
        self.merging = merging = Merging(registry, has_own_token=devices.has_machine)
        resuming = Resuming(registry, documents, merging)
        self.notifications = Notifications(registry)
        messages.on_ready.append(self.notifications.session_ready)
        documents.on_state.append(self.notifications.state_changed)
        documents.on_agent_id.append(merging.merge_duplicates)
        registry.on_removed.append(self.notifications.forget)
        registry.on_removed.append(registry.queues.forget)
        registry.on_removed.append(registry.live.forget)
        store.follow(self.notifications.stored)
        self.presence.on_ended.append(self.notifications.session_ended)
        self.retention = Retention(registry, lifecycle, retention)
        registry.on_removed.append(self.retention.purge_soon)
        self.older_messages = OlderMessages(registry)
        rate_limit = LoginRateLimit()
        self.audit = audit = AuditLog(audit_directory, now)
        self.devices = notified = DeviceNotifications(
            notify or NotifyParts(),
            registry,
            documents,
            messages,
            self.notifications,
            devices,
            audit,
        )
        self.tokens = tokens = TokenKeeper(devices, store, clock)
        self.cli = CliNamespace(
            registry,
            token_issuer,
            rate_limit,
            CliEvents(registry, self.presence, messages, documents),
            audit,
        )
        terminals = Terminals(registry, audit)
        self.terminals = TerminalNamespace(registry, token_issuer, terminals, audit)
        self.cli.on_terminal = terminals.from_session
        self.presence.on_ended.append(terminals.session_ended)
        registry.on_removed.append(terminals.session_removed)
        self.sockets = late.rooms = make_sockets(self.cli)
        self.authenticator = authenticator = Authenticator(
            token_issuer, rate_limit, trusted_proxies, clock, now
        )
        self.limits, self.compressor = RequestLimits(), Compressor(clock)
        self.dispatcher = dispatcher = Dispatcher(
            authenticator, registry, self.limits, self.compressor, audit
        )
        settings = HubSettings()
        self.streams = EventsResource(registry, authenticator)
        tokens.on_ended.append(self.terminals.end_device)
        tokens.on_ended += [self.cli.end_device, self.streams.end_device]
        tokens.on_ended.append(notified.recipients.end_device)
        self.monitoring = Monitoring(
            registry, messages, self.presence, self.cli.places, self.streams
        )
        self.status = status = HubStatus(
            registry, self.cli.places, self.monitoring.problem, self.monitoring.database_size
        )
        scratchlist = Scratchlist(registry)
        parts: list[Routes] = [
            AuthRoutes(
                dispatcher,
                token_issuer,
                settings,
                status,
                notified.recipients,
                notified.telegram_token,
            ),
            TokenRoutes(dispatcher, tokens),
            AuditRoutes(dispatcher),
            CliRoutes(
                dispatcher,
                lifecycle,
                documents,
                settings,
                tokens,
                Handoff(registry, lifecycle.termination),
            ),
            SessionRoutes(dispatcher, lifecycle, resuming, documents),
            MessageRoutes(
                dispatcher, messages, QueuedPrompts(registry), PageReader(clock), scratchlist
            ),
            ScratchlistRoutes(dispatcher, scratchlist),
            SavedPromptRoutes(dispatcher, SavedPrompts(registry)),
            PermissionRoutes(dispatcher, documents),
            MachineRoutes(dispatcher, documents),
            FileRoutes(dispatcher),
            GitRoutes(dispatcher, git_actions),
            ShareRoutes(dispatcher, Sharing(registry)),
            HistoryRoutes(dispatcher, Forking(registry, lifecycle)),
            RecordRoutes(
                dispatcher,
                ConversationSearch(registry),
                UsageSummary(registry),
                Exporter(registry, scratchlist),
            ),
            MonitoringRoutes(dispatcher, self.monitoring),
            NotificationRoutes(dispatcher, notified.notifier, notified.answers),
        ]
        self.description = DocumentRoutes(dispatcher, parts, [EVENTS_ROUTE])
        application = combine(dispatcher, *parts, self.description)
        self.rest: IResource = application.resource()
        self.routes = application.url_map

    def join(self, cluster: Cluster) -> None:
        """Serve the database together with other hubs. Call this before `cluster.start`, which
        loads the registry.
        """
        self.registry.cluster, self._hub_id = cluster, cluster.hub_id
        cluster.on_gained.append(self.notifications.took_over)
        cluster.on_lost.append(self.notifications.forget)
        cluster.on_internal.append(self._changed_elsewhere)
        cluster.on_internal.append(self.devices.apply)
        cluster.on_missed.append(self._read_again)
        cluster.singletons.on_change.append(self.devices.singleton_tasks_changed)

    def _changed_elsewhere(self, entry: JournalEntry) -> None:
        """Another hub has changed something that this one keeps in memory."""
        if entry.hub != self._hub_id:
            if entry.kind == TOKENS_CHANGED:
                self._reload(self.tokens.reload)
            elif entry.kind == RECIPIENTS_CHANGED:
                self._reload(self.devices.recipients.reload)

    def _read_again(self) -> None:
        self._reload(self.tokens.reload)
        self._reload(self.devices.recipients.reload)

    def _reload(self, read: Callable[[], Awaitable[None]]) -> None:
        """Read what another hub has changed, as often as it takes."""

        async def reload() -> None:
            while True:
                try:
                    return await read()
                except (StoreBusy, StoreFull, StoreFailed):
                    await deferLater(self.registry.clock, RELOAD_INTERVAL)

        run_for_nobody(
            lambda: run_in_background(reload(), self.log, "What another hub has changed is unknown")
        )
