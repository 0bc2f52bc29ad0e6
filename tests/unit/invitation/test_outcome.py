"""Reasons, their meaning, and when an object is requeued. The tables here are the interface, not the code's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from atlas_invites.failures import Failure
from atlas_invites.invitation.model import DeparturePolicy, State
from atlas_invites.invitation.outcome import BACKED_OFF, RESYNCED, Kind, Outcome, Reason, requeue_after
from tests.unit.builders import EXPIRES, NOW, error, invitation, time_text

if TYPE_CHECKING:
    from atlas_invites.invitation.model import Invitation

KINDS = {
    "Settled": "Invited Accepted RolesDiffer",
    "Waiting": "SecretNotFound SecretInvalid SecretNotAllowed ProjectNotReady",
    "Retrying": "RateLimited AtlasUnavailable Conflict ConfirmingInvitation",
    "Stalled": "CredentialsRejected Forbidden InvalidRequest ProjectNotFound InvitationNotFound IdentityMismatch "
    "InvitationExpired InvitationWithdrawn MemberRemoved DuplicateInvite LegacyInvitation WriteRefused",
}
KIND_OF = {reason: kind for kind, reasons in KINDS.items() for reason in reasons.split()}

COMES_BACK = {
    "SecretNotFound": 60,
    "SecretInvalid": 60,
    "SecretNotAllowed": 60,
    "ProjectNotReady": 30,
    "CredentialsRejected": 60,
}
"""Seconds; Retrying has the work queue's back-off, the others wait for the resync."""


DEPARTED = dict.fromkeys(("InvitationExpired", "InvitationWithdrawn", "MemberRemoved"), "Settled")
"""The reasons of another kind with departurePolicy Settle."""


def test_the_reasons_are_a_closed_set() -> None:
    """These are all reasons, and each is of one kind."""
    assert {str(reason): str(reason.kind) for reason in Reason} == KIND_OF


@pytest.mark.parametrize(("policy", "departed"), [(DeparturePolicy.STALL, {}), (DeparturePolicy.SETTLE, DEPARTED)])
def test_the_departure_policy_sets_the_kind_of_a_departure(policy: DeparturePolicy, departed: dict[str, str]) -> None:
    """An outcome has the kind of its reason; a departure is settled with Settle."""
    kinds = {str(reason): str(Outcome(reason, "m", departure_policy=policy).kind) for reason in Reason}
    assert kinds == KIND_OF | departed


@pytest.mark.parametrize("reason", Reason)
def test_when_an_object_is_requeued(reason: Reason) -> None:
    """Without a pending invitation and a Retry-After, only the reason decides when the next turn is."""
    assert requeue_after(Outcome(reason, "m"), None, NOW) == COMES_BACK.get(reason)


@pytest.mark.parametrize("reason", Reason)
def test_the_resync_handles_objects_without_a_requeue_time(reason: Reason) -> None:
    """It skips Waiting and Retrying objects, and those with a requeue time or a back-off."""
    resynced = reason.kind in {Kind.SETTLED, Kind.STALLED} and reason not in COMES_BACK and reason != "WriteRefused"
    assert (reason in RESYNCED) == resynced
    assert (reason in BACKED_OFF) == (reason.kind is Kind.RETRYING or reason == "WriteRefused")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_requeued(reason: Reason) -> None:
    """No object is forgotten: it has a requeue time, a back-off, or the resync."""
    assert reason in RESYNCED or reason in BACKED_OFF or requeue_after(Outcome(reason, "m"), None, NOW)


@pytest.mark.parametrize(
    ("pending", "now", "expected"),
    [
        (invitation(), EXPIRES - timedelta(hours=1), 3600),
        (invitation(), EXPIRES - timedelta(seconds=1), 1),
        (invitation(), EXPIRES, 60),
        (invitation(), EXPIRES + timedelta(days=1), 60),
        (invitation(expiresAt=None), EXPIRES - timedelta(hours=1), 3600),
        (invitation(expiresAt=None, createdAt=None), NOW, None),
        (invitation(expiresAt=time_text(EXPIRES + timedelta(days=60))), NOW, timedelta(days=89).total_seconds()),
        (None, NOW, None),
    ],
    ids=["an-hour", "a-second", "now", "past", "30-days", "no-dates", "far", "no-invitation"],
)
def test_a_pending_invitation_is_requeued_at_its_end(
    pending: Invitation | None, now: datetime, expected: float | None
) -> None:
    """At expiresAt; if that is past already, in a minute."""
    assert requeue_after(Outcome(Reason.INVITED, "m"), pending, now) == expected
    assert requeue_after(Outcome(Reason.ROLES_DIFFER, "m", state=State.PENDING), pending, now) == expected
    assert requeue_after(Outcome(Reason.ROLES_DIFFER, "m", state=State.ACCEPTED), pending, now) is None


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.INVITED])
def test_only_a_pending_invitation_is_requeued_at_its_end(reason: Reason) -> None:
    """An invitation that has ended, and is on status as history, causes no requeue."""
    assert requeue_after(Outcome(reason, "m"), invitation(), NOW) == requeue_after(Outcome(reason, "m"), None, NOW)


@pytest.mark.parametrize(("asked", "waits"), [(0.0, 0.0), (5.0, 5.0), (900.0, 900.0), (901.0, 900.0), (86400.0, 900.0)])
def test_retry_after_is_honored_for_15_minutes_at_most(asked: float, waits: float) -> None:
    """Retry-After goes before every other rule, up to 15 minutes."""
    outcome = Failure(Reason.RATE_LIMITED, "m", retry_after=asked).outcome
    assert requeue_after(outcome, None, NOW) == waits


@pytest.mark.parametrize("reason", [r for r in Reason if r.kind is not Kind.RETRYING])
def test_a_requeue_time_that_atlas_did_not_ask_for_is_kept(reason: Reason) -> None:
    """An invitation that is sent again after a day is requeued after a day, not every 15 minutes."""
    assert requeue_after(Outcome(reason, "m", requeue_after=86400.0), None, NOW) == 86400.0


@pytest.mark.parametrize("reason", [r for r in Reason if r.kind is not Kind.RETRYING])
def test_retry_after_of_what_is_not_retried_is_ignored(reason: Reason) -> None:
    """A 403 with Retry-After: 0 causes no hot loop: only an outcome that is retried honors Retry-After."""
    outcome = Failure(reason, "m", retry_after=0.0).outcome
    assert requeue_after(outcome, None, NOW) == COMES_BACK.get(reason)


def test_the_outcome_of_a_failure_changes_only_the_failure() -> None:
    """Reason, message and error change; state, invitation and the rest of status stay."""
    failure = Failure(Reason.FORBIDDEN, "not allowed", error=error(403, "USER_UNAUTHORIZED"))
    assert failure.outcome == Outcome(Reason.FORBIDDEN, "not allowed", error=error(403, "USER_UNAUTHORIZED"))
    assert str(failure) == "not allowed"
    assert failure.unanswered is False
