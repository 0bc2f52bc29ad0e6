"""The closed set of ways in which a reconcile ends, and the failures that lead to them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_invites.invitation.model import ErrorBody


class Kind(StrEnum):
    """What a reason means for the object: done, waiting for something in the cluster, trying again, or in need of a person."""

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

    @property
    def kind(self) -> Kind:
        """The outcome that this reason belongs to."""
        return _KINDS[self]


_KINDS = {
    **dict.fromkeys([Reason.INVITED, Reason.ACCEPTED, Reason.ROLES_DIFFER], Kind.SETTLED),
    **dict.fromkeys([Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID, Reason.PROJECT_NOT_READY], Kind.WAITING),
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
        ],
        Kind.STALLED,
    ),
}


class Failure(Exception):
    """A reconcile cannot go on; adapters raise it, the reconciler turns it into an outcome.

    Args:
        reason: what it means for the object.
        message: what happened, to what, and what to do. No secrets, times, counts or request ids: a failure that
            repeats must read the same.
        error: Atlas's error, whole, where a real HTTP answer carried one.
        retry_after: seconds that the answer asked us to wait, if it did.
    """

    def __init__(
        self, reason: Reason, message: str, *, error: ErrorBody | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.error = error
        self.retry_after = retry_after
