"""Make the roles of an invitation or a member those of the spec, through whichever API holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_invites.invitation.email import same_email
from atlas_invites.invitation.model import Api, Membership, User
from atlas_invites.invitation.outcome import Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.controller.ports import Project
    from atlas_invites.invitation.model import Invitation

_CHANGED_MEANWHILE = "What Atlas shows of the invitation changed while its roles were being set; it is looked at again."


async def set_invitation_roles(
    project: Project, invitation: Invitation, roles: frozenset[str], check: Callable[[], None], email: str | None = None
) -> tuple[Invitation, bool]:
    """Set the roles of a pending invitation. Return it as Atlas responded, and whether anything was written.

    Args:
        project: where it is.
        invitation: as it was seen.
        roles: what it is to have.
        check: called right before each write; raises where it is not wanted any more.
        email: the e-mail by which it was found, or None for one that is known by its id.

    Raises:
        Failure: Conflict where it is not pending any more; else what Atlas answered.
    """
    if invitation.api is Api.INVITES:
        check()
        updated = await project.update_invite(invitation.id, sorted(roles))
        if updated is None:
            raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
        return updated, True
    user, wrote = await _set_user_roles(project, invitation.id, Membership.PENDING, roles, check, email)
    return user.as_invitation(), wrote


async def set_member_roles(
    project: Project, member: User, roles: frozenset[str], check: Callable[[], None], email: str | None = None
) -> tuple[User, bool]:
    """Set the roles of an ACTIVE member. Return the member as Atlas responded, and whether anything was written.

    Args:
        project: where the member is.
        member: as seen.
        roles: what the member is to have.
        check: called right before each write; raises where it is not wanted any more.
        email: the e-mail by which the member was found, or None for one who is known by the id.

    Raises:
        Failure: Conflict where the user is not ACTIVE any more; else what Atlas answered.
    """
    return await _set_user_roles(project, member.id, Membership.ACTIVE, roles, check, email)


def is_same_user(user: User, membership: Membership, email: str | None) -> bool:
    """Return whether a user who was read right before a write is what a list showed, which may lag.

    Args:
        user: as read.
        membership: as listed.
        email: as listed, or None for one who is known by the id.
    """
    return user.org_membership_status == membership and (email is None or same_email(user.username, email))


async def _set_user_roles(  # noqa: PLR0913, PLR0917 - what is set, and what must hold
    project: Project,
    user_id: str,
    membership: Membership,
    roles: frozenset[str],
    check: Callable[[], None],
    email: str | None,
) -> tuple[User, bool]:
    """Add before removing: a user never has zero roles. The user is read right before, and must be what was seen.

    A role that Atlas does not add is no reason to remove others: what it shows then is the result.
    """
    user = await project.read_user(user_id)
    if user is None or not is_same_user(user, membership, email):
        raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
    steps = [(project.add_role, role) for role in sorted(roles - set(user.roles))]
    steps += [(project.remove_role, role) for role in sorted(set(user.roles) - roles)]
    for call, role in steps:
        check()
        user = await call(user_id, role)
        if user is None or user.org_membership_status != membership:
            raise Failure(Reason.CONFLICT, _CHANGED_MEANWHILE)
        if role in roles and role not in user.roles:
            break
    return user, bool(steps)
