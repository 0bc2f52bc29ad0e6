"""The sends of this process: one at a time to an invitee. It remembers the sends that Atlas may not show yet."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.case import is_same_user
from atlas_invites.invitation.guard import (
    CONFIRM_AFTER,
    SendCase,
    Verdict,
    guard,
    hold_outcome,
    is_hidden,
    recall_hidden_send,
    wait_outcome,
)
from atlas_invites.invitation.model import INVITATION_LIFETIME, Api, Membership, State
from atlas_invites.invitation.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.controller.memory import Memory
    from atlas_invites.controller.ports import Atlas, Project
    from atlas_invites.invitation.case import Case
    from atlas_invites.invitation.model import Invitation, User
    from atlas_invites.invitation.outcome import Outcome

_ALREADY_IN = (
    "Atlas reports that this person already has access to the project{how}, but lists no direct membership and no "
    "invitation. Remove that access in Atlas, or delete this object. The operator checks again with every resync."
)


ACCEPTED_MEANWHILE = (
    "The invitation may just have been accepted. The operator observes Atlas again; no action is needed."
)


@dataclass(frozen=True, slots=True)
class _Sent:
    """The last send to an invitee: the time (monotonic seconds), the object, and whether Atlas responded."""

    at: float
    uid: str
    is_confirmed: bool


class Sends:
    """Sends invitations.

    Args:
        atlas: returns Atlas's time.
        clock: monotonic seconds.
    """

    def __init__(self, atlas: Atlas, clock: Callable[[], float]) -> None:
        self._atlas = atlas
        self._clock = clock
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._sent: dict[str, _Sent] = {}
        self._hidden: dict[str, datetime] = {}

    @asynccontextmanager
    async def one_at_a_time(self, invitee: str) -> AsyncIterator[bool]:
        """Hold the lock of an invitee. Yields whether it had to wait: then Atlas must be observed again."""
        lock, holders = self._locks.get(invitee, (asyncio.Lock(), 0))
        self._locks[invitee] = (lock, holders + 1)
        try:
            waited = lock.locked()
            async with lock:
                yield waited
        finally:
            lock, holders = self._locks.pop(invitee)
            if holders > 1:
                self._locks[invitee] = (lock, holders - 1)

    def recall(self, invitee: str, memory: Memory, *, is_alone: bool) -> None:
        """Treat the last send to the invitee for another object as an unconfirmed send of this object.

        If no other object names the invitee (``is_alone``), a confirmed send does not count: its object is gone, and
        lists need not show its invitation.
        """
        memory.hidden_send_at = self._hidden.get(invitee, memory.hidden_send_at)
        sent = self._sent.get(invitee)
        if sent is not None and sent.uid != memory.uid and not (is_alone and sent.is_confirmed):
            memory.wait_from(sent.at)

    async def send(self, invitee: str, memory: Memory, case: Case, project: Project) -> Invitation | User:
        """Send the invitation and return the response of Atlas.

        Any other exception, such as a bug or the end of the task, counts as an unconfirmed send.

        Raises:
            Failure: the send failed. If it is ``unanswered``, the send is unconfirmed.
            ClusterUnavailable: the lease was not held, so nothing was sent.
        """
        began, api = self._atlas.now().replace(microsecond=0), project.api
        if api is Api.INVITES:
            self.confirm(invitee, memory)  # Atlas was observed: an unconfirmed send would have been seen
        username, roles = case.spec.username or "", sorted(case.spec.roles)
        try:
            response: Invitation | User = (
                await project.create_invite(username, roles)
                if api is Api.INVITES
                else await project.add_user(username, roles)
            )
        except Failure as failure:
            if failure.unanswered:
                self._note_unconfirmed(invitee, memory, began, api)
            elif failure.error is not None and failure.error.error == HTTPStatus.CONFLICT:
                await _explain_conflict(memory, username, project, failure)
            raise
        except ClusterUnavailable:
            raise
        except BaseException:
            self._note_unconfirmed(invitee, memory, began, api)
            raise
        memory.has_sent, memory.has_conflicted, memory.unconfirmed_since = True, False, None
        memory.created.add(response.id)
        self._remember(invitee, memory, is_confirmed=True)
        return response

    def confirm(self, invitee: str, memory: Memory) -> None:
        """Record that the result of a send through the Invites API is known."""
        memory.hidden_send_at = None
        self._hidden.pop(invitee, None)

    def _note_unconfirmed(self, invitee: str, memory: Memory, began: datetime, api: Api) -> None:
        if api is Api.INVITES:
            self._hidden = {other: at for other, at in self._hidden.items() if began < at + INVITATION_LIFETIME}
            self._hidden[invitee] = memory.hidden_send_at = began
        memory.unconfirmed_send_at = memory.unconfirmed_send_at or began
        memory.unconfirmed_since = self._clock()
        self._remember(invitee, memory, is_confirmed=False)

    def _remember(self, invitee: str, memory: Memory, *, is_confirmed: bool) -> None:
        """Remember a send for as long as lists may not show it."""
        now = self._clock()
        self._sent.pop(invitee, None)
        self._sent[invitee] = _Sent(now, memory.uid, is_confirmed)
        while (oldest := next(iter(self._sent))) != invitee and self._sent[oldest].at <= now - CONFIRM_AFTER:
            del self._sent[oldest]


def withhold_send(attempt: Attempt, refused: Outcome | None = None) -> Outcome | None:
    """Return None if the guard (``invitation.guard``) allows to send now, else the outcome of the object.

    Args:
        attempt: the try.
        refused: the outcome of this send if Atlas has refused it.
    """
    memory, case = attempt.memory, attempt.decision.case
    is_unknown = not memory.is_only_sender and not memory.has_sent
    if case.api is Api.USERS and memory.hidden_send_at is None and is_unknown:
        memory.hidden_send_at = recall_hidden_send(case)
    send_case = SendCase(
        is_refused=refused is not None,
        is_hidden=is_hidden(case, memory.hidden_send_at),
        unconfirmed_for=None if memory.unconfirmed_since is None else attempt.since - memory.unconfirmed_since,
        is_first=memory.is_only_sender and (memory.has_sent or not case.had_one),
    )
    match guard(send_case):
        case Verdict.REFUSE:
            return refused
        case Verdict.HOLD_UNTIL_EXPIRY:
            return hold_outcome(attempt.known.atlas)
        case Verdict.WAIT_AND_CONFIRM:
            began = attempt.collaborators.clock() if memory.unconfirmed_since is None else memory.unconfirmed_since
            memory.unconfirmed_since = began
            return wait_outcome(began + CONFIRM_AFTER - attempt.since)
        case Verdict.SEND_NOW:
            return None


def recall_other_sends(attempt: Attempt) -> None:
    """Treat a send for another object that names the invitee as an unconfirmed send of this object.

    Call this after the last observation, right before ``withhold_send``. An earlier process may have sent for another
    object that has, or had until it was deleted, a finalizer that this process did not add, and whose status shows no
    result. A pending invitation of another object in the ended Invites API counts too.
    """
    key, memory, collaborators = attempt.resource.key, attempt.memory, attempt.collaborators
    collaborators.sends.recall(attempt.invitee, memory, is_alone=attempt.claims.is_alone(key))
    for rival in filter(None, map(collaborators.store.get, attempt.claims.rivals(key))):
        status = rival.status
        known = status.invitation
        if status.state is State.PENDING and known is not None and _is_hidden_now(attempt, known):
            memory.hidden_send_at = known.created or collaborators.atlas.now()
        is_silent = known is None and status.member is None
        if rival.has_finalizer and is_silent and not collaborators.memories.of(rival).is_only_sender:
            memory.unconfirmed_since = memory.unconfirmed_since or collaborators.clock()
    if (gone_at := attempt.claims.doubtful_since(key)) is not None:
        memory.wait_from(gone_at)


def _is_hidden_now(attempt: Attempt, invitation: Invitation) -> bool:
    return invitation.api is Api.INVITES and attempt.project.api is Api.USERS


async def cancel(attempt: Attempt, invitation: Invitation, check: Callable[[Attempt], None]) -> bool:
    """Cancel a pending invitation, and return whether it existed. For ``check`` see ``remove_user``.

    Raises:
        Failure: the request failed, or the invitation was just accepted.
        Stale: the object has changed meanwhile.
    """
    if invitation.api is Api.USERS:
        return await remove_user(attempt, invitation.id, Membership.PENDING, check)
    check(attempt)
    return await attempt.project.cancel_invite(invitation.id)


async def remove_user(attempt: Attempt, user_id: str, membership: Membership, check: Callable[[Attempt], None]) -> bool:
    """Remove a user who is still as observed: the same call would remove the access of a person who has just accepted.

    Args:
        attempt: the try.
        user_id: the id of the user.
        membership: the membership status as observed.
        check: called right before the removal; raises ``Stale`` if it is no longer wanted.

    Returns:
        Whether the user existed.

    Raises:
        Failure: the request failed, or the user is not as observed.
        Stale: the object has changed meanwhile.
    """
    user = await attempt.project.read_user(user_id)
    if user is None:
        return False
    if not is_same_user(user, membership, attempt.decision.case.found_by_email):
        raise Failure(Reason.CONFLICT, ACCEPTED_MEANWHILE)
    check(attempt)
    return await attempt.project.remove_user(user_id)


async def who_is_elsewhere(project: Project, username: str) -> frozenset[str]:
    """Return the ids of the users with an e-mail in the project, also those through a team or the organization."""
    found = await project.list_users(username, flatten_teams=True, include_org_users=True)
    return frozenset(user.id for user in found.read)


async def _explain_conflict(memory: Memory, username: str, project: Project, failure: Failure) -> None:
    """Record the first conflict, after which Atlas is observed again. If a second one has no visible cause, raise.

    The lists do not show a person who has access only through a team or the organization.

    Raises:
        Failure: InvalidRequest.
    """
    if not memory.has_conflicted:
        memory.has_conflicted = True
        return
    if await _is_listed(project, username):
        return
    memory.elsewhere = await who_is_elsewhere(project, username)
    how = ", through a team or the organization" if memory.elsewhere else ""
    raise Failure(Reason.INVALID_REQUEST, _ALREADY_IN.format(how=how), error=failure.error)


async def _is_listed(project: Project, username: str) -> bool:
    """Return whether lists of the e-mail show a pending invitation, a member, or an entry that cannot be read."""
    if project.api is Api.INVITES:
        invitations = await project.list_invites(username)
        if invitations.read or not invitations.complete:
            return True
    users = await project.list_users(username, flatten_teams=False, include_org_users=False)
    live = {Membership.ACTIVE, Membership.PENDING}
    return not users.complete or any(user.org_membership_status in live for user in users.read)
