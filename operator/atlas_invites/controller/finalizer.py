"""The phases around the finalizer: it is added before anything is sent, and removed once the cleanup is done."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from atlas_invites.failures import Failure, Later
from atlas_invites.invitation.claim import DEPARTED, inherits
from atlas_invites.invitation.deletion import (
    is_project_gone,
    leaves_member_alone,
    orphaned_because,
    retain_row,
    trouble_of,
)
from atlas_invites.invitation.guard import CONFIRM_AFTER
from atlas_invites.invitation.notices import EventReason, EventType, Notice, orphan_notice
from atlas_invites.invitation.outcome import Outcome, Reason
from atlas_invites.telemetry.metrics import ORPHANED

if TYPE_CHECKING:
    from atlas_invites.controller.attempt import Attempt, Collaborators, Memory
    from atlas_invites.invitation.deletion import DeletionCase
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Resource

log = logging.getLogger(__name__)

RETRY_AFTER = 20.0
"""Seconds until the next cleanup, if there is a time after which the finalizer is removed anyway."""

_ORPHANED = "OrphanedInvitation: the finalizer was removed, but the invitation may still exist in Atlas: %s"


@dataclass(frozen=True, slots=True)
class Finalized:
    """The result of the cleanup after which the finalizer is removed.

    Attributes:
        why: why it is removed, without an e-mail: this is logged.
        notice: the event that says what was done or found in Atlas, if anything.
        orphan: the warning of what may be left there, if anything.
        was_observed: Atlas was observed, so an unconfirmed send would have been seen.
        is_last_resort: the cleanup failed for so long that it is given up.
    """

    why: str
    notice: Notice | None = None
    orphan: Notice | None = None
    was_observed: bool = True
    is_last_resort: bool = False

    @classmethod
    def leaving(cls, why: str, left: str | None, *, was_observed: bool = True) -> Self:
        """Return the end of an object which may leave something in Atlas: by id and e-mail, or None for nothing."""
        orphan = None if left is None else orphan_notice(left, why)
        return cls(why, orphan=orphan, was_observed=was_observed)


_ANOTHER_HAS_IT = Finalized("another object has the invitation", was_observed=False)
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
    """Add the finalizer, unless it is there.

    Raises:
        Stale: the object has changed meanwhile.
        ClusterUnavailable, WriteRefused: it could not be written.
    """
    if attempt.resource.has_finalizer:
        return
    attempt.resource = await attempt.collaborators.writer.add_finalizer(attempt.resource)
    attempt.memory.is_only_sender = not _shows_atlas(attempt.known)
    attempt.check()


async def hold_departed(attempt: Attempt) -> None:
    """Hold the end of an object whose person has not come, or has left, until the grace of deletions is over.

    Its status is all that keeps the person from being invited again, so an object that takes over has to inherit it.

    Raises:
        Later: the time is not over, or another object that names the same has yet to prove its claim.
    """
    if attempt.known.state not in DEPARTED or another_has_it(attempt):
        return
    if (left := await grace_left(attempt)) > 0:
        raise Later(left)


async def grace_left(attempt: Attempt) -> float:
    """Return for how many seconds another object may still come that names the same and takes over.

    None under ``force-delete``, and in a namespace that is being deleted. The time runs from when this process first
    saw the deletion, so no difference of clocks makes it shorter.
    """
    memory, collaborators, resource = attempt.memory, attempt.collaborators, attempt.resource
    if resource.force_delete:
        return 0.0
    since = memory.deleting_since if memory.deleting_since is not None else attempt.began
    left = since + collaborators.deletion_grace - attempt.began
    return left if left > 0 and not await collaborators.access.is_ending(resource.key.namespace) else 0.0


async def retain(attempt: Attempt) -> Finalized | None:
    """End the object if its policy needs no look at Atlas."""
    case = attempt.deletion_case
    if case.is_doubtful:
        attempt.claims.doubt(attempt.resource.key, attempt.collaborators.clock())
    return _retained(case, is_anothers=is_anothers(attempt))


async def yield_to_claimants(attempt: Attempt) -> Finalized | None:
    """End the object if another live object, or an older one, claims the same invitation.

    Raises:
        Later: another object that names the same has yet to prove its claim.
    """
    return _ANOTHER_HAS_IT if another_has_it(attempt) else None


async def resume(attempt: Attempt) -> Finalized | None:
    """Return what an earlier try cleaned up, if only the finalizer is left."""
    return attempt.memory.cleaned_up


async def claim_to_clean_up(attempt: Attempt) -> Finalized | None:
    """Claim in its project what the object names.

    Raises:
        Later: see ``yield_to_claimants``.
    """
    return claim_for_cleanup(attempt, attempt.target)


async def remove_finalizer(attempt: Attempt, finalized: Finalized) -> None:
    """Remove the finalizer, and say what was done, and what is left.

    If Atlas was not observed, only once a send of this process is confirmed or a minute old. Until then the finalizer
    tells the next process that something may have been sent. And only once the object that takes over shows on its
    stored status what this one had, for at most the minute in which a deletion waits for others.

    Raises:
        Later: either is to be waited for.
        Stale: the object has changed meanwhile.
        ClusterUnavailable, WriteRefused: the API server failed; try again.
    """
    resource, memory, collaborators = attempt.resource, attempt.memory, attempt.collaborators
    if finalized.was_observed and not finalized.is_last_resort:
        if finalized.notice is not None and memory.cleaned_up is None:
            collaborators.events.publish(resource, finalized.notice)
        memory.cleaned_up = finalized
    await _remove_finalizer(collaborators, resource, attempt.known, memory, finalized)


async def release_unreadable(collaborators: Collaborators, resource: Resource, known: Status, memory: Memory) -> None:
    """Remove the finalizer of an object whose spec cannot be read: its policy is not known, so nothing is changed.

    Raises:
        Later, Stale, ClusterUnavailable, WriteRefused: see ``remove_finalizer``.
    """
    claims = collaborators.store.claims
    is_anothers = claims.live_claimant(resource.key) is not None or claims.holder(resource.key) is not None
    finalized = _retained(memory.deletion_case(None, known), is_anothers=is_anothers)
    if resource.has_finalizer and finalized is not None:
        await _remove_finalizer(collaborators, resource, known, memory, finalized)


async def after_failed_cleanup(attempt: Attempt, failure: Failure) -> Outcome | Finalized:
    """Return the end of an object for which nothing is left to try, else why it still stands."""
    if is_project_gone(failure.error):
        try:
            await attempt.project.read_project()
        except Failure as of_the_read:
            if is_project_gone(of_the_read.error):
                return PROJECT_GONE
            failure = of_the_read
    case, memory, clock = attempt.deletion_case, attempt.memory, attempt.collaborators.clock
    if failure.reason is Reason.PROJECT_NOT_READY and leaves_member_alone(case):
        return Finalized(
            "its project is not known any more, and a member keeps the access", was_observed=False, is_last_resort=True
        )
    trouble = trouble_of(failure.reason, secret_lost=attempt.is_secret_lost)
    lasted = attempt.began - memory.note_trouble(trouble, clock())
    why = orphaned_because(failure.message, trouble, lasted, force=attempt.resource.force_delete)
    if why is None:
        outcome = failure.outcome
        return outcome if trouble is None else replace(outcome, requeue_after=RETRY_AFTER)
    why_removed = f"it could not be removed there ({failure.reason})"
    return Finalized(why_removed, orphan=orphan_notice(case.named, why), is_last_resort=True)


async def _remove_finalizer(
    collaborators: Collaborators, resource: Resource, known: Status, memory: Memory, finalized: Finalized
) -> None:
    is_silent = not finalized.was_observed and not resource.force_delete
    if is_silent and _has_heir_to_record(collaborators, resource, known, memory):
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


def _has_heir_to_record(collaborators: Collaborators, resource: Resource, known: Status, memory: Memory) -> bool:
    """Return whether a live object is to take over what this one had, and its stored status does not show that yet."""
    if memory.may_have_removed:
        return False
    store, former = collaborators.store, resource.readable_spec
    heirs = filter(None, map(store.get, store.claims.live_rivals(resource.key)))
    return any(inherits(heir.readable_spec, heir.status, former, known) for heir in heirs)


def _retained(case: DeletionCase, *, is_anothers: bool) -> Finalized | None:
    row = retain_row(case)
    if row is None:
        return None
    return Finalized.leaving(row.why, case.left if row.warns and not is_anothers else None, was_observed=False)


def _shows_atlas(known: Status) -> bool:
    """Return whether status shows that Atlas was observed for the object: our finalizer may have been on it then."""
    return known.atlas is not None or known.invitation is not None or known.member is not None


def another_has_it(attempt: Attempt) -> bool:
    """Return whether another live object, or an older one, claims the same invitation.

    Raises:
        Later: another object that names the same has yet to prove its claim.
    """
    if is_anothers(attempt):
        return True
    waiting = attempt.claims.awaits_any(attempt.resource.key) and not attempt.resource.force_delete
    attempt.memory.await_others(attempt.collaborators.clock(), waiting=waiting, deleting=True)
    return False


def is_anothers(attempt: Attempt) -> bool:
    """Return whether another live object, or an older one, claims the same invitation, as far as is known now."""
    claims, key = attempt.claims, attempt.resource.key
    return claims.live_claimant(key) is not None or claims.holder(key) is not None


def claim_for_cleanup(attempt: Attempt, names: tuple[str | None, ...]) -> Finalized | None:
    """Claim e-mails and ids in the project; return the end of the object if any of it is another object's."""
    claims_more = attempt.claims.add_found(attempt.resource.key, attempt.project.group_id, *names)
    has_it = another_has_it(attempt) if claims_more else is_anothers(attempt)
    return _ANOTHER_HAS_IT if has_it else None
