"""What the server tells Prometheus about itself."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
    2.5,
    10.0,
)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The figures of one server. ``rejected`` is the one to be woken by: see docs/serving.md."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "stream_prune_requests",
            "Requests, by route and status.",
            ("route", "code"),
            registry=registry,
        )
        self.seconds = Histogram(
            "stream_prune_request_seconds",
            "From a request's headers to its answer, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.scoring = Histogram(
            "stream_prune_scoring_seconds",
            "Of one call of the model: look-ups and head.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.rows = Histogram(
            "stream_prune_scored_rows",
            "Rows of one call of the model.",
            buckets=_ROWS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "stream_prune_requests_in_flight", "Scoring requests under way.", registry=registry
        )
        self.model = Gauge(
            "stream_prune_model_info",
            "1 for the version that answers, 0 for those before it.",
            ("model", "version"),
            registry=registry,
        )
        self.swapped_at = Gauge(
            "stream_prune_model_swap_timestamp_seconds",
            "When the answering version last changed.",
            registry=registry,
        )
        self.swaps = Counter(
            "stream_prune_model_swaps",
            "Changes of the answering version, rollbacks too.",
            registry=registry,
        )
        self.rejected = Gauge(
            "stream_prune_model_rejected",
            "ALERT on 1: the version that should be served failed its checks; the old one goes on.",
            registry=registry,
        )
        self.rejections = Counter(
            "stream_prune_model_rejections", "Versions that failed their checks.", registry=registry
        )
        self.looked_at = Gauge(
            "stream_prune_follow_success_timestamp_seconds",
            "When the alias was last looked up with success.",
            registry=registry,
        )
        self.look_failures = Counter(
            "stream_prune_follow_failures", "Looks at the alias that failed.", registry=registry
        )

    def exposition(self) -> bytes:
        """All of them in Prometheus' text format."""
        text: bytes = generate_latest(self.registry)
        return text
