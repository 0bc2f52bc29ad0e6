"""Metrics for Prometheus. No label has an e-mail address, or the name of an object or a project."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import CollectorRegistry

disable_created_metrics()  # type: ignore[no-untyped-call]  # no second series for each metric

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

ERROR, CLUSTER_UNAVAILABLE, UNEXPECTED = "Error", "ClusterUnavailable", "Unexpected"
"""The outcome and the reasons of a reconcile that failed: because of the API server, or of a bug in the operator."""

RECONCILES = Counter(
    "atlas_invites_reconcile", "Finished reconciles, by outcome and reason.", labelnames=("outcome", "reason")
)
RECONCILE_SECONDS = Histogram(
    "atlas_invites_reconcile_seconds", "Duration of a reconcile in seconds.", buckets=_SECONDS
)
QUEUE_WAIT_SECONDS = Histogram(
    "atlas_invites_queue_wait_seconds",
    "Seconds between a request for a reconcile and its start.",
    buckets=_SECONDS,
)
ATLAS_REQUESTS = Counter(
    "atlas_invites_atlas_requests",
    "Requests to Atlas, by operation and HTTP status (none if there was no usable response).",
    labelnames=("operation", "code"),
)
ATLAS_REQUEST_SECONDS = Histogram(
    "atlas_invites_atlas_request_seconds", "Duration of a request to Atlas in seconds.", buckets=_SECONDS
)
SENT = Counter("atlas_invites_invitations_sent", "Invitations that Atlas has sent for the operator.")
ORPHANED = Counter(
    "atlas_invites_orphaned", "Objects whose finalizer was removed although what they created may still be in Atlas."
)
STATUS_WRITES = Counter("atlas_invites_status_writes", "Status writes.")


class Gauges(Collector):
    """The gauges, with their values at the time of a scrape. A time that is not known is not exported.

    Args:
        leader: whether this process is the leader and has listed all objects.
        queue_depth: the number of keys that wait for a worker.
        unserved: the number of watched namespaces that cannot be listed.
        invitations: the number of objects, by state.
        objects: the number of objects, by the reason of Ready.
        next_expiry: when the next pending invitation expires (Unix seconds, in the future).
        sunset: when the Invites API ends (Unix seconds).
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
        """Export the gauges in a registry while the context lasts."""
        registry.register(self)
        try:
            yield
        finally:
            registry.unregister(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges, as prometheus_client's ``Collector`` requires."""
        yield _gauge(
            "leader",
            "1 if this process is the leader and has listed all objects; 0 otherwise.",
            float(self._leader()),
        )
        yield _gauge("queue_depth", "Objects that wait for a worker.", self._queue_depth())
        yield _gauge(
            "unserved_namespaces", "Namespaces that the operator cannot list and does not serve.", self._unserved()
        )
        yield _counts("invitations", "Objects by their state.", "state", self._invitations())
        yield _counts("objects", "Objects by the reason of their condition Ready.", "reason", self._objects())
        yield _gauge(
            "next_expiry_timestamp_seconds",
            "When the next pending invitation expires (Unix time in the future; suspended objects do not count).",
            self._next_expiry(),
        )
        yield _gauge("sunset_timestamp_seconds", "When the Invites API ends (Unix time).", self._sunset())


def _counts(name: str, help_: str, label: str, counts: Mapping[str, int]) -> GaugeMetricFamily:
    """Return a gauge with one label."""
    family = GaugeMetricFamily(f"atlas_invites_{name}", help_, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _gauge(name: str, help_: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge without labels. It has no sample if the value is None."""
    family = GaugeMetricFamily(f"atlas_invites_{name}", help_)
    if value is not None:
        family.add_metric([], value)
    return family
