"""The end of an object: Table D, carried out. Deletion always ends."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from atlas_invites.controller.sending import must_wait, origin_of
from atlas_invites.invitation.deletion import (
    TABLE_D,
    Removal,
    leaves_member_alone,
    orphaned_because,
    policy,
    project_gone,
    untouched,
)
from atlas_invites.invitation.events import EventReason, EventType, Notice
from atlas_invites.invitation.model import Api, DeletionPolicy, Membership, Origin, State
from atlas_invites.invitation.outcome import Failure, Kind, Outcome, Reason, Stale
from atlas_invites.invitation.plan import Do, Sight, decide, target
from atlas_invites.telemetry.metrics import ORPHANED

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from atlas_invites.controller.access import Access
    from atlas_invites.controller.memory import Memory
    from atlas_invites.controller.ports import Atlas, Events, Invites, Project
    from atlas_invites.controller.store import Store
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Invitation, Spec, Status
    from atlas_invites.invitation.plan import Action, Case
    from atlas_invites.invitation.resource import Resource

log = logging.getLogger(__name__)

TRY_AGAIN = 20.0
"""Seconds until the next try, where there is a time after which the object is let go."""

_ORPHANED = "The finalizer was removed, but the invitation may still exist in Atlas: {}"
_LEGACY = "The invitation was sent through the invites API, which has ended: it cannot be cancelled any more."
_ACCEPTED_MEANWHILE = "The invitation may just have been accepted; it is looked at again."


@dataclass(frozen=True, slots=True)
class _Ending:
    """One try to end an object in Atlas."""

    resource: Resource
    spec: Spec
    known: Status
    memory: Memory
    since: float


@dataclass(frozen=True, slots=True)
class _Ended:
    """A try that did all there is to do, and the event that tells what was taken away, if anything was."""

    why: str
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class _Failed:
    """A try that did not. ``secret_lost``: the Secret is gone or invalid."""

    failure: Failure
    secret_lost: bool = False


_ANOTHERS = _Ended("another object has the invitation")
_NOTHING_THERE = _Ended("nothing is left of it in Atlas")
_CANCELED = _Ended(
    "the invitation was cancelled",
    Notice(EventType.NORMAL, EventReason.CANCELED, "The pending invitation was cancelled in Atlas."),
)
_REVOKED = _Ended(
    "the member was removed",
    Notice(EventType.NORMAL, EventReason.MEMBER_REVOKED, "The member was removed from the project in Atlas."),
)


class Deletion:
    """Does in Atlas what the deletion policy says, then takes the finalizer off.

    Args:
        store: the latest of every object.
        invites: writes to Kubernetes.
        access: credentials and project ids.
        atlas: Atlas.
        events: publishes Kubernetes Events.
        wall: the local time, UTC: deletion timestamps are the API server's.
        clock: monotonic seconds.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        store: Store,
        invites: Invites,
        access: Access,
        atlas: Atlas,
        events: Events,
        *,
        wall: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._invites = invites
        self._access = access
        self._atlas = atlas
        self._events = events
        self._wall = wall
        self._clock = clock

    async def delete(
        self, resource: Resource, spec: Spec, known: Status, memory: Memory, since: float
    ) -> Outcome | None:
        """Try once to end the object.

        Args:
            resource: the object.
            spec: its spec.
            known: its status.
            memory: what this process knows of it beyond.
            since: as of when Atlas must be seen (monotonic seconds).

        Returns:
            None where the finalizer is off, or was never on; else why the object still stands.

        Raises:
            Stale: the object has changed meanwhile.
            Later: it waits for another object.
            ClusterUnavailable: the API server failed; try again.
        """
        if not resource.has_finalizer:
            return None
        if known.origin is None and (memory.created or memory.unanswered_since):
            known = known.model_copy(update={"origin": Origin.CREATED})
        why = untouched(spec, known, sent=memory.sent or memory.unanswered_since is not None)
        if why is None and self._another_has_it(resource, memory):
            why = _ANOTHERS.why
        if why is not None:
            await self.let_go(resource, why)
            return None
        ending = _Ending(resource, spec, known, memory, since)
        ended = await self._try_once(ending)
        if isinstance(ended, _Failed):
            return await self._after(ending, ended)
        if ended.notice is not None:
            self._events.publish(resource, ended.notice)
        await self.let_go(resource, ended.why)
        return None

    def _another_has_it(self, resource: Resource, memory: Memory) -> bool:
        """Tell whether nothing may be ended: another live object, or an older one, claims the same invitation.

        Raises:
            Later: another object that names the same has yet to be evaluated.
        """
        if self._is_anothers(resource):
            return True
        memory.await_others(self._clock(), waiting=self._store.claims.awaits_any(resource.key), ending=True)
        return False

    def _is_anothers(self, resource: Resource) -> bool:
        claims = self._store.claims
        return claims.live_claimant(resource.key) is not None or claims.holder(resource.key) is not None

    def _turns_out_to_be_anothers(self, ending: _Ending, project: Project, *there: str | None) -> bool:
        """Claim what the object names in this project, and what is ``there`` (e-mail, id): is any of it another's?

        Raises:
            Later: another object that names what was not claimed before has yet to be evaluated.
        """
        resource, member = ending.resource, ending.known.member
        names = (*target(ending.spec, ending.known), member.id if member else None, *there)
        if self._store.claims.found(resource.key, project.group_id, *names):
            return self._another_has_it(resource, ending.memory)
        return self._is_anothers(resource)

    def _check(self, ending: _Ending) -> None:
        """See that the object still asks for what it did when the turn began, and that nobody has come before it.

        To be called right before each removal.

        Raises:
            Stale: it does not, or somebody has.
        """
        resource = ending.resource
        latest = self._store.get(resource.key)
        if latest is None or latest.uid != resource.uid or not latest.has_finalizer:
            raise Stale(f"{resource.key} has gone")
        if latest.generation > resource.generation:
            raise Stale(f"{resource.key} asks for something else by now")
        if self._is_anothers(resource):
            raise Stale(f"what {resource.key} has is another object's by now")

    async def _after(self, ending: _Ending, failed: _Failed) -> Outcome | None:
        """Let the object go where nothing is left to try, else return why it stands."""
        resource, failure, secret_lost = ending.resource, failed.failure, failed.secret_lost
        if project_gone(failure):
            await self.let_go(resource, "the project is gone")
            return None
        if failure.reason is Reason.PROJECT_NOT_READY and leaves_member_alone(ending.spec, ending.known):
            await self.let_go(resource, "its project is not known any more, and a member is left alone")
            return None
        why = orphaned_because(failure, self._age(resource), force=resource.force_delete, secret_lost=secret_lost)
        if why is None:
            outcome = Outcome.of(failure)
            if failure.reason.kind is Kind.RETRYING and not secret_lost:
                return outcome
            return replace(outcome, requeue_after=TRY_AGAIN)
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
        self._store.put(await self._invites.remove_finalizer(resource))
        log.info("finalizer removed: %s", why, extra={"object": resource.key})

    def _age(self, resource: Resource) -> timedelta:
        """Return the time since the deletion timestamp."""
        return self._wall() - (resource.deleted_at or self._wall())

    async def _try_once(self, ending: _Ending) -> _Ended | _Failed:
        """Try with the object's credentials, or where their Secret is lost, with those last read from it."""
        try:
            return await self._access.with_credentials(
                ending.resource, ending.spec, ending.since, lambda credentials: self._end(ending, credentials)
            )
        except Failure as failure:
            if failure.reason not in {Reason.SECRET_NOT_FOUND, Reason.SECRET_INVALID}:
                return _Failed(failure)
            lost = _Failed(failure, secret_lost=failure.certain)
        credentials = self._access.last_credentials(ending.resource, ending.spec)
        if credentials is None:
            return lost
        try:
            return await self._end(ending, credentials)
        except Failure as failure:
            return replace(lost, failure=failure)

    async def _end(self, ending: _Ending, credentials: Credentials) -> _Ended:
        """Do in Atlas what the policy says about what is there.

        Raises:
            Failure: Atlas did not do it.
            Later: it waits for another object.
        """
        spec, known, since = ending.spec, ending.known, ending.since
        invitation = known.invitation
        project = self._atlas.project(credentials, await self._group_id(ending))
        if self._turns_out_to_be_anothers(ending, project):
            return _ANOTHERS
        if invitation is not None and invitation.api is project.api is Api.INVITES and self._is_the_last(ending):
            self._check(ending)
            if await project.cancel_invite(invitation.id):
                return _CANCELED
            if policy(spec, known) is DeletionPolicy.CANCEL:
                return _NOTHING_THERE
            since = self._clock()
        return await self._look_and_end(replace(ending, since=since), project)

    async def _group_id(self, ending: _Ending) -> str:
        """Return the project's id: as status shows it, else as the spec leads to it, else as it last did.

        Raises:
            Failure: ProjectNotReady.
        """
        invitation = ending.known.invitation
        if invitation is not None and invitation.group_id is not None:
            return invitation.group_id
        try:
            return await self._access.group_id(ending.resource, ending.spec)
        except Failure:
            held = self._access.last_group_id(ending.resource, ending.spec)
            if held is None:
                raise
            return held

    def _is_the_last(self, ending: _Ending) -> bool:
        """Tell whether the invitation that status shows as pending is the last that can have been sent: no look needed.

        It is not where a sending got no answer, nor where its time is over: then it may have been sent again.
        """
        known = ending.known
        expires = known.invitation.expires if known.invitation else None
        is_over = expires is not None and self._atlas.now() >= expires
        return known.state is State.PENDING and not is_over and not _may_be_under_way(ending.memory)

    async def _look_and_end(self, ending: _Ending, project: Project) -> _Ended:
        username, id_ = target(ending.spec, ending.known)
        seen = await project.look(username=username, invitation_id=id_, since=ending.since)
        action = decide(ending.spec, ending.known, seen, self._atlas.now(), project.api)
        case = action.case
        there = case.invitation or case.member
        if there is None:
            self._confirm_nothing(ending, action)
            return _NOTHING_THERE
        if case.somebody_else:
            return _Ended("it is for another e-mail")
        if self._turns_out_to_be_anothers(ending, project, there.username, there.id):
            return _ANOTHERS
        return await _take_away(ending, case, project, partial(self._check, ending))

    def _confirm_nothing(self, ending: _Ending, action: Action) -> None:
        """Accept that nothing is there, unless it cannot be seen, or a sending may still be under way.

        Where the object would be sent an invitation now, a former process may have done so.

        Raises:
            Failure: LegacyInvitation, ConfirmingInvitation.
        """
        case = action.case
        if case.sight is Sight.NOTHING and case.legacy and ending.known.state is State.PENDING:
            raise Failure(Reason.LEGACY_INVITATION, _LEGACY)
        if action.row.do is not Do.SEND and not _may_be_under_way(ending.memory):
            return
        wait = must_wait(ending.memory, case, ending.since, self._clock())
        if wait is not None:
            raise Failure(wait.reason, wait.message, retry_after=wait.requeue_after)


