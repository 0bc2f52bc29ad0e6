"""One try to end an object in Atlas: look, claim what is seen, and take away what the deletion policy says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from atlas_invites.controller.roles import is_same_user
from atlas_invites.controller.sending import hold_back, origin_of
from atlas_invites.invitation.case import Sight, case_of, target
from atlas_invites.invitation.deletion import TABLE_D, Removal, name_invitation, project_gone
from atlas_invites.invitation.events import EventReason, EventType, Notice, orphan_notice
from atlas_invites.invitation.model import Api, DeletionPolicy, Membership, Origin, State
from atlas_invites.invitation.outcome import Failure, Reason, Stale
from atlas_invites.invitation.plan import Do, is_conclusive, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.controller.access import Access
    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.controller.memory import Memory
    from atlas_invites.controller.ports import Atlas, Project
    from atlas_invites.controller.store import Store
    from atlas_invites.invitation.case import Case
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.deletion import DeletionCase
    from atlas_invites.invitation.model import Invitation, Seen
    from atlas_invites.invitation.resource import Resource

_LEGACY = "The invitation was sent through the invites API, which has ended: it cannot be cancelled any more."
_ACCEPTED_MEANWHILE = "The invitation may just have been accepted; it is looked at again."


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a try after which the finalizer is removed.

    Attributes:
        why: why it is removed, without an e-mail: this is logged.
        notice: the event that says what was done or found in Atlas, if anything.
        orphan: the warning of what may be left there, if anything.
    """

    why: str
    notice: Notice | None = None
    orphan: Notice | None = None

    @classmethod
    def leaving(cls, why: str, left: str | None) -> Self:
        """Return the end of an object which may leave something in Atlas: by id and e-mail, or None for nothing."""
        return cls(why, orphan=None if left is None else orphan_notice(left, why))


ANOTHERS = Ended("another object has the invitation")
_NOTHING_THERE = Ended("nothing is left of it in Atlas")
_CANCELED = Ended(
    "the invitation was cancelled",
    Notice(EventType.NORMAL, EventReason.CANCELED, "The pending invitation was cancelled in Atlas."),
)
PROJECT_GONE = Ended(
    "the project is gone",
    Notice(
        EventType.WARNING,
        EventReason.PROJECT_NOT_FOUND,
        "The project no longer exists in Atlas, so there is nothing to cancel or to remove there. The finalizer is "
        "removed; no action is needed.",
    ),
)
_REVOKED = Ended(
    "the member was removed",
    Notice(EventType.NORMAL, EventReason.MEMBER_REVOKED, "The member was removed from the project in Atlas."),
)


