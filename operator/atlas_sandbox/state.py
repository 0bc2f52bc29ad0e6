"""The state machine: one organization, its members and its projects, and the transitions of their records.

It does no I/O; the clock and the ids come from outside. `invites`, `users` and `people` build on these transitions.
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
    """The behavior of Atlas that its documents do not define."""

    duplicate_invite: Literal["same", "new", "reject", "conflict"] = "same"
    """The response to a second Invites API POST for a pending e-mail: 200 with the same or a new id, 400, 409."""
    member_invite: Literal["active", "pending"] = "active"
    """The result of an Invites API POST for a member of the organization: a user at once, or pending as usual."""
    missing_rights: Literal["named", "unauthorized"] = "named"
    """The response without rights to a project: 404 NOT_IN_GROUP or 403 USER_UNAUTHORIZED, or 401 without challenge."""
    dropped_roles: frozenset[str] = frozenset()
    """Roles that Atlas drops from those of a write, unless none would be left."""
    added_roles: tuple[str, ...] = ()
    """Roles that Atlas adds to those of a write."""
    unknown_roles: frozenset[str] = frozenset()
    """Roles that Atlas does not know: it rejects a write that grants one."""

    def granted(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """Return the roles that Atlas stores and shows for a write with these.

        Raises:
            AtlasError: 400 INVALID_ENUM_VALUE.
        """
        for role in roles:
            if role in self.unknown_roles:
                raise AtlasError("INVALID_ENUM_VALUE", role, fields=(("roles", "unknown role"),))
        kept = (role for role in (*roles, *self.added_roles) if role not in self.dropped_roles)
        return tuple(dict.fromkeys(kept)) or roles


class State:
    """One organization. `now` returns the time (UTC), `new_id` a unique id of 24 hex digits."""

    def __init__(self, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self.now = now
        self.new_id = new_id
        self.rules = Rules()
        self.lag = Lag()
        self.org_id = new_id()
        self.projects: dict[str, Project] = {}
        self.members: dict[str, str] = {}
        """The ids of the organization's members, by e-mail in lower case."""
        self._deadlines: list[tuple[datetime, str, Api, str]] = []

    def add_project(self, project_id: str, name: str) -> Project:
        """Return a new, empty project, or the existing one with this id."""
        project = self.projects.get(project_id)
        if project is None:
            project = self.projects[project_id] = Project(project_id, name, self.org_id, self._second())
            project.lag(self.lag)
        return project

    def project(self, project_id: str) -> Project:
        """Return a project as it is now: invitations that are due by the clock have expired.

        Raises:
            AtlasError: 404 GROUP_NOT_FOUND.
        """
        self._expire_due()
        project = self.projects.get(project_id)
        if project is None:
            raise AtlasError("GROUP_NOT_FOUND", project_id)
        return project

    def set_lag(self, lag: Lag) -> None:
        """Set the lag of the lists of every project, present and future."""
        self.lag = lag
        for project in self.projects.values():
            project.lag(lag)

    def join_organization(self, email: str) -> str:
        """Make a person a member, and ACTIVE in every project where a user is pending; return the member's id."""
        self._expire_due()
        member_id = self.members.setdefault(email_key(email), self.person_id(email))
        for project, user in self.users_of(email, Membership.PENDING):
            self.activate(project, user.username, user.roles)
        return member_id

    def leave_organization(self, email: str) -> None:
        """Remove a person from the organization, and so from every project."""
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
        """Return the id of a person in the Users API, the same in every project; a new one for an unknown person."""
        known = self.members.get(email_key(email))
        pending = [] if known else self.users_of(email, Membership.PENDING)
        return known or (pending[0][1].id if pending else self.new_id())

    def users_of(self, email: str, status: Membership) -> list[tuple[Project, User]]:
        """Return the projects in which the e-mail has this status, with its user."""
        found = ((project, project.users.of(email)) for project in self.projects.values())
        return [(project, user) for project, user in found if user is not None and user.status is status]

    def invite(self, project: Project, username: str, roles: tuple[str, ...], inviter: str) -> Invitation:
        """Send an invitation of the Invites API, and replace the one that the e-mail may have."""
        now = self._second()
        invitation = Invitation(self.new_id(), username, roles, inviter, now, now + LIFETIME)
        project.invitations.put(invitation, self.now())
        heapq.heappush(self._deadlines, (invitation.expires_at, project.id, Api.INVITES, invitation.id))
        return invitation

    def invite_user(self, project: Project, username: str, roles: tuple[str, ...], inviter: str) -> User:
        """Send an invitation of the Users API, and replace a user whose invitation has ended."""
        now = self._second()
        user = User(self.person_id(username), username, roles, Membership.PENDING, inviter, now, now + LIFETIME)
        project.users.put(user, self.now())
        heapq.heappush(self._deadlines, (now + LIFETIME, project.id, Api.USERS, user.id))
        return user

    def activate(self, project: Project, username: str, roles: tuple[str, ...]) -> User:
        """Make a person ACTIVE in a project, a member of the organization, and pending in neither API."""
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
        """End an invitation of the Invites API, which then no longer shows it."""
        project.invitations.drop(invitation, self.now())
        self._ended(project, Api.INVITES, invitation, how)

    def end_user(self, project: Project, user: User, how: How) -> None:
        """Remove a user, pending or active, from the project; the Users API then no longer shows the user."""
        project.users.drop(user, self.now())
        self._ended(project, Api.USERS, user, how)

    def expire_user(self, project: Project, user: User) -> None:
        """Expire an invitation of the Users API, which then shows it as INVITATION_EXPIRED."""
        expires_at = min(user.expires_at or self._second(), self._second())
        expired = replace(user, status=Membership.INVITATION_EXPIRED, expires_at=expires_at)
        project.users.put(expired, self.now())
        self._ended(project, Api.USERS, user, "expired")

    def reject_user(self, project: Project, user: User) -> None:
        """Decline an invitation of the Users API, which then shows it as INVITATION_REJECTED, without an end."""
        rejected = replace(user, status=Membership.INVITATION_REJECTED, expires_at=None)
        project.users.put(rejected, self.now())
        self._ended(project, Api.USERS, user, "declined")

    def _is_in_use(self, email: str) -> bool:
        """Return whether the e-mail belongs to a member, or has an invitation pending."""
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
