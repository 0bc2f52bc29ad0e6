"""One project under one set of credentials: its view, and the calls that change it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from atlas_invites.atlas import calls
from atlas_invites.atlas.calls import Call, Endpoint, Entries
from atlas_invites.atlas.errors import AtlasUnavailable, Gone, VersionGone
from atlas_invites.atlas.view import Index, SharedLists, Snapshot, joined
from atlas_invites.invitation.model import Api, AtlasInfo, Invitation, Membership, Observation, Operation, User, View

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from atlas_invites.atlas.authenticated import AuthenticatedClient
    from atlas_invites.atlas.sunset import Sunset
    from atlas_invites.invitation.case import Target

EVERY_STATUS = [("orgMembershipStatuses", status.value) for status in Membership]
"""Without this filter Atlas shows only ACTIVE and PENDING."""
PAGE_SIZE = 500
"""The most that one page of the users list may hold."""
PAGES = 100
"""A list of more pages (50,000 users) is taken for a broken one."""

T = TypeVar("T")
E = TypeVar("E", bound=Invitation | User)


class Project:
    """Made by ``Atlas.project``. Every method raises a Failure (``atlas.errors``) where Atlas does not do it.

    Where a call is about one invitation or one user which is not there, it returns None (False for a removal) instead:
    look again. Ids are 24 hex digits, user names are e-mails.
    """

    def __init__(self, client: AuthenticatedClient, sunset: Sunset, group_id: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._sunset = sunset
        self.group_id = group_id
        self._lists = SharedLists(self._fetch, clock)

    @property
    def api(self) -> Api:
        """The API that this project's invitations go through now."""
        return self._sunset.api(self.group_id)

    @property
    def info(self) -> AtlasInfo:
        """The API in use, and what Atlas says of its end."""
        return self._sunset.info(self.group_id)

    async def look(self, target: Target, since: float, enough: Callable[[Observation], bool]) -> Observation:
        """Return every invitation and user that may be the one that is meant; which it is, is decided elsewhere.

        Args:
            target: what is looked for.
            since: monotonic seconds; nothing that was seen before is returned.
            enough: whether a view bears the decision. The lists lag, and their pages are not atomic: as long as their
                view is not enough, the ids and the e-mail are asked for (up to five calls). Then it is ``CONFIRMED``.

        Raises:
            AtlasUnavailable: an entry that may be the one that is meant cannot be read.
        """
        return await self.confirm(await self._lists.look(target, since), target, enough)

    async def confirm(self, seen: Observation, target: Target, enough: Callable[[Observation], bool]) -> Observation:
        """Return what the lists showed, with what more is asked for as long as that is not enough; see ``look``."""
        email = target.username or next((user.username for user in seen.users if user.username), None)
        # Invitations before users: one that is accepted meanwhile turns from the one into the other.
        asks: tuple[tuple[str | None, Callable[[str], Awaitable[Observation]]], ...] = (
            (target.invitation_id, self._by_id),
            (email if self.api is Api.INVITES else None, self._invitations_of),
            (target.member_id, self._member),
            (email, self._users_of),
            (target.shown_as, self._users_of),
        )
        for key, ask in asks:
            if enough(seen):
                return seen
            if key is not None:
                seen = joined(seen, await ask(key))
        return seen.model_copy(update={"view": View.CONFIRMED})

    async def snapshot(self, since: float) -> Snapshot:
        """Return both lists as they were after ``since`` (monotonic seconds). Who asks together, shares one fetch."""
        return await self._lists.get(since)

    async def read_project(self) -> None:
        """Read the project itself. A ProjectNotFound with ``GROUP_NOT_FOUND`` says that it does not exist."""
        await self._call(calls.READ_PROJECT)

    async def list_invites(self, username: str | None = None) -> Entries[Invitation]:
        """List the pending invitations of the invites API, or those of one e-mail."""
        return await self._call(calls.LIST_INVITES, query=_named(username))

    async def create_invite(self, username: str, roles: Iterable[str]) -> Invitation:
        """Invite an e-mail. A failure that is ``unanswered`` may have sent it all the same."""
        return await self._send(calls.CREATE_INVITE, username, roles)

    async def update_invite(self, invitation_id: str, roles: Iterable[str]) -> Invitation | None:
        """Replace the roles of a pending invitation."""
        return await self._change(calls.UPDATE_INVITE, invitation_id, {"roles": sorted(roles)})

    async def read_invite(self, invitation_id: str) -> Invitation | None:
        """Read one pending invitation."""
        return await _found(self._call(calls.READ_INVITE, invitation_id))

    async def cancel_invite(self, invitation_id: str) -> bool:
        """Cancel one pending invitation."""
        return await self._change(calls.CANCEL_INVITE, invitation_id) is not None

    async def list_users(
        self, username: str | None = None, *, flatten_teams: bool = False, include_org_users: bool = False
    ) -> Entries[User]:
        """List the users, or those of one e-mail, in every status; also who is in by a team or organisation."""
        query = [*_named(username), *EVERY_STATUS]
        query += [("flattenTeams", "true")] * flatten_teams + [("includeOrgUsers", "true")] * include_org_users
        found: dict[str, User] = {}
        complete = True
        for number in range(1, PAGES + 1):
            paged = [*query, ("itemsPerPage", str(PAGE_SIZE)), ("pageNum", str(number))]
            page = await self._call(calls.LIST_USERS, query=paged)
            before = len(found)
            found |= {user.id: user for user in page.users.read}
            complete = complete and page.users.complete
            more = page.size >= PAGE_SIZE or len(found) < (page.total or 0)
            if not more or len(found) == before:
                return Entries(tuple(found.values()), complete)
        raise AtlasUnavailable(Operation.LIST_USERS, "a list that does not end")

    async def add_user(self, username: str, roles: Iterable[str]) -> User:
        """Invite an e-mail through the users API. A failure that is ``unanswered`` may have sent it all the same."""
        return await self._send(calls.ADD_USER, username, roles)

    async def read_user(self, user_id: str) -> User | None:
        """Read one user, in any status."""
        return await _found(self._call(calls.READ_USER, user_id, query=EVERY_STATUS))

    async def remove_user(self, user_id: str) -> bool:
        """Remove one user, pending or active, from the project."""
        return await self._change(calls.REMOVE_USER, user_id) is not None

    async def add_role(self, user_id: str, role: str) -> User | None:
        """Add one role to a user."""
        return await self._change(calls.ADD_ROLE, user_id, {"groupRole": role})

    async def remove_role(self, user_id: str, role: str) -> User | None:
        """Remove one role from a user, who must keep at least one."""
        return await self._change(calls.REMOVE_ROLE, user_id, {"groupRole": role})

    async def aclose(self) -> None:
        """End the look-ups that are in flight."""
        await self._lists.aclose()

    async def _fetch(self) -> Snapshot:
        """Fetch both lists; the users list alone where the invites API is not in use, or turns out to have ended."""
        pending: Entries[Invitation] = Entries(())
        if self.api is Api.INVITES:
            with suppress(VersionGone):
                pending = await self.list_invites()
        found = await self.list_users()
        return Snapshot(Index(pending if self.api is Api.INVITES else Entries(())), Index(found))

    async def _by_id(self, entry_id: str) -> Observation:
        if self.api is Api.USERS:
            return await self._member(entry_id)
        invitation = await self.read_invite(entry_id)
        return Observation(invitations=() if invitation is None else (invitation,))

    async def _member(self, user_id: str) -> Observation:
        user = await self.read_user(user_id)
        return Observation(users=() if user is None else (user,))

    async def _invitations_of(self, email: str) -> Observation:
        return Observation(invitations=_all(await self.list_invites(email), Operation.LIST_INVITES))

    async def _users_of(self, email: str) -> Observation:
        return Observation(users=_all(await self.list_users(email), Operation.LIST_USERS))

    async def _call(
        self,
        endpoint: Endpoint[T],
        entry_id: str | None = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: dict[str, Any] | None = None,
    ) -> T:
        return await self._client.call(Call(endpoint, self.group_id, entry_id, query, body))

    async def _send(self, endpoint: Endpoint[T], username: str, roles: Iterable[str]) -> T:
        """Send an invitation, which may be there even if the call fails."""
        try:
            return await self._call(endpoint, body={"username": username, "roles": sorted(roles)})
        finally:
            self._lists.invalidate(username)

    async def _change(self, endpoint: Endpoint[T], entry_id: str, body: dict[str, Any] | None = None) -> T | None:
        """Change one invitation or user, and return None if it is not there."""
        try:
            return await _found(self._call(endpoint, entry_id, body=body))
        finally:
            self._lists.invalidate(entry_id)


async def _found(call: Awaitable[T]) -> T | None:
    """Return the result of a call about one invitation or user, or None if it is not there."""
    with suppress(Gone):
        return await call
    return None


def _named(username: str | None) -> list[tuple[str, str]]:
    return [] if username is None else [("username", username)]


def _all(entries: Entries[E], operation: Operation) -> tuple[E, ...]:
    """Return the entries of one e-mail.

    Raises:
        AtlasUnavailable: one of them cannot be read.
    """
    if not entries.complete:
        raise AtlasUnavailable(operation, "an entry that cannot be read")
    return entries.read
