"""The phases that remove in Atlas, by Table D, what a deleted object has there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_invites.controller.finalizer import Finalized, another_has_it, claim_for_cleanup, grace_left
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

_LEGACY = "The invitation was sent through the invites API, which has ended: it cannot be cancelled any more."

_NOTHING_THERE = Finalized("nothing is left of it in Atlas")
_CANCELED = Finalized("the invitation was canceled", CANCELED)
_REVOKED = Finalized(
    "the member was removed",
    Notice(EventType.NORMAL, EventReason.MEMBER_REVOKED, "The member was removed from the project in Atlas."),
)


async def observe_to_clean_up(attempt: Attempt) -> None:
    """Observe Atlas for a deleted object, and decide: that nothing is there must be confirmed.

    An invitation that status shows as pending needs no observation, if it is the last that can have been sent: one
    call by its id is all there is to do.

    Raises:
        Failure: Atlas could not be observed.
    """
    if not attempt.must_observe and (pending := _known_invitation_to_cancel(attempt)) is not None:
        attempt.decision = decision_of(case_of_observation(attempt, Observation(invitations=(pending,))))
        attempt.is_decided_from_status = True
        return
    await observe_until_conclusive(attempt)


async def leave_others(attempt: Attempt) -> Finalized | None:
    """End the object if nothing is left of it in Atlas, or if what was observed is not its own.

    Raises:
        Failure: a send may still be under way, or cannot be observed any more.
        Later: see ``yield_to_claimants``.
    """
    case = attempt.decision.case
    there = case.invitation or case.member
    if there is None:
        _confirm_nothing(attempt)
        return _NOTHING_THERE
    if case.member is None:
        _check_not_hidden(attempt)
    if case.is_for_another_email:
        return Finalized.leaving("it is for another e-mail", attempt.deletion_case.left)
    if attempt.may_be_of_an_unknown:
        return Finalized.leaving("an object that cannot be listed may have it", attempt.deletion_case.left)
    return claim_for_cleanup(attempt, (*attempt.target, there.username, there.id))


async def hold_removal(attempt: Attempt) -> None:
    """Hold a removal until the grace of deletions is over: another object may come that names the same and takes over.

    After it, the phases run on what Atlas shows then.

    Raises:
        Later: the time is not over.
    """
    if _has_removal(attempt) and (left := await grace_left(attempt)) > 0:
        raise Later(left)


async def clean_up(attempt: Attempt) -> Finalized:
    """Take away what the policy says of what was observed.

    Raises:
        Failure: Atlas did not do it.
        Stale: the object has changed meanwhile.
    """
    case, removal = attempt.decision.case, _removal_of(attempt)
    if removal is Removal.CANCEL_INVITATION and case.invitation is not None:
        return await _cancel(attempt, case.invitation)
    if removal is Removal.REMOVE_MEMBER and case.member is not None:
        removed = await remove_user(attempt, case.member.id, Membership.ACTIVE, _check)
        return _REVOKED if removed else _NOTHING_THERE
    return Finalized("the deletion policy leaves a member alone")


def _removal_of(attempt: Attempt) -> Removal | None:
    """Return what Table D says to remove of what was observed."""
    return TABLE_D.get((attempt.decision.case.presence, attempt.deletion_case.policy))


def _has_removal(attempt: Attempt) -> bool:
    """Return whether the cleanup would remove something in Atlas."""
    removal, invitation = _removal_of(attempt), attempt.decision.case.invitation
    if removal is Removal.CANCEL_INVITATION and invitation is not None:
        return _may_cancel(attempt, invitation)
    return removal is not None


def _known_invitation_to_cancel(attempt: Attempt) -> Invitation | None:
    """Return the invitation that status shows, if it is to be canceled and nothing else can be in Atlas."""
    invitation = attempt.known.invitation
    if invitation is None or attempt.memory.canceled or not (invitation.api is attempt.project.api is Api.INVITES):
        return None
    return invitation if _is_the_last(attempt, invitation) and _may_cancel(attempt, invitation) else None


def _check(attempt: Attempt) -> None:
    """Check that the object asks for what it did when the try began, and that no other object has come before it.

    To be called right before each removal.

    Raises:
        Stale: it does not, or one has.
        Later: another object that names the same has yet to prove its claim.
    """
    attempt.check()
    if another_has_it(attempt):
        raise Stale(f"what {attempt.resource.key} has is another object's by now")
    attempt.memory.is_removing = True


def _is_the_last(attempt: Attempt, invitation: Invitation) -> bool:
    """Return whether the invitation that status shows is the last that can have been sent: no look is needed.

    It is not if a send is unconfirmed, nor if its time is over: then it may have been sent again.
    """
    expires = invitation.expires
    is_over = expires is not None and attempt.collaborators.atlas.now() >= expires
    is_pending = attempt.known.state is State.PENDING
    return is_pending and not is_over and not attempt.memory.may_have_an_unconfirmed_send


def _confirm_nothing(attempt: Attempt) -> None:
    """Accept that nothing is there, unless it cannot be seen, or a send may still be under way.

    If the object would be sent an invitation now, an earlier process may have done so.

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
    """Check that the object's invitation is not one that the Users API does not show: what it shows is another one.

    Raises:
        Failure: LegacyInvitation.
    """
    if attempt.decision.case.is_legacy and attempt.known.state is State.PENDING:
        raise Failure(Reason.LEGACY_INVITATION, _LEGACY)


def _may_cancel(attempt: Attempt, invitation: Invitation) -> bool:
    """Return whether the policy covers an invitation: if none is set, it covers what this object made for sure."""
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
        return Finalized.leaving("it is not known to have been made by this object", left)
    if await cancel(attempt, invitation, _check):
        return _CANCELED
    if attempt.deletion_case.policy is DeletionPolicy.REVOKE:
        attempt.since = attempt.collaborators.clock()
        raise Failure(Reason.CONFLICT, ACCEPTED_MEANWHILE)
    return _NOTHING_THERE
