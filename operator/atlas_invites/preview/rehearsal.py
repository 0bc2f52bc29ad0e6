"""Atlas for a rehearsal of the controller: it is read, but never written.

The phases of a reconcile are those of the operator, so a rehearsal makes the same decisions. A write to Atlas is
recorded and succeeds: its response is made from the request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from atlas_invites.atlas.errors import AtlasFailure
from atlas_invites.failures import Failure
from atlas_invites.invitation.case import Target
from atlas_invites.invitation.email import email_key
from atlas_invites.invitation.model import INVITATION_LIFETIME, Api, Invitation, Membership, Operation, User
from atlas_invites.terminal import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from atlas_invites.atlas.client import Atlas
    from atlas_invites.atlas.project import Project
    from atlas_invites.atlas.view import Snapshot
    from atlas_invites.controller import ports
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import AtlasInfo, Observation


class Write(NamedTuple):
    """A write to Atlas that the operator would make.

    ``entry`` is an e-mail for a send, else the id of an invitation or user. ``before`` has the roles before the write.
    """

    operation: Operation
    entry: str
    before: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    is_about_member: bool = False


@dataclass(slots=True)
class Observed:
    """One project: read once for every object and every step of the rehearsal, with what the rehearsal has written.

    Attributes:
        since: when the rehearsal began (monotonic seconds): what was read from then on counts.
        invitations: by ID, what was read and then changed by the rehearsal; None for a canceled one.
        users: the same; None for a removed one.
    """

    project: Project
    since: float
    invitations: dict[str, Invitation | None] = field(default_factory=dict)
    users: dict[str, User | None] = field(default_factory=dict)
    _lists: Snapshot | None = None
    _failure: Failure | None = None

    async def lists(self) -> Snapshot:
        """Return everything in the project; it is read only once.

        Raises:
            Failure: the project could not be read; the message is for the terminal.
        """
        if self._lists is None and self._failure is None:
            try:
                self._lists = await self.project.snapshot(self.since)
            except AtlasFailure as failure:
                self._failure = Failure(failure.reason, explained(failure), error=failure.error)
        if self._lists is None:
            raise self._failure or AssertionError("a project is read, or fails")
        return self._lists

    async def look(self, target: Target, enough: Callable[[Observation], bool]) -> Observation:
        """Return what the project shows of a target by now; see ``ports.Project.look``.

        Raises:
            Failure: the project could not be read.
        """
        seen = await self.project.confirm((await self.lists()).find(target), target, enough)
        current = {
            "invitations": _current(self.invitations, seen.invitations),
            "users": _current(self.users, seen.users),
        }
        return seen.model_copy(update=current)

    async def invitation(self, invitation_id: str) -> Invitation | None:
        """Return a pending invitation of the Invites API by its ID, or None."""
        if invitation_id not in self.invitations:
            await self.look(Target(invitation_id=invitation_id), lambda seen: bool(seen.invitations))
        return self.invitations.get(invitation_id)

    async def user(self, user_id: str) -> User | None:
        """Return a user by its ID, or None."""
        if user_id not in self.users:
            self.users[user_id] = await self.project.read_user(user_id)
        return self.users[user_id]


class _Entry(Protocol):
    """An invitation or a user."""

    @property
    def id(self) -> str: ...


_AnyEntry = TypeVar("_AnyEntry", bound=_Entry)


def _current(known: dict[str, _AnyEntry | None], read: Iterable[_AnyEntry]) -> tuple[_AnyEntry, ...]:
    """Return entries that were read as they are by now, and record those that were read for the first time."""
    return tuple(entry for one in read if (entry := known.setdefault(one.id, one)) is not None)


class RehearsedAtlas:
    """Atlas for the rehearsal of one object: its writes are recorded.

    Args:
        atlas: the real Atlas.
        projects: the projects that were read, for all objects.
        since: when the rehearsal began (monotonic seconds).
    """

    def __init__(self, atlas: Atlas, projects: dict[str, Observed], since: float) -> None:
        self.writes: list[Write] = []
        self._atlas = atlas
        self._projects = projects
        self._since = since

    def now(self) -> datetime:
        """Return Atlas's time, UTC."""
        return self._atlas.now()

    def project(self, credentials: Credentials, group_id: str) -> RehearsedProject:
        """Return a project that records its writes."""
        if group_id not in self._projects:
            self._projects[group_id] = Observed(self._atlas.project(credentials, group_id), self._since)
        return RehearsedProject(self._projects[group_id], self.writes, self._atlas.now)


