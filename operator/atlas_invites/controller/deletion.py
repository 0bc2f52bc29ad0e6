"""The end of an object: Table D, carried out. Deletion always ends."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atlas_invites.controller.ending import ANOTHERS, Ended, Ender
from atlas_invites.invitation.deletion import (
    leaves_member_alone,
    orphaned_because,
    trouble_of,
    untouched,
)
from atlas_invites.invitation.events import EventReason, EventType, Notice
from atlas_invites.invitation.model import Origin
from atlas_invites.invitation.outcome import Failure, Outcome, Reason
from atlas_invites.telemetry.metrics import ORPHANED

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.controller.access import Access
    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.controller.ports import Atlas, Events
    from atlas_invites.controller.store import Store
    from atlas_invites.controller.writer import Writer
    from atlas_invites.invitation.resource import Resource

log = logging.getLogger(__name__)

TRY_AGAIN = 20.0
"""Seconds until the next try, where there is a time after which the object is let go."""

_ORPHANED = "The finalizer was removed, but the invitation may still exist in Atlas: {}"


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
        resource, known, memory = attempt.resource, attempt.known, attempt.memory
        if not resource.has_finalizer:
            return None
        if known.origin is None and (memory.created or memory.unanswered_since):
            attempt = replace(attempt, known=known.model_copy(update={"origin": Origin.CREATED}))
        why = untouched(attempt.spec, attempt.known, sent=memory.sent or memory.unanswered_since is not None)
        if why is None and self._ender.another_has_it(resource, memory):
            why = ANOTHERS.why
        if why is not None:
            await self.let_go(resource, why)
            return None
        began = self._clock()
        ended = await self._try_once(attempt)
        if isinstance(ended, _Failed):
            return await self._after(attempt, ended, began)
        memory.note_trouble(None, self._clock())
        if ended.notice is not None:
            self._events.publish(resource, ended.notice)
        await self.let_go(resource, ended.why)
        return None

    async def _after(self, attempt: Attempt, failed: _Failed, began: float) -> Outcome | None:
        """Let the object go where nothing is left to try, else return why it stands. ``began``: when the try did."""
        resource, failure, secret_lost = attempt.resource, failed.failure, failed.secret_lost
        if failure.reason is Reason.PROJECT_NOT_READY and leaves_member_alone(attempt.spec, attempt.known):
            await self.let_go(resource, "its project is not known any more, and a member is left alone")
            return None
        trouble = trouble_of(failure, secret_lost=secret_lost)
        lasted = began - attempt.memory.note_trouble(trouble, self._clock())
        why = orphaned_because(failure, trouble, lasted, force=resource.force_delete)
        if why is None:
            outcome = Outcome.of(failure)
            return outcome if trouble is None else replace(outcome, requeue_after=TRY_AGAIN)
        await self.let_go(resource, f"it cannot be ended in Atlas: {failure.reason}")
        ORPHANED.inc()
        log.warning("OrphanedInvitation: %s", _ORPHANED.format(failure.reason), extra={"object": resource.key})
        notice = Notice(EventType.WARNING, EventReason.ORPHANED_INVITATION, _ORPHANED.format(why))
        self._events.publish(resource, notice)
        return None

    async def let_go(self, resource: Resource, why: str) -> None:
        """Take the finalizer off, if it is on, and log why.

        Raises:
            Stale: the object has changed meanwhile.
            ClusterUnavailable: the API server failed; try again.
        """
        if not resource.has_finalizer:
            return
        await self._writer.remove_finalizer(resource)
        log.info("finalizer removed: %s", why, extra={"object": resource.key})

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
