"""The phase that carries out what was decided: send the invitation, set its roles or a member's, or nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_invites.controller.observe import may_have_one, observe_until_conclusive
from atlas_invites.controller.sends import who_is_elsewhere
from atlas_invites.failures import ClusterUnavailable, Failure, Stale
from atlas_invites.invitation.case import Presence
from atlas_invites.invitation.email import same_email
from atlas_invites.invitation.guard import (
    CONFIRM_AFTER,
    SendCase,
    Verdict,
    guard,
    hold_outcome,
    is_hidden,
    recall_hidden_send,
    wait_outcome,
)
from atlas_invites.invitation.model import Api, Membership, Origin, State
from atlas_invites.invitation.outcome import Did, Outcome, Reason
from atlas_invites.invitation.plan import Action, after_send, after_write, is_conclusive, outcome_of
from atlas_invites.invitation.refusal import Observed, Refusal, is_conflict, is_refused_write, refused_before
from atlas_invites.telemetry.metrics import SENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atlas_invites.controller.attempt import Attempt, Memory
    from atlas_invites.controller.ports import Project
    from atlas_invites.invitation.model import Invitation, User

_CHANGED_MEANWHILE = "What Atlas shows of the invitation changed while its roles were being set; it is looked at again."


async def act(attempt: Attempt) -> Outcome:
    """Do in Atlas what was decided, and return the outcome by what Atlas responded.

    Raises:
        Failure: Atlas did not do it.
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
    """Send if the guard allows it; return None if there is nothing to send any more."""
    if attempt.decision.row.action is not Action.SEND:
        return None
    refused = await _standing_refusal(attempt)
    if refused is None and not is_conclusive(attempt.decision, never_had_one=not may_have_one(attempt)):
        await observe_until_conclusive(attempt)
        if attempt.decision.row.action is not Action.SEND:
            return None
    if (withheld := _withhold(attempt, refused)) is not None:
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


def _withhold(attempt: Attempt, refused: Outcome | None) -> Outcome | None:
    """Return the outcome of a send that must not go now, or None. Called after the last look, right before the send."""
    is_alone = attempt.claims.is_alone(attempt.resource.key)
    attempt.collaborators.sends.recall(attempt.invitee, attempt.memory, is_alone=is_alone)
    _recall_sends_of_other_objects(attempt)
    return withhold_send(attempt, refused)


def withhold_send(attempt: Attempt, refused: Outcome | None = None) -> Outcome | None:
    """Ask the guard (``invitation.guard``) for a send, and return the outcome of one that must not go now, or None.

    Args:
        attempt: the try.
        refused: the outcome of this very send if Atlas has refused it.
    """
    memory, case = attempt.memory, attempt.decision.case
    is_unknown = not memory.added_first_finalizer and not memory.has_sent
    if case.api is Api.USERS and memory.hidden_send_at is None and is_unknown:
        memory.hidden_send_at = recall_hidden_send(case)
    send_case = SendCase(
        is_refused=refused is not None,
        is_hidden=is_hidden(case, memory.hidden_send_at),
        unconfirmed_for=None if memory.unconfirmed_since is None else attempt.since - memory.unconfirmed_since,
        is_first=memory.added_first_finalizer and (memory.has_sent or not case.had_one),
    )
    match guard(send_case):
        case Verdict.REFUSE:
            return refused
        case Verdict.HOLD_UNTIL_EXPIRY:
            return hold_outcome(attempt.known.atlas)
        case Verdict.WAIT_AND_CONFIRM:
            began = attempt.collaborators.clock() if memory.unconfirmed_since is None else memory.unconfirmed_since
            memory.unconfirmed_since = began
            return wait_outcome(began + CONFIRM_AFTER - attempt.since)
        case Verdict.SEND_NOW:
            return None


def _recall_sends_of_other_objects(attempt: Attempt) -> None:
    """Take a send of an earlier process for another object, if there may be one, for an unconfirmed one of this.

    That object has, or had until it was deleted, a finalizer that is not from this process, and status shows no result.
    Its pending invitation of the ended Invites API counts too.
    """
    key, memory, collaborators = attempt.resource.key, attempt.memory, attempt.collaborators
    for rival in filter(None, map(collaborators.store.get, attempt.claims.rivals(key))):
        status = rival.status
        known = status.invitation
        if status.state is State.PENDING and known is not None and _is_hidden_now(attempt, known):
            memory.hidden_send_at = known.created or collaborators.atlas.now()
        is_silent = known is None and status.member is None
        if rival.has_finalizer and is_silent and not collaborators.memories.of(rival).added_first_finalizer:
            memory.unconfirmed_since = memory.unconfirmed_since or collaborators.clock()
    if (gone_at := attempt.claims.doubtful_since(key)) is not None:
        memory.wait_from(gone_at)


def _is_hidden_now(attempt: Attempt, invitation: Invitation) -> bool:
    return invitation.api is Api.INVITES and attempt.project.api is Api.USERS


