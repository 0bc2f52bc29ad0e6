"""The closed set of ways in which a reconcile ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from atlas_invites.invitation.model import DeparturePolicy, State

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_invites.invitation.model import AtlasInfo, ErrorBody, Invitation, Member, Origin


class Kind(StrEnum):
    """What a reason means: done, waiting for something in the cluster, trying again, or in need of a person."""

    SETTLED = "Settled"
    WAITING = "Waiting"
    RETRYING = "Retrying"
    STALLED = "Stalled"


class Reason(StrEnum):
    """The reason of the conditions Ready, Reconciling and Stalled."""

    INVITED = "Invited"
    ACCEPTED = "Accepted"
    ROLES_DIFFER = "RolesDiffer"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason
    SECRET_INVALID = "SecretInvalid"  # noqa: S105 - a reason
    SECRET_NOT_ALLOWED = "SecretNotAllowed"  # noqa: S105 - a reason
    PROJECT_NOT_READY = "ProjectNotReady"
    RATE_LIMITED = "RateLimited"
    ATLAS_UNAVAILABLE = "AtlasUnavailable"
    CONFLICT = "Conflict"
    CONFIRMING_INVITATION = "ConfirmingInvitation"
    CREDENTIALS_REJECTED = "CredentialsRejected"
    FORBIDDEN = "Forbidden"
    INVALID_REQUEST = "InvalidRequest"
    PROJECT_NOT_FOUND = "ProjectNotFound"
    INVITATION_NOT_FOUND = "InvitationNotFound"
    IDENTITY_MISMATCH = "IdentityMismatch"
    INVITATION_EXPIRED = "InvitationExpired"
    INVITATION_WITHDRAWN = "InvitationWithdrawn"
    MEMBER_REMOVED = "MemberRemoved"
    DUPLICATE_INVITE = "DuplicateInvite"
    LEGACY_INVITATION = "LegacyInvitation"
    WRITE_REFUSED = "WriteRefused"

    @property
    def kind(self) -> Kind:
        """The outcome that this reason belongs to. For ``DEPARTURES`` ``Outcome.kind`` counts."""
        return _KINDS[self]


_KINDS = {
    **dict.fromkeys([Reason.INVITED, Reason.ACCEPTED, Reason.ROLES_DIFFER], Kind.SETTLED),
    **dict.fromkeys(
        [Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID, Reason.SECRET_NOT_ALLOWED, Reason.PROJECT_NOT_READY],
        Kind.WAITING,
    ),
    **dict.fromkeys(
        [Reason.RATE_LIMITED, Reason.ATLAS_UNAVAILABLE, Reason.CONFLICT, Reason.CONFIRMING_INVITATION], Kind.RETRYING
    ),
    **dict.fromkeys(
        [
            Reason.CREDENTIALS_REJECTED,
            Reason.FORBIDDEN,
            Reason.INVALID_REQUEST,
            Reason.PROJECT_NOT_FOUND,
            Reason.INVITATION_NOT_FOUND,
            Reason.IDENTITY_MISMATCH,
            Reason.INVITATION_EXPIRED,
            Reason.INVITATION_WITHDRAWN,
            Reason.MEMBER_REMOVED,
            Reason.DUPLICATE_INVITE,
            Reason.LEGACY_INVITATION,
            Reason.WRITE_REFUSED,
        ],
        Kind.STALLED,
    ),
}


DEPARTURES = frozenset({Reason.INVITATION_EXPIRED, Reason.INVITATION_WITHDRAWN, Reason.MEMBER_REMOVED})
"""The reasons of an object whose person has not come, or has left."""

_DEPARTED = {DeparturePolicy.STALL: Kind.STALLED, DeparturePolicy.SETTLE: Kind.SETTLED}
"""The outcome that the departures belong to, by ``spec.departurePolicy``."""


class Did(StrEnum):
    """What a reconcile changed in Atlas."""

    SEND = "Send"
    SET_ROLES = "SetRoles"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reconcile ended: what status is to say. None leaves that part of status as it was, but for ``error``.

    ``did`` tells what was changed in Atlas. ``requeue_after`` asks for another reconcile after so many seconds;
    where it is None, the function of that name has the rule. ``departure_policy`` is the spec's.
    """

    reason: Reason
    message: str
    state: State | None = None
    origin: Origin | None = None
    invitation: Invitation | None = None
    member: Member | None = None
    atlas: AtlasInfo | None = None
    error: ErrorBody | None = None
    did: Did | None = None
    requeue_after: float | None = None
    departure_policy: DeparturePolicy = DeparturePolicy.STALL

    @property
    def kind(self) -> Kind:
        """What this outcome means."""
        return _DEPARTED[self.departure_policy] if self.reason in DEPARTURES else self.reason.kind

    def in_project(self, group_id: str) -> Self:
        """Return this with the project's id on the invitation, where the answer left it out."""
        if self.invitation is None or self.invitation.group_id is not None:
            return self
        return replace(self, invitation=self.invitation.model_copy(update={"group_id": group_id}))


RETRY_AFTER_AT_MOST = 900.0
"""Seconds: however long Atlas asks us to wait, we ask again after 15 minutes."""

_REQUEUED_AFTER: dict[Reason, float] = {
    Reason.SECRET_NOT_FOUND: 60,
    Reason.SECRET_INVALID: 60,
    Reason.SECRET_NOT_ALLOWED: 60,
    Reason.PROJECT_NOT_READY: 30,
    Reason.CREDENTIALS_REJECTED: 60,
}
"""Seconds until the next reconcile; the reasons that are not here wait for the sweep."""

REFUSED = frozenset({Reason.FORBIDDEN, Reason.INVALID_REQUEST, Reason.PROJECT_NOT_FOUND})
"""The reasons for which Atlas does not do what it was asked to, although it accepts the credentials."""

BACKED_OFF = frozenset({*(r for r in Reason if r.kind is Kind.RETRYING), Reason.WRITE_REFUSED})
"""The reasons whose objects are requeued with the work queue's back-off."""

SWEPT = frozenset(
    r for r in Reason if r.kind in {Kind.SETTLED, Kind.STALLED} and r not in _REQUEUED_AFTER and r not in BACKED_OFF
)
"""The reasons whose objects the sweep brings back."""

_OVERDUE = 60.0
"""Seconds until the next reconcile of a pending invitation whose end has passed already."""


def requeue_after(outcome: Outcome, invitation: Invitation | None, now: datetime) -> float | None:
    """Return after how many seconds an outcome asks for another reconcile.

    None leaves it to the sweep, and for ``BACKED_OFF`` to the work queue's back-off.

    Args:
        outcome: how the reconcile ended.
        invitation: what status says of the invitation.
        now: Atlas's time, UTC.
    """
    if outcome.requeue_after is not None:
        is_asked = outcome.kind is Kind.RETRYING
        return min(outcome.requeue_after, RETRY_AFTER_AT_MOST) if is_asked else outcome.requeue_after
    is_pending = outcome.reason is Reason.INVITED or (
        outcome.reason is Reason.ROLES_DIFFER and outcome.state is State.PENDING
    )
    if is_pending and invitation is not None and invitation.expires is not None:
        left = (invitation.expires - now).total_seconds()
        return left if left > 0 else _OVERDUE
    return _REQUEUED_AFTER.get(outcome.reason)
