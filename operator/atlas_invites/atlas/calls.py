"""The calls to the Atlas Administration API as data: what is sent, and how the response is read.

Source: the OpenAPI document's operations getGroup; listGroupInvites, createGroupInvite, updateInviteById,
getGroupInvite, deleteGroupInvite; listGroupUsers, addGroupUsers, getGroupUser, removeGroupUser, addGroupUserRole,
removeGroupUserRole. The Invites API is deprecated since 2023-10-04 and ends on 2027-07-01; its list has no pages. The
Users API does not show an invitation of the Invites API until the invitee accepts it. Of a user's personal data, only
id, e-mail, roles, status and the times of the invitation are kept.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

from atlas_invites.invitation.model import Api, Invitation, Operation, User

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
E = TypeVar("E", bound=Invitation | User)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[T]):
    """One operation for a project.

    ``path`` is relative to the path of the project; ``{id}`` is the id of an invitation or user. ``read`` takes the
    JSON of the response (None if there is none) and that id, and raises ValueError, KeyError or TypeError if it cannot
    read the JSON.
    """

    operation: Operation
    method: str
    path: str
    media_type: str
    read: Callable[[object, str | None], T]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of an endpoint, for one project, and optionally for one invitation or user."""

    endpoint: Endpoint[T]
    group_id: str
    entry_id: str | None = None
    query: Sequence[tuple[str, str]] = ()
    body: dict[str, Any] | None = None

    @property
    def path(self) -> str:
        """The path below that of all projects. Any id stays one segment, even if it is not 24 hex digits."""
        return _segment(self.group_id) + self.endpoint.path.replace("{id}", _segment(self.entry_id or ""))


@dataclass(frozen=True, slots=True)
class Entries(Generic[E]):
    """The entries of a list that could be read. ``complete``: id and e-mail of every entry could be read."""

    read: tuple[E, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the list of users: its size, and Atlas's estimate of the total on all pages."""

    users: Entries[User]
    size: int
    total: int | None


@lru_cache(maxsize=1024)
def _segment(text: str) -> str:
    return quote(text, safe="!$'()*,:@+;=")


def _fields(json: object, entry_id: str | None) -> dict[str, Any]:
    """Return the fields of a JSON object that are not null. ``entry_id`` is the id if the object has none.

    Raises:
        TypeError: the JSON is not an object.
    """
    if not isinstance(json, dict):
        raise TypeError("not an object")
    fields = {key: value for key, value in json.items() if value is not None}
    if entry_id is not None and not isinstance(fields.get("id"), str):
        fields["id"] = entry_id
    return fields


def _invitation(json: object, entry_id: str | None) -> Invitation:
    return Invitation.read({**_fields(json, entry_id), "api": Api.INVITES})


def _user(json: object, entry_id: str | None) -> User:
    """Read one user. An e-mail that cannot be read becomes empty, so it matches no invitee.

    Raises:
        ValueError: the id or the status cannot be read. (A missing status is allowed.)
    """
    fields = _fields(json, entry_id)
    if not isinstance(fields.get("username"), str):
        fields["username"] = ""
    if not isinstance(fields.get("orgMembershipStatus", ""), str):
        raise ValueError("orgMembershipStatus is not text")  # noqa: TRY004 - the caller asks for a ValueError
    return User.read(fields)


def _with_roles(read: Callable[[object, str | None], E]) -> Callable[[object, str | None], E]:
    """Return a reader for the response to a write of roles. Without roles in it, the result is unknown."""

    def read_with_roles(json: object, entry_id: str | None) -> E:
        entry = read(json, entry_id)
        if not entry.roles:
            raise ValueError("no roles, so the result of the write is unknown")
        return entry

    return read_with_roles


def _entries(json: object, read: Callable[[object, str | None], E]) -> Entries[E]:
    """Return the entries of a JSON list that can be read.

    Raises:
        TypeError: the JSON is not a list.
    """
    if not isinstance(json, list):
        raise TypeError("not a list")
    found = []
    for entry in json:
        with suppress(ValueError, TypeError):
            found.append(read(entry, None))
    return Entries(tuple(found), complete=len(found) == len(json) and all(entry.username for entry in found))


def _page(json: object, _: str | None) -> Page:
    page = _fields(json, None)
    total = page.get("totalCount")
    found = _entries(page["results"], _user)
    return Page(found, len(page["results"]), total if isinstance(total, int) else None)


def _project_ids(json: object, _: str | None) -> tuple[str, ...]:
    """Return the ids on a page of the list of projects."""
    return tuple(str(_fields(project, None)["id"]) for project in _fields(json, None)["results"])


def _removed(*_: object) -> bool:
    return True


_2023, _2025 = "application/vnd.atlas.2023-01-01+json", "application/vnd.atlas.2025-02-19+json"

READ_PROJECT = Endpoint(Operation.READ_PROJECT, "GET", "", _2023, lambda json, _: str(_fields(json, None)["id"]))
LIST_PROJECTS = Endpoint(Operation.READ_PROJECT, "GET", "", _2023, _project_ids)
"""Lists the projects that the credentials can see (``listGroups``). It counts as a read of a project."""
LIST_INVITES = Endpoint(Operation.LIST_INVITES, "GET", "/invites", _2023, lambda json, _: _entries(json, _invitation))
CREATE_INVITE = Endpoint(Operation.CREATE_INVITE, "POST", "/invites", _2023, _invitation)
UPDATE_INVITE = Endpoint(Operation.UPDATE_INVITE, "PATCH", "/invites/{id}", _2023, _with_roles(_invitation))
READ_INVITE = Endpoint(Operation.READ_INVITE, "GET", "/invites/{id}", _2023, _invitation)
CANCEL_INVITE = Endpoint(Operation.CANCEL_INVITE, "DELETE", "/invites/{id}", _2023, _removed)
LIST_USERS = Endpoint(Operation.LIST_USERS, "GET", "/users", _2025, _page)
ADD_USER = Endpoint(Operation.ADD_USER, "POST", "/users", _2025, _user)
READ_USER = Endpoint(Operation.READ_USER, "GET", "/users/{id}", _2025, _user)
REMOVE_USER = Endpoint(Operation.REMOVE_USER, "DELETE", "/users/{id}", _2025, _removed)
ADD_ROLE = Endpoint(Operation.ADD_ROLE, "POST", "/users/{id}:addRole", _2025, _with_roles(_user))
REMOVE_ROLE = Endpoint(Operation.REMOVE_ROLE, "POST", "/users/{id}:removeRole", _2025, _with_roles(_user))
