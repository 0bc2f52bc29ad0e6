"""What each call sends, and how its answer is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from atlas_invites.atlas import invites_api, users_api
from atlas_invites.atlas.calls import Call, Entries, segment
from atlas_invites.atlas.clock import AtlasClock
from atlas_invites.atlas.codec import Codec
from atlas_invites.atlas.sunset import Sunset
from atlas_invites.invitation.model import Api

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = "32b6e34b3d91647abb20e7b8"
ID = "5f0000000000000000000001"
INVITES = "application/vnd.atlas.2023-01-01+json"
USERS = "application/vnd.atlas.2025-02-19+json"
STATUSES = (
    "orgMembershipStatuses=ACTIVE&orgMembershipStatuses=PENDING"
    "&orgMembershipStatuses=INVITATION_EXPIRED&orgMembershipStatuses=INVITATION_REJECTED"
)
PAGES = "itemsPerPage=500&pageNum="


def target(call: Call[Any], *, envelope: bool = False) -> str:
    """Return path and query of a call, as a digest signs them."""
    time = AtlasClock(lambda: 0.0)
    codec = Codec("http://atlas", time, Sunset("auto", time.now), envelope=envelope)
    return codec.request(call).url.raw_path.decode()


@pytest.mark.parametrize(
    ("call", "operation", "method", "path", "media_type", "body"),
    [
        (invites_api.read_project(GROUP), "ReadProject", "GET", "", INVITES, None),
        (invites_api.list_invites(GROUP), "ListInvites", "GET", "/invites", INVITES, None),
        (
            invites_api.list_invites(GROUP, "a+b@x.de"),
            "ListInvites",
            "GET",
            "/invites?username=a%2Bb@x.de",
            INVITES,
            None,
        ),
        (
            invites_api.create_invite(GROUP, "A@x.de", {"B", "A"}),
            "CreateInvite",
            "POST",
            "/invites",
            INVITES,
            {"username": "A@x.de", "roles": ["A", "B"]},
        ),
        (
            invites_api.update_invite(GROUP, ID, ("B", "A")),
            "UpdateInvite",
            "PATCH",
            f"/invites/{ID}",
            INVITES,
            {"roles": ["A", "B"]},
        ),
        (invites_api.read_invite(GROUP, ID), "ReadInvite", "GET", f"/invites/{ID}", INVITES, None),
        (invites_api.cancel_invite(GROUP, ID), "CancelInvite", "DELETE", f"/invites/{ID}", INVITES, None),
        (users_api.list_users(GROUP, 1), "ListUsers", "GET", f"/users?{STATUSES}&{PAGES}1", USERS, None),
        (
            users_api.list_users(GROUP, 2, username="a@x.de", flatten_teams=True, include_org_users=True),
            "ListUsers",
            "GET",
            f"/users?username=a@x.de&{STATUSES}&flattenTeams=true&includeOrgUsers=true&{PAGES}2",
            USERS,
            None,
        ),
        (
            users_api.add_user(GROUP, "A@x.de", ["A"]),
            "AddUser",
            "POST",
            "/users",
            USERS,
            {"username": "A@x.de", "roles": ["A"]},
        ),
        (users_api.read_user(GROUP, ID), "ReadUser", "GET", f"/users/{ID}?{STATUSES}", USERS, None),
        (users_api.remove_user(GROUP, ID), "RemoveUser", "DELETE", f"/users/{ID}", USERS, None),
        (users_api.add_role(GROUP, ID, "A"), "AddRole", "POST", f"/users/{ID}:addRole", USERS, {"groupRole": "A"}),
        (
            users_api.remove_role(GROUP, ID, "A"),
            "RemoveRole",
            "POST",
            f"/users/{ID}:removeRole",
            USERS,
            {"groupRole": "A"},
        ),
    ],
)
def test_each_call_is_as_documented(  # noqa: PLR0913, PLR0917 - one column each
    call: Call[Any], operation: str, method: str, path: str, media_type: str, body: dict[str, Any] | None
) -> None:
    """Method, path, query, media type and body of the twelve calls are those of the OpenAPI document."""
    assert (call.operation, call.method, call.media_type, call.body) == (operation, method, media_type, body)
    assert target(call) == f"/api/atlas/v2/groups/{GROUP}{path}"


def test_the_envelope_is_one_more_option() -> None:
    """``envelope=true`` is added to whatever query there is."""
    assert target(invites_api.list_invites(GROUP), envelope=True).endswith("/invites?envelope=true")
    assert target(invites_api.list_invites(GROUP, "a@x.de"), envelope=True).endswith("?username=a@x.de&envelope=true")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_what_is_signed_is_what_is_sent(text: str) -> None:
    """Neither httpx, which the digest is computed with, nor aiohttp, which sends, writes a query in another way."""
    signed = target(invites_api.list_invites(GROUP, text), envelope=True)
    assert yarl.URL(f"http://atlas{signed}").raw_path_qs == signed
    assert yarl.URL(f"http://atlas{signed}").query["username"] == text


@pytest.mark.parametrize("text", ["../x", "a/b", "a?b", "a#b", "%2e%2e", "a\nb"])
def test_an_id_never_becomes_another_path(text: str) -> None:
    """An id of another form stays one segment."""
    assert not set(segment(text)) & set("/?#\n")
    assert target(invites_api.read_invite(GROUP, text)).count("/") == 7


def test_an_invitation_may_know_more_or_less() -> None:
    """Unknown fields are ignored, missing and null ones tolerated; the id that was asked for need not be there."""
    read = invites_api.read_invite(GROUP, ID).parse
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
    assert read(full | {"new": {}, "api": "Users"}).to_wire() == full | {"roles": ["A", "B"], "api": "Invites"}
    assert read({"roles": None, "links": None}).to_wire() == {"id": ID, "roles": [], "api": "Invites"}


def test_a_user_is_read_without_personal_data() -> None:
    """Of an active user's account nothing is kept but id, e-mail, roles and status."""
    user = users_api.read_user(GROUP, ID).parse(
        {
            "id": ID,
            "username": "J@x.de",
            "roles": ["A"],
            "orgMembershipStatus": "ACTIVE",
            "firstName": "Jane",
            "mobileNumber": "1",
            "createdAt": "2020-01-01T00:00:00Z",
            "lastAuth": None,
        }
    )
    assert user.to_wire() == {"id": ID, "username": "J@x.de", "roles": ["A"], "orgMembershipStatus": "ACTIVE"}


