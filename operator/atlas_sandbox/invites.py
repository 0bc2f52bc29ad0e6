"""The Invites API: create, read, change and cancel the pending invitations of one project.

Facts are those of the Atlas Admin API's published OpenAPI document, `listGroupInvites` to `updateInviteById`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_sandbox.errors import AtlasError
from atlas_sandbox.model import LIFETIME, Invitation, Membership, email_key

if TYPE_CHECKING:
    from atlas_sandbox.project import Project
    from atlas_sandbox.state import State


def listed(state: State, project: Project, username: str | None = None) -> list[Invitation]:
    """Return the pending invitations (of one e-mail)."""
    now = state.now()
    return [invitation for invitation in project.invitations.listed(now, username) if invitation.expires_at > now]


def read(project: Project, invitation_id: str) -> Invitation:
    """Return one pending invitation.

    Raises:
        AtlasError: 404 INVALID_INVITATION_ID, also if it was accepted, declined, canceled or has expired.
    """
    invitation = project.invitations.get(invitation_id)
    if invitation is None:
        raise AtlasError("INVALID_INVITATION_ID", invitation_id)
    return invitation


def create(state: State, project: Project, username: str, roles: tuple[str, ...], inviter: str) -> Invitation:
    """Invite a person; `Rules` decide the result for a person who is pending here, or a member of the organization.

    Raises:
        AtlasError: 409 USER_ALREADY_IN_GROUP, or as the rules decide.
    """
    reject_existing_users(project, username)
    roles = state.rules.granted(roles)
    pending = project.invitations.of(username)
    if pending is not None:
        match state.rules.duplicate_invite:
            case "same":
                return state.change_invite(project, pending, roles)
            case "reject":
                raise AtlasError("INVITATION_ALREADY_EXISTS", username, project.id)
            case "conflict":
                raise AtlasError("USER_ALREADY_INVITED", username, project.id)
            case "new":
                state.end_invite(project, pending, "replaced")
    if email_key(username) in state.members and state.rules.member_invite == "active":
        now = state.now().replace(microsecond=0)
        state.activate(project, username, roles)
        return Invitation(state.new_id(), username, roles, inviter, now, now + LIFETIME)
    return state.invite(project, username, roles, inviter)


def update(state: State, project: Project, invitation_id: str, roles: tuple[str, ...]) -> Invitation:
    """Replace the roles of a pending invitation; its id and times stay.

    Raises:
        AtlasError: 404 INVALID_INVITATION_ID.
    """
    return state.change_invite(project, read(project, invitation_id), state.rules.granted(roles))


def update_of(state: State, project: Project, username: str, roles: tuple[str, ...]) -> Invitation:
    """Replace the roles of the pending invitation of an e-mail.

    Raises:
        AtlasError: 404 INVALID_INVITATION_ID.
    """
    invitation = project.invitations.of(username)
    if invitation is None:
        raise AtlasError("INVALID_INVITATION_ID", username)
    return state.change_invite(project, invitation, state.rules.granted(roles))


def cancel(state: State, project: Project, invitation_id: str) -> None:
    """Cancel a pending invitation; a member, and an invitation to the organization, stay.

    Raises:
        AtlasError: 404 INVALID_INVITATION_ID.
    """
    state.end_invite(project, read(project, invitation_id), "cancelled")


def reject_existing_users(project: Project, username: str) -> None:
    """Check that the e-mail does not have access to the project already.

    Raises:
        AtlasError: 409 USER_ALREADY_IN_GROUP.
    """
    user = project.users.of(username)
    if (user is not None and user.status is Membership.ACTIVE) or email_key(username) in project.indirect:
        raise AtlasError("USER_ALREADY_IN_GROUP", username, project.id)
