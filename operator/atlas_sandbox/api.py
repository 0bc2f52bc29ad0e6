"""Carry out one call of the API: take a checked request, return the content of the response."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_sandbox import invites, users, views
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.model import Membership, Via
from atlas_sandbox.operations import FIRST, LIST_PROJECTS, Route, check_content_type
from atlas_sandbox.validation import PAGE, body_object, email, flag, number, object_id, role, roles, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from atlas_sandbox.credentials import Credential
    from atlas_sandbox.model import User
    from atlas_sandbox.project import Project
    from atlas_sandbox.state import State


@dataclass(frozen=True, slots=True)
class Request:
    """One call, after its credential is known."""

    route: Route
    version: date
    credential: Credential
    query: Mapping[str, Sequence[str]]
    content_type: str
    body: bytes = field(repr=False)
    url: str
    """The URL of the call, without its query."""

    def attributes(self, *allowed: str) -> dict[str, object]:
        """Return the JSON body; reject attributes that are not allowed."""
        check_content_type(self.content_type)
        return body_object(self.body, frozenset(allowed))

    @property
    def username(self) -> str | None:
        """The query parameter `username` of a list."""
        values = self.query.get("username")
        return values[-1] if values else None


def perform(state: State, request: Request) -> object:
    """Carry out the call, and return the content of the response, or None if it has no content.

    Raises:
        AtlasError: the operation fails; nothing has changed.
    """
    name = request.route.operation.name
    if request.route.operation is LIST_PROJECTS:
        return _list_projects(state, request)
    object_id(request.route.project_id, "INVALID_GROUP_ID")
    project = state.project(request.route.project_id)
    try:
        request.credential.check_project(project.id, request.route.operation.needs)
    except AtlasError as error:
        if state.rules.missing_rights == "unauthorized":
            raise AtlasError("UNAUTHORIZED") from error
        raise
    if request.route.record_id:
        code = "INVALID_INVITATION_ID" if request.route.operation.scope == "invites" else "INVALID_USER_ID"
        object_id(request.route.record_id, code)
    return _HANDLERS[name](state, project, request)


def _list_projects(state: State, request: Request) -> object:
    """Return the projects that the caller can see, ordered by id."""
    page, size = number(request.query, "pageNum", 1), number(request.query, "itemsPerPage", 100, PAGE)
    seen = request.credential.projects
    found = [state.projects[id_] for id_ in sorted(state.projects) if seen is None or id_ in seen]
    shown = [views.project(record, f"{request.url}/{record.id}") for record in found[(page - 1) * size : page * size]]
    return views.page(
        shown, len(found), request.url, page, size, count=flag(request.query, "includeCount", default=True)
    )


def _read_project(_state: State, project: Project, request: Request) -> object:
    return views.project(project, request.url)


def _list_invites(state: State, project: Project, request: Request) -> object:
    return [views.invitation(project, record) for record in invites.listed(state, project, request.username)]


def _create_invite(state: State, project: Project, request: Request) -> object:
    body = request.attributes("roles", "username")
    record = invites.create(state, project, email(body), roles(body), request.credential.id)
    return views.invitation(project, record)


def _update_invite_by_email(state: State, project: Project, request: Request) -> object:
    body = request.attributes("roles", "username")
    return views.invitation(project, invites.update_of(state, project, email(body), roles(body)))


def _read_invite(_state: State, project: Project, request: Request) -> object:
    return views.invitation(project, invites.read(project, request.route.record_id))


def _update_invite(state: State, project: Project, request: Request) -> object:
    body = request.attributes("roles")
    return views.invitation(project, invites.update(state, project, request.route.record_id, roles(body)))


def _cancel_invite(state: State, project: Project, request: Request) -> object:
    invites.cancel(state, project, request.route.record_id)
    return None


def _list_users(state: State, project: Project, request: Request) -> object:
    query = request.query
    page, size = number(query, "pageNum", 1), number(query, "itemsPerPage", 100, PAGE)
    also: list[Via] = ["team"] if flag(query, "flattenTeams") else []
    if flag(query, "includeOrgUsers"):
        also.append("organization")
    if request.version == FIRST:
        # The deprecated version lists only active users, and its only filters are the flags.
        found = users.listed(state, project, {Membership.ACTIVE}, None, also)
    else:
        found = users.listed(state, project, statuses(query, users.LIVE), request.username, also)

    def view(record: User) -> views.Json:
        return views.user_of_2023(project, record) if request.version == FIRST else views.user(record)

    results = [view(record) for record in found[(page - 1) * size : page * size]]
    count = flag(query, "includeCount", default=True)
    return views.page(results, len(found), request.url, page, size, count=count)


def _add_user(state: State, project: Project, request: Request) -> object:
    body = request.attributes("roles", "username")
    return views.user(users.add(state, project, email(body), roles(body), request.credential.id))


def _read_user(_state: State, project: Project, request: Request) -> object:
    return views.user(users.read(project, request.route.record_id, statuses(request.query, users.LIVE)))


def _remove_user(state: State, project: Project, request: Request) -> object:
    known = {Membership.ACTIVE} if request.version == FIRST else users.LIVE
    users.remove(state, project, request.route.record_id, known)
    return None


def _add_role(state: State, project: Project, request: Request) -> object:
    body = request.attributes("groupRole")
    return views.user(users.add_role(state, project, request.route.record_id, role(body)))


def _remove_role(state: State, project: Project, request: Request) -> object:
    body = request.attributes("groupRole")
    return views.user(users.remove_role(state, project, request.route.record_id, role(body)))


def _update_roles(state: State, project: Project, request: Request) -> object:
    body = request.attributes("groupRoles")
    record = users.set_roles(state, project, request.route.record_id, roles(body, "groupRoles"))
    return {"groupRoles": list(record.roles), "links": [{"href": request.url, "rel": "self"}]}


_HANDLERS: dict[str, Callable[[State, Project, Request], object]] = {
    "ReadProject": _read_project,
    "ListInvites": _list_invites,
    "CreateInvite": _create_invite,
    "UpdateInviteByEmail": _update_invite_by_email,
    "ReadInvite": _read_invite,
    "UpdateInvite": _update_invite,
    "CancelInvite": _cancel_invite,
    "ListUsers": _list_users,
    "AddUser": _add_user,
    "ReadUser": _read_user,
    "RemoveUser": _remove_user,
    "AddRole": _add_role,
    "RemoveRole": _remove_role,
    "UpdateRoles": _update_roles,
}


def username_of(state: State, request_body: bytes, query: Mapping[str, Sequence[str]], route: Route) -> str:
    """Return the e-mail that a call is about, from its filter, its body or its record; empty if none has one."""
    if "username" in query:
        return query["username"][-1]
    project = state.projects.get(route.project_id)
    if route.record_id:
        if project is None:
            return ""
        record = project.invitations.get(route.record_id) or project.users.get(route.record_id)
        return "" if record is None else record.username
    try:
        return email(body_object(request_body, frozenset({"roles", "username"}))) if request_body else ""
    except AtlasError:
        return ""
