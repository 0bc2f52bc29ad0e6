"""The reconcile of an object: its phases in order, and what a failure in one of them means.

Each phase gets the state of the try. It returns the result of the try, or None to continue with the next phase.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pydantic import ValidationError

from atlas_invites.controller.act import act, resend
from atlas_invites.controller.attempt import Attempt
from atlas_invites.controller.finalizer import (
    Finalized,
    add_finalizer,
    after_failed_cleanup,
    claim_to_clean_up,
    hold_departed,
    release_unreadable,
    remove_finalizer,
    resume,
    retain,
    yield_to_claimants,
)
from atlas_invites.controller.observe import observe
from atlas_invites.controller.removal import clean_up, hold_removal, leave_others, observe_to_clean_up
from atlas_invites.controller.resolve import place_claim, renew_credentials, resolve, resolve_to_clean_up
from atlas_invites.controller.take_over import (
    claim,
    claim_observed,
    inherit_while_suspended,
    remember_departure,
    take_over,
)
from atlas_invites.failures import ClusterUnavailable, Failure, Later, Stale, WriteRefused
from atlas_invites.invitation.conditions import READY, Evaluated, next_status, suspended_status
from atlas_invites.invitation.notices import EventType, Notice, notices
from atlas_invites.invitation.outcome import BACKED_OFF, Kind, Outcome, Reason, requeue_after
from atlas_invites.telemetry.metrics import CLUSTER_UNAVAILABLE, ERROR, UNEXPECTED

if TYPE_CHECKING:
    from atlas_invites.controller.attempt import Collaborators
    from atlas_invites.controller.memory import Memory
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Key, Resource

E = TypeVar("E")
Phases = Sequence[Callable[[Attempt], Awaitable[E | None]]]

CONVERGE: Phases[Outcome] = (
    resolve,  # the project and the credentials
    claim,  # if two objects name one invitation, the older acts
    add_finalizer,
    take_over,  # from an object that is being deleted
    observe,  # Atlas, and decide by Table A
    claim_observed,
    resend,  # if requested: cancel the pending invitation, and forget it
    act,  # send, set roles, or nothing
)
"""The phases of a live object: keep Atlas in sync with the spec."""

FINALIZE: Phases[Finalized] = (
    place_claim,
    hold_departed,  # for an object that takes over
    retain,  # what the policy does not remove
    yield_to_claimants,
    resume,  # after an earlier try that could not remove the finalizer
    resolve_to_clean_up,
    claim_to_clean_up,
    observe_to_clean_up,
    leave_others,
    hold_removal,  # another object may be created that takes over
    clean_up,  # by Table D
)
"""The phases of a deleted object: remove in Atlas what the deletion policy says. Then the finalizer is removed."""

RENEW_ERROR_AFTER = 3600.0
"""Seconds after which status renews the message and error of a failure that repeats."""

BACK_OFF_BELOW = 5.0
"""Seconds below which a requested delay does not replace the back-off."""

SLACK = 0.25
"""Seconds in addition to the delay that Atlas requested: a call at exactly that time would still be held."""

log = logging.getLogger(__name__)


class Reconciler:
    """Reconciles objects. The work queue ensures that no key is reconciled twice at the same time.

    Args:
        collaborators: what the phases work with.
    """

    def __init__(self, collaborators: Collaborators) -> None:
        self._with = collaborators

    async def reconcile(self, key: Key, since: float) -> Outcome | None:
        """Reconcile the object with that key.

        Args:
            key: the key of the object.
            since: what Atlas showed before this time (monotonic seconds) is not used.

        Returns:
            The outcome, or None if there is none: the object is gone or suspended, or its deletion is complete.

        Raises:
            Stale, Later, ClusterUnavailable, WriteRefused: see ``requeue_of``.
        """
        resource = self._with.store.get(key)
        if resource is None or (resource.deleting and not resource.has_finalizer):
            return None
        memory = self._with.memories.of(resource)
        known = memory.completed(resource.status)
        try:
            attempt = Attempt(self._with, resource, resource.spec, known, memory, since, self._with.clock())
        except ValidationError as error:
            if resource.deleting:
                await release_unreadable(self._with, resource, known, memory)
                return None
            return await self._report(resource, memory, known, Outcome(Reason.INVALID_REQUEST, _invalid_spec(error)))
        if attempt.spec.suspend and not resource.deleting:
            await _suspend(attempt)
            return None
        try:
            outcome = await (_finalize(attempt) if resource.deleting else _converge(attempt))
        except WriteRefused as refused:
            outcome = Outcome(Reason.WRITE_REFUSED, refused.message)
        if outcome is None:
            return None
        reported = await self._report(attempt.resource, memory, attempt.known, outcome)
        if reported.reason.kind is Kind.SETTLED:  # a departure keeps its memory with every departure policy
            self._with.memories.forget(key)
        return reported

    def forget(self, key: Key) -> None:
        """Forget the memory of an object that is gone."""
        self._with.memories.forget(key)

    async def _report(self, resource: Resource, memory: Memory, known: Status, outcome: Outcome) -> Outcome:
        """Write the status, publish events, and return the outcome with the time of the next reconcile."""
        evaluated, now = _evaluated(resource), self._with.clock()
        is_old = memory.renewed_at is not None and now >= memory.renewed_at + RENEW_ERROR_AFTER
        renew = is_old and outcome.error is not None
        wanted = next_status(known, evaluated, outcome, self._with.wall(), renew=renew)
        if outcome.did is not None:
            memory.unsaved = wanted
        try:
            await self._with.writer.write_status(resource, wanted)
        except WriteRefused as refused:
            if memory.published_refusal != refused.message:
                memory.published_refusal = refused.message
                self._with.events.publish(resource, Notice(EventType.WARNING, Reason.WRITE_REFUSED, refused.message))
            raise
        memory.unsaved = memory.published_refusal = None
        _log_new_reason(resource, outcome)
        if memory.renewed_at is None or renew or wanted.error != known.error:
            memory.renewed_at = now
        for notice in notices(resource.status, wanted, outcome):
            self._with.events.publish(resource, notice)
        return replace(outcome, requeue_after=requeue_after(outcome, wanted.invitation, self._with.atlas.now()))


def _evaluated(resource: Resource) -> Evaluated:
    """Return what a reconcile of an object evaluates."""
    spec = resource.readable_spec
    roles = spec.roles if spec is not None else frozenset()
    return Evaluated(resource.generation, resource.reconcile_requested_at, roles)


def _log_new_reason(resource: Resource, outcome: Outcome) -> None:
    """Log the reason of an object if it has changed. The message is not logged, because it may contain an e-mail."""
    ready, reason, kind = resource.status.condition(READY), outcome.reason, outcome.kind
    before = ready.reason if ready is not None else None
    if before == reason:
        return
    log.info(
        "%s (%s)%s",
        reason,
        kind,
        f"; before: {before}" if before else "",
        extra={"object": resource.key, "fields": {"reason": reason, "outcome": kind, "before": before}},
    )


async def _suspend(attempt: Attempt) -> None:
    """Write the status of a suspended object. If the write is refused, status stays unchanged, and it is retried."""
    resource, collaborators = attempt.resource, attempt.collaborators
    await place_claim(attempt)
    wanted = suspended_status(inherit_while_suspended(attempt), _evaluated(resource), collaborators.wall())
    await collaborators.writer.write_status(resource, wanted)


async def _converge(attempt: Attempt) -> Outcome:
    """Run the phases of a live object."""
    try:
        outcome = _in_project(attempt, await run_phases(CONVERGE, attempt))
    except Failure as failure:
        outcome = remember_departure(attempt, failure.outcome)
    attempt.claims.mark_evaluated(attempt.resource.key)
    return outcome


async def _finalize(attempt: Attempt) -> Outcome | None:
    """Run the phases of a deleted object. Then remove its finalizer, or return the outcome of a failed cleanup."""
    memory = attempt.memory
    if memory.deleting_since is None:
        memory.deleting_since = attempt.began
    try:
        ended: Finalized | Outcome = await run_phases(FINALIZE, attempt)
        memory.note_trouble(None, attempt.collaborators.clock())
    except Failure as failure:
        memory.is_removing = memory.is_removing and failure.unanswered
        ended = await after_failed_cleanup(attempt, failure)
    if isinstance(ended, Outcome):
        return ended
    await remove_finalizer(attempt, ended)
    return None


async def run_phases(phases: Phases[E], attempt: Attempt) -> E:
    """Run phases until one ends the try. If a failure has a remedy, apply it and run them again.

    Raises:
        Failure: a phase failed, and there is no remedy.
    """
    while True:
        try:
            for phase in phases:
                if (ended := await phase(attempt)) is not None:
                    return ended
        except Failure as failure:
            if not await _has_remedy(attempt, failure):
                raise


async def _has_remedy(attempt: Attempt, failure: Failure) -> bool:
    """Return whether the phases may succeed now. Each remedy is tried once.

    Raises:
        Failure: the Secret can no longer be used.
    """
    if failure.reason is Reason.CREDENTIALS_REJECTED:
        return await renew_credentials(attempt)
    if attempt.is_resolved and attempt.project.api is not attempt.api:
        attempt.api = attempt.project.api
        return True  # the Invites API has just ended: try again through the Users API
    if attempt.is_decided_from_status and failure.reason is Reason.CONFLICT and failure.error is None:
        attempt.must_observe, attempt.is_decided_from_status = True, False
        return True  # Atlas no longer has what status shows
    return False


def _in_project(attempt: Attempt, outcome: Outcome) -> Outcome:
    """Return the outcome with the id of the project and the API in use."""
    if not attempt.is_resolved:
        return outcome
    atlas = outcome.atlas if outcome.error else outcome.atlas or attempt.project.info
    return replace(outcome.in_project(attempt.project.group_id), atlas=atlas)


def _invalid_spec(error: ValidationError) -> str:
    """Return the message about a spec that the CRD should have rejected: which field breaks which rule."""
    problems = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
    return (
        f"The spec cannot be used: {problems}. Correct the field; if it is immutable, delete and recreate this "
        "object. Also update the CRD, which may be older than the operator."
    )


class Requeue(NamedTuple):
    """When an object is requeued, and how its reconcile is counted.

    Attributes:
        after: requested seconds. If None, it waits for its next event or for the resync, unless it backs off.
        backs_off: it is requeued no sooner than after the back-off of the work queue.
        slack: additional seconds.
        is_overtaken: it is requeued at once if the store has another version of the object by now.
        ends_back_off: its next failure counts as the first one.
        counted_as: outcome and reason for the metric; None if nothing was evaluated.
    """

    after: float | None = None
    backs_off: bool = False
    slack: float = 0.0
    is_overtaken: bool = False
    ends_back_off: bool = False
    counted_as: tuple[str, str] | None = None


ON_ERROR: tuple[tuple[type[Exception], Requeue], ...] = (
    # The event of the change causes the next reconcile. A change of a label causes none, so it backs off too.
    (Stale, Requeue(backs_off=True, is_overtaken=True)),
    (ClusterUnavailable, Requeue(backs_off=True, counted_as=(ERROR, CLUSTER_UNAVAILABLE))),
    (WriteRefused, Requeue(backs_off=True, counted_as=(ERROR, Reason.WRITE_REFUSED))),
)
"""The exceptions of a reconcile that evaluated nothing, and how the object is requeued. Any other one is a bug."""


def requeue_of(result: Outcome | Exception | None, key: Key) -> Requeue:
    """Return how an object is requeued after a reconcile, and log a result that no status shows.

    Args:
        result: what ``Reconciler.reconcile`` returned or raised.
        key: the key of the object.
    """
    if result is None:
        return Requeue(ends_back_off=True)
    if isinstance(result, Outcome):
        asked, counted_as = result.requeue_after, (result.kind, result.reason)
        if result.reason not in BACKED_OFF:
            return Requeue(asked, ends_back_off=True, counted_as=counted_as)
        is_short = asked is None or asked < BACK_OFF_BELOW
        return Requeue(asked, is_short, 0.0 if asked is None else SLACK, counted_as=counted_as)
    if isinstance(result, Later):
        return Requeue(result.seconds)
    for type_, requeue in ON_ERROR:
        if isinstance(result, type_):
            if requeue.counted_as is not None:
                log.warning("will retry: %s", result, extra={"object": key})
            return requeue
    log.error("a reconcile failed in an unexpected way; will retry", exc_info=result, extra={"object": key})
    return Requeue(backs_off=True, counted_as=(ERROR, UNEXPECTED))
