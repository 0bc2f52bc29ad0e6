"""Metrics, for Prometheus. No label ever holds an e-mail, an object's or a project's name."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import CollectorRegistry

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asks for

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

ERROR, CLUSTER_UNAVAILABLE, UNEXPECTED = "Error", "ClusterUnavailable", "Unexpected"
"""The outcome and the reasons of a reconcile that came to none: the API server, or the operator itself, failed."""

RECONCILES = Counter(
    "atlas_invites_reconcile", "Reconciles that ended, by outcome and reason.", labelnames=("outcome", "reason")
)
RECONCILE_SECONDS = Histogram("atlas_invites_reconcile_seconds", "Seconds that a reconcile took.", buckets=_SECONDS)
QUEUE_WAIT_SECONDS = Histogram(
    "atlas_invites_queue_wait_seconds",
    "Seconds between a wake-up and the reconcile that it asked for.",
    buckets=_SECONDS,
)
ATLAS_REQUESTS = Counter(
    "atlas_invites_atlas_requests",
    "Requests to Atlas, by operation and HTTP status (none where no usable answer came).",
    labelnames=("operation", "code"),
)
ATLAS_REQUEST_SECONDS = Histogram(
    "atlas_invites_atlas_request_seconds", "Seconds that a request to Atlas took.", buckets=_SECONDS
)
SENT = Counter("atlas_invites_invitations_sent", "Invitations that Atlas has sent for us.")
ORPHANED = Counter(
    "atlas_invites_orphaned", "Objects whose finalizer was removed although Atlas may still hold what they created."
)
STATUS_WRITES = Counter("atlas_invites_status_writes", "Writes of an object's status.")


class Gauges(Collector):
    """What is so at the time of a scrape. A time that nobody knows is not exported.

    Args:
        leader: whether this process acts: it leads, and has listed all objects.
        queue_depth: the keys that wait for a worker.
        unserved: how many of the watched namespaces cannot be listed.
        invitations: how many objects there are, by state.
        objects: how many objects there are, by the reason of Ready.
        next_expiry: when the next pending invitation ends (Unix seconds, still to come).
        sunset: when the invites API ends (Unix seconds).
    """

    def __init__(  # noqa: PLR0913 - one for each gauge
        self,
        *,
        leader: Callable[[], bool],
        queue_depth: Callable[[], int],
        unserved: Callable[[], int],
        invitations: Callable[[], Mapping[str, int]],
        objects: Callable[[], Mapping[str, int]],
        next_expiry: Callable[[], float | None],
        sunset: Callable[[], float | None],
    ) -> None:
        self._leader = leader
        self._queue_depth = queue_depth
        self._unserved = unserved
        self._invitations = invitations
        self._objects = objects
        self._next_expiry = next_expiry
        self._sunset = sunset

    @contextmanager
    def exported(self, registry: CollectorRegistry = REGISTRY) -> Iterator[None]:
        """Let a registry export this while the context lasts."""
        registry.register(self)
        try:
            yield
        finally:
            registry.unregister(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges; see prometheus_client's ``Collector``."""
        yield _gauge(
            "leader",
            "1 where this process acts; 0 where it stands by, or leads and has not listed all objects yet.",
            float(self._leader()),
        )
        yield _gauge("queue_depth", "Objects that wait for a worker.", self._queue_depth())
        yield _gauge(
            "unserved_namespaces", "Namespaces that cannot be listed, and so are not served.", self._unserved()
        )
        yield _counts("invitations", "Objects by their state.", "state", self._invitations())
        yield _counts("objects", "Objects by the reason of their condition Ready.", "reason", self._objects())
        yield _gauge(
            "next_expiry_timestamp_seconds",
            "When the next pending invitation ends (Unix time, still to come; suspended objects do not count).",
            self._next_expiry(),
        )
        yield _gauge("sunset_timestamp_seconds", "When the invites API ends (Unix time).", self._sunset())


def _counts(name: str, help_: str, label: str, counts: Mapping[str, int]) -> GaugeMetricFamily:
    """Return a gauge with one label."""
    family = GaugeMetricFamily(f"atlas_invites_{name}", help_, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _gauge(name: str, help_: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge without labels, and without a sample where there is no value."""
    family = GaugeMetricFamily(f"atlas_invites_{name}", help_)
    if value is not None:
        family.add_metric([], value)
    return family