class Ender:
    """Ends objects in Atlas.

    Args:
        store: the latest of every object.
        access: project ids.
        atlas: Atlas.
        clock: monotonic seconds.
    """

    def __init__(self, store: Store, access: Access, atlas: Atlas, clock: Callable[[], float]) -> None:
        self._store = store
        self._access = access
        self._atlas = atlas
        self._clock = clock

    async def end(self, attempt: Attempt, credentials: Credentials) -> Ended:
        """Do in Atlas what the policy says about what is there.

        Raises:
            Failure: Atlas did not do it.
            Later: it waits for another object.
        """
        project = self._atlas.project(credentials, await self._group_id(attempt))
        try:
            return await self._end_in(attempt, project)
        except Failure as failure:
            if not project_gone(failure) or not await _is_gone(project):
                raise
        return PROJECT_GONE

    async def _end_in(self, attempt: Attempt, project: Project) -> Ended:
        spec, invitation, since = attempt.spec, attempt.known.invitation, attempt.since
        if self._turns_out_to_be_anothers(attempt, project):
            return ANOTHERS
        if (
            invitation is not None
            and invitation.api is project.api is Api.INVITES
            and self._is_the_last(attempt)
            and _may_cancel(attempt, invitation)
        ):
            self._check(attempt)
            if await project.cancel_invite(invitation.id):
                return _CANCELED
            if spec.deletion_policy is not DeletionPolicy.REVOKE:
                return _NOTHING_THERE
            since = self._clock()
        return await self._look_and_end(replace(attempt, since=since), project)

    def another_has_it(self, resource: Resource, memory: Memory) -> bool:
        """Tell whether nothing may be ended: another live object, or an older one, claims the same invitation.

        Raises:
            Later: another object that names the same has yet to be evaluated.
        """
        if self.is_anothers(resource):
            return True
        memory.await_others(self._clock(), waiting=self._store.claims.awaits_any(resource.key), ending=True)
        return False

    def is_anothers(self, resource: Resource) -> bool:
        """Return whether another live object, or an older one, claims the same invitation, as far as is known now."""
        claims = self._store.claims
        return claims.live_claimant(resource.key) is not None or claims.holder(resource.key) is not None

    def _turns_out_to_be_anothers(self, attempt: Attempt, project: Project, *there: str | None) -> bool:
        """Claim what the object names in this project, and what is ``there`` (e-mail, id): is any of it another's?

        Raises:
            Later: another object that names what was not claimed before has yet to be evaluated.
        """
        resource = attempt.resource
        if self._store.claims.add_found(resource.key, project.group_id, *target(attempt.spec, attempt.known), *there):
            return self.another_has_it(resource, attempt.memory)
        return self.is_anothers(resource)

    def _check(self, attempt: Attempt) -> None:
        """See that the object still asks for what it did when the attempt began, and that nobody has come before it.

        To be called right before each removal.

        Raises:
            Stale: it does not, or somebody has.
        """
        resource = attempt.resource
        attempt.check(self._store.get(resource.key))
        if self.is_anothers(resource):
            raise Stale(f"what {resource.key} has is another object's by now")

    async def _group_id(self, attempt: Attempt) -> str:
        """Return the project's id: as status shows it, else as the spec leads to it, else as it last did.

        Raises:
            Failure: ProjectNotReady.
        """
        invitation = attempt.known.invitation
        if invitation is not None and invitation.group_id is not None:
            return invitation.group_id
        try:
            return await self._access.group_id(attempt.resource, attempt.spec)
        except Failure:
            held = self._access.last_group_id(attempt.resource, attempt.spec)
            if held is None:
                raise
            return held

    def _is_the_last(self, attempt: Attempt) -> bool:
        """Tell whether the invitation that status shows as pending is the last that can have been sent: no look needed.

        It is not where a sending got no answer, nor where its time is over: then it may have been sent again.
        """
        known = attempt.known
        expires = known.invitation.expires if known.invitation else None
        is_over = expires is not None and self._atlas.now() >= expires
        return known.state is State.PENDING and not is_over and not _may_be_under_way(attempt.memory)

    async def _look_and_end(self, attempt: Attempt, project: Project) -> Ended:
        def case_seen(seen: Seen) -> Case:
            return case_of(attempt.spec, attempt.known, seen, self._atlas.now(), project.api)

        seen = await project.look(
            target(attempt.spec, attempt.known),
            attempt.since,
            lambda seen: is_conclusive(judge(case_seen(seen)), never_had_one=False),
        )
        case = case_seen(seen)
        there = case.invitation or case.member
        if there is None:
            self._confirm_nothing(attempt, case)
            return _NOTHING_THERE
        if case.somebody_else:
            return Ended.leaving("it is for another e-mail", _deletion_case(attempt).left)
        if self._store.claims.unknown and not attempt.memory.is_known(attempt.known, there.id):
            return Ended.leaving("an object that cannot be listed may have it", _deletion_case(attempt).left)
        if self._turns_out_to_be_anothers(attempt, project, there.username, there.id):
            return ANOTHERS
        return await _take_away(attempt, case, project, partial(self._check, attempt))

    def _confirm_nothing(self, attempt: Attempt, case: Case) -> None:
        """Accept that nothing is there, unless it cannot be seen, or a sending may still be under way.

        Where the object would be sent an invitation now, a former process may have done so.

        Raises:
            Failure: LegacyInvitation, ConfirmingInvitation.
        """
        if case.sight is Sight.NOTHING and case.legacy and attempt.known.state is State.PENDING:
            raise Failure(Reason.LEGACY_INVITATION, _LEGACY)
        if judge(case).row.do is not Do.SEND and not _may_be_under_way(attempt.memory):
            return
        wait = hold_back(attempt.memory, case, attempt.since, self._clock())
        if wait is not None:
            raise Failure(wait.reason, wait.message, retry_after=wait.requeue_after)


