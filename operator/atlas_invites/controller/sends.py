"""The sends of this process: one to an invitee at a time, and what is known of those that Atlas may not show yet."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from atlas_invites.failures import ClusterUnavailable, Failure
from atlas_invites.invitation.guard import CONFIRM_AFTER
from atlas_invites.invitation.model import INVITATION_LIFETIME, Api, Membership
from atlas_invites.invitation.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from atlas_invites.controller.attempt import Memory
    from atlas_invites.controller.ports import Atlas, Project
    from atlas_invites.invitation.case import Case
    from atlas_invites.invitation.model import Invitation, User

_ALREADY_IN = (
    "Atlas reports that this person already has access to the project{how}, but lists no direct membership and no "
    "invitation. Remove the person there, or delete this object; the operator looks again with every resync."
)


@dataclass(frozen=True, slots=True)
class _Sent:
    """The last send to an invitee: when (monotonic seconds), for which object, and whether Atlas responded."""

    at: float
    uid: str
    is_confirmed: bool


class Sends:
    """Sends invitations.

    Args:
        atlas: for its clock.
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
        """Hold the turn of an invitee. Yields whether it had to be waited for: then observe Atlas again."""
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
        """Take the last send to an invitee, for another object, for an unconfirmed one of this object.

        If this object ``is_alone`` in naming the invitee, a confirmed send is history, and no list has to show it.
        """
        memory.hidden_send_at = self._hidden.get(invitee, memory.hidden_send_at)
        sent = self._sent.get(invitee)
        if sent is not None and sent.uid != memory.uid and not (is_alone and sent.is_confirmed):
            memory.wait_from(sent.at)

    async def send(self, invitee: str, memory: Memory, case: Case, project: Project) -> Invitation | User:
        """Send the invitation and return what Atlas responded.

        Whatever else ends it, a bug or the end of the task, counts as an unconfirmed send.

        Raises:
            Failure: Atlas did not do it. ``unanswered``: it may have.
            ClusterUnavailable: the lease did not let it out.
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
        """Record that it is known what became of a send through the Invites API."""
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
        """Remember a send for as long as a list may not show it."""
        now = self._clock()
        self._sent.pop(invitee, None)
        self._sent[invitee] = _Sent(now, memory.uid, is_confirmed)
        while (oldest := next(iter(self._sent))) != invitee and self._sent[oldest].at <= now - CONFIRM_AFTER:
            del self._sent[oldest]


async def who_is_elsewhere(project: Project, username: str) -> frozenset[str]:
    """Return the ids of those with an e-mail who are in the project, also through a team or the organization."""
    found = await project.list_users(username, flatten_teams=True, include_org_users=True)
    return frozenset(user.id for user in found.read)


async def _explain_conflict(memory: Memory, username: str, project: Project, failure: Failure) -> None:
    """Let the first conflict be observed again; a second one with nothing to see is Atlas's last word.

    A person whose access comes only through a team or the organization is not shown.

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
    """Return whether lists of only the e-mail show a pending invitation or a member, or what cannot be read."""
    if project.api is Api.INVITES:
        invitations = await project.list_invites(username)
        if invitations.read or not invitations.complete:
            return True
    users = await project.list_users(username, flatten_teams=False, include_org_users=False)
    live = {Membership.ACTIVE, Membership.PENDING}
    return not users.complete or any(user.org_membership_status in live for user in users.read)
