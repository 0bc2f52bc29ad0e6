"""The end of an object: Table D, carried out. Deletion always ends."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from atlas_invites.invitation.deletion import TABLE_D, Do, after_failure, policy, project_gone, untouched
from atlas_invites.invitation.model import Api, DeletionPolicy, Membership, State
from atlas_invites.invitation.outcome import Failure, Kind, Outcome, Reason
from atlas_invites.invitation.plan import Sight, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.controller.access import Access
    from atlas_invites.controller.ports import Atlas, Invites, Project
    from atlas_invites.controller.store import Store
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Spec, Status
    from atlas_invites.invitation.resource import Resource

log = logging.getLogger(__name__)

_LEGACY = "The invitation was sent through the invites API, which has ended: it cannot be cancelled any more."
_ACCEPTED_MEANWHILE = "The invitation may just have been accepted; it is looked at again."


class Deletion:
    """Does in Atlas what the deletion policy says, then takes the finalizer off.

    Args:
        store: the latest of every object.
        invites: writes to Kubernetes.
        access: credentials and project ids.
        atlas: Atlas.
        wall: the local time, UTC: deletion timestamps are the API server's.
        clock: monotonic seconds.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        store: Store,
        invites: Invites,
        access: Access,
        atlas: Atlas,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._invites = invites
        self._access = access
        self._atlas = atlas
        self._wall = wall
        self._clock = clock

    async def delete(self, resource: Resource, spec: Spec, known: Status, since: float) -> Outcome | None:
        """Try once to end the object.

        Returns:
            None where the finalizer is off, or was never on; else why the object still stands.

        Raises:
            Stale: the object has changed meanwhile.
            ClusterUnavailable: the API server failed; try again.
        """
        if not resource.has_finalizer:
            return None
        if (why := untouched(spec, known)) is not None:
            await self.let_go(resource, why)
            return None
        secret_lost = False
        try:
            try:
                await self._access.with_credentials(
                    resource, spec, since, lambda credentials: self._end(resource, spec, known, since, credentials)
                )
            except Failure as failure:
                if failure.reason.kind is not Kind.WAITING:
                    raise
                secret_lost = True
                await self._end_with_last_credentials(resource, spec, known, since, failure)
        except Failure as failure:
            return await self._after(resource, failure, secret_lost=secret_lost)
        await self.let_go(resource, "what the deletion policy asks for is done")
        return None

    async def _after(self, resource: Resource, failure: Failure, *, secret_lost: bool) -> Outcome | None:
        if project_gone(failure):
            await self.let_go(resource, "the project is gone")
            return None
        age = self._wall() - (resource.deleted_at or self._wall())
        orphaned = after_failure(failure, age, force=resource.force_delete, secret_lost=secret_lost)
        if orphaned is None:
            return Outcome(
                failure.reason,
                failure.message,
                error=failure.error,
                requeue_after=failure.retry_after or _soon(failure),
            )
        log.warning(
            "OrphanedInvitation: the object goes although Atlas may still hold its invitation: %s",
            failure.reason,
            extra={"object": resource.key},
        )
        await self.let_go(resource, f"it cannot be ended in Atlas: {failure.reason}")
        return None

    async def let_go(self, resource: Resource, why: str) -> None:
        """Take the finalizer off, if it is on, and log why.

        Raises:
            Stale: the object has changed meanwhile.
            ClusterUnavailable: the API server failed; try again.
        """
        if resource.has_finalizer:
            self._store.put(await self._invites.remove_finalizer(resource))
            log.info("finalizer removed: %s", why, extra={"object": resource.key})

    async def _end_with_last_credentials(
        self, resource: Resource, spec: Spec, known: Status, since: float, lost: Failure
    ) -> None:
        credentials = self._access.last_credentials(resource, spec)
        if credentials is None:
            raise lost
        await self._end(resource, spec, known, since, credentials)

    async def _end(self, resource: Resource, spec: Spec, known: Status, since: float, credentials: Credentials) -> None:
        """Do in Atlas what the policy says about what is there.

        Raises:
            Failure: Atlas did not do it.
        """
        group_id = (known.invitation and known.invitation.group_id) or await self._access.group_id(resource, spec)
        project = self._atlas.project(credentials, group_id)
        policy_ = policy(spec, known)
        invitation = known.invitation
        if known.state is State.PENDING and invitation is not None and invitation.api is project.api is Api.INVITES:
            cancelled = await project.cancel_invite(invitation.id)
            if cancelled or policy_ is DeletionPolicy.CANCEL:
                return
            since = self._clock()
        await self._end_seen(spec, known, policy_, project, since)

    async def _end_seen(
        self, spec: Spec, known: Status, policy_: DeletionPolicy, project: Project, since: float
    ) -> None:
        username = spec.username or (known.invitation.username if known.invitation else None)
        invitation_id = known.invitation.id if known.invitation else spec.invitation_id
        seen = await project.look(username=username, invitation_id=invitation_id, since=since)
        case = decide(spec, known, seen, self._atlas.now(), project.api).case
        if case.somebody_else:
            return
        if case.sight is Sight.NOTHING and case.legacy and known.state is State.PENDING:
            raise Failure(Reason.LEGACY_INVITATION, _LEGACY)
        do = TABLE_D.get((case.sight, policy_), Do.NOTHING)
        if do is Do.CANCEL and case.invitation is not None:
            if case.invitation.api is Api.USERS:
                await _remove(project, case.invitation.id, Membership.PENDING)
            elif not await project.cancel_invite(case.invitation.id) and policy_ is DeletionPolicy.REVOKE:
                raise Failure(Reason.CONFLICT, _ACCEPTED_MEANWHILE)
        if do is Do.REMOVE and case.member is not None:
            await _remove(project, case.member.id, Membership.ACTIVE)


async def _remove(project: Project, user_id: str, membership: Membership) -> None:
    """Remove a user who is still what was seen: the same call takes access from someone who has just accepted."""
    user = await project.read_user(user_id)
    if user is None:
        return
    if user.org_membership_status != membership:
        raise Failure(Reason.CONFLICT, _ACCEPTED_MEANWHILE)
    await project.remove_user(user_id)


def _soon(failure: Failure) -> float | None:
    """Seconds until the next try of a deletion, where the back-off does not say."""
    return None if failure.reason.kind is Kind.RETRYING else timedelta(seconds=20).total_seconds()
