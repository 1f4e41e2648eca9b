"""`/metrics` of a hub that waits to serve: what it knows by then. Imported by the first request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from hapi import __version__
from hapi.net.server.prometheus import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST


@frozen
class StandbyFigures:
    """`is_standby`: another hub serves, so that all is well. `members_up`: None: it is not known at
    present.
    """

    uptime: float  # seconds
    is_standby: bool
    members_up: int | None


class StandbyMetrics:
    """The figures have the names that they have at a hub that serves."""

    def __init__(self) -> None:
        self._figures = StandbyFigures(0.0, False, None)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self, figures: StandbyFigures) -> bytes:
        self._figures = figures
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        figures = self._figures
        yield InfoMetricFamily("hapi_hub_build", "This hub.", {"version": __version__})
        yield _gauge("hapi_hub_ready", "1 if `/ready` answers 200.", 0)
        yield _gauge(
            "hapi_hub_standby",
            "1 if another hub of the database serves, and this one waits.",
            int(figures.is_standby),
        )
        yield _gauge("hapi_hub_uptime_seconds", "Since this hub started.", figures.uptime)
        if figures.members_up is not None:
            yield _gauge(
                "hapi_hub_members_up",
                "Hubs of the database that are up, this one included.",
                figures.members_up,
            )


def _gauge(name: str, text: str, value: float) -> Any:
    return GaugeMetricFamily(name, text, value)