def _may_be_under_way(memory: Memory) -> bool:
    """Tell whether a sending may have worked that Atlas has not shown yet."""
    return memory.confirming_since is not None or memory.unanswered_since is not None


async def _take_away(ending: _Ending, case: Case, project: Project, check: Callable[[], None]) -> _Ended:
    """Take away what the policy says of what is there. ``check`` is called right before, and may raise."""
    spec, known = ending.spec, ending.known
    policy_ = policy(spec, known)
    removal = TABLE_D.get((case.sight, policy_))
    if removal is Removal.CANCEL_INVITATION and case.invitation is not None:
        is_known = known.invitation is not None and known.invitation.id == case.invitation.id
        made_by_us = is_known or origin_of(ending.memory, case.invitation) is Origin.CREATED
        if spec.deletion_policy is None and not made_by_us:
            return _Ended("what is there was not made by this object")
        return await _cancel(project, case.invitation, policy_, check)
    if removal is Removal.REMOVE_MEMBER and case.member is not None:
        return _REVOKED if await _remove(project, case.member.id, Membership.ACTIVE, check) else _NOTHING_THERE
    return _Ended("the deletion policy leaves a member alone")


async def _cancel(
    project: Project, invitation: Invitation, policy_: DeletionPolicy, check: Callable[[], None]
) -> _Ended:
    if invitation.api is Api.USERS:
        cancelled = await _remove(project, invitation.id, Membership.PENDING, check)
    else:
        check()
        cancelled = await project.cancel_invite(invitation.id)
    if cancelled:
        return _CANCELED
    if policy_ is DeletionPolicy.REVOKE:
        raise Failure(Reason.CONFLICT, _ACCEPTED_MEANWHILE)
    return _NOTHING_THERE


async def _remove(project: Project, user_id: str, membership: Membership, check: Callable[[], None]) -> bool:
    """Remove a user who is still what was seen: the same call takes access from someone who has just accepted."""
    user = await project.read_user(user_id)
    if user is None:
        return False
    if user.org_membership_status != membership:
        raise Failure(Reason.CONFLICT, _ACCEPTED_MEANWHILE)
    check()
    return await project.remove_user(user_id)
