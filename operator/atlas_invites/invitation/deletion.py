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
    """A kind of failure that a deletion does not wait for without end."""

    SECRET_LOST = auto()
    """The Secret is gone or invalid, whatever Atlas responds to the credentials last read from it."""
    REFUSED = auto()
    """Atlas or the cluster refuses what the deletion needs."""


TRIED_FOR: dict[Trouble, float] = {Trouble.SECRET_LOST: 60.0, Trouble.REFUSED: 600.0}
"""Seconds for which a deletion is tried, from the first failure of that kind that this process met in a row."""


class Removal(Enum):
    """What a row takes away in Atlas."""

    CANCEL_INVITATION = auto()
    REMOVE_MEMBER = auto()


class DeletionCase(NamedTuple):
    """An object that is being deleted.

    Attributes:
        spec: what it asks for, or None where that cannot be read.
        known: its status.
        sent: this process has sent something for it, whatever came of it.
        finalizer_ours: this process put the finalizer on, so no former one can have sent anything.
    """

    spec: Spec | None
    known: Status
    sent: bool = False
    finalizer_ours: bool = False

    @property
    def suspended(self) -> bool:
        """Whether the object is suspended."""
        return self.spec is not None and self.spec.suspend

    @property
    def policy(self) -> DeletionPolicy:
        """The deletion policy that counts.

        Where it is not set, it is ``Cancel`` for what this object may have made, else ``Retain``. Where it cannot be
        read, it counts as ``Revoke``: the most that it can ask for.
        """
        if self.spec is None:
            return DeletionPolicy.REVOKE
        if self.spec.deletion_policy is not None:
            return self.spec.deletion_policy
        return DeletionPolicy.CANCEL if self.may_have_made else DeletionPolicy.RETAIN

    @property
    def may_have_made(self) -> bool:
        """Whether this object has made what is in Atlas, or nobody can know.

        A former process may have sent an invitation and died before status could show it.
        """
        if self.sent or self.known.origin is not None:
            return self.sent or self.known.origin is Origin.CREATED
        sends = self.spec is None or (self.spec.username is not None and self.spec.invitation_id is None)
        return sends and not self.finalizer_ours

    @property
    def is_doubtful(self) -> bool:
        """Whether something may have been sent that no status shows: who is to send to the same person waits."""
        return self.may_have_made and self.known.invitation is None and self.known.member is None

    @property
    def reason(self) -> str | None:
        """The reason of its condition Ready."""
        ready = self.known.condition(READY)
        return ready.reason if ready else None

    @property
    def was_resolved(self) -> bool:
        """Whether the spec gives the project's id, or Atlas was ever asked about the project.

        Then something was sent, or status shows what came of a call.
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
        """The invitation or the member that status shows, with id and e-mail: for events, never for the log."""
        spec, known, invitation = self.spec, self.known, self.known.invitation
        email = (spec.username if spec else None) or (invitation.username if invitation else None)
        if known.state is State.ACCEPTED and known.member is not None:
            return f"member {known.member.id} ({email})"
        id_ = invitation.id if invitation else (spec.invitation_id if spec else None)
        return name_invitation(id_, email)

    @property
    def left(self) -> str | None:
        """The name of what this object may have made and its policy would take away, by what status last showed."""
        row = (_LAST_SHOWN.get(self.known.state), self.policy)
        return self.named if self.may_have_made and row in TABLE_D else None


def name_invitation(id_: str | None, email: str | None) -> str:
    """Return what an event calls an invitation."""
    what = f"invitation {id_}" if id_ else "an invitation"
    return f"{what} ({email})" if email else what


@dataclass(frozen=True, slots=True)
class RetainRow:
    """A row that neither looks at Atlas nor changes it. ``warns``: warn of what this object may have made there."""

    when: Callable[[DeletionCase], bool]
    why: str
    warns: bool


RETAIN_ROWS: tuple[RetainRow, ...] = (
    RetainRow(lambda o: o.spec is None, "its spec cannot be read", warns=True),
    RetainRow(lambda o: o.suspended, "the object is suspended", warns=True),
    RetainRow(lambda o: o.policy is DeletionPolicy.RETAIN, "the deletion policy is Retain", warns=False),
    RetainRow(lambda o: o.reason == Reason.IDENTITY_MISMATCH, "it is for another e-mail", warns=True),
    RetainRow(lambda o: o.reason == Reason.DUPLICATE_INVITE, "another object has the invitation", warns=False),
    RetainRow(lambda o: not o.was_resolved, "the project was never resolved", warns=True),
)


def retain_row(case: DeletionCase) -> RetainRow | None:
    """Return the row that neither looks at Atlas nor changes it, or None."""
    return next((row for row in RETAIN_ROWS if row.when(case)), None)


TABLE_D: dict[tuple[Presence, DeletionPolicy], Removal] = {
    (Presence.PENDING, DeletionPolicy.CANCEL): Removal.CANCEL_INVITATION,
    (Presence.PENDING, DeletionPolicy.REVOKE): Removal.CANCEL_INVITATION,
    (Presence.MEMBER, DeletionPolicy.REVOKE): Removal.REMOVE_MEMBER,
}
"""What to take away of what is seen; everything else is left alone."""

_LAST_SHOWN: dict[State | None, Presence] = {
    None: Presence.PENDING,  # nothing was seen yet, so an invitation may be there
    State.UNKNOWN: Presence.PENDING,
    State.PENDING: Presence.PENDING,
    State.ACCEPTED: Presence.MEMBER,
}
"""What may still be in Atlas by ``status.state``; in the other states nothing is left."""


def leaves_member_alone(case: DeletionCase) -> bool:
    """Return whether nothing is to be done by what was last seen: a member, or a former one, under ``Cancel``."""
    return case.policy is DeletionPolicy.CANCEL and case.known.state in {State.ACCEPTED, State.REMOVED}


def trouble_of(reason: Reason, *, secret_lost: bool) -> Trouble | None:
    """Return which trouble a failed cleanup met, or None if it is retried for as long as it takes.

    Args:
        reason: why it failed.
        secret_lost: the Secret is gone or invalid; the try used the credentials last held, if any.
    """
    if secret_lost:
        return Trouble.SECRET_LOST
    return None if reason.kind is Kind.RETRYING else Trouble.REFUSED


def orphaned_because(message: str, trouble: Trouble | None, lasted: float, *, force: bool) -> str | None:
    """Return why a failed cleanup was the last one, after which Atlas may still hold the invitation, or None to retry.

    Args:
        message: how it failed.
        trouble: which trouble it met.
        lasted: for how many seconds this process had met that trouble, and no other outcome, when the try began.
        force: the object is annotated to go at once.
    """
    if force:
        return f"force-delete is set and the last attempt failed: {message}"
    return message if trouble is not None and lasted >= TRIED_FOR[trouble] else None


def is_project_gone(error: ErrorBody | None) -> bool:
    """Return whether Atlas said that the project does not exist. It is certain only from a read of the project."""
    return error is not None and error.error_code == "GROUP_NOT_FOUND"
