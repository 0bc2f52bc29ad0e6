"""Every operation of the client against the sandbox, for every way to authenticate, with and without an envelope."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atlas_invites.atlas.errors import (
    AtlasFailure,
    Conflict,
    CredentialsRejected,
    Forbidden,
    InvalidRequest,
    ProjectNotFound,
    RateLimited,
)
from atlas_invites.invitation.credentials import ApiKey, ServiceAccount
from atlas_invites.invitation.deletion import is_project_gone
from atlas_invites.invitation.model import Api, Invitation, Membership, Observation, Operation
from atlas_invites.invitation.outcome import Reason
from atlas_sandbox import people, seeding
from atlas_sandbox.credentials import Credential
from atlas_sandbox.limits import Bucket, SendingLimit
from atlas_sandbox.sandbox import PROJECT_ID
from tests.contract.conftest import ACCOUNT, KEY, Bench, look

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_invites.atlas.project import Project

JANE = "Jane.O'Neil+test@Example.com"
NOBODY = "5f00000000000000000000aa"


async def test_the_invites_api(every_way: Bench) -> None:
    """Create, list, list by e-mail, read, update and cancel, typed as Atlas sent it."""
    async with every_way.project() as project:
        made = await project.create_invite(JANE, {"GROUP_READ_ONLY"})
        assert made.to_wire() | {"id": "", "createdAt": "", "expiresAt": ""} == {
            "id": "",
            "api": "Invites",
            "groupId": PROJECT_ID,
            "groupName": "sandbox",
            "username": JANE,
            "inviterUsername": made.inviter_username,
            "roles": ["GROUP_READ_ONLY"],
            "createdAt": "",
            "expiresAt": "",
        }
        other = await project.create_invite("john@example.com", ["GROUP_OWNER"])
        assert {each.id for each in (await project.list_invites()).read} == {made.id, other.id}
        assert (await project.list_invites(JANE.upper())).read == (made,)
        assert await project.read_invite(made.id) == made
        changed = await project.update_invite(made.id, ["GROUP_OWNER", "GROUP_READ_ONLY"])
        assert changed == made.model_copy(update={"roles": ("GROUP_OWNER", "GROUP_READ_ONLY")})
        assert await project.cancel_invite(made.id) is True
        assert await project.cancel_invite(made.id) is False
        assert await project.read_invite(made.id) is None
        assert await project.update_invite(made.id, ["GROUP_OWNER"]) is None
    assert set(every_way.calls()) - {"Token"} == {
        "CreateInvite",
        "ListInvites",
        "ReadInvite",
        "UpdateInvite",
        "CancelInvite",
    }


async def test_the_users_api(every_way: Bench) -> None:
    """Add, list, list by e-mail, read, add and remove a role, and remove, typed, without personal data."""
    async with every_way.project() as project:
        made = await project.add_user(JANE, ["GROUP_READ_ONLY"])
        assert (made.username, made.roles, made.org_membership_status) == (JANE, ("GROUP_READ_ONLY",), "PENDING")
        assert made.invitation_created_at is not None
        assert made.invitation_expires_at is not None
        assert (await project.list_users()).read == (made,)
        assert (await project.list_users(JANE.lower())).read == (made,)
        assert (await project.list_users("john@example.com")).read == ()
        assert await project.read_user(made.id) == made
        more = await project.add_role(made.id, "GROUP_OWNER")
        assert more is not None
        assert more.roles == ("GROUP_OWNER", "GROUP_READ_ONLY")
        less = await project.remove_role(made.id, "GROUP_READ_ONLY")
        assert less is not None
        assert less.roles == ("GROUP_OWNER",)
        people.accept(every_way.sandbox.state, every_way.sandbox.state.project(PROJECT_ID), JANE)
        member = await project.read_user(made.id)
        assert member is not None
        assert member.to_wire() == {
            "id": made.id,
            "username": JANE,
            "roles": ["GROUP_OWNER"],
            "orgMembershipStatus": "ACTIVE",
        }
        assert await project.remove_user(made.id) is True
        assert await project.remove_user(made.id) is False
        assert await project.read_user(made.id) is None
        assert await project.add_role(made.id, "GROUP_OWNER") is None
        assert await project.remove_role(made.id, "GROUP_OWNER") is None
    assert set(every_way.calls()) - {"Token"} == {
        "AddUser",
        "ListUsers",
        "ReadUser",
        "AddRole",
        "RemoveRole",
        "RemoveUser",
    }


async def test_the_project_itself(every_way: Bench) -> None:
    """An existing project can be read; for a missing one that call returns GROUP_NOT_FOUND."""
    async with every_way.project() as project:
        await project.read_project()
    async with every_way.project(group_id=NOBODY) as project:
        failure = await failing(lambda it: it.read_project(), project)
    assert is_project_gone(failure.error)
    assert set(every_way.calls()) - {"Token"} == {"ReadProject"}


async def test_what_every_response_contains(every_way: Bench) -> None:
    """The time and, in the Invites API, when it ends."""
    async with every_way.client() as atlas:
        project = atlas.project(every_way.credentials, PROJECT_ID)
        await project.list_invites()
        assert project.info.to_wire() == {
            "api": "Invites",
            "deprecatedSince": "2023-10-04T00:00:00Z",
            "sunset": "2027-07-01T00:00:00Z",
        }
        sandbox_time = every_way.sandbox.clock()
        assert abs((atlas.now() - sandbox_time).total_seconds()) < 2
        every_way.sandbox.clock.advance(30 * 86400)
        await project.list_invites()
        assert abs((atlas.now() - sandbox_time).total_seconds() - 30 * 86400) < 60


async def test_1100_users_come_in_pages(way: Bench) -> None:
    """500 a page, all users, in every status."""
    state, project_ = way.sandbox.state, way.sandbox.state.project(PROJECT_ID)
    seeding.invite(state, project_, {"api": "Users", "count": 1100})
    people.decline(state, project_, "user00001@example.com")
    people.expire(state, project_, "user00002@example.com")
    async with way.project("users") as project:
        found = (await project.list_users()).read
    assert len({each.username for each in found}) == 1100
    assert {each.org_membership_status for each in found} == set(Membership) - {Membership.ACTIVE}
    assert way.calls("Token") == ["ListUsers"] * 3


ALL: list[tuple[Operation, Callable[[Project], Awaitable[object]]]] = [
    (Operation.LIST_INVITES, lambda project: project.list_invites()),
    (Operation.CREATE_INVITE, lambda project: project.create_invite(JANE, ["GROUP_OWNER"])),
    (Operation.UPDATE_INVITE, lambda project: project.update_invite(NOBODY, ["GROUP_OWNER"])),
    (Operation.READ_INVITE, lambda project: project.read_invite(NOBODY)),
    (Operation.CANCEL_INVITE, lambda project: project.cancel_invite(NOBODY)),
    (Operation.LIST_USERS, lambda project: project.list_users()),
    (Operation.ADD_USER, lambda project: project.add_user(JANE, ["GROUP_OWNER"])),
    (Operation.READ_USER, lambda project: project.read_user(NOBODY)),
    (Operation.REMOVE_USER, lambda project: project.remove_user(NOBODY)),
    (Operation.ADD_ROLE, lambda project: project.add_role(NOBODY, "GROUP_OWNER")),
    (Operation.REMOVE_ROLE, lambda project: project.remove_role(NOBODY, "GROUP_OWNER")),
    (Operation.READ_PROJECT, lambda project: project.read_project()),
]


async def failing(call: Callable[[Project], Awaitable[object]], project: Project) -> AtlasFailure:
    with pytest.raises(AtlasFailure) as failed:
        await call(project)
    return failed.value


async def test_no_such_project(every_way: Bench) -> None:
    """For every call, a project that is gone is never confused with an invitation that is gone."""
    async with every_way.project(group_id=NOBODY) as project:
        for operation, call in ALL:
            failure = await failing(call, project)
            assert type(failure) is ProjectNotFound
            assert failure.error is not None
            assert (failure.error.operation, failure.error.error_code) == (operation, "GROUP_NOT_FOUND")


async def test_a_project_that_the_credentials_lost(every_way: Bench) -> None:
    """404 NOT_IN_GROUP is Forbidden: a right must be granted."""
    for credential in every_way.sandbox.credentials.all():
        credential.projects = frozenset()
    async with every_way.project() as project:
        for operation, call in ALL:
            failure = await failing(call, project)
            assert type(failure) is Forbidden
            assert failure.error is not None
            assert (failure.error.operation, failure.error.error_code) == (operation, "NOT_IN_GROUP")


async def test_a_key_that_is_wrong(bench: Bench) -> None:
    """Rejected for every call, with Atlas's error."""
    bench.credentials = ApiKey("sandbox", "wrong")
    for operation, call in ALL:
        async with bench.project() as project:
            failure = await failing(call, project)
            assert type(failure) is CredentialsRejected
            assert failure.error is not None
            assert failure.error.operation is operation


