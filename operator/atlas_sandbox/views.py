"""The JSON bodies of the API, with attributes in alphabetical order, as in Atlas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_sandbox.clock import iso
from atlas_sandbox.model import Invitation, Membership, User

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_sandbox.project import Project

Json = dict[str, object]
"""A JSON object."""


def invitation(project: Project, record: Invitation) -> Json:
    """Return a `GroupInvitation`, without `links`, as in real responses."""
    return {
        "createdAt": iso(record.created_at),
        "expiresAt": iso(record.expires_at),
        "groupId": project.id,
        "groupName": project.name,
        "id": record.id,
        "inviterUsername": record.inviter,
        "roles": list(record.roles),
        "username": record.username,
    }


def user(record: User) -> Json:
    """Return a `GroupUserResponse`, whose attributes depend on `orgMembershipStatus`."""
    body: Json = {"id": record.id, "orgMembershipStatus": record.status.value}
    body |= {"roles": list(record.roles), "username": record.username}
    if record.status is Membership.ACTIVE:
        local, _, _ = record.username.partition("@")
        joined = iso(record.joined_at or record.invited_at)
        return body | {
            "country": "US",
            "createdAt": joined,
            "firstName": local,
            "lastAuth": joined,
            "lastName": "Sandbox",
        }
    return body | {
        "invitationCreatedAt": iso(record.invited_at),
        "invitationExpiresAt": None if record.expires_at is None else iso(record.expires_at),
        "inviterUsername": record.inviter,
    }


def user_of_2023(project: Project, record: User) -> Json:
    """Return an active user as the version 2023-01-01 of the Users API lists it."""
    body = user(record)
    return {
        "country": body["country"],
        "createdAt": body["createdAt"],
        "emailAddress": record.username,
        "firstName": body["firstName"],
        "id": record.id,
        "lastAuth": body["lastAuth"],
        "lastName": body["lastName"],
        "links": [],
        "roles": [{"groupId": project.id, "roleName": role} for role in record.roles],
        "teamIds": [],
        "username": record.username,
    }


def page(results: Sequence[Json], total: int, url: str, number: int, size: int, *, count: bool) -> Json:  # noqa: PLR0913
    """Return page `number` of a list of `total` items; `url` is the URL of the list, without its query."""

    def link(rel: str, page_number: int) -> Json:
        query = f"includeCount={str(count).lower()}&itemsPerPage={size}&pageNum={page_number}"
        return {"href": f"{url}?{query}", "rel": rel}

    links = [link("self", number)]
    if number > 1:
        links.append(link("previous", number - 1))
    if number * size < total:
        links.append(link("next", number + 1))
    body: Json = {"links": links, "results": results}
    return body | {"totalCount": total} if count else body


def project(record: Project, url: str) -> Json:
    """Return a `Group`."""
    return {
        "clusterCount": 0,
        "created": iso(record.created),
        "id": record.id,
        "links": [{"href": url, "rel": "self"}],
        "name": record.name,
        "orgId": record.org_id,
        "tags": [],
        "withDefaultAlertsSettings": True,
    }


def snapshot(record: Project) -> Json:
    """Return all of a project: the records of each API, people with other access, and what ended (oldest first)."""
    ended = [
        {"api": end.api.value, "at": iso(end.at), "how": end.how, "id": end.id, "username": end.username}
        for end in record.ended
    ]
    return {
        "ended": ended,
        "id": record.id,
        "indirect": [{**user(member), "via": via} for member, via in record.indirect.values()],
        "invitations": [invitation(record, pending) for pending in record.invitations.all()],
        "name": record.name,
        "users": [user(member) for member in record.users.all()],
    }