def test_a_rejected_user_has_no_end() -> None:
    """``invitationExpiresAt`` is null for a rejected invitation."""
    user = users_api.read_user(GROUP, ID).parse(
        {"orgMembershipStatus": "INVITATION_REJECTED", "invitationExpiresAt": None}
    )
    assert (user.id, user.username, user.invitation_expires_at) == (ID, "", None)


@pytest.mark.parametrize(
    "parse",
    [
        invites_api.list_invites(GROUP).parse,
        invites_api.create_invite(GROUP, "a@x.de", ["A"]).parse,
        users_api.list_users(GROUP, 1).parse,
        users_api.add_user(GROUP, "a@x.de", ["A"]).parse,
    ],
)
@pytest.mark.parametrize("json", [None, 1, "x", True, {"id": 4}, {"results": 1}])
def test_an_answer_that_cannot_be_read_says_so(parse: Callable[[object], object], json: object) -> None:
    """What is no answer to the question raises, and never reads as an empty list or half an invitation."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        parse(json)


READABLE = {"id": ID, "username": "a@x.de", "roles": ["A"]}


@pytest.mark.parametrize("entry", [1, [], {}, READABLE | {"id": 7}, {"id": ID}, READABLE | {"username": ["a"]}])
def test_an_entry_without_a_readable_id_or_email_makes_a_list_incomplete(entry: object) -> None:
    """The others are read, and it is known that one was not."""
    for found in (
        invites_api.list_invites(GROUP).parse([entry, READABLE]),
        users_api.list_users(GROUP, 1).parse({"results": [entry, READABLE]}).users,
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
    found = invites_api.list_invites(GROUP).parse([READABLE | unreadable])
    people = users_api.list_users(GROUP, 1).parse({"results": [READABLE | unreadable]}).users
    assert found.complete
    assert people.complete
    assert (found.read[0].id, people.read[0].id) == (ID, ID)


def test_a_user_whose_status_cannot_be_read_is_not_taken_for_a_member() -> None:
    """What is not known is not concluded."""
    found = users_api.list_users(GROUP, 1).parse({"results": [READABLE | {"orgMembershipStatus": 1}]}).users
    assert (found.read, found.complete) == ((), False)


@pytest.mark.parametrize("call", [invites_api.cancel_invite(GROUP, ID), users_api.remove_user(GROUP, ID)])
@pytest.mark.parametrize("json", [None, {}, [], "x"])
def test_a_removal_has_nothing_to_read(call: Call[None], json: object) -> None:
    """204 has no body; what an envelope puts there is not looked at."""
    assert call.parse(json) is True


@pytest.mark.parametrize("roles", [None, [], "A", [{"roleName": "A"}]])
@pytest.mark.parametrize("call", [invites_api.update_invite(GROUP, ID, ["A"]), users_api.add_role(GROUP, ID, "A")])
def test_a_write_of_roles_is_answered_with_roles(call: Call[object], roles: object) -> None:
    """A response that does not show them says nothing of what came of the write."""
    with pytest.raises(ValueError, match="roles"):
        call.parse({"id": ID, "roles": roles})


def test_pages_say_how_many_there_are() -> None:
    """``totalCount`` is an estimate, and may be missing."""
    assert users_api.list_users(GROUP, 1).parse({"results": [], "totalCount": 7}) == users_api.Page(Entries(()), 0, 7)
    assert users_api.list_users(GROUP, 1).parse({"results": []}) == users_api.Page(Entries(()), 0, None)


def test_an_invitation_says_which_api_sent_it() -> None:
    """Whatever else is missing."""
    assert invites_api.read_invite(GROUP, ID).parse({}).api is Api.INVITES