async def test_an_account_that_is_wrong(bench: Bench) -> None:
    """Rejected for every call, and only the request for the token is sent; its error is OAuth's."""
    bench.credentials = ServiceAccount("mdb_sa_id_sandbox", "wrong")
    for _, call in ALL:
        async with bench.project() as project:
            failure = await failing(call, project)
            assert type(failure) is CredentialsRejected
            assert (failure.error, failure.operation) == (None, Operation.TOKEN)
    assert set(bench.sandbox.calls.by_operation) == {"Token"}


async def test_credentials_without_the_role(every_way: Bench) -> None:
    """403: a write is forbidden, and the error has the code."""
    for credential in every_way.sandbox.credentials.all():
        credential.project_owner = False
    async with every_way.project() as project:
        failure = await failing(ALL[1][1], project)
    assert failure.reason is Reason.FORBIDDEN
    assert "403 USER_UNAUTHORIZED" in failure.message


async def test_a_bad_request(every_way: Bench) -> None:
    """Atlas's error is kept in full."""
    async with every_way.project() as project:
        failure = await failing(lambda it: it.create_invite("no-e-mail", ["GROUP_OWNER"]), project)
    assert type(failure) is InvalidRequest
    assert not failure.unanswered
    assert failure.error is not None
    assert failure.error.error == 400
    assert failure.error.detail


