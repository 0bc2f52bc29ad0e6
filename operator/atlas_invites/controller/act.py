"""The phases that carry out a decision: cancel for a requested resend, send the invitation, set roles, or nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_invites.controller.observe import may_have_one, observe_until_conclusive
from atlas_invites.controller.sends import cancel, recall_other_sends, who_is_elsewhere, withhold_send
from atlas_invites.controller.take_over import claim_observed
from atlas_invites.failures import ClusterUnavailable, Failure, Stale
from atlas_invites.invitation.case import Presence, is_same_user
from atlas_invites.invitation.conditions import Evaluated, summary_of
from atlas_invites.invitation.model import Api, Membership, Origin
from atlas_invites.invitation.notices import CANCELED, resend_refused_notice
from atlas_invites.invitation.outcome import Did, Outcome, Reason
from atlas_invites.invitation.plan import Action, after_send, after_write, decision_of, is_conclusive, outcome_of
from atlas_invites.invitation.refusal import Observed, Refusal, is_conflict, is_refused_write, refused_before
from atlas_invites.invitation.resend import Step, handled_status, is_only_sender, row_of
from atlas_invites.telemetry.metrics import SENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.invitation.model import Invitation, User

ROUNDS = 2
"""Rounds of steps that set the roles of a user: the second one is for a change by somebody else during the first."""

_CHANGED_MEANWHILE = (
    "The invitation or the member changed in Atlas while the operator set the roles. The operator observes Atlas "
    "again; no action is needed."
)
_CRD_TOO_OLD = (
    "A resend was requested, but the CRD in the cluster is older than the operator and cannot store that the request "
    "was handled, so nothing was sent. Update the CRD."
)
_STILL_PENDING = (
    "Atlas still shows a pending invitation after the cancellation. The operator observes Atlas again; no action is "
    "needed."
)


async def resend(attempt: Attempt) -> Outcome | None:
    """If a resend is requested, cancel the pending invitation and forget it, so that ``act`` sends a new one.

    Status shows the request as handled before anything is sent. A process that reads such a status expects an
    unconfirmed send.

    Raises:
        Failure: the pending invitation could not be canceled, or the CRD cannot store that the request was handled.
        Stale: the object has changed meanwhile.
        ClusterUnavailable, WriteRefused: the status could not be written.
    """
    value, case, collaborators = attempt.resource.resend_requested_at, attempt.decision.case, attempt.collaborators
    if value is None or not attempt.resource.asks_to_resend(attempt.known):
        return None
    row = row_of(case)
    if row.step in {Step.CANCEL_FIRST, Step.SEND}:
        await _check_crd(attempt)
    if row.step is Step.CANCEL_FIRST and (pending := case.invitation) is not None:
        is_canceled = await cancel(attempt, pending, _check_no_older_claim)
        attempt.memory.canceled.add((pending.id, pending.created_at))
        if is_canceled:
            collaborators.events.publish(attempt.resource, CANCELED)
        attempt.since = collaborators.clock()
        await observe_until_conclusive(attempt)
        if (ended := await claim_observed(attempt)) is not None:
            return ended
        case = attempt.decision.case
        row = row_of(case)
        if row.step is Step.CANCEL_FIRST:
            raise Failure(Reason.CONFLICT, _STILL_PENDING)
    if row.step is Step.SEND:
        attempt.memory.forget_invitation(is_only_sender=is_only_sender(case))
    evaluated = Evaluated(attempt.resource.generation, attempt.known.last_handled_reconcile_at, attempt.spec.roles)
    attempt.known = handled_status(row.step, attempt.known, evaluated, value, collaborators.wall())
    attempt.resource = await collaborators.writer.write_status(attempt.resource, attempt.known)
    if row.step is Step.REFUSE:
        collaborators.events.publish(attempt.resource, resend_refused_notice(row.why or ""))
    else:
        attempt.decision = decision_of(replace(case, known=attempt.known))
    return None


async def _check_crd(attempt: Attempt) -> None:
    """Check, before anything is canceled, that the CRD can store that a request was handled. Else each try would send.

    The version that can is the one that has ``status.rolesSummary`` too. The status of every evaluated object shows it.

    Raises:
        Failure: the CRD cannot store it.
    """
    resource = attempt.resource
    if resource.status.roles_summary is None:
        shown = resource.status.model_copy(update={"roles_summary": summary_of(attempt.spec.roles)})
        resource = attempt.resource = await attempt.collaborators.writer.write_status(resource, shown)
    if resource.status.roles_summary is None:
        raise Failure(Reason.INVALID_REQUEST, _CRD_TOO_OLD)


def _check_no_older_claim(attempt: Attempt) -> None:
    """Check what ``Attempt.check`` checks, and that no older object claims the invitation."""
    attempt.check()
    if attempt.claims.holder(attempt.resource.key) is not None:
        raise Stale(f"another object has claimed the invitation of {attempt.resource.key}")


async def act(attempt: Attempt) -> Outcome:
    """Carry out the decision in Atlas, and return the outcome by the response of Atlas.

    Raises:
        Failure: Atlas returned an error, or no usable response.
        Stale: the object has changed meanwhile.
    """
    if attempt.decision.row.action is Action.SEND:
        async with attempt.collaborators.sends.one_at_a_time(attempt.invitee) as waited:
            if waited:
                attempt.since = attempt.collaborators.clock()
                await observe_until_conclusive(attempt)
            if (outcome := await _send(attempt)) is not None:
                return outcome
    case = attempt.decision.case
    is_shown = case.member is not None or (case.invitation is not None and case.invitation.api is Api.INVITES)
    if is_shown and not attempt.is_decided_from_status:
        attempt.collaborators.sends.confirm(attempt.invitee, attempt.memory)
    if attempt.decision.row.action is Action.SET_ROLES:
        return await _set_roles(attempt)
    return _outcome(attempt)


async def _send(attempt: Attempt) -> Outcome | None:
    """Send if the guard allows it. Return None if there is nothing to send any more."""
    if attempt.decision.row.action is not Action.SEND:
        return None
    refused = await _standing_refusal(attempt)
    if refused is None and not is_conclusive(attempt.decision, never_had_one=not may_have_one(attempt)):
        await observe_until_conclusive(attempt)
        if attempt.decision.row.action is not Action.SEND:
            return None
    recall_other_sends(attempt)
    if (withheld := withhold_send(attempt, refused)) is not None:
        return withheld
    attempt.check()
    info = attempt.project.info
    with _remembering_write(attempt):
        try:
            response = await attempt.collaborators.sends.send(
                attempt.invitee, attempt.memory, attempt.decision.case, attempt.project
            )
        except Failure as failure:
            if not failure.unanswered:
                raise
            return replace(failure.outcome, atlas=info)
    attempt.decision = after_send(attempt.decision, response)
    if attempt.decision.case.presence is Presence.PENDING:
        SENT.inc()
    return _outcome(attempt, Did.SEND)


async def _standing_refusal(attempt: Attempt) -> Outcome | None:
    """Return the outcome of the same write if Atlas refused it and nothing has changed since.

    After a restart, the first credentials and the first observation count as those of the refusal.
    """
    memory, request, now = attempt.memory, attempt.request, attempt.collaborators.clock()
    outcome = memory.refusal.outcome if memory.refusal else refused_before(attempt.resource, attempt.known)
    if outcome is None:
        return None
    elsewhere: frozenset[str] = frozenset()
    if is_conflict(outcome) and attempt.decision.row.action is Action.SEND:
        elsewhere = await who_is_elsewhere(attempt.project, attempt.spec.username or "")
    observed = Observed.of(attempt.decision, elsewhere)
    memory.refusal = memory.refusal or Refusal(request, observed, outcome, now)
    return outcome if memory.refusal.stands(request, observed, now) else None


@contextmanager
def _remembering_write(attempt: Attempt) -> Iterator[None]:
    """Remember the roles that a write requests until Atlas shows them, and remember the write if Atlas refuses it."""
    decision, memory, before = attempt.decision, attempt.memory, attempt.memory.roles_written
    if (
        decision.row.action is Action.SET_ROLES
        and (there := decision.case.member or decision.case.invitation) is not None
    ):
        memory.roles_written = (there.id, attempt.spec.roles)
    try:
        yield
    except (Stale, ClusterUnavailable):
        memory.roles_written = before  # the write was not sent
        raise
    except Failure as failure:
        if not failure.unanswered and failure.error is not None:
            memory.roles_written = before
        if is_refused_write(failure.reason, failure.error):
            outcome = failure.outcome
            observed = Observed.of(decision, memory.elsewhere if is_conflict(outcome) else frozenset())
            memory.refusal = Refusal(attempt.request, observed, outcome, attempt.collaborators.clock())
        raise


async def _set_roles(attempt: Attempt) -> Outcome:
    """Set the roles of the invitation or member, unless Atlas has refused that. The outcome has the roles returned.

    Raises:
        Failure: Conflict if the invitation or member is no longer as observed; else the error of Atlas.
        Stale: the object has changed meanwhile.
    """
    if (refused := await _standing_refusal(attempt)) is not None:
        return refused
    case, has_written = attempt.decision.case, True
    with _remembering_write(attempt):
        if case.member is not None:
            member, has_written = await _set_user_roles(attempt, case.member.id, Membership.ACTIVE)
            case = replace(case, member=member)
        elif case.invitation is not None and case.invitation.api is Api.INVITES:
            case = replace(case, invitation=await _update_invite(attempt, case.invitation.id))
        elif case.invitation is not None:
            user, has_written = await _set_user_roles(attempt, case.invitation.id, Membership.PENDING)
            case = replace(case, invitation=user.as_invitation())
    attempt.decision = replace(attempt.decision, case=case)
    return _outcome(attempt, Did.SET_ROLES if has_written else None)


async def _update_invite(attempt: Attempt, invitation_id: str) -> Invitation:
    attempt.check()
    updated = await attempt.project.update_invite(invitation_id, sorted(attempt.spec.roles))
    if updated is None:
        raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
    return updated


async def _set_user_roles(attempt: Attempt, user_id: str, membership: Membership) -> tuple[User, bool]:
    """Set the roles of a user. Return the user as Atlas returned it, and whether anything was written.

    The user is read right before, and must be the observed one. Roles are added before others are removed, because a
    user must never have zero roles. If Atlas does not add a role, no role is removed, and what Atlas shows then is the
    result. If Atlas does every step and shows other roles, somebody has changed them meanwhile: one more round follows.
    """
    project, roles = attempt.project, attempt.spec.roles
    user = await project.read_user(user_id)
    if user is None or not is_same_user(user, membership, attempt.decision.case.found_by_email):
        raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
    has_written = False
    for _ in range(ROUNDS):
        steps = [(project.add_role, role) for role in sorted(roles - set(user.roles))]
        steps += [(project.remove_role, role) for role in sorted(set(user.roles) - roles)]
        for call, role in steps:
            attempt.check()
            user = await call(user_id, role)
            if user is None or user.org_membership_status != membership:
                raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
            has_written = True
            if role in roles and role not in user.roles:
                return user, True
        if any(role not in roles and role in user.roles for _, role in steps):
            break
    return user, has_written


def _outcome(attempt: Attempt, did: Did | None = None) -> Outcome:
    outcome = outcome_of(attempt.decision if did is None else after_write(attempt.decision))
    if did is Did.SEND:
        return replace(outcome, origin=Origin.CREATED, did=did)
    if outcome.origin is not None and outcome.invitation is not None:
        outcome = replace(outcome, origin=attempt.memory.origin_of(outcome.invitation))
    return replace(outcome, did=did)
