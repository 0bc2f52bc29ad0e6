"""The Invites API (deprecated 2023-10-04, sunset 2027-07-01): pending invitations of a project.

Source: the OpenAPI document's operations listGroupInvites, createGroupInvite, updateInviteById, getGroupInvite and
deleteGroupInvite. The list is a plain array without pages, and creating responds with 200.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from atlas_invites.atlas.calls import Call, Entries, entries, given, segment
from atlas_invites.invitation.model import Api, Invitation, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

MEDIA_TYPE = "application/vnd.atlas.2023-01-01+json"


def read_project(group_id: str) -> Call[str]:
    """Return the call that reads the project itself (OpenAPI: getGroup), and whose result is its id."""
    return Call(Operation.READ_PROJECT, "GET", group_id, "", MEDIA_TYPE, lambda json: str(given(json)["id"]))


def list_invites(group_id: str, username: str | None = None) -> Call[Entries[Invitation]]:
    """Return the call that lists a project's pending invitations, or those of one e-mail."""
    query = [] if username is None else [("username", username)]
    return Call(Operation.LIST_INVITES, "GET", group_id, "/invites", MEDIA_TYPE, _invitations, query=query)


def create_invite(group_id: str, username: str, roles: Iterable[str]) -> Call[Invitation]:
    """Return the call that invites an e-mail. Never repeated blindly: a second one may send a second invitation."""
    body = {"username": username, "roles": sorted(roles)}
    return Call(Operation.CREATE_INVITE, "POST", group_id, "/invites", MEDIA_TYPE, _invitation, body=body)


def update_invite(group_id: str, invitation_id: str, roles: Iterable[str]) -> Call[Invitation]:
    """Return the call that replaces the whole set of a pending invitation's roles; id and times stay."""
    return Call(
        Operation.UPDATE_INVITE,
        "PATCH",
        group_id,
        f"/invites/{segment(invitation_id)}",
        MEDIA_TYPE,
        partial(_invitation, asked=invitation_id, needs_roles=True),
        body={"roles": sorted(roles)},
    )


def read_invite(group_id: str, invitation_id: str) -> Call[Invitation]:
    """Return the call that reads one pending invitation."""
    path = f"/invites/{segment(invitation_id)}"
    return Call(Operation.READ_INVITE, "GET", group_id, path, MEDIA_TYPE, partial(_invitation, asked=invitation_id))


def cancel_invite(group_id: str, invitation_id: str) -> Call[bool]:
    """Return the call that cancels one pending invitation."""
    path = f"/invites/{segment(invitation_id)}"
    return Call(Operation.CANCEL_INVITE, "DELETE", group_id, path, MEDIA_TYPE, lambda _: True)


def _invitation(json: object, asked: str | None = None, *, needs_roles: bool = False) -> Invitation:
    """Read one invitation; the id that was asked for need not be repeated, the roles that were set must be."""
    invitation = Invitation.read({**given(json, asked), "api": Api.INVITES})
    if needs_roles and not invitation.roles:
        raise ValueError("no roles, so the result of the write is unknown")
    return invitation


def _invitations(json: object) -> Entries[Invitation]:
    return entries(json, _invitation)
