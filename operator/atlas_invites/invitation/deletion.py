"""What to do about an object that is being deleted: Table D of docs/behaviour.md, as data. The first row wins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from atlas_invites.invitation.case import Sight
from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.model import DeletionPolicy, Origin, Spec, State, Status
from atlas_invites.invitation.outcome import Failure, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable


class Trouble(Enum):
    """A kind of failure that a deletion does not wait for without end."""

    SECRET_LOST = auto()
    """The Secret is gone or invalid, whatever Atlas answers to the credentials last read from it."""
    REFUSED = auto()
    """Atlas or the cluster refuses what the deletion needs."""


TRIED_FOR: dict[Trouble, float] = {Trouble.SECRET_LOST: 60.0, Trouble.REFUSED: 600.0}
"""Seconds for which a deletion is tried, from the first failure of that kind that this process met in a row."""


class Removal(Enum):
    """What a row takes away in Atlas."""

    CANCEL_INVITATION = auto()
    REMOVE_MEMBER = auto()


def policy(spec: Spec, known: Status) -> DeletionPolicy:
    """Return the deletion policy: where it is not set, ``Cancel`` for what this object created, else ``Retain``."""
    if spec.deletion_policy is not None:
        return spec.deletion_policy
    return DeletionPolicy.CANCEL if known.origin is Origin.CREATED else DeletionPolicy.RETAIN


class DeletionCase(NamedTuple):
    """An object that is being deleted. ``sent``: this process has sent something for it, whatever came of it."""

    spec: Spec
    known: Status
    sent: bool

    @property
    def policy(self) -> DeletionPolicy:
        """The deletion policy that counts."""
        return policy(self.spec, self.known)

    @property
    def reason(self) -> str | None:
        """The reason of its condition Ready."""
        ready = self.known.condition(READY)
        return ready.reason if ready else None

    @property
    def was_resolved(self) -> bool:
        """Whether Atlas was ever asked about the project: something was sent, or status shows what came of a call."""
        return (
            self.sent
            or self.known.invitation is not None
            or self.known.atlas is not None
            or self.reason not in {None, Reason.PROJECT_NOT_READY}
        )


@dataclass(frozen=True, slots=True)
class Untouched:
    """A row which leaves Atlas alone, without looking."""

    when: Callable[[DeletionCase], bool]
    why: str


UNTOUCHED: tuple[Untouched, ...] = (
    Untouched(lambda o: o.spec.suspend, "the object is suspended"),
    Untouched(lambda o: o.policy is DeletionPolicy.RETAIN, "the deletion policy is Retain"),
    Untouched(lambda o: o.reason == Reason.IDENTITY_MISMATCH, "it is for another e-mail"),
    Untouched(lambda o: o.reason == Reason.DUPLICATE_INVITE, "another object has the invitation"),
    Untouched(lambda o: o.spec.group_id is None and not o.was_resolved, "the project was never resolved"),
)


def untouched(spec: Spec, known: Status, *, sent: bool = False) -> str | None:
    """Return why Atlas is left alone without looking, or None.

    Args:
        spec: what the object asks for.
        known: its status.
        sent: whether this process has sent something for it, whatever came of it.
    """
    case = DeletionCase(spec, known, sent)
    return next((row.why for row in UNTOUCHED if row.when(case)), None)


TABLE_D: dict[tuple[Sight, DeletionPolicy], Removal] = {
    (Sight.PENDING, DeletionPolicy.CANCEL): Removal.CANCEL_INVITATION,
    (Sight.PENDING, DeletionPolicy.REVOKE): Removal.CANCEL_INVITATION,
    (Sight.MEMBER, DeletionPolicy.REVOKE): Removal.REMOVE_MEMBER,
}
"""What to take away of what is seen; everything else is left alone."""


def leaves_member_alone(spec: Spec, known: Status) -> bool:
    """Whether nothing is to be done by what was last seen: a member, or a former one, under ``Cancel``."""
    return policy(spec, known) is DeletionPolicy.CANCEL and known.state in {State.ACCEPTED, State.REMOVED}


def trouble_of(failure: Failure, *, secret_lost: bool) -> Trouble | None:
    """Return which trouble a failed try met, or None where it is tried for as long as it takes.

    Args:
        failure: how it failed.
        secret_lost: the Secret is gone or invalid; the try used the credentials last held, if any.
    """
    if secret_lost:
        return Trouble.SECRET_LOST
    return None if failure.reason.kind is Kind.RETRYING else Trouble.REFUSED


def orphaned_because(failure: Failure, trouble: Trouble | None, lasted: float, *, force: bool) -> str | None:
    """Return why a failed try was the last one, after which Atlas may still hold the invitation, or None to try again.

    Args:
        failure: how it failed.
        trouble: which trouble it met.
        lasted: for how many seconds this process had met that trouble, and no other outcome, when the try began.
        force: the object is annotated to go at once.
    """
    if force:
        return f"force-delete is set and the last attempt failed: {failure.message}"
    return failure.message if trouble is not None and lasted >= TRIED_FOR[trouble] else None


def project_gone(failure: Failure) -> bool:
    """Return whether Atlas said that the project does not exist; only where the project was read is that so."""
    return failure.error is not None and failure.error.error_code == "GROUP_NOT_FOUND"