async def _standing_refusal(attempt: Attempt) -> Outcome | None:
    """Return the outcome of the same write if Atlas refused it, and nothing has changed since.

    After a restart, the credentials first read and what is first observed count as those of the refusal.
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
    """Remember the roles that a write asks Atlas for, until Atlas shows them; and the write, if Atlas refuses it."""
    decision, memory, before = attempt.decision, attempt.memory, attempt.memory.roles_written
    if (
        decision.row.action is Action.SET_ROLES
        and (there := decision.case.member or decision.case.invitation) is not None
    ):
        memory.roles_written = (there.id, attempt.spec.roles)
    try:
        yield
    except (Stale, ClusterUnavailable):
        memory.roles_written = before  # it was not let out
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
    """Set the roles of what is there, unless Atlas has refused that."""
    if (refused := await _standing_refusal(attempt)) is not None:
        return refused
    case, project, roles, wrote = attempt.decision.case, attempt.project, attempt.spec.roles, False
    with _remembering_write(attempt):
        if case.invitation is not None:
            invitation, wrote = await set_invitation_roles(
                project, case.invitation, roles, attempt.check, case.found_by_email
            )
            case = replace(case, invitation=invitation)
        elif case.member is not None:
            member, wrote = await set_member_roles(project, case.member, roles, attempt.check, case.found_by_email)
            case = replace(case, member=member)
    attempt.decision = replace(attempt.decision, case=case)
    return _outcome(attempt, Did.SET_ROLES if wrote else None)


async def set_invitation_roles(
    project: Project, invitation: Invitation, roles: frozenset[str], check: Callable[[], None], email: str | None = None
) -> tuple[Invitation, bool]:
    """Set the roles of a pending invitation. Return it as Atlas responded, and whether anything was written.

    Args:
        project: where it is.
        invitation: as it was seen.
        roles: what it is to have.
        check: called right before each write; raises where it is not wanted any more.
        email: the e-mail by which it was found, or None for one that is known by its id.

    Raises:
        Failure: Conflict where it is not pending any more; else what Atlas answered.
    """
    if invitation.api is Api.INVITES:
        check()
        updated = await project.update_invite(invitation.id, sorted(roles))
        if updated is None:
            raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
        return updated, True
    user, wrote = await _set_user_roles(project, invitation.id, Membership.PENDING, roles, check, email)
    return user.as_invitation(), wrote


async def set_member_roles(
    project: Project, member: User, roles: frozenset[str], check: Callable[[], None], email: str | None = None
) -> tuple[User, bool]:
    """Set the roles of an ACTIVE member. Return the member as Atlas responded, and whether anything was written.

    Args:
        project: where the member is.
        member: as seen.
        roles: what the member is to have.
        check: called right before each write; raises where it is not wanted any more.
        email: the e-mail by which the member was found, or None for one who is known by the id.

    Raises:
        Failure: Conflict where the user is not ACTIVE any more; else what Atlas answered.
    """
    return await _set_user_roles(project, member.id, Membership.ACTIVE, roles, check, email)


def is_same_user(user: User, membership: Membership, email: str | None) -> bool:
    """Return whether a user who was read right before a write is the one that a list showed, which may lag.

    Args:
        user: as read.
        membership: as listed.
        email: as listed, or None for one who is known by the id.
    """
    return user.org_membership_status == membership and (email is None or same_email(user.username, email))


async def _set_user_roles(  # noqa: PLR0913, PLR0917 - what is set, and what must hold
    project: Project,
    user_id: str,
    membership: Membership,
    roles: frozenset[str],
    check: Callable[[], None],
    email: str | None,
) -> tuple[User, bool]:
    """Add before removing: a user never has zero roles. The user is read right before, and must be what was seen.

    A role that Atlas does not add is no reason to remove others: what it shows then is the result.
    """
    user = await project.read_user(user_id)
    if user is None or not is_same_user(user, membership, email):
        raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
    steps = [(project.add_role, role) for role in sorted(roles - set(user.roles))]
    steps += [(project.remove_role, role) for role in sorted(set(user.roles) - roles)]
    for call, role in steps:
        check()
        user = await call(user_id, role)
        if user is None or user.org_membership_status != membership:
            raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
        if role in roles and role not in user.roles:
            break
    return user, bool(steps)


def _outcome(attempt: Attempt, did: Did | None = None) -> Outcome:
    outcome = outcome_of(attempt.decision if did is None else after_write(attempt.decision))
    if did is Did.SEND:
        return replace(outcome, origin=Origin.CREATED, did=did)
    if outcome.origin is not None and outcome.invitation is not None:
        outcome = replace(outcome, origin=origin_of(attempt.memory, outcome.invitation))
    return replace(outcome, did=did)


def origin_of(memory: Memory, invitation: Invitation) -> Origin:
    """Return whether our own send made this invitation, as far as this process can know."""
    if invitation.id in memory.created:
        return Origin.CREATED
    created, sent_at = invitation.created, memory.unconfirmed_send_at
    return Origin.CREATED if created and sent_at and created >= sent_at else Origin.ADOPTED
