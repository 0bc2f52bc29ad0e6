"""One key, start to end: what it refers to is resolved, the object is made true or ended, and status says how."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from atlas_invites.controller.attempt import Attempt
from atlas_invites.controller.claims import leads_elsewhere
from atlas_invites.controller.inviting import Inviter
from atlas_invites.controller.memory import Memories
from atlas_invites.controller.refusals import Request
from atlas_invites.invitation.conditions import Evaluated, next_status, suspended_status
from atlas_invites.invitation.events import EventType, Notice, notices
from atlas_invites.invitation.outcome import Failure, Kind, Outcome, Reason, WriteRefused, requeue_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_invites.controller.access import Access
    from atlas_invites.controller.deletion import Deletion
    from atlas_invites.controller.memory import Memory
    from atlas_invites.controller.ports import Atlas, Events
    from atlas_invites.controller.store import Store
    from atlas_invites.controller.writer import Writer
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Status
    from atlas_invites.invitation.resource import Key, Resource

RENEW_ERROR_AFTER = 3600.0
"""Seconds after which status renews the words of a failure that repeats."""

_LEADS_ELSEWHERE = (
    "The AtlasProject {name} leads to another Atlas project than the one that holds this invitation, so nothing "
    "is done. To invite into the new project, delete and recreate this object."
)


class Reconciler:
    """Reconciles one object at a time; the work queue sees to it that no key is here twice.

    Args:
        store: the latest of every object.
        writer: writes to Kubernetes.
        access: credentials and project ids.
        atlas: Atlas.
        deletion: what happens to an object that is being deleted.
        events: publishes Kubernetes Events.
        wall: the local time, UTC, for what status says of itself.
        clock: monotonic seconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        store: Store,
        writer: Writer,
        access: Access,
        atlas: Atlas,
        deletion: Deletion,
        events: Events,
        *,
        wall: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._claims = store.claims
        self._writer = writer
        self._access = access
        self._atlas = atlas
        self._deletion = deletion
        self._wall = wall
        self._clock = clock
        self._events = events
        self._memories = Memories()
        self._inviter = Inviter(store, writer, atlas, self._memories, clock)

    async def reconcile(self, key: Key, since: float) -> Outcome | None:
        """Reconcile the object of that key.

        Args:
            key: which object.
            since: nothing that Atlas showed before this time (monotonic seconds) is acted on.

        Returns:
            How it ended, or None where nothing was evaluated: no object, a suspended one, one whose deletion is done.

        Raises:
            Stale: the object has changed or gone meanwhile; its event makes one more reconcile.
            Later: it waits for another object.
            ClusterUnavailable: the API server failed; try again.
            WriteRefused: the API server refuses the status.
        """
        resource = self._store.get(key)
        if resource is None:
            return None
        memory = self._memories.of(resource)
        known = memory.completed(resource.status)
        try:
            attempt = Attempt(resource, resource.spec, known, memory, since)
        except ValidationError as error:
            if resource.deleting:
                await self._deletion.delete_unreadable(resource, known, memory)
                return None
            return await self._conclude(resource, memory, known, Outcome(Reason.INVALID_REQUEST, _invalid_spec(error)))
        try:
            outcome = await self._evaluate(attempt)
        except WriteRefused as refused:
            outcome = Outcome(Reason.WRITE_REFUSED, refused.message)
        if outcome is None:
            return None
        concluded = await self._conclude(attempt.resource, memory, known, outcome)
        if concluded.reason.kind is Kind.SETTLED:
            self._memories.forget(key)
        return concluded

    def forget(self, key: Key) -> None:
        """Forget what is remembered of an object that is gone."""
        self._memories.forget(key)

    async def _evaluate(self, attempt: Attempt) -> Outcome | None:
        resource = attempt.resource
        if resource.deleting:
            return await self._deletion.delete(attempt)
        if attempt.spec.suspend:
            self._claims.mark_evaluated(resource.key)
            wanted = suspended_status(attempt.known, resource.generation, self._wall())
            await self._writer.write_status(resource, wanted)
            return None
        try:
            outcome = await self._access.with_credentials(
                resource, attempt.spec, attempt.since, lambda credentials: self._reconcile(attempt, credentials)
            )
        except Failure as failure:
            outcome = Outcome.of(failure)
        self._claims.mark_evaluated(resource.key)
        return outcome

    async def _reconcile(self, attempt: Attempt, credentials: Credentials) -> Outcome:
        """Look, decide and act on a live object.

        Raises:
            Failure: what Atlas or the cluster answered.
            Later: it waits for another object.
        """
        group_id = await self._access.group_id(attempt.resource, attempt.spec)
        if leads_elsewhere(attempt.spec, attempt.known, group_id):
            name = attempt.spec.project_ref and attempt.spec.project_ref.name
            return Outcome(Reason.PROJECT_NOT_READY, _LEADS_ELSEWHERE.format(name=name))
        self._claims.resolve(attempt.resource, group_id)
        attempt.request = Request.of(attempt.resource, credentials)
        project = self._atlas.project(credentials, group_id)
        api = project.api
        try:
            outcome = await self._inviter.invite(attempt, project)
        except Failure:
            if project.api is api:
                raise
            # The invites API has just ended: once more, through the users API.
            outcome = await self._inviter.invite(attempt, project)
        atlas = outcome.atlas if outcome.error else outcome.atlas or project.info
        return replace(outcome.in_project(group_id), atlas=atlas)

    async def _conclude(self, resource: Resource, memory: Memory, known: Status, outcome: Outcome) -> Outcome:
        evaluated, now = Evaluated(resource.generation, resource.reconcile_requested_at), self._clock()
        is_old = memory.renewed_at is not None and now >= memory.renewed_at + RENEW_ERROR_AFTER
        renew = is_old and outcome.error is not None
        wanted = next_status(known, evaluated, outcome, self._wall(), renew=renew)
        if outcome.did is not None:
            memory.unsaved = wanted
        try:
            await self._writer.write_status(resource, wanted)
        except WriteRefused as refused:
            if memory.told != refused.message:
                memory.told = refused.message
                self._events.publish(resource, Notice(EventType.WARNING, Reason.WRITE_REFUSED, refused.message))
            raise
        memory.unsaved = memory.told = None
        if memory.renewed_at is None or renew or wanted.error != known.error:
            memory.renewed_at = now
        for notice in notices(resource.status, wanted, outcome):
            self._events.publish(resource, notice)
        return replace(outcome, requeue_after=requeue_after(outcome, wanted.invitation, self._atlas.now()))


def _invalid_spec(error: ValidationError) -> str:
    """Return what is wrong with a spec that the CRD should have refused: field and rule."""
    problems = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
    return (
        f"The spec cannot be used: {problems}. Correct it, or delete and recreate this object where the field is "
        "immutable; and bring the CRD up to date."
    )
