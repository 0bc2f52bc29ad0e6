"""One project under one set of credentials: its lists, and the calls that change it."""

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
"""The maximum size of a page of the list of users."""
PAGES = 100
"""A list with more pages (50,000 users) counts as broken."""

T = TypeVar("T")
E = TypeVar("E", bound=Invitation | User)


class Project:
    """One project; get it from ``Atlas.project``. Every method raises an AtlasFailure (``atlas.errors``) if it fails.

    A call for one invitation or user that does not exist returns None instead, or False for a removal: observe again.
    Ids are 24 hex digits, user names are e-mails.
    """

    def __init__(self, client: AuthenticatedClient, sunset: Sunset, group_id: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._sunset = sunset
        self.group_id = group_id
        self._lists = SharedLists(self._fetch, clock)

    @property
    def api(self) -> Api:
        """The API that is in use for this project now."""
        return self._sunset.api(self.group_id)

    @property
    def info(self) -> AtlasInfo:
        """The API in use, and what Atlas says about its end."""
        return self._sunset.info(self.group_id)

    async def look(self, target: Target, since: float, enough: Callable[[Observation], bool]) -> Observation:
        """Return every invitation and user that may be the target. The caller decides which of them it is.

        Args:
            target: what to look for.
            since: monotonic seconds; the result is not older.
            enough: whether an observation is sufficient for the decision. The lists lag, and their pages are not
                atomic: until the observation is sufficient, ids and e-mail are requested individually (up to five
                calls). After all of these calls the view is ``CONFIRMED``.

        Raises:
            AtlasUnavailable: an entry that may be the target cannot be read.
        """
        return await self.confirm(await self._lists.look(target, since), target, enough)

    async def confirm(self, seen: Observation, target: Target, enough: Callable[[Observation], bool]) -> Observation:
        """Return what the lists showed, completed by further calls until that is sufficient; see ``look``."""
        email = target.username or next((user.username for user in seen.users if user.username), None)
        # Invitations before users: an invitation that is accepted in between becomes a user.
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
        """Return both lists, fetched at or after ``since`` (monotonic seconds). Concurrent callers share one fetch."""
        return await self._lists.get(since)

    async def read_project(self) -> None:
        """Read the project itself. A ProjectNotFound with ``GROUP_NOT_FOUND`` means that it does not exist."""
        await self._call(calls.READ_PROJECT)

    async def list_invites(self, username: str | None = None) -> Entries[Invitation]:
        """List the pending invitations of the Invites API, or only those of one e-mail."""
        return await self._call(calls.LIST_INVITES, query=_named(username))

    async def create_invite(self, username: str, roles: Iterable[str]) -> Invitation:
        """Send an invitation through the Invites API. It may have been sent if the failure is ``unanswered``."""
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
        """List the users in every status, or those of one e-mail; optionally also users of teams or organization."""
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
        """Send an invitation through the Users API. It may have been sent if the failure is ``unanswered``."""
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
        """Remove one role from a user. The user must keep at least one."""
        return await self._change(calls.REMOVE_ROLE, user_id, {"groupRole": role})

    async def aclose(self) -> None:
        """Cancel the fetches in progress."""
        await self._lists.aclose()

    async def _fetch(self) -> Snapshot:
        """Fetch both lists; only the list of users if the Invites API is not in use, or turns out to have ended."""
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
        """Send an invitation. Invalidate the lists, also if the call fails: it may have been sent."""
        try:
            return await self._call(endpoint, body={"username": username, "roles": sorted(roles)})
        finally:
            self._lists.invalidate(username)

    async def _change(self, endpoint: Endpoint[T], entry_id: str, body: dict[str, Any] | None = None) -> T | None:
        """Change one invitation or user. Return None if it does not exist."""
        try:
            return await _found(self._call(endpoint, entry_id, body=body))
        finally:
            self._lists.invalidate(entry_id)


async def _found(call: Awaitable[T]) -> T | None:
    """Return the result of a call for one invitation or user, or None if it does not exist."""
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
