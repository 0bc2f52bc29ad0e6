"""What a process exports to Prometheus."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.faults.conftest import ELECTION, has_roles, send
from tests.e2e.world import FORCE_DELETE, OWNER
from tests.stack import wait_until

if TYPE_CHECKING:
    from tests.e2e.faults.conftest import Contender, Start
    from tests.e2e.world import World

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

LABELS = {
    "reconcile_total": {"outcome", "reason"},
    "reconcile_seconds_count": set(),
    "reconcile_seconds_bucket": {"le"},
    "queue_depth": set(),
    "unserved_namespaces": set(),
    "queue_wait_seconds_count": set(),
    "queue_wait_seconds_bucket": {"le"},
    "atlas_requests_total": {"operation", "code"},
    "atlas_request_seconds_count": set(),
    "atlas_request_seconds_bucket": {"le"},
    "invitations": {"state"},
    "objects": {"reason"},
    "next_expiry_timestamp_seconds": set(),
    "sunset_timestamp_seconds": set(),
    "invitations_sent_total": set(),
    "orphaned_total": set(),
    "leader": set(),
    "status_writes_total": set(),
}


def test_every_metric(own: World, start: Start, no_lease: None) -> None:
    """Each metric exists, with its labels and no others, counts what was done, and names nobody."""
    del no_lease
    operator = start(*ELECTION)
    own.adopt("jane")
    send(own, "new")
    own.until("new", "Invited")
    own.edit("jane", roles=[OWNER])
    own.until_it("jane", "is changed", has_roles(OWNER))
    own.delete("new")
    own.until_gone("new")
    lost = own.invite("lost")
    own.create("lost", lost["id"], deletionPolicy="Cancel")
    own.until("lost", "Invited")
    refused = own.fault("CancelInvite", status=403)
    own.delete("lost")
    own.until("lost", "Forbidden")
    assert own.sandbox.struck(refused)
    own.annotate("lost", FORCE_DELETE, "true")
    own.until_gone("lost")
    wait_until("deleted objects are not counted any more", lambda: read(operator)["invitations", PENDING] == 1)

    found = read(operator)
    labels: dict[str, set[str]] = {}
    for name, with_labels in found:
        labels.setdefault(name, set()).update(label for label, _ in with_labels)
    assert {name: names for name, names in labels.items() if not name.endswith("_sum")} == LABELS
    assert {dict(labels)["reason"]: n for (name, labels), n in found.items() if name == "objects" and n} == {
        "Invited": 1
    }
    assert found["reconcile_total", frozenset({("outcome", "Settled"), ("reason", "Invited")})] >= 4
    assert found["atlas_requests_total", frozenset({("operation", "CreateInvite"), ("code", "200")})] == 1
    assert found["atlas_requests_total", frozenset({("operation", "UpdateInvite"), ("code", "200")})] == 1
    for name, value in {"invitations_sent_total": 1, "orphaned_total": 1, "leader": 1, "queue_depth": 0}.items():
        assert found[name, frozenset()] == value, name
    assert found["status_writes_total", frozenset()] == len([s for s in operator.kube.seen if "/status" in s.line])
    item = own.get("jane")
    assert item is not None
    expires = datetime.fromisoformat(item["status"]["invitation"]["expiresAt"]).timestamp()
    assert found["next_expiry_timestamp_seconds", frozenset()] == expires
    text = operator.get("/metrics").text
    for name in ("jane", "example.com", own.namespace, own.project):
        assert name not in text


PENDING = frozenset({("state", "Pending")})


def read(operator: Contender) -> Samples:
    """Return the operator's samples by name, without the prefix, and labels."""
    prefix = "atlas_invites_"
    return {
        (sample.name.removeprefix(prefix), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(operator.get("/metrics").text)
        for sample in family.samples
        if sample.name.startswith(prefix)
    }
