"""The end of an object: Table D, carried out. Deletion always ends."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atlas_invites.controller.ending import ANOTHERS, Ended, Ender
from atlas_invites.controller.sending import CONFIRM_AFTER
from atlas_invites.invitation.deletion import (
    leaves_member_alone,
    orphaned_because,
    trouble_of,
    untouched,
)
from atlas_invites.invitation.events import orphan_notice
from atlas_invites.invitation.outcome import Failure, Later, Outcome, Reason
from atlas_invites.telemetry.metrics import ORPHANED

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.controller.access import Access
    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.controller.memory import Memory
    from atlas_invites.controller.ports import Atlas, Events
    from atlas_invites.controller.store import Store
    from atlas_invites.controller.writer import Writer
    from atlas_invites.invitation.deletion import DeletionCase
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Resource

log = logging.getLogger(__name__)

TRY_AGAIN = 20.0
"""Seconds until the next try, where there is a time after which the object is let go."""

_ORPHANED = "OrphanedInvitation: the finalizer was removed, but the invitation may still exist in Atlas: %s"


@dataclass(frozen=True, slots=True)
class _Failed:
    """A try that did not. ``secret_lost``: the Secret is gone or invalid."""

    failure: Failure
    secret_lost: bool = False


class Deletion:
    """Does in Atlas what the deletion policy says, then takes the finalizer off.

    Args:
        store: the latest of every object.
        writer: writes to Kubernetes.
        access: credentials and project ids.
        atlas: Atlas.
        events: publishes Kubernetes Events.
        clock: monotonic seconds.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self, store: Store, writer: Writer, access: Access, atlas: Atlas, events: Events, *, clock: Callable[[], float]
    ) -> None:
        self._claims = store.claims
        self._writer = writer
        self._access = access
        self._events = events
        self._clock = clock
        self._ender = Ender(store, access, atlas, clock)

    async def delete(self, attempt: Attempt) -> Outcome | None:
        """Try once to end the object.

        Returns:
            None where the finalizer is off, or was never on; else why the object still stands.

        Raises:
            Stale: the object has changed meanwhile.
            Later: it waits for another object.
            ClusterUnavailable: the API server failed; try again.
        """
        resource, memory = attempt.resource, attempt.memory
        if not resource.has_finalizer:
            return None
        case = memory.deletion_case(attempt.spec, attempt.known)
        if case.is_doubtful:
            self._claims.doubt(resource.key, self._clock())
        if await self._leave_alone(resource, case, memory):
            return None
        if self._ender.another_has_it(resource, memory):
            await self._finish_unseen(resource, ANOTHERS, memory)
            return None
        if memory.ended is None:
            began = self._clock()
            ended = await self._try_once(attempt)
            if isinstance(ended, _Failed):
                return await self._after(attempt, ended, began)
            memory.note_trouble(None, self._clock())
            if ended.notice is not None:
                self._events.publish(resource, ended.notice)
            memory.ended = ended
        if memory.ended is ANOTHERS:
            await self._finish_unseen(resource, memory.ended, memory)
        else:
            await self._finish(resource, memory.ended)
        return None

    async def delete_unreadable(self, resource: Resource, known: Status, memory: Memory) -> None:
        """Remove the finalizer of an object whose spec cannot be read: its policy is not known, so nothing is changed.

        Raises:
            Stale: the object has changed meanwhile.
            ClusterUnavailable: the API server failed; try again.
        """
        if resource.has_finalizer:
            await self._leave_alone(resource, memory.deletion_case(None, known), memory)

    async def _leave_alone(self, resource: Resource, case: DeletionCase, memory: Memory) -> bool:
        """Remove the finalizer if the policy needs no look at Atlas; return whether it was removed."""
        row = untouched(case)
        if row is None:
            return False
        is_left = row.warns and not self._ender.is_anothers(resource)
        await self._finish_unseen(resource, Ended.leaving(row.why, case.left if is_left else None), memory)
        return True

    async def _after(self, attempt: Attempt, failed: _Failed, began: float) -> Outcome | None:
        """Let the object go where nothing is left to try, else return why it stands. ``began``: when the try did."""
        resource, failure, secret_lost = attempt.resource, failed.failure, failed.secret_lost
        case = attempt.memory.deletion_case(attempt.spec, attempt.known)
        if failure.reason is Reason.PROJECT_NOT_READY and leaves_member_alone(case):
            await self._finish(resource, Ended("its project is not known any more, and a member keeps the access"))
            return None
        trouble = trouble_of(failure, secret_lost=secret_lost)
        lasted = began - attempt.memory.note_trouble(trouble, self._clock())
        why = orphaned_because(failure, trouble, lasted, force=resource.force_delete)
        if why is None:
            outcome = Outcome.of(failure)
            return outcome if trouble is None else replace(outcome, requeue_after=TRY_AGAIN)
        done = Ended(f"it could not be removed there ({failure.reason})", orphan=orphan_notice(case.named, why))
        await self._finish(resource, done)
        return None

    async def _finish_unseen(self, resource: Resource, ended: Ended, memory: Memory) -> None:
        """Finish without a look at Atlas, once a send of this process is confirmed or a minute old.

        Until then the finalizer tells the next process that something may have been sent.

        Raises:
            Later: the minute is not over.
        """
        if memory.unanswered_since is not None and memory.confirming_since is not None and not resource.force_delete:
            left = memory.confirming_since + CONFIRM_AFTER - self._clock()
            if left > 0:
                raise Later(left)
        await self._finish(resource, ended)

    async def _finish(self, resource: Resource, ended: Ended) -> None:
        """Remove the finalizer, and say what is left.

        Raises:
            Stale: the object has changed meanwhile.
            ClusterUnavailable: the API server failed; try again.
        """
        await self._writer.remove_finalizer(resource)
        log.info("finalizer removed: %s", ended.why, extra={"object": resource.key})
        if ended.orphan is not None:
            ORPHANED.inc()
            log.warning(_ORPHANED, ended.why, extra={"object": resource.key})
            self._events.publish(resource, ended.orphan)

    async def _try_once(self, attempt: Attempt) -> Ended | _Failed:
        """Try with the object's credentials, or where their Secret is lost, with those last read from it."""
        try:
            return await self._access.with_credentials(
                attempt.resource, attempt.spec, attempt.since, lambda credentials: self._ender.end(attempt, credentials)
            )
        except Failure as failure:
            if failure.reason not in {Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID}:
                return _Failed(failure)
            lost = _Failed(failure, secret_lost=failure.certain)
        credentials = self._access.last_credentials(attempt.resource, attempt.spec)
        if credentials is None:
            return lost
        try:
            return await self._ender.end(attempt, credentials)
        except Failure as failure:
            return replace(lost, failure=failure)
