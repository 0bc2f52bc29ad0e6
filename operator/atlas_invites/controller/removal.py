"""The phases that remove the invitation or member of a deleted object in Atlas, by Table D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_invites.controller.finalizer import Finalized, check_other_claims, claim_for_cleanup, grace_left
from atlas_invites.controller.observe import case_of_observation, observe_until_conclusive
from atlas_invites.controller.sends import ACCEPTED_MEANWHILE, cancel, remove_user, withhold_send
from atlas_invites.failures import Failure, Later, Stale
from atlas_invites.invitation.case import Presence
from atlas_invites.invitation.deletion import TABLE_D, Removal, name_invitation
from atlas_invites.invitation.model import Api, DeletionPolicy, Membership, Observation, Origin, State
from atlas_invites.invitation.notices import CANCELED, EventReason, EventType, Notice
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.plan import Action, decision_of

if TYPE_CHECKING:
    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.invitation.model import Invitation

_LEGACY = "The invitation was sent through the Invites API, which has ended, so it can no longer be canceled."

_SHOWS_AN_ENTRY = frozenset({State.PENDING, State.ACCEPTED})

_NOTHING_THERE = Finalized("Atlas has no invitation and no member of this object")
_CANCELED = Finalized("the invitation was canceled", CANCELED)
_REVOKED = Finalized(
    "the member was removed",
    Notice(EventType.NORMAL, EventReason.MEMBER_REVOKED, "The member was removed from the project in Atlas."),
)


async def observe_to_clean_up(attempt: Attempt) -> None:
    """Observe Atlas for a deleted object, and decide. That nothing is left must be confirmed.

    An invitation that status shows as pending needs no observation if it is the last one that can have been sent: one
    call with its id is enough.

    Raises:
        Failure: Atlas could not be observed.
    """
    if not attempt.must_observe and (pending := _known_invitation_to_cancel(attempt)) is not None:
        attempt.decision = decision_of(case_of_observation(attempt, Observation(invitations=(pending,))))
        attempt.is_decided_from_status = True
        return
    await observe_until_conclusive(attempt)


async def leave_others(attempt: Attempt) -> Finalized | None:
    """Finalize the object if nothing is left in Atlas, or if the observed invitation or member is not its own.

    Raises:
        Failure: a send may still be under way, or can no longer be observed.
        Later: see ``yield_to_claimants``; or status does not show yet that the invitation or the member is gone. An
            object that takes over inherits that, see ``hold_departed``.
    """
    case = attempt.decision.case
    there = case.invitation or case.member
    if there is None:
        _confirm_nothing(attempt)
        if attempt.known.state in _SHOWS_AN_ENTRY and (left := await grace_left(attempt)) > 0:
            raise Later(left)
        return _NOTHING_THERE
    if case.member is None:
        _check_not_hidden(attempt)
    if case.is_for_another_email:
        return Finalized.leaving("the invitation is for another e-mail", attempt.deletion_case.left)
    if attempt.may_belong_to_unlisted:
        return Finalized.leaving(
            "an object in a namespace that the operator cannot list may have the invitation",
            attempt.deletion_case.left,
        )
    return claim_for_cleanup(attempt, (*attempt.target, there.username, there.id))


async def hold_removal(attempt: Attempt) -> None:
    """Hold a removal until the deletion grace is over, because another object may be created and take over.

    After the grace, the phases observe Atlas again.

    Raises:
        Later: the grace is not over.
    """
    if _has_removal(attempt) and (left := await grace_left(attempt)) > 0:
        raise Later(left)


async def clean_up(attempt: Attempt) -> Finalized:
    """Remove what the policy says of what was observed.

    Raises:
        Failure: Atlas returned an error, or no usable response.
        Stale: the object has changed meanwhile.
    """
    case, removal = attempt.decision.case, _removal_of(attempt)
    if removal is Removal.CANCEL_INVITATION and case.invitation is not None:
        return await _cancel(attempt, case.invitation)
    if removal is Removal.REMOVE_MEMBER and case.member is not None:
        removed = await remove_user(attempt, case.member.id, Membership.ACTIVE, _check)
        return _REVOKED if removed else _NOTHING_THERE
    return Finalized("the deletion policy does not remove a member")


def _removal_of(attempt: Attempt) -> Removal | None:
    """Return what to remove of what was observed, by Table D."""
    return TABLE_D.get((attempt.decision.case.presence, attempt.deletion_case.policy))


def _has_removal(attempt: Attempt) -> bool:
    """Return whether the cleanup would remove something in Atlas."""
    removal, invitation = _removal_of(attempt), attempt.decision.case.invitation
    if removal is Removal.CANCEL_INVITATION and invitation is not None:
        return _may_cancel(attempt, invitation)
    return removal is not None


def _known_invitation_to_cancel(attempt: Attempt) -> Invitation | None:
    """Return the invitation on status, if it is to be canceled and Atlas cannot have another one."""
    invitation = attempt.known.invitation
    if invitation is None or attempt.memory.canceled or not (invitation.api is attempt.project.api is Api.INVITES):
        return None
    return invitation if _is_the_last(attempt, invitation) and _may_cancel(attempt, invitation) else None


def _check(attempt: Attempt) -> None:
    """Check that the object has not changed since the try began, and that no other object claims the invitation.

    Call this right before each removal.

    Raises:
        Stale: the check failed.
        Later: another object that names the same has not proven its claim yet.
    """
    attempt.check()
    if check_other_claims(attempt):
        raise Stale(f"another object has claimed the invitation of {attempt.resource.key}")
    attempt.memory.is_removing = True


def _is_the_last(attempt: Attempt, invitation: Invitation) -> bool:
    """Return whether the invitation on status is the last one that can have been sent, so no observation is needed.

    It is not if a send is unconfirmed, or if the invitation has expired and so may have been sent again.
    """
    expires = invitation.expires
    is_over = expires is not None and attempt.collaborators.atlas.now() >= expires
    is_pending = attempt.known.state is State.PENDING
    return is_pending and not is_over and not attempt.memory.may_have_an_unconfirmed_send


def _confirm_nothing(attempt: Attempt) -> None:
    """Accept that nothing is left, unless it may be hidden, or a send may still be under way.

    If the decision is to send, an earlier process may have decided so too, and sent.

    Raises:
        Failure: LegacyInvitation, ConfirmingInvitation.
    """
    if attempt.decision.case.presence is Presence.NOTHING:
        _check_not_hidden(attempt)
    if attempt.decision.row.action is not Action.SEND and not attempt.memory.may_have_an_unconfirmed_send:
        return
    if (wait := withhold_send(attempt)) is not None:
        raise Failure(wait.reason, wait.message, retry_after=wait.requeue_after)


def _check_not_hidden(attempt: Attempt) -> None:
    """Check that the object's invitation is not hidden in the Users API. What that API shows is another invitation.

    Raises:
        Failure: LegacyInvitation.
    """
    if attempt.decision.case.is_legacy and attempt.known.state is State.PENDING:
        raise Failure(Reason.LEGACY_INVITATION, _LEGACY)


def _may_cancel(attempt: Attempt, invitation: Invitation) -> bool:
    """Return whether the policy covers an invitation. If none is set, it covers what this object certainly created."""
    if attempt.spec.deletion_policy is not None:
        return True
    is_ours = _is_known(attempt, invitation) and attempt.known.origin is Origin.CREATED
    return is_ours or attempt.memory.origin_of(invitation) is Origin.CREATED


def _is_known(attempt: Attempt, invitation: Invitation) -> bool:
    known = attempt.known.invitation
    return known is not None and known.id == invitation.id


async def _cancel(attempt: Attempt, invitation: Invitation) -> Finalized:
    if not _may_cancel(attempt, invitation):
        is_adopted = _is_known(attempt, invitation) and attempt.known.origin is Origin.ADOPTED
        left = None if is_adopted else name_invitation(invitation.id, invitation.username)
        return Finalized.leaving("it is not certain that this object created it", left)
    if await cancel(attempt, invitation, _check):
        return _CANCELED
    if attempt.deletion_case.policy is DeletionPolicy.REVOKE:
        attempt.since = attempt.collaborators.clock()
        raise Failure(Reason.CONFLICT, ACCEPTED_MEANWHILE)
    return _NOTHING_THERE
