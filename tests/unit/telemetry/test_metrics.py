"""The names of the metrics, their labels, and what they export if a value is not known."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from atlas_invites.app import Process
from atlas_invites.controller.store import Store
from atlas_invites.invitation.conditions import Evaluated, suspended_status
from atlas_invites.invitation.model import State
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.resource import Key, Resource
from atlas_invites.stopping import Stopping
from atlas_invites.telemetry.metrics import Gauges
from tests.deploy.statuses import settled
from tests.unit.builders import KEY, NOW, body, invitation

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {
    "reconcile_total": {"outcome", "reason"},
    "reconcile_seconds": set(),
    "queue_depth": set(),
    "unserved_namespaces": set(),
    "queue_wait_seconds": set(),
    "atlas_requests_total": {"operation", "code"},
    "atlas_request_seconds": set(),
    "invitations": {"state"},
    "objects": {"reason"},
    "next_expiry_timestamp_seconds": set(),
    "sunset_timestamp_seconds": set(),
    "invitations_sent_total": set(),
    "orphaned_total": set(),
    "leader": set(),
    "status_writes_total": set(),
}
"""The interface: each metric with its labels."""


def state(**given: Any) -> Gauges:  # noqa: ANN401 - what a test changes
    usual = {
        "leader": lambda: True,
        "queue_depth": lambda: 3,
        "unserved": lambda: 1,
        "invitations": lambda: {"Pending": 2},
        "objects": lambda: {"Invited": 4},
        "next_expiry": lambda: 1.5,
        "sunset": lambda: 2.5,
    }
    return Gauges(**{**usual, **given})


def scraped(exported: Gauges) -> str:
    registry = CollectorRegistry()
    with exported.exported(registry):
        return generate_latest(registry).decode()


@pytest.fixture
def everything() -> Iterator[str]:
    """Return all that a running operator exports."""
    with state().exported():
        yield generate_latest(REGISTRY).decode()


def test_every_metric_exists(everything: str) -> None:
    """The names are those that dashboards use, with help and type."""
    found = set(re.findall(r"^# TYPE atlas_invites_(\w+)", everything, re.MULTILINE))
    assert found == set(NAMES)


def test_labels_have_closed_sets_and_name_nobody() -> None:
    """Labels are of closed sets: outcome, reason, operation, code, state."""
    declared = {
        metric.name: set().union(*(sample.labels for sample in metric.samples)) - {"le"}
        for metric in REGISTRY.collect()
    }
    for name, labels in NAMES.items():
        assert declared.get(f"atlas_invites_{name.removesuffix('_total')}", set()) <= labels


def test_gauges_are_current() -> None:
    """The gauges have their value at the moment of the scrape."""
    text = scraped(state())
    for line in (
        "leader 1.0",
        "queue_depth 3.0",
        'invitations{state="Pending"} 2.0',
        'objects{reason="Invited"} 4.0',
        "next_expiry_timestamp_seconds 1.5",
        "sunset_timestamp_seconds 2.5",
    ):
        assert f"\natlas_invites_{line}\n" in text


def test_an_unknown_value_is_not_exported() -> None:
    """A time that is not known has no sample, so that no alert takes it for 1970."""
    text = scraped(state(next_expiry=lambda: None, sunset=lambda: None))
    assert "\natlas_invites_next_expiry" not in text
    assert "\natlas_invites_sunset" not in text


def test_a_standby_exports_0() -> None:
    """A replica that is not leading exports 0."""
    assert "\natlas_invites_leader 0.0\n" in scraped(state(leader=lambda: False))


@pytest.mark.parametrize(
    ("leads", "listed", "acts"), [(True, True, 1.0), (True, False, 0.0), (False, False, 0.0), (None, True, 1.0)]
)
def test_a_leader_acts_once_it_has_listed(leads: bool | None, listed: bool, acts: float) -> None:  # noqa: FBT001
    """A leader that may not list, or finds no CRD, does nothing: the alert about this must fire."""
    invites = SimpleNamespace(unserved={})
    atlas = SimpleNamespace(now=lambda: NOW, sunset=SimpleNamespace(ends_at=None))
    parts: Any = SimpleNamespace(
        store=Store(), queue=(), engine=SimpleNamespace(listed=listed), invites=invites, atlas=atlas
    )
    lease: Any = None if leads is None else SimpleNamespace(leads=leads)
    session: Any = None
    process = Process(session, parts, lease, Stopping())
    assert f"\natlas_invites_leader {acts}\n" in scraped(process.gauges())


def pending(number: int, ends: str | None = "2026-09-09T03:04:53Z", **status: Any) -> Resource:  # noqa: ANN401
    shown = {"state": "Pending", "invitation": invitation(expiresAt=ends).to_wire(), **status}
    return Resource.from_body(
        body(Key("team-a", f"n{number}"), uid=f"u{number}", resourceVersion=str(number + 1), status=shown)
    )


def test_objects_are_counted_by_state() -> None:
    """The counts follow state changes and deletions; an object that was never evaluated is Unknown."""
    store = Store()
    for number in range(3):
        store.put(pending(number))
    new = Resource.from_body(body(KEY, uid="new"))
    store.put(new)
    assert {s: n for s, n in store.states().items() if n} == {"Pending": 3, "Unknown": 1}
    store.put(accepted(0))
    store.remove(pending(1))
    assert {s: n for s, n in store.states().items() if n} == {"Pending": 1, "Accepted": 1, "Unknown": 1}
    assert set(store.states()) == {s.value for s in State}


def evaluated(number: int, reason: str, version: int = 1) -> Resource:
    """Return a version of an object with this reason of Ready."""
    shown = settled(Reason(reason), State.PENDING, "m").to_wire()
    return Resource.from_body(
        body(Key("team-a", f"n{number}"), uid=f"u{number}", resourceVersion=str(version), status=shown)
    )


def test_objects_are_counted_by_reason() -> None:
    """The counts follow new reasons and deletions; each reason is exported, also with 0; a new object is Unknown."""
    store = Store()
    for number in range(3):
        store.put(evaluated(number, "Invited"))
    store.put(Resource.from_body(body(KEY, uid="new")))
    assert {reason: n for reason, n in store.reasons().items() if n} == {"Invited": 3, "Unknown": 1}
    store.put(evaluated(0, "Forbidden", version=2))
    store.remove(evaluated(1, "Invited"))
    assert {reason: n for reason, n in store.reasons().items() if n} == {"Invited": 1, "Forbidden": 1, "Unknown": 1}
    assert set(store.reasons()) == {*Reason, "Unknown"}


def accepted(number: int) -> Resource:
    """Return a newer version of the object with this number."""
    shown = {"state": "Accepted"}
    return Resource.from_body(body(Key("team-a", f"n{number}"), uid=f"u{number}", resourceVersion="99", status=shown))


FIRST, SECOND = 1788220800.0, 1788307200.0


def test_the_next_expiry_is_of_a_pending_invitation() -> None:
    """The earliest expiry counts; an object that is not pending any more, or is gone, has none."""
    store = Store()
    assert store.next_end(0) is None
    first, second = pending(0, "2026-09-01T00:00:00Z"), pending(1, "2026-09-02T00:00:00Z")
    store.put(first)
    store.put(second)
    assert store.next_end(0) == FIRST
    store.put(accepted(0))
    assert store.next_end(0) == SECOND
    store.remove(second)
    assert store.next_end(0) is None


def test_an_expiry_that_has_passed_does_not_hide_the_next() -> None:
    """An object that cannot be reconciled stays Pending after its expiry: the alert must end, and cover the others."""
    store = Store()
    store.put(pending(0, "2026-09-01T00:00:00Z"))
    store.put(pending(1, "2026-09-02T00:00:00Z"))
    assert store.next_end(FIRST) == SECOND
    assert store.next_end(SECOND) is None


def test_a_suspended_object_has_no_expiry() -> None:
    """It is not observed, so it may be pending or not; once resumed it counts again."""
    store = Store()
    held = suspended_status(pending(0).status, Evaluated(2, None), NOW).to_wire()
    store.put(pending(0, **held))
    assert store.next_end(0) is None
    shown = {"state": "Pending", "invitation": invitation().to_wire()}
    store.put(Resource.from_body(body(Key("team-a", "n0"), uid="u0", resourceVersion="9", status=shown)))
    assert store.next_end(0) is not None