async def test_a_conflict_with_an_existing_user(every_way: Bench) -> None:
    """409 asks for a new read."""
    async with every_way.project() as project:
        await project.add_user(JANE, ["GROUP_OWNER"])
        failure = await failing(ALL[6][1], project)
    assert type(failure) is Conflict
    assert failure.reason is Reason.CONFLICT


@pytest.mark.parametrize("retry_after", [True, False])
async def test_the_rate_limit(every_way: Bench, *, retry_after: bool) -> None:
    """429 of a bucket that another client has emptied, with or without Retry-After."""
    every_way.sandbox.limits.buckets = [Bucket(frozenset({"ListInvites"}), 1, 60.0, "project", retry_after)]
    async with every_way.project() as somebody, every_way.project() as project:
        await somebody.list_invites()
        failure = await failing(ALL[0][1], project)
    assert type(failure) is RateLimited
    assert (failure.retry_after is not None) == retry_after


async def test_the_limit_on_sending(every_way: Bench) -> None:
    """It comes as a 400."""
    every_way.sandbox.limits.sending = SendingLimit(1)
    async with every_way.project() as project:
        await project.create_invite("john@example.com", ["GROUP_OWNER"])
        failure = await failing(ALL[1][1], project)
    assert type(failure) is RateLimited
    assert failure.error is not None
    assert failure.error.error_code == "INVITATIONS_RATE_LIMITED_IP"


async def test_digest_challenges_end(every_way: Bench) -> None:
    """Challenges and tokens that Atlas forgets are renewed without an error."""
    async with every_way.project() as project:
        await project.list_invites()
        every_way.sandbox.auth.digest.end_all()
        every_way.sandbox.auth.tokens.end_all()
        await project.list_invites()


