"""What each call sends, and how its response is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from atlas_invites.atlas import calls
from atlas_invites.atlas.calls import Call, Endpoint, Entries, Page
from atlas_invites.atlas.clock import AtlasClock
from atlas_invites.atlas.codec import Codec
from atlas_invites.atlas.project import Project
from atlas_invites.atlas.sunset import Sunset
from atlas_invites.invitation.model import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import httpx

    Ask = Callable[[Project], Coroutine[Any, Any, object]]

T = TypeVar("T")

GROUP = "32b6e34b3d91647abb20e7b8"
ID = "5f0000000000000000000001"
INVITES = "application/vnd.atlas.2023-01-01+json"
USERS = "application/vnd.atlas.2025-02-19+json"
STATUSES = (
    "orgMembershipStatuses=ACTIVE&orgMembershipStatuses=PENDING"
    "&orgMembershipStatuses=INVITATION_EXPIRED&orgMembershipStatuses=INVITATION_REJECTED"
)
PAGES = "itemsPerPage=500&pageNum="


def read(endpoint: Endpoint[T], json: object) -> T:
    """Return how the response of an endpoint is read, with the requested id if the endpoint has one."""
    return endpoint.read(json, ID if "{id}" in endpoint.path else None)


class Sent(Exception):  # noqa: N818 - it ends a method of a project
    """A call that a project makes."""


def sent(ask: Ask) -> Call[Any]:
    """Return the call that a method of a project makes."""

    class Client:
        async def call(self, call: Call[Any]) -> object:
            raise Sent(call)

    time = AtlasClock(lambda: 0.0)
    project = Project(Client(), Sunset("auto", time.now), GROUP, lambda: 0.0)  # type: ignore[arg-type]
    with pytest.raises(Sent) as raised:
        ask(project).send(None)
    call: Call[Any] = raised.value.args[0]
    return call


def request(ask: Ask, *, envelope: bool = False) -> httpx.Request:
    """Return the request that a method of a project makes."""
    time = AtlasClock(lambda: 0.0)
    codec = Codec("http://atlas", time, Sunset("auto", time.now), envelope=envelope)
    return codec.request(sent(ask))


def target(ask: Ask, *, envelope: bool = False) -> str:
    """Return the path and query of a request, as a digest signs them."""
    return request(ask, envelope=envelope).url.raw_path.decode()


@pytest.mark.parametrize(
    ("ask", "operation", "method", "path", "media_type", "body"),
    [
        (lambda p: p.read_project(), "ReadProject", "GET", "", INVITES, None),
        (lambda p: p.list_invites(), "ListInvites", "GET", "/invites", INVITES, None),
        (lambda p: p.list_invites("a+b@x.de"), "ListInvites", "GET", "/invites?username=a%2Bb@x.de", INVITES, None),
        (
            lambda p: p.create_invite("A@x.de", {"B", "A"}),
            "CreateInvite",
            "POST",
            "/invites",
            INVITES,
            {"username": "A@x.de", "roles": ["A", "B"]},
        ),
        (
            lambda p: p.update_invite(ID, ("B", "A")),
            "UpdateInvite",
            "PATCH",
            f"/invites/{ID}",
            INVITES,
            {"roles": ["A", "B"]},
        ),
        (
            lambda p: p.read_invite(ID),
            "ReadInvite",
            "GET",
            f"/invites/{ID}",
            INVITES,
            None,
        ),
        (lambda p: p.cancel_invite(ID), "CancelInvite", "DELETE", f"/invites/{ID}", INVITES, None),
        (lambda p: p.list_users(), "ListUsers", "GET", f"/users?{STATUSES}&{PAGES}1", USERS, None),
        (
            lambda p: p.list_users("a@x.de", flatten_teams=True, include_org_users=True),
            "ListUsers",
            "GET",
            f"/users?username=a@x.de&{STATUSES}&flattenTeams=true&includeOrgUsers=true&{PAGES}1",
            USERS,
            None,
        ),
        (
            lambda p: p.add_user("A@x.de", ["A"]),
            "AddUser",
            "POST",
            "/users",
            USERS,
            {"username": "A@x.de", "roles": ["A"]},
        ),
        (lambda p: p.read_user(ID), "ReadUser", "GET", f"/users/{ID}?{STATUSES}", USERS, None),
        (lambda p: p.remove_user(ID), "RemoveUser", "DELETE", f"/users/{ID}", USERS, None),
        (lambda p: p.add_role(ID, "A"), "AddRole", "POST", f"/users/{ID}:addRole", USERS, {"groupRole": "A"}),
        (lambda p: p.remove_role(ID, "A"), "RemoveRole", "POST", f"/users/{ID}:removeRole", USERS, {"groupRole": "A"}),
    ],
)
def test_each_call_is_as_documented(  # noqa: PLR0913, PLR0917 - one column each
    ask: Ask, operation: str, method: str, path: str, media_type: str, body: dict[str, Any] | None
) -> None:
    """Method, path, query, media type and body of the twelve calls match the OpenAPI document."""
    made = request(ask)
    assert (made.extensions["operation"], made.method, made.headers["Accept"]) == (operation, method, media_type)
    assert json.loads(made.content or "null") == body
    assert made.headers.get("Content-Type") == (body and media_type)
    assert target(ask) == f"/api/atlas/v2/groups/{GROUP}{path}"


def test_the_envelope_is_one_more_query_parameter() -> None:
    """``envelope=true`` is added to any query."""
    assert target(lambda p: p.list_invites(), envelope=True).endswith("/invites?envelope=true")
    assert target(lambda p: p.list_invites("a@x.de"), envelope=True).endswith("?username=a@x.de&envelope=true")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_what_is_signed_is_what_is_sent(text: str) -> None:
    """The libraries that compute the digest (httpx) and that send (aiohttp) write the query in the same way."""
    signed = target(lambda p: p.list_invites(text), envelope=True)
    assert yarl.URL(f"http://atlas{signed}").raw_path_qs == signed
    assert yarl.URL(f"http://atlas{signed}").query["username"] == text


@pytest.mark.parametrize("text", ["../x", "a/b", "a?b", "a#b", "%2e%2e", "a\nb"])
def test_an_id_never_becomes_another_path(text: str) -> None:
    """An id of any form stays one segment of the path."""
    path = target(lambda p: p.cancel_invite(text))
    assert path.count("/") == 7
    assert not set(path) & set("?#\n")


def test_an_invitation_may_have_more_or_fewer_fields() -> None:
    """Unknown fields are ignored; missing and null fields are tolerated; the requested id may be missing too."""
    full = {
        "id": ID,
        "groupId": GROUP,
        "groupName": "g",
        "username": "J@x.de",
        "inviterUsername": "ABCDEFGH",
        "roles": ["B", "A"],
        "createdAt": "2026-08-10T03:04:53Z",
        "expiresAt": "2026-09-09T03:04:53Z",
        "links": [{"href": "https://x", "rel": "self"}],
    }
    assert read(calls.READ_INVITE, full | {"new": {}, "api": "Users"}).to_wire() == full | {
        "roles": ["A", "B"],
        "api": "Invites",
    }
    assert read(calls.READ_INVITE, {"roles": None, "links": None}).to_wire() == {
        "id": ID,
        "roles": [],
        "api": "Invites",
    }


def test_a_user_is_read_without_personal_data() -> None:
    """Of the account of an active user, only id, e-mail, roles and status are kept."""
    user = read(
        calls.READ_USER,
        {
            "id": ID,
            "username": "J@x.de",
            "roles": ["A"],
            "orgMembershipStatus": "ACTIVE",
            "firstName": "Jane",
            "mobileNumber": "1",
            "createdAt": "2020-01-01T00:00:00Z",
            "lastAuth": None,
        },
    )
    assert user.to_wire() == {"id": ID, "username": "J@x.de", "roles": ["A"], "orgMembershipStatus": "ACTIVE"}


def test_a_rejected_user_has_no_end() -> None:
    """``invitationExpiresAt`` is null for a rejected invitation."""
    user = read(calls.READ_USER, {"orgMembershipStatus": "INVITATION_REJECTED", "invitationExpiresAt": None})
    assert (user.id, user.username, user.invitation_expires_at) == (ID, "", None)


@pytest.mark.parametrize("endpoint", [calls.LIST_INVITES, calls.CREATE_INVITE, calls.LIST_USERS, calls.ADD_USER])
@pytest.mark.parametrize("json", [None, 1, "x", True, {"id": 4}, {"results": 1}])
def test_a_response_that_cannot_be_read_raises(endpoint: Endpoint[Any], json: object) -> None:
    """It is never read as an empty list or as half an invitation."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        read(endpoint, json)