class RehearsedProject:
    """One project: reads are real, writes are recorded. See ``ports.Project``."""

    def __init__(self, observed: Observed, writes: list[Write], now: Callable[[], datetime]) -> None:
        self._observed = observed
        self._real = observed.project
        self._writes = writes
        self._now = now

    @property
    def group_id(self) -> str:
        """Its id."""
        return self._real.group_id

    @property
    def api(self) -> Api:
        """The API in use for this project."""
        return self._real.api

    @property
    def info(self) -> AtlasInfo:
        """The API in use, and what Atlas says about its end."""
        return self._real.info

    async def look(self, target: Target, since: float, enough: Callable[[Observation], bool]) -> Observation:
        """Return what was read since the rehearsal began, whatever the simulated time of this look is."""
        del since
        return await self._observed.look(target, enough)

    async def snapshot(self, since: float) -> ports.Snapshot:
        """Return everything in the project."""
        return await self._real.snapshot(since)

    async def read_project(self) -> None:
        """Read the project itself."""
        await self._real.read_project()

    async def list_invites(self, username: str) -> ports.Entries[Invitation]:
        """List the pending invitations of an e-mail."""
        return await self._real.list_invites(username)

    async def list_users(self, username: str, *, flatten_teams: bool, include_org_users: bool) -> ports.Entries[User]:
        """List the users of an e-mail."""
        return await self._real.list_users(username, flatten_teams=flatten_teams, include_org_users=include_org_users)

    async def read_user(self, user_id: str) -> User | None:
        """Return a user, or None."""
        return await self._observed.user(user_id)

    async def create_invite(self, username: str, roles: Iterable[str]) -> Invitation:
        """Record a send through the Invites API."""
        self._record(Operation.CREATE_INVITE, username, roles=roles)
        created, expires = self._times()
        return Invitation(
            id=f"planned for {email_key(username)}",
            username=username,
            roles=tuple(roles),
            created_at=created,
            expires_at=expires,
        )

    async def add_user(self, username: str, roles: Iterable[str]) -> User:
        """Record a send through the Users API. Only Atlas knows whether the person would join at once."""
        self._record(Operation.ADD_USER, username, roles=roles)
        created, expires = self._times()
        return User(
            id=f"planned for {email_key(username)}",
            username=username,
            roles=tuple(roles),
            org_membership_status=Membership.PENDING,
            invitation_created_at=created,
            invitation_expires_at=expires,
        )

    async def update_invite(self, invitation_id: str, roles: Iterable[str]) -> Invitation | None:
        """Record new roles of a pending invitation, if there is one."""
        invitation = await self._observed.invitation(invitation_id)
        if invitation is None:
            return None
        self._record(Operation.UPDATE_INVITE, invitation_id, invitation.roles, roles)
        updated = invitation.model_copy(update={"roles": tuple(sorted(roles))})
        self._observed.invitations[invitation_id] = updated
        return updated

    async def cancel_invite(self, invitation_id: str) -> bool:
        """Record a cancellation, if there is such an invitation."""
        invitation = await self._observed.invitation(invitation_id)
        if invitation is None:
            return False
        self._record(Operation.CANCEL_INVITE, invitation_id, invitation.roles)
        self._observed.invitations[invitation_id] = None
        return True

    async def remove_user(self, user_id: str) -> bool:
        """Record a removal, if there is such a user."""
        user = await self.read_user(user_id)
        if user is None:
            return False
        is_member = user.org_membership_status == Membership.ACTIVE
        self._writes.append(Write(Operation.REMOVE_USER, user_id, frozenset(user.roles), is_about_member=is_member))
        self._observed.users[user_id] = None
        return True

    async def add_role(self, user_id: str, role: str) -> User | None:
        """Record the addition of a role."""
        return await self._set_roles(Operation.ADD_ROLE, user_id, {role}, frozenset())

    async def remove_role(self, user_id: str, role: str) -> User | None:
        """Record the removal of a role."""
        return await self._set_roles(Operation.REMOVE_ROLE, user_id, frozenset(), {role})

    async def _set_roles(
        self, operation: Operation, user_id: str, added: Iterable[str], removed: Iterable[str]
    ) -> User | None:
        user = await self.read_user(user_id)
        if user is None:
            return None
        roles = frozenset(user.roles).union(added).difference(removed)
        self._record(operation, user_id, user.roles, roles)
        updated = user.model_copy(update={"roles": tuple(sorted(roles))})
        self._observed.users[user_id] = updated
        return updated

    def _record(self, operation: Operation, entry: str, before: Iterable[str] = (), roles: Iterable[str] = ()) -> None:
        self._writes.append(Write(operation, entry, frozenset(before), frozenset(roles)))

    def _times(self) -> tuple[str, str]:
        now = self._now()
        return now.isoformat(), (now + INVITATION_LIFETIME).isoformat()
