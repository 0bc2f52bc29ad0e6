"""What people do outside the API: they accept, decline, let invitations expire, or remove a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_sandbox.errors import AtlasError
from atlas_sandbox.model import Invitation, Membership, User, Via, email_key

if TYPE_CHECKING:
    from atlas_sandbox.project import Project
    from atlas_sandbox.state import State


def accept(state: State, project: Project, username: str) -> User:
    """Accept as the invitee, who becomes ACTIVE here with the roles of both invitations, and joins the organization.

    Raises:
        AtlasError: 404 INVALID_INVITATION_ID: nothing is pending for the e-mail.
    """
    invitation, user = _pending(project, username)
    roles = dict.fromkeys((*(user.roles if user else ()), *(invitation.roles if invitation else ())))
    invited_as = user.username if user else invitation.username if invitation else username
    active = state.activate(project, invited_as, tuple(roles))
    state.join_organization(username)
    return active


def decline(state: State, project: Project, username: str) -> None:
    """Decline as the invitee: gone from the Invites API, INVITATION_REJECTED in every project of the Users API.

    Raises:
        AtlasError: 404 INVALID_INVITATION_ID: nothing is pending for the e-mail.
    """
    invitation, user = _pending(project, username)
    if invitation is not None:
        state.end_invite(project, invitation, "declined")
    for other, pending in state.users_of(username, Membership.PENDING) if user else ():
        state.reject_user(other, pending)


def expire(state: State, project: Project, username: str) -> None:
    """Expire now what is pending for the e-mail, before its time.

    Raises:
        AtlasError: 404 INVALID_INVITATION_ID: nothing is pending for the e-mail.
    """
    invitation, user = _pending(project, username)
    if invitation is not None:
        state.end_invite(project, invitation, "expired")
    if user is not None:
        state.expire_user(project, user)


def remove(state: State, project: Project, username: str) -> None:
    """Remove an ACTIVE user, or a person with access through a team or the organization, from the project.

    Raises:
        AtlasError: 404 USER_NOT_FOUND.
    """
    user = project.users.of(username)
    if user is not None and user.status is Membership.ACTIVE:
        state.end_user(project, user, "removed")
    elif project.indirect.pop(email_key(username), None) is None:
        raise AtlasError("USER_NOT_FOUND", username, project.id)


def reach(state: State, project: Project, username: str, roles: tuple[str, ...], via: Via) -> User:
    """Give a member of the organization access to the project through a team, or through a role in the organization.

    Raises:
        AtlasError: 409 USER_ALREADY_IN_GROUP: the project has a user of this e-mail.
    """
    if project.users.of(username) is not None:
        raise AtlasError("USER_ALREADY_IN_GROUP", username, project.id)
    now = state.now().replace(microsecond=0)
    user = User(state.join_organization(username), username, roles, Membership.ACTIVE, "", now, joined_at=now)
    project.indirect[email_key(username)] = (user, via)
    return user


def _pending(project: Project, username: str) -> tuple[Invitation | None, User | None]:
    invitation, user = project.invitations.of(username), project.users.of(username)
    user = user if user is not None and user.status is Membership.PENDING else None
    if invitation is None and user is None:
        raise AtlasError("INVALID_INVITATION_ID", username)
    return invitation, user
