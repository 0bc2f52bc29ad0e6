"""What to do about an object that is being deleted: Table D of docs/behavior.md, as data. The first row wins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from atlas_invites.invitation.case import Presence
from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.model import DeletionPolicy, Origin, Spec, State, Status
from atlas_invites.invitation.outcome import Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.invitation.model import ErrorBody


class Trouble(Enum):
    """A kind of failure for which a deletion is not retried forever."""

    SECRET_LOST = auto()
    """The Secret is gone or invalid, whatever Atlas responds to the credentials last read from it."""
    REFUSED = auto()
    """Atlas or the cluster refuses a request that the deletion needs."""


TRIED_FOR: dict[Trouble, float] = {Trouble.SECRET_LOST: 60.0, Trouble.REFUSED: 600.0}
"""Seconds for which a deletion is retried, from the first of the consecutive failures of that kind in this process."""


class Removal(Enum):
    """What a row removes in Atlas."""

    CANCEL_INVITATION = auto()
    REMOVE_MEMBER = auto()


class DeletionCase(NamedTuple):
    """An object that is being deleted.

    Attributes:
        spec: its spec, or None if that cannot be read.
        known: its status.
        sent: this process has sent an invitation for it, with or without success.
        is_first_finalizer_ours: this process added the finalizer, so no earlier process can have sent an invitation.
    """

    spec: Spec | None
    known: Status
    sent: bool = False
    is_first_finalizer_ours: bool = False

    @property
    def suspended(self) -> bool:
        """Whether the object is suspended."""
        return self.spec is not None and self.spec.suspend

    @property
    def policy(self) -> DeletionPolicy:
        """The deletion policy in effect.

        If it is not set, it is ``Cancel`` if this object may have created the invitation, else ``Retain``. If the spec
        cannot be read, it is ``Revoke``, the policy that removes most.
        """
        if self.spec is None:
            return DeletionPolicy.REVOKE
        if self.spec.deletion_policy is not None:
            return self.spec.deletion_policy
        return DeletionPolicy.CANCEL if self.may_have_created else DeletionPolicy.RETAIN

    @property
    def may_have_created(self) -> bool:
        """Whether this object created the invitation in Atlas, or it is unknown whether it did.

        An earlier process may have sent an invitation and died before status could show it.
        """
        if self.sent or self.known.origin is not None:
            return self.sent or self.known.origin is Origin.CREATED
        sends = self.spec is None or (self.spec.username is not None and self.spec.invitation_id is None)
        return sends and not self.is_first_finalizer_ours

    @property
    def may_have_unconfirmed_send(self) -> bool:
        """Whether an invitation may have been sent that no status shows. A send to the same invitee has to wait."""
        return self.may_have_created and self.known.invitation is None and self.known.member is None

    @property
    def reason(self) -> str | None:
        """The reason of the condition Ready."""
        ready = self.known.condition(READY)
        return ready.reason if ready else None

    @property
    def was_resolved(self) -> bool:
        """Whether the spec has the id of the project, or Atlas was ever called for the project.

        If Atlas was called, an invitation was sent, or status shows the result of a call.
        """
        return (
            (self.spec is not None and self.spec.group_id is not None)
            or self.sent
            or self.known.invitation is not None
            or self.known.atlas is not None
            or self.reason not in {None, Reason.PROJECT_NOT_READY}
        )

    @property
    def named(self) -> str:
        """The invitation or member that status shows, with id and e-mail. It is for events, never for the log."""
        spec, known, invitation = self.spec, self.known, self.known.invitation
        email = (spec.username if spec else None) or (invitation.username if invitation else None)
        if known.state is State.ACCEPTED and known.member is not None:
            return f"member {known.member.id} ({email})"
        id_ = invitation.id if invitation else (spec.invitation_id if spec else None)
        return name_invitation(id_, email)

    @property
    def left(self) -> str | None:
        """The invitation or member on status that this object may have created and its policy would remove, or None."""
        row = (_LAST_SHOWN.get(self.known.state), self.policy)
        return self.named if self.may_have_created and row in TABLE_D else None


def name_invitation(id_: str | None, email: str | None) -> str:
    """Return how an event names an invitation."""
    what = f"invitation {id_}" if id_ else "an invitation"
    return f"{what} ({email})" if email else what


@dataclass(frozen=True, slots=True)
class RetainRow:
    """A row for which Atlas is not called. ``warns``: warn of what this object may have created in Atlas."""

    when: Callable[[DeletionCase], bool]
    why: str
    warns: bool


RETAIN_ROWS: tuple[RetainRow, ...] = (
    RetainRow(lambda o: o.spec is None, "the spec cannot be read", warns=True),
    RetainRow(lambda o: o.suspended, "the object is suspended", warns=True),
    RetainRow(lambda o: o.policy is DeletionPolicy.RETAIN, "the deletion policy is Retain", warns=False),
    RetainRow(lambda o: o.reason == Reason.IDENTITY_MISMATCH, "the invitation is for another e-mail", warns=True),
    RetainRow(lambda o: o.reason == Reason.DUPLICATE_INVITE, "another object has the invitation", warns=False),
    RetainRow(lambda o: not o.was_resolved, "the project was never resolved", warns=True),
)


def retain_row(case: DeletionCase) -> RetainRow | None:
    """Return the first row that matches and for which Atlas is not called, or None."""
    return next((row for row in RETAIN_ROWS if row.when(case)), None)


TABLE_D: dict[tuple[Presence, DeletionPolicy], Removal] = {
    (Presence.PENDING, DeletionPolicy.CANCEL): Removal.CANCEL_INVITATION,
    (Presence.PENDING, DeletionPolicy.REVOKE): Removal.CANCEL_INVITATION,
    (Presence.MEMBER, DeletionPolicy.REVOKE): Removal.REMOVE_MEMBER,
}
"""What to remove, by what was observed and by policy. Everything else is left unchanged."""

_LAST_SHOWN: dict[State | None, Presence] = {
    None: Presence.PENDING,  # nothing was observed yet, so there may be an invitation
    State.UNKNOWN: Presence.PENDING,
    State.PENDING: Presence.PENDING,
    State.ACCEPTED: Presence.MEMBER,
}
"""What may still be in Atlas, by ``status.state``. In the other states nothing is left."""


def keeps_member(case: DeletionCase) -> bool:
    """Return whether there is nothing to do: status shows a member or a former member, and the policy is Cancel."""
    return case.policy is DeletionPolicy.CANCEL and case.known.state in {State.ACCEPTED, State.REMOVED}


def trouble_of(reason: Reason, *, secret_lost: bool) -> Trouble | None:
    """Return the trouble of a failed cleanup, or None if the cleanup is retried for as long as it takes.

    Args:
        reason: why it failed.
        secret_lost: the Secret is gone or invalid. The try used the credentials last held, if any.
    """
    if secret_lost:
        return Trouble.SECRET_LOST
    return None if reason.kind is Kind.RETRYING else Trouble.REFUSED


def orphaned_because(message: str, trouble: Trouble | None, lasted: float, *, force: bool) -> str | None:
    """Return why a failed cleanup is not retried, although Atlas may still have the invitation, or None to retry.

    Args:
        message: the message of the failure.
        trouble: the trouble of the failure.
        lasted: for how many seconds this process had met only this trouble when the try began.
        force: the object has the annotation ``force-delete``.
    """
    if force:
        return f"force-delete is set and the last attempt failed: {message}"
    return message if trouble is not None and lasted >= TRIED_FOR[trouble] else None


def is_project_gone(error: ErrorBody | None) -> bool:
    """Return whether Atlas responded that the project does not exist. Only a read of the project makes this certain."""
    return error is not None and error.error_code == "GROUP_NOT_FOUND"
