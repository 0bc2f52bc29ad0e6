"""The object as the operator stores it: what is kept, what wakes the reconciler, which version is newer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from atlas_invites.invitation.model import State, Status
from atlas_invites.invitation.resource import FINALIZER, FORCE_DELETE, RECONCILE_REQUESTED_AT, Key, Resource
from tests.unit.builders import GROUP_ID, KEY, body, invitation, resource, wire_spec
from tests.unit.builders import spec as spec_of


def test_trimmed_to_what_is_used() -> None:
    """Of a complete object only the needed parts are kept, unchanged."""
    kept = Resource.from_body(
        body(
            uid="u1",
            resourceVersion="4711",
            generation=3,
            deletionTimestamp="2026-08-11T12:00:00Z",
            finalizers=["foregroundDeletion", FINALIZER],
            annotations={RECONCILE_REQUESTED_AT: "now", FORCE_DELETE: "true", "note": "NOISE"},
            labels={"app": "NOISE"},
            managedFields=[{"manager": "NOISE"}],
            ownerReferences=[{"uid": "NOISE"}],
            status={"observedGeneration": 2, "state": "Pending"},
        )
    )
    assert kept.key == KEY
    assert (kept.uid, kept.resource_version, kept.generation) == ("u1", "4711", 3)
    assert kept.created_at == "2026-08-10T03:00:00Z"
    assert kept.deleted_at == datetime(2026, 8, 11, 12, tzinfo=UTC)
    assert kept.deleting
    assert kept.finalizers == ("foregroundDeletion", FINALIZER)
    assert kept.has_finalizer
    assert (kept.reconcile_requested_at, kept.force_delete) == ("now", True)
    assert kept.spec == spec_of()
    assert kept.status == Status(observed_generation=2, state=State.PENDING)
    assert "NOISE" not in repr(kept)


def test_a_plain_new_object() -> None:
    """An object without annotations, finalizers and status has none, and is not being deleted."""
    plain = body()
    del plain["status"]
    kept = Resource.from_body(plain)
    assert (kept.deleted_at, kept.deleting, kept.finalizers, kept.has_finalizer) == (None, False, (), False)
    assert (kept.reconcile_requested_at, kept.force_delete) == (None, False)
    assert kept.status == Status()


@pytest.mark.parametrize("value", ["false", "True", "yes", "", "1"])
def test_force_delete_must_be_exactly_true(value: str) -> None:
    """Only "true" finalizes a deleting object at once."""
    assert not resource(annotations={FORCE_DELETE: value}).force_delete


def test_nulls_count_as_absent() -> None:
    """Null in place of a list, a map or the status counts as absent."""
    kept = Resource.from_body({**body(annotations=None, finalizers=None, deletionTimestamp=None), "status": None})
    assert (kept.finalizers, kept.reconcile_requested_at, kept.deleting) == ((), None, False)
    assert kept.status == Status()


@pytest.mark.parametrize("name", ["namespace", "name", "uid", "resourceVersion", "creationTimestamp"])
def test_an_incomplete_object_is_rejected(name: str) -> None:
    """A body without what every stored object has is an error that says what is missing."""
    broken = body()
    del broken["metadata"][name]
    with pytest.raises(KeyError, match=name):
        Resource.from_body(broken)


def test_key_has_the_form_of_kubectl() -> None:
    """A key is shown as namespace/name."""
    assert str(Key("team-a", "jane")) == "team-a/jane"


def test_a_spec_that_cannot_be_read() -> None:
    """A spec that breaks the CRD's rules is an error if it is needed, and None if it is only inspected."""
    broken = resource(spec={"groupId": GROUP_ID})
    assert broken.readable_spec is None
    with pytest.raises(ValidationError):
        _ = broken.spec
    assert resource().readable_spec == spec_of()


@pytest.mark.parametrize(
    ("unreadable", "lost"),
    [
        ({"state": "Dreaming"}, {"state"}),
        ({"conditions": [{"type": "Ready"}]}, {"conditions"}),
        ({"error": "none", "state": 7}, {"error", "state"}),
        ({"observedGeneration": "many"}, {"observedGeneration"}),
    ],
)
def test_an_unreadable_status_field_is_dropped(unreadable: dict[str, Any], lost: set[str]) -> None:
    """One bad field does not make the operator forget that there was an invitation."""
    whole = {"observedGeneration": 1, "state": "Pending", "invitation": invitation().to_wire()}
    expected = {name: value for name, value in whole.items() if name not in lost}
    assert resource(status={**whole, **unreadable}).status == Status.model_validate(expected)


def test_a_status_of_a_newer_version_is_read() -> None:
    """Unknown fields of a status are ignored."""
    assert resource(status={"observedGeneration": 1, "mood": "good"}).status == Status(observed_generation=1)


def test_with_status_changes_nothing_else() -> None:
    """The new status is the only difference."""
    changed = resource().with_status({"observedGeneration": 5})
    assert changed.status == Status(observed_generation=5)
    assert changed.with_status({"observedGeneration": -1}) == resource()


# What wakes the reconciler.


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"argocd.argoproj.io/instance": "x"}},
        {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        {"managedFields": [{"manager": "kubectl"}]},
        {"finalizers": ["foregroundDeletion"]},
        {"ownerReferences": [{"uid": "x"}]},
        {},
    ],
    ids=["labels", "annotations", "managed-fields", "other-finalizers", "owners", "nothing"],
)
def test_foreign_changes_are_no_work(metadata: dict[str, Any]) -> None:
    """Labels, foreign annotations, managed fields and foreign finalizers cause no work."""
    assert not resource(resourceVersion="101", **metadata).needs_reconcile(resource())


@pytest.mark.parametrize(
    "metadata",
    [
        {"generation": 2, "spec": wire_spec(roles=["GROUP_OWNER"])},
        {"generation": 2},
        {"uid": "another"},
        {"deletionTimestamp": "2026-08-11T12:00:00Z"},
        {"finalizers": [FINALIZER]},
        {"annotations": {RECONCILE_REQUESTED_AT: "now"}},
        {"annotations": {FORCE_DELETE: "true"}},
        {"status": {"observedGeneration": 1}},
    ],
    ids=["spec", "generation", "uid", "deletion", "our-finalizer", "request", "force", "status"],
)
def test_relevant_changes_are_work(metadata: dict[str, Any]) -> None:
    """The spec, the deletion, our finalizer, our annotations, and a status that others wrote cause work."""
    changed = resource(resourceVersion="101", **metadata)
    assert changed.needs_reconcile(resource())
    assert resource().needs_reconcile(changed)


def test_an_unknown_object_is_work() -> None:
    """An object that was not known causes work."""
    assert resource().needs_reconcile(None)


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [
        ("101", "100", True),
        ("100", "101", False),
        ("100", "100", False),
        ("1000", "999", True),
        ("999", "1000", False),
        ("abc", "100", True),
        ("abc", "abc", False),
        ("100", "abc", True),
    ],
)
def test_newer_than(one: str, other: str, newer: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """Versions are compared as numbers; if one is not a number, any other version counts as newer."""
    assert resource(resourceVersion=one).newer_than(resource(resourceVersion=other)) is newer
