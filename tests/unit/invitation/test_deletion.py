"""Table D, row by row: what is left alone, what is done about what is seen, when a failed try was the last one."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from atlas_invites.invitation.case import Sight
from atlas_invites.invitation.deletion import (
    TABLE_D,
    Removal,
    leaves_member_alone,
    orphaned_because,
    policy,
    project_gone,
    trouble_of,
    untouched,
)
from atlas_invites.invitation.model import AtlasInfo, DeletionPolicy, Origin, State
from atlas_invites.invitation.outcome import Failure, Kind, Reason
from tests.unit.builders import error, invitation, ready, spec, status

if TYPE_CHECKING:
    from atlas_invites.invitation.model import Spec, Status

CANCEL, RETAIN, REVOKE = (spec(deletionPolicy=p) for p in ("Cancel", "Retain", "Revoke"))
BY_REF = spec(groupId=None, projectRef={"name": "payments"}, deletionPolicy="Cancel")
PENDING = status(state=State.PENDING, invitation=invitation(), atlas=AtlasInfo(), conditions=(ready(Reason.INVITED),))


@pytest.mark.parametrize(
    ("origin", "expected"),
    [(Origin.CREATED, DeletionPolicy.CANCEL), (Origin.ADOPTED, DeletionPolicy.RETAIN), (None, DeletionPolicy.RETAIN)],
)
def test_the_policy_that_is_not_set(origin: Origin | None, expected: DeletionPolicy) -> None:
    """Not set: Cancel for what this object created, Retain for what it adopted, or never knew."""
    assert policy(spec(), status(origin=origin)) is expected


@pytest.mark.parametrize("given", DeletionPolicy)
@pytest.mark.parametrize("origin", [None, *Origin])
def test_the_policy_that_is_set(given: DeletionPolicy, origin: Origin | None) -> None:
    """A policy that is set goes before where the invitation came from."""
    assert policy(spec(deletionPolicy=given), status(origin=origin)) is given


@pytest.mark.parametrize(
    ("spec_", "known", "why"),
    [
        (spec(deletionPolicy="Revoke", suspend=True), PENDING, "the object is suspended"),
        (RETAIN, PENDING, "the deletion policy is Retain"),
        (spec(), PENDING.model_copy(update={"origin": Origin.ADOPTED}), "the deletion policy is Retain"),
        (REVOKE, status(conditions=(ready(Reason.IDENTITY_MISMATCH),)), "it is for another e-mail"),
        (REVOKE, status(conditions=(ready(Reason.DUPLICATE_INVITE),)), "another object has the invitation"),
        (BY_REF, status(), "the project was never resolved"),
        (BY_REF, status(conditions=(ready(Reason.PROJECT_NOT_READY),)), "the project was never resolved"),
    ],
    ids=["suspended", "retain", "adopted", "mismatch", "duplicate", "no-project", "project-not-ready"],
)
def test_what_is_left_alone(spec_: Spec, known: Status, why: str) -> None:
    """Atlas is not even looked at."""
    assert untouched(spec_, known) == why


@pytest.mark.parametrize("known", [status(), status(conditions=(ready(Reason.PROJECT_NOT_READY),))])
def test_a_project_to_which_something_was_sent_was_resolved(known: Status) -> None:
    """Status may not say so yet, or not any more."""
    assert untouched(BY_REF, known, sent=True) is None
    assert untouched(RETAIN, known, sent=True) is not None


@pytest.mark.parametrize("state", [None, *State])
@pytest.mark.parametrize("spec_", [CANCEL, REVOKE, spec()])
def test_who_was_a_member_is_left_alone_under_cancel(spec_: Spec, state: State | None) -> None:
    """There is nothing to be done about a member under Cancel, nor about who is none any more."""
    expected = spec_ is CANCEL and state in {State.ACCEPTED, State.REMOVED}
    assert leaves_member_alone(spec_, status(state=state)) is expected


@pytest.mark.parametrize(
    ("spec_", "known"),
    [
        (CANCEL, PENDING),
        (REVOKE, PENDING),
        (CANCEL, status()),
        (spec(), PENDING.model_copy(update={"origin": Origin.CREATED})),
        (BY_REF, PENDING),
        (BY_REF, status(atlas=AtlasInfo(), conditions=(ready(Reason.PROJECT_NOT_READY),))),
        (BY_REF, status(conditions=(ready(Reason.ATLAS_UNAVAILABLE),))),
        *((REVOKE, status(conditions=(ready(r),))) for r in Reason if r not in {"IdentityMismatch", "DuplicateInvite"}),
    ],
)
def test_what_is_looked_at(spec_: Spec, known: Status) -> None:
    """Everything else is looked at in Atlas."""
    assert untouched(spec_, known) is None


@pytest.mark.parametrize(("sight", "policy_"), list(product(Sight, [DeletionPolicy.CANCEL, DeletionPolicy.REVOKE])))
def test_table_d(sight: Sight, policy_: DeletionPolicy) -> None:
    """A pending invitation is cancelled; a member is removed under Revoke alone; nothing else is touched."""
    expected = {
        (Sight.PENDING, DeletionPolicy.CANCEL): Removal.CANCEL_INVITATION,
        (Sight.PENDING, DeletionPolicy.REVOKE): Removal.CANCEL_INVITATION,
        (Sight.MEMBER, DeletionPolicy.REVOKE): Removal.REMOVE_MEMBER,
    }
    assert TABLE_D.get((sight, policy_)) is expected.get((sight, policy_))


def test_a_member_is_removed_under_revoke_alone() -> None:
    """Law 8: access is taken away only if the policy says so."""
    assert [row for row, done in TABLE_D.items() if done is Removal.REMOVE_MEMBER] == [
        (Sight.MEMBER, DeletionPolicy.REVOKE)
    ]


# When a failed try was the last one.

MINUTE, TEN_MINUTES, FOR_EVER = 60.0, 600.0, 1e9


def is_last(reason: Reason, lasted: float, *, force: bool = False, secret_lost: bool = False) -> bool:
    failure = Failure(reason, "this is why")
    trouble = trouble_of(failure, secret_lost=secret_lost)
    why = orphaned_because(failure, trouble, lasted, force=force)
    assert why is None or "this is why" in why
    return why is not None


@pytest.mark.parametrize("reason", Reason)
def test_what_atlas_refuses_is_tried_for_ten_minutes(reason: Reason) -> None:
    """401, 403, other 4xx, a legacy invitation, what may not be read: 10 min. Unavailable, limited, 409: for ever."""
    for lasted in (-1.0, MINUTE, TEN_MINUTES - 1):
        assert not is_last(reason, lasted)
    for lasted in (TEN_MINUTES, FOR_EVER):
        assert is_last(reason, lasted) == (reason.kind is not Kind.RETRYING)


@pytest.mark.parametrize("reason", Reason)
def test_a_lost_secret_is_waited_for_one_minute(reason: Reason) -> None:
    """Secret gone or invalid: whatever Atlas answers to the last credentials, 1 min and no more."""
    for lasted in (-1.0, MINUTE - 1):
        assert not is_last(reason, lasted, secret_lost=True)
    for lasted in (MINUTE, FOR_EVER):
        assert is_last(reason, lasted, secret_lost=True)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("secret_lost", [False, True])
def test_force_delete_ends_with_one_try(reason: Reason, secret_lost: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """force-delete: one try, then off, whatever came of it."""
    assert is_last(reason, -1.0, force=True, secret_lost=secret_lost)


def test_the_project_is_gone() -> None:
    """GROUP_NOT_FOUND says that the project is gone; no other error does, nor a failure without one."""
    assert project_gone(Failure(Reason.PROJECT_NOT_FOUND, "m", error=error(404, "GROUP_NOT_FOUND")))
    assert not project_gone(Failure(Reason.PROJECT_NOT_FOUND, "m", error=error(404, "RESOURCE_NOT_FOUND")))
    assert not project_gone(Failure(Reason.FORBIDDEN, "m", error=error(404, "NOT_IN_GROUP")))
    assert not project_gone(Failure(Reason.ATLAS_UNAVAILABLE, "m"))