READABLE = {"id": ID, "username": "a@x.de", "roles": ["A"]}


@pytest.mark.parametrize("entry", [1, [], {}, READABLE | {"id": 7}, {"id": ID}, READABLE | {"username": ["a"]}])
def test_an_entry_without_a_readable_id_or_email_makes_a_list_incomplete(entry: object) -> None:
    """The other entries are read, and the list is marked as incomplete."""
    for found in (
        read(calls.LIST_INVITES, [entry, READABLE]),
        read(calls.LIST_USERS, {"results": [entry, READABLE]}).users,
    ):
        assert found.read[-1].username == "a@x.de"
        assert not found.complete


@pytest.mark.parametrize(
    "unreadable",
    [
        {"createdAt": 1754795093},
        {"expiresAt": {"date": "tomorrow"}},
        {"links": [None]},
        {"links": 1},
        {"roles": [{"roleName": "A"}]},
        {"roles": "A"},
        {"groupName": 7},
        {"inviterUsername": []},
        {"invitationCreatedAt": 1},
    ],
)
def test_an_optional_field_that_cannot_be_read_counts_as_absent(unreadable: dict[str, object]) -> None:
    """The rest is used."""
    found = read(calls.LIST_INVITES, [READABLE | unreadable])
    people = read(calls.LIST_USERS, {"results": [READABLE | unreadable]}).users
    assert found.complete
    assert people.complete
    assert (found.read[0].id, people.read[0].id) == (ID, ID)


