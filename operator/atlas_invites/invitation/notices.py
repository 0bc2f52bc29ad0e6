"""The Kubernetes Events of an object: its transitions, and what the operator changed in Atlas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.model import Api, Origin, State
from atlas_invites.invitation.outcome import Did, Kind, Reason

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.outcome import Outcome

SUNSET_NEAR = timedelta(days=180)
"""How long before the end of the Invites API the operator starts to warn of it."""


class EventType(StrEnum):
    """The type of a Kubernetes Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


class EventReason(StrEnum):
    """The reasons of events. A Warning for a new Reconciling or Stalled condition has the reason of that condition.

    If the state changes too, only the event of the state is published, because both would have the same text.
    """

    INVITATION_SENT = "InvitationSent"
    INVITATION_ADOPTED = "InvitationAdopted"
    ROLES_UPDATED = "RolesUpdated"
    ACCEPTED = "Accepted"
    ROLES_DIFFER = "RolesDiffer"
    EXPIRED = "Expired"
    WITHDRAWN = "Withdrawn"
    REMOVED = "Removed"
    CANCELED = "Canceled"
    MEMBER_REVOKED = "MemberRevoked"
    RESEND_REFUSED = "ResendRefused"
    PROJECT_NOT_FOUND = "ProjectNotFound"
    ORPHANED_INVITATION = "OrphanedInvitation"
    SUNSET_NEAR = "SunsetNear"


@dataclass(frozen=True, slots=True)
class Notice:
    """One event. ``note`` says what happened, to which invitation or member, and what to do."""

    type: EventType
    reason: str
    note: str


CANCELED = Notice(EventType.NORMAL, EventReason.CANCELED, "The pending invitation was canceled in Atlas.")

_STATES = {
    State.ACCEPTED: EventReason.ACCEPTED,
    State.EXPIRED: EventReason.EXPIRED,
    State.WITHDRAWN: EventReason.WITHDRAWN,
    State.REMOVED: EventReason.REMOVED,
}


def notices(known: Status, now_known: Status, outcome: Outcome) -> list[Notice]:
    """Return the events of one reconcile: one for each transition, none if nothing changed.

    Args:
        known: the status before the reconcile.
        now_known: the status after it.
        outcome: the outcome of the reconcile.
    """
    found: list[Notice] = []

    def add(reason: str, note: str, type_: EventType = EventType.NORMAL) -> None:
        found.append(Notice(type_, reason, note))

    invitation, before = now_known.invitation, known.invitation
    is_new = invitation is not None and (before is None or before.id != invitation.id)
    takes_over = is_new and outcome.reason is Reason.CONFIRMING_INVITATION
    if takes_over and invitation is not None:
        add(EventReason.INVITATION_ADOPTED, f"Took over the invitation {invitation.id} from another object.")
    elif (outcome.did is Did.SEND and outcome.invitation is not None) or (
        is_new and now_known.origin is Origin.CREATED
    ):
        add(EventReason.INVITATION_SENT, "Atlas has sent the invitation.")
    elif invitation is not None and is_new and now_known.origin is Origin.ADOPTED:
        add(EventReason.INVITATION_ADOPTED, f"Adopted the existing invitation {invitation.id}.")
    if outcome.did is Did.SET_ROLES:
        there = outcome.member or outcome.invitation
        roles = ", ".join(there.roles) if there else "those of spec.roles"
        add(EventReason.ROLES_UPDATED, f"The roles in Atlas are now {roles}.")
    ready = known.condition(READY)
    is_retried = outcome.reason.kind is Kind.RETRYING
    if now_known.state is not known.state and now_known.state in _STATES and not is_retried:
        add(_STATES[now_known.state], outcome.message)
    elif (ready is None or ready.reason != outcome.reason) and _is_warned_of(outcome):
        add(outcome.reason, outcome.message, EventType.WARNING)
    return found


def _is_warned_of(outcome: Outcome) -> bool:
    return outcome.kind is not Kind.SETTLED or outcome.reason is Reason.ROLES_DIFFER


def resend_refused_notice(why: str) -> Notice:
    """Return the warning that a requested resend sent nothing."""
    return Notice(EventType.WARNING, EventReason.RESEND_REFUSED, f"Nothing was sent for the requested resend: {why}.")


def orphan_notice(left: str, why: str) -> Notice:
    """Return the warning that an invitation or a member may be left in Atlas after the finalizer was removed.

    Args:
        left: the invitation or member that may be left, with id and e-mail.
        why: why the operator did not remove it.
    """
    return Notice(
        EventType.WARNING,
        EventReason.ORPHANED_INVITATION,
        f"The finalizer was removed, but {left} may still exist in Atlas. Check in Atlas, and remove it there if it is "
        f"not wanted. The operator did not remove it in Atlas because: {why}",
    )


def sunset_notice(status: Status, now: datetime) -> Notice | None:
    """Return the warning that the object uses the Invites API and that this API ends within 180 days, or None."""
    atlas = status.atlas
    sunset = atlas.sunset_time if atlas is not None and atlas.api is Api.INVITES else None
    if sunset is None or now < sunset - SUNSET_NEAR:
        return None
    return Notice(
        EventType.WARNING,
        EventReason.SUNSET_NEAR,
        f"Atlas ends the Invites API on {sunset:%Y-%m-%d}. The operator switches to the Users API automatically. "
        "An invitation that is still pending on that day can no longer be changed or canceled.",
    )
