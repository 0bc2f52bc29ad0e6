"""The phase that observes Atlas until the observation is enough for a decision, and decides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_invites.invitation.case import case_of
from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.model import Api, Observation, Operation, State
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.plan import decision_of, is_conclusive, set_roles

if TYPE_CHECKING:
    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.invitation.case import Case
    from atlas_invites.invitation.model import Invitation, Status
    from atlas_invites.invitation.plan import Decision


async def observe(attempt: Attempt) -> None:
    """Observe Atlas for a live object, and decide.

    To set the roles of a known pending invitation, no observation is needed: one PATCH with its id is enough.

    Raises:
        Failure: Atlas could not be observed.
    """
    is_resend = attempt.resource.asks_to_resend(attempt.known)
    if not is_resend and not attempt.must_observe and (pending := _patchable_invitation(attempt)) is not None:
        attempt.decision = set_roles(case_of_observation(attempt, Observation(invitations=(pending,))))
        attempt.is_decided_from_status = True
        return
    # A refused send is not repeated, so the lists are enough to report the refusal again.
    never_had_one = not is_resend and (attempt.may_be_refused or not may_have_one(attempt))
    await observe_until_conclusive(attempt, never_had_one=never_had_one)


async def observe_until_conclusive(attempt: Attempt, *, never_had_one: bool = False) -> None:
    """Observe Atlas, and decide. With ``never_had_one`` the lists are enough to send: see ``plan.is_conclusive``."""

    def is_enough(seen: Observation) -> bool:
        return is_conclusive(_decide(attempt, seen), never_had_one=never_had_one)

    attempt.decision = _decide(attempt, await attempt.project.look(attempt.target, attempt.since, is_enough))
    attempt.is_decided_from_status = False


def may_have_one(attempt: Attempt) -> bool:
    """Return whether an invitation may have been sent for the object that lists do not show yet."""
    known, memory, claims, key = attempt.known, attempt.memory, attempt.claims, attempt.resource.key
    return (
        not memory.is_only_sender
        or known.invitation is not None
        or known.member is not None
        or attempt.spec.invitation_id is not None
        or memory.unconfirmed_since is not None
        or memory.has_conflicted
        or claims.had_another(key)
        or not claims.is_alone(key)
    )


def _decide(attempt: Attempt, seen: Observation) -> Decision:
    return decision_of(case_of_observation(attempt, seen))


def case_of_observation(attempt: Attempt, seen: Observation) -> Case:
    """Return the case of the object for an observation."""
    seen = attempt.memory.without_canceled(seen)
    case = case_of(attempt.spec, attempt.known, seen, attempt.collaborators.atlas.now(), attempt.project.api)
    there = case.member or case.invitation
    unseen = attempt.memory.unseen_roles(there.id, case.roles) if there is not None else None
    return replace(case, is_repeat=attempt.resource.is_evaluated_by(attempt.known), unseen_roles=unseen)


def _patchable_invitation(attempt: Attempt) -> Invitation | None:
    """Return the object's own pending invitation if its roles differ from the spec.

    Return None if Atlas did not respond to the last write of roles: then Atlas is observed first.
    """
    known, invitation, ready = attempt.known, attempt.known.invitation, attempt.known.condition(READY)
    if (
        attempt.resource.has_finalizer
        and invitation is not None
        and invitation.api is attempt.project.api is Api.INVITES
        and known.state is State.PENDING
        and ready is not None
        and ready.reason not in {Reason.IDENTITY_MISMATCH, Reason.DUPLICATE_INVITE}
        and frozenset(invitation.roles) != attempt.spec.roles
        and (attempt.memory.roles_written is None or _failed_update(known))
        and not attempt.may_be_refused
        and not (ready.reason == Reason.ROLES_DIFFER and attempt.resource.is_evaluated_by(known))
    ):
        return invitation
    return None


def _failed_update(known: Status) -> bool:
    """Return whether the last error of Atlas was the response to a PATCH of the invitation."""
    return known.error is not None and known.error.operation is Operation.UPDATE_INVITE
