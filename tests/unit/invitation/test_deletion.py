"""Table D, row by row: what is left in Atlas, what is done about what is observed, and which failed try is the last."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from atlas_invites.failures import Failure
from atlas_invites.invitation.case import Presence
from atlas_invites.invitation.deletion import (
    TABLE_D,
    DeletionCase,
    Removal,
    is_project_gone,
    keeps_member,
    orphaned_because,
    retain_row,
    trouble_of,
)
from atlas_invites.invitation.model import AtlasInfo, DeletionPolicy, Origin, State
from atlas_invites.invitation.outcome import Kind, Reason
from tests.unit.builders import (
    EMAIL,
    INVITATION_ID,
    USER_ID,
    error,
    invitation,
    member,
    ready,
    spec,
    status,
)

if TYPE_CHECKING:
    from atlas_invites.invitation.model import Spec, Status

CANCEL, RETAIN, REVOKE = (spec(deletionPolicy=p) for p in ("Cancel", "Retain", "Revoke"))
BY_REF = spec(groupId=None, projectRef={"name": "payments"}, deletionPolicy="Cancel")
PENDING = status(state=State.PENDING, invitation=invitation(), atlas=AtlasInfo(), conditions=(ready(Reason.INVITED),))


def case(
    spec_: Spec | None, known: Status, *, sent: bool = False, is_first_finalizer_ours: bool = True
) -> DeletionCase:
    return DeletionCase(spec_, known, sent, is_first_finalizer_ours)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [(Origin.CREATED, DeletionPolicy.CANCEL), (Origin.ADOPTED, DeletionPolicy.RETAIN), (None, DeletionPolicy.RETAIN)],
)
def test_the_default_policy(origin: Origin | None, expected: DeletionPolicy) -> None:
    """Not set: Cancel for what this object created, Retain for what it adopted or never sent."""
    assert case(spec(), status(origin=origin)).policy is expected


@pytest.mark.parametrize("given", DeletionPolicy)
@pytest.mark.parametrize("origin", [None, *Origin])
def test_the_policy_of_the_spec(given: DeletionPolicy, origin: Origin | None) -> None:
    """A policy in the spec goes before the origin of the invitation."""
    assert (
        case(spec(deletionPolicy=given), status(origin=origin), sent=True, is_first_finalizer_ours=False).policy
        is given
    )


@pytest.mark.parametrize(
    ("spec_", "origin", "sent", "is_first_finalizer_ours", "expected"),
    [
        (spec(), Origin.CREATED, False, False, True),
        (spec(), Origin.ADOPTED, False, False, False),
        (spec(), Origin.ADOPTED, True, True, True),
        (spec(), None, True, True, True),
        (spec(), None, False, True, False),
        (spec(), None, False, False, True),
        (spec(invitationId=INVITATION_ID), None, False, False, False),
        (spec(username=None, invitationId=INVITATION_ID), None, False, False, False),
        (None, None, False, False, True),
    ],
)
def test_what_an_object_may_have_sent(
    spec_: Spec | None,
    origin: Origin | None,
    sent: bool,  # noqa: FBT001 - a parameter of a test
    is_first_finalizer_ours: bool,  # noqa: FBT001 - a parameter of a test
    expected: bool,  # noqa: FBT001 - a parameter of a test
) -> None:
    """Created; sent by this process; or, if status does not say, perhaps by a former one, unless it never sends."""
    assert (
        case(spec_, status(origin=origin), sent=sent, is_first_finalizer_ours=is_first_finalizer_ours).may_have_created
        is expected
    )


CREATED = PENDING.model_copy(update={"origin": Origin.CREATED})
ADOPTED = PENDING.model_copy(update={"origin": Origin.ADOPTED})


@pytest.mark.parametrize(
    ("spec_", "known", "why", "warns"),
    [
        (None, CREATED, "the spec cannot be read", True),
        (spec(deletionPolicy="Revoke", suspend=True), CREATED, "the object is suspended", True),
        (RETAIN, CREATED, "the deletion policy is Retain", False),
        (spec(), ADOPTED, "the deletion policy is Retain", False),
        (REVOKE, status(conditions=(ready(Reason.IDENTITY_MISMATCH),)), "the invitation is for another e-mail", True),
        (REVOKE, status(conditions=(ready(Reason.DUPLICATE_INVITE),)), "another object has the invitation", False),
        (BY_REF, status(), "the project was never resolved", True),
        (BY_REF, status(conditions=(ready(Reason.PROJECT_NOT_READY),)), "the project was never resolved", True),
    ],
    ids=["unreadable", "suspended", "retain", "adopted", "mismatch", "duplicate", "no-project", "project-not-ready"],
)
def test_what_is_left(spec_: Spec | None, known: Status, why: str, warns: bool) -> None:  # noqa: FBT001 - a parameter
    """Atlas is not even read. What may be left causes a warning, unless the user or another object asked for it."""
    row = retain_row(case(spec_, known))
    assert row is not None
    assert (row.why, row.warns) == (why, warns)


@pytest.mark.parametrize("known", [status(), status(conditions=(ready(Reason.PROJECT_NOT_READY),))])
def test_a_project_to_which_something_was_sent_was_resolved(known: Status) -> None:
    """Status may not show it yet, or not any more."""
    assert retain_row(case(BY_REF, known, sent=True)) is None
    assert retain_row(case(RETAIN, known, sent=True)) is not None


@pytest.mark.parametrize("state", [None, *State])
@pytest.mark.parametrize("spec_", [None, CANCEL, RETAIN, REVOKE, spec()])
@pytest.mark.parametrize("origin", Origin)
def test_what_is_left_behind(spec_: Spec | None, state: State | None, origin: Origin) -> None:
    """What this object created, what exists by the last status, and what its policy would have removed."""
    left = case(spec_, status(state=state, origin=origin, invitation=invitation(), member=member())).left
    pending = state in {None, State.UNKNOWN, State.PENDING} and spec_ is not RETAIN
    accepted = state is State.ACCEPTED and (spec_ is None or spec_ is REVOKE)
    named = f"member {USER_ID} ({EMAIL})" if accepted else f"invitation {INVITATION_ID} ({EMAIL})"
    assert left == (named if origin is Origin.CREATED and (pending or accepted) else None)


def test_what_is_left_is_named_by_what_is_known() -> None:
    """By an id if there is one, and by the e-mail of the spec, else of the invitation."""
    assert case(CANCEL, status()).named == f"an invitation ({EMAIL})"
    assert case(spec(username=None, invitationId=INVITATION_ID), status()).named == f"invitation {INVITATION_ID}"
    assert case(None, CREATED).named == f"invitation {INVITATION_ID} ({EMAIL})"


@pytest.mark.parametrize("state", [None, *State])
@pytest.mark.parametrize("spec_", [CANCEL, REVOKE, spec()])
def test_a_former_or_current_member_is_left_under_cancel(spec_: Spec, state: State | None) -> None:
    """Cancel does nothing about a member, or about a person who was one."""
    expected = spec_ is CANCEL and state in {State.ACCEPTED, State.REMOVED}
    assert keeps_member(case(spec_, status(state=state))) is expected


@pytest.mark.parametrize(
    ("spec_", "known"),
    [
        (CANCEL, PENDING),
        (REVOKE, PENDING),
        (CANCEL, status()),
        (spec(), CREATED),
        (BY_REF, PENDING),
        (BY_REF, status(atlas=AtlasInfo(), conditions=(ready(Reason.PROJECT_NOT_READY),))),
        (BY_REF, status(conditions=(ready(Reason.ATLAS_UNAVAILABLE),))),
        *((REVOKE, status(conditions=(ready(r),))) for r in Reason if r not in {"IdentityMismatch", "DuplicateInvite"}),
    ],
)
def test_what_is_read(spec_: Spec, known: Status) -> None:
    """Everything else is read in Atlas."""
    assert retain_row(case(spec_, known)) is None


def test_what_a_former_process_may_have_sent_is_read() -> None:
    """No policy is set, and status does not show whether anything was sent: only a read can tell what is left."""
    assert retain_row(case(spec(), status(), is_first_finalizer_ours=False)) is None


@pytest.mark.parametrize(
    ("presence", "policy_"), list(product(Presence, [DeletionPolicy.CANCEL, DeletionPolicy.REVOKE]))
)
def test_table_d(presence: Presence, policy_: DeletionPolicy) -> None:
    """A pending invitation is canceled; a member is removed only by Revoke; nothing else is changed."""
    expected = {
        (Presence.PENDING, DeletionPolicy.CANCEL): Removal.CANCEL_INVITATION,
        (Presence.PENDING, DeletionPolicy.REVOKE): Removal.CANCEL_INVITATION,
        (Presence.MEMBER, DeletionPolicy.REVOKE): Removal.REMOVE_MEMBER,
    }
    assert TABLE_D.get((presence, policy_)) is expected.get((presence, policy_))


def test_a_member_is_removed_only_by_revoke() -> None:
    """Law 8: access is removed only if the policy says so."""
    assert [row for row, done in TABLE_D.items() if done is Removal.REMOVE_MEMBER] == [
        (Presence.MEMBER, DeletionPolicy.REVOKE)
    ]


# Which failed try is the last.

MINUTE, TEN_MINUTES, FOR_EVER = 60.0, 600.0, 1e9


def is_last(reason: Reason, lasted: float, *, force: bool = False, secret_lost: bool = False) -> bool:
    failure = Failure(reason, "this is why")
    trouble = trouble_of(failure.reason, secret_lost=secret_lost)
    why = orphaned_because(failure.message, trouble, lasted, force=force)
    assert why is None or "this is why" in why
    return why is not None


@pytest.mark.parametrize("reason", Reason)
def test_what_atlas_refuses_is_tried_for_ten_minutes(reason: Reason) -> None:
    """401, 403, other 4xx, a legacy invitation, an unreadable one: 10 min. Unavailable, limited, 409: no limit."""
    for lasted in (-1.0, MINUTE, TEN_MINUTES - 1):
        assert not is_last(reason, lasted)
    for lasted in (TEN_MINUTES, FOR_EVER):
        assert is_last(reason, lasted) == (reason.kind is not Kind.RETRYING)


@pytest.mark.parametrize("reason", Reason)
def test_a_missing_secret_is_tried_for_one_minute(reason: Reason) -> None:
    """Secret missing or invalid: whatever Atlas responds to the last credentials, 1 min and no more."""
    for lasted in (-1.0, MINUTE - 1):
        assert not is_last(reason, lasted, secret_lost=True)
    for lasted in (MINUTE, FOR_EVER):
        assert is_last(reason, lasted, secret_lost=True)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("secret_lost", [False, True])
def test_force_delete_ends_with_one_try(reason: Reason, secret_lost: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """force-delete: one try, then the finalizer is removed, whatever the result."""
    assert is_last(reason, -1.0, force=True, secret_lost=secret_lost)


def test_the_project_is_gone() -> None:
    """GROUP_NOT_FOUND says that the project is gone; no other error does, nor a failure without one."""
    assert is_project_gone(error(404, "GROUP_NOT_FOUND"))
    assert not is_project_gone(error(404, "RESOURCE_NOT_FOUND"))
    assert not is_project_gone(error(404, "NOT_IN_GROUP"))
    assert not is_project_gone(None)
