"""The Users API: add, read, change and remove the pending and active users of one project.

Facts are those of the Atlas Admin API's published OpenAPI document, `listGroupUsers` to `removeGroupUserRole`.
A person who is pending only in the Invites API does not exist here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_sandbox.errors import AtlasError
from atlas_sandbox.invites import reject_existing_users
from atlas_sandbox.model import Membership, User, Via, email_key

if TYPE_CHECKING:
    from collections.abc import Collection

    from atlas_sandbox.project import Project
    from atlas_sandbox.state import State

LIVE = frozenset({Membership.ACTIVE, Membership.PENDING})
"""The statuses that a read returns by default."""


def listed(
    state: State,
    project: Project,
    statuses: Collection[Membership] = LIVE,
    username: str | None = None,
    also: Collection[Via] = (),
) -> list[User]:
    """Return the users with one of these statuses (of one e-mail), and the people with access in the ways of `also`."""
    users = [user for user in project.users.listed(state.now(), username) if user.status in statuses]
    if also and Membership.ACTIVE in statuses:
        seen = {email_key(user.username) for user in users}
        wanted = None if username is None else email_key(username)
        for email, (user, via) in project.indirect.items():
            if via in also and email not in seen and wanted in (None, email):
                users.append(user)
    return users


def read(project: Project, user_id: str, statuses: Collection[Membership] = LIVE) -> User:
    """Return one user.

    Raises:
        AtlasError: 404 USER_NOT_FOUND, also if the user has another status.
    """
    user = project.users.get(user_id)
    if user is None or user.status not in statuses:
        raise AtlasError("USER_NOT_FOUND", user_id, project.id)
    return user


def add(state: State, project: Project, username: str, roles: tuple[str, ...], inviter: str) -> User:
    """Add a member of the organization at once (ACTIVE), invite others (PENDING); replace an ended invitation.

    Raises:
        AtlasError: 409 if, and only if, the e-mail is PENDING or ACTIVE here, or has access in another way.
    """
    reject_existing_users(project, username)
    roles = state.rules.granted(roles)
    user = project.users.of(username)
    if user is not None and user.status is Membership.PENDING:
        raise AtlasError("USER_ALREADY_INVITED", username, project.id)
    if email_key(username) in state.members:
        return state.activate(project, username, roles)
    return state.invite_user(project, username, roles, inviter)


def remove(state: State, project: Project, user_id: str, statuses: Collection[Membership] = LIVE) -> None:
    """Remove a pending or active user from the project, but not from the organization.

    Raises:
        AtlasError: 404 USER_NOT_FOUND.
    """
    user = read(project, user_id, statuses)
    state.end_user(project, user, "cancelled" if user.status is Membership.PENDING else "removed")


def add_role(state: State, project: Project, user_id: str, role: str) -> User:
    """Give a user one more role; a role that the user has already changes nothing.

    Raises:
        AtlasError: 404 USER_NOT_FOUND.
    """
    user = read(project, user_id)
    return user if role in user.roles else _grant(state, project, user, (*user.roles, role))


def remove_role(state: State, project: Project, user_id: str, role: str) -> User:
    """Take one role from a user; a role that the user does not have changes nothing.

    Raises:
        AtlasError: 404 USER_NOT_FOUND; 409 CANNOT_REMOVE_LAST_ROLE: a user must keep one role.
    """
    user = read(project, user_id)
    if role not in user.roles:
        return user
    if len(user.roles) == 1:
        raise AtlasError("CANNOT_REMOVE_LAST_ROLE", user.username, project.id)
    return _grant(state, project, user, tuple(held for held in user.roles if held != role))


def set_roles(state: State, project: Project, user_id: str, roles: tuple[str, ...]) -> User:
    """Replace the roles of an ACTIVE user (the deprecated `updateGroupUserRoles`).

    Raises:
        AtlasError: 404 USER_NOT_FOUND.
    """
    return _grant(state, project, read(project, user_id, {Membership.ACTIVE}), roles)


def _grant(state: State, project: Project, user: User, roles: tuple[str, ...]) -> User:
    return state.change_user(project, user, state.rules.granted(roles))