async def test_a_secret_that_is_rotated(every_way: Bench) -> None:
    """New credentials are used at once; the old ones are rejected."""
    async with every_way.client() as atlas:
        await atlas.project(every_way.credentials, PROJECT_ID).list_invites()
        new = (
            ApiKey(KEY.public_key, "new") if every_way.credentials is KEY else ServiceAccount(ACCOUNT.client_id, "new")
        )
        kind, name = (
            ("apiKey", KEY.public_key) if every_way.credentials is KEY else ("serviceAccount", ACCOUNT.client_id)
        )
        every_way.sandbox.credentials.add(Credential(kind, name, "new"))  # type: ignore[arg-type]
        every_way.sandbox.auth.tokens.end_all()
        assert type(await failing(ALL[0][1], atlas.project(every_way.credentials, PROJECT_ID))) is CredentialsRejected
        await atlas.project(new, PROJECT_ID).list_invites()


async def test_the_end_of_the_invites_api(every_way: Bench) -> None:
    """410: the read continues with the Users API, in which invitations pending in the Invites API are not visible."""
    async with every_way.project() as project, every_way.project("invites") as stubborn:
        made = await project.create_invite(JANE, ["GROUP_OWNER"])
        every_way.change({"sunset": {"mode": "on"}})
        assert await look(project, JANE, made.id) == Observation()
        assert project.api is Api.USERS
        user = await project.add_user("john@example.com", ["GROUP_OWNER"])
        assert (await look(project, "JOHN@example.com")).users == (user,)
        with pytest.raises(InvalidRequest):
            await look(stubborn, JANE, made.id)
        failure = await failing(lambda it: it.update_invite(made.id, ["GROUP_OWNER"]), stubborn)
        assert failure.error is not None
        assert failure.error.error_code == "VERSION_GONE"


async def test_a_read_over_the_whole_life(every_way: Bench) -> None:
    """Pending, accepted, and gone, which is confirmed by id and by e-mail."""
    state = every_way.sandbox.state
    async with every_way.project() as project:
        made: Invitation = await project.create_invite(JANE, ["GROUP_OWNER"])
        assert (await look(project, JANE.lower(), made.id)).invitations == (made,)
        people.accept(state, state.project(PROJECT_ID), JANE)
        [member] = (await look(project, JANE, made.id)).users
        assert (member.org_membership_status, member.roles) == ("ACTIVE", ("GROUP_OWNER",))
        people.remove(state, state.project(PROJECT_ID), JANE)
        every_way.sandbox.calls.clear()
        assert await look(project, JANE, made.id) == Observation()
        assert every_way.calls() == ["ListInvites", "ListUsers", "ReadInvite", "ListInvites", "ListUsers"]


async def test_a_list_that_lags(every_way: Bench) -> None:
    """An invitation that the list does not show yet is found by its e-mail."""
    async with every_way.project() as project:
        every_way.change({"listLag": {"calls": 1000}})
        made = await project.create_invite(JANE, ["GROUP_OWNER"])
        assert (await look(project, JANE)).invitations == (made,)
        assert (await look(project, None, made.id)).invitations == (made,)


async def test_the_list_of_projects(every_way: Bench) -> None:
    """Every project that the credentials can read, on any number of pages, and no other."""
    state = every_way.sandbox.state
    more = [f"{number:024x}" for number in range(1, 520)]
    for project_id in more:
        state.add_project(project_id, project_id)
    async with every_way.client() as atlas:
        assert sorted(await atlas.project_ids(every_way.credentials)) == sorted([PROJECT_ID, *more])
    assert every_way.calls("Token").count("ListProjects") == 2


async def test_the_list_of_projects_is_what_the_credentials_see(way: Bench) -> None:
    """A credential of one project lists that one; a wrong one gets an error."""
    way.sandbox.state.add_project("a" * 24, "other")
    id_ = KEY.public_key if way.credentials is KEY else ACCOUNT.client_id
    known = way.sandbox.credentials.get(id_)
    assert known is not None
    way.sandbox.credentials.add(replace(known, projects=frozenset({PROJECT_ID})))
    async with way.client() as atlas:
        assert await atlas.project_ids(way.credentials) == [PROJECT_ID]
        with pytest.raises(CredentialsRejected):
            await atlas.project_ids(ApiKey("nobody", "nothing"))
