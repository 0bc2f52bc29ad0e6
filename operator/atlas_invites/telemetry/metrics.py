"""Metrics, for Prometheus. No label ever holds an e-mail, an object's or a project's name."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

RECONCILES = Counter(
    "atlas_invites_reconcile", "Reconciles that ended, by outcome and reason.", labelnames=("outcome", "reason")
)
ORPHANED = Counter("atlas_invites_orphaned", "Objects that were let go although Atlas may still hold their invitation.")
SENT = Counter("atlas_invites_invitations_sent", "Invitations that Atlas has sent for us.")
STATUS_WRITES = Counter("atlas_invites_status_writes", "Writes of an object's status.")
RECONCILE_SECONDS = Histogram("atlas_invites_reconcile_seconds", "Seconds that a reconcile took.")
