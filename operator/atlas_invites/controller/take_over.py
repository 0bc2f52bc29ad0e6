"""The phases that let one object act on an invitation: the oldest one, or the one that takes over from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_invites.invitation.claim import DEPARTED, inherits
from atlas_invites.invitation.model import Origin
from atlas_invites.invitation.notices import resend_refused_notice
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.invitation.resource import KIND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Key

_DUPLICATE = (
    "This invitation is managed by {by}, which is older, so the operator does nothing for this object. Delete one "
    "of the two objects. If you delete the older one, this object takes over."
)
_ENDING = (
    "This invitation is managed by {by}, which is being deleted. This object takes over when that deletion is "
    "complete; no action is needed."
)
_TAKES_OVER = (
    "this object takes over the invitation of an object that is being deleted. To send the invitation again, set "
    "atlasinvites.io/resend-requested-at to a new value"
)
_MAY_BE_ANOTHERS = (
    f"This invitation may be managed by an {KIND} in another namespace. The operator cannot list that namespace, so it "
    "does nothing for this object. The operator's log names the namespace. Grant the operator the right to list "
    "invitations there, or remove the namespace from --namespace."
)


async def claim(attempt: Attempt) -> Outcome | None:
    """Claim what the object names, once its own credentials have read the project. The older of two objects keeps it.

    Raises:
        Failure: the project cannot be read.
        Stale: the object has changed meanwhile.
        Later: an older object was not evaluated yet.
    """
    key = attempt.resource.key
    if not attempt.claims.is_proven(key):
        await attempt.project.look(attempt.target, attempt.since, lambda _: True)
    attempt.check()
    attempt.claims.prove(key)
    return _yield_to_older(attempt)


async def take_over(attempt: Attempt) -> Outcome | None:
    """Wait for the end of an object that is being deleted and has the invitation, and take over what it had.

    Status shows what was taken over before the other object is gone. So this object has it even if the operator ends
    in between. Nothing is taken over once a removal in Atlas has begun. If a resend of this object is requested
    already, nothing is sent: the request was made when this object had nothing to resend.
    """
    known, resource = attempt.known, attempt.resource
    for rival, had in _ending(attempt):
        outcome = Outcome(Reason.CONFIRMING_INVITATION, _ENDING.format(by=_name(rival, resource.key)))
        if had is not None:
            handled = _handle_resend(attempt, had)
            attempt.known = known.model_copy(update={"last_handled_resend_at": handled})
            return replace(outcome, origin=had.origin, state=had.state, invitation=had.invitation, member=had.member)
        has_inherited = known.invitation is not None or known.member is not None
        is_over = has_inherited and attempt.claims.has_ended(rival)
        if not is_over and attempt.claims.is_older(rival, resource.key):
            return replace(outcome, origin=known.origin or Origin.ADOPTED)
    return None


def inherit_while_suspended(attempt: Attempt) -> Status:
    """Return what the status of a suspended object shows: also what it takes over from an object being deleted.

    An object whose credentials have not read the project takes this over only in its own namespace. From another
    namespace it keeps only that nothing may be sent.
    """
    known, key = attempt.known, attempt.resource.key
    for rival, had in _ending(attempt):
        if had is None:
            continue
        if rival.namespace != key.namespace and not attempt.claims.is_proven(key):
            return known.model_copy(update={"origin": _kept_origin(attempt, had)})
        inherited = {name: getattr(had, name) for name in ("origin", "state", "invitation", "member")}
        return known.model_copy(update=inherited | {"last_handled_resend_at": _handle_resend(attempt, had)})
    return known


def remember_departure(attempt: Attempt, outcome: Outcome) -> Outcome:
    """Return the outcome of an object that could not take over from an object being deleted whose invitee has departed.

    The status of that object is lost with it, so this object keeps that it must not send.
    """
    origins = (_kept_origin(attempt, had) for _, had in _ending(attempt) if had is not None)
    return outcome if outcome.origin is not None else replace(outcome, origin=next(filter(None, origins), None))


async def claim_observed(attempt: Attempt) -> Outcome | None:
    """Claim what was observed too: it may belong to another object.

    Raises:
        Later: an older object was not evaluated yet.
    """
    case = attempt.decision.case
    there = case.invitation or case.member
    if there is None or case.is_for_another_email:
        return None
    claims_more = attempt.claims.add_found(attempt.resource.key, attempt.project.group_id, there.id, there.username)
    if claims_more and (duplicate := _yield_to_older(attempt)) is not None:
        return duplicate
    return Outcome(Reason.DUPLICATE_INVITE, _MAY_BE_ANOTHERS) if attempt.may_belong_to_unlisted else None


def _ending(attempt: Attempt) -> Iterator[tuple[Key, Status | None]]:
    """Yield the objects that claim the same and are being deleted, each with what is taken over from it, or None."""
    memories, store = attempt.collaborators.memories, attempt.collaborators.store
    for rival in filter(None, map(store.get, attempt.claims.ending(attempt.resource.key))):
        memory = memories.of(rival)
        had = memory.completed(rival.status)
        takes_over = not memory.may_have_removed and inherits(attempt.spec, attempt.known, rival.readable_spec, had)
        yield rival.key, had if takes_over else None


def _handle_resend(attempt: Attempt, had: Status) -> str | None:
    """Return the requested resend that counts as handled: what is requested before the takeover sends nothing."""
    requested, handled = attempt.resource.resend_requested_at, had.last_handled_resend_at
    if requested in {None, handled}:
        return handled
    attempt.collaborators.events.publish(attempt.resource, resend_refused_notice(_TAKES_OVER))
    return requested


def _kept_origin(attempt: Attempt, had: Status) -> Origin | None:
    """Return the origin of an object that cannot take over: Adopted, which never sends, after a departure."""
    return attempt.known.origin or (Origin.ADOPTED if had.state in DEPARTED else None)


def _yield_to_older(attempt: Attempt) -> Outcome | None:
    """Return the outcome of an object that is not the oldest to claim its invitation, or None for the oldest."""
    key, claims = attempt.resource.key, attempt.claims
    attempt.memory.await_others(attempt.collaborators.clock(), waiting=claims.awaits_older(key))
    holder = claims.live_holder(key)
    if holder is None:
        return None
    return Outcome(Reason.DUPLICATE_INVITE, _DUPLICATE.format(by=_name(holder, key)), origin=Origin.ADOPTED)


def _name(other: Key, key: Key) -> str:
    """Return how a message names another object. It has the name only of an object in the same namespace."""
    return f"{KIND} {other.name}" if other.namespace == key.namespace else f"an {KIND} in another namespace"
