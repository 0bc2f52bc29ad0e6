"""Sending an invitation: the one thing that may never happen twice.

A sending is guarded three times. The finalizer is on before it. Where a sending may have been under way that nobody
remembers (the finalizer is not from this process; a POST of ours got no answer), it waits a minute and looks again.
Where it may have been under way through the invites API, and only its successor can be looked at, nothing is sent until
it would have expired. And two objects never send to the same person at a time: who waited looks again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from atlas_invites.invitation.conditions import READY, STALLED
from atlas_invites.invitation.model import INVITATION_LIFETIME, Api, AtlasInfo, Membership, Origin
from atlas_invites.invitation.outcome import ClusterUnavailable, Failure, Kind, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from atlas_invites.controller.memory import Memory
    from atlas_invites.controller.ports import Atlas, Project
    from atlas_invites.invitation.case import Case
    from atlas_invites.invitation.model import Invitation, User

CONFIRM_AFTER = 60.0
"""Seconds that a sending nobody remembers may still take to show in Atlas."""

_UNDER_WAY = frozenset(reason for reason in Reason if reason.kind is Kind.RETRYING)
_CONFIRMING = (
    "An invitation may already have been sent. The operator checks Atlas again in a minute before sending one; "
    "no action is needed."
)
_LOST = (
    "An invitation may have been sent through the invites API, which has ended, so it can no longer be read. "
    "None is sent until that one would have expired; no action is needed."
)
_REFUSED = (
    "Atlas reports that this person already has access to the project{how}, but lists no direct membership and no "
    "invitation. Remove the person there, or delete this object; the operator looks again with every resync."
)


@dataclass(frozen=True, slots=True)
class _Sent:
    """The last sending to a person: when (monotonic seconds), for which object, and whether it was answered."""

    at: float
    uid: str
    answered: bool


class Sender:
    """Sends invitations, to one person of one project at a time.

    Args:
        atlas: for its clock.
        clock: monotonic seconds.
    """

    def __init__(self, atlas: Atlas, clock: Callable[[], float]) -> None:
        self._atlas = atlas
        self._clock = clock
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._sent: dict[str, _Sent] = {}
        self._lost: dict[str, datetime] = {}

    @asynccontextmanager
    async def one_at_a_time(self, person: str) -> AsyncIterator[bool]:
        """Hold the turn of a person of a project. Gives whether it had to be waited for: then look again."""
        lock, holders = self._locks.get(person, (asyncio.Lock(), 0))
        self._locks[person] = (lock, holders + 1)
        try:
            waited = lock.locked()
            async with lock:
                yield waited
        finally:
            lock, holders = self._locks.pop(person)
            if holders > 1:
                self._locks[person] = (lock, holders - 1)

    def heed_others(self, person: str, memory: Memory, *, alone: bool) -> None:
        """Let the last sending to a person, for another object, count as one of this object's that got no answer.

        Where this object is ``alone`` in naming the person, an answered one is history, and no list has to show it.
        """
        memory.lost_invite = self._lost.get(person, memory.lost_invite)
        sent = self._sent.get(person)
        if sent is not None and sent.uid != memory.uid and not (alone and sent.answered):
            memory.confirming_since = max(memory.confirming_since or sent.at, sent.at)

    async def post(self, person: str, memory: Memory, case: Case, project: Project) -> Invitation | User:
        """Send the invitation and return what Atlas answered.

        Whatever else ends it, a bug or the end of the task, counts as a sending without an answer.

        Raises:
            Failure: Atlas did not do it. ``unanswered``: it may have.
            ClusterUnavailable: it was not let out.
        """
        began, api = self._atlas.now().replace(microsecond=0), project.api
        if api is Api.INVITES:
            self.found(person, memory)  # where it was looked at, what was lost before has not come
        username, roles = case.spec.username or "", sorted(case.spec.roles)
        try:
            answer: Invitation | User = (
                await project.create_invite(username, roles)
                if api is Api.INVITES
                else await project.add_user(username, roles)
            )
        except Failure as failure:
            if failure.unanswered:
                self._doubt(person, memory, began, api)
            elif failure.error is not None and failure.error.error == HTTPStatus.CONFLICT:
                await _explain_conflict(memory, username, project, failure)
            raise
        except ClusterUnavailable:
            raise
        except BaseException:
            self._doubt(person, memory, began, api)
            raise
        memory.sent, memory.conflicted, memory.confirming_since = True, False, None
        memory.created.add(answer.id)
        self._remember(person, memory, answered=True)
        return answer

    def _doubt(self, person: str, memory: Memory, began: datetime, api: Api) -> None:
        """Remember a sending that may have been carried out."""
        if api is Api.INVITES:
            self._lost = {other: at for other, at in self._lost.items() if began < at + INVITATION_LIFETIME}
            self._lost[person] = memory.lost_invite = began
        memory.unanswered_since = memory.unanswered_since or began
        memory.confirming_since = self._clock()
        self._remember(person, memory, answered=False)

    def found(self, person: str, memory: Memory) -> None:
        """Take note that it is known what became of a sending through the invites API."""
        memory.lost_invite = None
        self._lost.pop(person, None)

    def _remember(self, person: str, memory: Memory, *, answered: bool) -> None:
        """Remember a sending for as long as a list may not show it."""
        now = self._clock()
        self._sent.pop(person, None)
        self._sent[person] = _Sent(now, memory.uid, answered)
        while (oldest := next(iter(self._sent))) != person and self._sent[oldest].at <= now - CONFIRM_AFTER:
            del self._sent[oldest]


async def _explain_conflict(memory: Memory, username: str, project: Project, failure: Failure) -> None:
    """Let the first conflict be looked at again; a second one with nothing to see is Atlas's last word.

    A person whose access comes only through a team or the organization is not shown.

    Raises:
        Failure: InvalidRequest.
    """
    if not memory.conflicted:
        memory.conflicted = True
        return
    if await _is_there(project, username):
        return
    memory.elsewhere = await who_is_elsewhere(project, username)
    how = ", through a team or the organization" if memory.elsewhere else ""
    raise Failure(Reason.INVALID_REQUEST, _REFUSED.format(how=how), error=failure.error)


async def _is_there(project: Project, username: str) -> bool:
    """Return whether lists of only the e-mail show a pending invitation or a member, or what cannot be read."""
    if project.api is Api.INVITES:
        invitations = await project.list_invites(username)
        if invitations.read or not invitations.complete:
            return True
    users = await project.list_users(username, flatten_teams=False, include_org_users=False)
    live = {Membership.ACTIVE, Membership.PENDING}
    return not users.complete or any(user.org_membership_status in live for user in users.read)


async def who_is_elsewhere(project: Project, username: str) -> frozenset[str]:
    """Return the ids of those with an e-mail who are in the project, also through a team or the organization."""
    found = await project.list_users(username, flatten_teams=True, include_org_users=True)
    return frozenset(user.id for user in found.read)


def begin_wait(memory: Memory, now: float) -> None:
    """Let an object wait before it sends, from now on (monotonic seconds), unless it does already."""
    if memory.confirming_since is None:
        memory.confirming_since = now


def hold_back(memory: Memory, case: Case, since: float, now: float) -> Outcome | None:
    """Hold a sending back that must wait: return its outcome, or None where the way is free.

    Args:
        memory: the object's.
        case: what asks for a sending.
        since: as of when Atlas was seen (monotonic seconds): it counts only after the wait.
        now: monotonic seconds.
    """
    if (lost := _recall_lost_invite(memory, case)) is not None and case.now < lost + INVITATION_LIFETIME:
        return Outcome(Reason.LEGACY_INVITATION, _LOST, atlas=_as_of_invites(case.known.atlas))
    remembered = memory.finalizer_ours and (memory.sent or not case.had_one)
    if memory.confirming_since is None:
        if remembered:
            return None
        memory.confirming_since = now
    left = memory.confirming_since + CONFIRM_AFTER - since
    return Outcome(Reason.CONFIRMING_INVITATION, _CONFIRMING, requeue_after=left) if left > 0 else None


def _recall_lost_invite(memory: Memory, case: Case) -> datetime | None:
    """Return when an invitation may have been sent that users mode cannot see, or None.

    What a former process lost shows on status: it was written while the invites API was in use, and has no invitation,
    or a sending was to come. It is kept so until the invitation would have expired.
    """
    known = case.known
    if case.api is not Api.USERS:
        return None
    former = not memory.finalizer_ours and not memory.sent and known.atlas is not None
    if memory.lost_invite is None and former and known.atlas == _as_of_invites(known.atlas):
        ready, stalled = known.condition(READY), known.condition(STALLED)
        if ready is not None and ready.reason == Reason.LEGACY_INVITATION and stalled is not None:
            memory.lost_invite = datetime.fromisoformat(stalled.last_transition_time)
        elif not case.had_one or (ready is not None and ready.reason in _UNDER_WAY):
            memory.lost_invite = case.now
    return memory.lost_invite


def _as_of_invites(known: AtlasInfo | None) -> AtlasInfo:
    """Return ``status.atlas`` as it is while the invites API is in use: it says so until nothing may be lost."""
    return (known or AtlasInfo()).model_copy(update={"api": Api.INVITES})


def origin_of(memory: Memory, invitation: Invitation) -> Origin:
    """Return whether our own sending made this invitation, as far as this process can know."""
    if invitation.id in memory.created:
        return Origin.CREATED
    created, unanswered = invitation.created, memory.unanswered_since
    return Origin.CREATED if created and unanswered and created >= unanswered else Origin.ADOPTED
