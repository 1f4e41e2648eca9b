"""`/metrics`: figures in the text format of Prometheus. Imported by the first request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from hapi.net.server.prometheus import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    ProcessCollector,
    generate_latest,
)
from hapi.runner.storage.counters import Counters

STATES = ("requested", "launched", "announced", "ready", "unknown")
PHASES = ("connecting", "connected", "refused", "stopped")
MAX_REASON_CHARACTERS = 300  # of a reason that is a label
OUTCOMES = ("spawned", "needs_directory", "failed")
CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()


class MetricsSource(Protocol):
    """What the metrics need of the runner."""

    counters: Counters

    def status(self) -> Mapping[str, Any]: ...
    def list(self) -> Any: ...
    def after(self, seconds: float, call: Callable[[], object]) -> None: ...


class Metrics:
    """One registry for each runner; `text()` is the answer.

    Process figures (memory, descriptors, CPU) are those of the whole process, in which other
    services may run as well.
    """

    def __init__(self, runner: MetricsSource) -> None:
        self._runner = runner
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        runner.counters.measure_lag(runner.after)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        status, counters = self._runner.status(), self._runner.counters
        hub = status.get("hub") or {}
        sessions = self._runner.list()
        states = Counter(listed.state or "ready" for listed in sessions)
        yield _by(
            "hapi_runner_sessions",
            "Live sessions by state.",
            "state",
            {**dict.fromkeys(STATES, 0), **states},
        )
        yield _gauge(
            "hapi_runner_resting_agents",
            "Live sessions whose idle agent rests.",
            sum((listed.activity or {}).get("doing") == "resting" for listed in sessions),
        )
        spawns = CounterMetricFamily(
            "hapi_runner_spawns", "Answers to spawn requests by outcome.", labels=["outcome"]
        )
        for outcome, count in {**dict.fromkeys(OUTCOMES, 0), **counters.spawns}.items():
            spawns.add_metric([outcome], count)
        yield spawns
        phases = {phase: int(phase == hub.get("phase")) for phase in PHASES}
        yield _by(
            "hapi_runner_link", "1 for the phase that the link to the hub is in.", "phase", phases
        )
        yield _gauge(
            "hapi_runner_registered",
            "1 while the hub knows this machine.",
            int(bool(status.get("registered"))),
        )
        yield _count(
            "hapi_runner_link_reconnects",
            "How often the link came back.",
            max(counters.connects - 1, 0),
        )
        yield _count("hapi_runner_beats", "Heartbeats done.", status.get("beats") or 0)
        yield _count(
            "hapi_runner_beat_failures", "Heartbeats that failed.", status.get("failedBeats") or 0
        )
        yield _gauge(
            "hapi_runner_beat_seconds",
            "How long the last heartbeat took.",
            status.get("lastBeatSeconds") or 0.0,
        )
        yield _gauge(
            "hapi_runner_reactor_lag_seconds",
            "How late the last timer came; measured from the first scrape on.",
            counters.lag,
        )
        yield _gauge(
            "hapi_runner_reactor_lag_worst_seconds", "The worst of these.", counters.worst_lag
        )
        yield from _upgrades(status)
        yield _gauge(
            "hapi_runner_uptime_seconds",
            "Since this runner started.",
            status.get("uptimeSeconds") or 0.0,
        )


def _upgrades(status: Mapping[str, Any]) -> Iterable[Metric]:
    """Whether the installed build runs, and why it does not."""
    handoff = status.get("handoff") or {}
    current = status.get("current")
    if current is not None:  # None while no build can be read
        yield _gauge(
            "hapi_runner_build_current", "1 while the installed build runs.", int(bool(current))
        )
    yield _count(
        "hapi_runner_upgrade_failures",
        "Hand-offs and trial starts of an installed build that failed.",
        handoff.get("failures") or 0,
    )
    failure = handoff.get("lastFailure")
    if failure:
        family = GaugeMetricFamily(
            "hapi_runner_upgrade_failure_timestamp_seconds",
            "When the installed build last failed to start, with the reason and its output file.",
            labels=["reason", "output"],
        )
        reason = str(failure["reason"])[:MAX_REASON_CHARACTERS]
        family.add_metric([reason, str(failure.get("output") or "")], failure["at"] / 1000)
        yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _count(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
