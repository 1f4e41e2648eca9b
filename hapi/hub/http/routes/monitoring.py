"""REST for monitors: whether the hub can serve, and its figures."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field
from klein import Klein
from twisted.web import http

from hapi.hub.access.places import Places
from hapi.hub.domain.errors import AccessDenied
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.presence import Presence
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.http.openapi.operation import operation
from hapi.hub.http.responses import MESSAGES, Response
from hapi.hub.http.routing import RequestContext, Routes, cli, public
from hapi.hub.http.sse import EventsResource
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.rows import DatabaseSize
from hapi.metrics import LagMeter, RequestCounters
from hapi.protocol.rest.hub import NotReady, Ready
from hapi.protocol.token import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from hapi.hub.http.metrics import Metrics

PROBE_INTERVAL = 1.0  # seconds between two writes that try whether the store works again
STOPPING = "The hub is stopping"


@define(eq=False, repr=False)
class Monitoring:
    """The parts of the hub that monitors ask about."""

    registry: HubRegistry
    messages: Messages
    presence: Presence
    sockets: Places
    streams: EventsResource
    requests: RequestCounters = field(factory=RequestCounters)
    is_draining: bool = False  # the hub is about to stop
    lag: LagMeter = field(init=False)
    started_at: float = field(init=False)  # clock seconds
    _probed_at: float = float("-inf")  # clock seconds

    def __attrs_post_init__(self) -> None:
        self.lag = LagMeter(self.registry.clock)
        self.started_at = self.registry.clock.seconds()

    @property
    def uptime(self) -> float:
        """Seconds."""
        return self.registry.clock.seconds() - self.started_at

    async def problem(self) -> str | None:
        """Why the hub cannot serve; None if it can.

        Files and lock of the database are looked at each time. While writes fail and nobody writes,
        the store is written to, to find out.
        """
        if self.streams.stopped or self.is_draining:
            return STOPPING
        store, cluster = self.registry.store, self.registry.cluster
        if cluster is not None and cluster.problem is not None:
            return cluster.problem
        try:
            await store.check()
        except (StoreBusy, StoreFull, StoreFailed) as error:
            return MESSAGES[type(error)]
        now = self.registry.clock.seconds()
        if store.statistics.problem is not None and now - self._probed_at >= PROBE_INTERVAL:
            self._probed_at = now
            try:
                await store.probe()
            except (StoreBusy, StoreFull, StoreFailed):
                pass  # it is in the statistics
        problem = store.statistics.problem
        return None if problem is None else MESSAGES[type(problem)]

    async def database_size(self) -> DatabaseSize | None:
        """None while the database cannot be read. That it is away is known, and not waited for."""
        store, cluster = self.registry.store, self.registry.cluster
        is_unreachable = cluster is not None and cluster.problem is not None
        if is_unreachable or isinstance(store.statistics.problem, StoreAway):
            return None
        try:
            return await store.size()
        except (StoreBusy, StoreFull, StoreFailed):
            return None

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Call `call` after some seconds, unless the hub stops before."""
        self.registry.clock.callLater(seconds, lambda: None if self.streams.stopped else call())


@define(eq=False, repr=False)
class MonitoringRoutes(Routes):
    monitoring: Monitoring
    _metrics: Metrics | None = None

    app: ClassVar[Klein] = Klein()

    @app.route("/ready", methods=["GET"])
    @public
    @operation(Ready, replies={http.SERVICE_UNAVAILABLE: NotReady})
    async def ready(self, context: RequestContext) -> Any:
        """Show whether the hub can store what it is sent."""
        problem = await self.monitoring.problem()
        if problem is None:
            return {"status": "ready"}
        return Response(http.SERVICE_UNAVAILABLE, {"status": "not ready", "error": problem})

    @app.route("/metrics", methods=["GET"])
    @cli
    @operation(str, media_type="text/plain", errors=(AccessDenied,))
    async def metrics(self, context: RequestContext) -> Response:
        """Show the hub's figures for Prometheus; those of all namespaces, so only to its owner."""
        if context.namespace != DEFAULT_NAMESPACE:
            raise AccessDenied("Only the owner of the hub may read its metrics")
        from hapi.hub.http.metrics import CONTENT_TYPE, Metrics

        if self._metrics is None:
            self._metrics = Metrics(self.monitoring)
        problem = await self.monitoring.problem()
        text = self._metrics.text(problem is None, await self.monitoring.database_size())
        return Response(http.OK, text, kind=CONTENT_TYPE)
