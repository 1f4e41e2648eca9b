"""What hub and runner use of prometheus_client, which loads ssl though nothing here serves TLS by
it. Imported by the first request for `/metrics`."""

from __future__ import annotations

from hapi.startup import allow_tls_imports

allow_tls_imports()
from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: E402
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest  # noqa: E402
from prometheus_client.metrics_core import (  # noqa: E402
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

__all__ = [
    "CONTENT_TYPE_LATEST",
    "CollectorRegistry",
    "CounterMetricFamily",
    "GaugeMetricFamily",
    "HistogramMetricFamily",
    "InfoMetricFamily",
    "Metric",
    "ProcessCollector",
    "generate_latest",
]
