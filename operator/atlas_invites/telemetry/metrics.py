"""Metrics, for Prometheus. No label ever holds an e-mail, an object's or a project's name."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

RECONCILES = Counter(
    "atlas_invites_reconcile", "Reconciles that ended, by outcome and reason.", labelnames=("outcome", "reason")
)
RECONCILE_SECONDS = Histogram("atlas_invites_reconcile_seconds", "Seconds that a reconcile took.")
