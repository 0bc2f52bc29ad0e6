"""The closed set of outcomes of a reconcile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from atlas_invites.invitation.model import DeparturePolicy, State

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_invites.invitation.model import AtlasInfo, ErrorBody, Invitation, Member, Origin


class Kind(StrEnum):
    """What a reason means: done, waiting for something in the cluster, retrying, or waiting for a person to act."""

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
        """The kind of outcome that this reason belongs to. For ``DEPARTURES``, use ``Outcome.kind`` instead."""
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
"""The reasons of an object whose invitation has ended unaccepted, or whose member has left."""

_DEPARTED = {DeparturePolicy.STALL: Kind.STALLED, DeparturePolicy.SETTLE: Kind.SETTLED}
"""The kind of outcome that the departures belong to, by ``spec.departurePolicy``."""


class Did(StrEnum):
    """What a reconcile changed in Atlas."""

    SEND = "Send"
    SET_ROLES = "SetRoles"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a reconcile, which is written to status. None leaves that field unchanged, except for ``error``.

    ``did`` is what the reconcile changed in Atlas. ``requeue_after`` is the number of seconds until the next reconcile;
    if it is None, the function of that name has the rule. ``departure_policy`` is that of the spec.
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
        """The kind of this outcome."""
        return _DEPARTED[self.departure_policy] if self.reason in DEPARTURES else self.reason.kind

    def in_project(self, group_id: str) -> Self:
        """Return this outcome with the id of the project on the invitation if the response did not have it."""
        if self.invitation is None or self.invitation.group_id is not None:
            return self
        return replace(self, invitation=self.invitation.model_copy(update={"group_id": group_id}))


RETRY_AFTER_AT_MOST = 900.0
"""Seconds after which the operator calls Atlas again at the latest, even if Atlas asked for a longer wait."""

_REQUEUED_AFTER: dict[Reason, float] = {
    Reason.SECRET_NOT_FOUND: 60,
    Reason.SECRET_INVALID: 60,
    Reason.SECRET_NOT_ALLOWED: 60,
    Reason.PROJECT_NOT_READY: 30,
    Reason.CREDENTIALS_REJECTED: 60,
}
"""Seconds until the next reconcile. The reasons that are not listed wait for the resync."""

REFUSED = frozenset({Reason.FORBIDDEN, Reason.INVALID_REQUEST, Reason.PROJECT_NOT_FOUND})
"""The reasons with which Atlas rejects a request although it accepts the credentials."""

BACKED_OFF = frozenset({*(r for r in Reason if r.kind is Kind.RETRYING), Reason.WRITE_REFUSED})
"""The reasons whose objects are requeued with the back-off of the work queue."""

RESYNCED = frozenset(
    r for r in Reason if r.kind in {Kind.SETTLED, Kind.STALLED} and r not in _REQUEUED_AFTER and r not in BACKED_OFF
)
"""The reasons whose objects the resync compares with Atlas, and requeues if they differ."""

_OVERDUE = 60.0
"""Seconds until the next reconcile of a pending invitation whose end has passed already."""


def requeue_after(outcome: Outcome, invitation: Invitation | None, now: datetime) -> float | None:
    """Return the number of seconds after which an object is requeued.

    None leaves it to the resync, or to the back-off of the work queue for the reasons in ``BACKED_OFF``.

    Args:
        outcome: the outcome of the reconcile.
        invitation: the invitation that status shows.
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
