"""The Users API, successor of the Invites API.

Source: the OpenAPI document's operations listGroupUsers, addGroupUsers, getGroupUser, removeGroupUser, addGroupUserRole
and removeGroupUserRole. Users who were invited through the invites API are invisible here while pending. Of the
personal data that Atlas sends with a user nothing is kept but id, e-mail, roles, status and the invitation's times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from atlas_invites.atlas.calls import Call, Entries, entries, given, segment
from atlas_invites.invitation.model import Membership, Operation, User

if TYPE_CHECKING:
    from collections.abc import Iterable

MEDIA_TYPE = "application/vnd.atlas.2025-02-19+json"
PAGE_SIZE = 500
"""The most that one page of the list may hold."""
EVERY_STATUS: tuple[str, ...] = tuple(Membership)
"""Without this filter Atlas shows ACTIVE and PENDING alone."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the users list: how many it shows, and Atlas's estimate of how many there are on all pages."""

    users: Entries[User]
    size: int
    total: int | None


def list_users(
    group_id: str,
    page: int,
    *,
    username: str | None = None,
    flatten_teams: bool = False,
    include_org_users: bool = False,
) -> Call[Page]:
    """Return the call that lists one page (from 1) of a project's users, or of those of one e-mail."""
    query = [] if username is None else [("username", username)]
    query += [("orgMembershipStatuses", status) for status in EVERY_STATUS]
    query += [("flattenTeams", "true")] * flatten_teams + [("includeOrgUsers", "true")] * include_org_users
    query += [("itemsPerPage", str(PAGE_SIZE)), ("pageNum", str(page))]
    return Call(Operation.LIST_USERS, "GET", group_id, "/users", MEDIA_TYPE, _page, query=query)


def add_user(group_id: str, username: str, roles: Iterable[str]) -> Call[User]:
    """Return the call that invites an e-mail, or lets in at once who is in the organisation. Never repeated blindly."""
    body = {"username": username, "roles": sorted(roles)}
    return Call(Operation.ADD_USER, "POST", group_id, "/users", MEDIA_TYPE, _user, body=body)


def read_user(group_id: str, user_id: str) -> Call[User]:
    """Return the call that reads one user, in any status of membership."""
    query = [("orgMembershipStatuses", status) for status in EVERY_STATUS]
    path = f"/users/{segment(user_id)}"
    return Call(Operation.READ_USER, "GET", group_id, path, MEDIA_TYPE, partial(_user, asked=user_id), query=query)


def remove_user(group_id: str, user_id: str) -> Call[bool]:
    """Return the call that removes one user, pending or active, from the project."""
    path = f"/users/{segment(user_id)}"
    return Call(Operation.REMOVE_USER, "DELETE", group_id, path, MEDIA_TYPE, lambda _: True)


def add_role(group_id: str, user_id: str, role: str) -> Call[User]:
    """Return the call that adds one role to a user."""
    return _role(Operation.ADD_ROLE, "addRole", group_id, user_id, role)


def remove_role(group_id: str, user_id: str, role: str) -> Call[User]:
    """Return the call that removes one role from a user, who must keep at least one: add before you remove."""
    return _role(Operation.REMOVE_ROLE, "removeRole", group_id, user_id, role)


def _role(operation: Operation, verb: str, group_id: str, user_id: str, role: str) -> Call[User]:
    return Call(
        operation,
        "POST",
        group_id,
        f"/users/{segment(user_id)}:{verb}",
        MEDIA_TYPE,
        partial(_user, asked=user_id, needs_roles=True),
        body={"groupRole": role},
    )


def _user(json: object, asked: str | None = None, *, needs_roles: bool = False) -> User:
    """Read one user. One whose e-mail cannot be read is nobody's match; without a status it is not known what it is.

    Raises:
        ValueError: the id or the status cannot be read, or the roles that were set are not there.
    """
    fields = given(json, asked)
    if not isinstance(fields.get("username"), str):
        fields["username"] = ""
    if not isinstance(fields.get("orgMembershipStatus", ""), str):
        raise ValueError("orgMembershipStatus is not text")  # noqa: TRY004 - the caller asks for a ValueError
    user = User.read(fields)
    if needs_roles and not user.roles:
        raise ValueError("no roles, so the result of the write is unknown")
    return user


def _page(json: object) -> Page:
    page = given(json)
    total = page.get("totalCount")
    found = entries(page["results"], _user)
    return Page(found, len(page["results"]), total if isinstance(total, int) else None)
