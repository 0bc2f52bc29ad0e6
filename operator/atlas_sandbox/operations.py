"""The table of the operations: name, path, media-type versions, the role that each needs.

Paths, versions and roles are those of the published OpenAPI document. The `X-Java-Method` headers of the Invites API
were seen in real responses; the others imitate their style.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from atlas_sandbox.credentials import Role
from atlas_sandbox.errors import AtlasError

FIRST = date(2023, 1, 1)
SECOND = date(2025, 2, 19)
MANAGER = Role.ACCESS_MANAGER

Scope = Literal["invites", "users", "project", "token"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API."""

    name: str
    scope: Scope
    java_method: str
    versions: tuple[date, ...] = ()
    success: int = 200
    needs: Role = Role.READ_ONLY
    """The project role that it requires (`x-rolesRequirements`)."""
    sends: bool = False
    """Whether it sends an invitation, which counts for the limit on invitations."""
    deprecation: str = ""
    """The `Deprecation` header of its version 2023-01-01, sent with `Sunset`; empty if it is not deprecated."""


def _invites(name: str, java: str, *, success: int = 200, sends: bool = False) -> Operation:
    method, since = f"ApiGroupInvitationResource::{java}", "Wed, 4 Oct 2023 00:00:00 GMT"
    return Operation(name, "invites", method, (FIRST,), success, Role.OWNER, sends=sends, deprecation=since)


def _users(name: str, java: str, *versions: date) -> Operation:
    method, since = f"ApiGroupUsersResource::{java}", "Wed, 19 Feb 2025 00:00:00 GMT"
    return Operation(name, "users", method, versions, deprecation=since)


TOKEN = Operation("Token", "token", "OAuthTokenResource::token")
REVOKE = Operation("RevokeToken", "token", "OAuthTokenResource::revoke")

LIST_PROJECTS = Operation("ListProjects", "project", "ApiGroupsResource::getAllGroups", (FIRST,))
"""The only operation of the API without a project (``listGroups``)."""

_TABLE: dict[tuple[str, bool, str], dict[str, Operation]] = {
    ("", False, ""): {"GET": Operation("ReadProject", "project", "ApiGroupsResource::getGroup", (FIRST,))},
    ("invites", False, ""): {
        "GET": _invites("ListInvites", "getInvitations"),
        "POST": _invites("CreateInvite", "createInvitations", sends=True),
        "PATCH": _invites("UpdateInviteByEmail", "editInvitations"),
    },
    ("invites", True, ""): {
        "GET": _invites("ReadInvite", "getInvitation"),
        "PATCH": _invites("UpdateInvite", "editInvitationById"),
        "DELETE": _invites("CancelInvite", "deleteInvitations", success=204),
    },
    ("users", False, ""): {
        "GET": _users("ListUsers", "getGroupUsers", FIRST, SECOND),
        "POST": replace(_users("AddUser", "addGroupUser", SECOND), success=201, needs=MANAGER, sends=True),
    },
    ("users", True, ""): {
        "GET": _users("ReadUser", "getGroupUser", SECOND),
        "DELETE": replace(_users("RemoveUser", "removeGroupUser", FIRST, SECOND), success=204, needs=MANAGER),
    },
    ("users", True, ":addRole"): {"POST": replace(_users("AddRole", "addGroupRole", SECOND), needs=MANAGER)},
    ("users", True, ":removeRole"): {"POST": replace(_users("RemoveRole", "removeGroupRole", SECOND), needs=MANAGER)},
    ("users", True, "/roles"): {"PUT": replace(_users("UpdateRoles", "updateRoles", FIRST), needs=Role.OWNER)},
}

NAMES = frozenset(
    {operation.name for methods in _TABLE.values() for operation in methods.values()}
    | {TOKEN.name, REVOKE.name, LIST_PROJECTS.name}
)
"""The name of every operation, as faults and the log of calls use it."""

_PATH = re.compile(r"/api/atlas/v2/groups/([^/]+)(?:/(invites|users)(?:/([^/:]+)(:addRole|:removeRole|/roles)?)?)?")
_ALONE = {
    "/api/oauth/token": {"POST": TOKEN},
    "/api/oauth/revoke": {"POST": REVOKE},
    "/api/atlas/v2/groups": {"GET": LIST_PROJECTS},
}
_MEDIA_TYPE = re.compile(r"application/vnd\.atlas\.(\d{4}-\d{2}-\d{2})\+json")


@dataclass(frozen=True, slots=True)
class Route:
    """The operation of a request, and the ids in its path as they were sent."""

    operation: Operation
    project_id: str = ""
    record_id: str = ""


def route(method: str, path: str) -> Route:
    """Find the operation of a request.

    Raises:
        AtlasError: 404 RESOURCE_NOT_FOUND for an unknown path, 405 METHOD_NOT_ALLOWED for a wrong method.
    """
    methods = _ALONE.get(path, {})
    if methods:
        project_id, record_id = "", ""
    else:
        match = _PATH.fullmatch(path)
        if match is None:
            raise AtlasError("RESOURCE_NOT_FOUND", path)
        project_id, collection, record_id, suffix = match.groups(default="")
        methods = _TABLE.get((collection, bool(record_id), suffix), {})
        if not methods:
            raise AtlasError("RESOURCE_NOT_FOUND", path)
    operation = methods.get(method)
    if operation is None:
        raise AtlasError("METHOD_NOT_ALLOWED", method, path, headers=(("Allow", ", ".join(methods)),))
    return Route(operation, project_id, record_id)


def resolve_version(operation: Operation, accept: str) -> date:
    """Return the version of a resource for an `Accept` header: the latest that is not after its date.

    Raises:
        AtlasError: 406 INVALID_VERSION_DATE: no Atlas media type, not a date, or a date before the first version.
    """
    match = _MEDIA_TYPE.search(accept)
    try:
        asked = date.fromisoformat(match[1]) if match else date.min
    except ValueError:
        asked = date.min
    known = [version for version in operation.versions if version <= asked]
    if not known:
        raise AtlasError("INVALID_VERSION_DATE")
    return known[-1]


def check_content_type(content_type: str) -> None:
    """Check that a body is JSON: plain (as the curl commands of the documentation send it) or dated.

    Raises:
        AtlasError: 415 UNSUPPORTED_MEDIA_TYPE.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not _MEDIA_TYPE.fullmatch(media_type):
        raise AtlasError("UNSUPPORTED_MEDIA_TYPE", media_type or "none")