async def _is_gone(project: Project) -> bool:
    """Return whether reading the project says that it does not exist.

    Raises:
        Failure: it could not be read, and may exist.
    """
    try:
        await project.read_project()
    except Failure as failure:
        if not project_gone(failure):
            raise
        return True
    return False


def _may_be_under_way(memory: Memory) -> bool:
    """Tell whether a sending may have worked that Atlas has not shown yet."""
    return memory.confirming_since is not None or memory.unanswered_since is not None


def _deletion_case(attempt: Attempt) -> DeletionCase:
    return attempt.memory.deletion_case(attempt.spec, attempt.known)


async def _take_away(attempt: Attempt, case: Case, project: Project, check: Callable[[], None]) -> Ended:
    """Take away what the policy says of what is there. ``check`` is called right before, and may raise."""
    policy, invitation = _deletion_case(attempt).policy, case.invitation
    removal = TABLE_D.get((case.sight, policy))
    if removal is Removal.CANCEL_INVITATION and invitation is not None:
        if not _may_cancel(attempt, invitation):
            is_adopted = _is_known(attempt, invitation) and attempt.known.origin is Origin.ADOPTED
            left = None if is_adopted else name_invitation(invitation.id, invitation.username)
            return Ended.leaving("it is not known to have been made by this object", left)
        return await _cancel(project, invitation, policy, check, case.found_by_email)
    if removal is Removal.REMOVE_MEMBER and case.member is not None:
        removed = await _remove(project, case.member.id, Membership.ACTIVE, check, case.found_by_email)
        return _REVOKED if removed else _NOTHING_THERE
    return Ended("the deletion policy leaves a member alone")


def _may_cancel(attempt: Attempt, invitation: Invitation) -> bool:
    """Return whether the policy covers an invitation: where none is set, it covers what this object made for sure."""
    if attempt.spec.deletion_policy is not None:
        return True
    is_ours = _is_known(attempt, invitation) and attempt.known.origin is Origin.CREATED
    return is_ours or origin_of(attempt.memory, invitation) is Origin.CREATED


def _is_known(attempt: Attempt, invitation: Invitation) -> bool:
    known = attempt.known.invitation
    return known is not None and known.id == invitation.id


async def _cancel(
    project: Project, invitation: Invitation, policy: DeletionPolicy, check: Callable[[], None], email: str | None
) -> Ended:
    if invitation.api is Api.USERS:
        cancelled = await _remove(project, invitation.id, Membership.PENDING, check, email)
    else:
        check()
        cancelled = await project.cancel_invite(invitation.id)
    if cancelled:
        return _CANCELED
    if policy is DeletionPolicy.REVOKE:
        raise Failure(Reason.CONFLICT, _ACCEPTED_MEANWHILE)
    return _NOTHING_THERE


async def _remove(
    project: Project, user_id: str, membership: Membership, check: Callable[[], None], email: str | None
) -> bool:
    """Remove a user who is still what was seen: the same call takes access from someone who has just accepted."""
    user = await project.read_user(user_id)
    if user is None:
        return False
    if not is_same_user(user, membership, email):
        raise Failure(Reason.CONFLICT, _ACCEPTED_MEANWHILE)
    check()
    return await project.remove_user(user_id)