def test_a_user_whose_status_cannot_be_read_is_not_taken_for_a_member() -> None:
    """An unknown status leads to no conclusion."""
    found = read(calls.LIST_USERS, {"results": [READABLE | {"orgMembershipStatus": 1}]}).users
    assert (found.read, found.complete) == ((), False)


@pytest.mark.parametrize("endpoint", [calls.CANCEL_INVITE, calls.REMOVE_USER])
@pytest.mark.parametrize("json", [None, {}, [], "x"])
def test_the_body_of_a_removal_is_ignored(endpoint: Endpoint[bool], json: object) -> None:
    """A 204 has no body; what an envelope contains is ignored."""
    assert read(endpoint, json) is True


@pytest.mark.parametrize("roles", [None, [], "A", [{"roleName": "A"}]])
@pytest.mark.parametrize("endpoint", [calls.UPDATE_INVITE, calls.ADD_ROLE, calls.REMOVE_ROLE])
def test_a_write_of_roles_returns_roles(endpoint: Endpoint[Any], roles: object) -> None:
    """If a response does not show the roles, the result of the write is unknown."""
    with pytest.raises(ValueError, match="roles"):
        read(endpoint, {"id": ID, "roles": roles})


def test_pages_may_have_a_total() -> None:
    """``totalCount`` is an estimate, and may be missing."""
    assert read(calls.LIST_USERS, {"results": [], "totalCount": 7}) == Page(Entries(()), 0, 7)
    assert read(calls.LIST_USERS, {"results": []}) == Page(Entries(()), 0, None)


def test_an_invitation_records_which_api_sent_it() -> None:
    """Also if all other fields are missing."""
    assert read(calls.READ_INVITE, {}).api is Api.INVITES
