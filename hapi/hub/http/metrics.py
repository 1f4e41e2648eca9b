"""The hub's `/metrics`: figures in the text format of Prometheus. Imported by the first request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from hapi import __version__
from hapi.hub.access.places import Places
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.presence import Presence
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.rpc import FORWARDED, RESULTS
from hapi.hub.store.rows import DatabaseSize
from hapi.metrics import Histogram, LagMeter, RequestCounters
from hapi.net.server.prometheus import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
SESSION_STATES = ("working", "waiting", "idle", "inactive")
STORE_ERRORS = ("StoreBusy", "StoreFull", "StoreFailed", "StoreLost")
SENDERS = ("agent", "person")


class MetricsSource(Protocol):
    """What the metrics need of the hub."""

    registry: HubRegistry
    messages: Messages
    presence: Presence
    sockets: Places
    requests: RequestCounters
    lag: LagMeter

    @property
    def uptime(self) -> float: ...

    def after(self, seconds: float, call: Callable[[], object]) -> None: ...


def state_of(session: HubSession) -> str:
    """`waiting`: for an answer to a permission request or question."""
    if not session.active:
        return "inactive"
    if session.requests:
        return "waiting"
    return "working" if session.thinking else "idle"


class Metrics:
    """One registry for each hub; `text()` is the answer.

    Process figures (memory, descriptors, CPU) are those of the whole process, in which a runner may
    run as well.
    """

    def __init__(self, hub: MetricsSource) -> None:
        self._hub = hub
        self._is_ready = True  # this and the size are those of the present answer
        self._size: DatabaseSize | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        hub.lag.start(hub.after)

    def text(self, is_ready: bool, size: DatabaseSize | None) -> bytes:
        """`size`: None if it is not known."""
        self._is_ready, self._size = is_ready, size
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("hapi_hub_build", "This hub.", {"version": __version__})
        yield _gauge("hapi_hub_ready", "1 if `/ready` answers 200.", int(self._is_ready))
        yield _gauge("hapi_hub_uptime_seconds", "Since this hub started.", self._hub.uptime)
        yield from self._entities()
        yield from self._traffic()
        yield from self._store()
        yield from self._requests()
        yield from self._cluster()
        lag = self._hub.lag
        yield _gauge(
            "hapi_hub_reactor_lag_seconds",
            "How late the last timer came; measured from the first scrape on.",
            lag.last,
        )
        yield _gauge("hapi_hub_reactor_lag_worst_seconds", "The worst of these.", lag.worst)

    def _entities(self) -> Iterable[Metric]:
        registry = self._hub.registry
        states = Counter(map(state_of, registry.sessions.values()))
        yield _by(
            "hapi_hub_sessions",
            "Sessions by state; `waiting` ones wait for an answer of a person.",
            "state",
            {state: states[state] for state in SESSION_STATES},
        )
        online = sum(machine.active for machine in registry.machines.values())
        yield _by(
            "hapi_hub_machines",
            "Machines by presence.",
            "state",
            {"online": online, "offline": len(registry.machines) - online},
        )

    def _traffic(self) -> Iterable[Metric]:
        hub, registry = self._hub, self._hub.registry
        yield _gauge(
            "hapi_hub_sockets",
            "Connected sockets of runners and session processes.",
            hub.sockets.taken,
        )
        yield _gauge(
            "hapi_hub_event_streams",
            "Open event streams of pages and programs.",
            registry.events.listening,
        )
        yield _gauge(
            "hapi_hub_live_readers",
            "Event streams that carry the live text of a session.",
            registry.events.live_readers,
        )
        yield _count_by(
            "hapi_hub_messages",
            "Stored messages by who sent them.",
            ("sender",),
            {(sender,): hub.messages.stored[sender] for sender in SENDERS},
        )
        yield _histogram(
            "hapi_hub_turn_seconds",
            "How long turns took, from the prompt to the end of the work.",
            hub.presence.turn_seconds,
        )
        yield _count_by(
            "hapi_hub_rpc_calls",
            "Calls to runners and session processes by method and result.",
            ("method", "result"),
            registry.rpc.calls,
        )
        yield _gauge("hapi_hub_rpc_open_calls", "Calls without an answer.", registry.rpc.open_calls)

    def _store(self) -> Iterable[Metric]:
        registry, statistics = self._hub.registry, self._hub.registry.store.statistics
        yield _histogram(
            "hapi_hub_store_seconds",
            "How long changes took from their begin until they were on the disk.",
            statistics.seconds,
        )
        yield _count_by(
            "hapi_hub_store_failures",
            "Changes that could not be stored, by error.",
            ("error",),
            {(name,): statistics.failures[name] for name in STORE_ERRORS},
        )
        yield _gauge(
            "hapi_hub_store_queue_length", "Changes that are not yet stored.", statistics.waiting
        )
        queues = registry.queues.waiting
        arrivals = [queue.oldest for queue in queues if queue.oldest is not None]
        now = registry.clock.seconds()
        yield _gauge(
            "hapi_hub_event_queue_length",
            "Events of session processes that are not yet stored.",
            sum(map(len, queues)),
        )
        yield _gauge(
            "hapi_hub_event_lag_seconds",
            "Age of the oldest of these events.",
            now - min(arrivals, default=now),
        )
        if self._size is not None:
            yield _by(
                "hapi_hub_database_bytes",
                "Size of the database; `free` space is used again.",
                "kind",
                {"used": self._size.used, "free": self._size.free},
            )

    def _cluster(self) -> Iterable[Metric]:
        """Of a hub that shares its database, or that may be replaced by another one."""
        registry = self._hub.registry
        batches = registry.store.statistics.batches
        if batches is not None:
            yield _histogram(
                "hapi_hub_store_batch_changes",
                "How many changes shared a transaction.",
                batches.sizes,
            )
            yield _histogram(
                "hapi_hub_store_commit_seconds",
                "How long the transactions took, with their COMMIT.",
                batches.seconds,
            )
        if (cluster := registry.cluster) is None:
            return
        yield _gauge(
            "hapi_hub_journal_lag_seconds",
            "Since this hub had read all events of all hubs.",
            cluster.lag,
        )
        yield _gauge(
            "hapi_hub_homes", "Sessions and machines that this hub serves.", len(cluster.served)
        )
        if cluster.problem is None:  # else it is not known
            yield _gauge(
                "hapi_hub_members_up",
                "Hubs of the database that are up, this one included.",
                sum(member.is_up for member in cluster.members),
            )
        yield _gauge(
            "hapi_hub_runs_singleton_tasks",
            "1 if this hub does what has to be done once for all hubs.",
            int(cluster.runs_singleton_tasks),
        )
        if (peers := registry.peers) is None:
            return
        if peers.statistics.is_reachable is not None:
            yield _gauge(
                "hapi_hub_advertised_reachable",
                "1 if this hub has found itself at the URL where the others reach it.",
                int(peers.statistics.is_reachable),
            )
        yield _by(
            "hapi_hub_peer_up",
            "1 for each other hub of the database that is up and that this one reaches.",
            "hub",
            peers.statistics.reached,
        )
        yield _count_by(
            "hapi_hub_forwarded_requests",
            "HTTP requests that were forwarded to the hub that serves their session or machine.",
            ("result",),
            {(result,): peers.statistics.forwarded[result] for result in FORWARDED},
        )
        yield _count_by(
            "hapi_hub_peer_calls",
            "What sessions and machines at other hubs were asked to do.",
            ("result",),
            {(result,): peers.statistics.asked[result] for result in RESULTS},
        )
        yield _gauge(
            "hapi_hub_relayed_sockets",
            "Sockets of runners and sessions that are connected here and served by another hub.",
            peers.statistics.relays,
        )

    def _requests(self) -> Iterable[Metric]:
        requests = self._hub.requests
        yield _count_by(
            "hapi_hub_requests",
            "HTTP requests by method, route and status.",
            ("method", "route", "status"),
            {
                (method, route, str(status)): count
                for (method, route, status), count in requests.answered.items()
            },
        )
        yield _histogram(
            "hapi_hub_request_seconds",
            "How long HTTP requests took, without event streams.",
            requests.seconds,
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _count_by(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, values: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=values.buckets(), sum_value=values.sum)
