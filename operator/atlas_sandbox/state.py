"""The state machine: one organisation, its members and its projects, and the transitions of their records.

Pure: no I/O, the clock and the ids come from outside. `invites`, `users`, `people` are the calls and acts made of it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from atlas_sandbox.errors import AtlasError
from atlas_sandbox.model import LIFETIME, Api, Ended, How, Invitation, Membership, User, email_key
from atlas_sandbox.project import Lag, Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


@dataclass(slots=True)
class Rules:
    """What Atlas does where its documents do not say."""

    duplicate_invite: Literal["same", "new", "reject", "conflict"] = "same"
    """A second invites POST for a pending e-mail: 200 with the same id, 200 with a new one, 400, 409."""
    member_invite: Literal["active", "pending"] = "active"
    """An invites POST for someone of the organisation: in the project at once, or pending like anybody."""
    missing_rights: Literal["named", "unauthorized"] = "named"
    """A call without rights to the project: 404 NOT_IN_GROUP or 403 USER_UNAUTHORIZED; or 401 without a challenge."""
    dropped_roles: frozenset[str] = frozenset()
    """Roles that Atlas leaves out of what a write asks for, unless none would be left."""
    added_roles: tuple[str, ...] = ()
    """Roles that Atlas adds to what a write asks for."""
    unknown_roles: frozenset[str] = frozenset()
    """Roles that Atlas does not know: it rejects what grants them."""

    def granted(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """Return the roles that Atlas keeps, and shows, when a write asks for these.

        Raises:
            AtlasError: 400 INVALID_ENUM_VALUE.
        """
        for role in roles:
            if role in self.unknown_roles:
                raise AtlasError("INVALID_ENUM_VALUE", role, fields=(("roles", "unknown role"),))
        kept = (role for role in (*roles, *self.added_roles) if role not in self.dropped_roles)
        return tuple(dict.fromkeys(kept)) or roles


class State:
    """One organisation. `now` gives the time (UTC), `new_id` an id of 24 hex digits that it never gave before."""

    def __init__(self, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self.now = now
        self.new_id = new_id
        self.rules = Rules()
        self.lag = Lag()
        self.org_id = new_id()
        self.projects: dict[str, Project] = {}
        self.members: dict[str, str] = {}
        """The organisation's members: e-mail in lower case, id."""
        self._deadlines: list[tuple[datetime, str, Api, str]] = []

    def add_project(self, project_id: str, name: str) -> Project:
        """A new, empty project (or the one that has this id already)."""
        project = self.projects.get(project_id)
        if project is None:
            project = self.projects[project_id] = Project(project_id, name, self.org_id, self._second())
            project.lag(self.lag)
        return project

    def project(self, project_id: str) -> Project:
        """A project as it is now: what is due by the clock has expired in it.

        Raises:
            AtlasError: 404 GROUP_NOT_FOUND.
        """
        self._expire_due()
        project = self.projects.get(project_id)
        if project is None:
            raise AtlasError("GROUP_NOT_FOUND", project_id)
        return project

    def set_lag(self, lag: Lag) -> None:
        """Let the lists of every project, present and future, lag."""
        self.lag = lag
        for project in self.projects.values():
            project.lag(lag)

    def join_organisation(self, email: str) -> str:
        """Make somebody a member; the member's id. What the users API left pending becomes ACTIVE in every project."""
        self._expire_due()
        member_id = self.members.setdefault(email_key(email), self.person_id(email))
        for project, user in self.users_of(email, Membership.PENDING):
            self.activate(project, user.username, user.roles)
        return member_id

    def leave_organisation(self, email: str) -> None:
        """Take somebody out of the organisation, and so out of every project."""
        self.members.pop(email_key(email), None)
        for project in self.projects.values():
            project.indirect.pop(email_key(email), None)
        for project, user in self.users_of(email, Membership.ACTIVE):
            self.end_user(project, user, "removed")

    def rename_member(self, email: str, new_email: str) -> str:
        """Give a member another e-mail in every project, and return the member's id, which stays.

        Raises:
            AtlasError: 404 RESOURCE_NOT_FOUND: no member has the e-mail; 409 USERNAME_IN_USE: the new one is in use.
        """
        self._expire_due()
        member_id = self.members.get(email_key(email))
        if member_id is None:
            raise AtlasError("RESOURCE_NOT_FOUND", email)
        if email_key(new_email) != email_key(email) and self._is_in_use(new_email):
            raise AtlasError("USERNAME_IN_USE", new_email)
        del self.members[email_key(email)]
        self.members[email_key(new_email)] = member_id
        for project in self.projects.values():
            user = project.users.get(member_id)
            if user is not None:
                project.users.drop(user, self.now())
                project.users.put(replace(user, username=new_email), self.now())
            if email_key(email) in project.indirect:
                user, via = project.indirect.pop(email_key(email))
                project.indirect[email_key(new_email)] = (replace(user, username=new_email), via)
        return member_id

    def person_id(self, email: str) -> str:
        """The id by which the users API knows a person in every project; a new one for a stranger."""
        known = self.members.get(email_key(email))
        pending = [] if known else self.users_of(email, Membership.PENDING)
        return known or (pending[0][1].id if pending else self.new_id())

    def users_of(self, email: str, status: Membership) -> list[tuple[Project, User]]:
        """Where, in the organisation, the e-mail has this status."""
        found = ((project, project.users.of(email)) for project in self.projects.values())
        return [(project, user) for project, user in found if user is not None and user.status is status]

    def invite(self, project: Project, username: str, roles: tuple[str, ...], inviter: str) -> Invitation:
        """Send an invitation of the invites API, in the place of the one that the e-mail may have."""
        now = self._second()
        invitation = Invitation(self.new_id(), username, roles, inviter, now, now + LIFETIME)
        project.invitations.put(invitation, self.now())
        heapq.heappush(self._deadlines, (invitation.expires_at, project.id, Api.INVITES, invitation.id))
        return invitation

    def invite_user(self, project: Project, username: str, roles: tuple[str, ...], inviter: str) -> User:
        """Send an invitation of the users API, in the place of a user whose invitation ended."""
        now = self._second()
        user = User(self.person_id(username), username, roles, Membership.PENDING, inviter, now, now + LIFETIME)
        project.users.put(user, self.now())
        heapq.heappush(self._deadlines, (now + LIFETIME, project.id, Api.USERS, user.id))
        return user

    def activate(self, project: Project, username: str, roles: tuple[str, ...]) -> User:
        """Make somebody ACTIVE in a project, a member of the organisation, and pending in neither API."""
        now = self._second()
        before = project.users.of(username)
        member_id = self.members.setdefault(email_key(username), self.person_id(username))
        invited_at = now if before is None else before.invited_at
        user = User(member_id, username, roles, Membership.ACTIVE, "", invited_at, joined_at=now)
        if before is not None and before.status is Membership.PENDING:
            self._ended(project, Api.USERS, before, "accepted")
        project.users.put(user, self.now())
        invitation = project.invitations.of(username)
        if invitation is not None:
            self.end_invite(project, invitation, "accepted")
        return user

    def change_invite(self, project: Project, invitation: Invitation, roles: tuple[str, ...]) -> Invitation:
        """Replace the roles of a pending invitation; everything else stays."""
        changed = replace(invitation, roles=roles)
        project.invitations.put(changed, self.now())
        return changed

    def change_user(self, project: Project, user: User, roles: tuple[str, ...]) -> User:
        """Replace the roles of a user; everything else stays."""
        changed = replace(user, roles=roles)
        project.users.put(changed, self.now())
        return changed

    def end_invite(self, project: Project, invitation: Invitation, how: How) -> None:
        """An invitation of the invites API is over: nothing of it can be seen any more."""
        project.invitations.drop(invitation, self.now())
        self._ended(project, Api.INVITES, invitation, how)

    def end_user(self, project: Project, user: User, how: How) -> None:
        """A user, pending or active, leaves the project without a trace."""
        project.users.drop(user, self.now())
        self._ended(project, Api.USERS, user, how)

    def expire_user(self, project: Project, user: User) -> None:
        """An invitation of the users API expires: it shows as INVITATION_EXPIRED."""
        expires_at = min(user.expires_at or self._second(), self._second())
        expired = replace(user, status=Membership.INVITATION_EXPIRED, expires_at=expires_at)
        project.users.put(expired, self.now())
        self._ended(project, Api.USERS, user, "expired")

    def reject_user(self, project: Project, user: User) -> None:
        """An invitation of the users API is declined: it shows as INVITATION_REJECTED, without an end."""
        rejected = replace(user, status=Membership.INVITATION_REJECTED, expires_at=None)
        project.users.put(rejected, self.now())
        self._ended(project, Api.USERS, user, "declined")

    def _is_in_use(self, email: str) -> bool:
        """Return whether the e-mail is a member's, or has something pending."""
        pending = any(project.invitations.of(email) for project in self.projects.values())
        return pending or email_key(email) in self.members or bool(self.users_of(email, Membership.PENDING))

    def _expire_due(self) -> None:
        now = self.now()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, project_id, api, record_id = heapq.heappop(self._deadlines)
            project = self.projects.get(project_id)
            if project is not None and api is Api.INVITES:
                self._expire_invite(project, record_id, now)
            elif project is not None:
                user = project.users.get(record_id)
                if user and user.status is Membership.PENDING and user.expires_at and user.expires_at <= now:
                    self.expire_user(project, user)

    def _expire_invite(self, project: Project, invitation_id: str, now: datetime) -> None:
        invitation = project.invitations.get(invitation_id)
        if invitation is not None and invitation.expires_at <= now:
            self.end_invite(project, invitation, "expired")

    def _ended(self, project: Project, api: Api, record: Invitation | User, how: How) -> None:
        project.ended.append(Ended(api, record.id, record.username, how, self.now()))

    def _second(self) -> datetime:
        return self.now().replace(microsecond=0)
