"""The phases around the finalizer. It is added before anything is sent, and removed once the cleanup is done."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from atlas_invites.failures import Failure, Later
from atlas_invites.invitation.claim import DEPARTED, inherits
from atlas_invites.invitation.deletion import (
    is_project_gone,
    keeps_member,
    orphaned_because,
    retain_row,
    trouble_of,
)
from atlas_invites.invitation.guard import CONFIRM_AFTER
from atlas_invites.invitation.notices import EventReason, EventType, Notice, orphan_notice
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.telemetry.metrics import ORPHANED

if TYPE_CHECKING:
    from atlas_invites.controller.attempt import Attempt, Collaborators
    from atlas_invites.controller.memory import Memory
    from atlas_invites.invitation.deletion import DeletionCase
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Resource

log = logging.getLogger(__name__)

RETRY_AFTER = 20.0
"""Seconds until the next cleanup, if the finalizer is removed after some time even without a successful cleanup."""

_ORPHANED = "OrphanedInvitation: the finalizer was removed, but the invitation may still exist in Atlas: %s"


@dataclass(frozen=True, slots=True)
class Finalized:
    """The result of a cleanup after which the finalizer is removed.

    Attributes:
        why: why it is removed. It is logged, so it has no e-mail.
        notice: the event that says what was done or found in Atlas, if anything.
        orphan: the warning about what may be left in Atlas, if anything.
        was_observed: Atlas was observed, so an unconfirmed send would have been seen.
        is_last_resort: the cleanup has failed for so long that it is not retried.
    """

    why: str
    notice: Notice | None = None
    orphan: Notice | None = None
    was_observed: bool = True
    is_last_resort: bool = False

    @classmethod
    def leaving(cls, why: str, left: str | None, *, was_observed: bool = True) -> Self:
        """Return the result of a cleanup that leaves ``left`` (with id and e-mail) in Atlas, or None for nothing."""
        orphan = None if left is None else orphan_notice(left, why)
        return cls(why, orphan=orphan, was_observed=was_observed)


_CLAIMED_BY_ANOTHER = Finalized("another object has the invitation", was_observed=False)
PROJECT_GONE = Finalized(
    "the project is gone",
    Notice(
        EventType.WARNING,
        EventReason.PROJECT_NOT_FOUND,
        "The project no longer exists in Atlas, so there is nothing to cancel or to remove there. The finalizer is "
        "removed; no action is needed.",
    ),
)


async def add_finalizer(attempt: Attempt) -> None:
    """Add the finalizer if the object does not have it.

    Raises:
        Stale: the object has changed meanwhile.
        ClusterUnavailable, WriteRefused: the finalizer could not be written.
    """
    if attempt.resource.has_finalizer:
        return
    attempt.resource = await attempt.collaborators.writer.add_finalizer(attempt.resource)
    attempt.memory.is_only_sender = not _shows_atlas(attempt.known)
    attempt.check()


async def hold_departed(attempt: Attempt) -> None:
    """Hold a deletion until the deletion grace is over, if the invitation has ended unaccepted or the member has left.

    Only the status of this object prevents that the person is invited again, so an object that takes over has to
    inherit it.

    Raises:
        Later: the grace is not over, or another object that names the same has not proven its claim yet.
    """
    if attempt.known.state not in DEPARTED or check_other_claims(attempt):
        return
    if (left := await grace_left(attempt)) > 0:
        raise Later(left)


async def grace_left(attempt: Attempt) -> float:
    """Return the seconds that are left of the deletion grace, in which another object may be created and take over.

    There are none with ``force-delete`` and in a namespace that is being deleted. The grace starts when this process
    first sees the deletion, so a difference between clocks cannot shorten it.
    """
    memory, collaborators, resource = attempt.memory, attempt.collaborators, attempt.resource
    if resource.force_delete:
        return 0.0
    since = memory.deleting_since if memory.deleting_since is not None else attempt.began
    left = since + collaborators.deletion_grace - attempt.began
    return left if left > 0 and not await collaborators.access.is_ending(resource.key.namespace) else 0.0


async def retain(attempt: Attempt) -> Finalized | None:
    """Finalize the object if Table D has a row for it that does not need an observation of Atlas."""
    case = attempt.deletion_case
    if case.may_have_unconfirmed_send:
        attempt.claims.doubt(attempt.resource.key, attempt.collaborators.clock())
    return _retained(case, is_claimed_by_another=is_claimed_by_another(attempt))


async def yield_to_claimants(attempt: Attempt) -> Finalized | None:
    """Finalize the object if another live object, or an older one, claims the same invitation.

    Raises:
        Later: another object that names the same has not proven its claim yet.
    """
    return _CLAIMED_BY_ANOTHER if check_other_claims(attempt) else None


async def resume(attempt: Attempt) -> Finalized | None:
    """Return the result of an earlier cleanup if only the finalizer is left to remove."""
    return attempt.memory.cleaned_up


async def claim_to_clean_up(attempt: Attempt) -> Finalized | None:
    """Claim what the object names in its project.

    Raises:
        Later: see ``yield_to_claimants``.
    """
    return claim_for_cleanup(attempt, attempt.target)


async def remove_finalizer(attempt: Attempt, finalized: Finalized) -> None:
    """Remove the finalizer, and publish what was done and what is left.

    If Atlas was not observed, the finalizer is kept in two cases. An unconfirmed send of this process is less than a
    minute old: the finalizer tells the next process that an invitation may have been sent. Or the stored status of the
    object that takes over does not show yet what this one had: the deletion waits for that for at most a minute.

    Raises:
        Later: the finalizer is kept for now.
        Stale: the object has changed meanwhile.
        ClusterUnavailable, WriteRefused: the finalizer could not be removed.
    """
    resource, memory, collaborators = attempt.resource, attempt.memory, attempt.collaborators
    if finalized.was_observed and not finalized.is_last_resort:
        if finalized.notice is not None and memory.cleaned_up is None:
            collaborators.events.publish(resource, finalized.notice)
        memory.cleaned_up = finalized
    await _remove_finalizer(collaborators, resource, attempt.known, memory, finalized)


async def release_unreadable(collaborators: Collaborators, resource: Resource, known: Status, memory: Memory) -> None:
    """Remove the finalizer of an object whose spec cannot be read. Its policy is unknown, so Atlas is not changed.

    Raises:
        Later, Stale, ClusterUnavailable, WriteRefused: see ``remove_finalizer``.
    """
    claims = collaborators.store.claims
    is_claimed_by_another = claims.live_claimant(resource.key) is not None or claims.holder(resource.key) is not None
    finalized = _retained(memory.deletion_case(None, known), is_claimed_by_another=is_claimed_by_another)
    if resource.has_finalizer and finalized is not None:
        await _remove_finalizer(collaborators, resource, known, memory, finalized)


async def after_failed_cleanup(attempt: Attempt, failure: Failure) -> Outcome | Finalized:
    """Return the result if the failed cleanup is not retried, else the outcome that says why it failed."""
    if is_project_gone(failure.error):
        try:
            await attempt.project.read_project()
        except Failure as of_the_read:
            if is_project_gone(of_the_read.error):
                return PROJECT_GONE
            failure = of_the_read
    case, memory, clock = attempt.deletion_case, attempt.memory, attempt.collaborators.clock
    if failure.reason is Reason.PROJECT_NOT_READY and keeps_member(case):
        return Finalized(
            "the project is no longer known, and the deletion policy does not remove a member",
            was_observed=False,
            is_last_resort=True,
        )
    trouble = trouble_of(failure.reason, secret_lost=attempt.is_secret_lost)
    lasted = attempt.began - memory.note_trouble(trouble, clock())
    why = orphaned_because(failure.message, trouble, lasted, force=attempt.resource.force_delete)
    if why is None:
        outcome = failure.outcome
        return outcome if trouble is None else replace(outcome, requeue_after=RETRY_AFTER)
    why_removed = f"the cleanup in Atlas failed ({failure.reason})"
    return Finalized(why_removed, orphan=orphan_notice(case.named, why), is_last_resort=True)


async def _remove_finalizer(
    collaborators: Collaborators, resource: Resource, known: Status, memory: Memory, finalized: Finalized
) -> None:
    is_silent = not finalized.was_observed and not resource.force_delete
    if is_silent and _is_takeover_unrecorded(collaborators, resource, known, memory):
        memory.await_others(collaborators.clock(), waiting=True, deleting=True)
    if is_silent and memory.unconfirmed_send_at is not None and memory.unconfirmed_since is not None:
        left = memory.unconfirmed_since + CONFIRM_AFTER - collaborators.clock()
        if left > 0:
            raise Later(left)
    collaborators.store.claims.end(resource.key)
    await collaborators.writer.remove_finalizer(resource)
    log.info("finalizer removed: %s", finalized.why, extra={"object": resource.key})
    if finalized.orphan is not None:
        ORPHANED.inc()
        log.warning(_ORPHANED, finalized.why, extra={"object": resource.key})
        collaborators.events.publish(resource, finalized.orphan)


def _is_takeover_unrecorded(collaborators: Collaborators, resource: Resource, known: Status, memory: Memory) -> bool:
    """Return whether a live object takes over what this one had, and its stored status does not show that yet."""
    if memory.may_have_removed:
        return False
    store, claimant = collaborators.store, collaborators.store.claims.live_claimant(resource.key)
    successor = None if claimant is None else store.get(claimant)
    return successor is not None and inherits(successor.readable_spec, successor.status, resource.readable_spec, known)


def _retained(case: DeletionCase, *, is_claimed_by_another: bool) -> Finalized | None:
    row = retain_row(case)
    if row is None:
        return None
    return Finalized.leaving(
        row.why, case.left if row.warns and not is_claimed_by_another else None, was_observed=False
    )


def _shows_atlas(known: Status) -> bool:
    """Return whether status shows that Atlas was observed for the object. It may have had our finalizer then."""
    return known.atlas is not None or known.invitation is not None or known.member is not None


def check_other_claims(attempt: Attempt) -> bool:
    """Return whether another live object, or an older one, claims the same invitation.

    Raises:
        Later: another object that names the same has not proven its claim yet.
    """
    if is_claimed_by_another(attempt):
        return True
    waiting = attempt.claims.awaits_any(attempt.resource.key) and not attempt.resource.force_delete
    attempt.memory.await_others(attempt.collaborators.clock(), waiting=waiting, deleting=True)
    return False


def is_claimed_by_another(attempt: Attempt) -> bool:
    """Return whether another live object, or an older one, is known to claim the same invitation."""
    claims, key = attempt.claims, attempt.resource.key
    return claims.live_claimant(key) is not None or claims.holder(key) is not None


def claim_for_cleanup(attempt: Attempt, names: tuple[str | None, ...]) -> Finalized | None:
    """Claim e-mails and ids in the project. Return the result if another object has any of them."""
    claims_more = attempt.claims.add_found(attempt.resource.key, attempt.project.group_id, *names)
    has_it = check_other_claims(attempt) if claims_more else is_claimed_by_another(attempt)
    return _CLAIMED_BY_ANOTHER if has_it else None
